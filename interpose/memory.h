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

/*
 * By their system calls' arguments: true, it is done, and *@result is what the call returns, or -errno; false, it is the kernel's
 * to do. What mmap(2), munmap(2), mremap(2) and pkey_mprotect(2) do to ghost memory is done, and the pages are not paged any more
 * until their block is freed.
 */
bool memory_advise(const unsigned long *args, long *result);
bool memory_protect(const unsigned long *args, long *result);
bool memory_map(const unsigned long *args, long *result);
bool memory_unmap(const unsigned long *args, long *result);
bool memory_remap(const unsigned long *args, long *result);
bool memory_protect_by_key(const unsigned long *args, long *result);

#endif
