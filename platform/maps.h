/*
 * maps.h - what is mapped in this process, as the kernel tells it.
 *
 * Calls: the kernel.  Locks: none.  Memory: a buffer of the caller's.
 * Source: proc_pid_maps(5), proc_pid_smaps(5).
 */
#ifndef GHOSTMEM_PLATFORM_MAPS_H
#define GHOSTMEM_PLATFORM_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whole lines come with each read; the kernel gives no more than a page at a time. */
#define OS_MAPS_BUFFER_BYTES ((size_t)8192)

struct os_mapping {
    uintptr_t start;
    uintptr_t end;
    int protection; /* of mprotect(2) */
    uint64_t offset; /* into the file */
    bool shared;
    bool of_file; /* or of something else with an inode: shared memory, huge pages */
    const char *name; /* "": none; valid during the call; os_maps_each_weighed() gives its first OS_MAPS_NAME_BYTES - 1 bytes */
    /* By os_maps_each_weighed() alone. */
    size_t resident_bytes;
    bool locked;
    const char *flags; /* OS_MAPS_FLAGS_BYTES: "rd wr mr mw ", as proc_pid_smaps(5) has them; valid during the call */
};

#define OS_MAPS_NAME_BYTES 64
#define OS_MAPS_FLAGS_BYTES 128 /* Linux 6.18 has 35 flags, of which a mapping has less than half */

/* False: that was enough. */
typedef bool os_maps_visit(void *arg, const struct os_mapping *mapping);

/* Call @visit(@arg, mapping) for each mapping, in ascending order. 0; -errno: the list cannot be read, or not to its end. */
int os_maps_each(char *buffer, os_maps_visit *visit, void *arg);

/* The same with what of each mapping is in RAM: the kernel walks its page tables, some milliseconds a GiB. */
int os_maps_each_weighed(char *buffer, os_maps_visit *visit, void *arg);

#endif
