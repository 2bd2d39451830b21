/*
 * fault.h - the contract between the pager and whoever tells it about faults.
 *
 * A backend watches address ranges. A touch of a page that is not there becomes a call of the fault callback, which
 * makes the page accessible through the backend's operations. Pages move between the program's range and the limbo
 * range, which is ours alone, without ever being in two places.
 *
 * Every operation works on runs of adjacent pages, says in *@n_done how many pages of the run it has finished (also
 * on failure), and may be called from the fault callback, the background callback and run(), at the same time from
 * several threads on different pages. All are free of allocation. Locks: none of the core's are known here.
 *
 * The errors that an operation may end with:
 *   -EEXIST  the page at @n_done is there already
 *   -ENOENT  the page at @n_done is not there, or its address range is gone
 *   -EBUSY   the page is pinned or shared; try again another time
 *   -EINVAL  the page cannot be moved at all (not writable, mapping of another kind, no such operation here)
 *   -ENOMEM  the system has no frame
 */
#ifndef GHOSTMEM_PLATFORM_FAULT_H
#define GHOSTMEM_PLATFORM_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fault {
    uintptr_t addr;  /* of the page */
    uint32_t thread; /* kernel's id of the thread that waits; 0 when not known */
    unsigned worker; /* 0 .. n_workers - 1: no two calls at the same time share one */
    uint64_t began;  /* os_ticks() when it was met */
    bool write;
    bool write_protected; /* the page is there; somebody wants to write while it is protected */
    enum fault_answer {
        FAULT_SERVED,
        FAULT_WAS_THERE, /* the page is as open as we ever make it (with by_protection), or it is not ours */
        FAULT_LOST,      /* with handle(): what the page was cannot be had any more, its thread is to get SIGBUS */
    } answer;
};

#define FAULT_BACKGROUNDS 2u

struct fault_range {
    uintptr_t start;
    size_t bytes;
};

typedef void fault_callback(void *arg, struct fault *fault);
typedef void fault_background(void *arg, unsigned worker);
typedef void fault_job(void *arg, unsigned worker);
/* One that runs for ever. */
struct fault_backgrounder {
    void *backend;
    unsigned index;
};

typedef bool fault_next_part(void *arg, struct fault_range *part);
typedef size_t fault_number(void *arg, uintptr_t addr);

struct fault_setup {
    struct fault_range ranges[2]; /* the ghost range and the limbo range */
    fault_next_part *next_part; /* the next part of the ghost range behind *@part that is to be watched; false: there is none */
    fault_number *number; /* of the page at a watched address, below n_numbers: adjacent for the pages of a run. Any context */
    size_t n_numbers;
    fault_callback *on_fault;
    /* Each runs for ever in a thread of its own, where there is one to be had; NULL: none. */
    struct {
        fault_background *run;
        const char *name; /* of the thread */
        bool is_idle; /* see os_thread_start_idle() */
    } background[FAULT_BACKGROUNDS];
    void *arg;
};

/* Pages that extract() takes at once, at the most. */
#define FAULT_MAX_EXTRACT 32u

/* Workers that one backend uses at the most, for the callers' per-worker memory. */
#define FAULT_MAX_WORKERS 8

/* Who may wait for whom while a job runs. */
enum fault_job_kind {
    FAULT_JOB,        /* the job may wait for threads that serve faults, and for the end of a fork */
    FAULT_JOB_APART,  /* threads that serve faults wait for this job: it has a worker that they cannot have, and must not wait for them */
    FAULT_JOB_LOCKED, /* the caller holds pager.lock and waits for the job, which takes no lock below; no other such job is under way */
};

struct fault_backend {
    const char *name;

    /* Constant once start() has returned 0. */
    unsigned n_workers;
    bool can_move;
    bool can_fill_protected;
    _Atomic bool can_extract; /* becomes false when extract() is refused, or when frames may be pinned from now on */
    bool userfaultfd_refused; /* gather() or start() has failed, and for that reason */
    bool by_protection; /* a missing page is one that nobody may access; protect() closes and opens pages */
    uint32_t files_thread; /* the callbacks' files stand in the descriptor table of this thread; 0: in the program's */

    /*
     * Before start(), with no lock of the pager held: what needs the program's threads. 0; -EAGAIN: not now, but it may be called again;
     * or another -errno. NULL: nothing.
     */
    int (*gather)(struct fault_backend *backend);

    /* Watch the ranges and start what that needs. 0, -EPERM (not permitted), or -errno: then nothing is watched. */
    int (*start)(struct fault_backend *backend, const struct fault_setup *setup);

    /*
     * Copy @n_pages from @source (NULL: zeros) into missing pages at @dst and wake who waits for them. @protect, only with
     * can_fill_protected: they can be read, and a write faults, until protect() allows it.
     */
    int (*fill)(struct fault_backend *backend, uintptr_t dst, const void *source, size_t n_pages, bool protect, size_t *n_done);

    /*
     * Move pages from @src to missing pages at @dst, atomically for each page, and wake who waits at @dst. Without can_move:
     * -EINVAL, or by copying pages that nobody uses.
     */
    int (*move)(struct fault_backend *backend, uintptr_t dst, uintptr_t src, size_t n_pages, size_t *n_done);

    /*
     * Forbid (@on) or allow writing to pages, with by_protection all access; a write then faults with write_protected
     * set. 0 or -errno: nothing has changed, but that a run may be done in part.
     */
    int (*protect)(struct fault_backend *backend, uintptr_t addr, size_t n_pages, bool on);

    /* Only with can_fill_protected. Make the @n pages at @addrs missing. Returns how many, from the first one on, are. */
    size_t (*drop)(struct fault_backend *backend, const uintptr_t *addrs, size_t n);

    /*
     * Only with can_extract, and for pages that fill() has brought in and that nobody has pinned or shared since. Copy the
     * contents of the @n pages at @addrs into @buffer and make the pages missing. Returns for how many, from the first one
     * on, that is done. *@error: 0, or why it is not done for all. -EPERM, -EACCES, -ENOSYS, -EBADF: the calls are refused,
     * and contents of missing pages may be lost. -EFAULT: the next page is missing already. -EINVAL: it cannot leave in this
     * way. Others: not this time.
     */
    size_t (*extract)(struct fault_backend *backend, void *buffer, const uintptr_t *addrs, size_t n, int *error);

    /* Read pages that are there and protected. 0 or -EFAULT. NULL: the caller uses os_mem_peek(). */
    int (*peek)(struct fault_backend *backend, void *buffer, uintptr_t addr, size_t n_pages);

    /*
     * Only without handle(). Each thread that touches the missing page from now on gets SIGBUS; @thread, which waits for it,
     * gets SIGBUS now.
     */
    void (*poison)(struct fault_backend *backend, uintptr_t addr, uint32_t thread);

    /* Let whoever waits for these pages try again. */
    void (*wake)(struct fault_backend *backend, uintptr_t addr, size_t n_pages);

    /*
     * Begin or end watching pages. No page may be missing when watching ends. With by_protection the pages must be a run of
     * numbers, and all of them must be missing and out of reach when watching begins. 0 or -errno. NULL: not needed for the
     * ghost range.
     */
    int (*watch)(struct fault_backend *backend, uintptr_t addr, size_t n_pages, bool on);

    /*
     * NULL: not needed. Watched pages that nobody has touched since they were mapped will come and go one by one. @addr: the first of
     * them, which is missing.
     */
    void (*prepare)(struct fault_backend *backend, uintptr_t addr);

    /*
     * Only with by_protection. The program gives this protection (mprotect(2)) to a run of pages outside of the ghost range.
     * Open pages get it at once, the others when they are opened. 0 or -errno.
     */
    int (*reprotect)(struct fault_backend *backend, uintptr_t addr, size_t n_pages, int protection);

    /* Only with by_protection. The mapping of a run of pages has gone. */
    void (*lost)(struct fault_backend *backend, uintptr_t addr, size_t n_pages);

    /*
     * NULL where other threads handle faults. Otherwise: the page at @addr is missing, and the calling thread, @thread,
     * has run into it. Context: its signal handler, all signals blocked but those of faults.
     */
    enum fault_answer (*handle)(struct fault_backend *backend, uintptr_t addr, uint32_t thread, bool write);

    /* Call @job(@arg) in a thread that may use the operations, and wait for its end. For threads of the program. */
    void (*run)(struct fault_backend *backend, fault_job *job, void *arg, enum fault_job_kind kind);

    /*
     * Watch again in a forked child, where the registration is gone. Call before the child touches ghost memory.
     * @files: descriptors of the caller that the callbacks will use, ascending, @n_files of them. The caller closes its
     * own afterwards where files_thread is not 0. 0 or -errno as start().
     */
    int (*restart)(struct fault_backend *backend, const int *files, unsigned n_files);
};

/* The backend of handler threads: userfaultfd with kernel faults. One instance a process. */
struct fault_backend *fault_backend_thread(void);

/* May this process have it? Source: userfaultfd(2). */
bool fault_backend_thread_is_possible(void);

/* What `signal` and `segv` need of interpose/, which knows the program's threads. */
struct fault_guard {
    /*
     * From now on a fault in any thread of the program is a call of handle(), and no system call sees a missing page. 0, -EAGAIN: some
     * thread cannot be had now, and this is to be called again later; or another -errno.
     */
    int (*arm)(void);

    /* After that: what may be in the way of this or that. The caller holds the pager's lock. */
    void (*look_around)(void);
};

/* Faults are SIGBUS in the faulting thread: userfaultfd for faults of user mode alone. One instance a process. */
struct fault_backend *fault_backend_signal(const struct fault_guard *guard);
bool fault_backend_signal_is_possible(void);

/* Faults are SIGSEGV in the faulting thread: pages that nobody may access. One instance a process. */
struct fault_backend *fault_backend_segv(const struct fault_guard *guard);
bool fault_backend_segv_is_possible(void);

#endif
