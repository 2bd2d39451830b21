/*
 * test_preload.c - the probe program under LD_PRELOAD, at several limits: it must end as it ends without.
 *
 * From the environment: GHOSTMEM_LIB and GHOSTMEM_TEST_BIN, as in tests/programs.
 */
#include "tests/preload/outcome.h"
#include "tests/programs/plain.h"
#include "tests/programs/results.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(preload, .init = make_dir, .fini = remove_dir);
TestSuite(misuse, .init = make_dir, .fini = remove_dir);
TestSuite(settings, .init = make_dir, .fini = remove_dir);
TestSuite(report, .init = make_dir, .fini = remove_dir);

/* ---- the same as without ---- */

struct trial {
    char probe[48];
    char limit[8];
    char megabytes[8];
    bool swaps; /* with a swap file, encrypted at every other probe */
};

static const char *const probes[] = {
    "large_blocks_are_ghost_memory",
    "small_blocks_are_libcs",
    "errors_are_what_the_standards_say",
    "calloc_is_zero_also_after_use",
    "realloc_keeps_the_contents",
    "many_blocks_of_all_sizes",
    "calls_before_main_and_after_exit",
    "both_sides_of_a_fork_go_on",
    "child_writes_what_its_parent_only_read",
    "fork_chain",
    "fork_storm",
    "fork_while_threads_touch",
    "forks_while_blocks_move",
    "paging_starts_while_blocks_move",
    "programs_started_from_here_run",
    "exit_from_a_thread",
    "main_thread_ends_first",
    "underscore_exit",
    "system_calls_reach_frozen_memory",
    "closing_every_descriptor_loses_nothing",
    "discarded_memory_reads_as_zeros",
    "pages_are_not_merged",
    "threads_run_on_every_processor",
    "paging_starts_while_calls_run",
    "paging_starts_while_a_handler_reads",
    "protected_memory_keeps_its_protection",
    "protections_of_before_stay",
    "files_are_mapped_over_ghost_memory",
    "blocks_are_cut_in_what_is_mapped_over",
    "mapping_over_goes_on_for_ever",
    "what_is_mapped_over_is_discarded_with_its_block",
    "unmapped_parts_are_gone",
    "moved_parts_keep_their_contents",
    "protection_reaches_over_what_is_mapped_over",
    "keys_protect_ghost_memory",
    "threads_are_made_by_several_at_once",
    "faults_of_its_own_end_as_they_should",
    "length_says_more_than_there_is",
    "children_set_handlers_of_their_own",
    "forks_while_streams_wait_for_memory",
    "forks_while_blocks_outgrow_libc",
    "locked_memory_is_freed_and_zeroed",
    "privileges_are_dropped_after_the_start",
    "mutex_in_frozen_memory",
    "signal_dispositions_look_untouched",
    "title_is_written_over_the_environment",
    "calls_without_libc",
    "dispatch_stays_as_it_was",
    "every_call_of_the_table",
    "every_row_of_the_table",
    "ring_of_before_paging",
    "aio_of_before_paging",
    "vectors_and_messages",
    "large_transfers",
    "devices_give_what_is_asked_for",
    "one_position_is_shared_by_several",
    "appended_records_are_whole",
    "buffers_reach_over_two_blocks",
    "long_structures_are_all_there",
    "stdio_with_our_buffer",
    "waiting_calls",
    "arguments_of_a_new_program",
    "locks_in_frozen_memory",
    "owner_of_frozen_mutexes_ends",
    "thread_stack_in_ghost_memory",
    "forks_on_a_ghost_stack",
    "paging_starts_on_a_ghost_stack",
    "coroutines_on_ghost_stacks",
    "direct_reads_while_others_evict",
    "blocked_reads_leave_room",
    "handler_touches_frozen_memory",
    "interrupted_calls_end_as_they_should",
    "jumps_out_of_a_handler",
    "all_signals_blocked",
    "sent_signals_arrive",
    "signals_as_messages",
    "handlers_survive_a_spawn",
    "thread_is_cancelled_in_a_call",
    "many_threads_come_and_go",
    "threads_of_before_are_not_disturbed",
    "signal_stacks_of_before_are_kept",
    "paging_starts_in_a_handler_on_its_stack",
    "signals_without_room",
    "handlers_return_to_frames_in_ghost_memory",
    "fork_without_handlers",
    "becomes_a_daemon",
    "grandchild_has_it_all",
    "forks_in_a_handler",
    "forks_in_a_handler_while_it_allocates",
    "forks_from_another_thread",
    "children_are_killed_at_any_moment",
    "spawns_from_frozen_memory",
    "threads_are_cancelled_while_they_fault",
    "threads_leave_frozen_data",
    "small_stacks_fault_deeply",
    "advice_keeps_the_contents",
    "freed_pages_may_be_kept_until_written",
    "child_finds_wiped_pages_empty",
    "advice_ends_with_its_block",
    "advice_moves_with_its_block",
    "child_goes_on_without_pages_that_are_not_forked",
    "guard_marks_end_with_their_block",
    "questions_about_pages_are_answered",
    "lives_in_4_gib_of_address_space",
    "lives_in_1_gib_of_address_space",
    "lives_in_256_mib_of_address_space",
    "lives_in_1_gib_of_data",
    "lives_in_256_mib_of_data",
    "runs_itself_again",
    "threads_walk_in_all_directions",
    "all_is_locked",
    "all_is_locked_without_libc",
    "children_made_in_any_way_find_wiped_pages_empty",
    "many_ranges_are_wiped",
    "process_shares_less",
    "traces_an_exec",
    "traces_an_exec_after_vfork",
    "traces_an_exec_that_fails",
    "traces_a_child_that_stops_itself",
    "traced_child_has_its_signals",
    "traced_child_keeps_its_protections",
    "traced_child_stops_at_its_own_fault",
};
/* Without root's rights there is nothing to show for these. */
static bool needs_root(const char *probe)
{
    return strcmp(probe, "privileges_are_dropped_after_the_start") == 0;
}

/* GHOSTMEM_TEST_USER: an argument for setpriv(1), as whom the probes run with GhostMem. */
static const char *test_user(const char *probe)
{
    return needs_root(probe) ? NULL : getenv("GHOSTMEM_TEST_USER");
}

/*
 * A limit in pages, and the megabytes of data, which are more. GHOSTMEM_TEST_WAYS=all (`make check-all`): more data, and the
 * largest limit, at which nothing happens that does not happen at 1024 pages.
 */
struct way {
    const char *limit;
    const char *megabytes;
    const char *most_megabytes; /* with GHOSTMEM_TEST_WAYS=all */
    bool swaps;                 /* with a swap file */
};
static const struct way ways[] = {
    {"5", "1", "1", false}, {"64", "4", "4", false}, {"1024", "6", "16", false}, {"64", "4", "8", true}, {"4096", "20", "20", false},
};
#define N_PROBES (sizeof probes / sizeof probes[0])
#define N_WAYS (sizeof ways / sizeof ways[0])

ParameterizedTestParameters(preload, probe_ends_as_it_does_without)
{
    static struct trial trials[N_PROBES * N_WAYS];
    const char *wanted = getenv("GHOSTMEM_TEST_WAYS");
    bool all = wanted != NULL && strcmp(wanted, "all") == 0;
    size_t n_ways = all ? N_WAYS : N_WAYS - 1;

    for (size_t i = 0; i < N_PROBES; i++)
        for (size_t k = 0; k < n_ways; k++) {
            struct trial *trial = &trials[i * n_ways + k];

            strcpy(trial->probe, probes[i]);
            strcpy(trial->limit, ways[k].limit);
            strcpy(trial->megabytes, all ? ways[k].most_megabytes : ways[k].megabytes);
            trial->swaps = ways[k].swaps;
        }
    return cr_make_param_array(struct trial, trials, N_PROBES * n_ways);
}

static bool is_tested_with(const char *backend)
{
    const char *faults = getenv("GHOSTMEM_TEST_FAULTS");

    return faults != NULL && strcmp(faults, backend) == 0;
}

/* What the probe prints without GhostMem. It depends on neither the size nor the limit: one run is enough for all. */
static void run_plain(const struct trial *trial, struct outcome *plain)
{
    if (plain_load(trial->probe, plain->output, sizeof plain->output))
        return;
    run_probe(trial->probe, trial->megabytes, NULL, NULL, NULL, plain);
    cr_assert(WIFEXITED(plain->status) && WEXITSTATUS(plain->status) == 0, "%s without: %s", trial->probe, plain->errors);
    plain_keep(trial->probe, plain->output);
}

ParameterizedTest(struct trial *trial, preload, probe_ends_as_it_does_without)
{
    struct outcome plain;
    struct outcome ghost;

    results_name(trial->probe, trial->swaps ? "swap" : trial->limit);
    if (strcmp(trial->probe, "owner_of_frozen_mutexes_ends") == 0 && is_tested_with("thread"))
        cr_skip_test("the kernel serves no userfault of a thread that ends: doc/limits.md");
    if (strcmp(trial->probe, "forks_on_a_ghost_stack") == 0 && is_tested_with("thread"))
        cr_skip_test("the child's stack is missing until it watches its memory again: doc/limits.md");
    run_plain(trial, &plain);
    if (trial->swaps)
        run_with_swap(trial->probe, trial->megabytes, trial->limit, strlen(trial->probe) % 2 == 0,
                      test_user(trial->probe), &ghost);
    else
        run_at_limit_as(trial->probe, trial->megabytes, trial->limit, test_user(trial->probe), &ghost);
    cr_assert_eq(ghost.status, 0, "%s at %s pages: status %#x, %s", trial->probe, trial->limit,
                 (unsigned)ghost.status, ghost.errors);
    cr_assert_str_eq(ghost.output, plain.output, "%s at %s pages: it says %s", trial->probe, trial->limit, ghost.output);
    cr_assert_str_eq(ghost.errors, "", "%s at %s pages: %s", trial->probe, trial->limit, ghost.errors);
    cr_assert_neq(ghost.stats[0], '\0', "%s at %s pages: no report", trial->probe, trial->limit);
}

Test(preload, our_malloc_answers)
{
    struct outcome outcome;

    run_at_limit("large_blocks_are_ghost_memory", "8", "1000000", &outcome);
    cr_assert_str_eq(outcome.output, "ok\n");
    cr_assert(says(outcome.stats, "engaged", "false"));
    cr_assert(!says(outcome.stats, "ghost_bytes_peak", "0"), "%s", outcome.stats);
}

Test(preload, nothing_runs_while_the_program_fits)
{
    struct outcome outcome;

    run_at_limit("nothing_runs_while_the_program_fits", "8", "4096", &outcome);
    cr_assert_str_eq(outcome.output, "ok\n", "%s", outcome.errors);
    cr_assert(says(outcome.stats, "engaged", "false"));
    cr_assert(says(outcome.stats, "faults", "0"));
}

Test(preload, those_evict_who_are_to)
{
    const char *settings[6] = {"GHOSTMEM_MAX_PAGES=1024"};
    struct outcome outcome;

    run_probe("calloc_is_zero_also_after_use", "16", NULL, settings, required("GHOSTMEM_LIB"), &outcome);
    cr_assert_str_eq(outcome.output, "ok\n");
    cr_assert(!says(outcome.stats, "reclaimed_direct", "0"), "%s", outcome.stats);
    cr_assert(!says(outcome.stats, "reclaimed_background", "0"), "%s", outcome.stats);
    settings[1] = "GHOSTMEM_RECLAIM=direct";
    run_probe("calloc_is_zero_also_after_use", "16", NULL, settings, required("GHOSTMEM_LIB"), &outcome);
    cr_assert_str_eq(outcome.output, "ok\n");
    cr_assert(!says(outcome.stats, "reclaimed_direct", "0"), "%s", outcome.stats);
    cr_assert(says(outcome.stats, "reclaimed_background", "0"), "%s", outcome.stats);
    settings[1] = "GHOSTMEM_RECLAIM=background";
    run_probe("calloc_is_zero_also_after_use", "16", NULL, settings, required("GHOSTMEM_LIB"), &outcome);
    cr_assert_str_eq(outcome.output, "ok\n");
    cr_assert(!says(outcome.stats, "reclaimed_background", "0"), "%s", outcome.stats);
}

Test(preload, limit_that_had_to_yield_is_kept_again)
{
    const char *settings[6] = {"GHOSTMEM_MAX_PAGES=64", "GHOSTMEM_FAULTS=signal", "GHOSTMEM_RECLAIM=direct"};
    const char *resident = "\"resident_pages\": ";
    struct outcome outcome;

    run_probe("limit_returns_after_a_large_write", "4", NULL, settings, required("GHOSTMEM_LIB"), &outcome);
    cr_assert_str_eq(outcome.output, "ok\n", "%s", outcome.errors);
    cr_assert(!says(outcome.stats, "limit_exceeded_pages_peak", "0"), "%s", outcome.stats);
    cr_assert_not_null(strstr(outcome.stats, resident));
    cr_assert_leq(strtoul(strstr(outcome.stats, resident) + strlen(resident), NULL, 10), 64, "%s", outcome.stats);
}

Test(preload, table_of_calls_knows_every_call)
{
    struct outcome outcome;

    run_probe("table_knows_every_call", "1", NULL, NULL, NULL, &outcome);
    cr_assert_str_eq(outcome.output, "ok\n", "%s", outcome.errors);
}

/* 1,024 parts of a byte, 32 KiB apart: a page for each, and the vector's. */
Test(preload, vector_brings_in_what_it_names_and_nothing_between)
{
    static const char *const backends[] = {"GHOSTMEM_FAULTS=signal", "GHOSTMEM_FAULTS=segv"};
    const char *peak = "\"limit_exceeded_pages_peak\": ";

    for (size_t i = 0; i < sizeof backends / sizeof backends[0]; i++) {
        const char *settings[6] = {"GHOSTMEM_MAX_PAGES=64", backends[i]};
        struct outcome outcome;

        run_probe("scattered_vector", "32", NULL, settings, required("GHOSTMEM_LIB"), &outcome);
        cr_assert_str_eq(outcome.output, "ok\n", "%s", outcome.errors);
        cr_assert_not_null(strstr(outcome.stats, peak));
        cr_assert_lt(strtoul(strstr(outcome.stats, peak) + strlen(peak), NULL, 10), 1100, "%s: %s", backends[i], outcome.stats);
    }
}

Test(preload, unknown_calls_get_a_line)
{
    const char *settings[6] = {"GHOSTMEM_MAX_PAGES=64", "GHOSTMEM_FAULTS=signal", "GHOSTMEM_VERBOSE=1"};
    struct outcome outcome;

    run_probe("call_of_the_future", "4", NULL, settings, required("GHOSTMEM_LIB"), &outcome);
    cr_assert_str_eq(outcome.output, "ok\n", "%s", outcome.errors);
    cr_assert_not_null(strstr(outcome.errors, "system call 4000 is not known here"), "%s", outcome.errors);
}

Test(preload, disabled_it_does_nothing_at_all)
{
    const char *settings[6] = {"GHOSTMEM_DISABLE=1", "GHOSTMEM_MAX_PAGES=64", "GHOSTMEM_NONSENSE=1"};
    struct outcome outcome;

    run_probe("calloc_is_zero_also_after_use", "8", NULL, settings, required("GHOSTMEM_LIB"), &outcome);
    cr_assert_str_eq(outcome.output, "ok\n");
    cr_assert_str_eq(outcome.errors, "");
    cr_assert_str_eq(outcome.stats, "");
}

Test(preload, other_programs_of_the_tree_run_without)
{
    const char *settings[6] = {"GHOSTMEM_PROGRAMS=sort:xz", "GHOSTMEM_MAX_PAGES=64"};
    struct outcome outcome;

    run_probe("calloc_is_zero_also_after_use", "8", NULL, settings, required("GHOSTMEM_LIB"), &outcome);
    cr_assert_str_eq(outcome.output, "ok\n");
    cr_assert_str_eq(outcome.stats, "");
    settings[2] = "GHOSTMEM_VERBOSE=1";
    run_probe("calloc_is_zero_also_after_use", "8", NULL, settings, required("GHOSTMEM_LIB"), &outcome);
    cr_assert_str_eq(outcome.errors, "ghostmem: GHOSTMEM_PROGRAMS=sort:xz does not name probe, which runs without\n");
    settings[2] = NULL;
    settings[0] = "GHOSTMEM_PROGRAMS=sort:/some/where/probe";
    run_probe("calloc_is_zero_also_after_use", "8", NULL, settings, required("GHOSTMEM_LIB"), &outcome);
    cr_assert(says(outcome.stats, "engaged", "true"));
}

/* ---- misuse ---- */

static void dies_saying(const char *probe, const char *limit, const char *function, const char *what)
{
    struct outcome outcome;
    size_t length;

    run_at_limit(probe, "8", limit, &outcome);
    cr_assert(WIFSIGNALED(outcome.status) && WTERMSIG(outcome.status) == SIGABRT, "%s: status %#x", probe,
              (unsigned)outcome.status);
    length = strlen(outcome.errors);
    cr_assert(strncmp(outcome.errors, function, strlen(function)) == 0 && strstr(outcome.errors, what) != NULL &&
                  strchr(outcome.errors, '\n') == outcome.errors + length - 1,
              "%s: %s", probe, outcome.errors);
}

static void dies_dormant_and_engaged(const char *probe, const char *function, const char *what)
{
    dies_saying(probe, "64", function, what);
    dies_saying(probe, "1000000", function, what);
}

Test(misuse, double_free_is_one_line_and_an_abort)
{
    dies_dormant_and_engaged("double_free", "ghostmem: free(0x", "double free");
}

Test(misuse, free_inside_a_block_names_the_block)
{
    dies_dormant_and_engaged("free_inside_a_block", "ghostmem: free(0x", "invalid pointer: 8192 bytes inside the block 0x");
}

Test(misuse, free_of_an_odd_address_names_the_block)
{
    dies_dormant_and_engaged("free_of_an_odd_address", "ghostmem: free(0x", "invalid pointer: 1 bytes inside the block 0x");
}

Test(misuse, realloc_of_a_freed_block_is_one_line_and_an_abort)
{
    dies_dormant_and_engaged("realloc_of_a_freed_block", "ghostmem: realloc(0x", "double free");
}

Test(misuse, free_where_no_block_ever_was_is_one_line_and_an_abort)
{
    dies_dormant_and_engaged("free_where_no_block_ever_was", "ghostmem: free(0x", "no block at this address");
}

Test(misuse, wild_write_dies_as_without)
{
    struct outcome plain;
    struct outcome ghost;

    run_probe("dies_of_a_wild_write", "8", NULL, NULL, NULL, &plain);
    run_at_limit("dies_of_a_wild_write", "8", "64", &ghost);
    cr_assert(WIFSIGNALED(plain.status) && WTERMSIG(plain.status) == SIGSEGV);
    cr_assert(WIFSIGNALED(ghost.status) && WTERMSIG(ghost.status) == SIGSEGV);
    cr_assert(says(ghost.stats, "engaged", "true"), "the report of a fatal signal: %s", ghost.stats);
}

/* ---- settings ---- */

static void complains(const char *setting, const char *line)
{
    const char *settings[6] = {setting};
    struct outcome outcome;

    run_probe("small_blocks_are_libcs", "1", NULL, settings, required("GHOSTMEM_LIB"), &outcome);
    cr_assert_str_eq(outcome.output, "ok\n");
    cr_assert_str_eq(outcome.errors, line);
}

Test(settings, bad_value_is_one_line_and_the_run_goes_on)
{
    complains("GHOSTMEM_MAX_PAGES=lots",
              "ghostmem: GHOSTMEM_MAX_PAGES=lots: not understood; accepted: a number of 4096-byte pages, at least 5, or 0 "
              "for the default; used instead: the default, which is half of the usable RAM\n");
    complains("GHOSTMEM_MAX_PAGES=4",
              "ghostmem: GHOSTMEM_MAX_PAGES=4: too small; accepted: a number of 4096-byte pages, at least 5, or 0 for the "
              "default; used instead: 5\n");
    complains("GHOSTMEM_THRESHOLD=all",
              "ghostmem: GHOSTMEM_THRESHOLD=all: not understood; accepted: a size such as 128K; used instead: 128K\n");
}

Test(settings, a_bad_limit_or_path_says_what_may_have_been_meant)
{
    complains("GHOSTMEM_MAX_MEMORY=25",
              "ghostmem: GHOSTMEM_MAX_MEMORY=25: not understood: was 25% or 25M meant?; accepted: a size of at least 20K such as "
              "512M or 2G, or a share from 1% to 100%; used instead: the default, which is half of the usable RAM\n");
    complains("GHOSTMEM_MAX_PAGES=300M",
              "ghostmem: GHOSTMEM_MAX_PAGES=300M: not understood: GHOSTMEM_MAX_MEMORY takes sizes and shares; accepted: a number of "
              "4096-byte pages, at least 5, or 0 for the default; used instead: the default, which is half of the usable RAM\n");
    complains("GHOSTMEM_STATS=yes",
              "ghostmem: GHOSTMEM_STATS=yes: not understood: a file of that name is ./yes; accepted: 0, 1 or a path; used instead: 0\n");
    cr_assert_neq(access("yes", F_OK), 0);
}

Test(settings, two_limits_are_one_line_that_names_the_one_in_use)
{
    const char *settings[6] = {"GHOSTMEM_MAX_PAGES=64", "GHOSTMEM_MAX_MEMORY=1G"};
    struct outcome outcome;

    run_probe("small_blocks_are_libcs", "1", NULL, settings, required("GHOSTMEM_LIB"), &outcome);
    cr_assert_str_eq(outcome.errors,
                     "ghostmem: GHOSTMEM_MAX_PAGES and GHOSTMEM_MAX_MEMORY are both set: GHOSTMEM_MAX_MEMORY is used\n");
}

Test(settings, bad_swap_setting_is_one_line)
{
    complains("GHOSTMEM_SWAP_MAX=much",
              "ghostmem: GHOSTMEM_SWAP_MAX=much: not understood; accepted: a size such as 8G; used instead: no bound\n");
    complains("GHOSTMEM_SWAP_ENCRYPT=yes",
              "ghostmem: GHOSTMEM_SWAP_ENCRYPT=yes: not understood; accepted: 0 or 1; used instead: 0\n");
    complains("GHOSTMEM_COMPRESS=2",
              "ghostmem: GHOSTMEM_COMPRESS=2: not understood; accepted: 0 or 1; used instead: 1\n");
}

Test(settings, unknown_variable_is_one_line)
{
    complains("GHOSTMEM_MAXPAGES=5",
              "ghostmem: GHOSTMEM_MAXPAGES: no such setting; accepted after GHOSTMEM_ are MAX_PAGES MAX_MEMORY SCOPE THRESHOLD "
              "SWAP SWAP_MAX SWAP_ENCRYPT COMPRESS COLD POOL FAULTS RECLAIM PROGRAMS STATS VERBOSE LOG "
              "INTERPOSE MISUSE STRICT DISABLE; it is ignored\n");
}

Test(settings, unknown_backend_is_one_line)
{
    complains("GHOSTMEM_FAULTS=magic", "ghostmem: GHOSTMEM_FAULTS=magic: not understood; accepted: auto, thread, signal or segv; "
              "used instead: auto\n");
}

Test(settings, strict_ends_the_program_before_main)
{
    const char *settings[6] = {"GHOSTMEM_STRICT=1", "GHOSTMEM_MAX_PAGES=x"};
    struct outcome outcome;

    run_probe("small_blocks_are_libcs", "1", NULL, settings, required("GHOSTMEM_LIB"), &outcome);
    cr_assert(WIFEXITED(outcome.status) && WEXITSTATUS(outcome.status) == 78);
    cr_assert_str_eq(outcome.output, "");
}

Test(settings, messages_go_to_the_log_file)
{
    char setting[PATH_BYTES];
    const char *settings[6] = {setting, "GHOSTMEM_MAX_PAGES=x"};
    struct outcome outcome;
    char log[1024];

    snprintf(setting, sizeof setting, "GHOSTMEM_LOG=%s/log", dir);
    run_probe("small_blocks_are_libcs", "1", NULL, settings, required("GHOSTMEM_LIB"), &outcome);
    cr_assert_str_eq(outcome.errors, "");
    read_file("log", log, sizeof log);
    cr_assert_not_null(strstr(log, "GHOSTMEM_MAX_PAGES=x: not understood"));
}

/* A name in a directory where others may put links, FIFOs and files of theirs. */
static void leaves_alone(const char *variable, const char *name, int error, const char *error_name)
{
    char setting[PATH_BYTES];
    char line[2 * PATH_BYTES];
    const char *settings[6] = {setting};
    struct outcome outcome;
    char text[64];

    snprintf(setting, sizeof setting, "GHOSTMEM_%s=%s/%s", variable, dir, name);
    run_probe("small_blocks_are_libcs", "1", NULL, settings, required("GHOSTMEM_LIB"), &outcome);
    snprintf(line, sizeof line, "ghostmem: %s: cannot be %s: %s (%d)", setting, strcmp(variable, "LOG") == 0 ? "opened" : "written",
             error_name, error);
    cr_assert_eq(outcome.status, 0);
    cr_assert_str_eq(outcome.output, "ok\n");
    cr_assert_eq(strncmp(outcome.errors, line, strlen(line)), 0, "%s", outcome.errors);
    read_file("victim", text, sizeof text);
    cr_assert_str_eq(text, "precious");
}

Test(settings, only_files_of_ours_are_written)
{
    static const char *const variables[] = {"STATS", "LOG"};
    char victim[PATH_BYTES];
    char path[PATH_BYTES];
    FILE *file;

    snprintf(victim, sizeof victim, "%s/victim", dir);
    file = fopen(victim, "w");
    cr_assert_not_null(file);
    fputs("precious", file);
    fclose(file);
    snprintf(path, sizeof path, "%s/soft", dir);
    cr_assert_eq(symlink(victim, path), 0);
    snprintf(path, sizeof path, "%s/fifo", dir);
    cr_assert_eq(mkfifo(path, 0600), 0);
    for (size_t i = 0; i < 2; i++) {
        leaves_alone(variables[i], "soft", ELOOP, "ELOOP");
        leaves_alone(variables[i], "fifo", ENXIO, "ENXIO");
        snprintf(path, sizeof path, "%s/hard", dir);
        cr_assert_eq(link(victim, path), 0);
        leaves_alone(variables[i], "hard", EPERM, "EPERM");
        cr_assert_eq(unlink(path), 0);
    }
    for (const char *const *name = (const char *const[]){"soft", "fifo", NULL}; *name != NULL; name++) {
        snprintf(path, sizeof path, "%s/%s", dir, *name);
        cr_assert_eq(unlink(path), 0);
    }
}

Test(settings, file_of_another_user_is_left_alone_where_everybody_may_write)
{
    char path[PATH_BYTES];
    FILE *file;

    if (geteuid() != 0)
        cr_skip_test("needs root to make a file of another user's");
    snprintf(path, sizeof path, "%s/victim", dir);
    file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs("precious", file);
    fclose(file);
    cr_assert(chown(path, 65534, 65534) == 0 && chmod(dir, 0777) == 0);
    leaves_alone("STATS", "victim", EPERM, "EPERM");
    leaves_alone("LOG", "victim", EPERM, "EPERM");
}

/* Of the start, wherever the program goes. */
Test(settings, paths_count_from_the_directory_of_the_start)
{
    const char *settings[6] = {"GHOSTMEM_STATS=here.json", "GHOSTMEM_MAX_PAGES=64"};
    struct outcome outcome;
    char text[256];

    run_probe("goes_elsewhere", "1", NULL, settings, required("GHOSTMEM_LIB"), &outcome);
    cr_assert_str_eq(outcome.output, "ok\n");
    cr_assert_str_eq(outcome.errors, "");
    read_file("here.json", text, sizeof text);
    cr_assert_not_null(strstr(text, "\"version\""));
}

Test(settings, verbose_says_what_was_chosen)
{
    const char *settings[6] = {"GHOSTMEM_VERBOSE=1", "GHOSTMEM_MAX_PAGES=64", "GHOSTMEM_FAULTS=thread"};
    struct outcome outcome;

    run_probe("calloc_is_zero_also_after_use", "4", NULL, settings, required("GHOSTMEM_LIB"), &outcome);
    cr_assert_not_null(strstr(outcome.errors, "limit 64 pages"), "%s", outcome.errors);
    cr_assert_not_null(strstr(outcome.errors, "engaged: backend thread"), "%s", outcome.errors);
}

/* ---- reports ---- */

Test(report, json_has_every_key)
{
    static const char *const keys[] = {
        "version",        "backend",         "page_bytes",       "limit_pages",      "resident_pages",
        "resident_pages_peak", "frozen_pages", "same_filled_pages", "pool_images",   "pool_used_bytes",
        "pool_held_bytes", "swap_used_bytes", "swap_file_bytes", "meta_bytes",       "faults",
        "soft_faults",    "thaws",           "freezes",          "clean_drops",      "read_ahead_pages",
        "read_ahead_wasted",
        "limit_exceeded_pages_peak", "ghost_bytes_live", "ghost_bytes_peak", "engaged",
    };
    struct outcome outcome;

    run_at_limit("calloc_is_zero_also_after_use", "8", "64", &outcome);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        char quoted[64];

        snprintf(quoted, sizeof quoted, "\"%s\":", keys[i]);
        cr_assert_not_null(strstr(outcome.stats, quoted), "%s in %s", keys[i], outcome.stats);
    }
    cr_assert(!says(outcome.stats, "backend", "\"none\"") && says(outcome.stats, "engaged", "true"));
    cr_assert(says(outcome.stats, "limit_pages", "64") && says(outcome.stats, "resident_pages_peak", "64"));
    cr_assert(says(outcome.stats, "limit_exceeded_pages_peak", "0"));
}

Test(report, every_way_to_end_writes_it)
{
    static const char *const ends[] = {"exit_from_a_thread", "main_thread_ends_first", "underscore_exit", "killed_by_sigterm"};

    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        struct outcome outcome;

        run_at_limit(ends[i], "8", "64", &outcome);
        cr_assert(says(outcome.stats, "engaged", "true"), "%s: %s", ends[i], outcome.stats);
        remove_dir();
        cr_assert_eq(mkdir(dir, 0777), 0);
    }
}

Test(report, signal_that_kills_still_kills)
{
    struct outcome outcome;

    run_at_limit("killed_by_sigterm", "8", "64", &outcome);
    cr_assert(WIFSIGNALED(outcome.status) && WTERMSIG(outcome.status) == SIGTERM);
}

Test(report, readable_form_goes_to_stderr)
{
    const char *settings[6] = {"GHOSTMEM_STATS=1", "GHOSTMEM_MAX_PAGES=64"};
    struct outcome outcome;

    run_probe("calloc_is_zero_also_after_use", "8", NULL, settings, required("GHOSTMEM_LIB"), &outcome);
    cr_assert_str_eq(outcome.output, "ok\n");
    /* The environment has the path first and this setting after it: the later one is taken. */
    cr_assert_not_null(strstr(outcome.errors, "resident at most     256.0 KiB"), "%s", outcome.errors);
}
