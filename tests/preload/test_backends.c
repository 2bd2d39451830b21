/*
 * test_backends.c - who gets which backend, and what holds for each: failing calls, a kernel that is not to be trusted,
 * more pages than mappings.
 *
 * From the environment: GHOSTMEM_LIB, GHOSTMEM_INJECT_LIB and GHOSTMEM_TEST_BIN.
 */
#include "tests/preload/outcome.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(backends, .init = make_dir, .fini = remove_dir);

static void run_with_backend(const char *probe, const char *backend, const char *user, struct outcome *outcome)
{
    char faults[64];
    const char *settings[6] = {"GHOSTMEM_MAX_PAGES=64", faults};

    snprintf(faults, sizeof faults, "GHOSTMEM_FAULTS=%s", backend);
    run_probe(probe, "4", user, settings, required("GHOSTMEM_LIB"), outcome);
}

Test(backends, handler_threads_leave_the_programs_descriptors_alone)
{
    struct outcome outcome;

    run_with_backend("descriptors_are_the_programs_alone", "thread", NULL, &outcome);
    cr_assert_str_eq(outcome.output, "ok\n", "%s", outcome.errors);
    cr_assert(says(outcome.stats, "engaged", "true"));
}

Test(backends, raw_forks_are_seen_by_the_signal_backend)
{
    struct outcome outcome;

    run_with_backend("forks_without_libc", "signal", NULL, &outcome);
    cr_assert_str_eq(outcome.output, "ok\n", "%s", outcome.errors);
}

static void keeps_the_limit(const char *probe)
{
    static const char *const guarded[] = {"signal", "segv"};

    for (size_t i = 0; i < sizeof guarded / sizeof guarded[0]; i++) {
        struct outcome outcome;

        run_with_backend(probe, guarded[i], NULL, &outcome);
        cr_assert_str_eq(outcome.output, "ok\n", "%s", outcome.errors);
        cr_assert(says(outcome.stats, "engaged", "true"));
        cr_assert(says(outcome.stats, "limit_exceeded_pages_peak", "0"), "%s", outcome.stats);
    }
}

Test(backends, calls_of_several_threads_share_the_limit)
{
    keeps_the_limit("blocked_reads_leave_room");
}

Test(backends, buffer_ends_with_its_block)
{
    keeps_the_limit("length_says_more_than_there_is");
}

Test(backends, guard_pages_do_not_exceed_the_limit)
{
    keeps_the_limit("guard_pages_are_not_in_ram");
}

Test(backends, ordinary_user_gets_the_signal_backend)
{
    struct outcome outcome;

    if (getuid() != 0)
        cr_skip_test("only root can become a user without permission");
    run_with_backend("calloc_is_zero_also_after_use", "auto", "--reuid=65534", &outcome);
    cr_assert_str_eq(outcome.output, "ok\n", "%s", outcome.errors);
    cr_assert_str_eq(outcome.errors, "");
    cr_assert(says(outcome.stats, "engaged", "true"));
    cr_assert(says(outcome.stats, "backend", "\"signal\""), "%s", outcome.stats);
}

Test(backends, container_without_userfaultfd_gets_the_segv_backend)
{
    static const char *const some[] = {"calloc_is_zero_also_after_use", "realloc_keeps_the_contents",
                                       "both_sides_of_a_fork_go_on", "calls_without_libc", "jumps_out_of_a_handler"};

    if (getuid() != 0)
        cr_skip_test("only root can become a user without permission");
    run_by = "helper_refuse";
    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++) {
        struct outcome outcome;

        run_with_backend(some[i], "auto", "--reuid=65534", &outcome);
        cr_assert_str_eq(outcome.output, "ok\n", "%s: %s", some[i], outcome.errors);
        cr_assert_str_eq(outcome.errors, "");
        cr_assert(says(outcome.stats, "engaged", "true"));
        cr_assert(says(outcome.stats, "backend", "\"segv\""), "%s", outcome.stats);
    }
}

Test(backends, backend_that_is_not_possible_is_one_line_and_another_is_used)
{
    struct outcome outcome;

    if (getuid() != 0)
        cr_skip_test("only root can become a user without permission");
    run_by = "helper_refuse";
    run_with_backend("calloc_is_zero_also_after_use", "signal", "--reuid=65534", &outcome);
    cr_assert_str_eq(outcome.output, "ok\n", "%s", outcome.errors);
    cr_assert_str_eq(outcome.errors, "ghostmem: GHOSTMEM_FAULTS=signal: not possible here: it needs Syscall User Dispatch "
                     "(Linux 5.11, x86-64) and userfaultfd for faults of user mode; used instead: auto\n");
    cr_assert(says(outcome.stats, "backend", "\"segv\""), "%s", outcome.stats);
}

Test(backends, more_scattered_pages_than_the_kernel_has_mappings_for)
{
    const char *settings[6] = {"GHOSTMEM_MAX_PAGES=36000", "GHOSTMEM_FAULTS=segv"};
    struct outcome outcome;

    run_probe("every_other_page", "300", NULL, settings, required("GHOSTMEM_LIB"), &outcome);
    cr_assert_str_eq(outcome.output, "ok\n", "%s", outcome.errors);
    cr_assert_str_eq(outcome.errors, "");
    cr_assert(says(outcome.stats, "engaged", "true"));
}

Test(backends, user_without_permission_runs_on_libc_after_one_line)
{
    const char *settings[6] = {"GHOSTMEM_MAX_PAGES=64", "GHOSTMEM_FAULTS=thread"};
    struct outcome outcome;

    if (getuid() != 0)
        cr_skip_test("only root can become a user without permission");
    run_probe("calloc_is_zero_also_after_use", "8", "--reuid=65534", settings, required("GHOSTMEM_LIB"), &outcome);
    cr_assert_str_eq(outcome.output, "ok\n", "%s", outcome.errors);
    cr_assert_str_eq(outcome.errors,
                     "ghostmem: userfaultfd is not permitted: EPERM (1); the limit cannot be kept and memory comes from "
                     "libc (run as root or with CAP_SYS_PTRACE, or sysctl vm.unprivileged_userfaultfd=1, or give access "
                     "to /dev/userfaultfd)\n");
}

/*
 * The n-th call of platform/ fails, n = 1, 2, 3 ... Calls are made by several threads, so their number differs from run
 * to run; 100 is past the last one before and while the core starts (about 40, with `signal` 70).
 */
#define N_INJECTED 100

static void fail_each_call(const char *faults)
{
    size_t n_lines = 0;

    for (int n = 1; n <= N_INJECTED; n++) {
        char inject[32];
        const char *settings[6] = {"GHOSTMEM_MAX_PAGES=64", inject, faults};
        struct outcome outcome;

        snprintf(inject, sizeof inject, "OS_INJECT=%d", n);
        run_probe("realloc_keeps_the_contents", "4", NULL, settings, required("GHOSTMEM_INJECT_LIB"), &outcome);
        cr_assert_eq(outcome.status, 0, "call %d: status %#x, %s", n, (unsigned)outcome.status, outcome.errors);
        cr_assert_str_eq(outcome.output, "ok\n", "call %d: %s", n, outcome.errors);
        n_lines += outcome.errors[0] != '\0';
    }
    cr_assert_gt(n_lines, 3, "some of these calls cannot do without");
}

Test(backends, every_failing_call_on_the_way_to_paging_leaves_the_program_right_with_thread)
{
    fail_each_call("GHOSTMEM_FAULTS=thread");
}

Test(backends, every_failing_call_on_the_way_to_paging_leaves_the_program_right_with_signal)
{
    fail_each_call("GHOSTMEM_FAULTS=signal");
}

Test(backends, every_failing_call_on_the_way_to_paging_leaves_the_program_right_with_segv)
{
    fail_each_call("GHOSTMEM_FAULTS=segv");
}

/* A stretch of calls of @kind says @error although it was successful. */
static void deny_each_call(const char *probe, const char *faults, const char *kind, int error)
{
    for (int first = 1; first <= 60; first += 3) {
        char inject[64];
        const char *settings[6] = {"GHOSTMEM_MAX_PAGES=64", inject, faults};
        struct outcome outcome;

        snprintf(inject, sizeof inject, "OS_INJECT_%s=%d:%d:%d", kind, first, 1 + first % 4, error);
        run_probe(probe, "4", NULL, settings, required("GHOSTMEM_INJECT_LIB"), &outcome);
        cr_assert_eq(outcome.status, 0, "call %d: status %#x, %s", first, (unsigned)outcome.status, outcome.errors);
        cr_assert_str_eq(outcome.output, "ok\n", "call %d: %s", first, outcome.errors);
        cr_assert(says(outcome.stats, "outside_changes", "0"), "call %d: %s", first, outcome.stats);
    }
}

/* What Linux 6.18 does to a run of pages now and then, and every kernel without memory: see platform/uffd.c. */
Test(backends, pages_that_moved_although_the_kernel_denies_it_are_found)
{
    deny_each_call("realloc_keeps_the_contents", NULL, "MOVE", EEXIST);
    deny_each_call("realloc_keeps_the_contents", NULL, "MOVE", EFAULT);
}

/* The kernel's word for want of memory is the same as for a mapping that is gone. */
Test(backends, pages_that_could_not_be_written_at_once_are_there_for_a_system_call)
{
    deny_each_call("realloc_keeps_the_contents", "GHOSTMEM_FAULTS=segv", "FILL", EIO);
    deny_each_call("system_calls_reach_frozen_memory", "GHOSTMEM_FAULTS=segv", "FILL", EIO);
}


static unsigned long number_of(const struct outcome *outcome, const char *key)
{
    char quoted[64];
    const char *at;

    snprintf(quoted, sizeof quoted, "\"%s\": ", key);
    at = strstr(outcome->stats, quoted);
    cr_assert_not_null(at, "%s in %s", key, outcome->stats);
    return strtoul(at + strlen(quoted), NULL, 10);
}

static bool has_no_ring;

static unsigned long extracted_with(const char *setting, const char *library)
{
    /* Above the 768 pages that every probe has before main(): paging must not have begun when it opens its device. */
    const char *settings[6] = {"GHOSTMEM_MAX_PAGES=1000", "GHOSTMEM_FAULTS=signal", setting};
    struct outcome outcome;

    run_probe("device_comes_into_use", "8", NULL, settings, required(library), &outcome);
    has_no_ring = strcmp(outcome.output, "no ring\nok\n") == 0; /* forbidden here: kernel.io_uring_disabled, a filter */
    cr_assert(has_no_ring || strcmp(outcome.output, "ok\n") == 0, "%s: %s%s", setting, outcome.output, outcome.errors);
    cr_assert_str_eq(outcome.errors, "", "%s", setting);
    cr_assert_eq(number_of(&outcome, "limit_exceeded_pages_peak"), 0, "%s", setting);
    cr_assert_gt(number_of(&outcome, "freezes"), 3000, "%s", setting);
    return number_of(&outcome, "extracted_pages");
}

static void expect_end_of_extraction(const char *setting)
{
    unsigned long n_without = extracted_with("NOTHING=", "GHOSTMEM_LIB");
    unsigned long n = extracted_with(setting, "GHOSTMEM_LIB");

    cr_assert_gt(n_without, 2500);
    cr_assert(n > 500 && n < n_without / 2 + 500, "%s: %lu of %lu", setting, n, n_without);
}

Test(backends, socket_that_pins_memory_ends_extraction)
{
    expect_end_of_extraction("PROBE_SOCKET_LATER=1");
}

Test(backends, ring_from_before_paging_forbids_extraction)
{
    unsigned long n = extracted_with("PROBE_RING=1", "GHOSTMEM_LIB");

    if (has_no_ring)
        cr_skip_test("there is no io_uring");
    cr_assert_eq(n, 0);
}

/* Who has a device may have pinned memory: then its pages are moved. One of these is there in most places. */
Test(backends, pages_are_extracted_as_long_as_nobody_can_have_pinned_them)
{
    static const char *const devices[] = {"/dev/kvm", "/dev/fuse", "/dev/loop-control", "/dev/autofs", "/dev/net/tun", "/dev/hwrng"};
    char setting[64];
    size_t i = 0;

    while (i < sizeof devices / sizeof devices[0] && access(devices[i], R_OK) != 0)
        i++;
    if (i == sizeof devices / sizeof devices[0])
        cr_skip_test("there is no device that may be opened");
    snprintf(setting, sizeof setting, "PROBE_DEVICE=%s", devices[i]);
    cr_assert_eq(extracted_with(setting, "GHOSTMEM_LIB"), 0);
    snprintf(setting, sizeof setting, "PROBE_DEVICE_LATER=%s", devices[i]);
    expect_end_of_extraction(setting);
    snprintf(setting, sizeof setting, "PROBE_MAPPED_LATER=%s", devices[i]);
    expect_end_of_extraction(setting);
}

/* EPERM: for good. EFAULT, EAGAIN: these pages, this time. 0: half of them. */
Test(backends, pages_that_cannot_be_extracted_are_moved)
{
    cr_assert_eq(extracted_with("OS_INJECT_EXTRACT=1:1000000000:1", "GHOSTMEM_INJECT_LIB"), 0);
    cr_assert_eq(extracted_with("OS_INJECT_EXTRACT=1:1000000000:14", "GHOSTMEM_INJECT_LIB"), 0);
    cr_assert_gt(extracted_with("OS_INJECT_EXTRACT=1:1000000000:0", "GHOSTMEM_INJECT_LIB"), 1000);
    cr_assert_gt(extracted_with("OS_INJECT_EXTRACT=10:1:14", "GHOSTMEM_INJECT_LIB"), 1000);
}
