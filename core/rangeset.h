/*
 * rangeset.h - ranges of addresses or of page numbers, each with a value, as many as there are.
 *
 * The ranges stand in ascending order and do not overlap; neighbours with the same value are one. A range with value 0 is not
 * in the set. A look-up is a binary search, after a glance at the range that was found last. A change moves what stands behind
 * the range: 24 bytes a range, 1.5 MB and some 100 us at the 65,530 mappings that a process may have.
 *
 * Calls: os (mem).  Locks: the caller's.  Memory: its own mapping, which doubles when it is full.
 */
#ifndef GHOSTMEM_CORE_RANGESET_H
#define GHOSTMEM_CORE_RANGESET_H

#include "core/base.h"

struct range {
    uint64_t first;
    uint64_t end; /* > first */
    uint32_t value; /* not 0 */
};

/* Zero is an empty set. */
struct rangeset {
    struct range *ranges;
    size_t n;
    size_t capacity;
    size_t found; /* by the last look-up */
};

/* Room for @n_changes calls of rangeset_set(). 0; -ENOMEM: the set is as it was. */
int rangeset_reserve(struct rangeset *set, size_t n_changes);

/*
 * From now on [@first, @end) has @value; 0: it is not in the set. 0; -ENOMEM: nothing has changed. It cannot fail after
 * rangeset_reserve(), nor where the range begins and ends at borders that there are.
 */
int rangeset_set(struct rangeset *set, uint64_t first, uint64_t end, uint32_t value);

/* The range that contains @at, or the first one behind it. NULL: there is none. Valid until the next change. */
const struct range *rangeset_from(struct rangeset *set, uint64_t at);

/* The range that contains @at, or NULL. */
const struct range *rangeset_at(struct rangeset *set, uint64_t at);

/* The value at @at, or 0. */
static inline uint32_t rangeset_value(struct rangeset *set, uint64_t at)
{
    const struct range *range = rangeset_at(set, at);

    return range != NULL ? range->value : 0;
}

/*
 * The next part of [*@at, @end) that is in the set, cut to that; *@at moves behind it. False: there is no more. The set may
 * change between two calls.
 */
bool rangeset_next(struct rangeset *set, uint64_t *at, uint64_t end, struct range *part);

/* Nothing is in it any more. */
void rangeset_clear(struct rangeset *set);

size_t rangeset_meta_bytes(const struct rangeset *set);

#endif
