/*
 * reclaim_freeze.h - reclaim's second half: cooled pages become images, and their frames are free.
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
    CLEAN,    /* its image in the swap file is what it is */
};

/* Freeze up to @wanted of the oldest cooled pages. Returns how many frames became free. */
size_t reclaim_freeze(struct reclaim *r, struct reclaim_worker *w, size_t wanted);

/* Freeze a page, in PAGE_FREEZING, that cannot be moved. Returns the frames that became free: 1, or 0, and it is stuck. */
size_t reclaim_freeze_in_place(struct reclaim *r, struct reclaim_worker *w, page_number number);

#endif
