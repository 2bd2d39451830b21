/*
 * hold.h - page ranges that must stay resident while the kernel works on them.
 *
 * A hold belongs to one thread, which fills it in while it is not active. While a hold is active nothing in its ranges is
 * evicted. The end of a hold is one store, made without a lock: eviction looks at all holds in each round. An active hold is changed
 * under pager.lock only.
 *
 * Calls that are under way at the same time share the limit. Each call says how much it is going to hold before it looks at
 * the others; so of two calls that begin together at least one sees the other.
 *
 * A hold is exact: it has as many ranges as a call needs, and never what lies between them. Few ranges have room in the struct. More are
 * kept in parts, each twice as long as the one before. A part is mapped when it is needed first, and stays mapped: a thread that evicts
 * may still be reading a hold that has just ended. Only the RAM goes back, and what is read then is empty ranges.
 *
 * Calls: os.  Locks: none to end one; filling in and starting are its thread's alone.  Memory: its owner's, for ever, and the parts.
 */
#ifndef GHOSTMEM_CORE_HOLD_H
#define GHOSTMEM_CORE_HOLD_H

#include "core/pagetable.h"

#include <stdatomic.h>

/* Ranges in the struct itself. */
#define HOLD_OWN 32u
/* Of the first part: one page. */
#define HOLD_PART ((uint32_t)(PAGE_BYTES / sizeof(struct hold_range)))
/* With so many parts there is a range for every second page that a page number can name. */
#define HOLD_PARTS 18u

struct hold_range {
    page_number first;
    page_number end;
};

/* The pages are going to be held; eviction ignores the hold as yet. */
#define HOLD_CLAIM (UINT32_C(1) << 31)

struct hold {
    _Atomic uint32_t active; /* pages held, or HOLD_CLAIM and pages; first: assembly clears it */
    _Atomic uint32_t n;
    uint32_t n_ordered; /* so many of them are in order and apart, from the first; all while it is active */
    struct hold_range own[HOLD_OWN];
    struct hold_range *_Atomic parts[HOLD_PARTS];
    bool in_parts; /* since it was cleared last */
    bool listed;
    struct hold *next;
};

/*
 * All holds of the process; members never leave. Zero is a valid start. tidy(): ends the holds of threads that are gone; called under
 * pager.lock where a page does not leave for a hold. NULL: there are none. Set before paging.
 */
struct holds {
    _Atomic(struct hold *) first;
    void (*tidy)(void);
};

static inline void hold_end(struct hold *hold)
{
    atomic_store_explicit(&hold->active, 0, memory_order_release);
}

/* Nothing is in it, and it is not active. */
void hold_clear(struct hold *hold);

/*
 * One more range: of an inactive hold, or under pager.lock. Where there is no memory for it, it is joined with the nearest one, and what
 * lies between is held too.
 */
void hold_add(struct hold *hold, page_number first, page_number end);

/* The @i-th of its `n` ranges: in order and apart from hold_pages() or hold_start() on. */
struct hold_range hold_range(const struct hold *hold, uint32_t i);

/*
 * The first range of pages from @first on, and before @end, that @hold has. False: there is none. In order as above.
 */
bool hold_next(const struct hold *hold, page_number first, page_number end, struct hold_range *range);

/*
 * These pages go. Where a range would become two and there is no memory for that, it stays. In order as above; under pager.lock
 * if active.
 */
void hold_remove(struct hold *hold, page_number first, page_number end);

/* Pages in all its ranges, which are put in order. */
size_t hold_pages(struct hold *hold);

/* Say that @hold, which is not active, is going to take @n_pages. Returns how many pages the other holds have or are going to take. */
size_t hold_claim(struct holds *holds, struct hold *hold, size_t n_pages);

/* Pages that a call may hold beside others that have @n_others: half of the limit less these, or a small part. At least one. */
size_t hold_share(size_t limit_pages, size_t n_others);

void hold_start(struct holds *holds, struct hold *hold);

/* Does an active hold contain the page? */
bool holds_contain(struct holds *holds, page_number number);

/* Is any active? */
bool holds_any(struct holds *holds);

#endif
