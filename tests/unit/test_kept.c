/* test_kept.c - images that stay with a page that has come in, with the fake backend. */
#include "platform/inject.h"
#include "tests/unit/contents.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

static void pages_only_read_are_compressed_once(bool can_move, bool can_fill_protected)
{
    struct world *w = world_new(RANGE, LIMIT, can_move);
    uint64_t *p = pages(w);
    uint64_t n_made;

    w->fake.contract.can_fill_protected = can_fill_protected;
    read_pages(w, p, 1);
    n_made = w->pager.store.pool.n_images_made;
    for (unsigned i = 0; i < 3; i++)
        read_pages(w, p, 1);
    cr_assert_leq(w->pager.store.pool.n_images_made - n_made, 3 * N / 2);
    cr_assert_gt(w->pager.reclaim.counters.clean_drops, N);
    free_all(w, p);
}

Test(kept, pages_only_read_are_compressed_once)
{
    pages_only_read_are_compressed_once(true, true);
}

Test(kept, pages_only_read_are_compressed_once_where_they_cannot_move)
{
    pages_only_read_are_compressed_once(false, true);
}

Test(kept, hashes_tell_where_pages_cannot_be_protected)
{
    pages_only_read_are_compressed_once(true, false);
}

Test(kept, hashes_tell_where_pages_can_neither_be_moved_nor_protected)
{
    pages_only_read_are_compressed_once(false, false);
}

Test(kept, page_that_was_only_read_leaves_from_where_it_is)
{
    struct world *w = world_new(RANGE, LIMIT, true);
    uint64_t *p = pages(w);
    uint64_t n_moves;

    for (unsigned i = 0; i < 3; i++)
        read_pages(w, p, 1);
    n_moves = w->fake.n_moves;
    for (unsigned i = 0; i < 3; i++)
        read_pages(w, p, 1);
    cr_assert_leq(w->fake.n_moves - n_moves, N / 10);
    cr_assert_eq(w->pager.reclaim.counters.write_faults, 0);
    free_all(w, p);
}

/* With the pool nearly full no image is kept: pages are compressed again, but not moved. */
Test(kept, page_that_was_only_read_leaves_from_where_it_is_also_without_an_image)
{
    struct world *w = world_new(RANGE, N / 2, true);
    uint64_t *p = pages(w);
    uint64_t n_moves;
    uint64_t n_made;

    for (unsigned i = 0; i < 3; i++)
        read_pages(w, p, 1);
    w->pager.store.pool.bound_bytes = w->pager.store.pool.held_bytes + w->pager.store.pool.held_bytes / 16;
    read_pages(w, p, 1);
    n_moves = w->fake.n_moves;
    n_made = w->pager.store.pool.n_images_made;
    for (unsigned i = 0; i < 3; i++)
        read_pages(w, p, 1);
    cr_assert_gt(w->pager.store.pool.n_images_made - n_made, N / 2);
    cr_assert_leq(w->fake.n_moves - n_moves, N / 10);
    free_all(w, p);
}

Test(kept, unwritten_page_for_whose_image_there_is_no_memory_stays)
{
    struct world *w = world_new(RANGE, LIMIT, true);
    uint64_t *p = pages(w);
    uint64_t bound = w->pager.store.pool.bound_bytes;

    read_pages(w, p, 1);
    read_pages(w, p, 1);
    w->pager.store.pool.bound_bytes = 0; /* no memory for images */
    read_pages(w, p, 1);
    cr_assert_gt(w->pager.reclaim.counters.pool_full, 0);
    w->pager.store.pool.bound_bytes = bound;
    for (size_t i = 0; i < N; i += 3)
        write_page(w, p, i, 2);
    for (size_t i = 0; i < N; i++)
        read_page(w, p, i, i % 3 == 0 ? 2 : 1);
    free_all(w, p);
}

/* An older kernel, or a filter: pages are dropped one by one. */
Test(kept, clean_pages_leave_also_where_the_kernel_drops_only_one_at_a_time)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0 /* nr */),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 440 /* process_madvise */, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = 4, .filter = filter};
    struct world *w = world_new(RANGE, LIMIT, true);
    uint64_t *p = pages(w);
    uint64_t n_moves;

    cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
    for (unsigned i = 0; i < 3; i++)
        read_pages(w, p, 1);
    n_moves = w->fake.n_moves;
    read_pages(w, p, 1);
    cr_assert_leq(w->fake.n_moves - n_moves, N / 10);
    free_all(w, p);
}

Test(kept, changed_page_never_gets_its_old_image)
{
    struct world *w = world_new(RANGE, LIMIT, true);
    uint64_t *p = pages(w);

    for (uint64_t round = 2; round < 6; round++) {
        read_pages(w, p, round - 1);
        write_pages(w, p, round);
    }
    read_pages(w, p, 5);
    free_all(w, p);
}

Test(kept, kept_images_are_a_sixth_of_all_at_the_most)
{
    struct world *w = world_new(RANGE, 256, true);
    const struct writeback *wb = &w->pager.reclaim.writeback;
    uint64_t *p = pages(w);

    for (unsigned i = 0; i < 3; i++) {
        read_pages(w, p, 1);
        cr_assert_leq(wb->kept_bytes * 6, 256 * PAGE_BYTES + w->pager.store.pool.made_bytes / w->pager.store.pool.n_images_made * (N + 64));
    }
    cr_assert_gt(wb->kept_bytes, 0);
    free_all(w, p);
}

Test(kept, none_is_kept_while_every_page_leaves_changed)
{
    struct world *w = world_new(RANGE, LIMIT, true);
    uint64_t *p = pages(w);

    for (unsigned i = 0; i < 4; i++)
        for (size_t k = 0; k < N; k++)
            fake_add(w, p + k * WORDS, 1, 1);
    cr_assert_leq(w->pager.reclaim.writeback.kept.n_images, LIMIT / 8);
    for (unsigned i = 0; i < 20; i++)
        for (size_t k = 0; k < N; k++)
            (void)fake_load(w, p + k * WORDS, 1);
    cr_assert_gt(w->pager.reclaim.writeback.kept.n_images, LIMIT / 4, "pages are only read again");
}

/* Nothing is freed by what comes in, because it is new; what leaves first is dirty, and needs room. */
Test(kept, images_of_resident_pages_yield_to_a_full_pool)
{
    struct world *w = world_new(RANGE, LIMIT, true);
    struct writeback *wb = &w->pager.reclaim.writeback;
    uint64_t *p = pages(w);
    uint64_t *fresh;

    for (size_t i = 0; i < 20; i++)
        write_page(w, p, i, 2);
    for (size_t i = 100; i < 130; i++)
        read_page(w, p, i, 1);
    cr_assert_gt(wb->kept.n_images, 15);
    w->pager.store.pool.bound_bytes = w->pager.store.pool.held_bytes;
    fresh = heap_allocate(&w->heap, 10 * PAGE_BYTES, 0);
    for (size_t i = 0; i < 10; i++)
        write_page(w, fresh, i, 3);
    cr_assert_eq(w->pager.reclaim.counters.pool_full, 0);
    cr_assert_eq(w->pager.reclaim.exceeded_peak, 0);
    cr_assert_eq(wb->kept_bytes, 0);
    for (size_t i = 0; i < N; i++)
        read_page(w, p, i, i < 20 ? 2 : 1);
    for (size_t i = 0; i < 10; i++)
        read_page(w, fresh, i, 3);
    heap_free(&w->heap, fresh, "test");
    free_all(w, p);
}

Test(kept, only_images_with_a_hash_take_room_for_one)
{
    const struct kept_hash hash = {.low = 1, .high = 2};
    const size_t n_images = PAGE_BYTES / 8 - 1; /* number 0 is none */
    struct kept kept;
    uint32_t number = 0;

    fake_take_pager_lock();
    kept_init(&kept, 1000);
    cr_assert_eq(kept_meta_bytes(&kept), 0);
    for (uint32_t i = 0; i < n_images; i++)
        number = kept_add_locked(&kept, i, KEPT_IN_POOL | 100, KEPT_NO_HASH);
    cr_assert(!kept_is_hash(kept_hash_at(&kept, number)));
    cr_assert_eq(kept_meta_bytes(&kept), PAGE_BYTES);
    cr_assert_eq(kept_take_locked(&kept, 5).handle, 4);
    cr_assert_eq(kept_add_locked(&kept, 77, 3, hash), 5, "the free number");
    cr_assert(kept_same(kept_hash_at(&kept, 5), hash) && !kept_same(kept_hash_at(&kept, 5), kept_hash_at(&kept, 6)));
    cr_assert_eq(kept_meta_bytes(&kept), 2 * PAGE_BYTES);
    cr_assert_eq(kept_take_locked(&kept, 5).n_units, 3);
    cr_assert_eq(kept_add_locked(&kept, 78, KEPT_IN_POOL | 100, KEPT_NO_HASH), 5);
    cr_assert(!kept_is_hash(kept_hash_at(&kept, 5)));
}

Test(kept, without_memory_for_its_tables_none_is_kept)
{
    const struct kept_hash hash = {.low = 1};

    fake_take_pager_lock();
    for (int failing = 1; failing <= 6; failing++) {
        struct kept kept;

        atomic_store(&os_inject_countdown, failing);
        kept_init(&kept, 10);
        cr_assert_eq(kept.capacity, failing <= 5 ? 0 : 10, "at call %d", failing);
        atomic_store(&os_inject_countdown, 0);
        cr_assert_eq(kept_add_locked(&kept, 1, 1, hash) != 0, failing > 5);
    }
}

Test(kept, kept_images_can_be_given_up)
{
    struct world *w = world_new(RANGE, LIMIT, true);
    const struct writeback *wb = &w->pager.reclaim.writeback;
    uint64_t *p = pages(w);
    uint64_t n_images;
    uint32_t n_kept;

    read_pages(w, p, 1);
    n_kept = wb->kept.n_images;
    n_images = w->pager.store.pool.n_images;
    cr_assert_gt(n_kept, 0);
    reclaim_yield_kept(&w->pager.reclaim);
    cr_assert_eq(wb->kept.n_images, 0);
    cr_assert_eq(wb->kept_bytes, 0);
    cr_assert_eq(w->pager.store.pool.n_images, n_images - n_kept);
    read_pages(w, p, 1);
    free_all(w, p);
}

static uint64_t sum_of_handles(const struct kept *kept)
{
    uint64_t sum = 0;

    for (uint32_t i = 1; i <= kept->n_carved; i++)
        sum += kept_is_pooled(&kept->images[i]) ? kept->images[i].handle : 0;
    return sum;
}

Test(kept, compaction_moves_kept_images_too)
{
    struct world *w = world_new(RANGE, 1024, true);
    uint64_t *blocks[16];
    const size_t n_blocks = sizeof blocks / sizeof blocks[0];
    uint64_t before;

    /* Their images lie side by side, and most of them go. */
    for (size_t i = 0; i < n_blocks; i++)
        blocks[i] = heap_allocate(&w->heap, N * PAGE_BYTES, 0);
    for (size_t page = 0; page < N; page++)
        for (size_t i = 0; i < n_blocks; i++)
            write_page(w, blocks[i], page, 1);
    for (size_t i = 0; i < n_blocks; i++)
        if (i % 8 != 0)
            heap_free(&w->heap, blocks[i], "test");
    read_pages(w, blocks[0], 1);
    read_pages(w, blocks[8], 1);
    cr_assert_gt(w->pager.reclaim.writeback.kept_bytes, 0);
    before = sum_of_handles(&w->pager.reclaim.writeback.kept);
    reclaim_compact(&w->pager.reclaim);
    cr_assert_neq(sum_of_handles(&w->pager.reclaim.writeback.kept), before);
    cr_assert_eq(w->pager.reclaim.counters.compactions, 1);
    for (unsigned round = 0; round < 3; round++) {
        read_pages(w, blocks[0], 1);
        read_pages(w, blocks[8], 1);
    }
    heap_free(&w->heap, blocks[0], "test");
    free_all(w, blocks[8]);
}

Test(kept, pages_that_stay_leave_room_for_images_of_others)
{
    struct world *w = world_new(RANGE, LIMIT, true);
    struct writeback *wb = &w->pager.reclaim.writeback;
    uint64_t held;

    (void)pages(w);
    held = wb->limit_bytes + wb->store->pool.held_bytes;
    os_lock_take(wb->lock);
    wb->kept_bytes = held / 1000 * 145;
    cr_assert(writeback_wants_kept_locked(wb, true, false));
    cr_assert(!writeback_wants_kept_locked(wb, true, true));
    wb->kept_bytes = held / 100 * 13;
    cr_assert(writeback_wants_kept_locked(wb, true, true));
    wb->kept_bytes = held / 1000 * 152;
    cr_assert(!writeback_wants_kept_locked(wb, true, false));
    os_lock_release(wb->lock);
}
