/* test_signals.c - what the guard makes of signals, threads and children: with both of the backends that have one. See guard.h. */
#include "tests/preload/outcome.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

TestSuite(signals, .init = make_dir, .fini = remove_dir);

/* The probe ends as it does without, its memory paged. */
static void ends_well_at(const char *probe, const char *megabytes, const char *limit)
{
    static const char *const guarded[] = {"GHOSTMEM_FAULTS=signal", "GHOSTMEM_FAULTS=segv"};

    struct outcome outcome;

    run_probe(probe, megabytes, NULL, NULL, NULL, &outcome);
    cr_assert(outcome.status == 0, "without: status %#x, %s", (unsigned)outcome.status, outcome.errors);
    for (size_t i = 0; i < sizeof guarded / sizeof guarded[0]; i++) {
        const char *settings[6] = {guarded[i], limit};

        run_probe(probe, megabytes, NULL, settings, required("GHOSTMEM_LIB"), &outcome);
        cr_assert(outcome.status == 0, "%s: status %#x, %s", guarded[i], (unsigned)outcome.status, outcome.errors);
        cr_assert_str_eq(outcome.output, "ok\n", "%s", guarded[i]);
        cr_assert_str_eq(outcome.errors, "", "%s: %s", guarded[i], outcome.errors);
        cr_assert(says(outcome.stats, "engaged", "true"), "%s", guarded[i]);
    }
}

static void ends_well(const char *probe, const char *megabytes)
{
    ends_well_at(probe, megabytes, "GHOSTMEM_MAX_PAGES=64");
}

/* What the probe allocates before its main() fits. */
static void starts_well(const char *probe)
{
    ends_well_at(probe, "6", "GHOSTMEM_MAX_PAGES=1024");
}

Test(signals, children_begin_without_handlers)
{
    ends_well("children_begin_without_handlers", "4");
}

Test(signals, messages_keep_what_they_carry)
{
    ends_well("messages_keep_what_they_carry", "4");
}

Test(signals, messages_reach_who_takes_them)
{
    ends_well("messages_reach_who_takes_them", "4");
}

Test(signals, masks_of_calls_let_messages_in)
{
    ends_well("masks_of_calls_let_messages_in", "4");
}

Test(signals, messages_end_calls_as_others_do)
{
    ends_well("messages_end_calls_as_others_do", "4");
}

Test(signals, messages_come_at_any_moment)
{
    ends_well("messages_come_at_any_moment", "4");
}

Test(signals, signals_come_before_a_thread_is_in)
{
    starts_well("signals_come_before_a_thread_is_in");
}

Test(signals, queue_of_signals_is_full)
{
    starts_well("queue_of_signals_is_full");
}

Test(signals, signal_stack_disarms_itself)
{
    ends_well("signal_stack_disarms_itself", "4");
}

Test(signals, paging_starts_beside_a_kernel_worker)
{
    starts_well("paging_starts_beside_a_kernel_worker");
}

Test(signals, paging_starts_after_a_vfork)
{
    starts_well("paging_starts_after_a_vfork");
}

Test(signals, paging_starts_once_signals_are_unblocked)
{
    starts_well("paging_starts_once_signals_are_unblocked");
}

Test(signals, paging_starts_where_signals_are_blocked)
{
    starts_well("paging_starts_where_signals_are_blocked");
}

/* Several times: it is a matter of moments. */
Test(signals, paging_starts_where_threads_wait_for_memory)
{
    static const char *const backends[] = {"GHOSTMEM_FAULTS=signal", "GHOSTMEM_FAULTS=segv"};
    struct outcome outcome;

    for (int i = 0; i < 10; i++) {
        const char *settings[6] = {backends[i % 2], "GHOSTMEM_MAX_PAGES=1024"};

        run_probe("paging_starts_where_threads_wait_for_memory", "6", NULL, settings, required("GHOSTMEM_LIB"), &outcome);
        cr_assert(outcome.status == 0, "%s: status %#x, %s", backends[i % 2], (unsigned)outcome.status, outcome.errors);
        cr_assert_str_eq(outcome.errors, "");
        cr_assert(says(outcome.stats, "engaged", "true") && says(outcome.stats, "limit_exceeded_pages_peak", "0"), "%s", outcome.stats);
    }
}

Test(signals, line_names_who_keeps_paging_from_starting)
{
    const char *settings[6] = {"GHOSTMEM_FAULTS=signal", "GHOSTMEM_MAX_PAGES=1024"};
    struct outcome outcome;

    run_probe("paging_starts_after_a_long_vfork", "6", NULL, settings, required("GHOSTMEM_LIB"), &outcome);
    cr_assert(outcome.status == 0, "status %#x, %s", (unsigned)outcome.status, outcome.errors);
    cr_assert(strstr(outcome.errors, "(probe) waits for a child that it has made by vfork or posix_spawn") != NULL, "%s", outcome.errors);
    cr_assert_eq(strchr(outcome.errors, '\n'), strrchr(outcome.errors, '\n'), "one line: %s", outcome.errors);
    cr_assert(says(outcome.stats, "engaged", "true") && !says(outcome.stats, "limit_exceeded_pages_peak", "0"), "%s", outcome.stats);
}

Test(signals, paging_starts_in_a_pid_namespace)
{
    starts_well("paging_starts_in_a_pid_namespace");
}
