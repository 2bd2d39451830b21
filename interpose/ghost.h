/*
 * ghost.h - the one instance of everything, and when it comes to life.
 *
 * Calls: heap, slab, pager, config, stats, log.  Locks: start_lock, taken before any other, only until the heap is there.
 * Memory: static.
 */
#ifndef GHOSTMEM_INTERPOSE_GHOST_H
#define GHOSTMEM_INTERPOSE_GHOST_H

#include "core/config.h"
#include "core/heap.h"
#include "core/slab.h"
#include "core/stats.h"
#include "platform/dispatch.h"
#include "platform/signal.h"

#include <stdatomic.h>

struct ghost {
    struct config config;
    struct heap heap;
    struct slabs slabs;
    struct pager pager;
    const char *backend_reason; /* why the pager has the backend that it has */
    int process; /* id of the process that this state belongs to */
};

extern struct ghost ghost;

/*
 * Allocations of at least this size go to ghost_heap(). 0 until the settings have been read, SIZE_MAX when everything
 * is libc's. So one comparison decides about nearly every call.
 */
extern _Atomic size_t ghost_threshold_bytes;

/* Read the settings if that has not happened. Any context in which malloc may be called. */
void ghost_configure(void);

/* Is @p in the ghost range, or in a chunk of 2 MiB with managed memory? Any context. */
static inline bool ghost_manages(const void *p)
{
    return heap_owns(&ghost.heap, p) ||
           (ghost.pager.space.n_leaves > 0 && space_far_number(&ghost.pager.space, (uintptr_t)p) != PAGE_NONE);
}

/*
 * Another limit, in pages, at least CONFIG_MIN_LIMIT_PAGES; it holds when this returns, see heap_set_limit() for that and for the errors.
 * Before the first ghost block it is noted for later: 0. Context: as malloc.
 */
int ghost_set_limit(uint64_t pages);

/* The same once paging has started, for a thread of ours that has a worker. */
int ghost_set_limit_as(uint64_t pages, unsigned worker);

/* Start paging: the process has as much memory as the limit allows, wherever it lies. Context: as malloc. */
void ghost_start_paging(void);

/*
 * Change the settings before there is a heap, then bring it to life. @change(settings, @arg) returns 0 or -errno. 0; -EBUSY: there is a
 * heap; -EAGAIN: it is too early; -ENOMEM; what @change returned; or what is wrong with the swap file: nothing has changed then.
 */
typedef int ghost_change(struct config *config, void *arg);
int ghost_initialize(ghost_change *change, void *arg);

/* Switched off, for this program at least: what is asked for all the same has no limit. */
bool ghost_is_off(void);

/* The heap, brought to life by the first call; NULL: there is none, use libc. */
struct heap *ghost_heap(void);

/*
 * A handler of the program may call fork(), which takes every lock of ours. So no handler runs in a thread that holds a lock of ours. A
 * program that has set no handler is spared the two system calls for that, which its sandbox may not allow.
 */
extern _Atomic bool ghost_has_handlers;

struct ghost_quiet {
    bool on;
    bool was_in; /* its calls trapped already: see guard.h */
    os_sigset mask;
};

/* The signals that are ours alone in a thread whose calls trap: the kernel must not have them blocked. */
#define GHOST_HIDDEN (os_signal_bit(SIGBUS) | os_signal_bit(SIGSEGV) | os_signal_bit(SIGSYS))

/* The signal by which a thread is brought in: libc's own for setuid(3), which libc lets nobody block. Source: nptl(7). */
#define GHOST_SUMMONS 33

/* Those that are ours cannot be blocked: who comes meanwhile is missed, and comes afterwards. */
extern __thread unsigned ghost_quiet_depth;
extern __thread volatile bool ghost_quiet_missed;
void ghost_quiet_make_good(void);

static inline struct ghost_quiet ghost_quiet_begin(void)
{
    struct ghost_quiet quiet = {.on = atomic_load_explicit(&ghost_has_handlers, memory_order_relaxed)};

    if (!quiet.on)
        return quiet;
    quiet.was_in = os_stub_self != NULL;
    /* It may wait for a lock that is held until all threads are in. */
    quiet.mask = os_signals_defer(quiet.was_in ? 0 : os_signal_bit(GHOST_SUMMONS));
    ghost_quiet_depth++;
    return quiet;
}

static inline void ghost_quiet_end(struct ghost_quiet quiet)
{
    if (!quiet.on)
        return;
    ghost_quiet_depth--;
    if (!quiet.was_in && os_stub_self != NULL) /* brought in meanwhile */
        quiet.mask &= ~GHOST_HIDDEN;
    os_signals_restore(quiet.mask);
    if (ghost_quiet_missed)
        ghost_quiet_make_good();
}

/* Around a fork, in the thread that forks; child in the child. */
void ghost_fork_prepare(void);
void ghost_fork_parent(void);
void ghost_fork_child(void);

/* A consistent-enough copy of all counters. Any context, also a signal handler. */
void ghost_collect(struct stats *stats);

#endif
