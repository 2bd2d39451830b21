/*
 * guard_hold.c - from addresses of the program to pages that are held. See guard.h.
 *
 * All that is known here of where managed memory lies, and of where its blocks end, is in this file.
 */
#include "interpose/guard.h"
#include "interpose/survey.h"

#include <string.h>

/* ---- addresses and pages ---- */

bool guard_is_managed(uintptr_t addr)
{
    return ghost_manages((const void *)addr);
}

static page_number end_of_block(page_number first, page_number end)
{
    const struct pagetable *table = &ghost.pager.table;

    for (page_number number = first; number + 1 < end && pager_is_engaged(&ghost.pager); number++)
        if ((page_at(table, number)->flags & PAGE_FLAG_LAST) != 0 || slab_ends_at(&ghost.slabs, number))
            return number + 1;
    return end;
}

/* Blocks may stand one right behind the other, and a program may take them for one. What is in no block is no memory. */
static page_number end_of_blocks(page_number first, page_number end)
{
    page_number at = end_of_block(first, end);

    while (at < end && heap_begins_block(&ghost.heap, at))
        at = end_of_block(at, end);
    return at;
}

/*
 * Calls @add(@hold, first, end) for runs of managed pages among these bytes: in the ghost range up to where their block ends, or the blocks
 * that follow one another.
 */
typedef void add_pages(struct hold *hold, page_number first, page_number end);

static void each_run(uintptr_t start, size_t bytes, bool one_block, add_pages *add, struct hold *hold)
{
    const struct space *space = &ghost.pager.space;
    page_number first;
    uintptr_t end;
    size_t n;

    if (bytes == 0 || __builtin_add_overflow(start, bytes, &end) || ghost.heap.bytes == 0)
        return;
    while (space_run(space, &start, end, &first, &n)) {
        page_number limit = (page_number)(first + n);

        if (!space_is_near(space, first)) {
            add(hold, first, limit);
            continue;
        }
        limit = (page_number)min_size(limit, ghost.heap.committed);
        if (first < limit)
            add(hold, first, one_block ? end_of_block(first, limit) : end_of_blocks(first, limit));
    }
}

/* The two sides of a fork go on below the caller's frame, where with every signal blocked no fault can be served. */
void guard_hold_stack(struct hold *hold, uintptr_t pointer)
{
    page_number first;
    page_number end;

    if (!guard_is_managed(pointer) || !pager_is_engaged(&ghost.pager))
        return;
    if (!heap_owns(&ghost.heap, (const void *)pointer)) {
        guard_hold_range(hold, pointer - VISIT_PAGES_BELOW * PAGE_BYTES, (VISIT_PAGES_BELOW + 1 + VISIT_PAGES_ABOVE) * PAGE_BYTES);
        return;
    }
    visit_stack_pages(&ghost.pager.visits, pointer, &first, &end);
    hold_add(hold, first, end_of_blocks(first, end));
}

/* ---- holds ---- */

void guard_hold_range(struct hold *hold, uintptr_t start, size_t bytes)
{
    each_run(start, bytes, false, hold_add, hold);
}

void guard_hold_room(struct hold *hold, uintptr_t start, size_t bytes)
{
    each_run(start, bytes, true, hold_add, hold);
}

void guard_hold_string(struct hold *hold, uintptr_t start, size_t bytes)
{
    char part[256];
    uintptr_t at = start;

    if (!guard_is_managed(start))
        return;
    while (at - start < bytes) {
        size_t n = sizeof part - at % sizeof part; /* within a page */

        if (guard_copy(part, (const void *)at, n) != 0)
            break;
        at += n;
        if (memchr(part, '\0', n) != NULL)
            break;
    }
    guard_hold_room(hold, start, min_size(at - start, bytes));
}

/*
 * What the kernel touches at any time, in no call of anybody's: never let go again. Memory that is freed and used anew stays held,
 * since nobody can tell whether the kernel has done with it.
 */
static struct hold for_good;

/* Memory outside of the ghost range has no numbers yet: it stays the kernel's. */
void guard_hold_at_start(uintptr_t start, size_t bytes)
{
    each_run(start, bytes, false, hold_add, &for_good);
    hold_start(&ghost.pager.holds, &for_good);
    survey_leave_alone(start, bytes);
}

static void hold_more(struct hold *hold, page_number first, page_number end)
{
    pager_hold_more(&ghost.pager, hold, first, end);
}

void guard_hold_for_thread(uintptr_t start, size_t bytes)
{
    each_run(start, bytes, true, hold_more, &guard_self()->lasting);
}

void guard_hold_for_good(uintptr_t start, size_t bytes)
{
    each_run(start, bytes, true, hold_more, &for_good);
}
