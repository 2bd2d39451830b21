/*
 * test_atomics.c - eight threads update four times the limit of shared memory, and no update is lost.
 */
#include "trial.h"

#include <criterion/criterion.h>
#include <stdio.h>

TestSuite(atomics, .fini = trial_end, .timeout = TRIAL_SUITE_TIMEOUT_S);

/* @n_updates: of each thread; most are a page fault */
static void compare_atomics(size_t limit_pages, size_t n_pages, size_t n_updates)
{
    struct trial *trial = trial_begin(limit_pages);
    char pages[24];
    char updates[24];
    const struct command work = {.argv = {trial_helper("helper_atomics"), "8", pages, updates, NULL}};

    (void)snprintf(pages, sizeof(pages), "%zu", n_pages);
    (void)snprintf(updates, sizeof(updates), "%zu", n_updates);
    trial_compare(trial, &work);
}

/* Four times the highest floor that eight threads may bring the limit to, or they would hardly compete for it. */
Test(atomics, of_8_threads_on_276_pages_are_all_kept_at_5_pages)
{
    compare_atomics(5, 4 * (size_t)(TRIAL_SMALLEST_LIMIT + TRIAL_FLOOR_PAGES), 1000);
}

Test(atomics, of_8_threads_on_256_pages_are_all_kept_at_64_pages)
{
    compare_atomics(64, 256, 10 * 1000);
}

Test(atomics, of_8_threads_on_4096_pages_are_all_kept_at_1024_pages)
{
    compare_atomics(1024, 4096, 10 * 1000);
}
