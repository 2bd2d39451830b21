/*
 * guard_hold.c - from addresses of the program to pages that are held. See guard.h.
 *
 * All that is known here of where managed memory lies, and of where its blocks end, is in this file.
 */
#include "interpose/guard.h"

#include <string.h>

/* ---- addresses and pages ---- */

bool guard_is_managed(uintptr_t addr)
{
    return heap_owns(&ghost.heap, (const void *)addr);
}

static page_number end_of_block(page_number first, page_number end)
{
    const struct pagetable *table = &ghost.pager.table;

    for (page_number number = first; number + 1 < end && pager_is_engaged(&ghost.pager); number++)
        if ((page_at(table, number)->flags & PAGE_FLAG_LAST) != 0)
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

/* The managed pages of these bytes, up to where their block ends, or the blocks that follow one another. False: there are none. */
static bool pages_of(uintptr_t start, size_t bytes, bool one_block, struct hold_range *range)
{
    const struct heap *heap = &ghost.heap;
    uintptr_t base = heap->base;
    page_number first;
    page_number limit;
    uintptr_t end;

    if (bytes == 0 || __builtin_add_overflow(start, bytes, &end))
        return false;
    if (end <= base || start >= base + heap->committed * PAGE_BYTES)
        return false;
    start = start > base ? start - base : 0;
    end = min_size(end - base, heap->committed * PAGE_BYTES);
    first = (page_number)(start >> PAGE_SHIFT);
    limit = (page_number)(round_up(end, PAGE_BYTES) >> PAGE_SHIFT);
    *range = (struct hold_range){first, one_block ? end_of_block(first, limit) : end_of_blocks(first, limit)};
    return true;
}

/* The two sides of a fork go on below the caller's frame, where with every signal blocked no fault can be served. */
void guard_hold_stack(struct hold *hold, uintptr_t pointer)
{
    page_number first;
    page_number end;

    if (!guard_is_managed(pointer) || !pager_is_engaged(&ghost.pager))
        return;
    visit_stack_pages(&ghost.pager.visits, pointer, &first, &end);
    hold_add(hold, first, end_of_blocks(first, end));
}

/* ---- holds ---- */

void guard_hold_range(struct hold *hold, uintptr_t start, size_t bytes)
{
    struct hold_range range;

    if (pages_of(start, bytes, false, &range))
        hold_add(hold, range.first, range.end);
}

void guard_hold_room(struct hold *hold, uintptr_t start, size_t bytes)
{
    struct hold_range range;

    if (pages_of(start, bytes, true, &range))
        hold_add(hold, range.first, range.end);
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

void guard_hold_at_start(uintptr_t start, size_t bytes)
{
    struct hold_range range;

    if (!pages_of(start, bytes, false, &range))
        return;
    hold_add(&for_good, range.first, range.end);
    hold_start(&ghost.pager.holds, &for_good);
}

void guard_hold_for_good(uintptr_t start, size_t bytes)
{
    struct hold_range range;

    if (pages_of(start, bytes, true, &range))
        pager_hold_more(&ghost.pager, &for_good, range.first, range.end);
}
