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
    GONE,     /* the page was not there: discarded behind our back */
    IN_PLACE, /* cannot be moved: compress it where it is */
    CLEAN,    /* its kept image is what it is */
    SHUT,     /* stays, and could not be made accessible again */
};

/*
 * Cool up to @wanted of the oldest resident pages; what is clean or cannot be moved is frozen at once. Returns how many frames
 * became free; *@n_picked says how many pages were tried.
 */
size_t reclaim_cool(struct reclaim *r, struct reclaim_worker *w, size_t wanted, size_t *n_picked);

/* Drop the pages of w->batch that are CLEAN, where they are. Those that would not go are REFUSED. */
void reclaim_drop_clean(struct reclaim *r, struct reclaim_worker *w, size_t n);

/* A page in PAGE_COOLING has been dropped, and is what its kept image says. */
void reclaim_settle_dropped_locked(struct reclaim *r, page_number number);

/* Freeze up to @wanted of the oldest cooled pages. Returns how many frames became free. */
size_t reclaim_freeze(struct reclaim *r, struct reclaim_worker *w, size_t wanted);

/*
 * Freeze @n pages of w->batch, in PAGE_FREEZING, that cannot be moved. Returns how many frames became free; the other
 * pages are stuck.
 */
size_t reclaim_freeze_in_place(struct reclaim *r, struct reclaim_worker *w, size_t n);

#endif
