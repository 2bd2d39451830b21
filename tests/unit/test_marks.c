/* test_marks.c - a set of pages is exact, whatever is added, removed and moved. */
#include "core/marks.h"

#include "tests/unit/unit.h"

#include <errno.h>

#define PAGES 200u

static bool has(const struct marks *marks, page_number page)
{
    bool found = false;

    for (uint32_t i = 0; i < marks->n; i++) {
        bool here = page >= marks->ranges[i].first && page < marks->ranges[i].end;

        cr_assert(!(found && here), "page %u is there twice", page);
        found = found || here;
    }
    return found;
}

Test(marks, set_is_what_was_added_and_not_removed)
{
    static struct marks marks;
    bool wanted[PAGES] = {false};
    unsigned random = 1;

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
            cr_assert_eq(marks_add(&marks, first, end), 0);
        else
            marks_remove(&marks, first, end);
        for (page_number i = first; i < end; i++)
            wanted[i] = add;
        for (page_number i = 0; i < PAGES; i++)
            cr_assert_eq(has(&marks, i), wanted[i], "step %d, page %u", step, i);
    }
}

Test(marks, what_lies_within_a_block_moves_with_it)
{
    static struct marks marks;

    cr_assert_eq(marks_add(&marks, 10, 12), 0);
    cr_assert_eq(marks_add(&marks, 18, 20), 0);
    cr_assert_eq(marks_add(&marks, 30, 31), 0);
    marks_move(&marks, 10, 20, 110);
    cr_assert(has(&marks, 110) && has(&marks, 111) && !has(&marks, 112));
    cr_assert(has(&marks, 118) && has(&marks, 119) && !has(&marks, 120));
    cr_assert(has(&marks, 30) && !has(&marks, 10) && !has(&marks, 18));
}

Test(marks, full_set_refuses_and_stays_as_it_was)
{
    static struct marks marks;

    for (page_number i = 0; i < MARKS_MAX; i++)
        cr_assert_eq(marks_add(&marks, 10 * i, 10 * i + 5), 0);
    cr_assert_eq(marks_add(&marks, 10 * MARKS_MAX, 10 * MARKS_MAX + 1), -ENOMEM);
    cr_assert(!has(&marks, 10 * MARKS_MAX) && marks.n == MARKS_MAX);
    cr_assert_eq(marks_add(&marks, 5, 6), 0, "it goes into one that is there");
    marks_remove(&marks, 22, 23);
    cr_assert(has(&marks, 21) && !has(&marks, 22));
    cr_assert_eq(marks.n, MARKS_MAX);
    marks_remove(&marks, 0, 10 * MARKS_MAX);
    cr_assert_eq(marks.n, 0);
}
