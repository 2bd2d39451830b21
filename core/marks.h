/*
 * marks.h - a set of pages, kept as ranges: what the program said of them, for a fork's child.
 *
 * Exact, or refused: a set that is full takes no more.
 *
 * Calls: nothing.  Locks: the caller's; n may be read without.  Memory: its owner's.
 */
#ifndef GHOSTMEM_CORE_MARKS_H
#define GHOSTMEM_CORE_MARKS_H

#include "core/pagetable.h"

#include <stdatomic.h>

#define MARKS_MAX 256u

struct marks_range {
    page_number first;
    page_number end;
};

struct marks {
    _Atomic uint32_t n; /* 0: nothing to look for */
    struct marks_range ranges[MARKS_MAX]; /* apart from each other, in no order */
};

static inline bool marks_any(const struct marks *marks)
{
    return atomic_load_explicit(&marks->n, memory_order_relaxed) != 0;
}

/* These pages are in the set. Returns 0; -ENOMEM: it is full, and as it was. */
int marks_add(struct marks *marks, page_number first, page_number end);

/* These pages are not. Where a range would have to become two and the set is full, what lies behind goes too. */
void marks_remove(struct marks *marks, page_number first, page_number end);

/* Ranges that lie within these pages are @to - @first further on. */
void marks_move(struct marks *marks, page_number first, page_number end, page_number to);

#endif
