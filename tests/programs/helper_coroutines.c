/*
 * helper_coroutines.c - coroutines on stacks that the program maps itself, each with a guard page below: they allocate, map, read files
 * and call deep, so that memory calls and page faults come on stacks that are managed memory too.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define N 120
#define ROUNDS 4
#define STACK_BYTES ((size_t)128 << 10)

static ucontext_t main_context;
static ucontext_t contexts[N];
static int done[N];
static long sums[N];

static void *must_map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        abort();
    return p;
}

static int call_deep(int n, int value)
{
    volatile char frame[3000];

    frame[n] = (char)value;
    return n > 0 ? call_deep(n - 1, value) + frame[n] : value;
}

static void run(int i)
{
    for (int round = 0; round < ROUNDS; round++) {
        size_t bytes = 300000 + (size_t)i * 1000;
        char *block = malloc(bytes);
        char *mapping = must_map(100000);
        int fd = open("/proc/self/exe", O_RDONLY);

        if (block == NULL || fd < 0)
            abort();
        memset(block, i + round, 200000);
        mapping[5000] = (char)round;
        sums[i] += block[777] + read(fd, block + 4096, 10000) + call_deep(20, i % 100);
        block = realloc(block, 2 * bytes);
        if (block == NULL)
            abort();
        sums[i] += block[100] + mapping[5000];
        (void)munmap(mapping, 100000);
        (void)close(fd);
        (void)swapcontext(&contexts[i], &main_context);
        free(block);
    }
    done[i] = 1;
}

int main(void)
{
    volatile int n_left = N; /* getcontext() may return twice, for all that the compiler knows */
    volatile long sum = 0;

    for (int i = 0; i < N; i++) {
        (void)getcontext(&contexts[i]);
        contexts[i].uc_stack.ss_sp = must_map(STACK_BYTES);
        contexts[i].uc_stack.ss_size = STACK_BYTES;
        contexts[i].uc_link = &main_context;
        (void)mprotect(contexts[i].uc_stack.ss_sp, 4096, PROT_NONE);
        makecontext(&contexts[i], (void (*)(void))run, 1, i);
    }
    while (n_left > 0) {
        n_left = 0;
        for (int i = 0; i < N; i++)
            if (!done[i]) {
                (void)swapcontext(&main_context, &contexts[i]);
                n_left = n_left + !done[i];
            }
    }
    for (int i = 0; i < N; i++)
        sum = sum + sums[i];
    (void)printf("%ld\n", sum);
    return 0;
}
