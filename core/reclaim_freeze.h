/*
 * reclaim_freeze.h - the two steps of eviction: resident pages are cooled, and cooled pages become images.
 *
 * Calls, locks, memory: as reclaim.h, which this is a part of.
 */
#ifndef GHOSTMEM_CORE_RECLAIM_FREEZE_H
#define GHOSTMEM_CORE_RECLAIM_FREEZE_H

#include "core/reclaim.h"

/* First how a page of a worker's batch is to leave (IN_PLACE, CLEAN, UNWRITTEN, EXTRACT), then what came of it. */
enum outcome {
    DONE,
    REFUSED,  /* stays what it was */
    LOCKED,   /* the same, because the kernel does not let it go: it need not be tried again soon */
    GONE,     /* the page was not there: discarded behind our back */
    IN_PLACE, /* move it, or compress it where it is. Of reclaim_freeze_contents(): the page is a repeated word */
    CLEAN,    /* it is the same as its kept image */
    UNWRITTEN, /* closed to writing since it came in, without an image: compress it where it is */
    EXTRACT,  /* to be taken out with what is in it: nobody else can have its frame */
    STORED,   /* was UNWRITTEN or EXTRACT: has an image now ... */
    WORD,     /* ... or is a word repeated */
    SHUT,     /* stays, and could not be made accessible again */
};

/*
 * Let up to @wanted of the oldest resident pages leave. Pages that are clean, can be extracted, or cannot be moved are frozen at once; at
 * most @n_stored of these may have to be compressed. The others are cooled. Returns how many frames became free; *@n_picked: pages tried.
 */
size_t reclaim_cool(struct reclaim *r, struct reclaim_worker *w, size_t wanted, size_t n_stored, size_t *n_picked);

/* A page that stays, and is not to be tried again soon. */
void reclaim_enter_stuck_locked(struct reclaim *r, page_number number);

/* The kept image of batch entry @i, or 0. */
void reclaim_note_kept_locked(struct reclaim *r, struct reclaim_worker *w, size_t i, uint32_t kept);

/*
 * Make an image of @page, the contents of batch entry @i. @in_place: the entry still has its kept image where a resident page has it.
 * Returns DONE: the handle is in w->results; IN_PLACE: a same-filled page, the word is there; CLEAN; REFUSED: no memory for an image.
 */
enum outcome reclaim_freeze_contents(struct reclaim *r, struct reclaim_worker *w, size_t i, const void *page, bool in_place);

void reclaim_note_pool_full(struct reclaim *r);

/* Take those pages of w->batch out that are EXTRACT. They become CLEAN, STORED or WORD; REFUSED: the page stays. */
void reclaim_extract(struct reclaim *r, struct reclaim_worker *w, size_t n);

/* Drop those pages of w->batch that nobody can have written, CLEAN and UNWRITTEN. REFUSED or LOCKED: the page stays. */
void reclaim_drop_unwritten(struct reclaim *r, struct reclaim_worker *w, size_t n);

/* Batch entry @i, in PAGE_COOLING, has left as CLEAN, STORED or WORD: set its state. */
void reclaim_settle_unwritten_locked(struct reclaim *r, const struct reclaim_worker *w, size_t i);

/* Freeze up to @wanted of the oldest cooled pages. Returns how many frames became free. */
size_t reclaim_freeze(struct reclaim *r, struct reclaim_worker *w, size_t wanted);

/*
 * Freeze @n pages of w->batch, in PAGE_FREEZING, that cannot be moved. Returns how many frames became free; the other
 * pages are stuck.
 */
size_t reclaim_freeze_in_place(struct reclaim *r, struct reclaim_worker *w, size_t n);

#endif
