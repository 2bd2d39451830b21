/*
 * said.h - one run of ghostmem(1), and what it said.
 *
 * Each test has a temporary directory `dir`, made and removed by its suite, in which the command runs. From the environment:
 * GHOSTMEM_LIB, beside which the command is, and GHOSTMEM_TEST_BIN.
 */
#ifndef TESTS_COMMAND_SAID_H
#define TESTS_COMMAND_SAID_H

#include <stdbool.h>
#include <stddef.h>

#define PATH_BYTES 512

struct said {
    int status; /* as waitpid() gives it */
    char out[65536];
    char err[8192];
};

/* Absolute. */
extern char dir[];
void make_dir(void);
void remove_dir(void);

/* Who runs it, "--reuid=65534" for setpriv(1), and settings of its environment, NULL at the end; NULL: as we are, none. */
extern const char *as_user;
extern const char *const *with_settings;

/* The command, beside the library. */
const char *command_path(void);
/* @name in `dir`, in one of four buffers. */
const char *in_dir(const char *name);
/* The same of a program of ours. */
const char *of_ours(const char *name);

/* Run any program, NULL after its arguments. */
void run_words(struct said *said, const char *const *words);
#define RUN(said, ...) run_words(said, (const char *const[]){command_path(), __VA_ARGS__, NULL})
#define RUN_OTHER(said, ...) run_words(said, (const char *const[]){__VA_ARGS__, NULL})

/* Ended by itself with @status, and with one line that has @text in it on standard error, or with none. */
bool ended(const struct said *said, int status);
bool refused(const struct said *said, int status, const char *text);

void write_file(const char *name, const void *data, size_t bytes, unsigned mode);
void write_text(const char *name, const char *text, unsigned mode);
void copy_file(const char *from, const char *name, unsigned mode);

#endif
