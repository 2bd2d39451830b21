/* test_rangeset.c - ranges with values, beside a plain array of them. */
#include "core/rangeset.h"
#include "core/space.h"

#include "tests/unit/fake.h"
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <string.h>

#define N 400u

static bool is_in_order(const struct rangeset *set)
{
    for (size_t i = 0; i < set->n; i++) {
        const struct range *range = &set->ranges[i];

        if (range->value == 0 || range->first >= range->end)
            return false;
        if (i > 0 && (range[-1].end > range->first || (range[-1].end == range->first && range[-1].value == range->value)))
            return false;
    }
    return true;
}

Test(rangeset, values_are_those_of_the_last_change)
{
    struct rangeset set = {0};
    uint32_t model[N] = {0};

    srand(1);
    for (unsigned step = 0; step < 20000; step++) {
        unsigned first = (unsigned)rand() % N;
        unsigned end = first + 1 + (unsigned)rand() % (N - first < 30 ? N - first : 30);
        uint32_t value = (uint32_t)rand() % 4;

        cr_assert_eq(rangeset_set(&set, first, end, value), 0);
        for (unsigned i = first; i < end; i++)
            model[i] = value;
        if (step % 64 != 0)
            continue;
        cr_assert(is_in_order(&set));
        for (unsigned i = 0; i < N; i++)
            cr_assert_eq(rangeset_value(&set, i), model[i]);
    }
    rangeset_clear(&set);
}

Test(rangeset, parts_are_cut_to_what_was_asked_for)
{
    struct rangeset set = {0};
    struct range part;
    uint64_t at = 15;

    cr_assert_eq(rangeset_set(&set, 10, 20, 1), 0);
    cr_assert_eq(rangeset_set(&set, 30, 40, 2), 0);
    cr_assert(rangeset_next(&set, &at, 35, &part));
    cr_assert(part.first == 15 && part.end == 20 && part.value == 1);
    cr_assert(rangeset_next(&set, &at, 35, &part));
    cr_assert(part.first == 30 && part.end == 35 && part.value == 2);
    cr_assert(!rangeset_next(&set, &at, 35, &part));
    rangeset_clear(&set);
}

Test(rangeset, has_as_many_ranges_as_there_are)
{
    struct rangeset set = {0};

    for (uint64_t i = 0; i < 70000; i++) /* in order: each in front of all others takes ThreadSanitizer a minute */
        cr_assert_eq(rangeset_set(&set, 2 * i, 2 * i + 1, 1), 0);
    cr_assert_eq(set.n, 70000);
    cr_assert_eq(rangeset_set(&set, 0, 140000, 0), 0);
    cr_assert_eq(set.n, 0);
    rangeset_clear(&set);
}

static struct space *space_new(void)
{
    struct space *space = calloc(1, sizeof *space);

    cr_assert(space != NULL);
    fake_take_pager_lock();
    space_init_near(space, (uintptr_t)1 << 40, 4096);
    cr_assert_eq(space_init_far(space), 0);
    return space;
}

static void watch(struct space *space, uintptr_t start, uintptr_t end)
{
    cr_assert_eq(space_place_locked(space, start, end), 0);
    cr_assert_eq(rangeset_set(&space->areas, start, end, AREA_MAPPING | AREA_WATCHED | AREA_READ | AREA_WRITE), 0);
}

Test(space, numbers_lead_back_to_their_addresses)
{
    struct space *space = space_new();
    uintptr_t start = (uintptr_t)5 << 34;

    watch(space, start + PAGE_BYTES, start + 3 * SPACE_CHUNK_BYTES);
    watch(space, ((uintptr_t)1 << 40) + 4096 * PAGE_BYTES, ((uintptr_t)1 << 40) + 5000 * PAGE_BYTES);
    for (uintptr_t at = start; at < start + 3 * SPACE_CHUNK_BYTES; at += PAGE_BYTES)
        cr_assert_eq(space_address(space, space_number(space, at)), at);
    cr_assert_eq(space_number(space, start - 1), PAGE_NONE);
    cr_assert_eq(space_number(space, ((uintptr_t)1 << 40) + 10), 0);
    cr_assert(!space_is_watched_locked(space, space_number(space, start)));
    cr_assert(space_is_watched_locked(space, space_number(space, start + PAGE_BYTES)));
    free(space);
}

Test(space, runs_of_numbers_cover_what_has_numbers)
{
    struct space *space = space_new();
    uintptr_t start = (uintptr_t)7 << 34;
    uintptr_t at = 0;
    page_number first;
    size_t n;

    watch(space, start, start + 2 * SPACE_CHUNK_BYTES);
    watch(space, start + 5 * SPACE_CHUNK_BYTES, start + 6 * SPACE_CHUNK_BYTES);
    cr_assert(space_run(space, &at, (uintptr_t)1 << 39, &first, &n));
    cr_assert(first == space_number(space, start) && n == 2 * SPACE_CHUNK_PAGES);
    cr_assert(space_run(space, &at, (uintptr_t)1 << 39, &first, &n));
    cr_assert(first == space_number(space, start + 5 * SPACE_CHUNK_BYTES) && n == SPACE_CHUNK_PAGES);
    cr_assert(!space_run(space, &at, (uintptr_t)1 << 39, &first, &n));
    at = ((uintptr_t)1 << 40) - PAGE_BYTES;
    cr_assert(space_run(space, &at, ((uintptr_t)1 << 40) + 1, &first, &n));
    cr_assert(first == 0 && n == 1);
    free(space);
}

Test(space, numbers_of_what_has_gone_are_used_again)
{
    struct space *space = space_new();

    for (unsigned i = 0; i < 1000; i++) {
        uintptr_t start = ((uintptr_t)9 << 34) + i * SPACE_CHUNK_BYTES;

        watch(space, start, start + SPACE_CHUNK_BYTES);
        cr_assert_eq(rangeset_set(&space->areas, start, start + SPACE_CHUNK_BYTES, 0), 0);
        space_release_locked(space, start, start + SPACE_CHUNK_BYTES);
        cr_assert_eq(space_number(space, start), PAGE_NONE);
    }
    cr_assert_eq(space->n_chunks, 1);
    cr_assert_eq(space->n_live, 0);
    free(space);
}

Test(space, steps_end_with_the_area)
{
    struct space *space = space_new();
    uintptr_t start = (uintptr_t)11 << 34;
    page_number number;

    watch(space, start, start + 2 * SPACE_CHUNK_BYTES);
    number = space_number(space, start + SPACE_CHUNK_BYTES - PAGE_BYTES);
    cr_assert_eq(space_step_locked(space, number, 1), number + 1);
    cr_assert_eq(space_step_locked(space, number, (int32_t)SPACE_CHUNK_PAGES + 1), PAGE_NONE);
    cr_assert_eq(space_step_locked(space, space_number(space, start), -1), PAGE_NONE);
    free(space);
}
