/*
 * marks.h - a set of pages: what the program said of them.
 *
 * A bit a page, exact, whatever is added and removed. A program that says nothing has no memory for it.
 *
 * Calls: os (mem).  Locks: the caller's; n may be read without.  Memory: its own reservation, touched where pages are in the set.
 */
#ifndef GHOSTMEM_CORE_MARKS_H
#define GHOSTMEM_CORE_MARKS_H

#include "core/pagetable.h"

#include <stdatomic.h>

struct marks {
    _Atomic size_t n; /* pages; 0: nothing to look for */
    size_t n_pages;   /* numbers below that may be added */
    uint64_t *words;  /* NULL before marks_reserve() */
};

static inline bool marks_any(const struct marks *marks)
{
    return atomic_load_explicit(&marks->n, memory_order_relaxed) != 0;
}

static inline bool marks_has(const struct marks *marks, page_number number)
{
    return marks_any(marks) && number < marks->n_pages && (marks->words[number / 64] >> number % 64 & 1) != 0;
}

/* Room for numbers below @n_pages, the same at each call. 0 or -ENOMEM. To be called before marks_add(). */
int marks_reserve(struct marks *marks, size_t n_pages);

/* These pages are in the set, and these are not. */
void marks_add(struct marks *marks, page_number first, page_number end);
void marks_remove(struct marks *marks, page_number first, page_number end);

/* Those of these pages that are in the set leave it; as many are in it that are @to - @first further on. The two do not overlap. */
void marks_move(struct marks *marks, page_number first, page_number end, page_number to);

/* The first run of pages of the set that lies in [@first, @end), as far as it lies there. False: there is none. */
struct marks_range {
    page_number first;
    page_number end;
};
bool marks_next(const struct marks *marks, page_number first, page_number end, struct marks_range *range);

/* Is any of the pages in the set? */
bool marks_meet(const struct marks *marks, page_number first, page_number end);

#endif
