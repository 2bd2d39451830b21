/*
 * survey.h - which memory of the process is to be managed where it is, when paging starts.
 *
 * Taken is what is private, anonymous and not executable: the brk heap, libc's arenas, mappings of the program and its runtime of at least
 * 64 KiB, static arrays of at least 1 MiB. Not taken: our own memory, stacks and control blocks of threads, and memory to which the kernel
 * may write without a call.
 *
 * Calls: ghost, guard, pager_far, maps.  Locks: called with pager.lock.  Memory: static.
 */
#ifndef GHOSTMEM_INTERPOSE_SURVEY_H
#define GHOSTMEM_INTERPOSE_SURVEY_H

#include <stddef.h>
#include <stdint.h>

#define SURVEY_LEAST_BYTES ((size_t)64 << 10)

/* For pager_use_far(). */
void survey_locked(void *arg);

/* The kernel may write to this at any time: it is not taken. Before survey_locked(), under the heap's lock. */
void survey_leave_alone(uintptr_t start, size_t bytes);

/* Bytes of static arrays that the program may touch at any time. Before main(). */
size_t survey_static_bytes(void);

#endif
