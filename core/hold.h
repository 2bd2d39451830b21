/*
 * hold.h - page ranges that must stay resident while the kernel works on them.
 *
 * A hold belongs to one thread, which fills it in while it is not active. While it is active nothing in its ranges is
 * evicted. Ending it is one store, made by whoever has done with it, without a lock: eviction looks at each round. What changes
 * while it is active, changes under pager.lock.
 *
 * Calls that are under way at the same time share the limit. Each says what it is going to hold before it looks at what the
 * others do, so that of two that begin together at least one sees the other.
 *
 * Calls: nothing.  Locks: none to end one; filling in and starting are its thread's alone.  Memory: its owner's, for ever.
 */
#ifndef GHOSTMEM_CORE_HOLD_H
#define GHOSTMEM_CORE_HOLD_H

#include "core/pagetable.h"

#include <stdatomic.h>

/* More than that are joined: what lies between is held too. */
#define HOLD_RANGES 32u

struct hold_range {
    page_number first;
    page_number end;
};

/* The pages are going to be held; eviction does not heed it yet. */
#define HOLD_CLAIM (UINT32_C(1) << 31)

struct hold {
    _Atomic uint32_t active; /* pages held, or HOLD_CLAIM and pages; first: assembly clears it */
    uint32_t n;
    struct hold_range ranges[HOLD_RANGES];
    bool listed;
    struct hold *next;
};

/* All holds of the process; members never leave. Zero is a valid start. */
struct holds {
    _Atomic(struct hold *) first;
};

static inline void hold_end(struct hold *hold)
{
    atomic_store_explicit(&hold->active, 0, memory_order_release);
}

/* Nothing is in it, and it is not active. */
void hold_clear(struct hold *hold);

/* One more range: of an inactive hold, or under pager.lock. */
void hold_add(struct hold *hold, page_number first, page_number end);

/* What @hold has of these pages, into @part, which is nobody else's. */
void hold_intersect(const struct hold *hold, page_number first, page_number end, struct hold *part);

/* Its ranges that lie within these pages go; those that reach further stay. */
void hold_remove(struct hold *hold, page_number first, page_number end);

/* Pages in all its ranges. */
size_t hold_pages(const struct hold *hold);

/* @hold, which is not active, is going to take so many pages. Returns how many the others have or are going to. */
size_t hold_claim(struct holds *holds, struct hold *hold, size_t n_pages);

/* Pages that a call may hold beside others that have @n_others: half of the limit less these, or a small part. At least one. */
size_t hold_share(size_t limit_pages, size_t n_others);

void hold_start(struct holds *holds, struct hold *hold);

/* Does an active hold contain the page? */
bool holds_contain(struct holds *holds, page_number number);

/* Is any active? */
bool holds_any(struct holds *holds);

#endif
