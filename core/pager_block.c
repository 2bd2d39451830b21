/*
 * pager_block.c - what the heap does to whole blocks: discard and move.
 *
 * See pager.h. These run in threads of the program, which hold none of its memory's pages in transit but the ones that
 * they set so themselves.
 */
#include "core/pager_fault.h"

#include "platform/thread.h"

#include <errno.h>

/* Entries looked at with the lock held once: about 20 us. */
#define CHUNK_PAGES 512
#define CHUNK_SLOTS 64
/* A moved mapping never joins its neighbours again. A thirtieth of vm.max_map_count's default leaves the program its own. */
#define MAX_REMAPS 1000

static void operation_begin(struct pager *pager, struct visit *visit)
{
    struct reclaim *r = &pager->reclaim;

    visit_begin(&pager->visits, visit);
    os_lock_take(&r->lock);
    reclaim_admit_relock(r);
    r->n_operations++;
}

static void operation_end(struct reclaim *r, const struct visit *visit)
{
    os_lock_take(&r->lock);
    r->n_operations--;
    os_lock_release(&r->lock);
    os_event_signal(&r->transit_ended);
    visit_end(visit);
}

/* ---- discard ---- */

struct chunk {
    page_number first; /* of the part of the range that was resident or lost: [first, end) */
    page_number end;
    size_t n_resident;
    size_t n_lost;
    size_t n_slots;
    limbo_slot slots[CHUNK_SLOTS];
};

void pager_forget_image_locked(struct pager *pager, page_number number)
{
    struct writeback *wb = &pager->reclaim.writeback;
    const struct page *page = page_at(&pager->table, number);

    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (page_state(page) == PAGE_FROZEN) {
        writeback_leave_locked(wb, number);
        store_free(&pager->store, page->value);
    } else if (page_state(page) == PAGE_SWAPPED) {
        swap_release_locked(&wb->swap, page->value, page->next);
    }
}

/* Forget one page. False: it does not fit into the chunk, whose list of slots is full, or whose span must not reach it. */
static bool discard_page_locked(struct pager *pager, page_number number, struct chunk *chunk)
{
    struct reclaim *r = &pager->reclaim;
    struct page *page = page_at(&pager->table, number);

    LOCK_ASSERT_HELD(LOCK_PAGER);
    switch (page_state(page)) {
    case PAGE_EMPTY:
        return true;
    case PAGE_CEDED: /* whatever is there is the program's */
        return chunk->first == chunk->end;
    case PAGE_RESIDENT:
    case PAGE_FRESH:
        reclaim_leave_locked(r, number);
        writeback_drop_kept_locked(&r->writeback, page->value);
        chunk->n_resident++;
        if (chunk->first == chunk->end)
            chunk->first = number;
        chunk->end = number + 1;
        break;
    case PAGE_COOLED:
        if (chunk->n_slots == CHUNK_SLOTS)
            return false;
        r->limbo.n_resting--;
        writeback_drop_kept_locked(&r->writeback, page->next);
        chunk->slots[chunk->n_slots++] = page->value;
        break;
    case PAGE_FROZEN:
    case PAGE_SWAPPED:
        pager_forget_image_locked(pager, number);
        break;
    case PAGE_LOST: /* its place may be poisoned */
        chunk->n_lost++;
        if (chunk->first == chunk->end)
            chunk->first = number;
        chunk->end = number + 1;
        break;
    default:
        break;
    }
    page_set_state(&pager->table, number, PAGE_EMPTY);
    return true;
}

/* The RAM of what the chunk forgot. On failure the pages keep their contents, and their frames stay charged. */
static int return_frames(struct pager *pager, const struct chunk *chunk)
{
    struct reclaim *r = &pager->reclaim;
    size_t n_freed = 0;
    int error = 0;

    if (chunk->n_resident + chunk->n_lost > 0) {
        error = reclaim_drop(r, chunk->first, chunk->end - chunk->first);
        n_freed = error == 0 ? chunk->n_resident : 0;
    }
    for (size_t i = 0; i < chunk->n_slots;) {
        size_t length = 1;

        while (i + length < chunk->n_slots && chunk->slots[i + length] == chunk->slots[i] + length)
            length++;
        INVARIANT(os_mem_release((void *)limbo_address(&r->limbo, chunk->slots[i]), length * PAGE_BYTES) == 0);
        i += length;
    }
    os_lock_take(&r->lock);
    for (size_t i = 0; i < chunk->n_slots; i++)
        limbo_release(&r->limbo, chunk->slots[i]);
    reclaim_uncharge_locked(r, n_freed + chunk->n_slots);
    os_lock_release(&r->lock);
    return error;
}

int pager_discard(struct pager *pager, page_number first, size_t n_pages)
{
    struct reclaim *r = &pager->reclaim;
    page_number end = (page_number)(first + n_pages);
    page_number number = first;
    struct visit visit;
    int error = 0;

    if (pager_dormant_begin(pager)) {
        error = os_mem_release((void *)space_address(&pager->space, first), n_pages * PAGE_BYTES);
        pager_dormant_end(pager);
        return error;
    }
    operation_begin(pager, &visit);
    while (number < end) {
        struct chunk chunk = {0};
        page_number stop;
        int result;

        number = pagetable_next_busy(&pager->table, number, end);
        stop = (page_number)min_size(end, (size_t)number + CHUNK_PAGES);
        while (number < stop) {
            if (page_is_in_transit(page_at(&pager->table, number)))
                reclaim_wait_relock(r);
            else if (discard_page_locked(pager, number, &chunk))
                number++;
            else
                break;
        }
        os_lock_release(&r->lock);
        result = return_frames(pager, &chunk);
        error = error != 0 ? error : result;
        os_lock_take(&r->lock);
    }
    os_lock_release(&r->lock);
    operation_end(r, &visit);
    if (pool_wants_compaction(&pager->store.pool))
        os_event_signal(&r->frames_wanted);
    writeback_poke(&r->writeback);
    return error;
}

void pager_settle_relock(struct pager *pager, page_number first, page_number end)
{
    page_number number = first;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    while (number < end && pager->table.n_transit > 0) {
        number = pagetable_next_busy(&pager->table, number, end);
        if (number < end && page_is_in_transit(page_at(&pager->table, number))) {
            reclaim_wait_relock(&pager->reclaim);
            number = first;
        } else {
            number++;
        }
    }
}

/* ---- move ---- */

struct move_job {
    struct pager *pager;
    page_number to;
    page_number from;
    size_t n_pages;
};

/* Once more where an operation may fail for a moment; a page of the program's is at stake. */
#define COPY_ATTEMPTS 10000

/* A page that will not move is copied: into a frame of its own, then the old one is dropped. */
static void copy_page(struct pager *pager, unsigned worker, page_number to, page_number from)
{
    struct reclaim *r = &pager->reclaim;
    unsigned char *buffer = r->workers[worker].pages[0];
    void *source = (void *)reclaim_address(r, from);
    int error = -EAGAIN;
    size_t n_done;

    if (!os_mem_is_present(source))
        return; /* the new page is zeros, as the old one was */
    for (int attempt = 0; error != 0 && attempt < COPY_ATTEMPTS; attempt++) {
        if (attempt > 0)
            os_sleep_ms(1);
        error = reclaim_peek(r, buffer, from, 1);
        if (error == 0)
            error = pager->backend->fill(pager->backend, reclaim_address(r, to), buffer, 1, false, &n_done);
    }
    INVARIANT(error == 0);
    (void)reclaim_drop(r, from, 1);
}

/* Where the backend's operations may be used: the resident pages of the block follow their entries. */
static void move_resident(void *arg, unsigned worker)
{
    struct move_job *job = arg;
    struct pager *pager = job->pager;
    struct reclaim *r = &pager->reclaim;
    size_t i = 0;

    while (i < job->n_pages) {
        page_number to = (page_number)(job->to + i);
        size_t length = 0;
        size_t n_moved;
        int error;

        /* Pages in PAGE_MOVING are ours alone: their entries can be read without the lock. */
        if (i % PAGETABLE_GROUP_PAGES == 0)
            i = pagetable_next_busy(&pager->table, to, (page_number)(job->to + job->n_pages)) - job->to;
        to = (page_number)(job->to + i);
        while (i + length < job->n_pages && page_state(page_at(&pager->table, (page_number)(to + length))) == PAGE_MOVING)
            length++;
        if (length == 0) {
            i++;
            continue;
        }
        n_moved = reclaim_move_run(r, reclaim_address(r, to), reclaim_address(r, (page_number)(job->from + i)), length,
                                   &error);
        i += n_moved;
        if (n_moved < length) {
            copy_page(pager, worker, (page_number)(job->to + i), (page_number)(job->from + i));
            i++;
        }
    }
}

/* The page leaves the queue and the old place; its frame follows later. */
static void unplace_resident_locked(struct pager *pager, page_number to, page_number from)
{
    uint32_t kept = page_at(&pager->table, from)->value;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    reclaim_leave_locked(&pager->reclaim, from);
    page_set_state(&pager->table, from, PAGE_EMPTY);
    page_set_state(&pager->table, to, PAGE_MOVING);
    page_at(&pager->table, to)->value = kept;
}

size_t pager_move_run_locked(struct pager *pager, page_number to, page_number from, size_t most)
{
    size_t n;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    writeback_recall_locked(&pager->reclaim.writeback, from, min_size(most, PAGETABLE_GROUP_PAGES));
    n = pagetable_move_run(&pager->table, to, from, most);

    for (size_t i = 0; i < n; i++) {
        const struct page *page = page_at(&pager->table, (page_number)(to + i));

        if (page_state(page) == PAGE_COOLED)
            limbo_rename(&pager->reclaim.limbo, page->value, (page_number)(to + i));
    }
    writeback_moved_locked(&pager->reclaim.writeback, to, from, n);
    return n;
}

/* All entries of the block. Returns how many of its pages are resident, and now in PAGE_MOVING. */
static size_t move_entries_relock(struct pager *pager, page_number to, page_number from, size_t n_pages)
{
    size_t n_resident = 0;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    for (page_number i = 0; i < n_pages;) {
        const struct page *page = page_at(&pager->table, (page_number)(from + i));

        if (page_is_in_transit(page)) {
            reclaim_wait_relock(&pager->reclaim);
        } else if (page_state(page) == PAGE_EMPTY) {
            i = pagetable_next_busy(&pager->table, (page_number)(from + i + 1), (page_number)(from + n_pages)) - from;
        } else if (page_is_resident(page)) {
            unplace_resident_locked(pager, (page_number)(to + i), (page_number)(from + i));
            n_resident++;
            i++;
        } else {
            i += (page_number)pager_move_run_locked(pager, (page_number)(to + i), (page_number)(from + i), n_pages - i);
        }
    }
    return n_resident;
}

/* A moved mapping never joins its neighbours again. */
static bool may_remap(struct pager *pager)
{
    return atomic_load(&pager->n_remaps) < MAX_REMAPS && atomic_fetch_add(&pager->n_remaps, 1) < MAX_REMAPS;
}

/*
 * The tables of the groups that lie within the block, but for the one that its last page stands in: that has a flag.
 * Returns how many of their pages are resident, and now in PAGE_MOVING. What did not move is left as it was.
 */
static size_t move_groups_relock(struct pager *pager, page_number to, page_number from, size_t n_pages)
{
    page_number first = (page_number)round_up(from, PAGETABLE_GROUP_PAGES);
    page_number end = (page_number)((from + n_pages - 1) / PAGETABLE_GROUP_PAGES * PAGETABLE_GROUP_PAGES);
    size_t n_resident = 0;
    bool moved;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (n_pages < PAGER_MOVE_GROUPS_FROM || (to - from) % PAGETABLE_GROUP_PAGES != 0 || !may_remap(pager))
        return 0;
    pager_settle_relock(pager, first, end);
    writeback_recall_locked(&pager->reclaim.writeback, first, end - first);
    for (page_number i = first; i < end; i++)
        if (page_is_resident(page_at(&pager->table, i))) {
            reclaim_leave_locked(&pager->reclaim, i);
            page_set_state(&pager->table, i, PAGE_MOVING);
        }
    moved = pagetable_move_groups(&pager->table, (page_number)(to + (first - from)), first,
                                  (end - first) / PAGETABLE_GROUP_PAGES) == 0;
    for (page_number i = first; i < end; i++) {
        page_number number = moved ? (page_number)(to + (i - from)) : i;
        const struct page *page = page_at(&pager->table, number);

        if (page_state(page) == PAGE_COOLED)
            limbo_rename(&pager->reclaim.limbo, page->value, number);
        else if (page_state(page) == PAGE_MOVING && moved)
            n_resident++;
        else if (page_state(page) == PAGE_MOVING)
            reclaim_enter_locked(&pager->reclaim, number);
    }
    if (moved)
        writeback_moved_locked(&pager->reclaim.writeback, (page_number)(to + (first - from)), first, end - first);
    return n_resident;
}

/* A lost page is as lost at its new place; the old one must be fit for use again. */
static void unpoison_locked(struct pager *pager, page_number first, size_t n_pages)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (pager->table.n_lost == 0)
        return;
    for (page_number i = first; i < first + n_pages; i++)
        if (page_state(page_at(&pager->table, i)) == PAGE_LOST)
            (void)os_mem_release((void *)reclaim_address(&pager->reclaim, i), PAGE_BYTES);
}

int pager_move(struct pager *pager, page_number to, page_number from, size_t n_pages)
{
    struct reclaim *r = &pager->reclaim;
    struct move_job job = {.pager = pager, .to = to, .from = from, .n_pages = n_pages};
    size_t n_resident;
    struct visit visit;

    if (pager_has_ceded(pager, from, n_pages))
        return -EAGAIN;
    if (pager_dormant_begin(pager)) {
        int error = -EAGAIN;

        if (may_remap(pager))
            error = os_mem_move((void *)space_address(&pager->space, from),
                                (void *)space_address(&pager->space, to), n_pages * PAGE_BYTES);
        pager_dormant_end(pager);
        return error;
    }
    operation_begin(pager, &visit);
    unpoison_locked(pager, from, n_pages);
    pager_take_untouched_locked(pager, from, (page_number)(from + n_pages));
    n_resident = move_groups_relock(pager, to, from, n_pages);
    n_resident += move_entries_relock(pager, to, from, n_pages);
    os_lock_release(&r->lock);
    if (n_resident > 0) {
        pager->backend->run(pager->backend, move_resident, &job, FAULT_JOB_APART);
        os_lock_take(&r->lock);
        for (page_number i = 0; i < n_pages; i++)
            if (page_state(page_at(&pager->table, (page_number)(to + i))) == PAGE_MOVING)
                reclaim_enter_locked(r, (page_number)(to + i));
        os_lock_release(&r->lock);
    }
    operation_end(r, &visit);
    return 0;
}
