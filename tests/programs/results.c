/*
 * results.c - see results.h.
 *
 * GHOSTMEM_TEST_RESULTS: the file to which lines are added; without it nothing is written. A line has six fields with
 * tabs between them: backend or "swap file", suite, test, trial@limit or nothing, result, reason.
 */
#include "tests/programs/results.h"

#include <criterion/criterion.h>
#include <criterion/event.h>
#include <criterion/hooks.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRIAL "trial " /* begins the message of the assertion that carries a name */

enum { MESSAGE_BYTES = 128, REASON_BYTES = 160 };

/* The name travels to the runner as the message of an assertion that holds. */
void results_name(const char *trial, const char *limit)
{
    char message[MESSAGE_BYTES];
    struct criterion_assert_stats holds = {.message = message, .passed = true, .line = __LINE__, .file = __FILE__};

    (void)snprintf(message, sizeof(message), TRIAL "%s@%s", trial, limit);
    criterion_send_assert(&holds);
}

static const char *name_of(const struct criterion_test_stats *test)
{
    for (const struct criterion_assert_stats *a = test->asserts; a; a = a->next)
        if (a->passed && a->message && strncmp(a->message, TRIAL, strlen(TRIAL)) == 0)
            return a->message + strlen(TRIAL);
    return "";
}

/* Of several assertions that failed, the first: the list begins with the last. */
static const char *reason_of(const struct criterion_test_stats *test)
{
    const char *reason = test->timed_out ? "timed out" : test->crashed ? "crashed" : "";

    if (test->test_status == CR_STATUS_SKIPPED)
        return test->message ? test->message : "";
    for (const struct criterion_assert_stats *a = test->asserts; a; a = a->next)
        if (!a->passed && a->message)
            reason = a->message;
    return reason;
}

static const char *result_of(const struct criterion_test_stats *test)
{
    if (test->test_status == CR_STATUS_SKIPPED)
        return test->message ? "skipped" : "left out"; /* by a filter: no message */
    return test->test_status == CR_STATUS_PASSED && test->failed_asserts == 0 && !test->crashed && !test->timed_out
               ? "passed"
               : "failed";
}

static void print_one(FILE *file, const char *suite, const struct criterion_test_stats *test)
{
    const char *backend = getenv("GHOSTMEM_TEST_SWAP") ? "swap file" : getenv("GHOSTMEM_TEST_FAULTS");
    char reason[REASON_BYTES];

    (void)snprintf(reason, sizeof(reason), "%s", reason_of(test));
    for (char *c = reason; *c; c++)
        if (*c == '\n' || *c == '\t')
            *c = ' ';
    (void)fprintf(file, "%s\t%s\t%s\t%s\t%s\t%s\n", backend ? backend : "auto", suite, test->test->name, name_of(test),
                  result_of(test), reason);
}

/* Criterion's lists begin with the last. */
static void print_tests(FILE *file, const char *suite, const struct criterion_test_stats *test)
{
    if (!test)
        return;
    print_tests(file, suite, test->next);
    print_one(file, suite, test);
}

static void print_suites(FILE *file, const struct criterion_suite_stats *suite)
{
    if (!suite)
        return;
    print_suites(file, suite->next);
    print_tests(file, suite->suite->name, suite->tests);
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
    const char *path = getenv("GHOSTMEM_TEST_RESULTS");
    FILE *file = path ? fopen(path, "a") : NULL;

    if (!file)
        return;
    print_suites(file, stats->suites);
    (void)fclose(file);
}
