/* test_marks.c - a set of pages is exact, whatever is added, removed and moved. */
#include "core/marks.h"

#include "tests/unit/unit.h"

#define PAGES 200u

static struct marks marks;

static void start(void)
{
    cr_assert_eq(marks_reserve(&marks, (size_t)1 << PAGE_NUMBER_BITS), 0);
    marks_remove(&marks, 0, PAGE_NONE);
}

Test(marks, set_is_what_was_added_and_not_removed)
{
    bool wanted[PAGES] = {false};
    unsigned random = 1;

    start();
    for (int step = 0; step < 3000; step++) {
        page_number first;
        page_number end;
        bool add;

        random = random * 1103515245u + 12345u;
        first = (random >> 16) % (PAGES - 1);
        random = random * 1103515245u + 12345u;
        end = first + 1 + (random >> 16) % (PAGES - first - 1);
        add = (random >> 8) % 3 == 0;
        if (add)
            marks_add(&marks, first, end);
        else
            marks_remove(&marks, first, end);
        for (page_number i = first; i < end; i++)
            wanted[i] = add;
        for (page_number i = 0; i < PAGES; i++)
            cr_assert_eq(marks_has(&marks, i), wanted[i], "step %d, page %u", step, i);
    }
}

Test(marks, what_lies_within_a_block_moves_with_it)
{
    start();
    marks_add(&marks, 10, 12);
    marks_add(&marks, 18, 20);
    marks_add(&marks, 30, 31);
    marks_move(&marks, 10, 20, 110);
    cr_assert(marks_has(&marks, 110) && marks_has(&marks, 111) && !marks_has(&marks, 112));
    cr_assert(marks_has(&marks, 118) && marks_has(&marks, 119) && !marks_has(&marks, 120));
    cr_assert(marks_has(&marks, 30) && !marks_has(&marks, 10) && !marks_has(&marks, 18));
    cr_assert_eq(marks.n, 5);
}

/* No number of ranges is too many, and a hole in the last one takes nothing else away. */
Test(marks, there_is_no_bound_to_the_ranges)
{
    enum { RANGES = 20000 };
    struct marks_range range = {0};
    size_t n = 0;

    start();
    for (page_number i = 0; i < RANGES; i++)
        marks_add(&marks, 10 * i, 10 * i + 5);
    marks_remove(&marks, 10 * RANGES - 8, 10 * RANGES - 7);
    cr_assert_eq(marks.n, 5 * RANGES - 1);
    for (; marks_next(&marks, range.end, 10 * RANGES, &range); n++)
        cr_assert_eq(range.end - range.first, n < RANGES - 1 ? 5 : 2);
    cr_assert_eq(n, RANGES + 1);
    marks_remove(&marks, 0, 10 * RANGES);
    cr_assert(!marks_any(&marks) && !marks_meet(&marks, 0, PAGE_NONE));
}
