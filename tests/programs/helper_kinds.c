/*
 * helper_kinds.c - memory of every kind, all of it written: a block, small blocks, a mapping, small mappings and a static array of 8 MiB
 * each, which are managed, and what is not: 3 MiB shared, 2 MiB executable, 1 MiB locked.
 *
 * The small mappings come first: they alone are as large as the limit of the test.
 */
#define _DEFAULT_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define MIB ((size_t)1 << 20)
#define SMALL_BYTES 200
#define ISLAND_BYTES ((size_t)16 << 10)

static uint64_t array[8 * MIB / sizeof(uint64_t)];
static void *small[8 * MIB / SMALL_BYTES];

static uint64_t *fill(uint64_t *words, size_t bytes)
{
    for (size_t i = 0; words != NULL && i < bytes / sizeof *words; i++)
        words[i] = i * 2654435761u % 1000003;
    return words;
}

static uint64_t sum(const uint64_t *words, size_t bytes)
{
    uint64_t total = 0;

    for (size_t i = 0; i < bytes / sizeof *words; i++)
        total = total * 31 + words[i];
    return total;
}

static uint64_t *map(size_t bytes, int protection, int flags)
{
    void *p = mmap(NULL, bytes, protection, flags | MAP_ANONYMOUS, -1, 0);

    return p == MAP_FAILED ? NULL : fill(p, bytes);
}

/* As Ruby has its heap: no two of them adjoin. */
static int map_islands(void)
{
    uint64_t total = 0;

    for (size_t i = 0; i < 8 * MIB / ISLAND_BYTES; i++) {
        uint64_t *island = mmap(NULL, 2 * ISLAND_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (island == MAP_FAILED || munmap((char *)island + ISLAND_BYTES, ISLAND_BYTES) != 0)
            return -1;
        total += sum(fill(island, ISLAND_BYTES), ISLAND_BYTES);
    }
    return (int)(total % 1000);
}

int main(void)
{
    int islands = map_islands();
    uint64_t *executable = map(2 * MIB, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE);
    uint64_t *shared = map(3 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED);
    uint64_t *locked = map(MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    uint64_t *mapping;
    uint64_t *block;

    if (islands < 0 || locked == NULL || mlock(locked, MIB) != 0)
        return 1;
    for (size_t i = 0; i < sizeof small / sizeof small[0]; i++)
        small[i] = fill(malloc(SMALL_BYTES), SMALL_BYTES);
    block = fill(malloc(8 * MIB), 8 * MIB);
    mapping = map(8 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    (void)fill(array, sizeof array);
    if (executable == NULL || shared == NULL || block == NULL || mapping == NULL)
        return 1;
    for (size_t i = 0; i < sizeof small / sizeof small[0]; i++)
        *(uint64_t *)small[i] += sum(small[i], SMALL_BYTES);
    (void)printf("%d %llu %llu %llu %llu\n", islands, (unsigned long long)sum(block, 8 * MIB), (unsigned long long)sum(mapping, 8 * MIB),
                 (unsigned long long)sum(array, sizeof array), (unsigned long long)*(uint64_t *)small[77]);
    return 0;
}
