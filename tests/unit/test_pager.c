/* test_pager.c - residency, faults and eviction, with the fake backend. */
#include "platform/thread.h"
#include "tests/unit/fake.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define RANGE (256 * MIB)
#define WORDS (PAGE_BYTES / sizeof(uint64_t))

/* A block of @n_pages, each with its number in its first word and noise in some others, over a limit. */
static uint64_t *block_filled_by(struct world *w, size_t n_pages, uint32_t thread)
{
    uint64_t *p = heap_allocate(&w->heap, n_pages * PAGE_BYTES, 0);

    cr_assert_not_null(p);
    for (size_t i = 0; i < n_pages; i++) {
        fake_store(w, p + i * WORDS, i + 1, thread);
        fake_store(w, p + i * WORDS + 17 + i % 400, i * 0x9e3779b97f4a7c15u, thread);
    }
    return p;
}

static uint64_t *filled_block(struct world *w, size_t n_pages)
{
    return block_filled_by(w, n_pages, 1);
}

static void check_block(struct world *w, const uint64_t *p, size_t n_pages)
{
    for (size_t i = 0; i < n_pages; i++) {
        cr_assert_eq(fake_load(w, p + i * WORDS, 1), i + 1);
        cr_assert_eq(fake_load(w, p + i * WORDS + 17 + i % 400, 1), i * 0x9e3779b97f4a7c15u);
    }
}

static size_t count_present(struct world *w, const uint64_t *p, size_t n_pages)
{
    size_t n = 0;

    for (size_t i = 0; i < n_pages; i++)
        n += fake_is_present(w, p + i * WORDS);
    return n;
}

Test(pager, sleeps_while_all_blocks_fit)
{
    struct world *w = world_new(RANGE, 100, true);

    (void)filled_block(w, 60);
    (void)filled_block(w, 40);
    cr_assert(!pager_is_engaged(&w->pager));
    (void)heap_allocate(&w->heap, 1, 0);
    cr_assert(pager_is_engaged(&w->pager));
}

Test(pager, pages_resident_before_it_engaged_are_known_and_keep_their_bytes)
{
    struct world *w = world_new(RANGE, 100, true);
    uint64_t *p = filled_block(w, 90);
    uint64_t *q;

    cr_assert(!pager_is_engaged(&w->pager));
    q = filled_block(w, 200);
    cr_assert(pager_is_engaged(&w->pager));
    check_block(w, p, 90);
    check_block(w, q, 200);
    cr_assert_leq(w->pager.reclaim.charged_peak, 100);
}

Test(pager, limit_holds_at_every_touch_and_nothing_is_lost)
{
    static const size_t limits[] = {5, 6, 16, 64, 200};

    for (size_t k = 0; k < sizeof limits / sizeof limits[0]; k++) {
        struct world *w = world_new(RANGE, limits[k], true);
        uint64_t *p = filled_block(w, 600);

        for (size_t i = 0; i < 600; i += 37) {
            (void)fake_load(w, p + i * WORDS, 1);
            cr_assert_leq(count_present(w, p, 600), limits[k]);
        }
        check_block(w, p, 600);
        cr_assert_leq(w->pager.reclaim.charged_peak, limits[k]);
        cr_assert_eq(w->pager.reclaim.exceeded_peak, 0);
    }
}

Test(pager, eviction_releases_the_frames)
{
    struct world *w = world_new(RANGE, 64, true);
    uint64_t *p = filled_block(w, 1000);

    cr_assert_leq(count_present(w, p, 1000), 64);
    cr_assert_geq(w->pager.table.n_frozen + w->pager.table.n_same, 936);
    cr_assert_gt(w->pager.store.pool.held_bytes, 0);
}

Test(pager, same_filled_pages_need_no_image)
{
    struct world *w = world_new(RANGE, 64, true);
    uint64_t *p = heap_allocate(&w->heap, 500 * PAGE_BYTES, 0);

    for (size_t i = 0; i < 500; i++)
        for (size_t k = 0; k < WORDS; k++)
            fake_store(w, p + i * WORDS + k, i * 0x0123456789abcdefu, 1);
    cr_assert_geq(w->pager.table.n_same, 430);
    cr_assert_leq(w->pager.store.pool.n_images, 2);
    for (size_t i = 0; i < 500; i++)
        cr_assert_eq(fake_load(w, p + i * WORDS + i, 1), i * 0x0123456789abcdefu);
}

Test(pager, cooled_page_comes_back_by_a_soft_fault)
{
    struct world *w = world_new(RANGE, 160, true);
    uint64_t *p = filled_block(w, 400);
    uint64_t freezes;
    size_t i = 400;

    while (i-- > 0)
        if (page_state(page_at(&w->pager.table, (page_number)i)) == PAGE_COOLED)
            break;
    freezes = w->pager.reclaim.counters.thaws;
    cr_assert_eq(fake_load(w, p + i * WORDS, 1), i + 1);
    cr_assert_gt(w->pager.reclaim.counters.soft_faults, 0);
    cr_assert_eq(w->pager.reclaim.counters.thaws, freezes);
}

Test(pager, freeing_frozen_memory_thaws_nothing)
{
    struct world *w = world_new(RANGE, 64, true);
    uint64_t *p = filled_block(w, 1000);
    uint64_t thaws = w->pager.reclaim.counters.thaws;

    heap_free(&w->heap, p, "test");
    cr_assert_eq(w->pager.reclaim.counters.thaws, thaws);
    cr_assert_eq(w->pager.store.pool.n_images, 0);
    cr_assert_eq(w->pager.reclaim.charged, 0);
}

Test(pager, fresh_block_in_place_of_a_frozen_one_is_zero)
{
    struct world *w = world_new(RANGE, 64, true);
    uint64_t *p = filled_block(w, 500);
    uint64_t *q;

    heap_free(&w->heap, p, "test");
    q = heap_allocate(&w->heap, 500 * PAGE_BYTES, 0);
    cr_assert_eq(q, p);
    for (size_t i = 0; i < 500; i++)
        for (size_t k = 0; k < WORDS; k += 13)
            cr_assert_eq(fake_load(w, q + i * WORDS + k, 1), 0);
}

Test(pager, discard_in_the_middle_of_a_block_reads_as_zeros)
{
    struct world *w = world_new(RANGE, 64, true);
    uint64_t *p = filled_block(w, 500);

    cr_assert_eq(pager_discard(&w->pager, 100, 300), 0);
    for (size_t i = 0; i < 500; i++)
        cr_assert_eq(fake_load(w, p + i * WORDS, 1), i >= 100 && i < 400 ? 0 : i + 1);
}

Test(pager, moving_a_frozen_block_thaws_nothing_and_keeps_every_byte)
{
    struct world *w = world_new(RANGE, 64, true);
    uint64_t *p = filled_block(w, 1000);
    void *fence = heap_allocate(&w->heap, PAGE_BYTES, 0);
    uint64_t thaws = w->pager.reclaim.counters.thaws;
    uint64_t *q = heap_resize(&w->heap, p, 2000 * PAGE_BYTES, "test");

    cr_assert_neq(q, p);
    cr_assert_eq(w->pager.reclaim.counters.thaws, thaws);
    check_block(w, q, 1000);
    cr_assert_eq(fake_load(w, q + 1500 * WORDS, 1), 0);
    heap_free(&w->heap, fence, "test");
}

static void move_large_block(bool can_move)
{
    const size_t n_pages = PAGER_MOVE_GROUPS_FROM + 700;
    struct world *w = world_new(RANGE, 1500, can_move);
    void *head = heap_allocate(&w->heap, 300 * PAGE_BYTES, 0);
    uint64_t *p = filled_block(w, n_pages);
    uint64_t thaws = w->pager.reclaim.counters.thaws;
    size_t meta_bytes = pagetable_meta_bytes(&w->pager.table);
    size_t n_cooled = w->pager.reclaim.limbo.n_resting;
    uint64_t *q;

    (void)heap_allocate(&w->heap, PAGE_BYTES, 0);
    q = heap_resize(&w->heap, p, (n_pages + 1) * PAGE_BYTES, "test");
    cr_assert_neq(q, p);
    cr_assert_eq(((uintptr_t)q - (uintptr_t)p) / PAGE_BYTES % PAGETABLE_GROUP_PAGES, 0);
    cr_assert_eq(w->pager.reclaim.counters.thaws, thaws);
    cr_assert_eq(w->pager.reclaim.limbo.n_resting, n_cooled);
    /* The groups at both ends are shared with the neighbours, at the old place and at the new one. */
    cr_assert_leq(pagetable_meta_bytes(&w->pager.table), meta_bytes + 2 * PAGETABLE_GROUP_PAGES * sizeof(struct page));
    check_block(w, q, n_pages);
    /* What it left is as good as new. */
    p = filled_block(w, n_pages);
    check_block(w, p, n_pages);
    check_block(w, q, n_pages);
    heap_free(&w->heap, p, "test");
    heap_free(&w->heap, q, "test");
    heap_free(&w->heap, head, "test");
    cr_assert_eq(w->pager.reclaim.charged, 0);
    cr_assert_eq(w->pager.store.pool.n_images, 0);
}

Test(pager, large_block_moves_with_its_tables)
{
    move_large_block(true);
}

Test(pager, large_block_moves_with_its_tables_where_pages_cannot_move)
{
    move_large_block(false);
}

Test(pager, page_that_will_not_move_is_copied_when_its_block_moves)
{
    struct world *w = world_new(RANGE, 64, true);
    uint64_t *p = filled_block(w, 200);
    uint64_t *q;

    (void)heap_allocate(&w->heap, PAGE_BYTES, 0);
    (void)fake_load(w, p + 7 * WORDS, 1);
    atomic_store(&w->fake.busy_page, (uintptr_t)(p + 7 * WORDS));
    q = heap_resize(&w->heap, p, 400 * PAGE_BYTES, "test");
    atomic_store(&w->fake.busy_page, 0);
    check_block(w, q, 200);
}

Test(pager, pinned_page_stays_is_counted_and_goes_later)
{
    struct world *w = world_new(RANGE, 64, true);
    uint64_t *p = filled_block(w, 30);
    uint64_t *q;

    atomic_store(&w->fake.busy_page, (uintptr_t)(p + 3 * WORDS));
    q = filled_block(w, 500);
    cr_assert(fake_is_present(w, p + 3 * WORDS));
    cr_assert_gt(w->pager.reclaim.counters.busy_pages, 0);
    cr_assert_eq(w->pager.reclaim.exceeded_peak, 0);
    atomic_store(&w->fake.busy_page, 0);
    check_block(w, q, 500);
    cr_assert(!fake_is_present(w, p + 3 * WORDS));
    check_block(w, p, 30);
}

static size_t first_cooled(const struct world *w, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (page_state(page_at(&w->pager.table, (page_number)i)) == PAGE_COOLED)
            return i;
    return n;
}

/* As a page whose frame another process shares. */
Test(pager, cooled_page_that_cannot_be_moved_back_is_copied)
{
    struct world *w = world_new(RANGE, 64, true);
    uint64_t *p = filled_block(w, 200);
    size_t number = first_cooled(w, 200);

    cr_assert_lt(number, 200);
    atomic_store(&w->fake.busy_page, limbo_address(&w->pager.reclaim.limbo, page_at(&w->pager.table, (page_number)number)->value));
    (void)fake_load(w, p + number * WORDS, 1);
    cr_assert(fake_is_present(w, p + number * WORDS));
    atomic_store(&w->fake.busy_page, 0);
    check_block(w, p, 200);
}

Test(pager, page_of_another_mapping_is_frozen_in_place)
{
    struct world *w = world_new(RANGE, 64, true);
    uint64_t *p = filled_block(w, 30);
    uint64_t *q;

    atomic_store(&w->fake.odd_page, (uintptr_t)(p + 3 * WORDS));
    q = filled_block(w, 500);
    cr_assert(!fake_is_present(w, p + 3 * WORDS));
    cr_assert_gt(w->pager.reclaim.counters.freezes_in_place, 0);
    atomic_store(&w->fake.odd_page, 0);
    check_block(w, p, 30);
    check_block(w, q, 500);
}

Test(pager, full_pool_makes_the_limit_yield_and_loses_nothing)
{
    struct world *w = world_new(RANGE, 64, true);
    uint64_t *p;
    uint64_t random = 1;

    w->pager.pool_bound_bytes = 128 * KIB;
    p = heap_allocate(&w->heap, 300 * PAGE_BYTES, 0);
    for (size_t i = 0; i < 300 * WORDS; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        fake_store(w, p + i, random, 1);
    }
    cr_assert_gt(w->pager.reclaim.exceeded_peak, 100);
    cr_assert_leq(w->pager.store.pool.held_bytes, 128 * KIB);
    random = 1;
    for (size_t i = 0; i < 300 * WORDS; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        cr_assert_eq(fake_load(w, p + i, 1), random);
    }
}

Test(pager, system_without_a_frame_is_asked_again)
{
    struct world *w = world_new(RANGE, 64, true);
    uint64_t *p = filled_block(w, 300);

    atomic_store(&w->fake.fail_fills, 5);
    check_block(w, p, 300);
    cr_assert_leq(w->pager.reclaim.charged_peak, 64);
}

static void *touch_first_page(void *arg)
{
    struct world *w = arg;

    fake_store(w, (uint64_t *)w->pager.space.near_base, 1, 1);
    return NULL;
}

/* As another thread in the middle of free() would leave it for a moment: all frames charged, and no page to evict. */
Test(pager, frames_on_their_way_back_are_waited_for)
{
    struct world *w = world_new(RANGE, 64, true);
    struct reclaim *r = &w->pager.reclaim;
    pthread_t thread;

    cr_assert_not_null(heap_allocate(&w->heap, 100 * PAGE_BYTES, 0));
    os_lock_take(&r->lock);
    r->charged = 64;
    r->n_operations = 1;
    os_lock_release(&r->lock);
    cr_assert_eq(pthread_create(&thread, NULL, touch_first_page, w), 0);
    os_sleep_ms(100);
    os_lock_take(&r->lock);
    cr_assert_eq(r->charged, 64);
    r->charged = 0;
    r->n_operations = 0;
    os_lock_release(&r->lock);
    os_event_signal(&r->transit_ended);
    pthread_join(thread, NULL);
    cr_assert_eq(r->charged, 1);
    cr_assert_eq(r->exceeded_peak, 0);
}

Test(pager, sequential_faults_read_ahead_and_stop_at_the_end_of_the_block)
{
    struct world *w = world_new(RANGE, 1024, true);
    uint64_t *p = heap_allocate(&w->heap, 2000 * PAGE_BYTES, 0);
    uint64_t *q = heap_allocate(&w->heap, 100 * PAGE_BYTES, 0);

    for (size_t i = 0; i < 2000; i++)
        fake_store(w, p + i * WORDS, i + 1, 1);
    cr_assert_gt(w->pager.reclaim.counters.read_ahead_pages, 1500);
    cr_assert_lt(w->pager.reclaim.counters.faults, 200);
    cr_assert_eq(count_present(w, q, 100), 0, "not a page of the next block");
}

Test(pager, read_ahead_remembers_the_end_of_a_block_whose_pages_were_all_discarded)
{
    struct world *w = world_new(RANGE, 1024, true);
    uint64_t *p = heap_allocate(&w->heap, 2000 * PAGE_BYTES, 0);
    uint64_t *q = heap_allocate(&w->heap, 100 * PAGE_BYTES, 0);

    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < 2000; i++)
            fake_store(w, p + i * WORDS, i + 1, 1);
        cr_assert_eq(pager_discard(&w->pager, 0, 2000), 0);
    }
    cr_assert_eq(count_present(w, q, 100), 0, "not a page of the next block");
    heap_free(&w->heap, p, "test");
    heap_free(&w->heap, q, "test");
    cr_assert_eq(pagetable_meta_bytes(&w->pager.table), 0);
}

Test(pager, page_that_the_program_touched_after_free_is_clean_for_the_next_block)
{
    struct world *w = world_new(RANGE, 64, true);
    uint64_t *p = filled_block(w, 200);
    uint64_t *fence = heap_allocate(&w->heap, PAGE_BYTES, 0);
    uint64_t *q;

    heap_free(&w->heap, p, "test");
    fake_store(w, p + 7 * WORDS, 99, 1); /* a bug of the program's */
    q = heap_allocate(&w->heap, 200 * PAGE_BYTES, 0);
    cr_assert_eq(q, p);
    cr_assert_eq(fake_load(w, q + 7 * WORDS, 1), 0);
    for (size_t i = 0; i < 200; i++)
        fake_store(w, q + i * WORDS, i + 1, 1);
    heap_free(&w->heap, q, "test");
    heap_free(&w->heap, fence, "test");
    cr_assert_eq(w->pager.reclaim.charged, 0);
}

Test(pager, random_faults_bring_in_one_page)
{
    struct world *w = world_new(RANGE, 256, true);
    uint64_t *p = filled_block(w, 2000);
    uint64_t read_ahead = w->pager.reclaim.counters.read_ahead_pages;
    uint64_t at = 1;

    for (int i = 0; i < 500; i++) {
        at = at * 1103515245 + 12345;
        (void)fake_load(w, p + (at >> 8) % 2000 * WORDS, 1);
    }
    cr_assert_lt(w->pager.reclaim.counters.read_ahead_pages - read_ahead, 20);
}

Test(pager, compaction_in_a_running_system_keeps_every_byte)
{
    struct world *w = world_new(RANGE, 64, true);
    uint64_t *blocks[64];

    for (size_t i = 0; i < 64; i++) {
        blocks[i] = heap_allocate(&w->heap, 100 * PAGE_BYTES, 0);
        for (size_t k = 0; k < 100 * WORDS; k++)
            fake_store(w, blocks[i] + k, (i * 977 + k) * (k % 3 == 0 ? 0x9e3779b97f4a7c15u : 1), 1);
    }
    for (size_t i = 0; i < 64; i++)
        if (i % 4 != 0)
            heap_free(&w->heap, blocks[i], "test");
    reclaim_compact(&w->pager.reclaim);
    for (size_t i = 0; i < 64; i += 4)
        for (size_t k = 0; k < 100 * WORDS; k++)
            cr_assert_eq(fake_load(w, blocks[i] + k, 1), (i * 977 + k) * (k % 3 == 0 ? 0x9e3779b97f4a7c15u : 1));
}

Test(pager, child_that_may_not_watch_gets_all_its_pages_back)
{
    struct world *w = world_new(RANGE, 64, true);
    uint64_t *p = filled_block(w, 500);

    heap_fork_prepare(&w->heap);
    w->fake.restart_error = -EPERM;
    heap_fork_child(&w->heap);
    cr_assert(!pager_is_engaged(&w->pager));
    for (size_t i = 0; i < 500; i++)
        cr_assert_eq(p[i * WORDS], i + 1);
    cr_assert_null(heap_allocate(&w->heap, PAGE_BYTES, 0));
    heap_free(&w->heap, p, "test");
}

Test(pager, parent_goes_on_after_a_fork)
{
    struct world *w = world_new(RANGE, 64, true);
    uint64_t *p = filled_block(w, 500);

    heap_fork_prepare(&w->heap);
    heap_fork_parent(&w->heap);
    check_block(w, p, 500);
}

/* ---- many threads ---- */

#define N_THREADS 6
#define N_PAGES 300
#define ROUNDS 4000

struct job {
    struct world *w;
    uint64_t *p;
    uint32_t thread;
};

static void *update_at_random(void *arg)
{
    struct job *job = arg;
    uint64_t random = job->thread * 7919;

    for (int i = 0; i < ROUNDS; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        fake_add(job->w, job->p + (random >> 33) % N_PAGES * WORDS, 1, job->thread);
        if (i % 512 == 0)
            heap_free(&job->w->heap, block_filled_by(job->w, 20, job->thread), "test");
    }
    return NULL;
}

static void run_threads(size_t limit, bool can_move)
{
    struct world *w = world_new(RANGE, limit, can_move);
    uint64_t *p = heap_allocate(&w->heap, N_PAGES * PAGE_BYTES, 0);
    pthread_t threads[N_THREADS];
    struct job jobs[N_THREADS];
    uint64_t sum = 0;

    for (uint32_t i = 0; i < N_THREADS; i++) {
        jobs[i] = (struct job){w, p, i + 1};
        cr_assert_eq(pthread_create(&threads[i], NULL, update_at_random, &jobs[i]), 0);
    }
    for (size_t i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < N_PAGES; i++)
        sum += fake_load(w, p + i * WORDS, 1);
    cr_assert_eq(sum, (uint64_t)N_THREADS * ROUNDS);
}

Test(pager, updates_of_many_threads_are_all_there)
{
    run_threads(64, true);
}

Test(pager, updates_of_many_threads_are_all_there_where_pages_cannot_move)
{
    run_threads(64, false);
}

Test(pager, updates_of_many_threads_are_all_there_at_five_pages)
{
    run_threads(5, true);
}

/* Two arrays filled in turns: each batch has neighbours of both, and a move is a system call that interrupts other processors. */
Test(pager, neighbours_leave_together_though_others_came_in_between)
{
    enum { HALF = 1000, LIMIT = 256 };
    struct world *w = world_new(RANGE, LIMIT, true);
    uint64_t *p = heap_allocate(&w->heap, 2 * HALF * PAGE_BYTES, 0);

    cr_assert_not_null(p);
    w->pager.reclaim.streams.paused = true;
    for (size_t i = 0; i < HALF; i++) {
        fake_store(w, p + i * WORDS, i, 1);
        fake_store(w, p + (HALF + i) * WORDS, HALF + i, 2);
    }
    cr_assert_leq(w->fake.n_moves, (2 * HALF - LIMIT) / 3);
    for (size_t i = 0; i < 2 * HALF; i++)
        cr_assert_eq(fake_load(w, p + i * WORDS, 1), i);
}
