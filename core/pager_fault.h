/*
 * pager_fault.h - what faults, holds and blocks have in common: a page comes in, an image goes.
 *
 * Calls, locks, memory: as pager.h, which this is a part of.
 */
#ifndef GHOSTMEM_CORE_PAGER_FAULT_H
#define GHOSTMEM_CORE_PAGER_FAULT_H

#include "core/pager.h"

/* The page of a FROZEN or SWAPPED entry is not wanted any more, or there in another form: its image goes. */
void pager_forget_image_locked(struct pager *pager, page_number number);

/* The page @step from @number on, if it is one of the same block, and not an untouched one below; or PAGE_NONE. */
page_number pager_step_in_block(struct pager *pager, page_number number, int32_t step);

/*
 * Bring in the page at @number and the others of @ahead, or some of them. Returns true: @ahead->n came in, from that page on;
 * false: the lock was dropped and the page has to be looked at again.
 */
bool pager_bring_in_locked(struct pager *pager, const struct fault *fault, page_number number, struct ahead *ahead,
                           bool *exhausted);

/* Nothing can come in, or be opened, because of @error: pager.lock is dropped, pages leave if that can help, and it is taken again. */
void pager_wait_for_memory_locked(struct pager *pager, unsigned worker, int error);

/* The fault is served: let go of pager.lock, and evict for the next one if that is this thread's part. */
void pager_release_and_refill(struct reclaim *r, unsigned worker);

#endif
