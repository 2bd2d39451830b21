/*
 * fault_signal.c - the `signal` backend: the thread that runs into a missing page brings it in itself, in its SIGBUS handler.
 *
 * The userfaultfd is for faults of user mode alone, which every user may open. A system call that meets a missing page
 * fails with EFAULT: the guard sees to it that none does.
 *
 * Workers: 0 .. MAX_HANDLERS - 1 are taken by threads of the program for one fault or job, then the background threads.
 * The descriptors stand high in the program's table; the guard keeps the program off them.
 *
 * Calls: uffd, thread, lock, file.  Locks: none (a set of free workers, waited for).  Memory: the threads' own.
 */
#include "platform/fault.h"

#include "platform/abi.h"
#include "platform/file.h"
#include "platform/lock.h"
#include "platform/mem.h"
#include "platform/thread.h"
#include "platform/uffd.h"

#include <errno.h>

#define MAX_HANDLERS (FAULT_MAX_WORKERS - FAULT_BACKGROUNDS)

struct signal_backend {
    struct fault_backend contract; /* first, so that one pointer serves for both */
    const struct fault_guard *guard;

    /* Set by start(), constant afterwards. */
    struct fault_setup setup;
    struct uffd uffd;

    _Atomic uint32_t busy_workers; /* bit n: worker n */
    struct os_event worker_freed;
    _Atomic bool background_started;
    _Atomic uint32_t next_background;
};

static struct signal_backend *backend_of(struct fault_backend *contract)
{
    return (struct signal_backend *)(void *)contract;
}

static unsigned worker_take(struct signal_backend *b)
{
    for (;;) {
        uint32_t ticket = os_event_ticket(&b->worker_freed);
        uint32_t busy = atomic_load(&b->busy_workers);

        while (busy != (1u << MAX_HANDLERS) - 1) {
            unsigned worker = (unsigned)__builtin_ctz(~busy);

            if (atomic_compare_exchange_weak(&b->busy_workers, &busy, busy | 1u << worker))
                return worker;
        }
        os_event_wait(&b->worker_freed, ticket, -1);
    }
}

static void worker_give(struct signal_backend *b, unsigned worker)
{
    atomic_fetch_and(&b->busy_workers, ~(1u << worker));
    os_event_signal(&b->worker_freed);
}

static void background_main(void *arg)
{
    struct signal_backend *b = arg;
    unsigned index = atomic_fetch_add(&b->next_background, 1);

    os_thread_drop_capabilities();
    b->setup.background[index].run(b->setup.arg, MAX_HANDLERS + index);
}

/* A forked child that only execs never has them. */
static void start_background(struct signal_backend *b)
{
    if (atomic_load_explicit(&b->background_started, memory_order_relaxed) || atomic_exchange(&b->background_started, true))
        return;
    for (unsigned i = 0; i < FAULT_BACKGROUNDS && b->setup.background[i].run != NULL; i++)
        (void)os_thread_start(background_main, b, b->setup.background[i].name, true);
}

static void close_uffd(struct signal_backend *b)
{
    os_file_disown(b->uffd.fd);
    uffd_close(&b->uffd);
}

static int open_and_watch(struct signal_backend *b)
{
    int error = uffd_open(&b->uffd, true);

    if (error != 0)
        return error;
    b->uffd.fd = os_file_move_high(b->uffd.fd);
    os_file_own(b->uffd.fd);
    b->contract.can_move = b->uffd.can_move;
    for (unsigned i = 0; i < 2 && error == 0; i++)
        error = uffd_watch(&b->uffd, b->setup.ranges[i].start, b->setup.ranges[i].bytes);
    if (error != 0)
        close_uffd(b);
    return error;
}

static int signal_start(struct fault_backend *contract, const struct fault_setup *setup)
{
    struct signal_backend *b = backend_of(contract);
    struct uffd probe;
    int error;

    b->setup = *setup;
    contract->n_workers = FAULT_MAX_WORKERS;
    error = uffd_open(&probe, true);
    if (error != 0)
        return error;
    uffd_close(&probe);
    error = b->guard->arm();
    if (error == 0)
        error = open_and_watch(b);
    if (error == 0)
        start_background(b);
    return error;
}

static int signal_restart(struct fault_backend *contract, const int *files, unsigned n_files)
{
    struct signal_backend *b = backend_of(contract);

    (void)files;
    (void)n_files;
    close_uffd(b); /* the parent's */
    atomic_store(&b->busy_workers, 0);
    atomic_store(&b->background_started, false);
    atomic_store(&b->next_background, 0);
    b->worker_freed = (struct os_event){0};
    return open_and_watch(b);
}

static void signal_handle(struct fault_backend *contract, uintptr_t addr, uint32_t thread, bool write)
{
    struct signal_backend *b = backend_of(contract);
    struct fault fault = {
        .addr = addr & ~(OS_PAGE_BYTES - 1),
        .thread = thread,
        .worker = worker_take(b),
        .write = write,
    };

    b->setup.on_fault(b->setup.arg, &fault);
    worker_give(b, fault.worker);
    start_background(b);
}

static int signal_fill(struct fault_backend *contract, uintptr_t dst, const void *source, size_t n_pages,
                       size_t *n_done)
{
    return uffd_fill(&backend_of(contract)->uffd, dst, source, n_pages, n_done);
}

static int signal_move(struct fault_backend *contract, uintptr_t dst, uintptr_t src, size_t n_pages, size_t *n_done)
{
    return uffd_move(&backend_of(contract)->uffd, dst, src, n_pages, n_done);
}

static int signal_protect(struct fault_backend *contract, uintptr_t addr, bool on)
{
    return uffd_protect(&backend_of(contract)->uffd, addr, on);
}

static void signal_poison(struct fault_backend *contract, uintptr_t addr, uint32_t thread)
{
    if (uffd_poison(&backend_of(contract)->uffd, addr) != 0) /* before Linux 6.6 */
        os_thread_send_bus_error(thread, addr);
}

/* Nobody sleeps in the kernel for a page. */
static void signal_wake(struct fault_backend *contract, uintptr_t addr, size_t n_pages)
{
    (void)contract;
    (void)addr;
    (void)n_pages;
}

static void signal_run(struct fault_backend *contract, fault_job *job, void *arg)
{
    struct signal_backend *b = backend_of(contract);
    unsigned worker = worker_take(b);

    job(arg, worker);
    worker_give(b, worker);
}

struct fault_backend *fault_backend_signal(const struct fault_guard *guard)
{
    static struct signal_backend backend = {
        .contract = {
            .name = "signal",
            .start = signal_start,
            .fill = signal_fill,
            .move = signal_move,
            .protect = signal_protect,
            .poison = signal_poison,
            .wake = signal_wake,
            .handle = signal_handle,
            .run = signal_run,
            .restart = signal_restart,
        },
    };

    backend.guard = guard;
    return &backend.contract;
}
