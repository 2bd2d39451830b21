/*
 * test_world.c - where the world around the program has not enough for paging: descriptors, memory, rights. It may end
 * with a line that says so, and the limit may yield; never with a wrong byte, and never without an end.
 *
 * From the environment: GHOSTMEM_LIB and GHOSTMEM_TEST_BIN.
 */
#include "tests/preload/outcome.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(world, .init = make_dir, .fini = remove_dir);

static const char *const backends[] = {"signal", "segv", "thread"};
static const char *const limits[][2] = {{"5", "1"}, {"64", "4"}, {"1024", "6"}};
#define N_BACKENDS (sizeof backends / sizeof backends[0])
#define N_LIMITS (sizeof limits / sizeof limits[0])

static void run_in_world(const char *probe, size_t backend, size_t limit, const char *more, struct outcome *outcome)
{
    char faults[64];
    char pages[64];
    const char *settings[6] = {faults, pages, more};

    snprintf(faults, sizeof faults, "GHOSTMEM_FAULTS=%s", backends[backend]);
    snprintf(pages, sizeof pages, "GHOSTMEM_MAX_PAGES=%s", limits[limit][0]);
    run_probe(probe, limits[limit][1], NULL, settings, required("GHOSTMEM_LIB"), outcome);
}

static bool is_about_the_report(const char *line)
{
    return strncmp(line, "ghostmem: GHOSTMEM_STATS=", strlen("ghostmem: GHOSTMEM_STATS=")) == 0;
}

/* Every line is ours. Returns how many there are, but for a report that cannot be written where the test wants it. */
static size_t count_lines(const char *name, const char *errors)
{
    size_t n = 0;

    for (const char *at = errors; *at != '\0'; at = strchr(at, '\n') + 1) {
        cr_assert(strncmp(at, "ghostmem: ", strlen("ghostmem: ")) == 0 && strchr(at, '\n') != NULL, "%s: %s", name, errors);
        n += !is_about_the_report(at);
    }
    return n;
}

static void lines_are_few(const char *name, const char *errors, size_t most)
{
    cr_assert_leq(count_lines(name, errors), most, "%s: %s", name, errors);
}

static void ends_well(const char *probe, size_t most_lines)
{
    for (size_t b = 0; b < N_BACKENDS; b++)
        for (size_t l = 0; l < N_LIMITS; l++) {
            struct outcome outcome;

            run_in_world(probe, b, l, NULL, &outcome);
            cr_assert_eq(outcome.status, 0, "%s, %s, %s pages: status %#x, %s", probe, backends[b], limits[l][0],
                         (unsigned)outcome.status, outcome.errors);
            cr_assert_str_eq(outcome.output, "ok\n", "%s, %s", probe, backends[b]);
            lines_are_few(probe, outcome.errors, most_lines);
        }
}

Test(world, descriptors_that_run_out_are_one_line_at_the_most)
{
    ends_well("no_descriptors_before_paging_starts", 1);
    ends_well("no_descriptors_once_paging_runs", 1);
    ends_well("descriptors_are_used_up_before_paging_starts", 1);
    ends_well("descriptors_are_used_up_once_paging_runs", 1);
}

/* Six children, each of which may be without a limit, and says so. */
Test(world, forks_with_little_memory_left_lose_nothing)
{
    ends_well("forks_with_little_address_space_left", 6);
    ends_well("forks_with_little_data_left", 6);
}

/* What is nobody's in /proc/self is root's by then: pages that cannot be looked up stay, a child has no limit. */
static void nobody_ends_well(const char *probe, const char *faults)
{
    const char *settings[6] = {"GHOSTMEM_MAX_PAGES=1024", faults};
    struct outcome outcome;

    run_probe(probe, "6", "--reuid=65534", settings, required("GHOSTMEM_LIB"), &outcome);
    cr_assert_eq(outcome.status, 0, "%s, %s: %s", probe, faults, outcome.errors);
    cr_assert_str_eq(outcome.output, "ok\n");
    lines_are_few(probe, outcome.errors, 1);
}

Test(world, process_that_may_not_be_looked_at_loses_nothing)
{
    ends_well("process_may_not_be_looked_at", 1);
    ends_well("process_was_never_to_be_looked_at", 1);
    if (getuid() != 0)
        return;
    nobody_ends_well("process_may_not_be_looked_at", "GHOSTMEM_FAULTS=signal");
    nobody_ends_well("process_may_not_be_looked_at", "GHOSTMEM_FAULTS=segv");
    nobody_ends_well("process_was_never_to_be_looked_at", "GHOSTMEM_FAULTS=signal");
    nobody_ends_well("process_was_never_to_be_looked_at", "GHOSTMEM_FAULTS=segv");
}

Test(world, child_that_may_no_longer_watch_its_memory_has_all_of_it)
{
    if (getuid() != 0)
        cr_skip_test("only root can become another user, or have another root directory");
    ends_well("user_changes", 1);
    ends_well("root_directory_is_empty", 1);
}

/* The right result; or an end that says why; or, where the sandbox kills, the end that it has for its own. */
static void ends_in_a_sandbox(const char *wish, size_t b, size_t l)
{
    char setting[64];
    bool kills = strstr(wish, "kill") != NULL || strstr(wish, "trap") != NULL;
    struct outcome outcome;
    bool ended;

    snprintf(setting, sizeof setting, "PROBE_SANDBOX=%s", wish);
    run_in_world("enters_a_sandbox", b, l, setting, &outcome);
    lines_are_few(wish, outcome.errors, 1);
    if (outcome.status == 0) {
        cr_assert_str_eq(outcome.output, "ok\n", "%s, %s", wish, backends[b]);
        return;
    }
    cr_assert_str_eq(outcome.output, "");
    ended = (WIFEXITED(outcome.status) && WEXITSTATUS(outcome.status) == 128 + SIGABRT) ||
            (WIFSIGNALED(outcome.status) && WTERMSIG(outcome.status) == (kills ? SIGSYS : SIGABRT));
    cr_assert(ended, "%s, %s: status %#x, %s", wish, backends[b], (unsigned)outcome.status, outcome.errors);
    if (!kills && !(strcmp(backends[b], "thread") == 0 && strstr(wish, "all") != NULL))
        cr_assert_eq(count_lines(wish, outcome.errors), 1, "%s, %s: %s", wish, backends[b], outcome.errors);
}

Test(world, sandbox_that_refuses_our_calls_is_never_a_wrong_byte_or_a_hang)
{
    static const char *const wishes[] = {"eperm",         "eperm all",     "eperm before", "eperm before all",
                                         "enosys",        "enosys before", "trap",         "trap before",
                                         "trap before all", "kill",        "kill before",  "kill before all"};

    for (size_t i = 0; i < sizeof wishes / sizeof wishes[0]; i++)
        for (size_t b = 0; b < N_BACKENDS; b++)
            for (size_t l = 1; l < N_LIMITS; l++)
                ends_in_a_sandbox(wishes[i], b, l);
}

/* doc/limits.md has the list. */
Test(world, sandbox_that_allows_what_paging_needs_is_no_obstacle)
{
    static const char *const wishes[] = {"PROBE_SANDBOX=kill before all paging", "PROBE_SANDBOX=kill all paging start"};

    for (size_t i = 0; i < sizeof wishes / sizeof wishes[0]; i++)
        for (size_t b = 0; b < N_BACKENDS; b++)
            for (size_t l = 1; l < N_LIMITS; l++) {
                struct outcome outcome;

                run_in_world("enters_a_sandbox", b, l, wishes[i], &outcome);
                cr_assert_eq(outcome.status, 0, "%s, %s: status %#x, %s", wishes[i], backends[b], (unsigned)outcome.status,
                             outcome.errors);
                cr_assert_str_eq(outcome.output, "ok\n", "%s, %s", wishes[i], backends[b]);
                cr_assert_str_eq(outcome.errors, "", "%s, %s", wishes[i], backends[b]);
                cr_assert(says(outcome.stats, "engaged", "true"), "%s, %s: %s", wishes[i], backends[b], outcome.stats);
            }
}

/* By its path, by its name alone; bound when it is loaded, and later. */
Test(world, plugin_that_reaches_libc_past_us_frees_what_is_its_hosts)
{
    static const char *const plugins[] = {"plugin.so", "plugin_bound.so"};
    char path[512];
    char directory[512];

    snprintf(directory, sizeof directory, "LD_LIBRARY_PATH=%s", required("GHOSTMEM_TEST_BIN"));
    for (size_t i = 0; i < 4; i++)
        for (size_t b = 0; b < N_BACKENDS; b++) {
            const char *settings[6] = {"GHOSTMEM_MAX_PAGES=64", directory, path};
            char faults[64];
            struct outcome outcome;

            snprintf(path, sizeof path, "PROBE_PLUGIN=%s%s%s", i < 2 ? required("GHOSTMEM_TEST_BIN") : "", i < 2 ? "/" : "",
                     plugins[i % 2]);
            snprintf(faults, sizeof faults, "GHOSTMEM_FAULTS=%s", backends[b]);
            settings[3] = faults;
            run_probe("plugin_with_its_own_scope", "2", NULL, settings, required("GHOSTMEM_LIB"), &outcome);
            cr_assert_eq(outcome.status, 0, "%s, %s: status %#x, %s", path, backends[b], (unsigned)outcome.status, outcome.errors);
            cr_assert_str_eq(outcome.output, "ok\n");
            cr_assert_str_eq(outcome.errors, "", "%s: %s", path, outcome.errors);
        }
}

/* Before its limit is passed it makes no call that plain malloc does not make. */
Test(world, program_that_fits_needs_nothing_more_in_its_sandbox)
{
    const char *settings[6] = {"GHOSTMEM_MAX_PAGES=100000", "PROBE_SANDBOX=kill", "GHOSTMEM_STATS=0"};
    struct outcome outcome;

    run_probe("enters_a_sandbox", "8", NULL, settings, required("GHOSTMEM_LIB"), &outcome);
    cr_assert_eq(outcome.status, 0, "status %#x", (unsigned)outcome.status);
    cr_assert_str_eq(outcome.output, "ok\n");
    cr_assert_str_eq(outcome.errors, "");
}

/* Small blocks are the allocator's, large ones ours; where malloc is the program's own, all are the program's. */
Test(world, programs_with_another_allocator_get_what_they_gave)
{
    static const char *const programs[] = {"helper_with_jemalloc", "helper_with_mimalloc", "helper_with_tcmalloc",
                                           "helper_with_its_own"};

    for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++)
        for (size_t b = 0; b < N_BACKENDS; b++)
            for (size_t l = 1; l < N_LIMITS; l++) {
                struct outcome outcome;

                run_by = programs[i];
                run_in_world("", b, l, NULL, &outcome);
                cr_assert_eq(outcome.status, 0, "%s, %s: status %#x, %s", programs[i], backends[b],
                             (unsigned)outcome.status, outcome.errors);
                cr_assert_str_eq(outcome.output, "ok\n", "%s, %s", programs[i], backends[b]);
                cr_assert_str_eq(outcome.errors, "", "%s, %s", programs[i], backends[b]);
                cr_assert(says(outcome.stats, "engaged", i < 3 ? "true" : "false"), "%s, %s: %s", programs[i], backends[b],
                          outcome.stats);
            }
}

/* Once for each of the three programs that read it. */
Test(world, programs_of_a_tree_each_complain_once)
{
    const char *line = "ghostmem: GHOSTMEM_RECLAIM=never: not understood";
    const char *settings[6] = {"GHOSTMEM_MAX_PAGES=64", "GHOSTMEM_RECLAIM=never"};
    const char *at;
    struct outcome outcome;
    size_t n = 0;

    run_probe("runs_itself_again", "4", NULL, settings, required("GHOSTMEM_LIB"), &outcome);
    cr_assert_eq(outcome.status, 0, "%s", outcome.errors);
    cr_assert_str_eq(outcome.output, "ok\nok\n");
    for (at = outcome.errors; (at = strstr(at, line)) != NULL; at += strlen(line))
        n++;
    cr_assert_eq(n, 3, "%s", outcome.errors);
    lines_are_few("runs_itself_again", outcome.errors, 3);
}

/* There is no memory for images, and a line says so: not where standard error was, nor where the log has been. */
Test(world, files_of_its_own_get_no_messages)
{
    char log[PATH_BYTES];
    char text[4096];

    snprintf(log, sizeof log, "GHOSTMEM_LOG=%s/log", dir);
    for (size_t b = 0; b < N_BACKENDS; b++)
        for (size_t with_log = 0; with_log < 2; with_log++) {
            char faults[64];
            const char *settings[6] = {faults, "GHOSTMEM_MAX_PAGES=64", "GHOSTMEM_POOL=256K", with_log ? log : NULL};
            struct outcome outcome;

            snprintf(faults, sizeof faults, "GHOSTMEM_FAULTS=%s", backends[b]);
            run_probe("files_of_its_own_get_no_messages", "4", NULL, settings, required("GHOSTMEM_LIB"), &outcome);
            cr_assert_eq(outcome.status, 0, "%s: %s", faults, outcome.errors);
            cr_assert_str_eq(outcome.errors, "");
        }
    read_file("log", text, sizeof text);
    cr_assert_not_null(strstr(text, "ghostmem: no memory for another compressed image"));
}
