/*
 * lock.h - mutual exclusion and waiting built on futex(2) alone.
 *
 * pthread's mutexes want libc's thread descriptor, which our own threads do not have. The lock is the three-state
 * futex mutex of Drepper, "Futexes Are Tricky": 0 free, 1 held, 2 held with waiters.
 *
 * Calls: the kernel (futex).  Locks: this is them; core/lock.h has the ranks.  Memory: the caller's.
 */
#ifndef GHOSTMEM_PLATFORM_LOCK_H
#define GHOSTMEM_PLATFORM_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct os_lock {
    _Atomic uint32_t word;
};

/* A counter to sleep on: it changes with every os_event_signal(). Zero is a valid start. */
struct os_event {
    _Atomic uint32_t sequence;
    _Atomic uint32_t n_waiting;
};

void os_lock_take_slow(struct os_lock *lock);
void os_lock_release_slow(struct os_lock *lock);

/* Any context but a signal handler that interrupted a holder of the same lock. */
static inline void os_lock_take(struct os_lock *lock)
{
    uint32_t expected = 0;

    if (!atomic_compare_exchange_strong_explicit(&lock->word, &expected, 1, memory_order_acquire, memory_order_relaxed))
        os_lock_take_slow(lock);
}

static inline void os_lock_release(struct os_lock *lock)
{
    if (atomic_exchange_explicit(&lock->word, 0, memory_order_release) == 2)
        os_lock_release_slow(lock);
}

/* True when somebody holds it: good for assertions only. */
static inline bool os_lock_is_held(const struct os_lock *lock)
{
    return atomic_load_explicit(&lock->word, memory_order_relaxed) != 0;
}

/* In a forked child: forget the holder's and the waiters' traces of the parent. */
static inline void os_lock_reset(struct os_lock *lock)
{
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
