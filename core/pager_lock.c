/*
 * pager_lock.c - what the program locks in RAM, pins, wants or does not want there, and keeps out of core files. See pager.h.
 *
 * The kernel has the lock too: else it might swap the page out itself. There it is always MLOCK_ONFAULT, because what is not in its
 * place is ours to bring in, and must not be filled with zeros; so nothing that is ours is filled either. The kernel is told first: from
 * then on it lets no page go. What left before comes back.
 */
#include "core/pager_fault.h"

#include "platform/mem.h"

static void *address_of(const struct pager *pager, page_number number)
{
    return (void *)space_address(&pager->space, number);
}

static void note(struct pager *pager, page_number first, page_number end, bool on)
{
    struct visit visit;

    visit_begin(&pager->visits, &visit);
    os_lock_take(&pager->reclaim.lock);
    if (on)
        marks_add(&pager->locked, first, end);
    else
        marks_remove(&pager->locked, first, end);
    if (!on)
        pager->reclaim.stuck_retry_ns = 0;
    os_lock_release(&pager->reclaim.lock);
    visit_end(&visit);
}

/* A cooled page is as good as resident, and would be compressed. */
static void bring_cooled_back(struct pager *pager, page_number first, page_number end)
{
    for (page_number number = first; number < end; number++) {
        const struct hold one = {.n = 1, .own = {{number, number + 1}}};
        enum page_state state;
        struct visit visit;

        visit_begin(&pager->visits, &visit);
        os_lock_take(&pager->reclaim.lock);
        while (page_is_in_transit(page_at(&pager->table, number)))
            reclaim_wait_relock(&pager->reclaim);
        state = page_state(page_at(&pager->table, number));
        os_lock_release(&pager->reclaim.lock);
        visit_end(&visit);
        if (state == PAGE_COOLED)
            pager_bring_in(pager, &one);
    }
}

int pager_lock(struct pager *pager, page_number first, size_t n_pages, bool on_fault)
{
    page_number end = (page_number)(first + n_pages);
    const struct hold all = {.n = 1, .own = {{first, end}}};
    bool dormant;
    int error = marks_reserve(&pager->locked, pager->space.near_pages);

    if (error != 0)
        return error;
    dormant = pager_dormant_begin(pager);
    error = os_mem_lock(address_of(pager, first), n_pages * PAGE_BYTES, true);
    if (error == 0)
        note(pager, first, end, true);
    if (error == 0 && dormant && !on_fault)
        error = os_mem_lock(address_of(pager, first), n_pages * PAGE_BYTES, false);
    if (dormant)
        pager_dormant_end(pager);
    else if (error == 0 && !on_fault)
        pager_bring_in(pager, &all);
    else if (error == 0)
        bring_cooled_back(pager, first, end);
    return error;
}

int pager_pin(struct pager *pager, page_number first, size_t n_pages)
{
    page_number end = (page_number)(first + n_pages);
    const struct hold all = {.n = 1, .own = {{first, end}}};
    bool dormant;
    int error = marks_reserve(&pager->locked, pager->space.near_pages);

    if (error != 0)
        return error;
    dormant = pager_dormant_begin(pager);
    note(pager, first, end, true);
    if (dormant)
        pager_dormant_end(pager);
    else
        pager_bring_in(pager, &all);
    return 0;
}

void pager_want(struct pager *pager, page_number first, size_t n_pages)
{
    size_t most = max_size(1, atomic_load(&pager->limit) / 2);
    const struct hold some = {.n = 1, .own = {{first, (page_number)(first + min_size(n_pages, most))}}};

    if (pager_is_engaged(pager))
        pager_bring_in_used(pager, &some);
}

/* So many pages are looked at under one taking of the lock. */
#define SPURN_STEP_PAGES ((size_t)256)

void pager_spurn(struct pager *pager, page_number first, size_t n_pages)
{
    page_number end = (page_number)(first + n_pages);

    while (pager_is_engaged(pager) && first < end) {
        page_number stop = pagetable_stop(first, end, SPURN_STEP_PAGES);
        struct visit visit;

        visit_begin(&pager->visits, &visit);
        os_lock_take(&pager->reclaim.lock);
        for (; first < stop; first++)
            if (page_is_resident(page_at(&pager->table, first)))
                reclaim_age_locked(&pager->reclaim, first);
        os_lock_release(&pager->reclaim.lock);
        visit_end(&visit);
    }
}

void pager_unlock(struct pager *pager, page_number first, size_t n_pages)
{
    (void)os_mem_unlock(address_of(pager, first), n_pages * PAGE_BYTES);
    if (marks_any(&pager->locked))
        note(pager, first, (page_number)(first + n_pages), false);
}

void pager_forget_locks(struct pager *pager)
{
    pager_lock_future(pager, false);
    if (marks_any(&pager->locked))
        note(pager, 0, (page_number)pager->space.near_pages, false);
}

int pager_keep_undumped(struct pager *pager, page_number first, size_t n_pages, bool on)
{
    struct visit visit;
    int error = 0;

    visit_begin(&pager->visits, &visit);
    os_lock_take(&pager->reclaim.lock);
    if (on)
        error = marks_reserve(&pager->undumped, pager->space.near_pages);
    if (error == 0 && on)
        marks_add(&pager->undumped, first, (page_number)(first + n_pages));
    else if (error == 0)
        marks_remove(&pager->undumped, first, (page_number)(first + n_pages));
    os_lock_release(&pager->reclaim.lock);
    visit_end(&visit);
    return error;
}
