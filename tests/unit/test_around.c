/* test_around.c - how many pages come with a fault that continues no stream is learned from samples. */
#include "core/stream.h"

#include "tests/unit/unit.h"

#define LIMIT 16384
#define N_PAGES 100000u

static struct streams streams;
static uint64_t state = 88172645463325252u;

static page_number chosen(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return 1000 + (page_number)(state % N_PAGES);
}

/* Faults upon reading @n pages from @first on, up or down, all of which are out. */
static uint32_t faults_of_place(page_number first, int32_t step, uint32_t n, bool first_touch)
{
    uint32_t n_faults = 0;
    uint32_t at = 0;

    while (at < n) {
        page_number number = (page_number)((int32_t)first + step * (int32_t)at);
        struct ahead ahead = streams_fault(&streams, 1, number, first_touch);

        n_faults++;
        cr_assert_geq(ahead.n, 1);
        cr_assert_leq(ahead.n, streams.max_window);
        if (ahead.step != 0)
            streams_ran(&streams, 1, number, ahead.n - 1, (page_number)((int32_t)number + ahead.step * (int32_t)ahead.n));
        at += ahead.step == step ? ahead.n : 1;
    }
    return n_faults;
}

/* Faults a place, of places anywhere, in hundredths, once that is known. */
static uint32_t faults_a_place(int32_t step, uint32_t n, bool first_touch)
{
    uint32_t n_faults = 0;

    streams_init(&streams, LIMIT);
    for (int i = 0; i < 400; i++)
        (void)faults_of_place(chosen(), step, n, first_touch);
    for (int i = 0; i < 1000; i++)
        n_faults += faults_of_place(chosen(), step, n, first_touch);
    return n_faults / 10;
}

Test(around, places_of_some_pages_take_little_more_than_a_fault)
{
    static const int32_t steps[] = {1, -1};
    uint32_t n_faults;

    for (int i = 0; i < 4; i++) {
        cr_assert_lt(faults_a_place(steps[i % 2], 2, i / 2 == 1), 125); /* 200 page by page */
        cr_assert_lt(faults_a_place(steps[i % 2], 4, i / 2 == 1), 140); /* 300 by a stream that doubles */
        cr_assert_lt(faults_a_place(steps[i % 2], 16, i / 2 == 1), 150); /* 500 */
        n_faults = faults_a_place(steps[i % 2], 64, i / 2 == 1);
        cr_assert_lt(n_faults, 280, "%u", n_faults); /* 700 */
    }
}

Test(around, single_pages_come_alone)
{
    uint32_t n_ahead = 0;

    streams_init(&streams, LIMIT);
    for (int i = 0; i < 5000; i++) {
        page_number number = chosen() * 16;

        n_ahead += streams_fault(&streams, 1, number, false).n - 1;
    }
    cr_assert_eq(n_ahead, 0);
}

Test(around, what_paid_is_given_up_when_it_does_not_pay_any_more)
{
    uint32_t n_ahead = 0;

    (void)faults_a_place(1, 16, false);
    for (int i = 0; i < 4000; i++)
        (void)streams_fault(&streams, 1, chosen() * 16, false);
    for (int i = 0; i < 1000; i++)
        n_ahead += streams_fault(&streams, 1, chosen() * 16, false).n - 1;
    cr_assert_eq(n_ahead, 0);
}

/* No stream: some pages of a group are asked for in any order. */
Test(around, groups_whose_pages_are_used_together_come_together)
{
    static const page_number order[] = {3, 12, 7, 0, 10, 5, 14, 1};
    uint32_t n_together = 0;

    streams_init(&streams, LIMIT);
    for (int i = 0; i < 4000; i++) {
        page_number group = chosen() * 16;
        bool comes = false;

        for (size_t k = 0; k < sizeof order / sizeof order[0] && !comes; k++)
            comes = streams_fault(&streams, 1, group + (order[k] + (page_number)i) % 16, false).n > 4;
        n_together += i > 3000 && comes;
    }
    cr_assert_gt(n_together, 500, "%u", n_together);
}

Test(around, first_touches_and_returns_are_learned_apart)
{
    streams_init(&streams, LIMIT);
    for (int i = 0; i < 1000; i++)
        (void)faults_of_place(chosen(), 1, 16, true);
    for (int i = 0; i < 100; i++)
        cr_assert_eq(streams_fault(&streams, 2, 5000000 + (page_number)i * 1000, false).n, 1);
}

Test(around, tiny_limits_take_no_more_than_a_sixteenth)
{
    streams_init(&streams, 64);
    for (int i = 0; i < 1000; i++)
        (void)faults_of_place(chosen(), 1, 16, false); /* asserts max_window */
    streams_resize(&streams, 16);
    for (int i = 0; i < 100; i++)
        cr_assert_eq(streams_fault(&streams, 1, chosen() * 16, false).n, 1);
}
