/* reclaim_cool.c - the oldest resident pages leave the program's range. See reclaim_freeze.h. */
#include "core/reclaim_freeze.h"

#include "core/log.h"
#include "platform/thread.h"

#include <errno.h>

/*
 * Pages that are locked in RAM are tried again after so long; after twice as long each time that half of them or more would not go: where
 * most of what is resident is locked, each fault would try all of it.
 */
#define STUCK_RETRY_NS ((uint64_t)100 * 1000 * 1000)
#define STUCK_RETRY_MAX_NS (64 * STUCK_RETRY_NS)

void reclaim_enter_stuck_locked(struct reclaim *r, page_number number)
{
    if (r->stuck.n_pages == 0 && r->n_retried == 0)
        r->stuck_retry_ns = os_now_ns() + STUCK_RETRY_NS;
    page_set_state(r->table, number, PAGE_RESIDENT);
    page_at(r->table, number)->flags |= PAGE_FLAG_STUCK;
    queue_push(&r->stuck, r->table, number);
}

static void retry_stuck_locked(struct reclaim *r)
{
    uint64_t now_ns;

    if (r->stuck.n_pages == 0 && r->n_retried == 0)
        return;
    now_ns = os_now_ns();
    if (now_ns < r->stuck_retry_ns)
        return;
    if (r->stuck.n_pages == 0) { /* all have gone, or stay for reasons of their own */
        r->n_retried = 0;
        return;
    }
    if (r->n_retried == 0 || 2 * r->stuck.n_pages < r->n_retried)
        r->stuck_wait_ns = STUCK_RETRY_NS;
    else
        r->stuck_wait_ns = min_size(2 * r->stuck_wait_ns, STUCK_RETRY_MAX_NS);
    r->n_retried = r->stuck.n_pages;
    r->stuck_retry_ns = now_ns + r->stuck_wait_ns;
    while (r->stuck.n_pages > 0) {
        page_number number = r->stuck.oldest;

        queue_remove(&r->stuck, r->table, number);
        page_at(r->table, number)->flags &= ~PAGE_FLAG_STUCK & 15u;
        queue_push(&r->proven, r->table, number);
    }
}

/* Its way out, as far as that is settled beforehand. IN_PLACE: somebody may have written to it since it came in. */
static enum outcome way_of(const struct reclaim *r, const struct page *page)
{
    if (r->backend->by_protection)
        return IN_PLACE;
    if ((page->flags & PAGE_FLAG_SHUT) != 0 && page->value != 0)
        return CLEAN;
    if ((page->flags & PAGE_FLAG_SOLE) != 0 && r->backend->can_extract)
        return EXTRACT;
    return (page->flags & PAGE_FLAG_SHUT) != 0 ? UNWRITTEN : IN_PLACE;
}

/* By address: pages that adjoin move together. */
static void sort_batch(struct reclaim_worker *w, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        page_number number = w->batch[i];
        uint8_t outcome = w->outcomes[i];
        size_t k = i;

        for (; k > 0 && w->batch[k - 1] > number; k--) {
            w->batch[k] = w->batch[k - 1];
            w->outcomes[k] = w->outcomes[k - 1];
        }
        w->batch[k] = number;
        w->outcomes[k] = outcome;
    }
}

/* A walk through a queue, from its oldest page on. */
struct walk {
    struct page_queue *queue;
    page_number next;
    size_t n_left;
    size_t n_found;
};

/* The next page that may leave; PAGE_NONE: there is none. One that a system call holds goes to the young end, not to be looked at again. */
static page_number walk_on_locked(struct reclaim *r, struct walk *walk, bool any_held, uint64_t now_ns)
{
    while (walk->next != PAGE_NONE && walk->n_left-- > 0) {
        page_number number = walk->next;

        walk->next = page_at(r->table, number)->next;
        if (any_held && holds_contain(r->holds, number)) {
            queue_remove(walk->queue, r->table, number);
            queue_push(walk->queue, r->table, number);
        } else if (!streams_protect(&r->streams, number, now_ns)) {
            walk->n_found++;
            return number;
        }
    }
    walk->next = PAGE_NONE;
    return PAGE_NONE;
}

/*
 * Pages to leave into worker->batch, at most @wanted: the oldest fresh ones while there are many, else the oldest of those that have
 * proven to be used again (2Q: Johnson and Shasha, VLDB 1994; here without lists for what has left, history.h). Of those to be
 * compressed at once only @n_stored: somebody may be waiting for a frame.
 */
static size_t find_victims_locked(struct reclaim *r, struct reclaim_worker *w, size_t wanted, size_t n_stored)
{
    uint64_t now_ns = r->streams.protecting ? os_now_ns() : 0;
    bool any_held = holds_any(r->holds);
    struct walk fresh = {.queue = &r->fresh, .next = r->fresh.oldest, .n_left = r->fresh.n_pages};
    struct walk proven = {.queue = &r->proven, .next = r->proven.oldest, .n_left = r->proven.n_pages};
    size_t n = 0;

    while (n < wanted && n_stored > 0) {
        bool many = r->fresh.n_pages - fresh.n_found > r->fresh_target;
        page_number number = walk_on_locked(r, many ? &fresh : &proven, any_held, now_ns);
        enum outcome way;

        if (number == PAGE_NONE)
            number = walk_on_locked(r, many ? &proven : &fresh, any_held, now_ns);
        if (number == PAGE_NONE)
            break;
        way = way_of(r, page_at(r->table, number));
        w->batch[n] = number;
        w->outcomes[n] = (uint8_t)way;
        n_stored -= way == UNWRITTEN || way == EXTRACT;
        n++;
    }
    return n;
}

/* A victim leaves its queue; what is to be known of it at the end of its way is noted. */
static void take_victim_locked(struct reclaim *r, struct reclaim_worker *w, size_t i)
{
    page_number number = w->batch[i];
    const struct page *page = page_at(r->table, number);

    w->shut[i] = (page->flags & PAGE_FLAG_SHUT) != 0;
    if (w->outcomes[i] != IN_PLACE) {
        reclaim_note_kept_locked(r, w, i, page->value);
        if (w->shut[i])
            kept_note_protected_locked(&r->writeback.kept, true);
    }
    if (page_state(page) == PAGE_FRESH)
        history_note(&r->history, number);
    reclaim_leave_locked(r, number);
    page_set_state(r->table, number, PAGE_COOLING);
}

/* Victims, in order of address; those that are to be moved each with a slot. Returns how many. */
static size_t pick_victims_locked(struct reclaim *r, struct reclaim_worker *w, size_t wanted, size_t n_stored)
{
    size_t n_found = find_victims_locked(r, w, wanted, n_stored);
    size_t n = 0;

    sort_batch(w, n_found);
    for (size_t i = 0; i < n_found; i++) {
        bool moves = r->backend->can_move && w->outcomes[i] == IN_PLACE;

        w->batch[n] = w->batch[i];
        w->outcomes[n] = w->outcomes[i];
        w->slots[n] = moves ? limbo_take(&r->limbo, w->batch[i]) : LIMBO_NONE;
        if (moves && w->slots[n] == LIMBO_NONE)
            continue; /* limbo is full */
        take_victim_locked(r, w, n);
        n++;
    }
    return n;
}

static size_t run_length(const struct reclaim_worker *w, size_t from, size_t n)
{
    size_t length = 1;

    while (from + length < n && w->outcomes[from + length] == w->outcomes[from] &&
           w->batch[from + length] == w->batch[from] + length && w->slots[from + length] == w->slots[from] + length)
        length++;
    return length;
}

/* What became of a page that did not move. Only a page that is really not there may be forgotten. */
static enum outcome outcome_of(struct reclaim *r, page_number number, int error)
{
    if (error == -EINVAL)
        return IN_PLACE;
    if (error != -ENOENT)
        return REFUSED;
    if (os_mem_is_present((const void *)reclaim_address(r, number))) {
        reclaim_note_change(r, number, "there, but said to be missing when it was to move");
        return REFUSED;
    }
    reclaim_note_change(r, number, "discarded behind our back");
    return GONE;
}

static void move_victims(struct reclaim *r, struct reclaim_worker *w, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t length = run_length(w, i, n);
        size_t n_moved;
        int error;

        if (w->outcomes[i] != IN_PLACE) {
            i++;
            continue;
        }
        n_moved = reclaim_move_run(r, limbo_address(&r->limbo, w->slots[i]), reclaim_address(r, w->batch[i]),
                                          length, &error);

        for (size_t k = 0; k < n_moved; k++)
            w->outcomes[i++] = DONE;
        if (n_moved == length)
            continue;
        w->outcomes[i] = (uint8_t)outcome_of(r, w->batch[i], error);
        i++;
    }
}

/* The end of cooling for each of the batch. Returns the frames that became free: pages gone, or frozen in place. */
static size_t settle_cooled(struct reclaim *r, struct reclaim_worker *w, size_t n)
{
    size_t n_freed = 0;
    size_t n_in_place = 0;

    os_lock_take(&r->lock);
    r->n_extracting--;
    for (size_t i = 0; i < n; i++) {
        page_number number = w->batch[i];

        if (w->outcomes[i] == DONE) {
            struct page *page = page_at(r->table, number);

            page_set_state(r->table, number, PAGE_COOLED);
            page->next = page->value & PAGE_NONE;
            page->value = w->slots[i];
            r->limbo.n_resting++;
            continue;
        }
        if (w->slots[i] != LIMBO_NONE)
            limbo_release(&r->limbo, w->slots[i]);
        if (w->outcomes[i] == CLEAN || w->outcomes[i] == STORED || w->outcomes[i] == WORD) {
            reclaim_settle_unwritten_locked(r, w, i);
            n_freed++;
        } else if (w->outcomes[i] == GONE) {
            writeback_drop_kept_locked(&r->writeback, page_at(r->table, number)->value);
            page_set_state(r->table, number, PAGE_EMPTY);
            reclaim_uncharge_locked(r, 1);
            n_freed++;
        } else if (w->outcomes[i] == IN_PLACE) {
            page_set_state(r->table, number, PAGE_FREEZING);
            w->batch[n_in_place++] = number;
        } else {
            r->counters.busy_pages++;
            (void)history_recall(&r->history, number); /* it has not left */
            if (w->outcomes[i] == LOCKED)
                reclaim_enter_stuck_locked(r, number);
            else
                reclaim_enter_locked(r, number);
            page_at(r->table, number)->flags |= w->shut[i] ? PAGE_FLAG_SHUT : 0;
        }
    }
    os_lock_release(&r->lock);
    os_event_signal(&r->transit_ended);
    return n_freed + reclaim_freeze_in_place(r, w, n_in_place);
}

size_t reclaim_cool(struct reclaim *r, struct reclaim_worker *w, size_t wanted, size_t n_stored, size_t *n_picked)
{
    size_t n;

    os_lock_take(&r->lock);
    reclaim_admit_locked(r);
    retry_stuck_locked(r);
    n = pick_victims_locked(r, w, min_size(wanted, RECLAIM_BATCH), n_stored);
    r->n_extracting += n > 0;
    os_lock_release(&r->lock);
    *n_picked = n;
    if (n == 0)
        return 0;
    if (r->backend->can_move)
        move_victims(r, w, n);
    reclaim_drop_unwritten(r, w, n);
    reclaim_extract(r, w, n); /* not before: what has been extracted is not there to be dropped */
    return settle_cooled(r, w, n);
}
