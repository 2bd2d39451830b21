/*
 * fault_own.h - what the backends share in which the faulting thread serves its fault itself.
 *
 * Workers: 0 .. FAULT_OWN_HANDLERS - 1 are taken by threads of the program for one fault or job, then one for jobs apart, then
 * the background threads. Those start with the first fault, so that a forked child that only execs never has them.
 *
 * Calls: thread, lock.  Memory: the threads' own.
 * Locks: apart_lock. A fork takes it for its job while the fork holds all of the core's locks. A resize's job takes the
 * core's locks while it holds apart_lock; the two do not meet, because the fork has waited for all resizes before. Other jobs
 * and faults wait for a free worker.
 */
#ifndef GHOSTMEM_PLATFORM_FAULT_OWN_H
#define GHOSTMEM_PLATFORM_FAULT_OWN_H

#include "platform/fault.h"
#include "platform/lock.h"

#define FAULT_OWN_APART (FAULT_MAX_WORKERS - FAULT_BACKGROUNDS - 1)
#define FAULT_OWN_HANDLERS FAULT_OWN_APART

/* Numbers 0 .. n - 1, each of which one thread may have at a time. Zero is a valid start. */
struct fault_numbers {
    _Atomic uint32_t taken; /* bit n: number n */
    struct os_event given;
};

/* Waits for one of @n. */
unsigned fault_numbers_take(struct fault_numbers *numbers, unsigned n);
void fault_numbers_give(struct fault_numbers *numbers, unsigned number);

struct fault_own {
    struct fault_backend contract; /* first, so that one pointer serves for all */
    const struct fault_guard *guard;
    struct fault_setup setup; /* set by start(), constant afterwards */

    struct fault_numbers workers;
    struct os_lock apart_lock; /* whose holder has worker FAULT_OWN_APART */
    _Atomic bool background_started;
    struct fault_backgrounder backgrounds[FAULT_BACKGROUNDS];
};

static inline struct fault_own *fault_own_of(struct fault_backend *contract)
{
    return (struct fault_own *)(void *)contract;
}

void fault_own_init(struct fault_own *own, const struct fault_setup *setup);
void fault_own_start_background(struct fault_own *own);

/* In a forked child: nobody is at work. */
void fault_own_restart(struct fault_own *own);

/* Operations of the contract. */
enum fault_answer fault_own_handle(struct fault_backend *contract, uintptr_t addr, uint32_t thread, bool write);
void fault_own_wake(struct fault_backend *contract, uintptr_t addr, size_t n_pages); /* nobody sleeps in the kernel */
void fault_own_run(struct fault_backend *contract, fault_job *job, void *arg, enum fault_job_kind kind);

#endif
