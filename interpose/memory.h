/*
 * memory.h - memory calls of the program on ghost memory, as its libc or a trap brings them.
 *
 * Calls: ghost, pager.  Locks: none of its own.  Memory: none.
 */
#ifndef GHOSTMEM_INTERPOSE_MEMORY_H
#define GHOSTMEM_INTERPOSE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* madvise(2), mprotect(2): true, it is done, and *@result is 0 or -errno; false, it is the kernel's to do. */
bool memory_advise(uintptr_t addr, size_t bytes, int advice, int *result);
bool memory_protect(uintptr_t addr, size_t bytes, int protection, int *result);

#endif
