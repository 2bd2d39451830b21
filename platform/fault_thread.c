/*
 * fault_thread.c - the `thread` backend: userfaultfd with kernel faults, served by handler threads.
 *
 * A service thread with a descriptor table of its own opens the userfaultfd and starts the others, which share that
 * table: the program neither sees the descriptor nor can it close it. Threads of the program cannot use it either,
 * so they hand jobs to the service thread. A second one does the jobs of a thread that holds pager.lock, for which the job of the first
 * one may be waiting.
 *
 * Workers: 0 .. n_handlers - 1 the handlers, then the background threads, then the service threads.
 * Calls: uffd, thread, lock, file.  Locks: job_lock.    Memory: the threads' own.
 */
#include "platform/fault.h"

#include "platform/abi.h"
#include "platform/file.h"
#include "platform/lock.h"
#include "platform/mem.h"
#include "platform/sys.h"
#include "platform/thread.h"
#include "platform/uffd.h"

#include <errno.h>

#define MAX_HANDLERS 4

/* What a service thread is to do. */
struct service {
    _Atomic(fault_job *) job; /* NULL: nothing */
    void *arg;
    struct os_event posted;
    struct os_event done;
};

struct thread_backend {
    struct fault_backend contract; /* first, so that one pointer serves for both */

    /* Set by start(), constant afterwards. */
    struct fault_setup setup;
    struct uffd uffd;
    unsigned n_handlers;

    _Atomic uint32_t next_handler;
    struct fault_backgrounder backgrounds[FAULT_BACKGROUNDS];
    const int *files; /* to keep; valid while starting */
    unsigned n_files;
    _Atomic int started; /* what starting came to: 1 not yet, 0 running, -errno */
    struct os_event started_event;

    struct os_lock job_lock; /* one job at a time for the first service thread; held by its sender until the job has ended */
    struct service service;
    struct service locked_service; /* its senders hold pager.lock */
};

static struct thread_backend *backend_of(struct fault_backend *contract)
{
    return (struct thread_backend *)(void *)contract;
}

/*
 * On any processor. A handler kept on one has a page in hand, and while another session's program is busy there, it may not run
 * for minutes: its own session's weight lies where its other threads are (seen on Linux 6.18, autogroup).
 */
static void handler_main(void *arg)
{
    struct thread_backend *b = arg;
    unsigned worker = atomic_fetch_add(&b->next_handler, 1);
    struct uffd_msg message;

    for (;;) {
        long got = sys_call3(SYS_read, b->uffd.fd, &message, sizeof message);
        struct fault fault;

        if (got != (long)sizeof message || message.event != UFFD_EVENT_PAGEFAULT)
            continue;
        fault = (struct fault){
            .addr = (uintptr_t)message.arg.pagefault.address & ~(OS_PAGE_BYTES - 1),
            .thread = b->uffd.knows_threads ? message.arg.pagefault.feat.ptid : 0,
            .worker = worker,
            .began = os_ticks(),
            .write = (message.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WRITE) != 0,
            .write_protected = (message.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP) != 0,
        };
        b->setup.on_fault(b->setup.arg, &fault);
    }
}

static void background_main(void *arg)
{
    const struct fault_backgrounder *self = arg;
    const struct thread_backend *b = self->backend;

    b->setup.background[self->index].run(b->setup.arg, b->n_handlers + self->index);
}

static _Noreturn void serve(struct service *service, unsigned worker)
{
    for (;;) {
        uint32_t ticket = os_event_ticket(&service->posted);
        fault_job *job = atomic_load(&service->job);

        if (job == NULL) {
            os_event_wait(&service->posted, ticket, -1);
            continue;
        }
        job(service->arg, worker);
        atomic_store(&service->job, NULL);
        os_event_signal(&service->done);
    }
}

static void locked_service_main(void *arg)
{
    struct thread_backend *b = arg;

    serve(&b->locked_service, b->n_handlers + FAULT_BACKGROUNDS + 1);
}

/* All that needs the private descriptor table. */
static int open_and_watch(struct thread_backend *b)
{
    int error;

    error = os_files_close_all_but(b->files, b->n_files);
    if (error == 0)
        error = uffd_open(&b->uffd, false);
    b->contract.userfaultfd_refused = uffd_is_refusal(error);
    if (error != 0)
        return error;
    b->contract.can_move = b->uffd.can_move;
    b->contract.can_fill_protected = b->uffd.can_protect;
    error = uffd_watch_all(&b->uffd, &b->setup);
    if (error == 0)
        error = os_thread_start(locked_service_main, b, "ghostmem/serve", true);
    /* A fault that comes before its handler waits. Closing the only descriptor ends the registrations again. */
    if (error == 0)
        error = os_thread_start(handler_main, b, "ghostmem/fault", true);
    if (error != 0) {
        uffd_close(&b->uffd);
        return error;
    }
    /* The first handler is enough for correctness; the others and the background threads are for speed. */
    for (unsigned i = 1; i < b->n_handlers; i++)
        (void)os_thread_start(handler_main, b, "ghostmem/fault", true);
    for (unsigned i = 0; i < FAULT_BACKGROUNDS && b->setup.background[i].run != NULL; i++) {
        b->backgrounds[i] = (struct fault_backgrounder){b, i};
        if (b->setup.background[i].is_idle)
            (void)os_thread_start_idle(background_main, &b->backgrounds[i], b->setup.background[i].name);
        else
            (void)os_thread_start(background_main, &b->backgrounds[i], b->setup.background[i].name, true);
    }
    return 0;
}

static void service_main(void *arg)
{
    struct thread_backend *b = arg;
    int error;

    b->contract.files_thread = os_thread_id();
    error = open_and_watch(b);
    os_thread_drop_capabilities();
    atomic_store(&b->started, error);
    os_event_signal(&b->started_event);
    if (error == 0)
        serve(&b->service, b->n_handlers + FAULT_BACKGROUNDS);
}

static int thread_restart(struct fault_backend *contract, const int *files, unsigned n_files)
{
    struct thread_backend *b = backend_of(contract);
    int error;

    os_lock_reset(&b->job_lock);
    b->service = b->locked_service = (struct service){.arg = NULL};
    b->started_event = (struct os_event){0};
    atomic_store(&b->next_handler, 0);
    b->files = files;
    b->n_files = n_files;
    atomic_store(&b->started, 1);
    error = os_thread_start(service_main, b, "ghostmem/serve", false);
    if (error != 0)
        return error;
    for (;;) {
        uint32_t ticket = os_event_ticket(&b->started_event);

        error = atomic_load(&b->started);
        if (error != 1)
            return error;
        os_event_wait(&b->started_event, ticket, -1);
    }
}

static int thread_start(struct fault_backend *contract, const struct fault_setup *setup)
{
    struct thread_backend *b = backend_of(contract);
    unsigned n_cpus = os_cpu_count();

    b->setup = *setup;
    /* Two at the least: one may be waiting for a page in transit while another page is wanted. */
    b->n_handlers = n_cpus < 2 ? 2 : n_cpus < MAX_HANDLERS ? n_cpus : MAX_HANDLERS;
    contract->n_workers = b->n_handlers + FAULT_BACKGROUNDS + 2;
    return thread_restart(contract, NULL, 0);
}

static int thread_fill(struct fault_backend *contract, uintptr_t dst, const void *source, size_t n_pages,
                       bool protect, size_t *n_done)
{
    return uffd_fill(&backend_of(contract)->uffd, dst, source, n_pages, protect, n_done);
}

static int thread_move(struct fault_backend *contract, uintptr_t dst, uintptr_t src, size_t n_pages, size_t *n_done)
{
    return uffd_move(&backend_of(contract)->uffd, dst, src, n_pages, n_done);
}

static int thread_watch(struct fault_backend *contract, uintptr_t addr, size_t n_pages, bool on)
{
    const struct uffd *uffd = &backend_of(contract)->uffd;

    return on ? uffd_watch(uffd, addr, n_pages * OS_PAGE_BYTES) : uffd_unwatch(uffd, addr, n_pages * OS_PAGE_BYTES);
}

static size_t thread_drop(struct fault_backend *contract, const uintptr_t *addrs, size_t n)
{
    (void)contract;
    return os_mem_discard_each(addrs, n);
}

static int thread_protect(struct fault_backend *contract, uintptr_t addr, size_t n_pages, bool on)
{
    return uffd_protect(&backend_of(contract)->uffd, addr, n_pages, on);
}

static void thread_poison(struct fault_backend *contract, uintptr_t addr, uint32_t thread)
{
    if (uffd_poison(&backend_of(contract)->uffd, addr) != 0) /* before Linux 6.6 */
        os_thread_send_bus_error(thread, addr);
}

static void thread_wake(struct fault_backend *contract, uintptr_t addr, size_t n_pages)
{
    uffd_wake(&backend_of(contract)->uffd, addr, n_pages);
}

static void request(struct service *service, fault_job *job, void *arg)
{
    service->arg = arg;
    atomic_store(&service->job, job);
    os_event_signal(&service->posted);
    for (;;) {
        uint32_t ticket = os_event_ticket(&service->done);

        if (atomic_load(&service->job) == NULL)
            return;
        os_event_wait(&service->done, ticket, -1);
    }
}

/* Handlers are threads of their own here, so jobs apart need no worker apart. */
static void thread_run(struct fault_backend *contract, fault_job *job, void *arg, enum fault_job_kind kind)
{
    struct thread_backend *b = backend_of(contract);

    if (kind == FAULT_JOB_LOCKED) {
        request(&b->locked_service, job, arg);
        return;
    }
    os_lock_take(&b->job_lock);
    request(&b->service, job, arg);
    os_lock_release(&b->job_lock);
}

bool fault_backend_thread_is_possible(void)
{
    struct uffd uffd;

    if (uffd_open(&uffd, false) != 0)
        return false;
    uffd_close(&uffd);
    return true;
}

struct fault_backend *fault_backend_thread(void)
{
    static struct thread_backend backend = {
        .job_lock = {.rank = LOCK_JOB},
        .contract = {
            .name = "thread",
            .start = thread_start,
            .fill = thread_fill,
            .move = thread_move,
            .protect = thread_protect,
            .drop = thread_drop,
            .watch = thread_watch,
            .poison = thread_poison,
            .wake = thread_wake,
            .run = thread_run,
            .restart = thread_restart,
        },
    };

    _Static_assert(MAX_HANDLERS + FAULT_BACKGROUNDS + 2 <= FAULT_MAX_WORKERS, "the caller's per-worker memory is big enough");
    return &backend.contract;
}
