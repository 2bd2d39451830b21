/* reclaim_freeze.c - see reclaim_freeze.h. */
#include "core/reclaim_freeze.h"

#include "core/log.h"

#include <string.h>

/* The word of a same-filled page, or the handle of an image. False: there is no memory for the image. */
static bool compress(struct reclaim *r, struct reclaim_worker *w, const void *page, uint64_t *result, bool *same)
{
    *same = codec_same_filled(page, result);
    if (*same)
        return true;
    *result = store_put(r->store, &w->scratch, page);
    return *result != 0;
}

static void settle_frozen_locked(struct reclaim *r, page_number number, uint64_t result, bool same)
{
    struct page *page = page_at(r->table, number);

    LOCK_ASSERT_HELD(LOCK_PAGER);
    page_set_state(r->table, number, same ? PAGE_SAME : PAGE_FROZEN);
    if (same) {
        page_set_word(page, result);
    } else {
        page->value = (uint32_t)result;
        writeback_enter_locked(&r->writeback, number);
    }
    r->counters.freezes++;
    reclaim_uncharge_locked(r, 1);
}

/* The page is what its kept image says. */
static void settle_clean_locked(struct reclaim *r, page_number number, uint32_t kept)
{
    struct kept_image image = writeback_take_kept_locked(&r->writeback, kept);
    struct page *page = page_at(r->table, number);

    LOCK_ASSERT_HELD(LOCK_PAGER);
    page->value = image.handle;
    if (kept_is_pooled(&image)) {
        page_set_state(r->table, number, PAGE_FROZEN);
        writeback_enter_locked(&r->writeback, number);
        kept_note_locked(&r->writeback.kept, true);
    } else {
        page_set_state(r->table, number, PAGE_SWAPPED);
        page->next = image.n_units & PAGE_NONE;
        page->prev = 0;
    }
    r->counters.clean_drops++;
    reclaim_uncharge_locked(r, 1);
}

/* The page has another image now, or none, than the one that was kept. */
static void settle_changed_locked(struct reclaim *r, page_number number, uint32_t kept, uint64_t result, bool same)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (kept != 0 && kept_is_pooled(kept_at(&r->writeback.kept, kept)))
        kept_note_locked(&r->writeback.kept, false);
    writeback_drop_kept_locked(&r->writeback, kept);
    settle_frozen_locked(r, number, result, same);
}

/* Batch entry @i has left, as its outcome says. */
static void settle_left_locked(struct reclaim *r, const struct reclaim_worker *w, size_t i)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (w->outcomes[i] == CLEAN)
        settle_clean_locked(r, w->batch[i], w->kept[i]);
    else
        settle_changed_locked(r, w->batch[i], w->kept[i], w->results[i], w->outcomes[i] == IN_PLACE);
}

void reclaim_note_kept_locked(struct reclaim *r, struct reclaim_worker *w, size_t i, uint32_t kept)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    w->kept[i] = kept;
    if (kept == 0)
        return;
    w->images[i] = *kept_at(&r->writeback.kept, kept);
    w->hashes[i] = kept_hash_at(&r->writeback.kept, kept);
}

/* Is @page what its kept image says? One without a hash is made a page again for that. */
static bool is_as_kept(struct reclaim *r, struct reclaim_worker *w, size_t i, const void *page)
{
    const struct kept_image *image = &w->images[i];

    if (w->kept[i] == 0)
        return false;
    if (kept_is_hash(w->hashes[i]))
        return kept_same(kept_hash_of(&r->writeback.kept, page), w->hashes[i]);
    return kept_is_pooled(image) && store_get(r->store, &w->scratch.reader, image->handle, w->scratch.image) == 0 &&
           memcmp(w->scratch.image, page, PAGE_BYTES) == 0;
}

/* The pool is full, and the page has changed: its kept image is of no use. */
static void drop_stale(struct reclaim *r, struct reclaim_worker *w, size_t i, bool in_place)
{
    struct page *page = page_at(r->table, w->batch[i]);

    os_lock_take(&r->lock);
    writeback_drop_kept_locked(&r->writeback, w->kept[i]);
    if (in_place)
        page->value = 0;
    else
        page->next = 0;
    os_lock_release(&r->lock);
    w->kept[i] = 0;
}

enum outcome reclaim_freeze_contents(struct reclaim *r, struct reclaim_worker *w, size_t i, const void *page, bool in_place)
{
    bool same = false;

    if (is_as_kept(r, w, i, page))
        return CLEAN;
    if (!compress(r, w, page, &w->results[i], &same)) {
        drop_stale(r, w, i, in_place);
        reclaim_yield_kept(r);
        if (!compress(r, w, page, &w->results[i], &same))
            return REFUSED;
    }
    return same ? IN_PLACE : DONE;
}

void reclaim_note_pool_full(struct reclaim *r)
{
    __atomic_add_fetch(&r->counters.pool_full, 1, __ATOMIC_RELAXED);
    log_sparsely(LOG_ERROR, &r->pool_full_lines, "no memory for another compressed image (%l bytes held): "
                       "pages stay resident, the limit may be exceeded", r->store->pool.held_bytes);
}

/* ---- pages that nobody can have written ---- */

static bool leaves_from_there(const struct reclaim_worker *w, size_t i)
{
    return w->outcomes[i] == CLEAN || w->outcomes[i] == STORED || w->outcomes[i] == WORD;
}

/* Nobody can write to it meanwhile: who tries waits for the end of its transit. */
static void store_unwritten(struct reclaim *r, struct reclaim_worker *w, size_t i)
{
    enum outcome outcome = REFUSED;

    if (reclaim_peek(r, w->pages[i], w->batch[i], 1) == 0) {
        outcome = reclaim_freeze_contents(r, w, i, w->pages[i], true);
        if (outcome == REFUSED)
            reclaim_note_pool_full(r);
    }
    w->outcomes[i] = outcome == DONE ? STORED : outcome == IN_PLACE ? WORD : REFUSED;
}

void reclaim_drop_unwritten(struct reclaim *r, struct reclaim_worker *w, size_t n)
{
    uintptr_t addrs[RECLAIM_BATCH];
    uint8_t entries[RECLAIM_BATCH];
    size_t n_leaving = 0;
    size_t n_done = 0;

    for (size_t i = 0; i < n; i++) {
        if (w->outcomes[i] == UNWRITTEN)
            store_unwritten(r, w, i);
        if (!leaves_from_there(w, i))
            continue;
        entries[n_leaving] = (uint8_t)i;
        addrs[n_leaving++] = reclaim_address(r, w->batch[i]);
    }
    while (n_done < n_leaving) {
        size_t i;

        n_done += r->backend->drop(r->backend, addrs + n_done, n_leaving - n_done);
        if (n_done == n_leaving)
            break;
        i = entries[n_done++];
        if (w->outcomes[i] == STORED)
            store_free(r->store, (store_handle)w->results[i]);
        w->outcomes[i] = LOCKED;
    }
}

void reclaim_settle_unwritten_locked(struct reclaim *r, const struct reclaim_worker *w, size_t i)
{
    page_number number = w->batch[i];

    LOCK_ASSERT_HELD(LOCK_PAGER);
    page_set_state(r->table, number, PAGE_FREEZING);
    if (w->outcomes[i] == CLEAN)
        settle_clean_locked(r, number, w->kept[i]);
    else
        settle_changed_locked(r, number, w->kept[i], w->results[i], w->outcomes[i] == WORD);
}

/* ---- pages that cannot be moved ---- */

/* The way back for a page that stays. */
static void unprotect(struct reclaim *r, struct reclaim_worker *w, size_t i)
{
    w->outcomes[i] = r->backend->protect(r->backend, reclaim_address(r, w->batch[i]), 1, false) == 0 ? REFUSED : SHUT;
}

/* Batch entries [@i, @i + @n) are adjacent pages; their contents are read in one go. False: not as a run. */
static bool read_protected(struct reclaim *r, struct reclaim_worker *w, size_t i, size_t n)
{
    uintptr_t addr = reclaim_address(r, w->batch[i]);

    if (r->backend->protect(r->backend, addr, n, true) != 0)
        return false;
    if (reclaim_peek(r, w->pages, w->batch[i], n) == 0)
        return true;
    for (size_t k = i; k < i + n; k++)
        unprotect(r, w, k);
    return false;
}

/* Drop what has an image now, in runs; what cannot be dropped stays. */
static void drop_protected(struct reclaim *r, struct reclaim_worker *w, size_t i, size_t n)
{
    for (size_t end = i + n; i < end;) {
        size_t length = 0;

        while (i + length < end && w->outcomes[i + length] != REFUSED)
            length++;
        if (length == 0) {
            unprotect(r, w, i++);
            continue;
        }
        if (os_mem_discard((void *)reclaim_address(r, w->batch[i]), length * PAGE_BYTES) != 0)
            for (size_t k = i; k < i + length; k++) {
                if (w->outcomes[k] == DONE)
                    store_free(r->store, (store_handle)w->results[k]);
                unprotect(r, w, k);
            }
        i += length;
    }
}

static size_t settle_in_place(struct reclaim *r, struct reclaim_worker *w, size_t i, size_t n)
{
    uintptr_t addr = reclaim_address(r, w->batch[i]);
    size_t n_frozen = 0;

    os_lock_take(&r->lock);
    for (size_t k = i; k < i + n; k++) {
        page_number number = w->batch[k];

        if (w->outcomes[k] != REFUSED && w->outcomes[k] != SHUT) {
            settle_left_locked(r, w, k);
            r->counters.freezes_in_place++;
            n_frozen++;
            continue;
        }
        r->counters.busy_pages++;
        reclaim_enter_stuck_locked(r, number);
        if (w->outcomes[k] == SHUT && r->backend->by_protection)
            page_at(r->table, number)->flags |= PAGE_FLAG_SHUT;
    }
    os_lock_release(&r->lock);
    /* Who waited for leave to write finds the page missing, or writable again. */
    r->backend->wake(r->backend, addr, n);
    os_event_signal(&r->transit_ended);
    return n_frozen;
}

static size_t freeze_run_in_place(struct reclaim *r, struct reclaim_worker *w, size_t i, size_t n)
{
    if (!read_protected(r, w, i, n)) {
        size_t n_frozen = 0;

        if (n == 1)
            return settle_in_place(r, w, i, 1);
        for (size_t k = i; k < i + n; k++)
            n_frozen += freeze_run_in_place(r, w, k, 1);
        return n_frozen;
    }
    for (size_t k = 0; k < n; k++)
        w->outcomes[i + k] = (uint8_t)reclaim_freeze_contents(r, w, i + k, w->pages[k], true);
    drop_protected(r, w, i, n);
    return settle_in_place(r, w, i, n);
}

/*
 * The way for pages that cannot be moved: nobody can write to them while they are copied and compressed, then they are
 * dropped. A page that a device has pinned would lose what the device writes; such pages can be moved (they are
 * refused there, not here), unless the kernel cannot move at all: doc/limits.md.
 */
size_t reclaim_freeze_in_place(struct reclaim *r, struct reclaim_worker *w, size_t n)
{
    size_t n_frozen = 0;

    os_lock_take(&r->lock);
    for (size_t i = 0; i < n; i++)
        reclaim_note_kept_locked(r, w, i, page_at(r->table, w->batch[i])->value);
    os_lock_release(&r->lock);
    for (size_t i = 0; i < n;) {
        size_t length = 1;

        while (i + length < n && space_adjoins(r->space, w->batch[i + length - 1], w->batch[i + length]))
            length++;
        for (size_t k = i; k < i + length; k++)
            w->outcomes[k] = REFUSED;
        n_frozen += freeze_run_in_place(r, w, i, length);
        i += length;
    }
    return n_frozen;
}

static size_t pick_cooled_locked(struct reclaim *r, struct reclaim_worker *w, size_t wanted)
{
    uint64_t cursor = r->limbo.tail;
    size_t n = 0;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    while (n < wanted) {
        page_number number = limbo_next_resting(&r->limbo, r->table, &cursor);

        if (number == PAGE_NONE)
            break;
        w->batch[n] = number;
        w->slots[n] = page_at(r->table, number)->value;
        reclaim_note_kept_locked(r, w, n, page_at(r->table, number)->next);
        page_set_state(r->table, number, PAGE_FREEZING);
        n++;
    }
    r->limbo.n_resting -= n;
    return n;
}

/* Drop the frames of the slots that were compressed, in runs. A frame that cannot be dropped keeps its page. */
static void drop_slots(struct reclaim *r, struct reclaim_worker *w, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t length = 1;

        if (w->outcomes[i] == REFUSED) {
            i++;
            continue;
        }
        while (i + length < n && w->outcomes[i + length] != REFUSED && w->slots[i + length] == w->slots[i] + length)
            length++;
        if (os_mem_release((void *)limbo_address(&r->limbo, w->slots[i]), length * PAGE_BYTES) != 0)
            for (size_t k = i; k < i + length; k++) {
                if (w->outcomes[k] == DONE)
                    store_free(r->store, (store_handle)w->results[k]);
                w->outcomes[k] = REFUSED;
            }
        i += length;
    }
}

/*
 * The contents of the slots into w->pages, a system call for each run. The kernel reads them through its own mapping: a
 * first touch of ours at their new address would cost a walk of the page tables, and under a hypervisor that shadows these a
 * fault, 5 us where it was measured. Where that is refused, *@read is false.
 */
static void read_slots(struct reclaim *r, struct reclaim_worker *w, size_t n, bool *read)
{
    *read = true;
    for (size_t i = 0; i < n && *read;) {
        size_t length = 1;

        while (i + length < n && w->slots[i + length] == w->slots[i] + length)
            length++;
        *read = os_mem_read(w->pages[i], (const void *)limbo_address(&r->limbo, w->slots[i]), length * PAGE_BYTES) == 0;
        i += length;
    }
}

size_t reclaim_freeze(struct reclaim *r, struct reclaim_worker *w, size_t wanted)
{
    size_t n_frozen = 0;
    bool read;
    size_t n;

    os_lock_take(&r->lock);
    reclaim_admit_relock(r);
    n = pick_cooled_locked(r, w, min_size(wanted, RECLAIM_BATCH));
    os_lock_release(&r->lock);
    if (n == 0)
        return 0;
    read_slots(r, w, n, &read);
    for (size_t i = 0; i < n; i++) {
        const void *page = read ? w->pages[i] : (const void *)limbo_address(&r->limbo, w->slots[i]);

        w->outcomes[i] = (uint8_t)reclaim_freeze_contents(r, w, i, page, false);
        if (w->outcomes[i] == REFUSED)
            reclaim_note_pool_full(r);
    }
    drop_slots(r, w, n);
    os_lock_take(&r->lock);
    for (size_t i = 0; i < n; i++) {
        if (w->outcomes[i] == REFUSED) {
            page_set_state(r->table, w->batch[i], PAGE_COOLED);
            r->limbo.n_resting++;
            continue;
        }
        limbo_release(&r->limbo, w->slots[i]);
        n_frozen++;
        settle_left_locked(r, w, i);
    }
    os_lock_release(&r->lock);
    os_event_signal(&r->transit_ended);
    return n_frozen;
}
