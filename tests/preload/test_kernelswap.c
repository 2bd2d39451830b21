/*
 * test_kernelswap.c - whole processes that the kernel swaps at the same time, because their memory cgroup is smaller than the limit.
 *
 * It needs what bench/cgroup.sh needs: root, a memory cgroup, zram. One at a time. From the environment: GHOSTMEM_LIB,
 * GHOSTMEM_INJECT_LIB and GHOSTMEM_TEST_BIN.
 */
#include "tests/preload/outcome.h"
#include "tests/programs/run.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/wait.h>

TestSuite(kernelswap, .init = make_dir, .fini = remove_dir);

#define NOT_POSSIBLE 77 /* Source: bench/cgroup.sh */
#define CGROUP_BYTES "14680064"
#define DATA_MIB "24"
#define LIMIT "GHOSTMEM_MAX_PAGES=4096" /* 16 MiB */

/* @library: the name of the variable that has its path. @inject: a setting more. */
static void run_in_cgroup(const char *faults, const char *library, const char *inject)
{
    char script[PATH_BYTES];
    char probe[PATH_BYTES];
    char preload[PATH_BYTES];
    char output[256];
    char errors[4096];
    const char *env[] = {"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL=C", NULL};
    const char *argv[] = {script, CGROUP_BYTES, "/usr/bin/env", preload, faults, LIMIT, inject, probe,
                          "pages_come_back_from_two_swaps", DATA_MIB, NULL};
    struct run run = {.argv = argv, .env = env, .dir = dir, .output = "out", .errors = "err", .timeout_s = TIMEOUT_S};
    struct run_result result;

    snprintf(script, sizeof script, "%s/../../bench/cgroup.sh", required("GHOSTMEM_TEST_BIN"));
    snprintf(probe, sizeof probe, "%s/probe", required("GHOSTMEM_TEST_BIN"));
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s", required(library));
    cr_assert_eq(run_program(&run, &result), 0);
    read_file("out", output, sizeof output);
    read_file("err", errors, sizeof errors);
    cr_assert(!result.timed_out, "%s: no end after %d s", faults, TIMEOUT_S);
    if (WIFEXITED(result.status) && WEXITSTATUS(result.status) == NOT_POSSIBLE)
        cr_skip_test("%s", errors);
    cr_assert_eq(result.status, 0, "status %#x, %s", (unsigned)result.status, errors);
    cr_assert_str_eq(output, "the kernel swaps\nok\n", "%s%s", output, errors);
    cr_assert_str_empty(errors);
}

Test(kernelswap, pages_come_back_from_two_swaps_with_thread)
{
    run_in_cgroup("GHOSTMEM_FAULTS=thread", "GHOSTMEM_LIB", "NOTHING=");
}

Test(kernelswap, pages_come_back_from_two_swaps_with_signal)
{
    run_in_cgroup("GHOSTMEM_FAULTS=signal", "GHOSTMEM_LIB", "NOTHING=");
}

Test(kernelswap, pages_come_back_from_two_swaps_with_segv)
{
    run_in_cgroup("GHOSTMEM_FAULTS=segv", "GHOSTMEM_LIB", "NOTHING=");
}

/* Where pages cannot be moved, a block that is resized is copied: what is in the kernel's swap too. */
Test(kernelswap, pages_that_cannot_be_moved_are_copied_out_of_the_kernels_swap)
{
    run_in_cgroup("GHOSTMEM_FAULTS=signal", "GHOSTMEM_INJECT_LIB", "OS_INJECT_REFUSE=1:1000000000:22");
    run_in_cgroup("GHOSTMEM_FAULTS=thread", "GHOSTMEM_INJECT_LIB", "OS_INJECT_REFUSE=1:1000000000:22");
}
