/*
 * lock.h - mutual exclusion and waiting built on futex(2) alone, and the order of all locks.
 *
 * pthread's mutexes want libc's thread descriptor, which our own threads do not have. The lock is the three-state
 * futex mutex of Drepper, "Futexes Are Tricky": 0 free, 1 held, 2 held with waiters.
 *
 * A thread takes locks in ascending rank only. fork() takes those of its process in this order and releases them in the opposite one.
 * Test builds (GHOSTMEM_CHECK) check at each take that the order holds, and at each LOCK_ASSERT_HELD() that the lock is held: lock_check.c.
 *
 * Calls: the kernel (futex).  Locks: this is them.  Memory: the caller's.
 */
#ifndef GHOSTMEM_PLATFORM_LOCK_H
#define GHOSTMEM_PLATFORM_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* All locks in the order in which a thread may take them. doc/map.md says what each guards; tests/docs.sh compares the two. */
enum os_lock_rank {
    LOCK_NONE,
    LOCK_START,    /* interpose/init.c */
    LOCK_MARKS,    /* interpose/memory.c */
    LOCK_SLABS,    /* core/slab.h, one for each size class */
    LOCK_RECORDS,  /* core/slab.h */
    LOCK_HEAP,     /* core/heap.h */
    LOCK_APART,    /* platform/fault_own.h */
    LOCK_JOB,      /* platform/fault_thread.c */
    LOCK_PAGER,    /* core/reclaim.h */
    LOCK_POOL,     /* core/pool.h */
    LOCK_MAP,      /* platform/fault_segv.c */
    LOCK_WRITTEN,  /* platform/fault_segv.c */
    LOCK_ACTIONS,  /* interpose/guard_signal.c */
    LOCK_MESSAGES, /* interpose/guard_message.c */
    LOCK_RANKS,
};

struct os_lock {
    _Atomic uint32_t word;
    uint32_t rank; /* enum os_lock_rank; constant once the lock is used */
};

/* A counter to sleep on: it changes with every os_event_signal(). Zero is a valid start. */
struct os_event {
    _Atomic uint32_t sequence;
    _Atomic uint32_t n_waiting;
};

void os_lock_take_slow(struct os_lock *lock);
void os_lock_release_slow(struct os_lock *lock);

#ifdef GHOSTMEM_CHECK
void os_lock_check_order(const struct os_lock *lock); /* about to be taken */
void os_lock_check_taken(const struct os_lock *lock);
void os_lock_check_released(const struct os_lock *lock); /* about to be */
void os_lock_check_reset(const struct os_lock *lock);
void os_lock_check_held(enum os_lock_rank rank, const char *caller);

/* The calling thread holds its lock of this rank: stands in functions named _locked or _relock. Test builds only. */
#define LOCK_ASSERT_HELD(rank) os_lock_check_held((rank), __func__)
#else
#define os_lock_check_order(lock) ((void)0)
#define os_lock_check_taken(lock) ((void)0)
#define os_lock_check_released(lock) ((void)0)
#define os_lock_check_reset(lock) ((void)0)
#define LOCK_ASSERT_HELD(rank) ((void)0)
#endif

/* Any context but a signal handler that interrupted a holder of the same lock. */
static inline void os_lock_take(struct os_lock *lock)
{
    uint32_t expected = 0;

    os_lock_check_order(lock);
    if (!atomic_compare_exchange_strong_explicit(&lock->word, &expected, 1, memory_order_acquire, memory_order_relaxed))
        os_lock_take_slow(lock);
    os_lock_check_taken(lock);
}

static inline void os_lock_release(struct os_lock *lock)
{
    os_lock_check_released(lock);
    if (atomic_exchange_explicit(&lock->word, 0, memory_order_release) == 2)
        os_lock_release_slow(lock);
}

/*
 * Of locks of one rank a thread takes one at a time. Or, for a fork, the first with os_lock_take() and then, in their order, the others
 * with os_lock_take_more(); they are released in the opposite order.
 */
static inline void os_lock_take_more(struct os_lock *lock)
{
    uint32_t expected = 0;

    if (!atomic_compare_exchange_strong_explicit(&lock->word, &expected, 1, memory_order_acquire, memory_order_relaxed))
        os_lock_take_slow(lock);
}

static inline void os_lock_release_more(struct os_lock *lock)
{
    if (atomic_exchange_explicit(&lock->word, 0, memory_order_release) == 2)
        os_lock_release_slow(lock);
}

/*
 * In a forked child: forget a holder and waiters that only the parent has. No other thread of the child may know of the lock yet. A lock
 * that the forking thread holds is released in the child as in the parent: threads of the child may wait for it already.
 */
static inline void os_lock_reset(struct os_lock *lock)
{
    os_lock_check_reset(lock);
    atomic_store_explicit(&lock->word, 0, memory_order_release);
}

/*
 * Waiting without losing a wake-up: take a ticket under the lock that guards the condition, release the lock, wait.
 * os_event_wait() returns once the event was signalled after the ticket, or spuriously; the caller looks again.
 * @timeout_ms: < 0 waits for ever.
 */
static inline uint32_t os_event_ticket(struct os_event *event)
{
    return atomic_load_explicit(&event->sequence, memory_order_acquire);
}

void os_event_wait(struct os_event *event, uint32_t ticket, int timeout_ms);
void os_event_signal(struct os_event *event);

#endif
