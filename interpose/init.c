/* init.c - the instance, its settings, its start, fork. See ghost.h. */
#include "interpose/ghost.h"
#include "interpose/backend.h"
#include "interpose/control.h"
#include "interpose/guard.h"
#include "interpose/identity.h"
#include "interpose/libc.h"
#include "interpose/linked.h"
#include "interpose/memory.h"
#include "interpose/pressure.h"
#include "interpose/report.h"
#include "interpose/small.h"
#include "interpose/survey.h"

#include "core/log.h"
#include "platform/file.h"
#include "platform/host.h"
#include "platform/swapfile.h"
#include "platform/thread.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

/* One range of 1 TiB: doc/design.md, 3. Where address space is limited, a quarter of what is left: the rest is the program's. */
#define RANGE_BYTES (1024 * GIB)
#define EXIT_BAD_CONFIG 78 /* Source: sysexits.h, EX_CONFIG */
#define PATH_BYTES 1024
/* heap.c says when an attempt is made. */
#define RETRY_SLEEP_MS 5

struct ghost ghost;
_Atomic size_t ghost_threshold_bytes;
_Atomic bool ghost_has_handlers;
__thread unsigned ghost_quiet_depth;
__thread volatile bool ghost_quiet_missed;

static struct os_lock start_lock = {.rank = LOCK_START}; /* guards what follows; and the settings are read under it */
static bool configured;
static bool started; /* tried, at least */
static bool off; /* for this program */
static bool links_us;
static struct ghost_quiet fork_quiet; /* of the thread that forks by libc */
static uint32_t configuring_thread;
static char swap_path[PATH_BYTES]; /* absolute: the program may be elsewhere when the file is opened */

void ghost_quiet_make_good(void)
{
    if (ghost_quiet_depth > 0)
        return;
    ghost_quiet_missed = false;
    if (os_stub_self != NULL)
        guard_nudge();
}

/* ---- settings ---- */

static int open_log(const struct config *config)
{
    char path[PATH_BYTES];
    int fd;

    if (config->log == NULL)
        return STDERR_FILENO;
    if (!config_expand_path(config->log, identity_program(), path, sizeof path)) {
        log_line(LOG_ERROR, "GHOSTMEM_LOG=%s: the path is too long; accepted: a path; used instead: stderr", config->log);
        return STDERR_FILENO;
    }
    fd = os_file_open(path, 1);
    if (fd >= 0) {
        fd = os_file_move_high(fd);
        os_file_own(fd);
        return fd;
    }
    log_line(LOG_ERROR, "GHOSTMEM_LOG=%s: cannot be opened: %e; accepted: a regular file of ours, or a new one, or a terminal; used "
             "instead: stderr", config->log, -fd);
    return STDERR_FILENO;
}

/* Said now, and not when the first image is to be written. 0 or -errno. */
static int check_swap_path(void)
{
    int error = os_swapfile_check(swap_path);

    if (error == -EEXIST)
        log_line(LOG_ERROR, "swap file %s: exists and is not empty: it is left alone, and images stay in RAM", swap_path);
    else if (error != 0)
        log_line(LOG_ERROR, "swap file %s: cannot be created: %e; images stay in RAM", swap_path, -error);
    return error;
}

/* 0 or -errno: then there is to be none, and one line has said so. */
static int resolve_swap_path(struct config *config)
{
    size_t length = 0;
    int error;

    if (config->swap == NULL)
        return 0;
    if (config->swap[0] != '/' && os_working_directory(swap_path, sizeof swap_path) == 0)
        length = log_format(swap_path, sizeof swap_path, strlen(swap_path), "/");
    length = log_format(swap_path, sizeof swap_path, length, "%s", config->swap);
    error = length + 1 < sizeof swap_path ? check_swap_path() : -ENAMETOOLONG;
    if (error == -ENAMETOOLONG)
        log_line(LOG_ERROR, "GHOSTMEM_SWAP=%s: the path is too long; accepted: a path; used instead: RAM alone", config->swap);
    if (error != 0)
        config->swap = NULL;
    return error;
}

/* By its file's name, or by the name under which it was called: python3 may be a link to python3.11. */
static bool program_is_in(const struct config *config)
{
    char name[256];

    if (config->programs == NULL || os_program_name(name, sizeof name) != 0 || config_names_program(config, name))
        return true;
    if (program_invocation_short_name != NULL && config_names_program(config, program_invocation_short_name))
        return true;
    if (config->verbose > 0) {
        log_open(open_log(config), (enum log_level)config->verbose);
        log_line(LOG_CHOICE, "GHOSTMEM_PROGRAMS=%s does not name %s, which runs without", config->programs, name);
    }
    return false;
}

void ghost_fork_prepare(void)
{
    os_lock_take(&start_lock);
    memory_fork_prepare();
    if (ghost.heap.bytes == 0)
        return;
    slabs_fork_prepare(&ghost.slabs);
    heap_fork_prepare(&ghost.heap);
}

void ghost_fork_parent(void)
{
    if (ghost.heap.bytes != 0) {
        heap_fork_parent(&ghost.heap);
        slabs_fork_done(&ghost.slabs);
    }
    memory_fork_parent();
    os_lock_release(&start_lock);
}

void ghost_fork_child(void)
{
    ghost.process = os_process_id();
    identity_begin();
    control_fork_child();
    memory_fork_child_begin();
    if (ghost.heap.bytes != 0) {
        heap_fork_child(&ghost.heap);
        slabs_fork_done(&ghost.slabs);
    }
    report_fork_child();
    os_lock_release(&start_lock);
    guard_fork_child();
    memory_fork_child();
    small_fork_child();
}

/*
 * Lock order around fork: libc's locks, then ours. fork() takes locks of libc between its handlers and its system call. A thread that
 * holds a lock of libc, or has just released it, may be in a trap and wait for memory of ours before it wakes the next thread. A
 * thread that holds a lock of ours waits for no lock of libc. So where system calls trap, guard_clone() takes our locks. Elsewhere
 * these handlers take them, and the calls that libc makes between them must not trap.
 */
static __thread bool fork_is_ours; /* the thread is between these */

static void atfork_prepare(void)
{
    struct ghost_quiet quiet = ghost_quiet_begin();

    ghost_fork_prepare();
    os_dispatch_selector = 0; /* not before: paging may have started while this waited */
    fork_is_ours = true;
    fork_quiet = quiet;
}

static void atfork_parent(void)
{
    struct ghost_quiet quiet = fork_quiet;

    fork_is_ours = false;
    ghost_fork_parent();
    os_dispatch_selector = os_stub_self != NULL;
    ghost_quiet_end(quiet);
}

static void atfork_child(void)
{
    struct ghost_quiet quiet = fork_quiet;

    fork_is_ours = false;
    ghost_fork_child();
    ghost_quiet_end(quiet);
}

/*
 * Without traps the holder of one of libc's locks may still wait for us: the lock of its list of streams. The holder may wait for a
 * stream, and the stream's holder may wait for memory. So that lock is taken before ours here. It is recursive.
 *
 * Threads with traps take it here too. While paging is put off there are threads of both kinds, and one without traps waits for the lock
 * of fork()'s handlers when it has ours and that of the streams. Who has the lock of the handlers must not wait for these.
 */
static __thread bool fork_has_streams;

static void lock_streams(void)
{
    const struct libc *libc = libc_next();

    if (libc->lock_streams == NULL || libc->unlock_streams == NULL || libc->reset_streams == NULL)
        return;
    libc->lock_streams();
    fork_has_streams = true;
}

static void fork_prepare(void)
{
    lock_streams();
    if (guard_traps_forks())
        return;
    atfork_prepare();
    if (guard_traps_forks()) /* paging has started while this waited */
        atfork_parent();
}

static void fork_parent(void)
{
    if (fork_is_ours)
        atfork_parent();
    if (fork_has_streams)
        libc_next()->unlock_streams();
    fork_has_streams = false;
}

static void fork_child(void)
{
    if (fork_is_ours)
        atfork_child();
    if (fork_has_streams)
        libc_next()->reset_streams();
    fork_has_streams = false;
}

EXPORT pid_t _Fork(void);

/* fork() without its handlers, ours among them. */
EXPORT pid_t _Fork(void)
{
    pid_t child;

    if (libc_next()->underscore_fork == NULL)
        return fork();
    if (guard_traps_forks())
        return libc_next()->underscore_fork();
    atfork_prepare();
    child = libc_next()->underscore_fork();
    if (child == 0)
        atfork_child();
    else
        atfork_parent();
    return child;
}

/* Of malloc's blocks. */
static size_t threshold_of(const struct config *config)
{
    bool ours = config->interpose == CONFIG_INTERPOSE_ON || (config->interpose == CONFIG_INTERPOSE_AUTO && !links_us);

    return !off && ours && !LIBC_IS_BOUND ? config->threshold_bytes : SIZE_MAX;
}

static void configure_locked(void)
{
    struct config *config = &ghost.config;
    bool trusted = getauxval(AT_SECURE) == 0;
    size_t threshold;

    LOCK_ASSERT_HELD(LOCK_START);
    config_read(config, trusted ? environ : NULL);
    ghost.process = os_process_id();
    identity_begin();
    off = config->disable || !program_is_in(config);
    links_us = linked_only(environ);
    threshold = threshold_of(config);
    if (!off) {
        log_open(open_log(config), (enum log_level)config->verbose);
        if (trusted)
            config_complain(config, environ);
        if (config->strict && config->n_errors > 0)
            os_exit(EXIT_BAD_CONFIG);
        log_line(LOG_CHOICE, threshold == SIZE_MAX ? "version %s in process %d, blocks of ghostmem_allocate() alone"
                                                   : "version %s in process %d, blocks of at least %z bytes",
                 GHOSTMEM_VERSION, ghost.process, threshold);
        (void)resolve_swap_path(config);
        report_open(config->stats);
        (void)pthread_atfork(fork_prepare, fork_parent, fork_child); /* ENOMEM: a fork then has plain memory */
    }
    configured = true;
    atomic_store(&ghost_threshold_bytes, threshold);
}

void ghost_configure(void)
{
    uint32_t self = os_thread_id();

    /* Before libc has set environ there are no settings; and what reading them allocates is libc's. */
    if (environ == NULL || __atomic_load_n(&configuring_thread, __ATOMIC_RELAXED) == self)
        return;
    os_lock_take(&start_lock);
    if (!configured) {
        __atomic_store_n(&configuring_thread, self, __ATOMIC_RELAXED);
        configure_locked();
        __atomic_store_n(&configuring_thread, 0, __ATOMIC_RELAXED);
    }
    os_lock_release(&start_lock);
}

static void begin_scope(void)
{
    pressure_start((size_t)config_limit_pages(&ghost.config) * PAGE_BYTES);
    pressure_note_mapping(survey_static_bytes());
}

bool ghost_is_off(void)
{
    return off;
}

/* What the settings were read for already is done again where they have changed. */
static int change_locked(ghost_change *change, void *arg)
{
    struct config changed = ghost.config;
    int error = change(&changed, arg);

    LOCK_ASSERT_HELD(LOCK_START);
    if (error == 0 && !off && changed.swap != ghost.config.swap)
        error = resolve_swap_path(&changed);
    if (error != 0 || off)
        return error;
    if (changed.log != ghost.config.log || changed.verbose != ghost.config.verbose)
        log_open(open_log(&changed), (enum log_level)changed.verbose);
    if (changed.stats != ghost.config.stats && ghost.config.stats == NULL)
        report_open(changed.stats);
    ghost.config = changed;
    atomic_store(&ghost_threshold_bytes, threshold_of(&changed));
    return 0;
}

int ghost_initialize(ghost_change *change, void *arg)
{
    struct ghost_quiet quiet = ghost_quiet_begin();
    enum config_scope scope = ghost.config.scope;
    int error = 0;

    ghost_configure();
    os_lock_take(&start_lock);
    if (started)
        error = -EBUSY;
    else
        error = configured ? change_locked(change, arg) : -EAGAIN;
    os_lock_release(&start_lock);
    if (error == 0 && !off && ghost.config.scope == CONFIG_SCOPE_PROCESS && scope != CONFIG_SCOPE_PROCESS)
        begin_scope();
    if (error == 0 && ghost_heap() == NULL)
        error = -ENOMEM;
    ghost_quiet_end(quiet);
    return error;
}

__attribute__((constructor)) static void init_library(void)
{
    (void)libc_next();
    if (atomic_load(&ghost_threshold_bytes) == 0)
        ghost_configure();
    if (LIBC_IS_BOUND) /* nobody tells us of handlers */
        atomic_store(&ghost_has_handlers, true);
    if (!off && ghost.config.scope == CONFIG_SCOPE_PROCESS)
        begin_scope();
}

/* ---- the heap ---- */


static struct fault_backend *choose_backend(void)
{
    enum config_faults wish = ghost.config.faults;

    ghost.backend_reason = "as GHOSTMEM_FAULTS says";
    /* Whether `thread` is possible is said when it is started. */
    if (wish != CONFIG_FAULTS_AUTO && wish != CONFIG_FAULTS_THREAD && !backend_is_possible(wish)) {
        log_line(LOG_ERROR, "GHOSTMEM_FAULTS=%s: not possible here: it needs Syscall User Dispatch (Linux 5.11, x86-64) and %s; "
                 "used instead: auto", wish == CONFIG_FAULTS_SIGNAL ? "signal" : "segv",
                 wish == CONFIG_FAULTS_SIGNAL ? "userfaultfd for faults of user mode" : "forced writes to /proc/self/mem");
        wish = CONFIG_FAULTS_AUTO;
    }
    if (wish == CONFIG_FAULTS_AUTO)
        wish = backend_best(&ghost.backend_reason);
    if (wish == CONFIG_FAULTS_THREAD)
        return fault_backend_thread();
    return wish == CONFIG_FAULTS_SIGNAL ? fault_backend_signal(&guard) : fault_backend_segv(&guard);
}

/* Only where the program's memory calls are seen, and pages can be missing in place. */
static void use_far(void)
{
    const char *name = ghost.pager.backend->name;
    int error = -ENOSYS;

    if (strcmp(name, "thread") != 0)
        error = pager_use_far(&ghost.pager, survey_locked, NULL);
    if (error == 0)
        return;
    pressure_end();
    log_line(LOG_CHOICE, "GHOSTMEM_SCOPE=process: not with backend %s: %e; the limit is on large blocks alone", name, -error);
}

/* Paging could not start yet: a thread of ours tries again, until it has started or never will. */
static _Atomic int retrying_process;

static void retry_main(void *arg)
{
    struct heap *heap = arg;

    do
        os_sleep_ms(RETRY_SLEEP_MS);
    while (!heap_start_paging(heap));
}

/* In a forked child there is no such thread. Where none can be made, the next block that is wanted tries again. */
static void retry_later(void)
{
    if (atomic_exchange(&retrying_process, ghost.process) != ghost.process &&
        os_thread_start(retry_main, &ghost.heap, "ghostmem/start", true) != 0)
        atomic_store(&retrying_process, 0);
}

void ghost_start_paging(void)
{
    struct ghost_quiet quiet = ghost_quiet_begin();
    struct heap *heap = ghost_heap();

    if (heap != NULL && ghost.pager.survey_locked != NULL)
        (void)heap_start_paging(heap);
    ghost_quiet_end(quiet);
}

static void start_locked(void)
{
    size_t limit = off ? (size_t)PAGE_NONE : (size_t)config_limit_pages(&ghost.config);
    size_t space = (size_t)min_size(RANGE_BYTES, os_address_space_bytes() / 4);
    bool whole = !off && ghost.config.scope == CONFIG_SCOPE_PROCESS;
    int error;

    LOCK_ASSERT_HELD(LOCK_START);
    if (whole) /* half of the page numbers are for memory outside */
        space = min_size(space, RANGE_BYTES / 2);
    error = heap_init(&ghost.heap, space, limit, &ghost.pager);

    started = true;
    ghost.heap.put_off = retry_later;
    if (error != 0) {
        log_line(LOG_ERROR, "no address space for ghost memory: %e; memory comes from libc", -error);
        atomic_store(&ghost_threshold_bytes, SIZE_MAX);
        return;
    }
    pager_init(&ghost.pager, limit, config_pool_bytes(&ghost.config, limit), choose_backend());
    if (whole)
        use_far();
    pager_use_swap(&ghost.pager, &(struct pager_swap){
        .path = ghost.config.swap != NULL ? swap_path : NULL,
        .max_bytes = ghost.config.swap_max_bytes,
        .encrypts = ghost.config.swap_encrypt,
        .plain = !ghost.config.compress,
    });
    pager_use_cold(&ghost.pager, ghost.config.cold == CONFIG_COLD_ZSTD ? SQUEEZE_ZSTD
                                 : ghost.config.cold == CONFIG_COLD_LZ4 ? SQUEEZE_LZ4 : SQUEEZE_OFF, ghost.config.cold_level);
    if (ghost.config.reclaim != CONFIG_RECLAIM_AUTO)
        pager_fix_reclaim(&ghost.pager, ghost.config.reclaim == CONFIG_RECLAIM_DIRECT ? RECLAIM_DIRECT : RECLAIM_BACKGROUND);
    control_start();
    small_start();
    heap_open(&ghost.heap);
    log_line(LOG_CHOICE, "limit %z pages, range of %z MiB, backend %s when needed: %s", limit,
             ghost.heap.n_pages * PAGE_BYTES / MIB, ghost.pager.backend->name, ghost.backend_reason);
}

/* Is there a heap that has to know? */
static bool note_limit(uint64_t pages)
{
    bool runs;

    os_lock_take(&start_lock);
    ghost.config.limit_pages = pages;
    ghost.config.limit_percent = 0;
    runs = ghost.heap.bytes != 0;
    os_lock_release(&start_lock);
    return runs;
}

int ghost_set_limit(uint64_t pages)
{
    struct ghost_quiet quiet = ghost_quiet_begin();
    int error = 0;

    if (note_limit(pages))
        error = heap_set_limit(&ghost.heap, (size_t)pages, config_pool_bytes(&ghost.config, pages));
    pressure_set_limit((size_t)pages * PAGE_BYTES);
    ghost_quiet_end(quiet);
    return error;
}

int ghost_set_limit_as(uint64_t pages, unsigned worker)
{
    (void)note_limit(pages);
    return heap_set_limit_as(&ghost.heap, (size_t)pages, config_pool_bytes(&ghost.config, pages), worker);
}

struct heap *ghost_heap(void)
{
    if (__builtin_expect(ghost.heap.bytes == 0, 0)) {
        os_lock_take(&start_lock);
        if (!started)
            start_locked();
        os_lock_release(&start_lock);
        if (ghost.heap.bytes == 0)
            return NULL;
    }
    return &ghost.heap;
}
