/* lock.c - see lock.h. */
#include "platform/lock.h"

#include "platform/sys.h"

#include <limits.h>
#include <linux/futex.h>
#include <time.h>

/*
 * A holder is done within microseconds, a batch of victims included, unless it was preempted. To sleep and be woken costs far
 * more, 50 us where the processor has gone idle: so a spin comes first, of some 12 us on the machines of bench/.
 */
#define SPIN_ROUNDS 600

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void os_lock_take_slow(struct os_lock *lock)
{
    for (int i = 0; i < SPIN_ROUNDS; i++) {
        uint32_t expected = 0;

        if (atomic_compare_exchange_weak_explicit(&lock->word, &expected, 1, memory_order_acquire,
                                                  memory_order_relaxed))
            return;
        relax();
    }
    while (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire) != 0)
        sys_call4(SYS_futex, &lock->word, FUTEX_WAIT_PRIVATE, 2, 0);
}

void os_lock_release_slow(struct os_lock *lock)
{
    sys_call3(SYS_futex, &lock->word, FUTEX_WAKE_PRIVATE, 1);
}

void os_event_wait(struct os_event *event, uint32_t ticket, int timeout_ms)
{
    struct timespec span = {.tv_sec = timeout_ms / 1000, .tv_nsec = (long)(timeout_ms % 1000) * 1000000};

    atomic_fetch_add(&event->n_waiting, 1);
    sys_call4(SYS_futex, &event->sequence, FUTEX_WAIT_PRIVATE, ticket, timeout_ms < 0 ? 0 : &span);
    atomic_fetch_sub(&event->n_waiting, 1);
}

void os_event_signal(struct os_event *event)
{
    atomic_fetch_add(&event->sequence, 1);
    if (atomic_load(&event->n_waiting) != 0)
        sys_call3(SYS_futex, &event->sequence, FUTEX_WAKE_PRIVATE, INT_MAX);
}
