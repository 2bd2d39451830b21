/*
 * test_python.c - modules of Python's own test suite, about signals, threads and mapped memory: they pass as without us.
 */
#include "trial.h"

#include <criterion/criterion.h>
#include <stdio.h>

TestSuite(python, .fini = trial_end, .timeout = TRIAL_SUITE_TIMEOUT_S);

/* What the suite prints has times in it; its exit status says all. */
static void compare(size_t limit_pages, const char *module, bool may_yield)
{
    struct trial *trial = trial_begin(limit_pages);
    char line[256];
    const struct command work = {.argv = {"/bin/sh", "-c", line, NULL}, .may_yield = may_yield};
    const struct run try_import = {
        .argv = (const char *const[]){"/usr/bin/python3", "-c", "import test.test_signal, test.test_mmap", NULL},
        .env = (const char *const[]){NULL},
        .dir = trial_path(trial, "."),
        .output = "stdout",
        .errors = "stderr",
        .timeout_s = TRIAL_TIMEOUT_S,
    };
    struct run_result result;

    if (run_program(&try_import, &result) != 0 || result.status != 0)
        trial_skip("Python's test suite is not installed (libpython3.11-testsuite)");
    /* A socket of a virtual machine's may wait for ever for a host that has none, with and without us. */
    (void)snprintf(line, sizeof(line), "/usr/bin/python3 -m test -q -i '*VSOCK*' %s > ../tmp/%s.log 2>&1; echo $?", module, module);
    trial_compare(trial, &work);
}

static void compare_module(size_t limit_pages, const char *module)
{
    compare(limit_pages, module, false);
}

/* These hand pipes and sockets 4 to 16 MiB at once, which must not be cut: the limit yields. */
static void compare_module_of_large_calls(size_t limit_pages, const char *module)
{
    compare(limit_pages, module, true);
}

Test(python, test_signal_ends_the_same_at_64_pages)
{
    compare_module(64, "test_signal");
}

Test(python, test_threading_ends_the_same_at_64_pages)
{
    compare_module(64, "test_threading");
}

Test(python, test_io_ends_the_same_at_64_pages)
{
    compare_module_of_large_calls(64, "test_io");
}

Test(python, test_socket_ends_the_same_at_64_pages)
{
    compare_module_of_large_calls(64, "test_socket");
}

Test(python, test_subprocess_ends_the_same_at_64_pages)
{
    compare_module_of_large_calls(64, "test_subprocess");
}

Test(python, test_mmap_ends_the_same_at_64_pages)
{
    compare_module(64, "test_mmap");
}
