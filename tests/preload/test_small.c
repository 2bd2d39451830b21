/*
 * test_small.c - GHOSTMEM_THRESHOLD below a page: small blocks of malloc are ghost memory.
 *
 * From the environment: GHOSTMEM_LIB, GHOSTMEM_INJECT_LIB and GHOSTMEM_TEST_BIN.
 */
#include "tests/preload/outcome.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(small, .init = make_dir, .fini = remove_dir);

struct way {
    const char *backend;
    const char *threshold;
    const char *limit;
    bool checks; /* the order of locks, too */
};

static const struct way ways[] = {
    {"signal", "16", "64", false}, {"segv", "64", "64", false},  {"thread", "1", "64", false},
    {"signal", "1000", "5", true}, {"segv", "1", "5", true},     {"thread", "64", "5", true},
    {"auto", "16", "100000", false}, /* paging never starts */
};

static void run_in(const struct way *way, const char *probe, struct outcome *outcome)
{
    char stats[PATH_BYTES];
    char faults[64];
    char threshold[64];
    char limit[64];
    const char *settings[6] = {faults, threshold, limit};
    bool as_nobody = getuid() == 0 && strcmp(way->backend, "thread") != 0;

    snprintf(faults, sizeof faults, "GHOSTMEM_FAULTS=%s", way->backend);
    snprintf(threshold, sizeof threshold, "GHOSTMEM_THRESHOLD=%s", way->threshold);
    snprintf(limit, sizeof limit, "GHOSTMEM_MAX_PAGES=%s", way->limit);
    snprintf(stats, sizeof stats, "%s/stats.json", dir); /* of another user, maybe */
    (void)unlink(stats);
    run_probe(probe, "1", as_nobody ? "--reuid=65534" : NULL, settings,
              required(way->checks ? "GHOSTMEM_INJECT_LIB" : "GHOSTMEM_LIB"), outcome);
}

/* @threshold: NULL: that of the way. */
static void goes_well(const char *probe, const char *threshold)
{
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        struct way way = ways[i];
        struct outcome outcome;

        if (threshold != NULL)
            way.threshold = threshold;
        if (getuid() != 0 && strcmp(ways[i].backend, "thread") == 0)
            continue;
        run_in(&way, probe, &outcome);
        cr_assert_str_eq(outcome.output, "ok\n", "%s, %s, limit %s: status %x: %s", way.backend, way.threshold, way.limit,
                         (unsigned)outcome.status, outcome.errors);
        cr_assert_str_eq(outcome.errors, "");
    }
}

Test(small, blocks_keep_their_contents_whoever_frees_them)
{
    goes_well("small_blocks_go_from_thread_to_thread", NULL);
}

Test(small, blocks_of_ended_threads_come_back)
{
    goes_well("small_blocks_of_ended_threads_come_back", NULL);
}

Test(small, blocks_of_threads_that_a_child_does_not_have_come_back)
{
    goes_well("small_blocks_of_threads_left_behind_come_back", NULL);
}

Test(small, blocks_are_whole_after_a_fork)
{
    goes_well("small_blocks_are_whole_after_a_fork", NULL);
}

/* Nor would libc's malloc take that. */
Test(small, handlers_that_allocate_lose_nothing)
{
    goes_well("small_blocks_in_a_handler", "1");
}

static void dies_with(const char *probe, const char *what)
{
    static const struct way dormant = {"auto", "16", "100000", false};
    const struct way *both[] = {&dormant, &ways[0]};

    for (size_t i = 0; i < 2; i++) {
        struct outcome outcome;

        run_in(both[i], probe, &outcome);
        cr_assert(WIFSIGNALED(outcome.status) && WTERMSIG(outcome.status) == SIGABRT, "%s", outcome.errors);
        cr_assert_not_null(strstr(outcome.errors, what), "%s", outcome.errors);
        cr_assert_eq(strchr(outcome.errors, '\n'), outcome.errors + strlen(outcome.errors) - 1, "one line: %s", outcome.errors);
    }
}

Test(small, misuse_is_one_line_and_an_abort)
{
    dies_with("small_double_free", "double free: the block at this address was freed before");
    dies_with("small_free_inside_a_block", "invalid pointer: 32 bytes inside the block 0x");
    dies_with("small_realloc_of_a_freed_block", "double free");
    dies_with("small_free_long_after", "double free");
}
