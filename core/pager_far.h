/*
 * pager_far.h - memory outside of the ghost range, managed in place: where the program, its libc or its runtime has it.
 *
 * What is known of it stands in the space's areas. An area that was ever accessible is watched: its pages are in the page table, and a
 * touch of one that is not there is a fault as in the ghost range. Areas follow the program's memory calls. Whoever makes such a
 * call holds pager.lock from before the kernel's part of it until the tables say what the kernel did: pager_change_begin() and
 * pager_change_end(), with the functions named _locked and _relock between them.
 *
 * Calls: as pager.h, which this is a part of.  Locks: pager.lock.  Memory: tables, which may fail: then an area stays the kernel's.
 */
#ifndef GHOSTMEM_CORE_PAGER_FAR_H
#define GHOSTMEM_CORE_PAGER_FAR_H

#include "core/pager.h"

/* Context: as pager_hold(). The pager is engaged. */
void pager_change_begin(struct pager *pager, struct visit *visit);
void pager_change_end(struct pager *pager, const struct visit *visit);

/* Is any of [@start, @end) watched? */
bool pager_far_any_locked(struct pager *pager, uintptr_t start, uintptr_t end);

/* Returns when no page of [@start, @end) is in transit. The lock is dropped meanwhile. */
void pager_far_settle_relock(struct pager *pager, uintptr_t start, uintptr_t end);

/* The kernel has discarded what was in [@start, @end), where no page is in transit: the pages are EMPTY. */
void pager_far_forget_locked(struct pager *pager, uintptr_t start, uintptr_t end);

/* The kernel has unmapped [@start, @end), or mapped something else there: nothing is known of it any more. */
void pager_far_unlearn_locked(struct pager *pager, uintptr_t start, uintptr_t end);

/*
 * There is private anonymous memory at [@start, @end), of which nothing was known. @value: AREA_ kind, protection and marks. It is watched
 * if it is accessible. @fresh: none of it is in RAM. 0 or -errno: it stays the kernel's, and is counted.
 */
int pager_far_learn_locked(struct pager *pager, uintptr_t start, uintptr_t end, uint32_t value, bool fresh);

/* The kernel has changed the protection of [@start, @end): AREA_READ, AREA_WRITE. What becomes accessible is watched. */
void pager_far_protect_locked(struct pager *pager, uintptr_t start, uintptr_t end, uint32_t protection);

/* What is known in [@start, @end) has the AREA_ marks @set, and has the marks @clear no longer. */
void pager_far_mark_locked(struct pager *pager, uintptr_t start, uintptr_t end, uint32_t set, uint32_t clear);

/*
 * The kernel has moved what was mapped at [@from, @from + @bytes) to @to, of which nothing is known: pages follow with their images.
 * Nothing is known of the old place then. 0 or -errno: see pager_far_leave(), which then is to be called before.
 */
int pager_far_move_locked(struct pager *pager, uintptr_t to, uintptr_t from, size_t bytes);

/*
 * All of [@start, @end) comes to its place and is the kernel's from then on. The limit yields for that. Context: as pager_hold(), not
 * between pager_change_begin() and its end.
 */
void pager_far_leave(struct pager *pager, uintptr_t start, uintptr_t end);

/* When paging starts, with the lock: watch what has been learnt. */
void pager_far_start_locked(struct pager *pager);

/* In a forked child, once the backend has started again. */
void pager_far_fork_child(struct pager *pager);

/* Paging ends, and all pages are in their places: the kernel tells us of none any more. */
void pager_far_end(struct pager *pager);

/* Pages of managed areas of one kind: AREA_HEAP, AREA_MAPPING or AREA_STATIC. */
size_t pager_far_pages(struct pager *pager, uint32_t kind);

#endif
