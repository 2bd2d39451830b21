/*
 * pager_protect.c - protections that the program gives to its ghost memory.
 *
 * Where pages are missing, the kernel keeps the program's protections and needs nothing of us: a page comes back into
 * a mapping that may not be written. Where pages are shut, protections are ours: a page that the program protects
 * otherwise than readable and writable is brought in first and stays until that is taken back.
 */
#include "core/pager.h"

#include "platform/mem.h"

#include <sys/mman.h>

static void unseal(struct pager *pager, page_number first, page_number end)
{
    struct visit visit;

    visit_begin(&pager->visits, &visit);
    os_lock_take(&pager->reclaim.lock);
    hold_remove(&pager->sealed, first, end);
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
    hold_add(&pager->sealed, first, end);
    hold_start(&pager->holds, &pager->sealed);
    os_lock_release(&pager->reclaim.lock);
    visit_end(&visit);
    return protect_present(pager, first, end, protection);
}

static bool next_sealed(struct pager *pager, page_number first, page_number end, struct hold_range *range)
{
    struct visit visit;
    bool found;

    visit_begin(&pager->visits, &visit);
    os_lock_take(&pager->reclaim.lock);
    found = hold_next(&pager->sealed, first, end, range);
    os_lock_release(&pager->reclaim.lock);
    visit_end(&visit);
    return found;
}

/* Only what is sealed, and so held, may be opened: the pages around it may be frozen. */
static int open_sealed(struct pager *pager, page_number first, page_number end)
{
    struct hold_range range = {first, first};
    int error = 0;

    while (error == 0 && next_sealed(pager, range.end, end, &range))
        error = protect_present(pager, range.first, range.end, PROT_READ | PROT_WRITE);
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
