/* writeback_kept.c - images that stay while their page is resident, in the pool or in the swap file. See kept.h. */
#include "core/writeback.h"

/* Of all RAM that paging holds, at the most: it is then less than 1.2 times what it would be without. */
#define KEPT_PERMILLE 150
/*
 * The part that images of proven pages may take. The rest is left to the images of fresh pages, and is enough for them: with 120 and
 * with 130 instead of 138, random reads compressed 5 to 10 % more pages (bench/run.py --sections over).
 */
#define KEPT_LONG_PERMILLE 138
/* From here on the room counts as taken. It is less than either of these, because pages leave by the batch. */
#define KEPT_FULL_PERMILLE 131

/* Do kept images take so much of all RAM that paging holds? */
static bool kept_is_beyond_locked(const struct writeback *wb, unsigned permille)
{
    uint64_t held = atomic_load_explicit(&wb->store->pool.held_bytes, memory_order_relaxed);

    LOCK_ASSERT_HELD(LOCK_PAGER);
    return wb->kept_bytes >= (wb->limit_bytes + held) / 1000 * permille;
}

bool writeback_kept_is_full_locked(const struct writeback *wb)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    return kept_is_beyond_locked(wb, KEPT_FULL_PERMILLE);
}

bool writeback_wants_kept_locked(struct writeback *wb, bool is_free, bool for_long)
{
    const struct pool *pool = &wb->store->pool;
    uint64_t held = atomic_load_explicit(&pool->held_bytes, memory_order_relaxed);

    LOCK_ASSERT_HELD(LOCK_PAGER);
    return !writeback_is_on(wb) && !kept_is_beyond_locked(wb, for_long ? KEPT_LONG_PERMILLE : KEPT_PERMILLE) &&
           held < pool->bound_bytes - pool->bound_bytes / 8 && (is_free || kept_pays_locked(&wb->kept.hashing, 1));
}

uint32_t writeback_keep_locked(struct writeback *wb, store_handle handle, struct kept_hash hash)
{
    size_t bytes = pool_image(&wb->store->pool, handle).bytes;
    uint32_t kept;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    kept = kept_add_locked(&wb->kept, handle, KEPT_IN_POOL | (uint32_t)bytes, hash);
    if (kept != 0)
        wb->kept_bytes += bytes;
    return kept;
}

struct kept_image writeback_take_kept_locked(struct writeback *wb, uint32_t kept)
{
    struct kept_image image = kept_take_locked(&wb->kept, kept);

    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (kept_is_pooled(&image))
        wb->kept_bytes -= image.n_units & ~KEPT_IN_POOL;
    return image;
}

void writeback_drop_kept_locked(struct writeback *wb, uint32_t kept)
{
    struct kept_image image;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (kept == 0)
        return;
    image = writeback_take_kept_locked(wb, kept);
    if (kept_is_pooled(&image))
        store_free(wb->store, image.handle);
    else
        swap_release_locked(&wb->swap, image.handle, image.n_units);
}

uint32_t writeback_kept_of(const struct page *page)
{
    return page_state(page) == PAGE_COOLED ? page->next : page->value;
}

void writeback_unkeep_locked(struct writeback *wb, struct page *page)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    writeback_drop_kept_locked(wb, writeback_kept_of(page));
    if (page_state(page) == PAGE_COOLED)
        page->next = 0;
    else
        page->value = 0;
}
