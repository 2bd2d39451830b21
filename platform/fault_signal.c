/*
 * fault_signal.c - the `signal` backend: the thread that runs into a missing page brings it in itself, in its SIGBUS handler.
 *
 * The userfaultfd is for faults of user mode alone, which every user may open. A system call that meets a missing page
 * fails with EFAULT: the guard sees to it that none does. The descriptor stands high in the program's table; the guard
 * keeps the program off it.
 *
 * Calls: uffd, fault_own, file.  Locks: none.  Memory: static.
 */
#include "platform/fault_own.h"

#include "platform/extract.h"
#include "platform/file.h"
#include "platform/mem.h"
#include "platform/thread.h"
#include "platform/uffd.h"

_Static_assert(FAULT_MAX_EXTRACT == EXTRACT_MAX_PAGES, "the contract says what there is");

/* One for each processor at the most: pages in pipes are counted against the user, 16,384 in all usually (pipe(7)). */
#define MAX_EXTRACTORS 4u

struct signal_backend {
    struct fault_own own; /* first */
    struct uffd uffd;
    struct extractor extractors[MAX_EXTRACTORS];
    unsigned n_extractors;
    struct fault_numbers in_use; /* extractors; whoever has one waits for nobody */
};

static struct signal_backend *backend_of(struct fault_backend *contract)
{
    return (struct signal_backend *)(void *)contract;
}

static void close_uffd(struct signal_backend *b)
{
    os_file_disown(b->uffd.fd);
    uffd_close(&b->uffd);
}

static void close_extractors(struct signal_backend *b)
{
    for (unsigned i = 0; i < b->n_extractors; i++)
        extractor_close(&b->extractors[i]);
    b->n_extractors = 0;
    b->in_use = (struct fault_numbers){0};
}

/*
 * Not when the first is needed: that may be in a child of vfork(2), whose descriptors are its own. Whether it may be done at all others
 * say, at any time, and for good: can_extract is only ever made false.
 */
static void open_extractors(struct signal_backend *b)
{
    unsigned n_wanted = os_cpu_count() < MAX_EXTRACTORS ? os_cpu_count() : MAX_EXTRACTORS;

    while (b->own.contract.can_extract && b->n_extractors < n_wanted && extractor_open(&b->extractors[b->n_extractors]) == 0)
        b->n_extractors++;
    if (b->n_extractors == 0)
        atomic_store(&b->own.contract.can_extract, false);
}

static int open_and_watch(struct signal_backend *b)
{
    int error = uffd_open(&b->uffd, true);

    if (error != 0)
        return error;
    b->uffd.fd = os_file_move_high(b->uffd.fd);
    os_file_own(b->uffd.fd);
    b->own.contract.can_move = b->uffd.can_move;
    b->own.contract.can_fill_protected = b->uffd.can_protect;
    error = uffd_watch_all(&b->uffd, &b->own.setup);
    if (error != 0)
        close_uffd(b);
    else
        open_extractors(b);
    return error;
}

static int signal_gather(struct fault_backend *contract)
{
    struct uffd probe;
    int error = uffd_open(&probe, true);

    contract->userfaultfd_refused = uffd_is_refusal(error);
    if (error != 0)
        return error;
    uffd_close(&probe);
    return backend_of(contract)->own.guard->arm();
}

static int signal_start(struct fault_backend *contract, const struct fault_setup *setup)
{
    struct signal_backend *b = backend_of(contract);
    int error;

    fault_own_init(&b->own, setup);
    atomic_store(&b->own.contract.can_extract, true); /* until somebody says otherwise */
    b->own.guard->look_around();
    error = open_and_watch(b);
    if (error == 0)
        fault_own_start_background(&b->own);
    return error;
}

static int signal_restart(struct fault_backend *contract, const int *files, unsigned n_files)
{
    struct signal_backend *b = backend_of(contract);

    (void)files;
    (void)n_files;
    close_extractors(b); /* the parent's, which would be read by both */
    close_uffd(b);
    fault_own_restart(&b->own);
    return open_and_watch(b);
}

static int signal_fill(struct fault_backend *contract, uintptr_t dst, const void *source, size_t n_pages,
                       bool protect, size_t *n_done)
{
    return uffd_fill(&backend_of(contract)->uffd, dst, source, n_pages, protect, n_done);
}

static int signal_move(struct fault_backend *contract, uintptr_t dst, uintptr_t src, size_t n_pages, size_t *n_done)
{
    return uffd_move(&backend_of(contract)->uffd, dst, src, n_pages, n_done);
}

static int signal_watch(struct fault_backend *contract, uintptr_t addr, size_t n_pages, bool on)
{
    const struct uffd *uffd = &backend_of(contract)->uffd;

    return on ? uffd_watch(uffd, addr, n_pages * OS_PAGE_BYTES) : uffd_unwatch(uffd, addr, n_pages * OS_PAGE_BYTES);
}

static size_t signal_drop(struct fault_backend *contract, const uintptr_t *addrs, size_t n)
{
    (void)contract;
    return os_mem_discard_each(addrs, n);
}

static size_t signal_extract(struct fault_backend *contract, void *buffer, const uintptr_t *addrs, size_t n, int *error)
{
    struct signal_backend *b = backend_of(contract);
    unsigned i = fault_numbers_take(&b->in_use, b->n_extractors);
    size_t n_taken = extractor_take(&b->extractors[i], buffer, addrs, n, error);

    fault_numbers_give(&b->in_use, i);
    return n_taken;
}

static int signal_protect(struct fault_backend *contract, uintptr_t addr, size_t n_pages, bool on)
{
    return uffd_protect(&backend_of(contract)->uffd, addr, n_pages, on);
}

bool fault_backend_signal_is_possible(void)
{
    struct uffd uffd;

    if (uffd_open(&uffd, true) != 0)
        return false;
    uffd_close(&uffd);
    return true;
}

struct fault_backend *fault_backend_signal(const struct fault_guard *guard)
{
    static struct signal_backend backend = {
        .own.contract = {
            .name = "signal",
            .gather = signal_gather,
            .start = signal_start,
            .fill = signal_fill,
            .move = signal_move,
            .protect = signal_protect,
            .drop = signal_drop,
            .extract = signal_extract,
            .watch = signal_watch,
            .wake = fault_own_wake,
            .handle = fault_own_handle,
            .run = fault_own_run,
            .restart = signal_restart,
        },
    };

    backend.own.guard = guard;
    return &backend.own.contract;
}
