/*
 * host.h - what this machine and this container allow the process.
 *
 * Calls: file.  Locks: none.  Memory: the stack.
 */
#ifndef GHOSTMEM_PLATFORM_HOST_H
#define GHOSTMEM_PLATFORM_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* RAM that the process may use, in bytes: the smallest of the machine's and its memory cgroups' (v1 and v2). */
uint64_t os_usable_ram_bytes(void);

/* RAM of the machine, in bytes; UINT64_MAX: it does not say. */
uint64_t os_ram_bytes(void);

/* The smallest limit of the process's memory cgroups, in bytes, and whose it is; UINT64_MAX: none. */
uint64_t os_cgroup_limit_bytes(unsigned *version);

/* May a memory cgroup's limit make the kernel swap this process out while the machine has RAM? */
bool os_is_squeezed(void);

/* Address space that may still be asked for, in bytes (RLIMIT_AS); UINT64_MAX without a limit. */
uint64_t os_address_space_bytes(void);

/* Would a signal whose action is to dump core leave a file now (RLIMIT_CORE)? Any context. */
bool os_may_dump_core(void);

/* Most RAM that the process has had at once, in bytes; 0: /proc does not say. */
uint64_t os_peak_rss_bytes(void);

/* The last component of the executable's path, zero-terminated. 0 or -errno. */
int os_program_name(char *name, size_t bytes);

#endif
