/* test_hold.c - what must stay resident, and how calls that are under way together share the limit. */
#include "core/hold.h"

#include "tests/unit/unit.h"

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
