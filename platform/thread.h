/*
 * thread.h - threads of our own, unknown to libc.
 *
 * libc must not count them (a process whose main thread called pthread_exit() ends with its last own thread) and
 * their creation must not allocate. They block every signal and have no libc thread descriptor:
 * code that runs in them uses no errno, no thread-local variable, no malloc and no stdio. memcpy() and the like are
 * fine, and so is LZ4.
 *
 * Calls: the kernel (clone).  Locks: none.  Memory: one mapping a thread, kept until the process ends.
 */
#ifndef GHOSTMEM_PLATFORM_THREAD_H
#define GHOSTMEM_PLATFORM_THREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef void os_thread_main(void *arg);

/*
 * Start a thread. It has its name and its rights when this returns: the program may forbid the calls for that afterwards.
 * @name:        at most 15 characters, shown by ps and top
 * @share_files: true: it shares the descriptor table and has no capabilities; false: it keeps the capabilities and has a copy of the table,
 *               which it should empty at once
 * Returns 0, or -ENOMEM / -EAGAIN from mmap(2) or clone(2).
 */
int os_thread_start(os_thread_main *run, void *arg, const char *name, bool share_files);

/* The same with @share_files, for a thread that runs where a processor is idle, and next to nothing otherwise. Source: sched(7). */
int os_thread_start_idle(os_thread_main *run, void *arg, const char *name);

/* Does the caller run in a thread that os_thread_start() made? */
bool os_thread_is_ours(void);

/* Is @id the kernel's of such a thread of this process? */
bool os_thread_has_id(uint32_t id);

/* In one whose descriptors are not the program's: made without @share_files, or by such a one? */
bool os_thread_has_own_files(void);

/* Called by a thread of ours once it has opened what it needs: the thread gives up every capability. */
void os_thread_drop_capabilities(void);

/* Processors that this thread may run on, at least 1. */
unsigned os_cpu_count(void);

/* Kernel's id of the calling thread. */
uint32_t os_thread_id(void);

/* SIGBUS for one thread that waits for the page at @addr. */
void os_thread_send_bus_error(uint32_t thread, uintptr_t addr);

/* Monotonic time. */
uint64_t os_now_ns(void);

/*
 * A clock that is cheap to read, for what happens often: the processor's counter. os_ticks_start() is called once, before the others;
 * os_ticks_ns() turns a sum of differences into nanoseconds. The counter stands still where the process has forbidden itself to read it
 * (PR_SET_TSC), which os_ticks_stop() says.
 */
void os_ticks_start(void);
void os_ticks_stop(void);
uint64_t os_ticks(void);
uint64_t os_ticks_ns(uint64_t ticks);

/* Seconds since 1970. */
uint64_t os_wall_clock_s(void);

/* Processor time that the calling thread has used, and that the whole process has. */
uint64_t os_thread_cpu_ns(void);
uint64_t os_process_cpu_ns(void);

void os_sleep_ms(unsigned ms);

#endif
