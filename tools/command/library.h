/*
 * library.h - libghostmem.so: where it is, and how it gets into LD_PRELOAD.
 *
 * Calls: command.  Locks: none.  Memory: malloc, and the environment.
 */
#ifndef GHOSTMEM_TOOLS_LIBRARY_H
#define GHOSTMEM_TOOLS_LIBRARY_H

#include <limits.h>

/*
 * By the place of this command: beside it (the build tree), or in ../lib and its like (installed). 0; -1: it is in none of them, or its
 * path cannot stand in LD_PRELOAD, and one line has said so.
 */
int library_find(char path[PATH_MAX]);

/* Put @path before what LD_PRELOAD has; another libghostmem.so leaves it. 0; -1: no memory. */
int library_preload(const char *path);

#endif
