/*
 * probe_table.c - call after call with its buffers in frozen memory, across a page border and at the end of a block: it must
 * give what it gives with plain buffers. probe_table_*.c have the calls.
 */
#include "tests/preload/probe_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void (*settle)(void);
static size_t pushed_bytes;

static void do_nothing(void)
{
}

/* More pages than the limit has are touched after it. */
static void push_all_out(void)
{
    char *p = malloc(pushed_bytes);

    CHECK(p != NULL);
    for (size_t i = 0; i < pushed_bytes; i += PAGE)
        p[i + 1] = 1;
    free(p);
}

struct places {
    char *plain;
    char *ghost[2];
    size_t room; /* bytes */
};

static void run_cases(call_case *const *cases, const char *which, const struct places *places)
{
    for (size_t i = 0; cases[i] != NULL; i++) {
        long expected;

        memset(places->plain, 0, places->room);
        settle = do_nothing;
        expected = cases[i](places->plain);
        settle = push_all_out;
        for (size_t k = 0; k < 2; k++) {
            long result;

            memset(places->ghost[k], 0, places->room);
            result = cases[i](places->ghost[k]);
            if (result != expected)
                fprintf(stderr, "%s, case %zu, place %zu: %ld instead of %ld\n", which, i, k, result, expected);
            CHECK(result == expected);
            CHECK(memcmp(places->ghost[k], places->plain, places->room) == 0);
        }
    }
}

static void every_call_of_the_table(size_t bytes)
{
    static char plain[PAGE + LARGE_ROOM] __attribute__((aligned(4096)));
    const size_t block_bytes = (size_t)256 << 10;
    char *block = aligned_alloc(PAGE, block_bytes);
    /* Eight bytes before a page border, so that what lies there stands on both; and at the block's very end. */
    struct places places = {plain + PAGE - 8, {block + 3 * PAGE - 8, block + block_bytes - ROOM}, ROOM};
    struct places large = {plain + PAGE - 8, {block + 3 * PAGE - 8, block + block_bytes - LARGE_ROOM}, LARGE_ROOM};

    pushed_bytes = bytes / 2;
    CHECK(block != NULL && chdir("/usr/bin") == 0);
    run_cases(cases_of_files, "files", &places);
    run_cases(cases_of_processes, "processes", &places);
    run_cases(large_cases_of_processes, "processes, large", &large);
    run_cases(cases_of_large_buffers, "large buffers", &large);
    run_cases(cases_of_talk, "talk", &places); /* last: it ends with filters that stay */
    free(block);
}

const struct probe probes_table[] = {
    {"every_call_of_the_table", every_call_of_the_table},
    {NULL, NULL},
};
