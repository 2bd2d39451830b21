/*
 * limbo.h - frames for pages that have left the program's range and are not compressed yet.
 *
 * A ring of slots in address space of our own. Slots are handed out in order, so that a run of victims lies in a run of
 * slots and moves with one system call. The page in the oldest slot is compressed first. A page that is wanted back leaves a hole.
 *
 * The ring's bookkeeping knows three kinds of slots: free (no page), taken (a page in transit to or from it), resting
 * (a COOLED page).
 *
 * Calls: os.  Locks: the caller's (pager.lock).  Memory: its own reservation, 4 bytes of table a slot that was ever taken.
 */
#ifndef GHOSTMEM_CORE_LIMBO_H
#define GHOSTMEM_CORE_LIMBO_H

#include "core/pagetable.h"

typedef uint32_t limbo_slot;
#define LIMBO_NONE UINT32_MAX

struct limbo {
    /* Set by limbo_init(), constant afterwards. */
    unsigned char *space;
    uint32_t *pages; /* per slot, page number + 1; 0: free */
    uint32_t most_slots;

    /* Guarded by pager.lock. */
    uint32_t n_slots;   /* in use */
    uint32_t n_touched; /* slots in use before it grew */
    uint64_t head;    /* slots handed out since the start; the next is head % n_slots */
    uint64_t tail;    /* oldest slot that may be in use */
    size_t n_resting; /* COOLED pages */
};

/* Room for @n_slots frames, and address space for @most_slots. 0 or -ENOMEM. */
int limbo_init(struct limbo *limbo, uint32_t n_slots, uint32_t most_slots);

/* Room for @n_slots, if that is more, at most most_slots. False: not now, because the pages in it reach over the ring's end. */
bool limbo_grow(struct limbo *limbo, uint32_t n_slots);

static inline uintptr_t limbo_address(const struct limbo *limbo, limbo_slot slot)
{
    return (uintptr_t)limbo->space + (size_t)slot * PAGE_BYTES;
}

/* The next slot in order, taken for @number. LIMBO_NONE: the ring has come round to one in use. */
limbo_slot limbo_take(struct limbo *limbo, page_number number);

/* The page in a taken slot has another number from now on. */
void limbo_rename(struct limbo *limbo, limbo_slot slot, page_number number);

/* The slot is empty again. */
void limbo_release(struct limbo *limbo, limbo_slot slot);

/* A COOLED page of the ring in the order of age: call with *@cursor = limbo->tail at first. PAGE_NONE: no more. */
page_number limbo_next_resting(const struct limbo *limbo, const struct pagetable *table, uint64_t *cursor);

size_t limbo_meta_bytes(const struct limbo *limbo);

#endif
