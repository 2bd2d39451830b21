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

static uintptr_t address_of(const struct pager *pager, page_number number)
{
    return pager->base + ((uintptr_t)number << PAGE_SHIFT);
}

static void unseal(struct pager *pager, page_number first, page_number end)
{
    struct visit visit;

    visit_begin(&pager->visits, &visit);
    os_lock_take(&pager->reclaim.lock);
    hold_remove(&pager->sealed, first, end);
    os_lock_release(&pager->reclaim.lock);
    visit_end(&visit);
}

static int protect_sealed(struct pager *pager, page_number first, page_number end, int protection)
{
    struct reclaim *r = &pager->reclaim;
    bool ordinary = protection == (PROT_READ | PROT_WRITE);
    struct visit visit;
    bool sealed;
    int error;

    visit_begin(&pager->visits, &visit);
    os_lock_take(&r->lock);
    sealed = hold_overlaps(&pager->sealed, first, end);
    if (!ordinary) {
        hold_add(&pager->sealed, first, end);
        hold_start(&pager->holds, &pager->sealed);
    }
    os_lock_release(&r->lock);
    visit_end(&visit);
    if (ordinary && !sealed)
        return 0;
    pager_bring_in(pager, first, end);
    error = os_mem_protect((void *)address_of(pager, first), (size_t)(end - first) * PAGE_BYTES, protection);
    if (ordinary && error == 0)
        unseal(pager, first, end);
    return error;
}

int pager_protect(struct pager *pager, page_number first, size_t n_pages, int protection)
{
    atomic_store(&pager->reprotected, true);
    if (pager_is_engaged(pager) && pager->backend->by_protection)
        return protect_sealed(pager, first, (page_number)(first + n_pages), protection);
    return os_mem_protect((void *)address_of(pager, first), n_pages * PAGE_BYTES, protection);
}

int pager_unprotect(struct pager *pager, page_number first, size_t n_pages)
{
    if (!atomic_load(&pager->reprotected))
        return 0;
    if (!pager_is_engaged(pager) || !pager->backend->by_protection)
        return os_mem_commit((void *)address_of(pager, first), n_pages * PAGE_BYTES);
    unseal(pager, first, (page_number)(first + n_pages));
    return 0;
}
