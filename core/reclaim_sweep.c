/* reclaim_sweep.c - what is done to the images of all pages, one after the other. See reclaim.h. */
#include "core/reclaim.h"

/* Pages with the lock held once: about 10 us. */
#define SWEEP_PAGES 512

/* @waits: for a fork that is being prepared. Not for those who have pages in transit, for whom it waits. */
static void sweep(struct reclaim *r, bool waits, void (*visit_locked)(struct reclaim *r, struct page *page))
{
    page_number end = pagetable_end(r->table);

    for (page_number number = 0; number < end;) {
        page_number stop;

        os_lock_take(&r->lock);
        if (waits)
            reclaim_admit_relock(r);
        number = pagetable_next_busy(r->table, number, end);
        stop = pagetable_stop(number, end, SWEEP_PAGES);
        for (; number < stop; number++)
            visit_locked(r, page_at(r->table, number));
        os_lock_release(&r->lock);
    }
}

static bool has_kept_in_pool(struct reclaim *r, const struct page *page)
{
    uint32_t kept;

    if (!page_is_resident(page) && page_state(page) != PAGE_COOLED)
        return false;
    kept = writeback_kept_of(page);
    return kept != 0 && kept_is_pooled(kept_at(&r->writeback.kept, kept));
}

static void relocate_locked(struct reclaim *r, struct page *page)
{
    struct kept_image *image;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (page_state(page) == PAGE_FROZEN)
        page->value = pool_relocate(&r->store->pool, page->value);
    if (!has_kept_in_pool(r, page))
        return;
    image = kept_at(&r->writeback.kept, writeback_kept_of(page));
    image->handle = pool_relocate(&r->store->pool, image->handle);
}

void reclaim_compact(struct reclaim *r)
{
    if (!pool_compact_begin(&r->store->pool))
        return;
    sweep(r, true, relocate_locked);
    pool_compact_end(&r->store->pool);
    __atomic_add_fetch(&r->counters.compactions, 1, __ATOMIC_RELAXED);
}

static void unkeep_locked(struct reclaim *r, struct page *page)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (has_kept_in_pool(r, page))
        writeback_unkeep_locked(&r->writeback, page);
}

void reclaim_yield_kept(struct reclaim *r)
{
    bool any;

    os_lock_take(&r->lock);
    any = r->writeback.kept_bytes > 0;
    os_lock_release(&r->lock);
    if (any)
        sweep(r, false, unkeep_locked);
}
