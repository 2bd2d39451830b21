/*
 * memory.h - memory calls of the program on ghost memory, as its libc or a trap brings them.
 *
 * What a fork's child is not to have (MADV_WIPEONFORK, MADV_DONTFORK) is kept here and not told to the kernel, which would
 * go on with it when the block is freed, and knows nothing of frozen pages.
 *
 * Calls: ghost, heap, pager, pager_far, marks, pressure.  Locks: one of its own, taken before the heap's.  Memory: static.
 */
#ifndef GHOSTMEM_INTERPOSE_MEMORY_H
#define GHOSTMEM_INTERPOSE_MEMORY_H

#include "core/pagetable.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * By their system calls' arguments: true, it is done, and *@result is what the call returns, or -errno; false, it is the kernel's
 * to do. What mmap(2), munmap(2), mremap(2) and pkey_mprotect(2) do to ghost memory is done, and the pages are not paged any more
 * until their block is freed.
 */
typedef bool memory_call(const unsigned long *args, long *result);
bool memory_advise(const unsigned long *args, long *result);
bool memory_protect(const unsigned long *args, long *result);
bool memory_map(const unsigned long *args, long *result);
bool memory_unmap(const unsigned long *args, long *result);
bool memory_remap(const unsigned long *args, long *result);
bool memory_protect_by_key(const unsigned long *args, long *result);

/* ---- memory_far.c: outside of the ghost range; the calls' arguments, and their results or -errno ---- */

/* Is such memory managed? */
bool memory_has_far(void);

long memory_far_map(const unsigned long *args);
long memory_far_unmap(const unsigned long *args);
long memory_far_break(const unsigned long *args);
long memory_far_remap(const unsigned long *args);
long memory_far_protect(const unsigned long *args, bool by_key);
long memory_far_advise(const unsigned long *args);

/* mlock(2), mlock2(2): call @number. */
long memory_far_lock(long number, const unsigned long *args);

/* Somebody else is to watch the range, or to write to it at any time: it is not managed any more. */
void memory_far_leave(uintptr_t start, size_t bytes);

/* Whole pages of ghost memory, at least one? Then which. */
bool memory_is_ghost(uintptr_t addr, size_t bytes, page_number *first, size_t *n_pages);

/* One of them as libc's entry point makes it: a handler of the program that interrupted us might fork. */
bool memory_quietly(memory_call *call, const unsigned long *args, long *result);

/* A result of a system call as libc gives it: -1 and errno. */
long memory_answer(long result);

/* A ghost block is freed or resized, as heap_free() and heap_resize(): what was said of it ends or moves with it. */
void memory_free(void *p, const char *caller);
void *memory_resize(void *p, size_t bytes, const char *caller);

/* Around a fork; in the child, once it has its heap. */
void memory_fork_prepare(void);
void memory_fork_parent(void);
void memory_fork_child(void);

#endif
