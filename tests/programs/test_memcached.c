/* test_memcached.c - a memcached server of four threads whose slabs are ghost memory: everything set is served. */
#include "trial.h"

#include <criterion/criterion.h>

TestSuite(memcached, .fini = trial_end, .timeout = TRIAL_SUITE_TIMEOUT_S);

static void compare_memcached(size_t limit_pages, const char *n_values, const char *bytes)
{
    struct trial *trial = trial_begin(limit_pages);
    const struct command work = {.argv = {trial_helper("helper_memcached"), n_values, bytes, NULL}};

    trial_need("/usr/bin/memcached");
    trial_compare(trial, &work);
}

Test(memcached, with_400_values_of_8_kib_serves_the_same_at_64_pages)
{
    compare_memcached(64, "400", "8192");
}

Test(memcached, with_1000_values_of_20_kib_serves_the_same_at_1024_pages)
{
    compare_memcached(1024, "1000", "20000");
}
