/*
 * memory.h - memory calls of the program on ghost memory, as its libc or a trap brings them.
 *
 * What a fork's child is not to have (MADV_WIPEONFORK, MADV_DONTFORK) is kept here, because the kernel knows nothing of frozen pages.
 * The kernel is told too, for children that are made without us, and again when the block is freed.
 *
 * memory.c has advice, protection and blocks, memory_map.c what is mapped, memory_lock.c what is locked in RAM, memory_far.c memory
 * outside of the ghost range.
 *
 * Calls: ghost, heap, pager, pager_far, marks, pressure, os (memlock).  Locks: one of its own, taken before the heap's.  Memory: static.
 */
#ifndef GHOSTMEM_INTERPOSE_MEMORY_H
#define GHOSTMEM_INTERPOSE_MEMORY_H

#include "core/heap.h"

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
bool memory_advise_vector(const unsigned long *args, long *result); /* of process_madvise(2) */
bool memory_protect(const unsigned long *args, long *result);
bool memory_map(const unsigned long *args, long *result);
bool memory_unmap(const unsigned long *args, long *result);
bool memory_remap(const unsigned long *args, long *result);
bool memory_protect_by_key(const unsigned long *args, long *result);
bool memory_lock(const unsigned long *args, long *result); /* of mlock2(2) */
bool memory_unlock(const unsigned long *args, long *result);
bool memory_lock_all(const unsigned long *args, long *result); /* false: there is no ghost memory */
bool memory_unlock_all(const unsigned long *args, long *result);

/* ---- memory_far.c: outside of the ghost range; the calls' arguments, and their results or -errno ---- */

/* Is such memory managed? */
bool memory_has_far(void);

long memory_far_map(const unsigned long *args);
long memory_far_unmap(const unsigned long *args);
long memory_far_break(const unsigned long *args);
long memory_far_remap(const unsigned long *args);
long memory_far_protect(const unsigned long *args, bool by_key);
long memory_far_advise(const unsigned long *args);

/* The range is about to be locked, or watched by somebody else: it is not managed any more. */
void memory_far_leave(uintptr_t start, size_t bytes);

/* mlock(2) is about to lock it: it is not managed until it is unlocked. */
void memory_far_lock(uintptr_t start, size_t bytes);

/* munlock(2): see memory_call. */
bool memory_far_unlock(const unsigned long *args, long *result);

/* Are the bytes whole pages of ghost memory, at least one? If so: *@first, *@n_pages. */
bool memory_is_ghost(uintptr_t addr, size_t bytes, page_number *first, size_t *n_pages);

/* A @call as libc's entry point makes it: without handlers of the program meanwhile, because one might fork. */
bool memory_quietly(memory_call *call, const unsigned long *args, long *result);

/* The same whatever the call's first argument is; the other one takes a glance at that. */
bool memory_always_quietly(memory_call *call, const unsigned long *args, long *result);

/* A result of a system call as libc gives it: -1 and errno. */
long memory_answer(long result);

/* As heap_allocate(), heap_free() and heap_resize(): what was said of a block ends or moves with it. */
void *memory_allocate(struct heap *heap, size_t bytes, size_t alignment);
void memory_free(void *p, const char *caller);
void *memory_resize(void *p, size_t bytes, const char *caller);

/* The pages are not the block's any more: other memory takes their place. */
void memory_forget_locks(page_number first, size_t n_pages);

/* Around a fork; in the child, before it has its heap and once it has. */
void memory_fork_prepare(void);
void memory_fork_parent(void);
void memory_fork_child_begin(void);
void memory_fork_child(void);

/* What is said of pages is guarded by one lock. */
void memory_take_lock(void);
int memory_reserve_marks(void); /* room for all that may be said; 0 or -ENOMEM */
void memory_release_lock(void);

#endif
