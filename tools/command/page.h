/*
 * page.h - one HTML page that shows the statistics of a run: nothing is fetched, no script, light and dark.
 *
 * Calls: figures, command.  Locks: none.  Memory: none.
 */
#ifndef GHOSTMEM_TOOLS_PAGE_H
#define GHOSTMEM_TOOLS_PAGE_H

#include "tools/command/figures.h"

#include <stdio.h>

/* @name: of the file with the figures. Whether all could be written ferror() tells. */
void page_write(FILE *file, const char *name, const struct figures *figures);

#endif
