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

/* Of those that would be spared one in so many leaves; and a batch spares so many for each that leaves. Source: bench/replacement.txt. */
#define BARE_LEAVING 32u
#define SPARED_EACH 8u
/* After a fill the next victim is looked for among the proven once so many in a row were spared. */
#define SPARED_TO_TURN 4u
#define FRESH_AFTER_FILL 3u /* times their target: more than there are once pages come in again */

void reclaim_enter_stuck_locked(struct reclaim *r, page_number number)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (r->stuck.n_pages == 0 && r->n_retried == 0)
        r->stuck_retry_ns = os_now_ns() + STUCK_RETRY_NS;
    history_forget(&r->history, number); /* it has not left */
    if (page_state(page_at(r->table, number)) != PAGE_RESIDENT)
        page_set_state(r->table, number, PAGE_RESIDENT);
    page_at(r->table, number)->flags |= PAGE_FLAG_STUCK;
    queue_push(&r->stuck, r->table, number);
}

static void retry_stuck_locked(struct reclaim *r)
{
    uint64_t now_ns;

    LOCK_ASSERT_HELD(LOCK_PAGER);
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

/* An image is still to be made when it leaves. (One that came in unprotected and was written since needs one too: nobody knows.) */
static bool is_bare(const struct page *page)
{
    return page->value == 0;
}

/* A walk through a queue, from its oldest page on. */
struct walk {
    struct page_queue *queue;
    page_number next; /* PAGE_NONE: it is over */
    size_t n_left;
    size_t n_found;
};

/* The search for the victims of one batch. */
struct hunt {
    struct walk fresh;
    struct walk proven;
    bool any_held;
    bool tidied;
    bool after_fill;   /* there are very many fresh ones */
    size_t n_to_spare; /* pages without an image, so many at the most */
    size_t n_spared;   /* in a row */
    uint64_t now_ns;
};

static struct walk walk_of(struct page_queue *queue)
{
    return (struct walk){.queue = queue, .next = queue->oldest, .n_left = queue->n_pages};
}

/*
 * Are pages without an image, which would have to be compressed, spared as victims?
 * - Only while the room for kept images is taken. Pages that have an image leave in their place and make room; otherwise every page that
 *   came in would be compressed in its turn.
 * - Not when pages without an image are found to be used less than the others. One in BARE_LEAVING leaves all the same, so
 *   that this is known.
 */
static bool spares_bare_locked(const struct reclaim *r)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    return writeback_kept_is_full_locked(&r->writeback) && !history_bare_are_idle(&r->history);
}

static struct hunt hunt_begin_locked(struct reclaim *r, size_t n_to_spare)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    return (struct hunt){
        .fresh = walk_of(&r->fresh),
        .proven = walk_of(&r->proven),
        .any_held = holds_any(r->holds),
        .after_fill = r->fresh.n_pages > FRESH_AFTER_FILL * max_size(1, r->fresh_target),
        .n_to_spare = n_to_spare,
        .now_ns = r->streams.protecting ? os_now_ns() : 0,
    };
}

/* The oldest fresh pages while there are many, else the oldest of those that have proven to be used again. NULL: both walks are over. */
static struct walk *queue_to_hunt(const struct reclaim *r, struct hunt *hunt)
{
    bool many = r->fresh.n_pages - hunt->fresh.n_found > r->fresh_target;
    /* A fill leaves fresh ones alone, and none of them has an image. */
    bool in_fresh = many && !(hunt->after_fill && hunt->n_spared >= SPARED_TO_TURN);

    if (hunt->fresh.next == PAGE_NONE && hunt->proven.next == PAGE_NONE)
        return NULL;
    if (hunt->proven.next == PAGE_NONE || (in_fresh && hunt->fresh.next != PAGE_NONE))
        return &hunt->fresh;
    return &hunt->proven;
}

static page_number walk_on(const struct reclaim *r, struct walk *walk)
{
    page_number number = walk->next;

    walk->next = --walk->n_left > 0 ? page_at(r->table, number)->next : PAGE_NONE;
    return number;
}

static bool is_spared_locked(struct reclaim *r, struct hunt *hunt, page_number number)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (hunt->n_to_spare == 0 || !is_bare(page_at(r->table, number)) || ++r->n_bare_met % BARE_LEAVING == 0)
        return false;
    hunt->n_to_spare--;
    hunt->n_spared++;
    return true;
}

/* Nor do those hold it that have ended since. */
static bool is_held_locked(const struct reclaim *r, struct hunt *hunt, page_number number)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (!hunt->any_held || !holds_contain(r->holds, number))
        return false;
    if (hunt->tidied || r->holds->tidy == NULL)
        return true;
    hunt->tidied = true;
    r->holds->tidy();
    return holds_contain(r->holds, number);
}

/* The next page that may leave; PAGE_NONE: there is none. One that is held or spared goes to the young end of its queue. */
static page_number hunt_on_locked(struct reclaim *r, struct hunt *hunt)
{
    struct walk *walk;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    while ((walk = queue_to_hunt(r, hunt)) != NULL) {
        page_number number = walk_on(r, walk);

        if (r->locked != NULL && marks_has(r->locked, number)) {
            queue_remove(walk->queue, r->table, number);
            reclaim_enter_stuck_locked(r, number);
            continue;
        }
        if (streams_protect(&r->streams, number, hunt->now_ns))
            continue;
        if (!is_held_locked(r, hunt, number) && !is_spared_locked(r, hunt, number)) {
            hunt->n_spared = 0;
            walk->n_found++;
            return number;
        }
        queue_remove(walk->queue, r->table, number);
        queue_push(walk->queue, r->table, number);
    }
    return PAGE_NONE;
}

/*
 * Pages to leave into worker->batch, at most @wanted (2Q: Johnson and Shasha, VLDB 1994; here without lists for what has left,
 * history.h). Of those to be compressed at once only @n_stored: somebody may be waiting for a frame.
 */
static size_t find_victims_locked(struct reclaim *r, struct reclaim_worker *w, size_t wanted, size_t n_stored)
{
    size_t n_to_spare = spares_bare_locked(r) ? SPARED_EACH * wanted : 0;
    struct hunt hunt = hunt_begin_locked(r, n_to_spare);
    size_t n = 0;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    while (n < wanted && n_stored > 0) {
        page_number number = hunt_on_locked(r, &hunt);
        enum outcome way;

        if (number == PAGE_NONE && n == 0 && n_to_spare > 0) { /* there may be none but those that were spared */
            n_to_spare = 0;
            hunt = hunt_begin_locked(r, 0);
            continue;
        }
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

    LOCK_ASSERT_HELD(LOCK_PAGER);
    w->shut[i] = (page->flags & PAGE_FLAG_SHUT) != 0;
    if (w->outcomes[i] != IN_PLACE) {
        reclaim_note_kept_locked(r, w, i, page->value);
        if (w->shut[i] && number + 1 == r->writeback.kept.tried)
            kept_note_trial_locked(&r->writeback.kept);
        else if (w->shut[i])
            kept_note_protected_locked(&r->writeback.kept, true);
    }
    history_note(&r->history, number, (page_state(page) == PAGE_FRESH ? HISTORY_FRESH : 0) | (is_bare(page) ? HISTORY_BARE : 0));
    reclaim_leave_locked(r, number);
    page_set_state(r->table, number, PAGE_COOLING);
}

/* Victims, in order of address; those that are to be moved each with a slot. Returns how many. */
static size_t pick_victims_locked(struct reclaim *r, struct reclaim_worker *w, size_t wanted, size_t n_stored)
{
    size_t n_found = find_victims_locked(r, w, wanted, n_stored);
    size_t n = 0;

    LOCK_ASSERT_HELD(LOCK_PAGER);
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

static size_t run_length(const struct reclaim *r, const struct reclaim_worker *w, size_t from, size_t n)
{
    size_t length = 1;

    while (from + length < n && w->outcomes[from + length] == w->outcomes[from] &&
           space_adjoins(r->space, w->batch[from + length - 1], w->batch[from + length]) &&
           w->slots[from + length] == w->slots[from] + length)
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

/*
 * The kernel has filled the slot, which is the page's alone: where the program locks all that the process has. If the page is still in
 * its place, what is in the slot is nothing.
 */
static void clear_slot(struct reclaim *r, page_number number, limbo_slot slot)
{
    if (os_mem_is_present((const void *)reclaim_address(r, number)))
        (void)os_mem_release((void *)limbo_address(&r->limbo, slot), PAGE_BYTES);
}

static void move_victims(struct reclaim *r, struct reclaim_worker *w, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t length = run_length(r, w, i, n);
        size_t n_moved;
        int error;

        if (w->outcomes[i] != IN_PLACE) {
            i++;
            continue;
        }
        n_moved = reclaim_move_run(r, limbo_address(&r->limbo, w->slots[i]), reclaim_address(r, w->batch[i]),
                                          length, &error);
        if (error == -EEXIST)
            clear_slot(r, w->batch[i + n_moved], w->slots[i + n_moved]);
        if (error == -EEXIST)
            n_moved += reclaim_move_run(r, limbo_address(&r->limbo, w->slots[i + n_moved]),
                                        reclaim_address(r, w->batch[i + n_moved]), length - n_moved, &error);

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
            if (w->outcomes[i] == LOCKED) {
                reclaim_enter_stuck_locked(r, number);
            } else {
                history_forget(&r->history, number); /* it has not left */
                reclaim_enter_locked(r, number);
            }
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
    reclaim_admit_relock(r);
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
