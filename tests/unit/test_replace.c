/* test_replace.c - who has to leave: pages with a kept image and pages without, with the fake backend. */
#include "bench/pattern.h"

#include "tests/unit/contents.h"
#include "tests/unit/unit.h"

static uint64_t n_compressed(const struct world *w)
{
    return w->pager.reclaim.counters.freezes;
}

static void read_at_random(struct world *w, uint64_t *p, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        read_page(w, p, (size_t)pattern_below(pattern_mix(i), N), 1);
}

/* There is room for the images of half of what is resident: so one page in four of those that leave would be without. */
Test(replace, where_all_pages_are_used_alike_those_without_an_image_stay)
{
    struct world *w = world_new(RANGE, N / 2, true);
    uint64_t *p = pages(w);
    uint64_t n_frozen;
    uint64_t n_thawed;

    read_at_random(w, p, 4 * N);
    n_frozen = n_compressed(w);
    n_thawed = w->pager.reclaim.counters.thaws;
    read_at_random(w, p, 20 * N);
    n_frozen = n_compressed(w) - n_frozen;
    n_thawed = w->pager.reclaim.counters.thaws - n_thawed;
    cr_assert_gt(n_thawed, 8 * N);
    cr_assert_lt(n_frozen, n_thawed / 12, "%lu of %lu", n_frozen, n_thawed);
    cr_assert_gt(n_frozen, n_thawed / 100, "none leaves, so that nobody would know how much they are used: %lu of %lu", n_frozen, n_thawed);
    free_all(w, p);
}

/* The same, but it is known that pages without an image are hardly ever used again. */
Test(replace, pages_without_an_image_that_are_idle_leave_in_their_turn)
{
    struct world *w = world_new(RANGE, N / 2, true);
    struct history *history = &w->pager.reclaim.history;
    uint64_t *p = pages(w);
    uint64_t n_frozen;

    read_at_random(w, p, 4 * N);
    n_frozen = n_compressed(w);
    history->n_back[false] = history->n_forgotten[true] = 3000;
    history->n_back[true] = history->n_forgotten[false] = 1;
    read_at_random(w, p, 2 * N);
    cr_assert_gt(n_compressed(w) - n_frozen, N / 8, "%lu", n_compressed(w) - n_frozen);
    free_all(w, p);
}

/* Half is resident when it has been filled, and most of that stays: what is read in order leaves behind the reader. */
Test(replace, what_is_read_in_order_after_a_fill_leaves_before_what_was_never_compressed)
{
    enum { N_FILLED = 8 * N };
    struct world *w = world_new(RANGE, N_FILLED / 2, true);
    uint64_t *p = heap_allocate(&w->heap, N_FILLED * PAGE_BYTES, 0);
    uint64_t n_frozen;

    for (size_t i = 0; i < N_FILLED; i++)
        write_page(w, p, i, 1);
    n_frozen = n_compressed(w);
    for (size_t i = 0; i < N_FILLED; i++)
        read_page(w, p, i, 1);
    n_frozen = n_compressed(w) - n_frozen;
    cr_assert_lt(n_frozen, N_FILLED / 3, "%lu", n_frozen);
    free_all(w, p);
}

/* Some pages are written and never used again, while a loop could do with all frames. */
Test(replace, pages_without_an_image_that_are_never_used_leave_in_the_end)
{
    enum { N_IDLE = N / 20 };
    struct world *w = world_new(RANGE, N / 2, true);
    uint64_t *p = pages(w);
    size_t n_present = 0;

    read_at_random(w, p, 4 * N);
    for (size_t i = 0; i < N_IDLE; i++)
        write_page(w, p, i, 2);
    for (unsigned round = 0; round < 30; round++)
        for (size_t i = N_IDLE; i < N_IDLE + N / 2; i++)
            read_page(w, p, i, 1);
    for (size_t i = 0; i < N_IDLE; i++)
        n_present += fake_is_present(w, p + i * WORDS);
    cr_assert_lt(n_present, N_IDLE / 4, "%zu of %d", n_present, N_IDLE);
    for (size_t i = 0; i < N_IDLE; i++)
        read_page(w, p, i, 2);
    free_all(w, p);
}

/* Pages that are written once, one after the other, are many: they leave, not those that have proven to be used again. */
Test(replace, pages_without_an_image_are_not_spared_at_the_cost_of_proven_ones)
{
    enum { N_HOT = 100, N_WRITTEN = 400 };
    struct world *w = world_new(RANGE, N / 2, true);
    uint64_t *p = pages(w);
    uint64_t *written;
    size_t n_present = 0;

    read_at_random(w, p, 4 * N);
    for (unsigned round = 0; round < 8; round++)
        for (size_t i = 0; i < N / 2; i++)
            read_page(w, p, i, 1);
    for (unsigned round = 0; round < 8; round++)
        for (size_t i = 0; i < N_HOT; i++)
            read_page(w, p, i, 1);
    written = heap_allocate(&w->heap, N_WRITTEN * PAGE_BYTES, 0);
    for (size_t i = 0; i < N_WRITTEN; i++)
        write_page(w, written, i, 1);
    for (size_t i = 0; i < N_HOT; i++)
        n_present += fake_is_present(w, p + i * WORDS);
    cr_assert_gt(n_present, N_HOT / 2, "%zu of %d", n_present, N_HOT);
    heap_free(&w->heap, written, "test");
    free_all(w, p);
}

/* However few frames there are: when none that has an image can go, one without does. */
Test(replace, the_limit_holds_where_there_are_few_frames)
{
    static const size_t limits[] = {5, 6, 7, 8, 10, 12, 16, 24, 32};

    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        for (size_t n = limits[i] + 1; n <= 2 * limits[i]; n++) {
            struct world *w = world_new(RANGE, limits[i], true);
            uint64_t *p = heap_allocate(&w->heap, n * PAGE_BYTES, 0);

            for (size_t k = 0; k < n; k++)
                write_page(w, p, k, 1);
            for (unsigned k = 0; k < 40 * n; k++)
                read_page(w, p, (size_t)pattern_below(pattern_mix(k), n), 1);
            for (unsigned k = 0; k < 40 * n; k++) {
                uint64_t random = pattern_mix(k);
                size_t page = (size_t)pattern_below(random, n);

                if ((random >> 40) % 4 == 0)
                    write_page(w, p, page, 1);
                else
                    read_page(w, p, page, 1);
            }
            cr_assert_eq(w->pager.reclaim.exceeded_peak, 0, "%zu of %zu pages: %zu more", limits[i], n, w->pager.reclaim.exceeded_peak);
            free_all(w, p);
        }
    }
}

/* A page that comes back from limbo has been used again, and one that would not leave has not left. */
Test(replace, only_pages_that_left_for_good_are_counted_as_forgotten)
{
    struct world *w = world_new(RANGE, N / 2, true);
    struct history *history = &w->pager.reclaim.history;
    uint64_t *p;
    page_number first;
    uint64_t n_soft;

    atomic_store(&w->fake.contract.can_extract, false); /* so pages are cooled */
    p = heap_allocate(&w->heap, N * PAGE_BYTES, 0);
    first = (page_number)(((uintptr_t)p - w->pager.space.near_base) / PAGE_BYTES);
    for (size_t i = 0; i < N; i++)
        write_page(w, p, i, 1);
    n_soft = w->pager.reclaim.counters.soft_faults;
    for (size_t i = 0; i < N; i++) {
        bool cooled = page_state(page_at(&w->pager.table, first + (page_number)i)) == PAGE_COOLED;

        if (!cooled)
            continue;
        cr_assert(history_has(history, first + (page_number)i));
        read_page(w, p, i, 1);
        cr_assert(!history_has(history, first + (page_number)i));
    }
    cr_assert_gt(w->pager.reclaim.counters.soft_faults - n_soft, 5);
    atomic_store(&w->fake.busy_page, (uintptr_t)(p + 9 * WORDS));
    write_page(w, p, 9, 1);
    for (unsigned round = 0; round < 3; round++)
        for (size_t i = 10; i < N; i++)
            read_page(w, p, i, 1);
    cr_assert(fake_is_present(w, p + 9 * WORDS));
    cr_assert_gt(w->pager.reclaim.counters.busy_pages, 0);
    cr_assert(!history_has(history, first + 9));
    atomic_store(&w->fake.busy_page, 0);
    free_all(w, p);
}
