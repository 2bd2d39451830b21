/* reclaim.c - see reclaim.h. */
#include "core/reclaim.h"
#include "core/reclaim_freeze.h"

#include "core/log.h"
#include "platform/thread.h"

#include <errno.h>
#include <string.h>

/* Free frames that the background thread keeps: a sixteenth of the limit, at most 4 MiB. None below 64 pages. */
#define MAX_HIGH_FREE 1024
#define MIN_LIMIT_FOR_RESERVE 64
/* Beside pages that do not leave: so many pages at the least, or this part of the limit. An instruction can need four at once. */
#define MIN_BESIDE 16u
#define BESIDE_SHARE 8u
/* Cooled pages: an eighth of the limit, at most 16 MiB. */
#define MAX_COOLED 4096
#define COOLED_SHARE 8
/* Fresh pages: a tenth of the limit. Pages remembered: one and a half times the limit. Source: bench/replacement.txt. */
#define FRESH_SHARE 10
#define HISTORY_HALVES 3
/* Pages that come in while one way of evicting is timed. */
#define MIN_TURN_PAGES 512
/* How often a thread that evicts for itself looks whether the pool wants to be compacted: waking somebody is not free. */
#define REFILLS_A_LOOK 64
/* How long the background thread sleeps when nothing can be evicted. */
#define NOTHING_TO_EVICT_MS 10

static uint32_t slots_for(size_t n_cooled)
{
    /* Twice what rests there, so that holes and pages in transit do not close the ring. */
    return (uint32_t)(2 * n_cooled + FAULT_MAX_WORKERS * RECLAIM_BATCH);
}

static uint32_t remembered_for(size_t limit)
{
    return (uint32_t)min_size(max_size(1, limit * HISTORY_HALVES / 2), PAGE_NONE);
}

/* All that is a share of the limit. */
static void follow_limit(struct reclaim *r, size_t limit)
{
    bool reserve = limit >= MIN_LIMIT_FOR_RESERVE;

    __atomic_store_n(&r->limit, limit, __ATOMIC_RELAXED);
    r->high_free = reserve ? min_size(limit / 16, MAX_HIGH_FREE) : 0;
    __atomic_store_n(&r->cooled_target, reserve ? min_size(limit / COOLED_SHARE, MAX_COOLED) : 0, __ATOMIC_RELAXED);
    r->fresh_target = limit / FRESH_SHARE;
    __atomic_store_n(&r->direct_batch, min_size(RECLAIM_DIRECT_BATCH, max_size(1, limit / 8)), __ATOMIC_RELAXED);
    r->low_free = r->high_free / 2;
    r->direct_free = min_size(r->low_free, STREAM_MAX_WINDOW);
    /* A turn's first half takes the background thread's reserve up. */
    if (r->way_is_fixed || !reserve)
        duel_fix(&r->duel, r->way_is_fixed ? r->duel.way : RECLAIM_DIRECT);
    else
        duel_init(&r->duel, max_size(MIN_TURN_PAGES, 2 * r->high_free));
}

int reclaim_init(struct reclaim *r, struct space *space, struct pagetable *table, struct store *store,
                 struct fault_backend *backend, struct holds *holds, size_t limit)
{
    size_t workers_bytes = round_up(FAULT_MAX_WORKERS * sizeof(struct reclaim_worker), PAGE_BYTES);
    int error;

    *r = (struct reclaim){
        .lock = {.rank = LOCK_PAGER},
        .space = space,
        .table = table,
        .store = store,
        .backend = backend,
        .holds = holds,
        .allowed = limit,
    };
    follow_limit(r, limit);
    queue_init(&r->fresh);
    queue_init(&r->proven);
    queue_init(&r->stuck);
    streams_init(&r->streams, limit);
    (void)history_init(&r->history, remembered_for(limit)); /* without: FIFO */
    error = os_mem_map(workers_bytes, (void **)&r->workers);
    if (error != 0)
        return error;
    error = limbo_init(&r->limbo, slots_for(r->cooled_target), slots_for(MAX_COOLED));
    if (error != 0) /* address space is short: a larger limit will not have more */
        error = limbo_init(&r->limbo, slots_for(r->cooled_target), slots_for(r->cooled_target));
    for (unsigned i = 0; i < FAULT_MAX_WORKERS && error == 0; i++)
        error = codec_init(&r->workers[i].scratch.codec);
    if (error != 0)
        os_mem_unmap(r->workers, workers_bytes);
    return error;
}

void reclaim_set_limit_locked(struct reclaim *r, size_t limit)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    follow_limit(r, limit);
    r->allowed = max_size(limit, r->charged);
    streams_resize(&r->streams, limit);
    history_resize(&r->history, remembered_for(limit));
    (void)reclaim_grow_limbo_locked(r);
}

bool reclaim_grow_limbo_locked(struct reclaim *r)
{
    size_t wanted = r->high_free > 0 ? min_size(r->limit / COOLED_SHARE, MAX_COOLED) : 0;
    bool done = limbo_grow(&r->limbo, slots_for(wanted));

    LOCK_ASSERT_HELD(LOCK_PAGER);
    __atomic_store_n(&r->cooled_target, min_size(wanted, (r->limbo.n_slots - slots_for(0)) / 2), __ATOMIC_RELAXED);
    return done;
}

void reclaim_free_way_locked(struct reclaim *r)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    r->way_is_fixed = false;
    follow_limit(r, r->limit);
    (void)reclaim_grow_limbo_locked(r);
}

void reclaim_fix_way_locked(struct reclaim *r, enum reclaim_way way)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    r->way_is_fixed = true;
    duel_fix(&r->duel, way);
}

/* ---- the budget ---- */

static void charge_locked(struct reclaim *r, size_t n_pages)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    r->charged += n_pages;
    if (r->charged <= r->charged_peak)
        return;
    r->charged_peak = r->charged;
    if (r->charged > r->allowed && r->charged - r->allowed > r->exceeded_peak)
        r->exceeded_peak = r->charged - r->allowed;
}

/*
 * Beside pages that do not leave there is room for others, however many those are: else each page that comes in would be the next to
 * leave.
 */
static size_t limit_locked(const struct reclaim *r)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    return r->stuck.n_pages == 0 ? r->limit : max_size(r->limit, r->stuck.n_pages + max_size(MIN_BESIDE, r->limit / BESIDE_SHARE));
}

static size_t free_frames_locked(const struct reclaim *r)
{
    size_t limit = limit_locked(r);

    LOCK_ASSERT_HELD(LOCK_PAGER);
    return r->charged < limit ? limit - r->charged : 0;
}

/* Its part of the reserve is low; or the limit has yielded, whoever evicts, and the excess must not wait for a next fault. */
static bool background_is_wanted_locked(const struct reclaim *r)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (r->high_free == 0)
        return false;
    return r->charged > limit_locked(r) || (r->duel.way == RECLAIM_BACKGROUND && free_frames_locked(r) < r->low_free);
}

/* Pages for the background thread to evict now. */
static size_t background_share_locked(const struct reclaim *r)
{
    size_t n_free = free_frames_locked(r);

    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (r->duel.way == RECLAIM_BACKGROUND)
        return n_free < r->high_free ? min_size(RECLAIM_BATCH, r->high_free - n_free) : 0;
    return r->high_free > 0 && r->charged > limit_locked(r) ? min_size(RECLAIM_BATCH, r->charged - limit_locked(r)) : 0;
}

void reclaim_uncharge_locked(struct reclaim *r, size_t n_pages)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    INVARIANT(r->charged >= n_pages);
    r->charged -= n_pages;
    if (r->allowed > r->limit)
        r->allowed = max_size(r->limit, min_size(r->allowed, r->charged));
}

void reclaim_adopt_locked(struct reclaim *r)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    r->charged++;
}

void reclaim_charge(struct reclaim *r, size_t n_pages)
{
    os_lock_take(&r->lock);
    charge_locked(r, n_pages);
    if (background_is_wanted_locked(r))
        os_event_signal(&r->frames_wanted);
    os_lock_release(&r->lock);
}

void reclaim_uncharge(struct reclaim *r, size_t n_pages)
{
    os_lock_take(&r->lock);
    reclaim_uncharge_locked(r, n_pages);
    os_lock_release(&r->lock);
}

void reclaim_wait_relock(struct reclaim *r)
{
    uint32_t ticket = os_event_ticket(&r->transit_ended);

    LOCK_ASSERT_HELD(LOCK_PAGER);
    os_lock_release(&r->lock);
    os_event_wait(&r->transit_ended, ticket, -1);
    os_lock_take(&r->lock);
}

void reclaim_admit_relock(struct reclaim *r)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    while (r->paused)
        reclaim_wait_relock(r);
}

static size_t evict_direct(struct reclaim *r, unsigned worker)
{
    size_t n_evicted = reclaim_evict(r, worker, __atomic_load_n(&r->direct_batch, __ATOMIC_RELAXED));

    __atomic_add_fetch(&r->counters.reclaimed_direct, n_evicted, __ATOMIC_RELAXED);
    return n_evicted;
}

/* Images for which there was no memory, so far. */
static uint64_t n_pool_full(const struct reclaim *r)
{
    return __atomic_load_n(&r->counters.pool_full, __ATOMIC_RELAXED);
}

static uint64_t n_came_in_locked(const struct reclaim *r)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    return r->counters.thaws + r->counters.first_touches + r->counters.soft_faults;
}

/* Evict, or wait for somebody who does. The lock is dropped meanwhile. False: nothing resident can leave. */
static bool make_room_relock(struct reclaim *r, unsigned worker)
{
    uint64_t n_before = n_came_in_locked(r);
    uint64_t n_full = n_pool_full(r);
    size_t n_evicted;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    os_lock_release(&r->lock);
    n_evicted = evict_direct(r, worker);
    os_lock_take(&r->lock);
    if (n_evicted > 0 || free_frames_locked(r) > 0 || r->paused)
        return true;
    if (n_pool_full(r) != n_full) /* those whose transit ends will find no memory either */
        return false;
    /* What was on its way in then may be evicted now. */
    if (n_came_in_locked(r) != n_before)
        return true;
    /* A block that is being freed gives its frames back at the end. */
    if (r->table->n_transit == 0 && r->n_operations == 0)
        return false;
    reclaim_wait_relock(r);
    return true;
}

size_t reclaim_grant_relock(struct reclaim *r, unsigned worker, size_t wanted, bool *exhausted)
{
    size_t n_free = free_frames_locked(r);
    size_t n_granted;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (n_free == 0 && !*exhausted) {
        *exhausted = !make_room_relock(r, worker);
        return 0;
    }
    /* Everything resident is pinned, locked, or just about to be used: the limit yields, never the data. */
    n_granted = min_size(wanted, max_size(n_free, 1));
    *exhausted = false;
    charge_locked(r, n_granted);
    if (!r->duel.fixed)
        duel_count(&r->duel, n_granted, os_now_ns());
    if (background_is_wanted_locked(r))
        os_event_signal(&r->frames_wanted);
    return n_granted;
}

bool reclaim_is_low_locked(const struct reclaim *r)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    return r->duel.way == RECLAIM_DIRECT && free_frames_locked(r) < r->direct_free && !r->paused;
}

size_t reclaim_refill(struct reclaim *r, unsigned worker)
{
    size_t n_evicted = evict_direct(r, worker);

    if (__atomic_add_fetch(&r->n_refills, 1, __ATOMIC_RELAXED) % REFILLS_A_LOOK == 0 && pool_wants_compaction(&r->store->pool))
        os_event_signal(&r->frames_wanted);
    return n_evicted;
}

static void enter_as_locked(struct reclaim *r, page_number number, bool proven)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    page_set_state(r->table, number, proven ? PAGE_RESIDENT : PAGE_FRESH);
    queue_push(proven ? &r->proven : &r->fresh, r->table, number);
}

void reclaim_enter_locked(struct reclaim *r, page_number number)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    enter_as_locked(r, number, history_recall(&r->history, number));
}

void reclaim_enter_proven_locked(struct reclaim *r, page_number number)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    (void)history_recall(&r->history, number);
    enter_as_locked(r, number, true);
}

void reclaim_age_locked(struct reclaim *r, page_number number)
{
    struct page *page = page_at(r->table, number);
    struct page_queue *queue = page_state(page) == PAGE_FRESH ? &r->fresh : &r->proven;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    queue_remove((page->flags & PAGE_FLAG_STUCK) != 0 ? &r->stuck : queue, r->table, number);
    page->flags &= ~PAGE_FLAG_STUCK & 15u; /* what would not leave may do so now */
    if (page_state(page) != PAGE_FRESH)
        page_set_state(r->table, number, PAGE_FRESH);
    queue_push_oldest(&r->fresh, r->table, number);
}

void reclaim_leave_locked(struct reclaim *r, page_number number)
{
    struct page *page = page_at(r->table, number);
    struct page_queue *queue = page_state(page) == PAGE_FRESH ? &r->fresh : &r->proven;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    queue_remove((page->flags & PAGE_FLAG_STUCK) != 0 ? &r->stuck : queue, r->table, number);
    page->flags &= ~(PAGE_FLAG_STUCK | PAGE_FLAG_SHUT | PAGE_FLAG_SOLE) & 15u;
}

/* ---- protections ---- */

int reclaim_drop(struct reclaim *r, page_number first, size_t n_pages)
{
    uintptr_t addr = reclaim_address(r, first);
    int error = r->backend->by_protection ? r->backend->protect(r->backend, addr, n_pages, true) : 0;

    return error != 0 ? error : os_mem_release((void *)addr, n_pages * PAGE_BYTES);
}

int reclaim_peek(struct reclaim *r, void *buffer, page_number first, size_t n_pages)
{
    uintptr_t addr = reclaim_address(r, first);

    return r->backend->peek != NULL ? r->backend->peek(r->backend, buffer, addr, n_pages)
                                    : os_mem_peek(buffer, (const void *)addr, n_pages * PAGE_BYTES);
}

int reclaim_open_locked(struct reclaim *r, page_number number)
{
    struct page *page = page_at(r->table, number);
    int error;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    if ((page->flags & PAGE_FLAG_SHUT) == 0)
        return 0;
    error = r->backend->protect(r->backend, reclaim_address(r, number), 1, false);
    if (error != 0)
        return error;
    page->flags &= ~PAGE_FLAG_SHUT & 15u;
    if (!r->backend->by_protection)
        kept_note_protected_locked(&r->writeback.kept, false);
    return 0;
}

/* A page in transit may leave as it is because nobody can write to it. A ceded one may lie in a mapping of another kind. */
static bool may_be_opened(const struct page *page)
{
    return !page_is_in_transit(page) && page_state(page) != PAGE_CEDED;
}

void reclaim_open_around_locked(struct reclaim *r, page_number number)
{
    page_number low = number - number % RECLAIM_OPENED_PAGES;
    page_number high = (page_number)min_size(pagetable_end(r->table), (size_t)low + RECLAIM_OPENED_PAGES);
    page_number first = number;
    page_number end = number + 1;
    bool any = false;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    while (first > low && may_be_opened(page_at(r->table, first - 1)))
        first--;
    while (end < high && may_be_opened(page_at(r->table, end)))
        end++;
    for (page_number at = first; at < end; at++) {
        struct page *page = page_at(r->table, at);

        if (!page_is_resident(page) || (page->flags & PAGE_FLAG_SHUT) == 0)
            continue;
        page->flags &= ~PAGE_FLAG_SHUT & 15u;
        any = true;
    }
    /*
     * A run across two mappings is refused as a whole by older kernels, and where one of them is gone; it may be done in part. A page
     * that cannot be opened by itself either has no mapping of ours, and so nothing to open.
     */
    if (any && r->backend->protect(r->backend, reclaim_address(r, first), end - first, false) != 0)
        for (page_number at = first; at < end; at++)
            if (page_is_resident(page_at(r->table, at)))
                (void)r->backend->protect(r->backend, reclaim_address(r, at), 1, false);
}

static void clear_flag_of_all_locked(struct reclaim *r, unsigned flag)
{
    const struct page_queue *queues[] = {&r->fresh, &r->proven, &r->stuck};

    LOCK_ASSERT_HELD(LOCK_PAGER);
    for (unsigned i = 0; i < sizeof queues / sizeof queues[0]; i++)
        for (page_number number = queues[i]->oldest; number != PAGE_NONE; number = page_at(r->table, number)->next)
            page_at(r->table, number)->flags &= ~flag & 15u;
}

void reclaim_share_all_locked(struct reclaim *r)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (r->backend->can_extract)
        clear_flag_of_all_locked(r, PAGE_FLAG_SOLE);
}

void reclaim_fork_child(struct reclaim *r)
{
    memset(r->waited, 0, sizeof r->waited); /* it has not waited yet */
    if (!r->backend->by_protection)
        clear_flag_of_all_locked(r, PAGE_FLAG_SHUT);
}

void reclaim_await_extraction_relock(struct reclaim *r)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    while (r->n_extracting > 0)
        reclaim_wait_relock(r);
}

/* ---- moving pages ---- */

size_t reclaim_move_run(struct reclaim *r, uintptr_t dst, uintptr_t src, size_t n_pages, int *error)
{
    size_t n_moved = 0;
    bool unshared = false;

    *error = 0;
    while (n_moved < n_pages) {
        uintptr_t from = src + n_moved * PAGE_BYTES;
        size_t n_done;
        int result = r->backend->move(r->backend, dst + n_moved * PAGE_BYTES, from,
                                      unshared ? 1 : n_pages - n_moved, &n_done);

        n_moved += n_done;
        if (result == 0 || n_done > 0) {
            unshared = false;
            continue;
        }
        /* Shared with a forked child, or once so and not written since: make it ours alone, then it moves. That is a write. */
        if (result == -EBUSY && !unshared && r->backend->protect(r->backend, from, 1, false) == 0 &&
            os_mem_unshare((void *)from, PAGE_BYTES) == 0) {
            unshared = true;
            continue;
        }
        /* A run across the border of two mappings is refused as a whole: go on page by page. */
        if (result == -EINVAL && !unshared && n_pages - n_moved > 1) {
            unshared = true;
            continue;
        }
        *error = result;
        break;
    }
    return n_moved;
}

void reclaim_note_change(struct reclaim *r, page_number number, const char *what)
{
    log_sparsely(LOG_EVENT, &r->counters.outside_changes, "page %p: %s", (void *)reclaim_address(r, number), what);
}

/* ---- evicting ---- */

size_t reclaim_evict(struct reclaim *r, unsigned worker, size_t wanted)
{
    struct reclaim_worker *w = &r->workers[worker];
    uint64_t n_full = n_pool_full(r);
    size_t n_freed = 0;
    size_t n_left = __atomic_load_n(&r->limit, __ATOMIC_RELAXED); /* pages to try: once round the queue, whatever refuses to move */
    size_t cooled_target = __atomic_load_n(&r->cooled_target, __ATOMIC_RELAXED);

    writeback_throttle(&r->writeback);
    /* Fill limbo first, so that what is compressed had its second chance. */
    while (n_left > 0 && n_freed < wanted) {
        size_t n_resting;
        size_t n_picked;

        os_lock_take(&r->lock);
        n_resting = r->limbo.n_resting;
        os_lock_release(&r->lock);
        if (n_resting >= cooled_target + wanted)
            break;
        n_freed += reclaim_cool(r, w, cooled_target + wanted - n_resting, wanted, &n_picked);
        if (n_picked == 0)
            break;
        /* Others will hardly find room either, and each would be compressed to see. They are tried next time. */
        if (n_freed == 0 && n_pool_full(r) != n_full)
            break;
        n_left -= min_size(n_left, n_picked);
    }
    /* What rests in limbo grows old also while only clean pages leave. */
    n_freed += reclaim_freeze(r, w, n_freed < wanted ? wanted - n_freed : n_freed / COOLED_SHARE);
    writeback_poke(&r->writeback);
    return n_freed;
}

/* ---- the background thread ---- */

/* Nothing can be evicted. Where the limit yields meanwhile, it does not help to be called for each page that comes in. */
static void rest(struct reclaim *r, uint32_t ticket)
{
    bool yields;

    os_lock_take(&r->lock);
    yields = r->charged > limit_locked(r);
    os_lock_release(&r->lock);
    if (yields)
        os_sleep_ms(NOTHING_TO_EVICT_MS);
    else
        os_event_wait(&r->frames_wanted, ticket, NOTHING_TO_EVICT_MS);
}

void reclaim_background(struct reclaim *r, unsigned worker)
{
    for (;;) {
        uint32_t ticket = os_event_ticket(&r->frames_wanted);
        size_t n_wanted;

        if (r->on_wake != NULL)
            r->on_wake(r->on_wake_arg, worker);
        os_lock_take(&r->lock);
        n_wanted = background_share_locked(r);
        os_lock_release(&r->lock);
        if (n_wanted > 0) {
            size_t n_evicted = reclaim_evict(r, worker, n_wanted);

            __atomic_add_fetch(&r->counters.reclaimed_background, n_evicted, __ATOMIC_RELAXED);
            if (n_evicted == 0)
                rest(r, ticket);
            continue;
        }
        writeback_serve_cold(&r->writeback);
        if (pool_wants_compaction(&r->store->pool))
            reclaim_compact(r);
        os_event_wait(&r->frames_wanted, ticket, -1);
    }
}
