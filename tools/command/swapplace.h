/*
 * swapplace.h - the place of a swap file, looked at without creating anything.
 *
 * Calls: libc.  Locks: none.  Memory: none.
 */
#ifndef GHOSTMEM_TOOLS_SWAPPLACE_H
#define GHOSTMEM_TOOLS_SWAPPLACE_H

#include <stdbool.h>
#include <stdint.h>

struct swapplace {
    const char *why_not;     /* NULL: the library would create its file there */
    const char *file_system; /* "xfs"; "a file system" of another kind; NULL: there is no such directory */
    bool in_ram;             /* what is written there does not leave RAM */
    bool over_network;
    uint64_t free_bytes; /* for this user */
};

/* @path: as GHOSTMEM_SWAP has it, a directory, an empty file, or a name that is not there. As os_swapfile_create() decides. */
void swapplace_look(const char *path, struct swapplace *place);

#endif
