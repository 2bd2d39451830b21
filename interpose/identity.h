/*
 * identity.h - which program this process runs, since when: for the statistics.
 *
 * Read when the library starts, because the program may be in a sandbox later, and may write its title over its arguments.
 *
 * Calls: file, host.  Locks: none.  Memory: static.
 */
#ifndef GHOSTMEM_INTERPOSE_IDENTITY_H
#define GHOSTMEM_INTERPOSE_IDENTITY_H

#include "core/stats.h"

/* The process begins: the library is loaded, or this is a forked child. */
void identity_begin(void);

/* Remember name and arguments, where they are wanted later. */
void identity_remember(void);

/* The executable's last path component, or "unknown". */
const char *identity_program(void);

/* Name, arguments (where they are remembered), process, start, run time and the most RAM into @stats. */
void identity_collect(struct stats *stats);

#endif
