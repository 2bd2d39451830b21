/* pager_fault.c - a touch of a page that is not there: what it was comes back, with what its thread will want next. */
#include "core/pager_fault.h"

#include "core/log.h"
#include "core/trace.h"
#include "platform/file.h"
#include "platform/thread.h"

#include <errno.h>

/* When the system has no frame for a page that a thread waits for. */
#define RETRY_MS 1

static bool can_be_filled(const struct page *page)
{
    const uint32_t fillable = 1u << PAGE_EMPTY | 1u << PAGE_FROZEN | 1u << PAGE_SAME | 1u << PAGE_SWAPPED;

    return (fillable >> page_state(page) & 1) != 0;
}

/* Pages from @first on, at most @wanted, that one operation can bring in together: all in limbo, or none. */
static size_t run_to_bring(const struct pager *pager, page_number first, size_t wanted)
{
    const struct page *page = page_at(&pager->table, first);
    bool cooled = page_state(page) == PAGE_COOLED;
    size_t n = 1;

    while (n < wanted && (page->flags & PAGE_FLAG_LAST) == 0 && first + n < pager->table.committed_pages) {
        const struct page *next = page_at(&pager->table, (page_number)(first + n));

        if (cooled ? page_state(next) != PAGE_COOLED || next->value != page->value + 1 : !can_be_filled(next))
            break;
        page = next;
        n++;
    }
    return n;
}

/* What a page was before it went into transit, to go back to or to release. */
struct origin {
    enum page_state state;
    uint64_t value; /* handle, word or slot */
};

/* A run on its way in. */
struct run {
    struct origin origins[STREAM_MAX_WINDOW];
    struct fetch images[STREAM_MAX_WINDOW]; /* of those that are SWAPPED */
    bool keeps[STREAM_MAX_WINDOW]; /* its image, as long as the page may be unchanged */
    struct kept_hash hashes[STREAM_MAX_WINDOW];
    size_t n;
    bool all_empty;
    bool any_swapped;
    bool protects; /* they come in closed to writing */
};

static void take_page_locked(struct pager *pager, page_number number, struct run *run)
{
    struct writeback *wb = &pager->reclaim.writeback;
    const struct page *page = page_at(&pager->table, number);
    struct origin *origin = &run->origins[run->n];
    struct fetch *image = &run->images[run->n];

    run->keeps[run->n] = false;
    *origin = (struct origin){.state = page_state(page), .value = page->value};
    image->n_units = 0;
    if (origin->state == PAGE_SAME) {
        origin->value = page_word(page);
    } else if (origin->state == PAGE_FROZEN) {
        writeback_leave_locked(wb, number);
        run->keeps[run->n] = writeback_wants_kept_locked(wb, run->protects);
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
        n = fetch_images(&pager->reclaim.writeback.swap, run->images, n, w->boxes, w->pages, error);
    for (size_t i = 0; i < n; i++) {
        const struct origin *origin = &run->origins[i];

        if (origin->state == PAGE_FROZEN)
            INVARIANT(store_get(&pager->store, (store_handle)origin->value, w->pages[i]) == 0);
        else if (origin->state != PAGE_SWAPPED)
            codec_fill(w->pages[i], origin->state == PAGE_SAME ? origin->value : 0);
        if (run->keeps[i])
            run->hashes[i] = run->protects ? KEPT_NO_HASH : kept_hash_of(&pager->reclaim.writeback.kept, w->pages[i]);
    }
    return n;
}

/* The image stays with its page, or goes. Its number among the kept ones, or 0. */
static uint32_t keep_image_locked(struct pager *pager, const struct run *run, size_t i)
{
    struct writeback *wb = &pager->reclaim.writeback;
    uint32_t handle = (uint32_t)run->origins[i].value;
    uint32_t n_units = run->images[i].n_units;
    bool swapped = run->origins[i].state == PAGE_SWAPPED;
    uint32_t kept = 0;

    if (run->keeps[i])
        kept = swapped ? kept_add_locked(&wb->kept, handle, n_units, run->hashes[i])
                       : writeback_keep_locked(wb, handle, run->hashes[i]);
    if (kept == 0 && swapped)
        swap_release_locked(&wb->swap, handle, n_units);
    else if (kept == 0)
        store_free(&pager->store, handle);
    return kept;
}

/* The page is there. Returns the number of its kept image, or 0. */
static uint32_t release_origin_locked(struct pager *pager, const struct run *run, size_t i)
{
    struct reclaim_counters *counters = &pager->reclaim.counters;
    const struct origin *origin = &run->origins[i];

    if (origin->state == PAGE_EMPTY)
        counters->first_touches++;
    else
        counters->thaws++;
    if (origin->state == PAGE_SWAPPED || origin->state == PAGE_FROZEN)
        return keep_image_locked(pager, run, i);
    return 0;
}

/*
 * Are pages that come in for @fault to be closed to writing? While too many of them are written it is a trial, of one page: if it
 * is still closed when the next trial begins, few of those that come in now are written. (It would leave, and say so, a whole
 * turn of the queue later.)
 */
static bool protects_locked(struct pager *pager, const struct fault *fault, page_number first)
{
    struct kept *kept = &pager->reclaim.writeback.kept;

    if (fault->write || !pager->backend->can_fill_protected || page_state(page_at(&pager->table, first)) == PAGE_EMPTY)
        return false;
    if (!kept_pays_locked(&kept->protecting))
        return false;
    if (kept->protecting.left > 0)
        return true;
    if (kept->tried < pager->table.committed_pages && page_state(page_at(&pager->table, kept->tried)) == PAGE_RESIDENT &&
        (page_at(&pager->table, kept->tried)->flags & PAGE_FLAG_SHUT) != 0)
        kept_note_protected_locked(kept, true);
    kept->tried = first;
    return true;
}

/* The first page of the run cannot be read back: what it was is gone, and whoever touches it must know. */
static void lose_locked(struct pager *pager, page_number number, const struct run *run, int error)
{
    struct reclaim *r = &pager->reclaim;

    swap_release_locked(&r->writeback.swap, (swap_handle)run->origins[0].value, run->images[0].n_units);
    page_set_state(&pager->table, number, PAGE_LOST);
    os_lock_release(&r->lock);
    fetch_complain(&r->writeback.swap, &run->images[0], (void *)reclaim_address(r, number), error);
    os_lock_take(&r->lock);
}

/*
 * Pages [@first, @first + @n) have frames and are all EMPTY, FROZEN, SAME or SWAPPED. The lock is dropped and taken
 * again. Returns the pages brought in; *@error says why the next one was not, -EIO: it is LOST.
 */
static size_t fill_locked(struct pager *pager, const struct fault *fault, page_number first, size_t n, int *error)
{
    struct reclaim *r = &pager->reclaim;
    struct fault_backend *backend = pager->backend;
    struct run run = {.n = 0, .all_empty = true, .protects = protects_locked(pager, fault, first)};
    const void *contents;
    size_t n_done = 0;
    size_t n_ready;
    int lost;

    for (size_t i = 0; i < n; i++)
        take_page_locked(pager, (page_number)(first + i), &run);
    os_lock_release(&r->lock);
    n_ready = prepare_contents(pager, &run, &r->workers[fault->worker], &contents, &lost);
    *error = 0;
    if (n_ready > 0)
        *error = backend->fill(backend, reclaim_address(r, first), contents, n_ready, run.protects, &n_done);
    if (*error == -ENOENT && n_done == 0 && n_ready > 1) /* a run across two mappings is refused as a whole */
        *error = backend->fill(backend, reclaim_address(r, first), contents, 1, run.protects, &n_done);
    os_lock_take(&r->lock);
    for (size_t i = n_done; i < n; i++)
        if (i > 0 || n_ready > 0)
            return_locked(pager, (page_number)(first + i), &run.origins[i]);
    for (size_t i = 0; i < n_done; i++) {
        struct page *page = page_at(&pager->table, (page_number)(first + i));

        page->value = release_origin_locked(pager, &run, i);
        reclaim_enter_locked(r, (page_number)(first + i));
        page->flags |= run.protects ? PAGE_FLAG_SHUT : 0;
    }
    reclaim_uncharge_locked(r, n - n_done);
    if (n_ready == 0) {
        lose_locked(pager, first, &run, lost);
        *error = -EIO;
    }
    return n_done;
}

/*
 * The way back for a page that cannot be moved, because the program has locked its range, say: copied, then dropped.
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

/* Pages [@first, @first + @n) are COOLED in adjacent slots. The lock is dropped and taken again. */
static size_t give_back_locked(struct pager *pager, page_number first, size_t n, int *error)
{
    struct reclaim *r = &pager->reclaim;
    limbo_slot slot = page_at(&pager->table, first)->value;
    size_t n_done;

    for (size_t i = 0; i < n; i++)
        page_set_state(&pager->table, (page_number)(first + i), PAGE_THAWING);
    r->limbo.n_resting -= n;
    os_lock_release(&r->lock);
    n_done = reclaim_move_run(r, reclaim_address(r, first), limbo_address(&r->limbo, slot), n, error);
    if (*error == -EINVAL && n_done == 0) {
        reclaim_charge(r, 1);
        *error = copy_back(pager, first, slot);
        n_done = *error == 0 ? 1 : 0;
        reclaim_uncharge(r, 1);
    }
    os_lock_take(&r->lock);
    for (size_t i = 0; i < n; i++) {
        page_number number = (page_number)(first + i);

        if (i < n_done) {
            struct page *page = page_at(&pager->table, number);

            limbo_release(&r->limbo, (limbo_slot)(slot + i));
            page->value = page->next;
            reclaim_enter_locked(r, number);
            r->counters.soft_faults++;
        } else {
            page_set_state(&pager->table, number, PAGE_COOLED);
            r->limbo.n_resting++;
        }
    }
    return n_done;
}

/* The first page could not be brought in. Returns true when the fault is settled all the same. */
static bool settle_error_locked(struct pager *pager, unsigned worker, page_number number, int error)
{
    struct reclaim *r = &pager->reclaim;

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
    os_lock_release(&r->lock);
    if (error == -EPERM || error == -EACCES || error == -ENOSYS) {
        log_line(LOG_ERROR, "the system calls that bring memory in are refused: %e; the process ends rather than wait for ever "
                 "(it has entered a sandbox that does not allow them: README, Limits)", -error);
        os_abort();
    }
    /* No frame; or, with segv, no mapping: pages that leave give theirs back. */
    if (error != -ENOMEM || reclaim_refill(r, worker) == 0)
        os_sleep_ms(RETRY_MS);
    os_lock_take(&r->lock);
    return false;
}

bool pager_bring_in_locked(struct pager *pager, const struct fault *fault, page_number number, uint32_t window,
                           bool *exhausted)
{
    struct reclaim *r = &pager->reclaim;
    const struct page *page = page_at(&pager->table, number);
    bool cooled = page_state(page) == PAGE_COOLED;
    size_t n = run_to_bring(pager, number, window);
    size_t n_done;
    int error;

    if (page_state(page) == PAGE_FROZEN)
        pool_prefetch(&pager->store.pool, page->value);

    if (cooled) {
        n_done = give_back_locked(pager, number, n, &error);
    } else {
        n = reclaim_grant_locked(r, fault->worker, n, exhausted);
        if (n == 0)
            return false;
        n_done = fill_locked(pager, fault, number, n, &error);
    }
    os_event_signal(&r->transit_ended);
    /* Whoever faulted meanwhile on a page that did not come left it to us to wake him. */
    if (n_done < n)
        pager->backend->wake(pager->backend, reclaim_address(r, (page_number)(number + n_done)), n - n_done);
    if (n_done == 0)
        return settle_error_locked(pager, fault->worker, number, error);
    for (size_t i = 0; i < n_done; i++)
        trace_access((page_number)(number + i), fault->write);
    r->counters.read_ahead_pages += n_done - 1;
    streams_ran_to(&r->streams, fault->thread, (page_number)(number + n_done));
    return true;
}

/* The program writes to a page that came in closed to that: its image is of no use any more. False: it is not closed. */
static bool open_to_writing_locked(struct pager *pager, page_number number)
{
    struct reclaim *r = &pager->reclaim;
    struct page *page = page_at(&pager->table, number);
    bool shut = (page->flags & PAGE_FLAG_SHUT) != 0;

    reclaim_open_locked(r, number);
    if (!shut || (page->flags & PAGE_FLAG_SHUT) != 0)
        return false;
    writeback_unkeep_locked(&r->writeback, page);
    r->counters.write_faults++;
    trace_access(number, true);
    return true;
}

/*
 * A fault on a page that is resident as far as we know. Another thread's fault may have brought it in a moment ago. Or
 * the program discarded it by a system call that we did not see: then it reads as zeros. Where pages are shut and not
 * missing, it reads so without a fault.
 */
static void confirm_locked(struct pager *pager, struct fault *fault, page_number number)
{
    struct reclaim *r = &pager->reclaim;
    size_t n_done;
    bool shut;
    int error;

    if (pager->backend->by_protection) {
        if ((page_at(&pager->table, number)->flags & PAGE_FLAG_SHUT) == 0)
            fault->answer = FAULT_WAS_THERE;
        reclaim_open_locked(r, number);
        return;
    }
    if (fault->write && open_to_writing_locked(pager, number))
        return;
    shut = (page_at(&pager->table, number)->flags & PAGE_FLAG_SHUT) != 0;
    reclaim_leave_locked(r, number);
    page_set_state(&pager->table, number, PAGE_MOVING);
    os_lock_release(&r->lock);
    error = pager->backend->fill(pager->backend, reclaim_address(r, number), NULL, 1, false, &n_done);
    if (error == 0)
        reclaim_note_change(r, number, "discarded behind our back, reads as zeros");
    else if (fault->write) /* its protection may have outlived the knowledge of it */
        (void)pager->backend->protect(pager->backend, reclaim_address(r, number), 1, false);
    pager->backend->wake(pager->backend, reclaim_address(r, number), 1);
    os_lock_take(&r->lock);
    reclaim_enter_locked(r, number);
    page_at(&pager->table, number)->flags |= shut && error != 0 && !fault->write ? PAGE_FLAG_SHUT : 0;
    os_event_signal(&r->transit_ended);
}

void pager_release_and_refill(struct reclaim *r, unsigned worker)
{
    bool low = reclaim_is_low_locked(r);

    os_lock_release(&r->lock);
    if (low)
        (void)reclaim_refill(r, worker);
}

void pager_fault(struct pager *pager, struct fault *fault)
{
    struct reclaim *r = &pager->reclaim;
    page_number number = (page_number)((fault->addr - pager->base) >> PAGE_SHIFT);
    uint32_t window = 0;
    bool exhausted = false;
    bool settled = false;

    os_lock_take(&r->lock);
    if (!pager_is_engaged(pager)) { /* engaging failed after all, and nothing is watched any more */
        os_lock_release(&r->lock);
        return;
    }
    r->counters.faults++;
    INVARIANT(fault->addr >= pager->base && number < pager->table.committed_pages);
    while (!settled) {
        reclaim_admit_locked(r);
        switch (page_state(page_at(&pager->table, number))) {
        case PAGE_RESIDENT:
            confirm_locked(pager, fault, number);
            settled = true;
            break;
        case PAGE_THAWING:
            /* Whoever brings it in wakes all who wait for it in the kernel; but who finds it closed to writing came later. */
            if (pager->backend->handle == NULL && !fault->write_protected)
                settled = true;
            else
                reclaim_wait_locked(r);
            break;
        case PAGE_LOST:
            os_lock_release(&r->lock);
            fault->answer = FAULT_LOST;
            if (pager->backend->handle == NULL)
                pager->backend->poison(pager->backend, reclaim_address(r, number), fault->thread);
            return;
        case PAGE_CEDED: /* meanwhile */
            fault->answer = FAULT_WAS_THERE;
            pager->backend->wake(pager->backend, reclaim_address(r, number), 1);
            settled = true;
            break;
        case PAGE_COOLING:
        case PAGE_FREEZING:
        case PAGE_MOVING:
            reclaim_wait_locked(r);
            break;
        default:
            if (window == 0)
                window = streams_fault(&r->streams, fault->thread, number);
            settled = pager_bring_in_locked(pager, fault, number, window, &exhausted);
            break;
        }
    }
    pager_release_and_refill(r, fault->worker);
}
