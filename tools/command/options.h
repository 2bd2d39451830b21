/*
 * options.h - each setting of core/config.c as an option: GHOSTMEM_SWAP_MAX=8G is --swap-max=8G.
 *
 * A setting that takes 1 for "on" takes it without a value too: --stats is GHOSTMEM_STATS=1.
 * Calls: config, command.  Locks: none.  Memory: static, and the environment.
 */
#ifndef GHOSTMEM_TOOLS_OPTIONS_H
#define GHOSTMEM_TOOLS_OPTIONS_H

#include <getopt.h>
#include <stddef.h>

/* More than there are settings, and options of run beside them. */
#define OPTIONS_MAX 64

/* What getopt_long() returns for the setting 0, 1, ...; below are the command's own. */
#define OPTIONS_FIRST 256

/* Append the settings' options to the first @n of @options, and the end of the table. The strings are static. */
void options_append(struct option options[OPTIONS_MAX], size_t n);

/* The setting of this name, such as "MAX_MEMORY", as getopt_long() would return it. */
int options_named(const char *name);

/*
 * Put the option @code of getopt_long() into the environment; @value: NULL without one. What says the same otherwise leaves the
 * environment. 0; -1: one line has said what is accepted.
 */
int options_take(int code, const char *value);

/* A line on standard output for each. */
void options_list(void);

#endif
