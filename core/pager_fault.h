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

/* What the page was is returned, its frame in the program's range apart, which is not there any more: it is EMPTY. Not in transit. */
void pager_forget_locked(struct pager *pager, page_number number);

/* Returns when none of the pages [@first, @end) is in transit. The lock is dropped meanwhile. */
void pager_settle_relock(struct pager *pager, page_number first, page_number end);

/*
 * Pages [@first, @end) that the program protects itself: the untouched ones are left to the kernel as they are, and are ours again, closed
 * and empty.
 */
void pager_leave_untouched_locked(struct pager *pager, page_number first, page_number end);
void pager_take_untouched_locked(struct pager *pager, page_number first, page_number end);

/* Up to @most entries from @from on that can be moved as they are to @to on, with all that names their pages. Returns how many. */
size_t pager_move_run_locked(struct pager *pager, page_number to, page_number from, size_t most);

/* What the page is, which is not in its place, is written to @target, memory that nobody watches. */
void pager_thaw_into(struct pager *pager, page_number number, unsigned char *target);

/* Bring in the pages of @hold that have ever been touched. Context: as pager_hold(). */
void pager_bring_in_used(struct pager *pager, const struct hold *hold);

/* The page @step from @number on, if it is one of the same block, and not an untouched one below; or PAGE_NONE. */
page_number pager_step_in_block(struct pager *pager, page_number number, int32_t step);

/*
 * Bring in the page at @number and the others of @ahead, or some of them. Returns true: @ahead->n came in, from that page on;
 * false: the lock was dropped and the page has to be looked at again.
 */
bool pager_bring_in_relock(struct pager *pager, const struct fault *fault, page_number number, struct ahead *ahead,
                           bool *exhausted);

/* Nothing can come in, or be opened, because of @error: pager.lock is dropped, pages leave if that can help, and it is taken again. */
void pager_wait_for_memory_relock(struct pager *pager, unsigned worker, int error);

/* The fault is served: let go of pager.lock, and evict for the next one if that is this thread's part. */
void pager_release_and_refill(struct reclaim *r, unsigned worker);

#endif
