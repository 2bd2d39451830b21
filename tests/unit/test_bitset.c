/* test_bitset.c - sets of numbers of which the least is found. */
#include "bench/pattern.h"

#include "core/bitset.h"
#include "platform/inject.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdlib.h>

static struct bitset *bits_below(size_t n)
{
    struct bitset *bits = calloc(1, sizeof *bits);

    cr_assert_not_null(bits);
    cr_assert_eq(bitset_init(bits, n), 0);
    cr_assert_eq(bitset_first(bits, 0), BITSET_NONE);
    cr_assert_eq(bitset_commit(bits, 0, n), 0);
    cr_assert_eq(bitset_first(bits, 0), BITSET_NONE);
    return bits;
}

/* Bounds of one level, of two, and of as many as there are. */
Test(bitset, least_number_is_found_at_both_ends_of_every_size)
{
    static const size_t sizes[] = {1, 63, 64, 65, 4096, 4097, 262144, 262145, (size_t)1 << 24, ((size_t)1 << 24) + 1, BITSET_MAX_NUMBERS};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct bitset *bits = bits_below(sizes[i]);
        unsigned set = (unsigned)i % BITSET_SETS;

        bitset_add(bits, set, sizes[i] - 1);
        cr_assert_eq(bitset_first(bits, set), sizes[i] - 1);
        cr_assert_eq(bitset_first(bits, (set + 1) % BITSET_SETS), BITSET_NONE);
        if (sizes[i] > 1) {
            bitset_add(bits, set, 0);
            cr_assert_eq(bitset_first(bits, set), 0);
            bitset_remove(bits, set, 0);
            cr_assert_eq(bitset_first(bits, set), sizes[i] - 1);
        }
        bitset_remove(bits, set, sizes[i] - 1);
        cr_assert_eq(bitset_first(bits, set), BITSET_NONE);
    }
}

/* Filled and emptied in turns. */
Test(bitset, each_set_agrees_with_a_table)
{
    enum { BELOW = 20000, STEPS = 200000 };
    static bool has[BITSET_SETS][BELOW];
    struct bitset *bits = bits_below(BELOW);
    size_t least[BITSET_SETS];

    for (unsigned set = 0; set < BITSET_SETS; set++)
        least[set] = BELOW;
    for (uint64_t step = 0; step < STEPS; step++) {
        uint64_t random = pattern_mix(step);
        size_t number = (size_t)pattern_below(random, BELOW);
        unsigned set = (unsigned)((random >> 40) % BITSET_SETS);
        bool add = step / 40000 % 2 == 0;

        if (has[set][number] == add)
            continue;
        has[set][number] = add;
        if (add)
            bitset_add(bits, set, number);
        else
            bitset_remove(bits, set, number);
        if (add && number < least[set])
            least[set] = number;
        while (least[set] < BELOW && !has[set][least[set]])
            least[set]++;
        cr_assert_eq(bitset_first(bits, set), least[set] < BELOW ? least[set] : BITSET_NONE);
    }
}

Test(bitset, takes_ram_only_where_numbers_have_been)
{
    struct bitset *bits = bits_below(BITSET_MAX_NUMBERS);
    size_t n_first;

    cr_assert_eq(bits->n_touched, 0);
    bitset_add(bits, 0, 5);
    n_first = bits->n_touched;
    cr_assert_leq(n_first, 3);
    bitset_add(bits, 4, 5);
    bitset_remove(bits, 0, 5);
    bitset_remove(bits, 4, 5);
    bitset_add(bits, 0, 5);
    cr_assert_eq(bits->n_touched, n_first, "in the same pages");
    bitset_add(bits, 0, 16000);
    cr_assert_gt(bits->n_touched, n_first);
    bitset_add(bits, 0, BITSET_MAX_NUMBERS - 1);
    cr_assert_leq(bits->n_touched, n_first + 4);
}

Test(bitset, grows_by_steps)
{
    struct bitset *bits = calloc(1, sizeof *bits);

    cr_assert_eq(bitset_init(bits, 1000000), 0);
    for (size_t to = 0; to < 1000000; to += 9999) {
        cr_assert_eq(bitset_commit(bits, to, min_size(to + 9999, 1000000)), 0);
        bitset_add(bits, 3, min_size(to + 9998, 999999));
        cr_assert_eq(bitset_first(bits, 3), min_size(to + 9998, 999999));
        bitset_remove(bits, 3, min_size(to + 9998, 999999));
    }
}

Test(bitset, without_memory_there_is_none)
{
    struct bitset *bits = calloc(1, sizeof *bits);

    for (int i = 0; i < 6; i++) {
        atomic_store(&os_inject_countdown, 1);
        cr_assert_eq(bitset_init(bits, BITSET_MAX_NUMBERS), -ENOMEM);
    }
    cr_assert_eq(bitset_init(bits, 1000), 0, "as if nothing had been");
    atomic_store(&os_inject_countdown, 1);
    cr_assert_eq(bitset_commit(bits, 0, 1000), -ENOMEM);
    cr_assert_eq(bitset_commit(bits, 0, 1000), 0);
    bitset_add(bits, 2, 999);
    cr_assert_eq(bitset_first(bits, 2), 999);
}
