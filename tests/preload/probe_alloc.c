/* probe_alloc.c - the malloc family, its errors, and calls at unusual times. */
#include "tests/preload/probe.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Sizes that overflow are the point here; the compiler need not know them. */
static volatile size_t huge = SIZE_MAX;

static bool is_ghost(const void *p)
{
    bool (*owns)(const void *);
    void *symbol = dlsym(RTLD_DEFAULT, "ghostmem_owns");

    if (symbol == NULL)
        return true; /* a plain run: everything is as it should be */
    memcpy(&owns, &symbol, sizeof owns);
    return owns(p);
}

static void large_blocks_are_ghost_memory(size_t bytes)
{
    void *blocks[8];
    void *p;

    (void)bytes;
    blocks[0] = malloc(1 << 20);
    blocks[1] = calloc(1024, 1024);
    blocks[2] = realloc(NULL, 1 << 20);
    blocks[3] = aligned_alloc(8192, 1 << 20);
    blocks[4] = memalign(65536, 1 << 20);
    blocks[5] = valloc(1 << 20);
    blocks[6] = pvalloc(1 << 20);
    CHECK(posix_memalign(&p, 1 << 21, 1 << 20) == 0);
    blocks[7] = p;
    CHECK((uintptr_t)blocks[3] % 8192 == 0 && (uintptr_t)blocks[4] % 65536 == 0 && (uintptr_t)p % (1 << 21) == 0);
    for (size_t i = 0; i < 8; i++) {
        CHECK(blocks[i] != NULL && is_ghost(blocks[i]));
        CHECK(malloc_usable_size(blocks[i]) >= 1 << 20);
        memset(blocks[i], 1, 1 << 20);
        free(blocks[i]);
    }
}

static void small_blocks_are_libcs(size_t bytes)
{
    void *p = malloc(1000);

    (void)bytes;
    CHECK(p != NULL);
    CHECK(dlsym(RTLD_DEFAULT, "ghostmem_owns") == NULL || !is_ghost(p));
    p = realloc(p, 1 << 20); /* from libc's into ours */
    CHECK(is_ghost(p));
    p = realloc(p, 500); /* stays ours, smaller */
    CHECK(malloc_usable_size(p) >= 500);
    free(p);
}

static void errors_are_what_the_standards_say(size_t bytes)
{
    void *p = &p;
    void *block = malloc(bytes);

    errno = 0;
    CHECK(malloc(huge) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(malloc(huge / 2 + 1) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(calloc(huge / 2, 3) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(reallocarray(block, huge / 4, 8) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(realloc(block, huge) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(pvalloc(huge - 5) == NULL && errno == ENOMEM);
    errno = 7;
    CHECK(posix_memalign(&p, 3, bytes) == EINVAL && p == &p);
    CHECK(posix_memalign(&p, 4, bytes) == EINVAL && p == &p);
    CHECK(posix_memalign(&p, 4096, huge - 10000) == ENOMEM && p == &p);
    errno = 7; /* glibc's posix_memalign() may set it */
    free(block);
    free(NULL);
    CHECK(errno == 7);
    CHECK(malloc_usable_size(NULL) == 0);
    p = malloc(0);
    CHECK(p != NULL);
    free(p);
}

static void calloc_is_zero_also_after_use(size_t bytes)
{
    for (int round = 0; round < 3; round++) {
        unsigned char *p = calloc(1, bytes);

        CHECK(p != NULL);
        for (size_t i = 0; i < bytes; i += 512)
            CHECK(p[i] == 0);
        fill(p, bytes, 5);
        free(p);
    }
}

static void realloc_keeps_the_contents(size_t bytes)
{
    char *p = filled(bytes, 3);
    char *fence = malloc(1 << 20);

    p = realloc(p, bytes * 2);
    check(p, bytes, 3);
    for (size_t i = bytes; i < bytes * 2; i += PAGE)
        p[i] = 1;
    p = realloc(p, bytes / 2);
    check(p, bytes / 2, 3);
    p = realloc(p, bytes * 3);
    check(p, bytes / 2, 3);
    p = realloc(p, 100);
    CHECK(p != NULL);
    free(fence);
    free(p);
}

/* Small and large ones: of all lengths about GHOSTMEM_THRESHOLD, and beyond. */
static void many_blocks_of_all_sizes(size_t bytes)
{
    enum { N = 200, THRESHOLD = 128 << 10 };
    char *blocks[N] = {0};
    size_t sizes[N] = {0};
    uint64_t random = 12345;

    for (int step = 0; step < 4000; step++) {
        size_t i;

        random = random * 6364136223846793005u + 1442695040888963407u;
        i = (random >> 33) % N;
        if (blocks[i] != NULL)
            CHECK(blocks[i][0] == (char)i && blocks[i][sizes[i] - 1] == (char)i);
        if ((random >> 60) % 3 == 0) {
            free(blocks[i]);
            blocks[i] = NULL;
            continue;
        }
        sizes[i] = 2 + (random >> 20) % (bytes / 32 + 2 * THRESHOLD);
        blocks[i] = realloc(blocks[i], sizes[i]);
        CHECK(blocks[i] != NULL);
        blocks[i][0] = blocks[i][sizes[i] - 1] = (char)i;
    }
    for (size_t i = 0; i < N; i++)
        free(blocks[i]);
}

/* ---- unusual times ---- */

static char *early;

__attribute__((constructor(101))) static void allocate_early(void)
{
    early = calloc(3, 1 << 20);
}

static char *late;

static void use_at_exit(void)
{
    check(late, 2 << 20, 9);
    free(late);
    late = filled(3 << 20, 11);
}

__attribute__((destructor(101))) static void use_in_destructor(void)
{
    if (late == NULL)
        return;
    check(late, 3 << 20, 11);
    free(late);
    free(filled(5 << 20, 12));
    free(early);
}

static void calls_before_main_and_after_exit(size_t bytes)
{
    CHECK(early != NULL && early[(3 << 20) - 1] == 0);
    fill(early, 3 << 20, 2);
    free(filled(bytes, 1));
    check(early, 3 << 20, 2);
    late = filled(2 << 20, 9);
    CHECK(atexit(use_at_exit) == 0);
}

/* ---- misuse: these must not return ---- */

static void double_free(size_t bytes)
{
    char *p = malloc(bytes);
    char *volatile again = p;

    free(p);
    free(again);
}

static void free_inside_a_block(size_t bytes)
{
    char *volatile p = malloc(bytes);

    free(p + 8192);
}

static void free_of_an_odd_address(size_t bytes)
{
    char *volatile p = malloc(bytes);

    free(p + 1);
}

static void realloc_of_a_freed_block(size_t bytes)
{
    char *p = malloc(bytes);
    char *volatile again = p;

    free(p);
    CHECK(realloc(again, 2 * bytes) == NULL);
}

static void free_where_no_block_ever_was(size_t bytes)
{
    char *volatile p = malloc(bytes);

    free(p + 100 * bytes);
}

const struct probe probes_alloc[] = {
    {"large_blocks_are_ghost_memory", large_blocks_are_ghost_memory},
    {"small_blocks_are_libcs", small_blocks_are_libcs},
    {"errors_are_what_the_standards_say", errors_are_what_the_standards_say},
    {"calloc_is_zero_also_after_use", calloc_is_zero_also_after_use},
    {"realloc_keeps_the_contents", realloc_keeps_the_contents},
    {"many_blocks_of_all_sizes", many_blocks_of_all_sizes},
    {"calls_before_main_and_after_exit", calls_before_main_and_after_exit},
    {"double_free", double_free},
    {"free_inside_a_block", free_inside_a_block},
    {"free_of_an_odd_address", free_of_an_odd_address},
    {"realloc_of_a_freed_block", realloc_of_a_freed_block},
    {"free_where_no_block_ever_was", free_where_no_block_ever_was},
    {NULL, NULL},
};
