/*
 * trial.h - the same command without and with GhostMem, and what must be the same.
 *
 * A trial is a temporary directory:
 *
 *     input files      made by the test, read by both runs as ../name
 *     plain/, ghost/   the working directories of the two runs; what is in them is compared
 *     home/, tmp/      HOME and TMPDIR of everything that runs
 *     stats/           the reports of GhostMem, one a process
 *
 * One trial a test: Criterion gives each test a process of its own. The suite's .fini is trial_end(), which runs after
 * a failed assertion too. From the environment:
 *
 *     GHOSTMEM_LIB         the library's absolute path; "none" runs everything plain, to try the cases out, and fails
 *                          each where GhostMem should have engaged
 *     GHOSTMEM_TEST_BIN    the absolute path of the directory with our helper programs
 *     GHOSTMEM_TEST_SWAP   becomes GHOSTMEM_SWAP of every run with GhostMem
 *     GHOSTMEM_TEST_USER   an argument for setpriv(1): as whom everything runs
 *     GHOSTMEM_TEST_KEEP   1 keeps the trial's directory, and the cores in it that `ulimit -c` allows
 *     GHOSTMEM_TEST_PLAIN  what the runs without GhostMem gave in a suite before: see plain.h
 *     TMPDIR               where the directory is made; it takes up to 800 MB
 */
#ifndef TESTS_PROGRAMS_TRIAL_H
#define TESTS_PROGRAMS_TRIAL_H

#include "run.h"
#include "stats.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

enum {
    KIB = 1024,
    MIB = 1024 * KIB,
    PAGE = 4096,
    TRIAL_ARGS = 32,
    /*
     * A backstop against a program that hangs, not a measure of speed: the slowest case takes a minute and a half on a slow machine.
     * Criterion's own time-out comes later than those of a case's runs together: it neither reports nor cleans up.
     */
    TRIAL_TIMEOUT_S = 400,
    TRIAL_SUITE_TIMEOUT_S = 2000,
    /* At a limit of 5 pages a program with several threads may need a higher floor: doc/design.md, 6. */
    TRIAL_SMALLEST_LIMIT = 5,
    TRIAL_FLOOR_PAGES = 64
};

struct trial {
    char dir[PATH_MAX / 2];
    const char *library; /* NULL: GHOSTMEM_LIB=none */
    size_t limit_pages;
    bool is_whole; /* the limit is on the whole process: the test says so */
    bool is_known; /* what each of the test's comparisons has to give is known from a suite before */
};

struct command {
    const char *argv[TRIAL_ARGS]; /* NULL after the last */
    const char *input;            /* standard input, relative to the run's directory; NULL: /dev/null */
    const char *output;           /* standard output, a file in the run's directory; NULL: "stdout" */
    bool may_fit;                 /* do not demand that the data exceed the limit */
    bool may_yield;               /* it hands the kernel more at once than the limit holds: the limit may yield */
};

/*
 * Start a trial; the test ends as failed when GHOSTMEM_LIB is not set or is not a file.
 * @limit_pages: GHOSTMEM_MAX_PAGES of the runs with GhostMem
 */
struct trial *trial_begin(size_t limit_pages);

/* Removes the trial's directory; for .fini. Nothing happens without a trial. */
void trial_end(void);

/* Ends the test as skipped. Not cr_skip_test() alone: Criterion does not call .fini then, the directory would stay. */
void trial_skip(const char *why);

/* Ends the test as skipped when @program is not installed. */
void trial_need(const char *program);

/* The path of @name in the trial's directory; valid until the eighth call after this one. */
const char *trial_path(const struct trial *trial, const char *name);

/* The path of one of our helper programs; the test fails when it has not been built. */
const char *trial_helper(const char *name);

/* Writes @text into the file @name of the trial's directory. */
void trial_write(const struct trial *trial, const char *name, const char *text);

/*
 * Run a command without GhostMem, in the directory @dir of the trial; NULL is the trial's own. The test fails unless
 * the command ends with status 0. Nothing runs in plain/ where it is known what comes of it.
 */
void trial_prepare(const struct trial *trial, const char *dir, const struct command *command);

/*
 * Run a command without and with GhostMem and compare: exit status, standard error, every file in the two working
 * directories (directories in them are left out). Then check GhostMem's reports: the limit was kept, and the data
 * exceeded it. The test fails with a message that names the command, the limit and the difference. Where a suite before
 * made the run without GhostMem, that one is compared with, by its files' checksums.
 */
void trial_compare(const struct trial *trial, const struct command *command);

/*
 * Run a command once, in ghost/ with GhostMem or in plain/ without; the test fails when it does not end with status 0.
 * @stats: the command's report, its limit checked; NULL in a run without GhostMem
 */
void trial_run(const struct trial *trial, const struct command *command, struct run_result *result,
               struct stats *stats);

#endif
