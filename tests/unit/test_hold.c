/* test_hold.c - what must stay resident, and how calls that are under way together share the limit. */
#include "core/hold.h"

#include "platform/inject.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

Test(hold, claim_counts_for_others_and_not_for_eviction)
{
    static struct holds holds;
    static struct hold first;
    static struct hold second;

    hold_add(&first, 10, 20);
    hold_add(&first, 40, 42);
    cr_assert_eq(hold_pages(&first), 12);
    cr_assert_eq(hold_claim(&holds, &first, 12), 0);
    cr_assert(!holds_any(&holds));
    cr_assert(!holds_contain(&holds, 10));
    cr_assert_eq(hold_claim(&holds, &second, 5), 12);
    cr_assert_eq(hold_claim(&holds, &first, 12), 5, "its own do not count");
    hold_end(&second);

    hold_start(&holds, &first);
    cr_assert(holds_any(&holds));
    cr_assert(holds_contain(&holds, 10) && holds_contain(&holds, 41));
    cr_assert(!holds_contain(&holds, 30));
    cr_assert_eq(hold_claim(&holds, &second, 5), 12);
    hold_end(&first);
    hold_end(&second);
    cr_assert(!holds_any(&holds));
    cr_assert_eq(hold_claim(&holds, &second, 5), 0);
}

Test(hold, what_is_removed_does_not_count)
{
    static struct holds holds;
    static struct hold sealed;
    static struct hold call;

    hold_add(&sealed, 10, 20);
    hold_add(&sealed, 40, 42);
    hold_start(&holds, &sealed);
    cr_assert_eq(hold_claim(&holds, &call, 1), 12);
    hold_remove(&sealed, 0, 30);
    cr_assert_eq(hold_claim(&holds, &call, 1), 2);
    cr_assert(holds_contain(&holds, 41) && !holds_contain(&holds, 10));
    hold_remove(&sealed, 0, 50);
    cr_assert_eq(hold_claim(&holds, &call, 1), 0);
}

Test(hold, calls_together_leave_some_of_the_limit)
{
    for (size_t limit = 16; limit <= 16384; limit *= 2) {
        size_t n_held = 0;

        cr_assert_eq(hold_share(limit, 0), limit / 2);
        for (int n_calls = 0; n_calls < 5; n_calls++)
            n_held += hold_share(limit, n_held);
        cr_assert(n_held < limit, "limit %zu, held %zu", limit, n_held);
    }
    cr_assert_eq(hold_share(64, 64), 4, "less than that would be too slow, whatever the others do");
    cr_assert_eq(hold_share(5, 5), 1);
    cr_assert_eq(hold_share(1, 0), 1);
}

/* Every third page of many, in an order that jumps about; some of them twice. */
static void add_every_third(struct hold *hold, uint32_t n, uint32_t stride)
{
    for (uint32_t i = 0; i < n; i++) {
        page_number number = 3 * (page_number)((uint64_t)i * stride % n);

        hold_add(hold, number, number + 1);
        if (i % 16 == 0)
            hold_add(hold, number, number + 1);
    }
}

Test(hold, as_many_ranges_as_a_call_has_and_nothing_between)
{
    static const uint32_t counts[] = {1, 31, 32, 33, 34, 1024, 8192, 100000};
    static struct holds holds;
    static struct hold hold;

    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        for (uint32_t stride = 1; stride < 8; stride += 6) {
            uint32_t n = counts[i];

            add_every_third(&hold, n, stride);
            cr_assert_eq(hold_pages(&hold), n, "%u ranges: %zu pages", n, hold_pages(&hold));
            hold_start(&holds, &hold);
            cr_assert_eq(hold.n, n);
            for (page_number number = 0; number < 3 * n; number++)
                cr_assert_eq(holds_contain(&holds, number), number % 3 == 0, "%u ranges, page %u", n, number);
            hold_clear(&hold);
            cr_assert(!holds_any(&holds));
        }
}

Test(hold, ranges_that_touch_are_one)
{
    static struct hold hold;

    for (page_number number = 1000; number-- > 0;)
        hold_add(&hold, number, number + 1);
    hold_add(&hold, 990, 1100);
    hold_add(&hold, 5, 2000);
    cr_assert_eq(hold_pages(&hold), 2000);
    cr_assert_eq(hold.n, 1);
}

Test(hold, removing_cuts_exactly)
{
    static struct holds holds;
    static struct hold hold;

    for (page_number number = 0; number < 400; number += 4) /* active, and out of order */
        hold_add(&hold, 396 - number, 396 - number + 3);
    hold_start(&holds, &hold);
    hold_remove(&hold, 101, 102);
    hold_remove(&hold, 202, 302);
    hold_add(&hold, 250, 251);
    for (page_number number = 0; number < 400; number++) {
        bool gone = number == 101 || (number >= 202 && number < 302 && number != 250);

        cr_assert_eq(holds_contain(&holds, number), !gone && (number % 4 != 3 || number == 250), "page %u", number);
    }
    cr_assert_eq(hold_pages(&hold), 300 - 1 - 75 + 1);
}

Test(hold, next_range_is_found_from_any_page)
{
    static struct hold hold;
    struct hold_range range = {0, 0};

    add_every_third(&hold, 200, 7);
    cr_assert_eq(hold_pages(&hold), 200);
    cr_assert(hold_next(&hold, 1, 600, &range) && range.first == 3 && range.end == 4);
    cr_assert(hold_next(&hold, 597, 600, &range) && range.first == 597 && range.end == 598);
    cr_assert(!hold_next(&hold, 598, 600, &range));
    cr_assert(!hold_next(&hold, 1, 3, &range));
    hold_add(&hold, 600, 700);
    cr_assert(hold_next(&hold, 650, 660, &range) && range.first == 650 && range.end == 660);
    cr_assert(!hold_next(&hold, 660, 660, &range), "a range that goes on behind the end");
}

Test(hold, without_memory_more_is_held_and_never_less)
{
    static struct holds holds;
    static struct hold hold;

    atomic_store(&os_inject_countdown, 1);
    for (uint32_t i = 0; i < 50; i++) {
        page_number number = i * 37 % 50 * 10;

        hold_add(&hold, number, number + 1);
        atomic_store(&os_inject_countdown, 1);
    }
    atomic_store(&os_inject_countdown, 0);
    hold_start(&holds, &hold);
    for (uint32_t i = 0; i < 50; i++)
        cr_assert(holds_contain(&holds, i * 10), "page %u", i * 10);
    cr_assert_leq(hold.n, HOLD_OWN);
}
