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

/* Returns when no page of [@start, @end) is in transit. True: the lock was dropped meanwhile. */
bool pager_far_settle_relock(struct pager *pager, uintptr_t start, uintptr_t end);

/* The kernel has discarded what was in [@start, @end), where no page is in transit: the pages are EMPTY. */
void pager_far_forget_locked(struct pager *pager, uintptr_t start, uintptr_t end);

/* The kernel has unmapped [@start, @end), or mapped something else there: nothing is known of it any more. */
void pager_far_unlearn_locked(struct pager *pager, uintptr_t start, uintptr_t end);

/*
 * There is private anonymous memory at [@start, @end), of which nothing was known. @value: AREA_ kind, protection and marks. It is watched
 * if it is accessible. @fresh: none of it is in RAM. 0 or -errno: it stays the kernel's, and is counted.
 */
int pager_far_learn_locked(struct pager *pager, uintptr_t start, uintptr_t end, uint32_t value, bool fresh);

/*
 * mprotect(2) of [@start, @end), without PROT_EXEC: made here, because with by_protection the kernel must not see what it says of watched
 * pages. What becomes accessible is watched. 0 or -errno.
 */
long pager_far_protect_locked(struct pager *pager, uintptr_t start, uintptr_t end, int protection);

/*
 * The kernel has given [@start, @end) a protection that we do not follow: what is known there and not watched has it. @executable: it may
 * be ours again when that ends; else nothing is known of it any more.
 */
void pager_far_note_protected_locked(struct pager *pager, uintptr_t start, uintptr_t end, int protection, bool executable);

/* What is known in [@start, @end) is protected by @access (AREA_PROTECTION) in the kernel now. What has become accessible is watched. */
void pager_far_note_protection_locked(struct pager *pager, uintptr_t start, uintptr_t end, uint32_t access);

/* PROT_READ and PROT_WRITE of an area's value. */
int pager_far_protection(uint32_t value);

/* Before the kernel discards [@start, @end), where no page is in transit: with by_protection no page can be touched unseen. 0 or -errno. */
int pager_far_shut_locked(struct pager *pager, uintptr_t start, uintptr_t end);

/* What is known in [@start, @end) has the AREA_ marks @set, and has the marks @clear no longer. */
void pager_far_mark_locked(struct pager *pager, uintptr_t start, uintptr_t end, uint32_t set, uint32_t clear);

/*
 * Memory of @value at [@start, @end), accessible, is watched from now on. 0 or -errno: nothing has changed. See
 * pager_far_learn_locked().
 */
int pager_far_watch_locked(struct pager *pager, uintptr_t start, uintptr_t end, uint32_t value, bool fresh);

/* The kernel has unlocked [@start, @end): what was AREA_LOCKED there is ours again. */
void pager_far_unlock_locked(struct pager *pager, uintptr_t start, uintptr_t end);

/*
 * The kernel has moved what was mapped at [@from, @from + @bytes) to @to, of which nothing is known: pages follow with their images.
 * Nothing is known of the old place then. 0 or -errno: see pager_far_leave(), which then is to be called before.
 */
int pager_far_move_locked(struct pager *pager, uintptr_t to, uintptr_t from, size_t bytes);

/*
 * mremap(2) is about to move [@from, @from_end), or has moved it to [@to, @to_end): nobody may access either before pager_change_end().
 * Who touches them meanwhile gets SIGSEGV, and is to ask pager_far_may_touch().
 */
void pager_far_note_move_locked(struct pager *pager, uintptr_t from, uintptr_t from_end, uintptr_t to, uintptr_t to_end);

/*
 * SIGSEGV, because the page at @addr may not be accessed: may it be now, or is that for the kernel to say? If so the touch is to be made
 * again. False: the signal is the program's own. Context: as pager_fault().
 */
bool pager_far_may_touch(struct pager *pager, uintptr_t addr, bool write);

/*
 * With by_protection, where what the program sees as one mapping is many: [@from, @from + @bytes), all of it watched, goes to @to,
 * where there is fresh private memory that is readable and writable. The old pages are EMPTY then.
 */
void pager_far_carry_locked(struct pager *pager, uintptr_t to, uintptr_t from, size_t bytes);

/*
 * All of [@start, @end) comes to its place and is the kernel's from then on. @why: AREA_EXEC or AREA_LOCKED, until that ends; 0: for
 * good. The limit yields for that. Context: as pager_hold(), not
 * between pager_change_begin() and its end.
 */
void pager_far_leave(struct pager *pager, uintptr_t start, uintptr_t end, uint32_t why);

/* When paging starts, with the lock: watch what has been learnt. */
void pager_far_start_locked(struct pager *pager);

/* In a forked child, once the backend has started again. */
void pager_far_fork_child(struct pager *pager);

/*
 * With by_protection: all watched memory is as the program protects it, or (@for_all) readable and writable, with nobody there but
 * the caller.
 */
void pager_far_open_all(struct pager *pager, bool for_all);

/* Paging ends, and all pages are in their places: the kernel tells us of none any more. */
void pager_far_end(struct pager *pager);

#endif
