/*
 * memlock.h - memory that is to go nowhere: what mlockall(2) goes by, and memory of ours for secrets.
 *
 * Calls: maps, mem, the kernel.  Locks: none.  Memory: the stack.
 */
#ifndef GHOSTMEM_PLATFORM_MEMLOCK_H
#define GHOSTMEM_PLATFORM_MEMLOCK_H

#include <stddef.h>
#include <stdint.h>

/* Bytes that may be locked in all; UINT64_MAX: no limit holds (RLIMIT_MEMLOCK, CAP_IPC_LOCK). Source: mlock(2). */
uint64_t os_lock_limit_bytes(void);

/*
 * Call @visit(@arg, start, bytes) for each mapping of the process, but for what is ours (mem.h). 0 or -errno: /proc/self/maps cannot
 * be read.
 */
typedef void os_mapping_visit(void *arg, uintptr_t start, size_t bytes);
int os_mappings_visit(os_mapping_visit *visit, void *arg);

/*
 * Zeroed memory that core files leave out, and that is locked in RAM where that takes nothing from what the program may lock. 0 and
 * *@addr, or -ENOMEM. os_mem_unmap() ends it.
 */
int os_mem_map_secret(size_t bytes, void **addr);

#endif
