/*
 * helper_tls.c - threads with large thread-local variables, which keep those of libraries far from the thread pointer, and a static array
 * that they all use.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { N_THREADS = 4, PAGE = 4096 };

static __thread char local[2 << 20];
static char common[24 << 20];

static void *work(void *arg)
{
    long salt = *(const long *)arg;
    long sum = 0;

    memset(local, (int)salt, sizeof local);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < sizeof common; i += PAGE) {
            common[i + (size_t)salt] = (char)(common[i + (size_t)salt] + round + 1);
            sum += common[i + (size_t)salt];
        }
        sum += getppid() > 0;
        for (size_t i = 0; i < sizeof local; i += PAGE)
            sum += local[i];
    }
    *(long *)arg = sum;
    return NULL;
}

int main(void)
{
    pthread_t threads[N_THREADS];
    long results[N_THREADS + 1];
    long sum = 0;

    for (int i = 0; i <= N_THREADS; i++)
        results[i] = i + 1;
    for (int i = 0; i < N_THREADS; i++)
        if (pthread_create(&threads[i], NULL, work, &results[i]) != 0)
            return 1;
    for (int i = 0; i < N_THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    (void)work(&results[N_THREADS]);
    for (int i = 0; i <= N_THREADS; i++)
        sum += results[i];
    (void)printf("%ld\n", sum);
    return 0;
}
