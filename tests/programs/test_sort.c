/*
 * test_sort.c - GNU sort with two threads.
 *
 * The buffer is made large enough for everything: with a smaller one sort works from temporary files, which GhostMem
 * has no part in. Long lines keep the number of page faults down: a comparison reads a line at a random place.
 */
#include "input.h"
#include "trial.h"

#include <criterion/criterion.h>

TestSuite(sort, .fini = trial_end, .timeout = TRIAL_SUITE_TIMEOUT_S);

static void compare_sort(size_t limit_pages, size_t bytes, size_t mean_line, const char *buffer)
{
    struct trial *trial = trial_begin(limit_pages);
    const struct command sort = {
        .argv = {"sort", "--parallel=2", "--buffer-size", buffer, "-o", "sorted", "../text", NULL},
    };

    trial_need("sort");
    input_text(trial_path(trial, "text"), bytes, mean_line, 3000, 1);
    trial_compare(trial, &sort);
}

Test(sort, of_300_kb_gives_the_same_output_at_5_pages)
{
    compare_sort(5, 300 * 1000, 100, "1M");
}

Test(sort, of_2_mb_gives_the_same_output_at_64_pages)
{
    compare_sort(64, 2 * 1000 * 1000, 200, "4M");
}

/* 160,000 lines: from 131,072 on, sort really divides the work between its threads. */
Test(sort, of_9_mb_in_short_lines_gives_the_same_output_at_1024_pages)
{
    compare_sort(1024, 9 * 1000 * 1000, 56, "24M");
}

Test(sort, of_90_mb_gives_the_same_output_at_16384_pages)
{
    compare_sort(16384, 90 * 1000 * 1000, 1000, "160M");
}
