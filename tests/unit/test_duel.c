/* test_duel.c - which of two ways is used, by what they cost on a clock of the test's own. */
#include "core/duel.h"

#include "tests/unit/unit.h"

#define TURN 100

/* @n units at what the way in use costs, in nanoseconds. Returns how many of them went way 1. */
static uint64_t work(struct duel *duel, uint64_t *now_ns, const uint64_t cost_ns[2], uint64_t n)
{
    uint64_t n_second = 0;

    for (uint64_t i = 0; i < n; i++) {
        n_second += duel->way;
        *now_ns += cost_ns[duel->way];
        duel_count(duel, 1, *now_ns);
    }
    return n_second;
}

Test(duel, the_cheaper_way_does_nearly_all_work)
{
    static const uint64_t first_wins[2] = {1000, 2000};
    static const uint64_t second_wins[2] = {2000, 1000};
    uint64_t now_ns = 5;
    struct duel duel;

    duel_init(&duel, TURN);
    cr_assert_lt(work(&duel, &now_ns, first_wins, 1000 * TURN), 20 * TURN);
    duel_init(&duel, TURN);
    cr_assert_gt(work(&duel, &now_ns, second_wins, 1000 * TURN), 980 * TURN);
}

Test(duel, a_draw_goes_to_the_first)
{
    static const uint64_t equal[2] = {1000, 980};
    uint64_t now_ns = 5;
    struct duel duel;

    duel_init(&duel, TURN);
    work(&duel, &now_ns, equal, 2 * TURN);
    cr_assert_eq(duel.way, 0);
    cr_assert(duel.decided);
}

/* Of @n turns at @after, how many went way 1, when @n_before at @before had been worked first. */
static uint64_t second_after(const uint64_t before[2], uint64_t n_before, const uint64_t after[2], uint64_t n)
{
    uint64_t now_ns = 5;
    struct duel duel;

    duel_init(&duel, TURN);
    work(&duel, &now_ns, before, n_before * TURN);
    cr_assert(duel.decided);
    cr_assert_eq(duel.way, 0);
    return work(&duel, &now_ns, after, n * TURN) / TURN;
}

Test(duel, it_is_fought_again_when_the_other_way_has_become_cheaper)
{
    static const uint64_t before[2] = {1000, 2000};
    static const uint64_t after[2] = {1000, 500};

    cr_assert_gt(second_after(before, 1000, after, 1000), 800);
}

Test(duel, it_is_fought_again_at_once_when_the_program_does_something_else)
{
    static const uint64_t before[2] = {1000, 2000};
    static const uint64_t dearer[2] = {3000, 2000};
    static const uint64_t cheaper[2] = {500, 400};
    uint64_t now_ns = 5;
    struct duel duel;

    duel_init(&duel, TURN);
    work(&duel, &now_ns, before, 1000 * TURN);
    cr_assert_gt(work(&duel, &now_ns, dearer, 20 * TURN), 15 * TURN);
    work(&duel, &now_ns, before, 1000 * TURN);
    cr_assert_gt(work(&duel, &now_ns, cheaper, 20 * TURN), 15 * TURN);
}

/* The change comes just when a duel has been decided: the winner's first turn is not what it has won with. */
Test(duel, it_is_fought_again_when_the_winner_begins_dearer_than_it_has_won)
{
    static const uint64_t before[2] = {1000, 2000};
    static const uint64_t after[2] = {3000, 2000};

    cr_assert_gt(second_after(before, 2, after, 10), 6);
}

Test(duel, what_one_way_leaves_behind_is_not_the_others_cost)
{
    static const uint64_t first_wins[2] = {1000, 1500};
    uint64_t now_ns = 5;
    struct duel duel;

    duel_init(&duel, TURN);
    work(&duel, &now_ns, first_wins, TURN);
    cr_assert_eq(duel.way, 1);
    /* A reserve that the first has filled makes half a turn of the second free. */
    work(&duel, &now_ns, (const uint64_t[2]){0, 0}, TURN / 2);
    work(&duel, &now_ns, first_wins, TURN / 2);
    cr_assert_eq(duel.way, 0);
    cr_assert(duel.decided);
}

Test(duel, what_the_loser_left_behind_is_not_the_winners_yardstick)
{
    static const uint64_t first_wins[2] = {1000, 1500};
    uint64_t now_ns = 5;
    struct duel duel;

    duel_init(&duel, TURN);
    work(&duel, &now_ns, first_wins, 2 * TURN);
    cr_assert(duel.decided);
    work(&duel, &now_ns, (const uint64_t[2]){0, 0}, TURN / 2);
    work(&duel, &now_ns, first_wins, 5 * TURN);
    cr_assert(duel.decided);
    cr_assert_eq(duel.n_kept, 5);
}

Test(duel, a_pause_of_the_program_decides_nothing)
{
    static const uint64_t first_wins[2] = {100000, 200000};
    uint64_t now_ns = 5;
    struct duel duel;

    duel_init(&duel, TURN);
    work(&duel, &now_ns, first_wins, TURN - 1);
    now_ns += (uint64_t)60 * 1000 * 1000 * 1000;
    work(&duel, &now_ns, first_wins, TURN + 1);
    cr_assert_eq(duel.way, 0);
    cr_assert(duel.decided);
}

Test(duel, work_comes_in_lumps)
{
    uint64_t now_ns = 5;
    struct duel duel;

    duel_init(&duel, TURN);
    for (unsigned i = 0; i < 100; i++) {
        now_ns += duel.way == 0 ? 500 : 400;
        duel_count(&duel, 3 * TURN, now_ns);
    }
    cr_assert_eq(duel.way, 1);
}

Test(duel, a_fixed_way_is_kept)
{
    static const uint64_t first_wins[2] = {1000, 2000};
    uint64_t now_ns = 5;
    struct duel duel;

    duel_fix(&duel, 1);
    cr_assert_eq(work(&duel, &now_ns, first_wins, 1000), 1000);
}
