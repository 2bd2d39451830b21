/* test_signals.c - what the guard makes of signals, threads and children: with both of the backends that have one. See guard.h. */
#include "tests/preload/outcome.h"

#include <criterion/criterion.h>
#include <stdio.h>

TestSuite(signals, .init = make_dir, .fini = remove_dir);

/* The probe ends as it does without, its memory paged. */
static void ends_well(const char *probe, const char *megabytes)
{
    static const char *const guarded[] = {"GHOSTMEM_FAULTS=signal", "GHOSTMEM_FAULTS=segv"};

    for (size_t i = 0; i < sizeof guarded / sizeof guarded[0]; i++) {
        const char *settings[6] = {guarded[i], "GHOSTMEM_MAX_PAGES=64"};
        struct outcome outcome;

        run_probe(probe, megabytes, NULL, settings, required("GHOSTMEM_LIB"), &outcome);
        cr_assert(outcome.status == 0, "%s: status %#x, %s", guarded[i], (unsigned)outcome.status, outcome.errors);
        cr_assert_str_eq(outcome.output, "ok\n", "%s", guarded[i]);
        cr_assert_str_eq(outcome.errors, "", "%s: %s", guarded[i], outcome.errors);
        cr_assert(says(outcome.stats, "engaged", "true"), "%s", guarded[i]);
    }
}

Test(signals, children_begin_without_handlers)
{
    ends_well("children_begin_without_handlers", "4");
}
