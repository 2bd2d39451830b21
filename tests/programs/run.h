/*
 * run.h - run one real program to its end, or to its time-out, with everything it prints in files.
 *
 * The program gets a process group of its own, so that a time-out ends its children too, and exactly the environment
 * that it is given. Knows nothing of GhostMem.
 */
#ifndef TESTS_PROGRAMS_RUN_H
#define TESTS_PROGRAMS_RUN_H

#include <stdbool.h>
#include <stddef.h>

struct run {
    const char *const *argv; /* NULL at its end; argv[0] is looked up in this process's PATH */
    const char *const *env;  /* NULL at its end */
    const char *dir;         /* the working directory; the paths below are relative to it */
    const char *input;       /* becomes standard input; NULL: /dev/null */
    const char *output;      /* is created for standard output */
    const char *errors;      /* is created for standard error */
    unsigned timeout_s;
    bool may_dump_core; /* as far as this process's own limit lets it */
};

struct run_result {
    int status; /* as waitpid() gives it */
    bool timed_out;
    double seconds;
    size_t rss_peak_bytes; /* the highest of the samples of the program's own resident set, its children not counted */
    size_t n_samples;
};

/*
 * Run a program and sample its resident set about every millisecond while it runs.
 * Returns 0, also when the program fails or is ended by the time-out; -errno when it could not be started. A program
 * that cannot be executed ends with status 127 and one line in @run->errors.
 * The resident set is what /proc/PID/statm says: on Linux 6.2 and newer it may lag by some 32 pages a processor and
 * counter, far below the slack that a test on it must leave anyway.
 */
int run_program(const struct run *run, struct run_result *result);

/* Whether @program is in PATH, or is a path itself, and may be executed. */
bool run_can(const char *program);

#endif
