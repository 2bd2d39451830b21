/* pager_far.c - see pager_far.h. */
#include "core/pager_far.h"
#include "core/pager_fault.h"

#include "core/log.h"

#include <errno.h>
#include <sys/mman.h>

static void enter(struct pager *pager, struct visit *visit)
{
    visit_begin(&pager->visits, visit);
    os_lock_take(&pager->reclaim.lock);
    reclaim_admit_relock(&pager->reclaim);
}

void pager_change_begin(struct pager *pager, struct visit *visit)
{
    enter(pager, visit);
    pager->n_changes++;
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

    LOCK_ASSERT_HELD(LOCK_PAGER);
    while (rangeset_next(&pager->space.areas, &at, end, &part))
        if ((part.value & AREA_WATCHED) != 0)
            return true;
    return false;
}

bool pager_far_settle_relock(struct pager *pager, uintptr_t start, uintptr_t end)
{
    bool waited = true;
    bool ever = false;

    LOCK_ASSERT_HELD(LOCK_PAGER);
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
        if (waited) { /* numbers may be others' after that */
            reclaim_wait_relock(&pager->reclaim);
            ever = true;
        }
    }
    return ever;
}

void pager_far_forget_locked(struct pager *pager, uintptr_t start, uintptr_t end)
{
    uintptr_t at = start;
    page_number first;
    size_t n;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    while (space_run(&pager->space, &at, end, &first, &n)) {
        page_number last = (page_number)(first + n);

        if (space_is_near(&pager->space, first))
            continue;
        for (page_number i = pagetable_next_busy(&pager->table, first, last); i < last; i = pagetable_next_busy(&pager->table, i + 1, last))
            if (page_state(page_at(&pager->table, i)) != PAGE_EMPTY)
                pager_forget_locked(pager, i);
    }
}

/* Runs of numbers in the watched parts of [@start, @end), until @act says that it cannot go on. */
typedef int run_act(struct pager *pager, uintptr_t addr, page_number first, size_t n_pages);

static int each_watched_run_locked(struct pager *pager, uintptr_t start, uintptr_t end, run_act *act)
{
    uint64_t at = start;
    struct range part;
    int error = 0;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    while (error == 0 && rangeset_next(&pager->space.areas, &at, end, &part)) {
        uintptr_t place = part.first;
        page_number first;
        size_t n;

        while (error == 0 && (part.value & AREA_WATCHED) != 0 && space_run(&pager->space, &place, part.end, &first, &n))
            error = act(pager, space_address(&pager->space, first), first, n);
    }
    return error;
}

static int lose_run(struct pager *pager, uintptr_t addr, page_number first, size_t n_pages)
{
    (void)first;
    pager->backend->lost(pager->backend, addr, n_pages);
    return 0;
}

/* A page that is not discarded after all is opened when it is touched. */
static int shut_run(struct pager *pager, uintptr_t addr, page_number first, size_t n_pages)
{
    int error = pager->backend->protect(pager->backend, addr, n_pages, true);
    page_number last = (page_number)(first + n_pages);

    if (error != 0)
        return error;
    for (page_number i = pagetable_next_busy(&pager->table, first, last); i < last; i = pagetable_next_busy(&pager->table, i + 1, last))
        if (page_is_resident(page_at(&pager->table, i)))
            page_at(&pager->table, i)->flags |= PAGE_FLAG_SHUT;
    return 0;
}

int pager_far_shut_locked(struct pager *pager, uintptr_t start, uintptr_t end)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    return pager->backend->by_protection ? each_watched_run_locked(pager, start, end, shut_run) : 0;
}

void pager_far_unlearn_locked(struct pager *pager, uintptr_t start, uintptr_t end)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    pager_far_forget_locked(pager, start, end);
    if (rangeset_from(&pager->space.areas, start) == NULL)
        return;
    if (pager->backend->by_protection)
        each_watched_run_locked(pager, start, end, lose_run);
    /* Where there is no memory to split a range, what is known of it is as good as lost. */
    if (space_note_locked(&pager->space, start, end, 0) != 0)
        log_line(LOG_ERROR, "no memory for the list of mappings: a part that is gone is still taken for ours");
    space_release_locked(&pager->space, start, end);
}

/* ---- watching ---- */

int pager_far_protection(uint32_t value)
{
    return ((value & AREA_READ) != 0 ? PROT_READ : 0) | ((value & AREA_WRITE) != 0 ? PROT_WRITE : 0);
}

static int watch_runs(struct pager *pager, uintptr_t start, uintptr_t end, uint32_t value, bool on)
{
    struct fault_backend *backend = pager->backend;
    page_number first;
    size_t n;
    int error = 0;

    while (error == 0 && space_run(&pager->space, &start, end, &first, &n)) {
        uintptr_t addr = space_address(&pager->space, first);

        if (on)
            error = backend->reprotect(backend, addr, n, pager_far_protection(value));
        if (error == 0)
            error = backend->watch(backend, addr, n, on);
    }
    return error;
}

/* All of it has numbers. */
static int watch(struct pager *pager, uintptr_t start, uintptr_t end, uint32_t value, bool on)
{
    int error;

    if (!pager->backend->by_protection)
        return pager->backend->watch(pager->backend, start, n_pages_of(start, end), on);
    error = watch_runs(pager, start, end, value, on);
    if (error != 0 && on) /* as it was */
        (void)watch_runs(pager, start, end, value, false);
    if (error != 0 || !on) /* by the letter: what can be written is open to reading too while it is watched */
        (void)os_mem_protect((void *)start, end - start, pager_far_protection(value));
    return error;
}

/* What was in RAM before the area was watched. */
static void adopt(void *arg, uintptr_t start, size_t n_pages)
{
    struct pager *pager = arg;
    struct reclaim *r = &pager->reclaim;
    uintptr_t at = start;
    page_number first;
    size_t n;

    while (space_run(&pager->space, &at, start + n_pages * PAGE_BYTES, &first, &n)) {
        bool shut = pager->backend->by_protection &&
                    pager->backend->protect(pager->backend, space_address(&pager->space, first), n, false) != 0;

        for (page_number number = first; number < first + n; number++) {
            if (page_state(page_at(&pager->table, number)) != PAGE_EMPTY)
                continue;
            page_at(&pager->table, number)->value = 0;
            reclaim_enter_locked(r, number);
            reclaim_adopt_locked(r);
            page_at(&pager->table, number)->flags |= shut ? PAGE_FLAG_SHUT : 0;
        }
    }
}

int pager_far_watch_locked(struct pager *pager, uintptr_t start, uintptr_t end, uint32_t value, bool fresh)
{
    int error = rangeset_reserve(&pager->space.areas, 1);

    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (error == 0)
        error = space_place_locked(&pager->space, start, end);
    if (error != 0)
        return error;
    error = pagetable_commit_far(&pager->table, pager->space.far_first, space_end(&pager->space));
    if (error == 0)
        error = watch(pager, start, end, value, true);
    if (error == 0 && !fresh) {
        error = os_mem_scan_present((void *)start, end - start, adopt, pager);
        if (error != 0) { /* a page that is there and not known would be overwritten */
            pager_far_forget_locked(pager, start, end);
            (void)watch(pager, start, end, value, false);
        }
    }
    if (error != 0) {
        space_release_locked(&pager->space, start, end);
        return error;
    }
    (void)space_note_locked(&pager->space, start, end, value | AREA_WATCHED);
    return 0;
}

static bool is_accessible(uint32_t value)
{
    return (value & (AREA_READ | AREA_WRITE)) != 0 && (value & (AREA_EXEC | AREA_LOCKED)) == 0;
}

static void prepare_locked(struct pager *pager, uintptr_t start)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (pager->backend->prepare != NULL && page_state(page_at(&pager->table, space_number(&pager->space, start))) == PAGE_EMPTY)
        pager->backend->prepare(pager->backend, start);
}

int pager_far_learn_locked(struct pager *pager, uintptr_t start, uintptr_t end, uint32_t value, bool fresh)
{
    int error;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (!pager_is_engaged(pager) || !is_accessible(value))
        return space_note_locked(&pager->space, start, end, value);
    error = pager_far_watch_locked(pager, start, end, value, fresh);
    if (error == 0) {
        prepare_locked(pager, start);
        return 0;
    }
    pager->n_unwatched++;
    log_line(LOG_CHOICE, "memory at %p, %z pages, is not managed: %e", (void *)start, n_pages_of(start, end), -error);
    return error;
}

void pager_far_start_locked(struct pager *pager)
{
    uint64_t at = 0;
    struct range part;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    while (rangeset_next(&pager->space.areas, &at, UINT64_MAX, &part)) {
        if ((part.value & AREA_WATCHED) != 0 || !is_accessible(part.value))
            continue;
        if (pager_far_learn_locked(pager, part.first, part.end, part.value, false) != 0)
            (void)space_note_locked(&pager->space, part.first, part.end, 0);
    }
}

void pager_far_note_protection_locked(struct pager *pager, uintptr_t start, uintptr_t end, uint32_t access)
{
    uint64_t at = start;
    struct range part;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    while (rangeset_next(&pager->space.areas, &at, end, &part)) {
        uint32_t value = (part.value & ~AREA_PROTECTION) | access;

        if ((value & AREA_WATCHED) == 0 && is_accessible(value)) {
            if (pager_far_learn_locked(pager, part.first, part.end, value, false) != 0)
                (void)space_note_locked(&pager->space, part.first, part.end, 0);
        } else if (value != part.value) {
            /* On failure what is known is too old: see pager_far_protect_locked(). */
            (void)space_note_locked(&pager->space, part.first, part.end, value);
        }
    }
}

static int reprotect_part(struct pager *pager, const struct range *part, int protection)
{
    uintptr_t place = part->first;
    page_number first;
    size_t n;
    int error = 0;

    while (error == 0 && space_run(&pager->space, &place, part->end, &first, &n))
        error = pager->backend->reprotect(pager->backend, space_address(&pager->space, first), n, protection);
    return error;
}

/* Where protections are ours, the watched parts are not the kernel's to change. */
static long protect_parts_locked(struct pager *pager, uintptr_t start, uintptr_t end, int protection)
{
    long result = 0;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    while (start < end && result == 0) {
        uint64_t at = start;
        struct range part = {.first = end, .end = end};

        while (rangeset_next(&pager->space.areas, &at, end, &part) && (part.value & AREA_WATCHED) == 0)
            part = (struct range){.first = end, .end = end};
        if (part.first > start)
            result = os_mem_protect((void *)start, (size_t)(part.first - start), protection);
        if (result == 0 && part.first < part.end)
            result = reprotect_part(pager, &part, protection);
        start = part.end;
    }
    return result;
}

static uint32_t access_of(int protection)
{
    return ((protection & PROT_READ) != 0 ? AREA_READ : 0) | ((protection & PROT_WRITE) != 0 ? AREA_WRITE : 0);
}

void pager_far_note_protected_locked(struct pager *pager, uintptr_t start, uintptr_t end, int protection, bool executable)
{
    uint64_t at = start;
    struct range part;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    while (rangeset_next(&pager->space.areas, &at, end, &part)) {
        uint32_t value = executable ? (part.value & ~AREA_PROTECTION) | access_of(protection) | AREA_EXEC : 0;

        if ((part.value & AREA_WATCHED) == 0)
            (void)space_note_locked(&pager->space, part.first, part.end, value);
    }
}

long pager_far_protect_locked(struct pager *pager, uintptr_t start, uintptr_t end, int protection)
{
    uint32_t access = access_of(protection);
    long result = -ENOMEM;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (!pager->backend->by_protection)
        result = os_mem_protect((void *)start, end - start, protection);
    else if (rangeset_reserve(&pager->space.areas, 2) == 0)
        result = protect_parts_locked(pager, start, end, protection);
    if (result == 0)
        pager_far_note_protection_locked(pager, start, end, access);
    return result;
}

void pager_far_mark_locked(struct pager *pager, uintptr_t start, uintptr_t end, uint32_t set, uint32_t clear)
{
    uint64_t at = start;
    struct range part;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    while (rangeset_next(&pager->space.areas, &at, end, &part))
        if (((part.value | set) & ~clear) != part.value)
            (void)space_note_locked(&pager->space, part.first, part.end, (part.value | set) & ~clear);
}

void pager_far_unlock_locked(struct pager *pager, uintptr_t start, uintptr_t end)
{
    uint64_t at = start;
    struct range part;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    while (rangeset_next(&pager->space.areas, &at, end, &part))
        if ((part.value & AREA_LOCKED) != 0 && pager_far_learn_locked(pager, part.first, part.end, part.value & ~AREA_LOCKED, false) != 0)
            (void)space_note_locked(&pager->space, part.first, part.end, 0);
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

static void leave_part(struct pager *pager, const struct range *part, uint32_t why)
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
    reclaim_admit_relock(&pager->reclaim);
    (void)pager_far_settle_relock(pager, part->first, part->end);
    /* What comes in by a fault now is there, and what leaves is none of these. */
    if (watch(pager, part->first, part->end, part->value, false) == 0) {
        pager_far_unlearn_locked(pager, part->first, part->end);
        if (why != 0) /* on failure it is not known any more */
            (void)space_note_locked(&pager->space, part->first, part->end, (part->value & ~AREA_WATCHED) | why);
    }
    pager_change_end(pager, &visit);
    hold_end(hold);
}

void pager_far_leave(struct pager *pager, uintptr_t start, uintptr_t end, uint32_t why)
{
    uint64_t at = start;

    for (;;) {
        struct visit visit;
        struct range part;
        bool any;

        enter(pager, &visit);
        any = next_to_leave(pager, &at, end, &part);
        pager_change_end(pager, &visit);
        if (!any)
            return;
        leave_part(pager, &part, why);
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
        if ((part.value & AREA_WIPEONFORK) != 0) {
            (void)pager_far_shut_locked(pager, part.first, part.end);
            pager_far_forget_locked(pager, part.first, part.end);
        }
        if ((part.value & AREA_WATCHED) == 0)
            continue;
        error = pager->backend->by_protection ? 0 : watch(pager, part.first, part.end, part.value, true);
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
            (void)watch(pager, part.first, part.end, part.value, false);
}

void pager_far_open_all(struct pager *pager, bool for_all)
{
    uint64_t at = 0;
    struct range part;

    while (rangeset_next(&pager->space.areas, &at, UINT64_MAX, &part))
        if ((part.value & AREA_WATCHED) != 0)
            (void)os_mem_protect((void *)(uintptr_t)part.first, (size_t)(part.end - part.first),
                                 for_all ? PROT_READ | PROT_WRITE : pager_far_protection(part.value));
}
