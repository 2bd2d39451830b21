/*
 * pressure.h - how near the limit is, while nothing is paged yet: GHOSTMEM_SCOPE=process.
 *
 * A program that fits is not watched. So the calls that are ours anyway count how much memory they hand out. When that could take the
 * process to its limit, a look at its resident anonymous memory decides (/proc/self/statm, some microseconds). The program may touch large
 * mappings and static arrays without another call of ours: they count in full until they have had time to become resident. When the
 * limit is reached, paging starts.
 *
 * Calls: ghost, heap, file.  Locks: none of its own.  Memory: static, and a counter a thread.
 */
#ifndef GHOSTMEM_INTERPOSE_PRESSURE_H
#define GHOSTMEM_INTERPOSE_PRESSURE_H

#include <stdatomic.h>
#include <stddef.h>

/* A thread looks each time it has handed out so many bytes. 0: no thread looks. */
extern _Atomic size_t pressure_step_bytes;
extern __thread size_t pressure_handed_bytes;

/* When the settings have been read. @limit_bytes > 0. */
void pressure_start(size_t limit_bytes);

/* Another limit; paging starts where it has been reached. Context: as malloc. */
void pressure_set_limit(size_t limit_bytes);

/* Paging has started, or never will. */
void pressure_end(void);

/* The calling thread has handed out pressure_step_bytes. Context: as malloc. */
void pressure_look(void);

static inline void pressure_note(size_t bytes)
{
    size_t step = atomic_load_explicit(&pressure_step_bytes, memory_order_relaxed);

    if (__builtin_expect(step == 0, 1))
        return;
    pressure_handed_bytes += bytes;
    if (__builtin_expect(pressure_handed_bytes >= step, 0))
        pressure_look();
}

/* The program has mapped so much that it may touch at any time. Context: as malloc. */
void pressure_note_mapping(size_t bytes);

#endif
