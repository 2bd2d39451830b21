/*
 * test_rss.c - the resident set, seen from outside, keeps to what the limit promises.
 *
 * The promise (issue 2): at every moment RSS <= limit + pool held + tables + 8 MiB, beyond what the program takes
 * without its data. Pool and tables come from the report at the end. That is their highest value: the helper only
 * fills, reads and then ends without freeing, so neither shrinks.
 */
#include "trial.h"

#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <stdio.h>
#include <stdlib.h>

TestSuite(rss, .fini = trial_end, .timeout = TRIAL_SUITE_TIMEOUT_S);

enum {
    FILL_LIMIT_PAGES = 4096,
    FILL_BYTES = 256 * MIB,
    SLACK_BYTES = 8 * MIB
};

/* What the helper says of itself: the kernel's own record, which no moment between two samples escapes. */
static size_t reported_peak_bytes(const struct trial *trial, const char *output)
{
    FILE *file = fopen(trial_path(trial, output), "r");
    long kib = -1;
    int n = file ? fscanf(file, "peak_kib %ld", &kib) : 0;

    if (file)
        (void)fclose(file);
    cr_assert(n == 1 && kib > 0, "the helper did not say its peak");
    return (size_t)kib * KIB;
}

Test(rss, of_a_256_mib_fill_never_passes_limit_and_pool_at_4096_pages)
{
    struct trial *trial = trial_begin(FILL_LIMIT_PAGES);
    const char *helper = trial_helper("helper_fill");
    const struct command empty = {.argv = {helper, "0", NULL}};
    const struct command full = {.argv = {helper, "256", NULL}};
    struct run_result result;
    struct stats stats;
    size_t baseline;
    size_t bound;

    trial_run(trial, &empty, &result, NULL);
    baseline = reported_peak_bytes(trial, "plain/stdout");

    /* The control: without GhostMem the same sampling sees all of the data. */
    trial_run(trial, &full, &result, NULL);
    cr_assert_geq(result.rss_peak_bytes, FILL_BYTES, "the samples (%zu) missed the fill: peak of %zu bytes",
                  result.n_samples, result.rss_peak_bytes);

    trial_run(trial, &full, &result, &stats);
    bound = baseline + FILL_LIMIT_PAGES * (size_t)PAGE + stats.pool_held_bytes + stats.meta_bytes + SLACK_BYTES;
    cr_log_info("rss: %zu samples, peak %zu KiB, VmHWM %zu KiB, bound %zu KiB (baseline %zu, pool %zu, tables %zu)",
                result.n_samples, result.rss_peak_bytes / KIB, reported_peak_bytes(trial, "ghost/stdout") / KIB,
                bound / KIB, baseline / KIB, stats.pool_held_bytes / KIB, stats.meta_bytes / KIB);
    cr_assert_gt(result.n_samples, 50, "only %zu samples", result.n_samples);
    cr_expect_leq(result.rss_peak_bytes, bound, "the samples' peak of %zu bytes is above %zu", result.rss_peak_bytes,
                  bound);
    cr_expect_leq(reported_peak_bytes(trial, "ghost/stdout"), bound, "VmHWM of %zu bytes is above %zu",
                  reported_peak_bytes(trial, "ghost/stdout"), bound);
    /* A pool as large as the data would satisfy the bound and save nothing. These lines shrink to a half and less. */
    cr_expect_lt(bound, FILL_BYTES * 3 / 4, "the bound of %zu bytes saves too little of 256 MiB", bound);
}
