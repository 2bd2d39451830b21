/*
 * pager_cede.c - pages over which the program has mapped something else, or that it has mapped elsewhere.
 *
 * See pager.h. What is ceded is the kernel's and the program's: a fault there is none of ours, and it is not watched in a forked
 * child either. That lasts until the block is freed; then fresh memory takes the place of whatever is there.
 */
#include "core/pager_fault.h"

#include "core/log.h"

#include <errno.h>

static uint64_t make_range(page_number first, page_number end)
{
    return (uint64_t)end << 32 | first;
}

static page_number first_of(uint64_t range)
{
    return (page_number)range;
}

static page_number end_of(uint64_t range)
{
    return (page_number)(range >> 32);
}

static uint64_t range_at(struct pager *pager, size_t i)
{
    return atomic_load_explicit(&pager->ceded[i], memory_order_acquire);
}

static bool overlap(uint64_t range, page_number first, page_number end)
{
    return first_of(range) < end && first < end_of(range);
}

bool pager_has_ceded(struct pager *pager, page_number first, size_t n_pages)
{
    if (atomic_load_explicit(&pager->n_ceded, memory_order_acquire) == 0)
        return false;
    for (size_t i = 0; i < PAGER_MAX_CEDED; i++)
        if (overlap(range_at(pager, i), first, (page_number)(first + n_pages)))
            return true;
    return false;
}

size_t pager_alike(struct pager *pager, page_number first, size_t n_pages, bool *ceded)
{
    page_number end = (page_number)(first + n_pages);

    *ceded = pager_has_ceded(pager, first, 1);
    for (size_t i = 0; i < PAGER_MAX_CEDED; i++) {
        uint64_t range = range_at(pager, i);

        if (overlap(range, first, end) && (first_of(range) > first || *ceded))
            end = (page_number)min_size(end, first_of(range) > first ? first_of(range) : end_of(range));
    }
    return end - first;
}

/* The first range from @first on that is left to the program: what is ceded, and where pages are shut, what it protects itself. */
static struct hold_range next_left(struct pager *pager, page_number first)
{
    struct hold_range left = {(page_number)pager->space.near_pages, (page_number)pager->space.near_pages};

    (void)hold_next(&pager->sealed, first, left.first, &left);
    for (size_t i = 0; i < PAGER_MAX_CEDED; i++) {
        uint64_t range = range_at(pager, i);

        if (range != 0 && end_of(range) > first && first_of(range) < left.first)
            left = (struct hold_range){first_of(range), end_of(range)};
    }
    return left;
}

bool pager_next_part(void *arg, struct fault_range *part)
{
    struct pager *pager = arg;
    page_number first = (page_number)((part->start + part->bytes - pager->space.near_base) >> PAGE_SHIFT);
    struct hold_range left = next_left(pager, first);

    while (left.first <= first && left.first < left.end) {
        first = left.end; /* the next one may begin there */
        left = next_left(pager, first);
    }
    *part = (struct fault_range){space_near_address(&pager->space, first), (size_t)(left.first - first) * PAGE_BYTES};
    return first < left.first;
}

/* A place for the range; one that overlaps it, of the same block, is joined. @before: what stood there. False: there is none. */
static bool note_range(struct pager *pager, page_number first, page_number end, size_t *at, uint64_t *before)
{
    for (size_t i = 0; i < PAGER_MAX_CEDED; i++) {
        uint64_t range = range_at(pager, i);

        if (range == 0 || !overlap(range, first, end))
            continue;
        *at = i;
        *before = range;
        first = first < first_of(range) ? first : first_of(range);
        end = end > end_of(range) ? end : end_of(range);
        atomic_store(&pager->ceded[i], make_range(first, end));
        return true;
    }
    for (size_t i = 0; i < PAGER_MAX_CEDED; i++) {
        *before = 0;
        if (range_at(pager, i) != 0 || !atomic_compare_exchange_strong(&pager->ceded[i], before, make_range(first, end)))
            continue;
        *at = i;
        atomic_fetch_add(&pager->n_ceded, 1);
        return true;
    }
    return false;
}

static void set_range(struct pager *pager, size_t at, uint64_t range)
{
    atomic_store(&pager->ceded[at], range);
    if (range == 0)
        atomic_fetch_sub(&pager->n_ceded, 1);
}

void pager_forget_locked(struct pager *pager, page_number number)
{
    struct reclaim *r = &pager->reclaim;
    const struct page *page = page_at(&pager->table, number);

    LOCK_ASSERT_HELD(LOCK_PAGER);
    switch (page_state(page)) {
    case PAGE_RESIDENT:
    case PAGE_FRESH:
        reclaim_leave_locked(r, number);
        writeback_drop_kept_locked(&r->writeback, page->value);
        reclaim_uncharge_locked(r, 1);
        break;
    case PAGE_COOLED:
        r->limbo.n_resting--;
        writeback_drop_kept_locked(&r->writeback, page->next);
        INVARIANT(os_mem_release((void *)limbo_address(&r->limbo, page->value), PAGE_BYTES) == 0);
        limbo_release(&r->limbo, page->value);
        reclaim_uncharge_locked(r, 1);
        break;
    case PAGE_FROZEN:
    case PAGE_SWAPPED:
        pager_forget_image_locked(pager, number);
        break;
    default:
        break;
    }
    if (page_state(page) != PAGE_EMPTY)
        page_set_state(&pager->table, number, PAGE_EMPTY);
}

static long cede_relock(struct pager *pager, page_number first, page_number end, pager_call *call, void *arg)
{
    uint64_t before;
    size_t at;
    long result;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    pager_settle_relock(pager, first, end);
    if (!note_range(pager, first, end, &at, &before))
        return -ENOMEM;
    result = call(arg);
    if (result < 0 && result > -4096) {
        set_range(pager, at, before);
        return result;
    }
    for (page_number number = first; number < end; number++) {
        if (page_state(page_at(&pager->table, number)) == PAGE_CEDED)
            continue;
        pager_forget_locked(pager, number);
        page_set_state(&pager->table, number, PAGE_CEDED);
    }
    return result;
}

static long cede_dormant(struct pager *pager, page_number first, page_number end, pager_call *call, void *arg)
{
    uint64_t before;
    size_t at;
    long result;

    if (!note_range(pager, first, end, &at, &before))
        return -ENOMEM;
    result = call(arg);
    if (result < 0 && result > -4096)
        set_range(pager, at, before);
    return result;
}

long pager_cede(struct pager *pager, page_number first, size_t n_pages, bool keep, pager_call *call, void *arg)
{
    page_number end = (page_number)(first + n_pages);
    struct visit visit;
    long result;

    log_line(LOG_EVENT, "the program maps pages %p to %p itself", (void *)space_near_address(&pager->space, first),
             (void *)space_near_address(&pager->space, end));
    if (pager_dormant_begin(pager)) {
        result = cede_dormant(pager, first, end, call, arg);
        pager_dormant_end(pager);
        return result;
    }
    visit_begin(&pager->visits, &visit);
    hold_clear(&pager->ceding);
    hold_add(&pager->ceding, first, end);
    if (keep)
        pager_hold(pager, &pager->ceding);
    os_lock_take(&pager->reclaim.lock);
    reclaim_admit_relock(&pager->reclaim);
    result = cede_relock(pager, first, end, call, arg);
    os_lock_release(&pager->reclaim.lock);
    os_event_signal(&pager->reclaim.transit_ended);
    hold_end(&pager->ceding);
    visit_end(&visit);
    return result;
}

void pager_mark_ceded_locked(struct pager *pager)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    for (size_t i = 0; i < PAGER_MAX_CEDED; i++) {
        uint64_t range = range_at(pager, i);

        for (page_number number = first_of(range); number < end_of(range); number++)
            page_set_state(&pager->table, number, PAGE_CEDED);
    }
}

/* ---- watching ---- */

struct watch_job {
    struct pager *pager;
    page_number first;
    page_number end;
    bool on;
    int error;
};

static void watch(void *arg, unsigned worker)
{
    struct watch_job *job = arg;
    struct fault_backend *backend = job->pager->backend;

    (void)worker;
    job->error = backend->watch(backend, reclaim_address(&job->pager->reclaim, job->first), job->end - job->first, job->on);
}

static int run_watch(struct pager *pager, page_number first, page_number end, bool on)
{
    struct watch_job job = {.pager = pager, .first = first, .end = end, .on = on};

    if (pager->backend->by_protection || pager->backend->watch == NULL)
        return 0;
    pager->backend->run(pager->backend, watch, &job, FAULT_JOB_APART);
    return job.error;
}

void pager_unwatch(struct pager *pager, page_number first, size_t n_pages)
{
    if (pager_is_engaged(pager))
        (void)run_watch(pager, first, (page_number)(first + n_pages), false);
}

/* ---- taking back ---- */

/* Fresh pages, closed or watched as the backend has it. */
static int renew(struct pager *pager, page_number first, page_number end, bool engaged)
{
    uintptr_t addr = space_near_address(&pager->space, first);
    int error = os_mem_renew((void *)addr, (size_t)(end - first) * PAGE_BYTES);

    if (error != 0 || !engaged)
        return error;
    return pager->backend->by_protection ? pager->backend->protect(pager->backend, addr, end - first, true)
                                         : run_watch(pager, first, end, true);
}

static int take_back(struct pager *pager, page_number first, page_number end, bool engaged)
{
    struct visit visit;
    int error = renew(pager, first, end, engaged);

    if (error != 0 || !engaged)
        return error;
    visit_begin(&pager->visits, &visit);
    os_lock_take(&pager->reclaim.lock);
    for (page_number number = first; number < end; number++)
        if (page_state(page_at(&pager->table, number)) == PAGE_CEDED)
            page_set_state(&pager->table, number, PAGE_EMPTY);
    os_lock_release(&pager->reclaim.lock);
    visit_end(&visit);
    return 0;
}

/* Blocks end where they are cut, so of a range at most the front remains. */
static int take_all_back(struct pager *pager, page_number first, page_number end, bool engaged)
{
    int error = 0;

    for (size_t i = 0; i < PAGER_MAX_CEDED && error == 0; i++) {
        uint64_t range = range_at(pager, i);
        page_number from = first_of(range) > first ? first_of(range) : first;

        if (!overlap(range, first, end))
            continue;
        error = take_back(pager, from, end_of(range), engaged);
        if (error == 0)
            set_range(pager, i, from > first_of(range) ? make_range(first_of(range), from) : 0);
    }
    return error;
}

int pager_take_back(struct pager *pager, page_number first, size_t n_pages)
{
    page_number end = (page_number)(first + n_pages);
    int error;

    if (!pager_has_ceded(pager, first, n_pages))
        return 0;
    if (!pager_dormant_begin(pager))
        return take_all_back(pager, first, end, true);
    error = take_all_back(pager, first, end, false);
    pager_dormant_end(pager);
    return error;
}
