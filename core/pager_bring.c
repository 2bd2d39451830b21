/*
 * pager_bring.c - what a page was comes back, and with it what its thread will want next. See pager_fault.h.
 *
 * Pages that come in together are a span: all in transit at once, by the thread that serves the fault.
 */
#include "core/pager_fault.h"

#include "core/log.h"
#include "core/trace.h"
#include "platform/file.h"
#include "platform/thread.h"

#include <errno.h>
#include <stdlib.h>

/* When the system has no frame for a page that a thread waits for. */
#define RETRY_MS 1

static bool can_be_filled(const struct page *page)
{
    const uint32_t fillable = 1u << PAGE_EMPTY | 1u << PAGE_FROZEN | 1u << PAGE_SAME | 1u << PAGE_SWAPPED;

    return (fillable >> page_state(page) & 1) != 0;
}

static page_number step_in_area(struct pager *pager, page_number number, int32_t step)
{
    page_number to = space_step_locked(&pager->space, number, step);

    return to == PAGE_NONE || step > 0 || page_state(page_at(&pager->table, to)) != PAGE_EMPTY ? to : PAGE_NONE;
}

page_number pager_step_in_block(struct pager *pager, page_number number, int32_t step)
{
    int64_t to = (int64_t)number + step;
    page_number low = step > 0 ? number : (page_number)to;
    page_number high = step > 0 ? (page_number)to : number;

    if (!space_is_near(&pager->space, number))
        return step_in_area(pager, number, step);
    if (to < 0 || to >= (int64_t)pager->table.committed_pages)
        return PAGE_NONE;
    for (page_number at = low; at < high; at++)
        if ((page_at(&pager->table, at)->flags & PAGE_FLAG_LAST) != 0)
            return PAGE_NONE;
    /* The end of a block is known, not its beginning: below that, a free page is EMPTY. */
    return step > 0 || page_state(page_at(&pager->table, (page_number)to)) != PAGE_EMPTY ? (page_number)to : PAGE_NONE;
}

/* Pages that are in transit together: @first, @first + @step ... The step is 1 wherever they adjoin. */
struct span {
    page_number first;
    int32_t step;
    size_t n;
};

static page_number nth_page(const struct span *span, size_t n)
{
    return (page_number)((int32_t)span->first + span->step * (int32_t)n);
}

/*
 * Of the pages wanted, those that can come in together: all in limbo, or none. Where they adjoin the span ascends, and their slots
 * with it.
 */
static struct span span_to_bring(struct pager *pager, page_number number, const struct ahead *ahead)
{
    const struct page *page = page_at(&pager->table, number);
    bool cooled = page_state(page) == PAGE_COOLED;
    bool adjoins = abs(ahead->step) == 1;
    struct span span = {.first = number, .step = ahead->step, .n = 1};

    while (span.n < ahead->n) {
        page_number at = pager_step_in_block(pager, number, ahead->step);
        const struct page *next;

        if (at == PAGE_NONE)
            break;
        next = page_at(&pager->table, at);
        if (cooled ? page_state(next) != PAGE_COOLED || (adjoins && next->value != page->value + (uint32_t)ahead->step)
                   : !can_be_filled(next))
            break;
        page = next;
        number = at;
        span.n++;
    }
    if (ahead->step == -1)
        span.first = number;
    if (ahead->step == -1 || span.n == 1)
        span.step = 1;
    return span;
}

/* What a page was before it went into transit, to go back to or to release. */
struct origin {
    enum page_state state;
    uint64_t value; /* handle, word or slot */
};

/* A span on its way in. */
struct run {
    struct origin origins[STREAM_MAX_WINDOW];
    struct fetch images[STREAM_MAX_WINDOW]; /* of those that are SWAPPED */
    bool keeps[STREAM_MAX_WINDOW]; /* its image, as long as the page may be unchanged */
    struct kept_hash hashes[STREAM_MAX_WINDOW];
    size_t n;
    bool all_empty;
    bool any_swapped;
    size_t n_protected; /* of the first ones, which come in closed to writing */
};

static void take_page_locked(struct pager *pager, page_number number, struct run *run)
{
    struct writeback *wb = &pager->reclaim.writeback;
    const struct page *page = page_at(&pager->table, number);
    struct origin *origin = &run->origins[run->n];
    struct fetch *image = &run->images[run->n];

    LOCK_ASSERT_HELD(LOCK_PAGER);
    run->keeps[run->n] = false;
    *origin = (struct origin){.state = page_state(page), .value = page->value};
    image->n_units = 0;
    if (origin->state == PAGE_SAME) {
        origin->value = page_word(page);
    } else if (origin->state == PAGE_FROZEN) {
        writeback_leave_locked(wb, number);
        run->keeps[run->n] = writeback_wants_kept_locked(wb, run->n < run->n_protected, history_has(&pager->reclaim.history, number));
    } else if (origin->state == PAGE_SWAPPED) {
        run->keeps[run->n] = true;
        image->n_units = page->next;
        swap_locate_locked(&wb->swap, page->value, &image->where);
        run->any_swapped = true;
    }
    run->all_empty = run->all_empty && origin->state == PAGE_EMPTY;
    page_set_state(&pager->table, number, PAGE_THAWING);
    run->n++;
}

/* Back to where it was: the value is still in its entry. */
static void return_locked(struct pager *pager, page_number number, const struct origin *origin)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    page_set_state(&pager->table, number, origin->state);
    if (origin->state == PAGE_FROZEN)
        writeback_enter_locked(&pager->reclaim.writeback, number);
}

/* Contents of the run into @w; EMPTY runs need none. Returns how many pages have theirs; *@error: why no more. */
static size_t prepare_contents(struct pager *pager, struct run *run, struct reclaim_worker *w,
                               const void **contents, int *error)
{
    size_t n = run->n;

    *error = 0;
    *contents = run->all_empty ? NULL : w->pages;
    if (run->all_empty)
        return n;
    if (run->any_swapped)
        n = fetch_images(&pager->reclaim.writeback.swap, &pager->store, &w->scratch.reader, run->images, n, w->boxes, w->pages, error);
    for (size_t i = 0; i < n; i++) {
        const struct origin *origin = &run->origins[i];

        if (origin->state == PAGE_FROZEN)
            INVARIANT(store_get(&pager->store, &w->scratch.reader, (store_handle)origin->value, w->pages[i]) == 0);
        else if (origin->state != PAGE_SWAPPED)
            codec_fill(w->pages[i], origin->state == PAGE_SAME ? origin->value : 0);
        if (run->keeps[i])
            run->hashes[i] = i < run->n_protected && origin->state != PAGE_SWAPPED
                                 ? KEPT_NO_HASH
                                 : kept_hash_of(&pager->reclaim.writeback.kept, w->pages[i]);
    }
    return n;
}

/* The image stays with its page, or goes. Its number among the kept ones, or 0. */
static uint32_t keep_image_locked(struct pager *pager, page_number number, const struct run *run, size_t i)
{
    struct writeback *wb = &pager->reclaim.writeback;
    uint32_t handle = (uint32_t)run->origins[i].value;
    uint32_t n_units = run->images[i].n_units;
    bool swapped = run->origins[i].state == PAGE_SWAPPED;
    bool slow = !swapped && store_is_slow(&pager->store, handle);
    uint32_t kept = 0;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (slow)
        cold_note_thaw(&wb->cold, number);
    if (run->keeps[i] && !(slow && cold_comes_back(&wb->cold, number)))
        kept = swapped ? kept_add_locked(&wb->kept, handle, n_units, run->hashes[i])
                       : writeback_keep_locked(wb, handle, run->hashes[i]);
    if (kept == 0 && swapped)
        swap_release_locked(&wb->swap, handle, n_units);
    else if (kept == 0)
        store_free(&pager->store, handle);
    return kept;
}

/* The page is there. Returns the number of its kept image, or 0. */
static uint32_t release_origin_locked(struct pager *pager, page_number number, const struct run *run, size_t i)
{
    struct reclaim_counters *counters = &pager->reclaim.counters;
    const struct origin *origin = &run->origins[i];

    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (origin->state == PAGE_EMPTY)
        counters->first_touches++;
    else
        counters->thaws++;
    if (origin->state == PAGE_SWAPPED || origin->state == PAGE_FROZEN)
        return keep_image_locked(pager, number, run, i);
    return 0;
}

/* The first page of the run cannot be read back: what it was is gone, and whoever touches it must know. */
static void lose_relock(struct pager *pager, page_number number, const struct run *run, int error)
{
    struct reclaim *r = &pager->reclaim;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    swap_release_locked(&r->writeback.swap, (swap_handle)run->origins[0].value, run->images[0].n_units);
    page_set_state(&pager->table, number, PAGE_LOST);
    os_lock_release(&r->lock);
    fetch_complain(&r->writeback.swap, &run->images[0], (void *)reclaim_address(r, number), error);
    os_lock_take(&r->lock);
}

/*
 * How many of the pages of @span come in closed to writing for @fault.
 * - While few of such pages are written: all.
 * - While too many are written: none, but one now and then, for a trial. If the page of the trial is still closed when it leaves, or when
 *   the next trial begins, few pages are written now. (The page may leave a whole turn of the queue later.)
 */
static size_t n_protected_locked(struct pager *pager, const struct fault *fault, const struct span *span, page_number waiting)
{
    struct kept *kept = &pager->reclaim.writeback.kept;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (fault->write || !pager->backend->can_fill_protected || page_state(page_at(&pager->table, waiting)) == PAGE_EMPTY)
        return 0;
    if (!kept_pays_locked(&kept->protecting, span->n))
        return 0;
    if (!kept->protecting.spent)
        return span->n;
    if (kept->tried != 0) {
        const struct page *tried = page_at(&pager->table, kept->tried - 1); /* the table never shrinks */

        if (page_is_resident(tried) && (tried->flags & PAGE_FLAG_SHUT) != 0)
            kept_note_trial_locked(kept);
    }
    kept->tried = span->first + 1;
    return 1;
}

/* Contents of pages [@i, @n) of @span into their places. Returns how many of all are there; *@error: why no more. */
static size_t fill_some(const struct pager *pager, const struct span *span, const void *contents, size_t i, size_t n, bool protect,
                        int *error)
{
    struct fault_backend *backend = pager->backend;

    *error = 0;
    while (i < n && *error == 0) {
        uintptr_t addr = reclaim_address(&pager->reclaim, nth_page(span, i));
        const unsigned char *source = contents != NULL ? (const unsigned char *)contents + i * PAGE_BYTES : NULL;
        size_t n_wanted = span->step == 1 ? n - i : 1;
        size_t n_done;

        *error = backend->fill(backend, addr, source, n_wanted, protect, &n_done);
        if (*error == -ENOENT && n_done == 0 && n_wanted > 1) /* a run across two mappings is refused as a whole */
            *error = backend->fill(backend, addr, source, n_wanted = 1, protect, &n_done);
        i += n_done;
        if (n_wanted == 1 && span->step == 1)
            break;
    }
    return i;
}

static size_t fill_span(const struct pager *pager, const struct span *span, const void *contents, size_t n, size_t n_protected, int *error)
{
    size_t first_part = min_size(n, n_protected);
    size_t n_done = fill_some(pager, span, contents, 0, first_part, true, error);

    return n_done == first_part && *error == 0 ? fill_some(pager, span, contents, n_done, n, false, error) : n_done;
}

/*
 * The pages of @span have frames and are all EMPTY, FROZEN, SAME or SWAPPED; @waiting is the one that a thread needs. The lock is
 * dropped and taken again. Returns the pages brought in, of the first ones; *@error says why the next one was not, -EIO: it was
 * the one that is needed, and is LOST.
 */
static size_t fill_relock(struct pager *pager, const struct fault *fault, const struct span *span, page_number waiting, int *error)
{
    struct reclaim *r = &pager->reclaim;
    struct run run = {.n = 0, .all_empty = true, .n_protected = n_protected_locked(pager, fault, span, waiting)};
    const void *contents;
    size_t n_done = 0;
    size_t n_ready;
    int unread;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    for (size_t i = 0; i < span->n; i++)
        take_page_locked(pager, nth_page(span, i), &run);
    os_lock_release(&r->lock);
    n_ready = prepare_contents(pager, &run, &r->workers[fault->worker], &contents, &unread);
    *error = n_ready > 0 ? 0 : unread;
    if (n_ready > 0)
        n_done = fill_span(pager, span, contents, n_ready, run.n_protected, error);
    os_lock_take(&r->lock);
    for (size_t i = n_done; i < span->n; i++)
        if (i > 0 || n_ready > 0 || span->first != waiting)
            return_locked(pager, nth_page(span, i), &run.origins[i]);
    for (size_t i = 0; i < n_done; i++) {
        page_number number = nth_page(span, i);
        struct page *page = page_at(&pager->table, number);

        page->value = release_origin_locked(pager, number, &run, i);
        reclaim_enter_locked(r, number);
        page->flags |= (i < run.n_protected ? PAGE_FLAG_SHUT : 0) | PAGE_FLAG_SOLE;
    }
    reclaim_uncharge_locked(r, span->n - n_done);
    /* Nobody has asked for one that was read ahead: whoever does will find out. */
    if (n_ready == 0 && span->first == waiting) {
        lose_relock(pager, waiting, &run, unread);
        *error = -EIO;
    }
    return n_done;
}

/*
 * The way back for a page that cannot be moved, because the program has locked its range, say, or because a forked process still shares
 * its frame: copied, then dropped. Nobody can have pinned it here, out of the program's reach.
 * For that moment it takes two frames; the caller has charged the second.
 */
static int copy_back(struct pager *pager, page_number number, limbo_slot slot)
{
    const void *source = (const void *)limbo_address(&pager->reclaim.limbo, slot);
    size_t n_done;
    int error = pager->backend->fill(pager->backend, reclaim_address(&pager->reclaim, number), source, 1, false, &n_done);

    if (error == 0)
        INVARIANT(os_mem_release((void *)(uintptr_t)source, PAGE_BYTES) == 0);
    return error;
}

/* What is in limbo back to its place. Returns how many pages; *@error: why no more. */
static size_t move_span(struct pager *pager, const struct span *span, const limbo_slot *slots, int *error)
{
    struct reclaim *r = &pager->reclaim;
    size_t n_done = 0;

    if (span->step == 1)
        return reclaim_move_run(r, reclaim_address(r, span->first), limbo_address(&r->limbo, slots[0]), span->n, error);
    *error = 0;
    while (n_done < span->n && *error == 0)
        n_done += reclaim_move_run(r, reclaim_address(r, nth_page(span, n_done)),
                                   limbo_address(&r->limbo, slots[n_done]), 1, error);
    return n_done;
}

/* The pages of @span are COOLED. The lock is dropped and taken again. */
static size_t give_back_relock(struct pager *pager, const struct span *span, int *error)
{
    struct reclaim *r = &pager->reclaim;
    limbo_slot slots[STREAM_MAX_WINDOW];
    size_t n_done;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    for (size_t i = 0; i < span->n; i++) {
        slots[i] = page_at(&pager->table, nth_page(span, i))->value;
        page_set_state(&pager->table, nth_page(span, i), PAGE_THAWING);
    }
    r->limbo.n_resting -= span->n;
    os_lock_release(&r->lock);
    n_done = move_span(pager, span, slots, error);
    if ((*error == -EINVAL || *error == -EBUSY) && n_done == 0) {
        reclaim_charge(r, 1);
        *error = copy_back(pager, span->first, slots[0]);
        n_done = *error == 0 ? 1 : 0;
        reclaim_uncharge(r, 1);
    }
    os_lock_take(&r->lock);
    for (size_t i = 0; i < span->n; i++) {
        page_number number = nth_page(span, i);

        if (i < n_done) {
            struct page *page = page_at(&pager->table, number);

            limbo_release(&r->limbo, slots[i]);
            page->value = page->next;
            reclaim_enter_proven_locked(r, number);
            r->counters.soft_faults++;
        } else {
            page_set_state(&pager->table, number, PAGE_COOLED);
            r->limbo.n_resting++;
        }
    }
    return n_done;
}

void pager_wait_for_memory_relock(struct pager *pager, unsigned worker, int error)
{
    struct reclaim *r = &pager->reclaim;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    os_lock_release(&r->lock);
    if (error == -EPERM || error == -EACCES || error == -ENOSYS) {
        log_line(LOG_ERROR, "the system calls that bring memory in are refused: %e; the process ends rather than wait for ever "
                 "(it has entered a sandbox that does not allow them: doc/limits.md)", -error);
        os_abort();
    }
    /* No frame; or, with segv, no mapping: pages that leave give theirs back. */
    if (error != -ENOMEM || reclaim_refill(r, worker) == 0)
        os_sleep_ms(RETRY_MS);
    os_lock_take(&r->lock);
}

/* The first page could not be brought in. Returns true when the fault is settled all the same. */
static bool settle_error_relock(struct pager *pager, unsigned worker, page_number number, int error)
{
    struct reclaim *r = &pager->reclaim;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (error == -EEXIST) {
        /* The program unmapped and mapped, or discarded, behind our back: what is there counts. */
        reclaim_note_change(r, number, "is there already");
        pager_forget_image_locked(pager, number);
        if (page_state(page_at(&pager->table, number)) != PAGE_COOLED) {
            r->charged++;
            page_at(&pager->table, number)->value = 0;
            reclaim_enter_locked(r, number);
        }
        return true;
    }
    if (error == -EIO) /* LOST by now: look at it again */
        return false;
    if (error == -ENOENT) {
        /* The mapping is gone: let the thread find out by itself. */
        reclaim_note_change(r, number, "its mapping is gone");
        pager->backend->wake(pager->backend, reclaim_address(r, number), 1);
        return true;
    }
    pager_wait_for_memory_relock(pager, worker, error);
    return false;
}

bool pager_bring_in_relock(struct pager *pager, const struct fault *fault, page_number number, struct ahead *ahead,
                           bool *exhausted)
{
    struct reclaim *r = &pager->reclaim;
    const struct page *page = page_at(&pager->table, number);
    bool cooled = page_state(page) == PAGE_COOLED;
    struct span span = span_to_bring(pager, number, ahead);
    bool comes_last = span.first != number;
    size_t n_done;
    int error;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (page_state(page) == PAGE_FROZEN)
        pool_prefetch(&pager->store.pool, page->value);
    if (cooled) {
        n_done = give_back_relock(pager, &span, &error);
    } else {
        size_t n = reclaim_grant_relock(r, fault->worker, span.n, exhausted);

        if (n == 0)
            return false;
        if (comes_last)
            span.first += (page_number)(span.n - n);
        span.n = n;
        n_done = fill_relock(pager, fault, &span, number, &error);
    }
    os_event_signal(&r->transit_ended);
    /* Whoever faulted meanwhile on a page that did not come left it to us to wake him. */
    for (size_t i = n_done; i < span.n; i++)
        pager->backend->wake(pager->backend, reclaim_address(r, nth_page(&span, i)), 1);
    if (comes_last && span.n > 1 && n_done < span.n) {
        ahead->n = 1; /* something is in the way: without read-ahead then */
        return false;
    }
    if (n_done == 0 && !settle_error_relock(pager, fault->worker, number, error))
        return false;
    for (size_t i = 0; i < n_done; i++)
        trace_access(nth_page(&span, i), fault->write);
    ahead->n = (uint32_t)max_size(1, n_done);
    return true;
}
