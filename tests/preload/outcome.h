/*
 * outcome.h - one run of the probe program, and what came of it.
 *
 * Each test has a temporary directory `dir`, made and removed by its suite. From the environment: GHOSTMEM_LIB and
 * GHOSTMEM_TEST_BIN, as in tests/programs.
 */
#ifndef TESTS_PRELOAD_OUTCOME_H
#define TESTS_PRELOAD_OUTCOME_H

#include <stdbool.h>
#include <stddef.h>

/* A backstop against a hang, not a measure of speed: the slowest probe takes half a minute on a slow machine. */
#define TIMEOUT_S 240
#define PATH_BYTES 512

struct outcome {
    int status;
    char output[4096];
    char errors[4096];
    char stats[16384]; /* the JSON report, "" when there is none */
};

extern char dir[];
void make_dir(void);
void remove_dir(void);

const char *required(const char *name);

/* Run the probe by this program of GHOSTMEM_TEST_BIN; NULL: directly. */
extern const char *run_by;

/* A file of `dir`, cut off at @bytes - 1, "" when there is none. */
void read_file(const char *name, char *text, size_t bytes);

/* Run `probe NAME MEGABYTES` as @user (NULL: as we are) with up to six settings more; NULL as @library: plain. */
void run_probe(const char *name, const char *megabytes, const char *user, const char *const settings[6],
               const char *library, struct outcome *outcome);

void run_at_limit(const char *name, const char *megabytes, const char *limit, struct outcome *outcome);
void run_at_limit_as(const char *name, const char *megabytes, const char *limit, const char *user,
                     struct outcome *outcome);
/* The same with a swap file in `dir`. */
void run_with_swap(const char *name, const char *megabytes, const char *limit, bool encrypts, const char *user,
                   struct outcome *outcome);

/* Does the report have this value? */
bool says(const char *json, const char *key, const char *value);

#endif
