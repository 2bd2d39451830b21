/*
 * command.h - what the parts of ghostmem(1) have in common: its commands, their ends, and what they say.
 *
 * Calls: libc.  Locks: none.  Memory: malloc.
 */
#ifndef GHOSTMEM_TOOLS_COMMAND_H
#define GHOSTMEM_TOOLS_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Source: env(1). */
enum command_end {
    COMMAND_DONE = 0,
    COMMAND_NOT_POSSIBLE = 1, /* doctor, report: what was asked for cannot be had */
    COMMAND_REFUSED = 125,    /* ghostmem itself fails, or will not run the program */
    COMMAND_NO_EXEC = 126,    /* the program is there, and cannot be run */
    COMMAND_NO_PROGRAM = 127, /* it is not there */
};

/* A command. @argv[0] is "ghostmem", options follow. Returns a status for exit(). */
int command_run(int argc, char **argv);
int command_doctor(int argc, char **argv);
int command_report(int argc, char **argv);
int command_set(int argc, char **argv);
int command_top(int argc, char **argv);

/* One line on standard error, "ghostmem: " in front. Returns @status. */
int command_fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* For getopt_long(): --help and --version of each command. */
#define COMMAND_HELP 'h'
#define COMMAND_VERSION 1
int command_show_version(void);

/* "23.5 GiB" into @text. */
#define COMMAND_SIZE_BYTES 32
const char *command_size(char text[COMMAND_SIZE_BYTES], uint64_t bytes);

#endif
