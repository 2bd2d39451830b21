/* fault_own.c - see fault_own.h. */
#include "platform/fault_own.h"

#include "platform/mem.h"
#include "platform/thread.h"

void fault_own_init(struct fault_own *own, const struct fault_setup *setup)
{
    own->setup = *setup;
    own->contract.n_workers = FAULT_MAX_WORKERS;
    own->apart_lock.rank = LOCK_APART;
}

unsigned fault_numbers_take(struct fault_numbers *numbers, unsigned n)
{
    for (;;) {
        uint32_t ticket = os_event_ticket(&numbers->given);
        uint32_t taken = atomic_load(&numbers->taken);

        while (taken != (1u << n) - 1) {
            unsigned number = (unsigned)__builtin_ctz(~taken);

            if (atomic_compare_exchange_weak(&numbers->taken, &taken, taken | 1u << number))
                return number;
        }
        os_event_wait(&numbers->given, ticket, -1);
    }
}

void fault_numbers_give(struct fault_numbers *numbers, unsigned number)
{
    atomic_fetch_and(&numbers->taken, ~(1u << number));
    os_event_signal(&numbers->given);
}

static void background_main(void *arg)
{
    const struct fault_backgrounder *self = arg;
    const struct fault_own *own = self->backend;

    own->setup.background[self->index].run(own->setup.arg, FAULT_OWN_APART + 1 + self->index);
}

void fault_own_start_background(struct fault_own *own)
{
    if (atomic_load_explicit(&own->background_started, memory_order_relaxed) ||
        atomic_exchange(&own->background_started, true))
        return;
    for (unsigned i = 0; i < FAULT_BACKGROUNDS && own->setup.background[i].run != NULL; i++) {
        own->backgrounds[i] = (struct fault_backgrounder){own, i};
        if (own->setup.background[i].is_idle)
            (void)os_thread_start_idle(background_main, &own->backgrounds[i], own->setup.background[i].name);
        else
            (void)os_thread_start(background_main, &own->backgrounds[i], own->setup.background[i].name, true);
    }
}

void fault_own_restart(struct fault_own *own)
{
    atomic_store(&own->background_started, false);
    own->workers = (struct fault_numbers){0};
    os_lock_reset(&own->apart_lock);
}

enum fault_answer fault_own_handle(struct fault_backend *contract, uintptr_t addr, uint32_t thread, bool write)
{
    struct fault_own *own = fault_own_of(contract);
    struct fault fault = {
        .addr = addr & ~(OS_PAGE_BYTES - 1),
        .thread = thread,
        .began = os_ticks(),
        .worker = fault_numbers_take(&own->workers, FAULT_OWN_HANDLERS),
        .write = write,
    };

    own->setup.on_fault(own->setup.arg, &fault);
    fault_numbers_give(&own->workers, fault.worker);
    fault_own_start_background(own);
    return fault.answer;
}

void fault_own_wake(struct fault_backend *contract, uintptr_t addr, size_t n_pages)
{
    (void)contract;
    (void)addr;
    (void)n_pages;
}

void fault_own_run(struct fault_backend *contract, fault_job *job, void *arg, enum fault_job_kind kind)
{
    struct fault_own *own = fault_own_of(contract);
    unsigned worker;

    if (kind == FAULT_JOB_LOCKED) { /* with pager.lock nobody else is at work in this worker's memory */
        job(arg, FAULT_OWN_APART);
        return;
    }
    if (kind == FAULT_JOB_APART) {
        os_lock_take(&own->apart_lock);
        job(arg, FAULT_OWN_APART);
        os_lock_release(&own->apart_lock);
        return;
    }
    worker = fault_numbers_take(&own->workers, FAULT_OWN_HANDLERS);
    job(arg, worker);
    fault_numbers_give(&own->workers, worker);
}
