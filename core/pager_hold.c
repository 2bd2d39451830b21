/* pager_hold.c - pages that a system call will touch come in before it, and stay. See pager.h. */
#include "core/pager_fault.h"

#include "platform/thread.h"

#include <errno.h>

/*
 * A hold larger than the limit leaves nothing to evict but what it holds. To find that out takes a look at each resident page: it is
 * found out again after 16 pages, then after 32, and so on.
 */
struct yielding {
    size_t n_left; /* pages for which nothing is evicted */
    size_t n_next;
};
#define YIELDING_FIRST 16
#define YIELDING_MOST 4096

static void note_yielding_locked(const struct reclaim *r, struct yielding *yielding)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (r->charged <= r->limit) {
        *yielding = (struct yielding){.n_next = YIELDING_FIRST};
    } else if (yielding->n_left > 0) {
        yielding->n_left--;
    } else {
        yielding->n_left = yielding->n_next;
        yielding->n_next = min_size(2 * yielding->n_next, YIELDING_MOST);
    }
}

/* Not any more; or nobody may read it, and so neither may the kernel. */
static bool can_be_held_locked(struct pager *pager, page_number number, bool for_kernel)
{
    uint32_t value;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (space_is_near(&pager->space, number))
        return true;
    value = rangeset_value(&pager->space.areas, space_far_address(&pager->space, number));
    return (value & AREA_WATCHED) != 0 && (!for_kernel || (value & (AREA_READ | AREA_WRITE)) != 0);
}

/* One page of a hold. A lost one stays lost: the system call finds out. It must not see one that is closed. */
static void hold_page(struct pager *pager, const struct fault *fault, page_number number, page_number end, bool for_kernel,
                      struct yielding *yielding)
{
    struct reclaim *r = &pager->reclaim;
    struct ahead ahead = {.step = 1, .n = (uint32_t)min_size(STREAM_MAX_WINDOW, end - number)};
    bool exhausted = yielding->n_left > 0;
    bool settled = false;
    int error;

    os_lock_take(&r->lock);
    while (!settled) {
        reclaim_admit_relock(r);
        if (!can_be_held_locked(pager, number, for_kernel))
            break;
        switch (page_state(page_at(&pager->table, number))) {
        case PAGE_RESIDENT:
        case PAGE_FRESH:
            error = reclaim_open_locked(r, number);
            settled = error == 0 || error == -ENOENT; /* no mapping any more: that too */
            if (!settled)
                pager_wait_for_memory_relock(pager, fault->worker, error);
            break;
        case PAGE_LOST:
        case PAGE_CEDED:
            settled = true;
            break;
        case PAGE_THAWING:
        case PAGE_COOLING:
        case PAGE_FREEZING:
        case PAGE_MOVING:
            reclaim_wait_relock(r);
            break;
        default:
            settled = pager_bring_in_relock(pager, fault, number, &ahead, &exhausted);
            break;
        }
    }
    note_yielding_locked(r, yielding);
    if (yielding->n_left > 0)
        os_lock_release(&r->lock);
    else
        pager_release_and_refill(r, fault->worker);
}

struct hold_job {
    struct pager *pager;
    const struct hold *hold;
    bool used; /* pages that were never touched stay so */
};

static bool is_untouched(struct pager *pager, page_number number)
{
    bool untouched;

    os_lock_take(&pager->reclaim.lock);
    untouched = page_state(page_at(&pager->table, number)) == PAGE_EMPTY;
    os_lock_release(&pager->reclaim.lock);
    return untouched;
}

static void hold_all(void *arg, unsigned worker)
{
    const struct hold_job *job = arg;
    const struct fault fault = {.worker = worker, .write = true}; /* for all we know */
    struct yielding yielding = {.n_next = YIELDING_FIRST};
    uint64_t began = os_ticks();

    for (uint32_t i = 0; i < job->hold->n; i++) {
        const struct hold_range range = hold_range(job->hold, i);
        page_number end = (page_number)min_size(range.end, pagetable_end(&job->pager->table));

        for (page_number number = range.first; number < end; number++) {
            if (job->used)
                number = pagetable_next_busy(&job->pager->table, number, end);
            if (number < end && !(job->used && is_untouched(job->pager, number)))
                hold_page(job->pager, &fault, number, job->used ? number + 1 : end, !job->used, &yielding);
        }
    }
    reclaim_waited_add(&job->pager->reclaim.waited[worker], WAIT_CALL, began, os_ticks());
}

void pager_bring_in(struct pager *pager, const struct hold *hold)
{
    struct hold_job job = {.pager = pager, .hold = hold};

    pager->backend->run(pager->backend, hold_all, &job, FAULT_JOB);
}

void pager_bring_in_used(struct pager *pager, const struct hold *hold)
{
    struct hold_job job = {.pager = pager, .hold = hold, .used = true};

    pager->backend->run(pager->backend, hold_all, &job, FAULT_JOB);
}

/* While paging begins, pages may be shut that are there, until they are adopted. */
static void wait_for_engaging(struct pager *pager)
{
    for (;;) {
        uint32_t ticket = os_event_ticket(&pager->engaging_ended);

        if (!atomic_load(&pager->engaging))
            return;
        os_event_wait(&pager->engaging_ended, ticket, -1);
    }
}

void pager_hold(struct pager *pager, struct hold *hold)
{
    hold_start(&pager->holds, hold);
    wait_for_engaging(pager);
    if (pager_is_engaged(pager))
        pager_bring_in(pager, hold);
}

void pager_hold_more(struct pager *pager, struct hold *hold, page_number first, page_number end)
{
    const struct hold added = {.n = 1, .own = {{first, end}}};

    os_lock_take(&pager->reclaim.lock);
    hold_add(hold, first, end);
    hold_start(&pager->holds, hold);
    os_lock_release(&pager->reclaim.lock);
    wait_for_engaging(pager);
    if (pager_is_engaged(pager))
        pager_bring_in(pager, &added);
}
