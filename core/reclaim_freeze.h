/*
 * reclaim_freeze.h - the two steps of eviction: resident pages are cooled, and cooled pages become images.
 *
 * Calls, locks, memory: as reclaim.h, which this is a part of.
 */
#ifndef GHOSTMEM_CORE_RECLAIM_FREEZE_H
#define GHOSTMEM_CORE_RECLAIM_FREEZE_H

#include "core/reclaim.h"

/* What became of a page of a worker's batch. */
enum outcome {
    DONE,
    REFUSED,  /* stays what it was */
    LOCKED,   /* the same, because the kernel does not let it go: it need not be tried again soon */
    GONE,     /* the page was not there: discarded behind our back */
    IN_PLACE, /* cannot be moved: compress it where it is */
    CLEAN,    /* its kept image is what it is */
    UNWRITTEN, /* closed to writing since it came in, without an image: compress it where it is */
    EXTRACT,  /* to be taken out with what is in it: nobody else can have its frame */
    STORED,   /* was UNWRITTEN or EXTRACT: has an image now ... */
    WORD,     /* ... or is a word repeated */
    SHUT,     /* stays, and could not be made accessible again */
};

/*
 * Cool up to @wanted of the oldest resident pages; what is clean, can be extracted or cannot be moved is frozen at once, @n_stored of
 * that if it has to be compressed. Returns how many frames became free; *@n_picked says how many pages were tried.
 */
size_t reclaim_cool(struct reclaim *r, struct reclaim_worker *w, size_t wanted, size_t n_stored, size_t *n_picked);

/* A page that stays, and is not to be tried again soon. */
void reclaim_enter_stuck_locked(struct reclaim *r, page_number number);

/* The kept image of batch entry @i, or 0. */
void reclaim_note_kept_locked(struct reclaim *r, struct reclaim_worker *w, size_t i, uint32_t kept);

/*
 * The contents of batch entry @i become an image; @in_place: its kept image is noted as a resident page's. DONE: it has been made;
 * IN_PLACE: a same-filled page, the word is the result; CLEAN; REFUSED: there is no memory for an image.
 */
enum outcome reclaim_freeze_contents(struct reclaim *r, struct reclaim_worker *w, size_t i, const void *page, bool in_place);

void reclaim_note_pool_full(struct reclaim *r);

/* Those pages of w->batch that are to be taken out leave from where they are: CLEAN, STORED or WORD. REFUSED: would not go. */
void reclaim_extract(struct reclaim *r, struct reclaim_worker *w, size_t n);

/* Those pages of w->batch that nobody can have written, CLEAN and UNWRITTEN, leave from where they are. REFUSED or LOCKED: would not go. */
void reclaim_drop_unwritten(struct reclaim *r, struct reclaim_worker *w, size_t n);

/* Batch entry @i, in PAGE_COOLING, has left so: CLEAN, STORED or WORD. */
void reclaim_settle_unwritten_locked(struct reclaim *r, const struct reclaim_worker *w, size_t i);

/* Freeze up to @wanted of the oldest cooled pages. Returns how many frames became free. */
size_t reclaim_freeze(struct reclaim *r, struct reclaim_worker *w, size_t wanted);

/*
 * Freeze @n pages of w->batch, in PAGE_FREEZING, that cannot be moved. Returns how many frames became free; the other
 * pages are stuck.
 */
size_t reclaim_freeze_in_place(struct reclaim *r, struct reclaim_worker *w, size_t n);

#endif
