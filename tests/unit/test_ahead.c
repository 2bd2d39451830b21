/* test_ahead.c - read-ahead in a pager with the fake backend: what comes in with a fault, and what must not. */
#include "tests/unit/fake.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#define RANGE (256 * MIB)
#define WORDS (PAGE_BYTES / sizeof(uint64_t))
#define LIMIT 1024
#define N_PAGES 4000u

static uint64_t word_of(size_t page, size_t k)
{
    return (page * 1000 + k) * 0x9e3779b97f4a7c15u;
}

/* Half of each page is noise, so that it has an image and no room for it elsewhere. */
static uint64_t *written_block(struct world *w, size_t n_pages)
{
    uint64_t *p = heap_allocate(&w->heap, n_pages * PAGE_BYTES, 0);

    cr_assert_not_null(p);
    for (size_t i = 0; i < n_pages; i++)
        for (size_t k = 0; k < WORDS / 2; k += 3)
            fake_store(w, p + i * WORDS + k, word_of(i, k), 1);
    return p;
}

static bool is_written(struct world *w, const uint64_t *p, size_t page, uint32_t thread)
{
    for (size_t k = 0; k < WORDS / 2; k += 30)
        if (fake_load(w, p + page * WORDS + k, thread) != word_of(page, k))
            return false;
    return fake_load(w, p + page * WORDS + WORDS - 1, thread) == 0;
}

/* The n-th page of a walk over all of @n_pages in steps of @step. */
static size_t page_of_walk(size_t n, int step, size_t n_pages)
{
    size_t stride = (size_t)(step > 0 ? step : -step);
    size_t column = n_pages / stride;
    size_t page = n % column * stride + n / column;

    return step > 0 ? page : n_pages - 1 - page;
}

static uint64_t faults_of_walk(struct world *w, const uint64_t *p, int step)
{
    uint64_t before = w->pager.reclaim.counters.faults;

    for (size_t n = 0; n < N_PAGES; n++)
        cr_assert(is_written(w, p, page_of_walk(n, step, N_PAGES), 1));
    cr_assert_leq(w->pager.reclaim.charged_peak, w->pager.reclaim.limit);
    return w->pager.reclaim.counters.faults - before;
}

/* 1000 pages are resident at the most when a walk begins, and meet none of its faults. */
static void walk_all_ways(bool can_move)
{
    struct world *w = world_new(RANGE, LIMIT, can_move);
    uint64_t *p = written_block(w, N_PAGES);

    cr_assert_lt(faults_of_walk(w, p, 1), N_PAGES / 8);
    cr_assert_lt(faults_of_walk(w, p, -1), N_PAGES / 8);
    cr_assert_lt(faults_of_walk(w, p, -1), N_PAGES / 8);
    cr_assert_lt(faults_of_walk(w, p, 16), N_PAGES / 3);
    cr_assert_lt(faults_of_walk(w, p, -10), N_PAGES / 3);
    cr_assert_leq(faults_of_walk(w, p, 80), N_PAGES); /* too far for a step; but a neighbour is asked for 50 faults later */
    cr_assert_lt(w->pager.reclaim.streams.n_wasted, 500);
}

Test(ahead, walks_up_and_down_and_in_steps_take_few_faults)
{
    walk_all_ways(true);
}

Test(ahead, walks_up_and_down_and_in_steps_take_few_faults_where_pages_cannot_move)
{
    walk_all_ways(false);
}

Test(ahead, cooled_pages_come_back_in_runs_in_either_direction)
{
    static const int steps[] = {1, -1, 2, -2};

    for (size_t k = 0; k < sizeof steps / sizeof steps[0]; k++) {
        struct world *w = world_new(RANGE, LIMIT, true);
        uint64_t *p = written_block(w, N_PAGES);
        struct reclaim *r = &w->pager.reclaim;
        page_number low = N_PAGES;
        page_number high = 0;
        uint64_t faults;
        uint64_t soft_faults;

        for (page_number i = N_PAGES; i-- > 0;)
            if (page_state(page_at(&w->pager.table, i)) == PAGE_COOLED) {
                low = i;
                high = high == 0 ? i : high;
            }
        cr_assert_gt(high - low, 100u);
        faults = r->counters.faults;
        soft_faults = r->counters.soft_faults;
        /* Not from the oldest on: they are frozen meanwhile. */
        for (int i = 0; i < 25; i++)
            (void)fake_touch(w, p + ((steps[k] > 0 ? (int)low + 45 : (int)high) + i * steps[k]) * (int)WORDS, 1);
        cr_assert_geq(r->counters.soft_faults - soft_faults, 25);
        cr_assert_lt(r->counters.faults - faults, 10);
        for (size_t i = 0; i < N_PAGES; i++)
            cr_assert(is_written(w, p, i, 1));
    }
}

Test(ahead, limit_holds_whatever_the_direction)
{
    static const size_t limits[] = {5, 16, 33, 64, 200};
    static const int steps[] = {1, -1, 4, -4};

    for (size_t k = 0; k < sizeof limits / sizeof limits[0]; k++) {
        struct world *w = world_new(RANGE, limits[k], true);
        uint64_t *p = written_block(w, N_PAGES);

        for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
            (void)faults_of_walk(w, p, steps[i]);
        cr_assert_eq(w->pager.reclaim.exceeded_peak, 0);
    }
}

static void push_out(struct world *w, const uint64_t *others)
{
    for (size_t i = 0; i < 2 * LIMIT; i++)
        (void)fake_load(w, others + i * WORDS, 1);
}

static void check_none_present(struct world *w, const uint64_t *a, const uint64_t *b, const uint64_t *c)
{
    for (size_t i = 0; i < 100; i++)
        cr_assert(!fake_is_present(w, a + i * WORDS) && !fake_is_present(w, b + i * WORDS) && !fake_is_present(w, c + i * WORDS));
}

Test(ahead, nothing_comes_in_beyond_the_block)
{
    struct world *w = world_new(RANGE, LIMIT, true);
    uint64_t *below = written_block(w, 100);
    uint64_t *gap = written_block(w, 100);
    uint64_t *p = written_block(w, 100);
    uint64_t *above = heap_allocate(&w->heap, 100 * PAGE_BYTES, 0);
    uint64_t *others;

    cr_assert(gap == below + 100 * WORDS && p == gap + 100 * WORDS && above == p + 100 * WORDS);
    heap_free(&w->heap, gap, "test");
    others = written_block(w, 2 * LIMIT);
    for (int step = 1; step <= 4; step++) {
        for (int n = 0; n < 100 / step; n++)
            (void)fake_load(w, p + n * step * (int)WORDS, 1);
        check_none_present(w, below, gap, above);
        push_out(w, others);
        for (int n = 0; n < 100 / step; n++)
            (void)fake_load(w, p + (99 - n * step) * (int)WORDS, 1);
        check_none_present(w, below, gap, above);
        push_out(w, others);
    }
    heap_free(&w->heap, below, "test");
    heap_free(&w->heap, p, "test");
    heap_free(&w->heap, above, "test");
    heap_free(&w->heap, others, "test");
    cr_assert_eq(pagetable_meta_bytes(&w->pager.table), 0);
}

/* A twentieth of the pages is hot: the scan touches them too, without a fault. */
Test(ahead, stream_passes_pages_that_are_there)
{
    struct world *w = world_new(RANGE, LIMIT, true);
    uint64_t *p = written_block(w, N_PAGES);
    struct reclaim *r = &w->pager.reclaim;
    uint64_t faults;

    for (size_t i = 0; i < 1000; i += 20)
        cr_assert(is_written(w, p, i, 2));
    faults = r->counters.faults;
    for (size_t i = 0; i < 1000; i++)
        cr_assert(is_written(w, p, i, 1));
    cr_assert_lt(r->counters.faults - faults, 150, "not a new beginning for each stretch: that would be five faults");
}

Test(ahead, system_without_a_frame_is_asked_again_whatever_the_direction)
{
    static const int steps[] = {1, -1, 4, -4};
    struct world *w = world_new(RANGE, LIMIT, true);
    uint64_t *p = written_block(w, N_PAGES);

    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        for (size_t n = 0; n < N_PAGES; n++) {
            if (n % 50 == 20)
                atomic_store(&w->fake.fail_fills, 1 + (int)(n / 50 % 3));
            cr_assert(is_written(w, p, page_of_walk(n, steps[i], N_PAGES), 1));
        }
    cr_assert_leq(w->pager.reclaim.charged_peak, LIMIT);
}

static void lose_only_what_is_damaged(int step)
{
    struct world *w = world_new(RANGE, LIMIT, true);
    uint64_t *p;
    size_t n_damaged = 0;
    size_t n_lost = 0;

    world_use_swap(w, UINT64_MAX, false, false);
    p = written_block(w, N_PAGES);
    for (page_number i = 5; i < 1000; i += 25) {
        const struct page *page = page_at(&w->pager.table, i);
        struct swap_where where;
        unsigned char byte;

        if (page_state(page) != PAGE_SWAPPED)
            continue;
        os_lock_take(&w->pager.reclaim.lock);
        swap_locate_locked(&w->pager.reclaim.writeback.swap, page->value, &where);
        os_lock_release(&w->pager.reclaim.lock);
        cr_assert_eq(pread(where.fd, &byte, 1, (off_t)where.offset + 100), 1);
        byte ^= 4;
        cr_assert_eq(pwrite(where.fd, &byte, 1, (off_t)where.offset + 100), 1);
        n_damaged++;
    }
    cr_assert_gt(n_damaged, 20);
    for (size_t n = 0; n < N_PAGES; n++) {
        page_number i = (page_number)page_of_walk(n, step, N_PAGES);
        size_t n_known = w->pager.table.n_lost;

        (void)fake_touch(w, p + i * WORDS, 1);
        if (page_state(page_at(&w->pager.table, i)) == PAGE_LOST)
            n_lost++;
        else
            cr_assert(is_written(w, p, i, 1) && w->pager.table.n_lost == n_known, "page %u", i);
    }
    cr_assert_eq(n_lost, n_damaged);
    cr_assert_eq(w->pager.table.n_lost, n_damaged);
}

Test(ahead, damaged_image_is_lost_when_it_is_touched_and_not_before)
{
    lose_only_what_is_damaged(1);
    lose_only_what_is_damaged(-1);
    lose_only_what_is_damaged(4);
    lose_only_what_is_damaged(-4);
}

/* ---- threads ---- */

struct walker {
    struct world *w;
    uint64_t *p;
    int step;
    pthread_t thread;
};

static void *add_to_all(void *arg)
{
    struct walker *walker = arg;
    uint32_t thread = atomic_fetch_add(&walker->w->next_worker, 1) + 1;

    for (size_t n = 0; n < N_PAGES; n++)
        fake_add(walker->w, walker->p + page_of_walk(n, walker->step, N_PAGES) * WORDS + WORDS - 1, 1, thread);
    return NULL;
}

Test(ahead, updates_of_threads_that_walk_all_ways_are_all_there)
{
    static const int steps[] = {1, -1, 16, -10};
    struct world *w = world_new(RANGE, LIMIT, true);
    uint64_t *p = written_block(w, N_PAGES);
    struct walker walkers[4];

    for (size_t i = 0; i < 4; i++) {
        walkers[i] = (struct walker){.w = w, .p = p, .step = steps[i]};
        cr_assert_eq(pthread_create(&walkers[i].thread, NULL, add_to_all, &walkers[i]), 0);
    }
    for (size_t i = 0; i < 4; i++)
        pthread_join(walkers[i].thread, NULL);
    for (size_t i = 0; i < N_PAGES; i++) {
        cr_assert_eq(fake_load(w, p + i * WORDS + WORDS - 1, 1), 4);
        cr_assert_eq(fake_load(w, p + i * WORDS, 1), word_of(i, 0));
    }
}
