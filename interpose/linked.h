/*
 * linked.h - is the library here because somebody links it?
 *
 * Calls: the dynamic linker's list.  Locks: none: it is asked while the library's constructor runs, or before.  Memory: none.
 */
#ifndef GHOSTMEM_INTERPOSE_LINKED_H
#define GHOSTMEM_INTERPOSE_LINKED_H

#include <stdbool.h>

/* Does the program, or one of its libraries, name this one among what it needs, and LD_PRELOAD in @environment does not? */
bool linked_only(char *const *environment);

#endif
