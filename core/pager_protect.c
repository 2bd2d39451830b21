/*
 * pager_protect.c - protections that the program gives to its ghost memory.
 *
 * Where pages are missing, the kernel keeps the program's protections and needs nothing of us: a page comes back into
 * a mapping that may not be written. Where pages are shut, protections are ours: a page that the program protects
 * otherwise than readable and writable is brought in first and stays until that is taken back. One that was never touched
 * and that nobody may access now (a guard page) needs no frame for that: the page is the kernel's meanwhile, PAGE_CEDED.
 */
#include "core/pager_fault.h"

#include "platform/mem.h"

#include <sys/mman.h>

void pager_take_untouched_locked(struct pager *pager, page_number first, page_number end)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    for (page_number number = pagetable_next_busy(&pager->table, first, end); number < end;
         number = pagetable_next_busy(&pager->table, number + 1, end))
        if (page_state(page_at(&pager->table, number)) == PAGE_CEDED && !pager_has_ceded(pager, number, 1))
            page_set_state(&pager->table, number, PAGE_EMPTY);
}

void pager_leave_untouched_locked(struct pager *pager, page_number first, page_number end)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    for (page_number number = first; number < end; number++)
        if (page_state(page_at(&pager->table, number)) == PAGE_EMPTY)
            page_set_state(&pager->table, number, PAGE_CEDED);
}

static void unseal(struct pager *pager, page_number first, page_number end)
{
    struct visit visit;

    visit_begin(&pager->visits, &visit);
    os_lock_take(&pager->reclaim.lock);
    hold_remove(&pager->sealed, first, end);
    pager_take_untouched_locked(pager, first, end);
    os_lock_release(&pager->reclaim.lock);
    visit_end(&visit);
}

/* Pages that are held. */
static int protect_present(struct pager *pager, page_number first, page_number end, int protection)
{
    const struct hold all = {.n = 1, .own = {{first, end}}};

    pager_bring_in(pager, &all);
    return os_mem_protect((void *)space_address(&pager->space, first), (size_t)(end - first) * PAGE_BYTES, protection);
}

static int seal(struct pager *pager, page_number first, page_number end, int protection)
{
    struct visit visit;

    visit_begin(&pager->visits, &visit);
    os_lock_take(&pager->reclaim.lock);
    reclaim_admit_relock(&pager->reclaim);
    hold_add(&pager->sealed, first, end);
    hold_start(&pager->holds, &pager->sealed);
    pager_settle_relock(pager, first, end);
    if (protection == PROT_NONE)
        pager_leave_untouched_locked(pager, first, end);
    else
        pager_take_untouched_locked(pager, first, end);
    os_lock_release(&pager->reclaim.lock);
    visit_end(&visit);
    return protect_present(pager, first, end, protection);
}

/* The first run from @first on that is sealed. @untouched: its pages have been left to the kernel. False: there is none. */
static bool next_sealed(struct pager *pager, page_number first, page_number end, struct hold_range *run, bool *untouched)
{
    struct visit visit;
    bool found;

    visit_begin(&pager->visits, &visit);
    os_lock_take(&pager->reclaim.lock);
    found = hold_next(&pager->sealed, first, end, run);
    if (found) {
        end = run->end;
        *untouched = page_state(page_at(&pager->table, run->first)) == PAGE_CEDED;
        for (run->end = run->first + 1; run->end < end; run->end++)
            if ((page_state(page_at(&pager->table, run->end)) == PAGE_CEDED) != *untouched)
                break;
    }
    os_lock_release(&pager->reclaim.lock);
    visit_end(&visit);
    return found;
}

/* Only what is sealed, and so held, may be opened: the pages around it may be frozen. */
static int open_sealed(struct pager *pager, page_number first, page_number end)
{
    struct hold_range run = {first, first};
    bool untouched;
    int error = 0;

    while (error == 0 && next_sealed(pager, run.end, end, &run, &untouched)) {
        if (!untouched)
            error = protect_present(pager, run.first, run.end, PROT_READ | PROT_WRITE);
        else if (!pager_has_ceded(pager, run.first, run.end - run.first))
            error = os_mem_protect_none((void *)space_address(&pager->space, run.first), (size_t)(run.end - run.first) * PAGE_BYTES);
    }
    if (error == 0)
        unseal(pager, first, end);
    return error;
}

/* Paging may yet start, and must then leave these pages as they are. */
static void note_dormant(struct pager *pager, page_number first, page_number end, int protection)
{
    if (!pager->backend->by_protection)
        return;
    os_lock_take(&pager->reclaim.lock);
    if (protection == (PROT_READ | PROT_WRITE)) {
        hold_remove(&pager->sealed, first, end);
    } else {
        hold_add(&pager->sealed, first, end);
        hold_start(&pager->holds, &pager->sealed);
    }
    os_lock_release(&pager->reclaim.lock);
}

int pager_protect(struct pager *pager, page_number first, size_t n_pages, int protection)
{
    page_number end = (page_number)(first + n_pages);
    int error;

    atomic_store(&pager->reprotected, true);
    if (pager_dormant_begin(pager)) {
        error = os_mem_protect((void *)space_address(&pager->space, first), n_pages * PAGE_BYTES, protection);
        if (error == 0)
            note_dormant(pager, first, end, protection);
        pager_dormant_end(pager);
        return error;
    }
    if (!pager->backend->by_protection)
        return os_mem_protect((void *)space_address(&pager->space, first), n_pages * PAGE_BYTES, protection);
    return protection == (PROT_READ | PROT_WRITE) ? open_sealed(pager, first, end) : seal(pager, first, end, protection);
}

int pager_unprotect(struct pager *pager, page_number first, size_t n_pages)
{
    int error = 0;

    if (!atomic_load(&pager->reprotected))
        return 0;
    if (pager_dormant_begin(pager)) {
        error = os_mem_commit((void *)space_address(&pager->space, first), n_pages * PAGE_BYTES);
        note_dormant(pager, first, (page_number)(first + n_pages), PROT_READ | PROT_WRITE);
        pager_dormant_end(pager);
    } else if (!pager->backend->by_protection) {
        error = os_mem_commit((void *)space_address(&pager->space, first), n_pages * PAGE_BYTES);
    } else {
        unseal(pager, first, (page_number)(first + n_pages));
    }
    return error;
}
