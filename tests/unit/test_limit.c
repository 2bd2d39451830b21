/* test_limit.c - the limit of a running process moves, with the fake backend. */
#include "platform/thread.h"
#include "tests/unit/fake.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define RANGE (64 * MIB)
#define WORDS (PAGE_BYTES / sizeof(uint64_t))
#define UNBOUNDED UINT64_MAX

static uint64_t *filled_block(struct world *w, size_t n_pages)
{
    uint64_t *p = heap_allocate(&w->heap, n_pages * PAGE_BYTES, 0);

    cr_assert_not_null(p);
    for (size_t i = 0; i < n_pages; i++)
        fake_store(w, p + i * WORDS + i % WORDS, i + 1, 1);
    return p;
}

static void check_block(struct world *w, const uint64_t *p, size_t n_pages)
{
    for (size_t i = 0; i < n_pages; i++)
        cr_assert_eq(fake_load(w, p + i * WORDS + i % WORDS, 1), i + 1);
}

Test(limit, lower_one_holds_when_the_call_returns)
{
    struct world *w = world_new(RANGE, 1000, true);
    uint64_t *p = filled_block(w, 2000);

    for (size_t limit = 900; limit >= 5; limit = limit * 2 / 3) {
        cr_assert_eq(heap_set_limit(&w->heap, limit, UNBOUNDED), 0, "%zu", limit);
        cr_assert_leq(w->pager.reclaim.charged, limit);
        check_block(w, p, 2000);
        cr_assert_leq(w->pager.reclaim.charged, limit);
    }
    cr_assert_eq(w->pager.reclaim.exceeded_peak, 0);
}

Test(limit, higher_one_is_used)
{
    struct world *w = world_new(RANGE, 20, true);
    uint64_t *p = filled_block(w, 4000);

    check_block(w, p, 4000);
    cr_assert_eq(heap_set_limit(&w->heap, 3500, UNBOUNDED), 0);
    check_block(w, p, 4000);
    cr_assert_gt(w->pager.reclaim.charged, 3000);
    cr_assert_leq(w->pager.reclaim.charged, 3500);
    cr_assert_gt(w->pager.reclaim.high_free, 0);
    cr_assert_gt(w->pager.reclaim.cooled_target, 0);
    check_block(w, p, 4000);
}

Test(limit, lower_than_the_blocks_starts_paging)
{
    struct world *w = world_new(RANGE, 1000, true);
    uint64_t *p = filled_block(w, 800);

    cr_assert(!pager_is_engaged(&w->pager));
    cr_assert_eq(heap_set_limit(&w->heap, 900, UNBOUNDED), 0);
    cr_assert(!pager_is_engaged(&w->pager));
    cr_assert_eq(heap_set_limit(&w->heap, 100, UNBOUNDED), 0);
    cr_assert(pager_is_engaged(&w->pager));
    cr_assert_leq(w->pager.reclaim.charged, 100);
    check_block(w, p, 800);
    cr_assert_eq(w->pager.reclaim.exceeded_peak, 0);
}

Test(limit, where_paging_cannot_start_that_is_said)
{
    struct world *w = world_new(RANGE, 1000, true);
    uint64_t *p = filled_block(w, 800);

    w->fake.start_error = -EPERM;
    cr_assert_eq(heap_set_limit(&w->heap, 100, UNBOUNDED), -EPERM);
    check_block(w, p, 800);
}

Test(limit, pages_that_are_held_keep_it_above)
{
    struct world *w = world_new(RANGE, 1000, true);
    uint64_t *p = filled_block(w, 1200);
    struct hold hold = {0};

    hold_add(&hold, 0, 300);
    hold_start(&w->pager.holds, &hold);
    pager_hold(&w->pager, &hold);
    cr_assert_eq(heap_set_limit(&w->heap, 100, UNBOUNDED), -EBUSY);
    cr_assert_geq(w->pager.reclaim.charged, 300);
    hold_end(&hold);
    cr_assert_eq(heap_set_limit(&w->heap, 100, UNBOUNDED), 0);
    cr_assert_leq(w->pager.reclaim.charged, 100);
    check_block(w, p, 1200);
}

Test(limit, limbo_grows_with_it)
{
    struct limbo limbo;

    cr_assert_eq(limbo_init(&limbo, 8, 100), 0);
    for (unsigned i = 0; i < 6; i++)
        limbo_release(&limbo, limbo_take(&limbo, i));
    cr_assert_eq(limbo_take(&limbo, 6), 6);
    cr_assert_eq(limbo_take(&limbo, 7), 7);
    cr_assert_eq(limbo_take(&limbo, 8), 0);
    cr_assert(!limbo_grow(&limbo, 200)); /* slot 8 stands for slot 0 */
    limbo_release(&limbo, 6);
    limbo_release(&limbo, 7);
    cr_assert(limbo_grow(&limbo, 200));
    cr_assert_eq(limbo.n_slots, 100);
    for (unsigned i = 1; i < 100; i++)
        cr_assert_eq(limbo_take(&limbo, i + 8), i);
    cr_assert_eq(limbo_take(&limbo, 200), LIMBO_NONE);
    limbo_release(&limbo, 0);
    cr_assert_eq(limbo_take(&limbo, 200), 0);
}

/* ---- with threads ---- */

#define N_THREADS 4
#define EACH_PAGES 600

static struct world *shared;
static _Atomic bool stop;

static void *verify(void *arg)
{
    uint32_t thread = (uint32_t)(uintptr_t)arg;
    unsigned seed = thread;
    uint64_t *p = heap_allocate(&shared->heap, EACH_PAGES * PAGE_BYTES, 0);
    static _Thread_local uint64_t expected[EACH_PAGES];

    cr_assert_not_null(p);
    while (!stop) {
        size_t i = (size_t)rand_r(&seed) % EACH_PAGES;

        cr_assert_eq(fake_load(shared, p + i * WORDS + i % WORDS, thread), expected[i]);
        expected[i] = (uint64_t)rand_r(&seed);
        fake_store(shared, p + i * WORDS + i % WORDS, expected[i], thread);
    }
    return NULL;
}

Test(limit, moves_while_threads_work)
{
    pthread_t threads[N_THREADS];
    unsigned seed = 1;

    shared = world_new(RANGE, 500, true);
    for (size_t i = 0; i < N_THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, verify, (void *)(uintptr_t)(i + 1)), 0);
    for (unsigned i = 0; i < 60; i++) {
        size_t limit = 8 + (size_t)rand_r(&seed) % 1200;
        size_t charged;

        (void)heap_set_limit(&shared->heap, limit, UNBOUNDED);
        for (unsigned k = 0; k < 5; k++) {
            os_lock_take(&shared->pager.reclaim.lock);
            charged = shared->pager.reclaim.charged - shared->pager.reclaim.exceeded_peak;
            os_lock_release(&shared->pager.reclaim.lock);
            cr_assert_leq(charged, limit);
            os_sleep_ms(1);
        }
    }
    stop = true;
    for (size_t i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    cr_assert_leq(shared->pager.reclaim.exceeded_peak, 4 * N_THREADS);
}
