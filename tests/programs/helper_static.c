/* helper_static.c - a program whose data is in static arrays, as Fortran's and old C's is: 48 MiB, summed up in several orders. */
#include <stdint.h>
#include <stdio.h>

#define N ((size_t)6 << 20)

static uint64_t numbers[N];

int main(void)
{
    uint64_t sum = 0;
    size_t at = 0;

    for (size_t i = 0; i < N; i++)
        numbers[i] = i * 2654435761u % 1000003;
    for (size_t i = 0; i < N; i++)
        sum = sum * 31 + numbers[i];
    for (size_t i = 0; i < 20000; i++) {
        at = (at + 7919 * 512) % N;
        numbers[at] += sum % 97;
        sum += numbers[(at * 3) % N];
    }
    for (size_t i = N; i-- > 0;)
        sum = sum * 17 + numbers[i];
    (void)printf("%llu\n", (unsigned long long)sum);
    return 0;
}
