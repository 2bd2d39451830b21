/* test_cold.c - whole processes whose images are squeezed while they go on. */
#include "tests/preload/outcome.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/wait.h>

TestSuite(cold, .init = make_dir, .fini = remove_dir);

static void survive(const char *faults, const char *cold)
{
    const char *settings[6] = {faults, "GHOSTMEM_MAX_PAGES=512", cold};
    struct outcome outcome;

    run_probe("cold_images_survive_forks", "32", NULL, settings, required("GHOSTMEM_LIB"), &outcome);
    cr_assert(WIFEXITED(outcome.status) && WEXITSTATUS(outcome.status) == 0, "%s: status %#x, %s", faults, (unsigned)outcome.status,
              outcome.errors);
    cr_assert_str_eq(outcome.output, "ok\n");
    cr_assert_str_eq(outcome.errors, "");
    cr_assert(says(outcome.stats, "cold_failures", "0"), "%s", outcome.stats);
}

Test(cold, images_are_squeezed_and_survive_forks_signal)
{
    survive("GHOSTMEM_FAULTS=signal", "GHOSTMEM_COLD=zstd");
}

Test(cold, images_are_squeezed_and_survive_forks_segv)
{
    survive("GHOSTMEM_FAULTS=segv", "GHOSTMEM_COLD=zstd");
}

Test(cold, images_are_squeezed_and_survive_forks_thread)
{
    survive("GHOSTMEM_FAULTS=thread", "GHOSTMEM_COLD=zstd");
}
