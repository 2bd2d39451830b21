/*
 * test_redis.c - a Redis server with all its values over the limit: set, saved by a forked child, read back.
 *
 * Debian's Redis brings jemalloc, which the preloaded library stands before.
 */
#include "trial.h"

#include <criterion/criterion.h>
#include <stdio.h>

TestSuite(redis, .fini = trial_end, .timeout = TRIAL_SUITE_TIMEOUT_S);

static void compare_redis(size_t limit_pages, const char *n_values, const char *bytes)
{
    struct trial *trial = trial_begin(limit_pages);
    const struct command work = {.argv = {trial_helper("helper_redis"), n_values, bytes, NULL}};

    trial_need("/usr/bin/redis-check-rdb");
    trial_compare(trial, &work);
}

Test(redis, with_100_values_of_64_kib_saves_and_serves_the_same_at_64_pages)
{
    compare_redis(64, "100", "65536");
}

Test(redis, with_600_values_of_20_kib_saves_and_serves_the_same_at_1024_pages)
{
    compare_redis(1024, "600", "20000");
}
