/* pager.c - see pager.h. */
#include "core/pager_far.h"
#include "core/pager_fault.h"

#include "core/log.h"
#include "platform/signal.h"
#include "platform/thread.h"

#include <errno.h>

/* Address space for images, at the most: what a 32-bit handle reaches. */
#define POOL_SPACE_BYTES (256 * GIB)

void pager_init(struct pager *pager, size_t limit, uint64_t pool_bound_bytes, struct fault_backend *backend)
{
    atomic_store(&pager->limit, limit);
    pager->pool_bound_bytes = pool_bound_bytes;
    pager->backend = backend;
    pager->reclaim.lock.rank = LOCK_PAGER;
    visits_init(&pager->visits, &pager->space, &pager->table, &pager->holds);
}

void pager_use_swap(struct pager *pager, const struct pager_swap *swap)
{
    pager->swap = *swap;
}

void pager_use_cold(struct pager *pager, enum squeeze_way way, int level)
{
    pager->cold_way = way;
    pager->cold_level = level;
}

int pager_use_far(struct pager *pager, void (*survey_locked)(void *arg), void *arg)
{
    int error = space_init_far(&pager->space);

    if (error != 0)
        return error;
    pager->survey_locked = survey_locked;
    pager->survey_arg = arg;
    return 0;
}

void pager_fix_reclaim(struct pager *pager, enum reclaim_way way)
{
    pager->reclaim_fixed = true;
    pager->reclaim_way = way;
}

void pager_on_wake(struct pager *pager, void (*on_wake)(void *arg, unsigned worker), void *arg)
{
    pager->on_wake = on_wake;
    pager->on_wake_arg = arg;
}

/* ---- engaging ---- */

static void lock_pager(struct pager *pager, struct visit *visit)
{
    visit_begin(&pager->visits, visit);
    os_lock_take(&pager->reclaim.lock);
}

static void release_pager(struct pager *pager, const struct visit *visit)
{
    os_lock_release(&pager->reclaim.lock);
    visit_end(visit);
}

static void fault_entry(void *arg, struct fault *fault)
{
    pager_fault(arg, fault);
}

static size_t number_entry(void *arg, uintptr_t addr)
{
    const struct pager *pager = arg;

    return space_number(&pager->space, addr);
}

static void evict_entry(void *arg, unsigned worker)
{
    struct pager *pager = arg;

    reclaim_background(&pager->reclaim, worker);
}

static void cold_entry(void *arg, unsigned worker)
{
    struct pager *pager = arg;

    (void)worker;
    cold_background(&pager->reclaim.writeback.cold);
}

static void write_entry(void *arg, unsigned worker)
{
    struct pager *pager = arg;

    (void)worker;
    writeback_background(&pager->reclaim.writeback);
}

/* Runs that were resident before we watched. Nothing else knows these pages yet. */
static void adopt(struct pager *pager, uintptr_t start, size_t n_pages, bool shut)
{
    struct reclaim *r = &pager->reclaim;
    page_number first = space_number(&pager->space, start);

    for (page_number number = first; number < first + n_pages; number++) {
        if (page_state(page_at(r->table, number)) != PAGE_EMPTY)
            continue;
        reclaim_enter_locked(r, number);
        page_at(r->table, number)->flags |= shut ? PAGE_FLAG_SHUT : 0;
        r->charged++;
    }
    r->charged_peak = r->charged;
}

static void adopt_run(void *arg, uintptr_t start, size_t n_pages)
{
    struct pager *pager = arg;
    struct fault_backend *backend = pager->backend;

    adopt(pager, start, n_pages, backend->by_protection && backend->protect(backend, start, n_pages, false) != 0);
}

/* The program's own protection stays. */
static void adopt_sealed_run(void *arg, uintptr_t start, size_t n_pages)
{
    adopt(arg, start, n_pages, false);
}

static int scan(struct pager *pager, size_t first, size_t end, os_mem_visit *visit)
{
    return first < end ? os_mem_scan_present((void *)space_address(&pager->space, (page_number)first), (end - first) * PAGE_BYTES,
                                             visit, pager)
                       : 0;
}

/* What is there of the program's blocks, but for what it has mapped itself. */
static int adopt_all_locked(struct pager *pager, size_t committed)
{
    struct fault_range part = {.start = space_address(&pager->space, 0)};
    int error = 0;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    pager_mark_ceded_locked(pager);
    for (uint32_t i = 0; i < pager->sealed.n && error == 0; i++)
        error = scan(pager, hold_range(&pager->sealed, i).first, hold_range(&pager->sealed, i).end, adopt_sealed_run);
    for (uint32_t i = 0; i < pager->sealed.n && error == 0; i++)
        pager_leave_untouched_locked(pager, hold_range(&pager->sealed, i).first, hold_range(&pager->sealed, i).end);
    while (error == 0 && pager_next_part(pager, &part)) {
        size_t first = space_number(&pager->space, part.start);

        error = scan(pager, first, min_size(committed, first + part.bytes / PAGE_BYTES), adopt_run);
    }
    return error;
}

/* Where it cannot be had, images stay in RAM. */
static void start_swap(struct pager *pager)
{
    struct reclaim *r = &pager->reclaim;
    int swap_error = swap_init(&r->writeback.swap, pager->swap.path, pager->swap.max_bytes, pager->swap.encrypts);
    int error = writeback_init(&r->writeback, &r->lock, &r->transit_ended, &pager->table, &pager->store,
                               pager->pool_bound_bytes, pager->limit);

    if (swap_error != 0)
        error = swap_error;
    if (error != 0)
        log_line(LOG_ERROR, "swap file %s: cannot be used: %e; images stay in RAM", pager->swap.path, -error);
}

/* Where a swap file is a place for images, what stays in RAM does not stay for long. */
static void start_cold(struct pager *pager)
{
    struct reclaim *r = &pager->reclaim;
    struct writeback *wb = &r->writeback;

    cold_init(&wb->cold, &pager->store, writeback_is_on(wb) ? SQUEEZE_OFF : pager->cold_way, pager->cold_level, &r->frames_wanted);
    wb->locked = &pager->locked;
    wb->undumped = &pager->undumped;
    wb->far_undumped = &pager->far_undumped;
}

/* Once, before the threads are brought in: what libraries do here must not trap, as signals are blocked. */
static int build(struct pager *pager)
{
    size_t n_pages = pager->space.far_first + pager->space.max_chunks * SPACE_CHUNK_PAGES;
    size_t pool_space = min_size(POOL_SPACE_BYTES, n_pages * PAGE_BYTES);
    int error = pagetable_init(&pager->table, n_pages);

    /* With a swap file the bound is write-back's to keep: it yields when the file cannot be written. */
    if (error == 0)
        error = store_init(&pager->store, pool_space, pager->swap.path != NULL ? UINT64_MAX : pager->pool_bound_bytes);
    pager->store.plain = pager->swap.path != NULL && pager->swap.plain;
    if (error == 0)
        error = reclaim_init(&pager->reclaim, &pager->space, &pager->table, &pager->store, pager->backend, &pager->holds,
                             pager->limit);
    pager->reclaim.locked = &pager->locked;
    pager->reclaim.on_wake = pager->on_wake;
    pager->reclaim.on_wake_arg = pager->on_wake_arg;
    if (error == 0 && pager->reclaim_fixed)
        reclaim_fix_way_locked(&pager->reclaim, pager->reclaim_way);
    if (error == 0)
        start_swap(pager);
    if (error == 0)
        start_cold(pager);
    pager->failed = error != 0;
    pager->built = error == 0;
    return error;
}

static void describe(const struct pager *pager, struct fault_setup *setup)
{
    const struct limbo *limbo = &pager->reclaim.limbo;

    *setup = (struct fault_setup){
        .ranges = {{pager->space.near_base, pager->space.near_pages * PAGE_BYTES},
                   {(uintptr_t)limbo->space, (size_t)limbo->most_slots * PAGE_BYTES}},
        .next_part = pager_next_part,
        .number = number_entry,
        .n_numbers = pager->table.n_pages,
        .on_fault = fault_entry,
        .background = {{.run = evict_entry, .name = "ghostmem/evict"}},
        .arg = (void *)(uintptr_t)pager,
    };
    if (writeback_is_on(&pager->reclaim.writeback)) {
        setup->background[1].run = write_entry;
        setup->background[1].name = "ghostmem/write";
    } else if (cold_is_on(&pager->reclaim.writeback.cold)) {
        setup->background[1].run = cold_entry;
        setup->background[1].name = "ghostmem/cold";
        setup->background[1].is_idle = true;
    }
}

void pager_dormant_end(struct pager *pager)
{
    atomic_fetch_sub(&pager->n_dormant, 1);
    os_event_signal(&pager->dormant_ended);
}

bool pager_dormant_begin(struct pager *pager)
{
    while (!pager_is_engaged(pager)) {
        uint32_t ticket = os_event_ticket(&pager->engaging_ended);

        atomic_fetch_add(&pager->n_dormant, 1);
        if (!atomic_load(&pager->engaging) && !pager_is_engaged(pager))
            return true;
        pager_dormant_end(pager);
        if (atomic_load(&pager->engaging))
            os_event_wait(&pager->engaging_ended, ticket, -1);
    }
    return false;
}

static void engaging_begin(struct pager *pager)
{
    atomic_store(&pager->engaging, true);
    for (;;) {
        uint32_t ticket = os_event_ticket(&pager->dormant_ended);

        if (atomic_load(&pager->n_dormant) == 0)
            return;
        os_event_wait(&pager->dormant_ended, ticket, -1);
    }
}

static void engaging_end(struct pager *pager)
{
    atomic_store(&pager->engaging, false);
    os_event_signal(&pager->engaging_ended);
}

/* What was in RAM without us, and is more than the limit, leaves. */
static void shrink_job(void *arg, unsigned worker)
{
    struct reclaim *r = arg;
    size_t n_left;

    do {
        os_lock_take(&r->lock);
        n_left = r->charged > r->limit ? r->charged - r->limit : 0;
        os_lock_release(&r->lock);
    } while (n_left > 0 && reclaim_evict(r, worker, min_size(n_left, RECLAIM_BATCH)) > 0);
}

static void shrink(struct pager *pager)
{
    struct reclaim *r = &pager->reclaim;

    if (pager->survey_locked == NULL && !pager->was_put_off)
        return;
    os_lock_take(&r->lock);
    if (pager->was_put_off && r->charged_peak > r->limit) /* threads that fault may have evicted some by now */
        r->exceeded_peak = max_size(r->exceeded_peak, r->charged_peak - r->limit);
    os_lock_release(&r->lock);
    pager->backend->run(pager->backend, shrink_job, r, FAULT_JOB);
    os_lock_take(&r->lock);
    if (!pager->was_put_off)
        r->charged_peak = r->charged;
    os_lock_release(&r->lock);
}

/* False: paging does not start, now or at all. */
static bool prepare(struct pager *pager, int *error)
{
    struct fault_backend *backend = pager->backend;

    *error = pager->built ? 0 : build(pager); /* what it reserved on failure is address space only */
    if (*error != 0)
        return false;
    *error = backend->gather != NULL ? backend->gather(backend) : 0;
    pager->was_put_off |= *error == -EAGAIN;
    pager->failed = *error != 0 && *error != -EAGAIN;
    return *error == 0;
}

int pager_engage(struct pager *pager, size_t committed)
{
    struct reclaim *r = &pager->reclaim;
    struct fault_setup setup;
    os_sigset mask;
    int error;

    if (pager->failed)
        return -EPERM;
    os_ticks_start();
    if (!prepare(pager, &error))
        return error;
    visit_touch_stack(&pager->space); /* nothing can leave before the lock is released */
    mask = os_signals_block();
    engaging_begin(pager);
    error = pagetable_commit(&pager->table, committed);
    if (error != 0)
        goto end;
    os_mem_keep_single((void *)pager->space.near_base, pager->space.near_pages * PAGE_BYTES);
    describe(pager, &setup);
    os_lock_take(&r->lock);
    error = pager->backend->start(pager->backend, &setup);
    if (error == 0) {
        /* Missing pages are watched by now, so nothing appears behind the scan. Faults wait for the lock. */
        int unseen = adopt_all_locked(pager, committed);

        if (unseen != 0)
            log_line(LOG_ERROR, "cannot see which pages are in RAM: %e; they stay there", -unseen);
        corefile_fill(&pager->corefile, &pager->space, &pager->table, &pager->store, &r->limbo,
                      pager->backend->by_protection);
        if (pager->survey_locked != NULL)
            pager->survey_locked(pager->survey_arg);
        atomic_store_explicit(&pager->engaged, true, memory_order_release);
        pager_far_start_locked(pager);
    }
    /* Nobody has said yet where the blocks end. */
    r->streams.paused = true;
    os_lock_release(&r->lock);
    if (error == 0)
        shrink(pager);
    if (error == 0)
        log_line(LOG_CHOICE, "engaged: backend %s, pages %s, %z pages resident", pager->backend->name,
                 pager->backend->can_move ? "are moved (UFFDIO_MOVE)" : "are frozen in place", r->charged);
end:
    pager->failed = error != 0;
    engaging_end(pager);
    os_signals_restore(mask); /* not before: a handler that runs here must not wait for us */
    return error;
}

int pager_commit(struct pager *pager, size_t from, size_t to)
{
    struct visit visit;
    int error;

    if (pager_is_engaged(pager)) {
        lock_pager(pager, &visit);
        error = pagetable_commit(&pager->table, to);
        release_pager(pager, &visit);
        if (error != 0)
            return error;
        if (pager->backend->by_protection) {
            os_mem_dump((void *)space_address(&pager->space, (page_number)from), (to - from) * PAGE_BYTES);
            if (pager->backend->prepare != NULL)
                pager->backend->prepare(pager->backend, space_address(&pager->space, (page_number)from));
            return 0;
        }
    }
    return os_mem_commit((void *)space_address(&pager->space, (page_number)from), (to - from) * PAGE_BYTES);
}

/* Read while others may write it: whatever is seen then is a state that the page had or gets. */
__attribute__((no_sanitize("thread"))) bool pager_is_near(const struct pager *pager, page_number number)
{
    enum page_state state;

    if (!pager_is_engaged(pager))
        return true;
    state = page_state(page_at(&pager->table, number));
    return state == PAGE_RESIDENT || state == PAGE_FRESH || state == PAGE_EMPTY || state == PAGE_THAWING || state == PAGE_CEDED;
}

void pager_forbid_extracting(struct pager *pager)
{
    struct visit visit;

    atomic_store(&pager->backend->can_extract, false);
    lock_pager(pager, &visit);
    reclaim_await_extraction_relock(&pager->reclaim);
    release_pager(pager, &visit);
}

void pager_allow_read_ahead(struct pager *pager)
{
    struct visit visit;

    lock_pager(pager, &visit);
    pager->reclaim.streams.paused = false;
    release_pager(pager, &visit);
}

void pager_mark_last(struct pager *pager, page_number last, bool is_last)
{
    struct visit visit;

    lock_pager(pager, &visit);
    page_set_last(&pager->table, last, is_last);
    release_pager(pager, &visit);
}

size_t pager_meta_bytes(const struct pager *pager)
{
    if (!pager_is_engaged(pager))
        return 0;
    return pagetable_meta_bytes(&pager->table) + limbo_meta_bytes(&pager->reclaim.limbo) +
           history_meta_bytes(&pager->reclaim.history) +
           (size_t)pager->store.pool.meta_bytes + writeback_meta_bytes(&pager->reclaim.writeback);
}
