/* pager_fault.c - a touch of a page that is not there, or closed. See pager_fault.h. */
#include "core/pager_fault.h"

#include "core/trace.h"
#include "platform/thread.h"

#include <stdlib.h>

/* Resident pages that a stream is taken to pass: with the lock held, a glance at each page's entry. */
#define MAX_PASSED_PAGES 128

/* Where the stream will fault next, when @ahead has come in upon the fault on @number: a page that is resident needs no fault. */
static page_number next_fault_locked(struct pager *pager, page_number number, const struct ahead *ahead)
{
    page_number next = (page_number)((int32_t)number + ahead->step * (int32_t)(ahead->n - 1));
    int n_passed = 0;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    do {
        next = pager_step_in_block(pager, next, ahead->step);
        n_passed += abs(ahead->step);
    } while (next != PAGE_NONE && n_passed < MAX_PASSED_PAGES && page_is_resident(page_at(&pager->table, next)));
    return next;
}

static void note_ahead_locked(struct pager *pager, const struct fault *fault, page_number number, const struct ahead *ahead)
{
    struct reclaim *r = &pager->reclaim;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    r->counters.read_ahead_pages += ahead->n - 1;
    if (ahead->step != 0)
        streams_ran(&r->streams, fault->thread, number, ahead->n - 1, next_fault_locked(pager, number, ahead));
}

/* The program writes to a page that came in closed to that: its image is of no use any more. False: it is not closed. */
static bool open_to_writing_locked(struct pager *pager, page_number number)
{
    struct reclaim *r = &pager->reclaim;
    struct page *page = page_at(&pager->table, number);
    bool shut = (page->flags & PAGE_FLAG_SHUT) != 0;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (reclaim_open_locked(r, number) != 0 || !shut)
        return false;
    writeback_unkeep_locked(&r->writeback, page);
    r->counters.write_faults++;
    if (r->writeback.kept.protecting.spent)
        reclaim_open_around_locked(r, number);
    trace_access(number, true);
    return true;
}

/*
 * A fault on a page that is resident as far as we know. Another thread's fault may have brought it in a moment ago. Or
 * the program discarded it by a system call that we did not see: then it reads as zeros. Where pages are shut and not
 * missing, it reads so without a fault.
 */
static void confirm_relock(struct pager *pager, struct fault *fault, page_number number)
{
    struct reclaim *r = &pager->reclaim;
    size_t n_done;
    bool shut;
    int error;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (pager->backend->by_protection) {
        if ((page_at(&pager->table, number)->flags & PAGE_FLAG_SHUT) == 0)
            fault->answer = FAULT_WAS_THERE;
        (void)reclaim_open_locked(r, number); /* if not, its thread will be here again */
        return;
    }
    if (fault->write && open_to_writing_locked(pager, number))
        return;
    shut = (page_at(&pager->table, number)->flags & PAGE_FLAG_SHUT) != 0;
    reclaim_leave_locked(r, number);
    page_set_state(&pager->table, number, PAGE_MOVING);
    os_lock_release(&r->lock);
    error = pager->backend->fill(pager->backend, reclaim_address(r, number), NULL, 1, false, &n_done);
    if (error == 0)
        reclaim_note_change(r, number, "discarded behind our back, reads as zeros");
    else if (fault->write) /* its protection may have outlived the knowledge of it */
        (void)pager->backend->protect(pager->backend, reclaim_address(r, number), 1, false);
    pager->backend->wake(pager->backend, reclaim_address(r, number), 1);
    os_lock_take(&r->lock);
    reclaim_enter_locked(r, number);
    page_at(&pager->table, number)->flags |= shut && error != 0 && !fault->write ? PAGE_FLAG_SHUT : 0;
    os_event_signal(&r->transit_ended);
}

void pager_release_and_refill(struct reclaim *r, unsigned worker)
{
    bool low = reclaim_is_low_locked(r);

    os_lock_release(&r->lock);
    if (low)
        (void)reclaim_refill(r, worker);
}

/* Where protections are ours, a fault may be what the program's own protection brings about. */
static bool may_access_locked(struct pager *pager, const struct fault *fault, page_number number)
{
    uint32_t value;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (!pager->backend->by_protection || space_is_near(&pager->space, number))
        return true;
    value = rangeset_value(&pager->space.areas, fault->addr);
    return (value & (fault->write ? AREA_WRITE : AREA_READ | AREA_WRITE)) != 0;
}

static bool is_limbo(const struct reclaim *r, uintptr_t addr)
{
    return addr - limbo_address(&r->limbo, 0) < (size_t)r->limbo.most_slots * PAGE_BYTES;
}

/* Why a page that is to come in is not there. */
static enum reclaim_wait kind_of(const struct page *page)
{
    switch (page_state(page)) {
    case PAGE_EMPTY: return WAIT_FIRST_TOUCH;
    case PAGE_COOLED: return WAIT_COOLED;
    case PAGE_SWAPPED: return WAIT_SWAP;
    default: return WAIT_IMAGE;
    }
}

void pager_fault(struct pager *pager, struct fault *fault)
{
    enum reclaim_wait kind = WAIT_OTHER;
    struct reclaim *r = &pager->reclaim;
    page_number number;
    struct ahead ahead = {.n = 0};
    bool exhausted = false;
    bool settled = false;

    os_lock_take(&r->lock);
    if (!pager_is_engaged(pager)) { /* engaging failed after all, and nothing is watched any more */
        os_lock_release(&r->lock);
        return;
    }
    if (is_limbo(r, fault->addr)) { /* in limbo: the kernel fills all that the process has */
        size_t n_done;

        os_lock_release(&r->lock);
        (void)pager->backend->fill(pager->backend, fault->addr, NULL, 1, false, &n_done);
        pager->backend->wake(pager->backend, fault->addr, 1);
        return;
    }
    r->counters.faults++;
    number = space_number(&pager->space, fault->addr);
    if (number == PAGE_NONE || !space_is_watched_locked(&pager->space, number)) { /* not any more */
        os_lock_release(&r->lock);
        fault->answer = FAULT_WAS_THERE;
        return;
    }
    if (!may_access_locked(pager, fault, number)) {
        os_lock_release(&r->lock);
        fault->answer = FAULT_WAS_THERE;
        return;
    }
    INVARIANT(space_is_near(&pager->space, number) ? number < pager->table.committed_pages : number < pager->table.far_end);
    while (!settled) {
        reclaim_admit_relock(r);
        switch (page_state(page_at(&pager->table, number))) {
        case PAGE_RESIDENT:
        case PAGE_FRESH:
            confirm_relock(pager, fault, number);
            settled = true;
            break;
        case PAGE_THAWING:
            /* Whoever brings it in wakes all who wait for it in the kernel; but who finds it closed to writing came later. */
            if (pager->backend->handle == NULL && !fault->write_protected)
                settled = true;
            else
                reclaim_wait_relock(r);
            break;
        case PAGE_LOST:
            os_lock_release(&r->lock);
            fault->answer = FAULT_LOST;
            if (pager->backend->handle == NULL)
                pager->backend->poison(pager->backend, reclaim_address(r, number), fault->thread);
            return;
        case PAGE_CEDED: /* meanwhile */
            fault->answer = FAULT_WAS_THERE;
            pager->backend->wake(pager->backend, reclaim_address(r, number), 1);
            settled = true;
            break;
        case PAGE_COOLING:
        case PAGE_FREEZING:
        case PAGE_MOVING:
            reclaim_wait_relock(r);
            break;
        default:
            kind = kind_of(page_at(&pager->table, number));
            if (ahead.n == 0)
                ahead = streams_fault(&r->streams, fault->thread, number,
                                      page_state(page_at(&pager->table, number)) == PAGE_EMPTY);
            settled = pager_bring_in_relock(pager, fault, number, &ahead, &exhausted);
            if (settled)
                note_ahead_locked(pager, fault, number, &ahead);
            break;
        }
    }
    pager_release_and_refill(r, fault->worker);
    reclaim_waited_add(&r->waited[fault->worker], kind, fault->began, os_ticks());
}
