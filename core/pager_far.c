/* pager_far.c - see pager_far.h. */
#include "core/pager_far.h"
#include "core/pager_fault.h"

#include "core/log.h"

#include <errno.h>

void pager_change_begin(struct pager *pager, struct visit *visit)
{
    visit_begin(&pager->visits, visit);
    os_lock_take(&pager->reclaim.lock);
    reclaim_admit_locked(&pager->reclaim);
}

void pager_change_end(struct pager *pager, const struct visit *visit)
{
    os_lock_release(&pager->reclaim.lock);
    os_event_signal(&pager->reclaim.transit_ended);
    visit_end(visit);
}

static size_t n_pages_of(uintptr_t start, uintptr_t end)
{
    return (end - start) / PAGE_BYTES;
}

bool pager_far_any_locked(struct pager *pager, uintptr_t start, uintptr_t end)
{
    uint64_t at = start;
    struct range part;

    while (rangeset_next(&pager->space.areas, &at, end, &part))
        if ((part.value & AREA_WATCHED) != 0)
            return true;
    return false;
}

void pager_far_settle_relock(struct pager *pager, uintptr_t start, uintptr_t end)
{
    bool waited = true;

    while (waited && pager->table.n_transit > 0) {
        uintptr_t at = start;
        page_number first;
        size_t n;

        waited = false;
        while (!waited && space_run(&pager->space, &at, end, &first, &n)) {
            page_number last = (page_number)(first + n);

            for (page_number i = pagetable_next_busy(&pager->table, first, last); i < last && !waited;
                 i = pagetable_next_busy(&pager->table, i + 1, last))
                waited = page_is_in_transit(page_at(&pager->table, i));
        }
        if (waited) /* numbers may be others' after that */
            reclaim_wait_locked(&pager->reclaim);
    }
}

void pager_far_forget_locked(struct pager *pager, uintptr_t start, uintptr_t end)
{
    uintptr_t at = start;
    page_number first;
    size_t n;

    while (space_run(&pager->space, &at, end, &first, &n)) {
        page_number last = (page_number)(first + n);

        if (space_is_near(&pager->space, first))
            continue;
        for (page_number i = pagetable_next_busy(&pager->table, first, last); i < last; i = pagetable_next_busy(&pager->table, i + 1, last))
            if (page_state(page_at(&pager->table, i)) != PAGE_EMPTY)
                pager_forget_locked(pager, i);
    }
}

void pager_far_unlearn_locked(struct pager *pager, uintptr_t start, uintptr_t end)
{
    pager_far_forget_locked(pager, start, end);
    if (rangeset_from(&pager->space.areas, start) == NULL)
        return;
    /* Where there is no memory to split a range, what is known of it is as good as lost. */
    if (rangeset_set(&pager->space.areas, start, end, 0) != 0)
        log_line(LOG_ERROR, "no memory for the list of mappings: a part that is gone is still taken for ours");
    space_release_locked(&pager->space, start, end);
}

/* ---- watching ---- */

struct watch_job {
    struct pager *pager;
    uintptr_t start;
    size_t n_pages;
    bool on;
    int error;
};

static void watch_job(void *arg, unsigned worker)
{
    struct watch_job *job = arg;
    struct fault_backend *backend = job->pager->backend;

    (void)worker;
    job->error = backend->watch(backend, job->start, job->n_pages, job->on);
}

static int watch(struct pager *pager, uintptr_t start, uintptr_t end, bool on)
{
    struct watch_job job = {.pager = pager, .start = start, .n_pages = n_pages_of(start, end), .on = on};

    watch_job(&job, 0);
    return job.error;
}

/* What was in RAM before the area was watched. */
static void adopt(void *arg, uintptr_t start, size_t n_pages)
{
    struct pager *pager = arg;
    struct reclaim *r = &pager->reclaim;
    uintptr_t at = start;
    page_number first;
    size_t n;

    while (space_run(&pager->space, &at, start + n_pages * PAGE_BYTES, &first, &n))
        for (page_number number = first; number < first + n; number++) {
            if (page_state(page_at(&pager->table, number)) != PAGE_EMPTY)
                continue;
            page_at(&pager->table, number)->value = 0;
            reclaim_enter_locked(r, number);
            reclaim_adopt_locked(r);
        }
}

static int watch_area_locked(struct pager *pager, uintptr_t start, uintptr_t end, uint32_t value, bool fresh)
{
    int error = rangeset_reserve(&pager->space.areas, 1);

    if (error == 0)
        error = space_place_locked(&pager->space, start, end);
    if (error != 0)
        return error;
    error = pagetable_commit_far(&pager->table, pager->space.far_first, space_end(&pager->space));
    if (error == 0)
        error = watch(pager, start, end, true);
    if (error == 0 && !fresh) {
        error = os_mem_scan_present((void *)start, end - start, adopt, pager);
        if (error != 0) { /* a page that is there and not known would be overwritten */
            pager_far_forget_locked(pager, start, end);
            (void)watch(pager, start, end, false);
        }
    }
    if (error == 0)
        (void)rangeset_set(&pager->space.areas, start, end, value | AREA_WATCHED);
    else
        space_release_locked(&pager->space, start, end);
    return error;
}

static bool is_accessible(uint32_t value)
{
    return (value & (AREA_READ | AREA_WRITE)) != 0;
}

int pager_far_learn_locked(struct pager *pager, uintptr_t start, uintptr_t end, uint32_t value, bool fresh)
{
    int error;

    if (!pager_is_engaged(pager) || !is_accessible(value))
        return rangeset_set(&pager->space.areas, start, end, value);
    error = watch_area_locked(pager, start, end, value, fresh);
    if (error == 0)
        return 0;
    pager->n_unwatched++;
    log_line(LOG_CHOICE, "memory at %p, %z pages, is not managed: %e", (void *)start, n_pages_of(start, end), -error);
    return error;
}

void pager_far_start_locked(struct pager *pager)
{
    uint64_t at = 0;
    struct range part;

    while (rangeset_next(&pager->space.areas, &at, UINT64_MAX, &part)) {
        if ((part.value & AREA_WATCHED) != 0 || !is_accessible(part.value))
            continue;
        if (pager_far_learn_locked(pager, part.first, part.end, part.value, false) != 0)
            (void)rangeset_set(&pager->space.areas, part.first, part.end, 0);
    }
}

void pager_far_protect_locked(struct pager *pager, uintptr_t start, uintptr_t end, uint32_t protection)
{
    uint64_t at = start;
    struct range part;

    while (rangeset_next(&pager->space.areas, &at, end, &part)) {
        uint32_t value = (part.value & ~AREA_PROTECTION) | protection;

        if ((value & AREA_WATCHED) == 0 && is_accessible(value)) {
            if (pager_far_learn_locked(pager, part.first, part.end, value, false) != 0)
                (void)rangeset_set(&pager->space.areas, part.first, part.end, 0);
        } else if (value != part.value) {
            /* On failure what is known is too old, and only read-ahead asks. */
            (void)rangeset_set(&pager->space.areas, part.first, part.end, value);
        }
    }
}

void pager_far_mark_locked(struct pager *pager, uintptr_t start, uintptr_t end, uint32_t set, uint32_t clear)
{
    uint64_t at = start;
    struct range part;

    while (rangeset_next(&pager->space.areas, &at, end, &part))
        if (((part.value | set) & ~clear) != part.value)
            (void)rangeset_set(&pager->space.areas, part.first, part.end, (part.value | set) & ~clear);
}

/* ---- moving ---- */

/* A page whose frame the kernel has moved. What it was closed to is not known any more. */
static void move_resident_locked(struct pager *pager, page_number to, page_number from)
{
    uint32_t kept = page_at(&pager->table, from)->value;

    reclaim_leave_locked(&pager->reclaim, from);
    page_set_state(&pager->table, from, PAGE_EMPTY);
    page_at(&pager->table, to)->value = kept;
    reclaim_enter_locked(&pager->reclaim, to);
}

static void move_entries_locked(struct pager *pager, page_number to, page_number from, size_t n_pages)
{
    for (page_number i = 0; i < n_pages;) {
        const struct page *page = page_at(&pager->table, (page_number)(from + i));

        if (page_state(page) == PAGE_EMPTY) {
            i = pagetable_next_busy(&pager->table, (page_number)(from + i + 1), (page_number)(from + n_pages)) - from;
        } else if (page_is_resident(page)) {
            move_resident_locked(pager, (page_number)(to + i), (page_number)(from + i));
            i++;
        } else {
            i += (page_number)pager_move_run_locked(pager, (page_number)(to + i), (page_number)(from + i), n_pages - i);
        }
    }
}

/* The tables cannot have the new place: what is not in RAM is put there, and all of it is the kernel's. */
static void put_there_locked(struct pager *pager, uintptr_t to, uintptr_t from, size_t bytes)
{
    uintptr_t at = from;
    page_number first;
    size_t n;

    while (space_run(&pager->space, &at, from + bytes, &first, &n))
        for (page_number number = first; number < first + n; number++) {
            uintptr_t target = to + (space_address(&pager->space, number) - from);

            if (page_state(page_at(&pager->table, number)) != PAGE_EMPTY && !page_is_resident(page_at(&pager->table, number)))
                pager_thaw_into(pager, number, (unsigned char *)target);
        }
}

int pager_far_move_locked(struct pager *pager, uintptr_t to, uintptr_t from, size_t bytes)
{
    uint64_t at = from;
    struct range part;
    int error = 0;

    while (rangeset_next(&pager->space.areas, &at, from + bytes, &part)) {
        uintptr_t target = to + (part.first - from);
        uintptr_t source = part.first;
        int failed = 0;

        if ((part.value & AREA_WATCHED) != 0)
            failed = watch_area_locked(pager, target, target + (part.end - part.first), part.value, true);
        else
            failed = rangeset_set(&pager->space.areas, target, target + (part.end - part.first), part.value);
        while (failed == 0 && (part.value & AREA_WATCHED) != 0 && source < part.end) {
            page_number from_first;
            page_number to_first;
            size_t n_from;
            size_t n_to;
            uintptr_t next_source = source;
            uintptr_t next_target = target;

            if (!space_run(&pager->space, &next_source, part.end, &from_first, &n_from) ||
                !space_run(&pager->space, &next_target, target + (part.end - source), &to_first, &n_to))
                break;
            n_from = min_size(n_from, n_to);
            move_entries_locked(pager, to_first, from_first, n_from);
            source += n_from * PAGE_BYTES;
            target += n_from * PAGE_BYTES;
        }
        if (failed != 0 && (part.value & AREA_WATCHED) != 0)
            put_there_locked(pager, target, part.first, part.end - part.first);
        error = error != 0 ? error : failed;
    }
    pager_far_unlearn_locked(pager, from, from + bytes);
    return error;
}

/* ---- leaving ---- */

/* Numbers of what is watched, into a hold; false: of no more. */
static bool next_to_leave(struct pager *pager, uint64_t *at, uintptr_t end, struct range *part)
{
    while (rangeset_next(&pager->space.areas, at, end, part))
        if ((part->value & AREA_WATCHED) != 0)
            return true;
    return false;
}

static void leave_part(struct pager *pager, const struct range *part)
{
    struct hold *hold = &pager->ceding;
    uintptr_t at = part->first;
    struct visit visit;
    page_number first;
    size_t n;

    hold_clear(hold);
    while (space_run(&pager->space, &at, part->end, &first, &n))
        hold_add(hold, first, (page_number)(first + n));
    visit_begin(&pager->visits, &visit);
    hold_start(&pager->holds, hold);
    pager_bring_in_used(pager, hold);
    os_lock_take(&pager->reclaim.lock);
    reclaim_admit_locked(&pager->reclaim);
    pager_far_settle_relock(pager, part->first, part->end);
    /* What comes in by a fault now is there, and what leaves is none of these. */
    if (watch(pager, part->first, part->end, false) == 0)
        pager_far_unlearn_locked(pager, part->first, part->end);
    pager_change_end(pager, &visit);
    hold_end(hold);
}

void pager_far_leave(struct pager *pager, uintptr_t start, uintptr_t end)
{
    uint64_t at = start;

    for (;;) {
        struct visit visit;
        struct range part;
        bool any;

        pager_change_begin(pager, &visit);
        any = next_to_leave(pager, &at, end, &part);
        pager_change_end(pager, &visit);
        if (!any)
            return;
        leave_part(pager, &part);
    }
}

/* ---- fork, and the end ---- */

static void unwatch_in_child(struct pager *pager, const struct range *part)
{
    uintptr_t at = part->first;
    page_number first;
    size_t n;

    while (space_run(&pager->space, &at, part->end, &first, &n))
        for (page_number number = first; number < first + n; number++)
            if (page_state(page_at(&pager->table, number)) != PAGE_EMPTY && !page_is_resident(page_at(&pager->table, number)))
                pager_thaw_into(pager, number, (unsigned char *)space_address(&pager->space, number));
    pager_far_unlearn_locked(pager, part->first, part->end);
}

void pager_far_fork_child(struct pager *pager)
{
    uint64_t at = 0;
    struct range part;

    while (rangeset_next(&pager->space.areas, &at, UINT64_MAX, &part)) {
        int error;

        if ((part.value & AREA_DONTFORK) != 0) {
            pager_far_unlearn_locked(pager, part.first, part.end);
            continue;
        }
        if ((part.value & AREA_WIPEONFORK) != 0)
            pager_far_forget_locked(pager, part.first, part.end);
        if ((part.value & AREA_WATCHED) == 0)
            continue;
        error = watch(pager, part.first, part.end, true);
        if (error == 0)
            continue;
        log_line(LOG_CHOICE, "memory at %p is not managed in a forked child: %e", (void *)(uintptr_t)part.first, -error);
        unwatch_in_child(pager, &part);
    }
}

void pager_far_end(struct pager *pager)
{
    uint64_t at = 0;
    struct range part;

    while (rangeset_next(&pager->space.areas, &at, UINT64_MAX, &part))
        if ((part.value & AREA_WATCHED) != 0)
            (void)watch(pager, part.first, part.end, false);
}

size_t pager_far_pages(struct pager *pager, uint32_t kind)
{
    size_t n_pages = 0;
    uint64_t at = 0;
    struct range part;

    while (rangeset_next(&pager->space.areas, &at, UINT64_MAX, &part))
        if ((part.value & AREA_WATCHED) != 0 && (part.value & AREA_KIND) == kind)
            n_pages += n_pages_of(part.first, part.end);
    return n_pages;
}
