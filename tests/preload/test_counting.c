/* test_counting.c - what is counted of a run: time waited, peaks, and which program it was. */
#include "outcome.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static struct outcome outcome;
static char text[32768];

TestSuite(counting, .init = make_dir, .fini = remove_dir);

static const char *const backends[] = {"GHOSTMEM_FAULTS=signal", "GHOSTMEM_FAULTS=segv", "GHOSTMEM_FAULTS=thread"};
#define N_BACKENDS (sizeof backends / sizeof backends[0])

static unsigned long long value_of(const char *json, const char *key)
{
    char quoted[64];
    const char *at;

    snprintf(quoted, sizeof quoted, "\"%s\": ", key);
    at = strstr(json, quoted);
    cr_assert_not_null(at, "%s in %s", key, json);
    return strtoull(at + strlen(quoted), NULL, 10);
}

static void run_with(const char *first, const char *second, const char *third)
{
    const char *settings[6] = {"GHOSTMEM_MAX_PAGES=256", first, second, third};

    run_probe("realloc_keeps_the_contents", "8", NULL, settings, required("GHOSTMEM_LIB"), &outcome);
    cr_assert(WIFEXITED(outcome.status) && WEXITSTATUS(outcome.status) == 0, "%s", outcome.errors);
}

Test(counting, time_waited_is_the_sum_of_its_kinds)
{
    static const char *const kinds[] = {"first_touch", "image", "swap", "cooled", "call", "other"};

    for (size_t b = 0; b < N_BACKENDS; b++) {
        unsigned long long sum = 0;

        run_with(backends[b], NULL, NULL);
        for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
            char key[64];

            snprintf(key, sizeof key, "waited_%s_ns", kinds[i]);
            sum += value_of(outcome.stats, key);
        }
        cr_assert_eq(value_of(outcome.stats, "waited_ns"), sum);
        cr_assert_gt(value_of(outcome.stats, "waited_first_touch_ns"), 0, "%s", backends[b]);
        cr_assert_gt(value_of(outcome.stats, "waited_image_ns"), 0, "%s", backends[b]);
        cr_assert_eq(value_of(outcome.stats, "waited_swap_ns"), 0);
        /* One thread of the program, and at most two others that may be waited for at the same time. */
        cr_assert_leq(sum, (value_of(outcome.stats, "run_ms") + 1) * 3000000ull, "%s: %s", backends[b], outcome.stats);
    }
}

Test(counting, waiting_for_the_swap_file_is_told_apart)
{
    run_with_swap("realloc_keeps_the_contents", "16", "64", false, NULL, &outcome);
    if (value_of(outcome.stats, "swap_read_bytes") > 0)
        cr_assert_gt(value_of(outcome.stats, "waited_swap_ns"), 0);
}

Test(counting, peaks_outlive_what_the_program_frees)
{
    for (size_t b = 0; b < N_BACKENDS; b++) {
        run_with(backends[b], NULL, NULL);
        cr_assert_geq(value_of(outcome.stats, "frozen_pages_peak"), 1000);
        cr_assert_geq(value_of(outcome.stats, "frozen_pages_peak"),
                      value_of(outcome.stats, "frozen_pages") + value_of(outcome.stats, "same_filled_pages"));
        cr_assert_geq(value_of(outcome.stats, "pool_used_bytes_peak"), value_of(outcome.stats, "pool_used_bytes"));
        cr_assert_geq(value_of(outcome.stats, "peak_rss_bytes"), 1 << 20);
    }
}

Test(counting, readable_report_has_them)
{
    run_with("GHOSTMEM_STATS=1", NULL, NULL);
    cr_assert_not_null(strstr(outcome.errors, "program              probe, process "), "%s", outcome.errors);
    cr_assert_not_null(strstr(outcome.errors, "RAM at most, in all "));
    cr_assert_not_null(strstr(outcome.errors, "frozen at most "));
    cr_assert_not_null(strstr(outcome.errors, "images at most "));
    cr_assert_not_null(strstr(outcome.errors, "waited for memory "));
}

Test(counting, json_says_which_program_it_was)
{
    char name[64];

    run_with("GHOSTMEM_STATS=of-%n-%p-%%n.json", NULL, NULL);
    cr_assert_eq(outcome.stats[0], '\0');
    run_with(NULL, NULL, NULL);
    snprintf(name, sizeof name, "%llu", value_of(outcome.stats, "process"));
    cr_assert(says(outcome.stats, "program", "\"probe\""), "%s", outcome.stats);
    cr_assert_not_null(strstr(outcome.stats, "/probe\", \"realloc_keeps_the_contents\", \"8\"],"));
    cr_assert_gt(value_of(outcome.stats, "started_s"), 1700000000ull);
    run_with("GHOSTMEM_STATS=of-%n.json", "GHOSTMEM_LOG=%n.log", "GHOSTMEM_VERBOSE=1");
    read_file("of-probe.json", text, sizeof text);
    cr_assert(says(text, "program", "\"probe\""), "%s", text);
    read_file("probe.log", text, sizeof text);
    cr_assert_not_null(strstr(text, "version"), "%s", text);
}

Test(counting, arguments_are_strings_of_json_whatever_is_in_them)
{
    const char *settings[6] = {NULL};

    /* The probe knows no such name, and ends with a status of its own. */
    run_probe("\"\\\x01\n\xff\xc3\xa9\xe2\x82\xf0\x9f\x98\x80\xed\xa0\x80", "8", NULL, settings, required("GHOSTMEM_LIB"), &outcome);
    cr_assert_not_null(strstr(outcome.stats,
                              "\"\\\"\\\\\\u0001\\u000a\\ufffd\xc3\xa9\\ufffd\\ufffd\xf0\x9f\x98\x80\\ufffd\\ufffd\\ufffd\""),
                       "%s", outcome.stats);
}
