/* test_swap.c - images that leave RAM: write-back, cleaning, and a disk that fails. */
#include "core/writeback_round.h"
#include "platform/inject.h"
#include "platform/swapfile.h"
#include "tests/unit/fake.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RANGE (1 * GIB)
#define WORDS (PAGE_BYTES / sizeof(uint64_t))
#define LIMIT 128
/* Half noise: an image of some 2 KiB, so that a thousand of them fill eight segments. */
#define NOISE_WORDS (WORDS / 2)

static struct world *swap_world(size_t limit, uint64_t max_bytes, bool encrypts, bool plain)
{
    struct world *w = world_new(RANGE, limit, true);

    world_use_swap(w, max_bytes, encrypts, plain);
    return w;
}

static uint64_t word_of(size_t page, size_t k, uint64_t salt)
{
    uint64_t x = (page * WORDS + k + salt) * 0x9e3779b97f4a7c15u;

    return x ^ x >> 29;
}

static void write_page(struct world *w, uint64_t *p, size_t page, uint64_t salt)
{
    for (size_t k = 0; k < NOISE_WORDS; k++)
        fake_store(w, p + page * WORDS + k, word_of(page, k, salt), 1);
}

static bool is_written(struct world *w, const uint64_t *p, size_t page, uint64_t salt)
{
    for (size_t k = 0; k < NOISE_WORDS; k += 7)
        if (fake_load(w, p + page * WORDS + k, 1) != word_of(page, k, salt))
            return false;
    return fake_load(w, p + page * WORDS + WORDS - 1, 1) == 0;
}

static uint64_t *written_block(struct world *w, size_t n_pages, uint64_t salt)
{
    uint64_t *p = heap_allocate(&w->heap, n_pages * PAGE_BYTES, 0);

    cr_assert_not_null(p);
    for (size_t i = 0; i < n_pages; i++)
        write_page(w, p, i, salt);
    return p;
}

static void check_block(struct world *w, const uint64_t *p, size_t n_pages, uint64_t salt)
{
    for (size_t i = 0; i < n_pages; i++)
        cr_assert(is_written(w, p, i, salt), "page %zu", i);
}

static struct writeback *writeback_of(struct world *w)
{
    return &w->pager.reclaim.writeback;
}

static uint64_t disk_bytes(struct world *w)
{
    uint64_t bytes = 0;

    for (unsigned i = 0; i < SWAP_MAX_FILES; i++) {
        struct stat status;

        if (writeback_of(w)->swap.files[i].fd >= 0 && fstat(writeback_of(w)->swap.files[i].fd, &status) == 0)
            bytes += (uint64_t)status.st_blocks * 512;
    }
    return bytes;
}

static void *run_background(void *arg)
{
    writeback_background(arg);
    return NULL;
}

/* For tests of what the background thread does; it ends with the process. */
static void start_background(struct world *w)
{
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, run_background, writeback_of(w)), 0);
    pthread_detach(thread);
}

static void inject(enum os_inject_kind kind, long first, long n, int error)
{
    atomic_store(&os_inject_io[kind].n_calls, 0);
    atomic_store(&os_inject_io[kind].n, n);
    atomic_store(&os_inject_io[kind].error, error);
    atomic_store(&os_inject_io[kind].first, first);
}

/* ---- write-back ---- */

static void data_comes_back(bool encrypts, bool plain)
{
    struct world *w = swap_world(LIMIT, UINT64_MAX, encrypts, plain);
    uint64_t *p = written_block(w, 3000, 1);
    struct writeback *wb = writeback_of(w);

    cr_assert_gt(w->pager.table.n_swapped, 2000);
    cr_assert_leq(w->pager.store.pool.held_bytes, wb->bound_bytes + 64 * KIB);
    check_block(w, p, 3000, 1);
    for (size_t i = 0; i < 3000; i += 3)
        write_page(w, p, i, 2);
    for (size_t i = 0; i < 3000; i++)
        cr_assert(is_written(w, p, i, i % 3 == 0 ? 2 : 1));
    cr_assert_leq(w->pager.reclaim.charged_peak, LIMIT);
    heap_free(&w->heap, p, "test");
    cr_assert_eq(w->pager.reclaim.charged, 0);
    cr_assert_eq(w->pager.store.pool.n_images, 0);
    cr_assert_eq(wb->swap.live_units, 0);
    cr_assert_eq(wb->swap.n_used, 0);
    cr_assert_eq(wb->kept.n_images, 0);
    cr_assert_eq(wb->queue.n_pages, 0);
}

Test(swap, images_leave_ram_and_come_back)
{
    data_comes_back(false, false);
}

Test(swap, encrypted_images_come_back)
{
    data_comes_back(true, false);
}

Test(swap, plain_pages_come_back)
{
    data_comes_back(false, true);
}

Test(swap, unchanged_page_leaves_without_being_written)
{
    struct world *w = swap_world(LIMIT, UINT64_MAX, false, false);
    uint64_t *p = written_block(w, 2000, 1);
    uint64_t written;

    check_block(w, p, 2000, 1);
    written = writeback_of(w)->swap.written_bytes;
    for (int round = 0; round < 3; round++)
        check_block(w, p, 2000, 1);
    /* The few that had never been in the file. */
    cr_assert_leq(writeback_of(w)->swap.written_bytes - written, 8 * SWAP_SEGMENT_BYTES);
    cr_assert_gt(w->pager.reclaim.counters.clean_drops, 3000);
}

Test(swap, page_changed_by_one_bit_is_not_taken_for_unchanged)
{
    struct world *w = swap_world(LIMIT, UINT64_MAX, false, false);
    uint64_t *p = written_block(w, 1000, 1);

    for (size_t i = 0; i < 1000; i++)
        fake_store(w, p + i * WORDS + 300, 1, 1);
    for (size_t i = 0; i < 1000; i++)
        cr_assert_eq(fake_load(w, p + i * WORDS + 300, 1), 1);
}

Test(swap, coldest_images_go_first)
{
    struct world *w = swap_world(LIMIT, UINT64_MAX, false, false);

    (void)written_block(w, 2000, 1);
    /* In a fill from the bottom upwards the lowest pages are the coldest. */
    for (page_number i = 0; i < 1000; i++)
        cr_assert_eq(page_state(page_at(&w->pager.table, i)), PAGE_SWAPPED, "page %u", i);
}

Test(swap, block_in_the_file_moves_without_being_read)
{
    struct world *w = swap_world(LIMIT, UINT64_MAX, false, false);
    const size_t n_pages = PAGER_MOVE_GROUPS_FROM + 100;
    uint64_t *p = written_block(w, n_pages, 1);
    uint64_t read_bytes = writeback_of(w)->swap.read_bytes;
    uint64_t *q;

    (void)heap_allocate(&w->heap, PAGE_BYTES, 0);
    q = heap_resize(&w->heap, p, (n_pages + 1) * PAGE_BYTES, "test");
    cr_assert_neq(q, p);
    cr_assert_eq(writeback_of(w)->swap.read_bytes, read_bytes);
    check_block(w, q, n_pages, 1);
    (void)heap_allocate(&w->heap, PAGE_BYTES, 0);
    p = heap_resize(&w->heap, q, (n_pages + 3000) * PAGE_BYTES, "test");
    for (size_t i = 0; i < n_pages; i += 2)
        write_page(w, p, i, 2);
    for (size_t i = 0; i < n_pages; i++)
        cr_assert(is_written(w, p, i, i % 2 == 0 ? 2 : 1));
}

Test(swap, freed_memory_makes_the_file_shrink)
{
    struct world *w = swap_world(LIMIT, UINT64_MAX, false, false);
    uint64_t *p = written_block(w, 1000, 1);
    uint64_t *q = written_block(w, 3000, 2);

    start_background(w);
    cr_assert_gt(disk_bytes(w), 4 * MIB);
    heap_free(&w->heap, q, "test");
    for (int i = 0; i < 500 && disk_bytes(w) > 3 * MIB; i++)
        usleep(10000);
    cr_assert_leq(disk_bytes(w), 3 * MIB);
    check_block(w, p, 1000, 1);
    heap_free(&w->heap, p, "test");
    for (int i = 0; i < 500 && disk_bytes(w) > 0; i++)
        usleep(10000);
    cr_assert_eq(disk_bytes(w), 0);
}

/* Each block is less than the background thread is woken for at once. */
Test(swap, memory_freed_bit_by_bit_leaves_nothing_on_the_disk)
{
    struct world *w = swap_world(LIMIT, UINT64_MAX, false, false);
    uint64_t *blocks[250];

    for (size_t i = 0; i < 250; i++)
        blocks[i] = written_block(w, 10, i);
    start_background(w);
    cr_assert_gt(disk_bytes(w), 2 * MIB);
    for (size_t i = 0; i < 250; i++) {
        check_block(w, blocks[i], 10, i);
        heap_free(&w->heap, blocks[i], "test");
        usleep(1000);
    }
    for (int i = 0; i < 500 && disk_bytes(w) > 0; i++)
        usleep(10000);
    cr_assert_eq(disk_bytes(w), 0);
}

static uint64_t random_state = 1;

static size_t random_below(size_t n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(random_state >> 33) % n;
}

Test(swap, rewriting_at_random_leaves_a_small_file)
{
    struct world *w = swap_world(LIMIT, UINT64_MAX, false, false);
    const size_t n_pages = 4000;
    unsigned char *salts = calloc(n_pages, 1);
    uint64_t *p = written_block(w, n_pages, 0);
    struct swap *swap = &writeback_of(w)->swap;

    start_background(w);
    for (size_t i = 0; i < 10 * n_pages; i++) {
        size_t page = random_below(n_pages);

        fake_store(w, p + page * WORDS + 3, ++salts[page], 1);
    }
    for (int i = 0; i < 1000 && disk_bytes(w) * 2 > swap_used_bytes(swap) * 3; i++)
        usleep(10000);
    cr_assert_leq(disk_bytes(w) * 2, swap_used_bytes(swap) * 3);
    cr_assert_gt(__atomic_load_n(&swap->cleaned_bytes, __ATOMIC_RELAXED), 0);
    for (size_t i = 0; i < n_pages; i++) {
        cr_assert_eq(fake_load(w, p + i * WORDS + 3, 1), salts[i] != 0 ? salts[i] : word_of(i, 3, 0));
        cr_assert_eq(fake_load(w, p + i * WORDS + 10, 1), word_of(i, 10, 0));
    }
    free(salts);
}

/* ---- a disk that fails ---- */

/* Each write from the n-th on, three of them, fails; or is short. Nothing is lost, and it is tried again. */
Test(swap, every_failing_write_loses_nothing)
{
    static const int errors[] = {ENOSPC, EDQUOT, EIO, 0};

    for (size_t e = 0; e < sizeof errors / sizeof errors[0]; e++) {
        bool failed = true;

        for (long n = 1; failed; n++) {
            struct world *w = swap_world(LIMIT, UINT64_MAX, false, false);
            uint64_t *p;

            inject(OS_INJECT_WRITE, n, 3, errors[e]);
            p = written_block(w, 900, (uint64_t)n);
            check_block(w, p, 900, (uint64_t)n);
            failed = atomic_load(&os_inject_io[OS_INJECT_WRITE].n_calls) >= n;
            inject(OS_INJECT_WRITE, 0, 0, 0);
            cr_assert(failed || n > 4);
            cr_assert_leq(w->pager.reclaim.charged_peak, LIMIT);
            cr_assert_eq(writeback_of(w)->swap.write_errors > 0, failed && errors[e] != 0, "write %ld", n);
            heap_free(&w->heap, p, "test");
            cr_assert_eq(w->pager.store.pool.n_images, 0);
            cr_assert_eq(writeback_of(w)->swap.n_used, 0);
        }
    }
}

Test(swap, disk_without_room_makes_the_buffer_grow_until_there_is_some)
{
    struct world *w = swap_world(LIMIT, UINT64_MAX, false, false);
    uint64_t *p;

    inject(OS_INJECT_WRITE, 1, 1000000, ENOSPC);
    p = written_block(w, 2000, 1);
    cr_assert_eq(w->pager.table.n_swapped, 0);
    cr_assert_gt(w->pager.store.pool.held_bytes, 2 * MIB);
    cr_assert_leq(w->pager.reclaim.charged_peak, LIMIT);
    inject(OS_INJECT_WRITE, 0, 0, 0);
    start_background(w);
    for (int i = 0; i < 1500 && w->pager.store.pool.held_bytes > 2 * MIB; i++)
        usleep(10000);
    cr_assert_leq(w->pager.store.pool.held_bytes, 2 * MIB);
    check_block(w, p, 2000, 1);
}

Test(swap, largest_size_is_kept_like_a_full_disk)
{
    struct world *w = swap_world(LIMIT, 2 * MIB, false, false);
    uint64_t *p = written_block(w, 3000, 1);

    cr_assert_leq(disk_bytes(w), 2 * MIB);
    cr_assert_leq(writeback_of(w)->swap.n_used, 8);
    check_block(w, p, 3000, 1);
    cr_assert_leq(w->pager.reclaim.charged_peak, LIMIT);
}

/* Another round has given it up, between a look at it and this one. */
Test(swap, no_round_begins_once_the_path_has_been_given_up)
{
    struct world *w = swap_world(LIMIT, UINT64_MAX, false, false);
    struct writeback *wb = writeback_of(w);

    (void)written_block(w, LIMIT + 1, 1); /* paging begins */
    cr_assert_eq(writeback_round_begin(wb), DONE);
    writeback_round_end(wb);
    swap_disable(&wb->swap);
    cr_assert_eq(writeback_round_begin(wb), FAILED);
}

Test(swap, file_system_without_holes_costs_space_and_nothing_else)
{
    struct world *w = swap_world(LIMIT, UINT64_MAX, false, false);
    uint64_t *p;

    inject(OS_INJECT_PUNCH, 1, 1000000, EOPNOTSUPP);
    p = written_block(w, 2000, 1);
    start_background(w);
    for (size_t i = 0; i < 2000; i += 2)
        write_page(w, p, i, 2);
    for (size_t i = 0; i < 2000; i++)
        cr_assert(is_written(w, p, i, i % 2 == 0 ? 2 : 1));
    for (int i = 0; i < 500 && atomic_load(&os_inject_io[OS_INJECT_PUNCH].n_calls) == 0; i++)
        usleep(10000);
    cr_assert_gt(atomic_load(&os_inject_io[OS_INJECT_PUNCH].n_calls), 0);
    inject(OS_INJECT_PUNCH, 0, 0, 0); /* tests may share a process */
}

static void lose_one_page(int error)
{
    struct world *w = swap_world(LIMIT, UINT64_MAX, false, false);
    uint64_t *p = written_block(w, 1500, 1);
    uint64_t *victim = p + 100 * WORDS;

    cr_assert_eq(page_state(page_at(&w->pager.table, 100)), PAGE_SWAPPED);
    inject(OS_INJECT_READ, 1, 1, error);
    (void)fake_touch(w, victim, 1);
    inject(OS_INJECT_READ, 0, 0, 0);
    cr_assert_eq(w->fake.poisoned, (uintptr_t)victim);
    cr_assert_eq(page_state(page_at(&w->pager.table, 100)), PAGE_LOST);
    cr_assert_eq(writeback_of(w)->swap.read_errors, 1);
    for (size_t i = 0; i < 1500; i++)
        cr_assert(i == 100 || is_written(w, p, i, 1), "page %zu", i);
    /* The address is good again for the next block. */
    heap_free(&w->heap, p, "test");
    cr_assert_eq(w->pager.table.n_lost, 0);
    w->fake.poisoned = 0;
    p = written_block(w, 1500, 2);
    check_block(w, p, 1500, 2);
}

Test(swap, page_that_cannot_be_read_is_lost_and_the_others_are_not)
{
    lose_one_page(EIO);
}

static void read_without_memory(int error)
{
    struct world *w = swap_world(LIMIT, UINT64_MAX, false, false);
    uint64_t *p = written_block(w, 1500, 1);

    cr_assert_eq(page_state(page_at(&w->pager.table, 100)), PAGE_SWAPPED);
    inject(OS_INJECT_READ, 1, 20, error);
    cr_assert(is_written(w, p, 100, 1));
    cr_assert_gt(atomic_load(&os_inject_io[OS_INJECT_READ].n_calls), 20);
    inject(OS_INJECT_READ, 0, 0, 0);
    cr_assert_eq(w->pager.table.n_lost, 0);
    check_block(w, p, 1500, 1);
}

/* For the page cache; and to fetch our buffer from the system's own swap. */
Test(swap, page_is_read_when_the_system_has_memory_for_it_again)
{
    read_without_memory(ENOMEM);
    read_without_memory(EFAULT);
}

Test(swap, image_damaged_on_the_disk_is_never_handed_out)
{
    struct world *w = swap_world(LIMIT, UINT64_MAX, false, false);
    uint64_t *p = written_block(w, 1500, 1);
    struct swap *swap = &writeback_of(w)->swap;
    struct swap_where where;
    unsigned char byte;
    size_t n_lost = 0;

    for (page_number i = 0; i < 300; i += 10) {
        cr_assert_eq(page_state(page_at(&w->pager.table, i)), PAGE_SWAPPED);
        os_lock_take(&w->pager.reclaim.lock);
        swap_locate_locked(swap, page_at(&w->pager.table, i)->value, &where);
        os_lock_release(&w->pager.reclaim.lock);
        cr_assert_eq(pread(where.fd, &byte, 1, (off_t)where.offset + 100), 1);
        byte ^= 4;
        cr_assert_eq(pwrite(where.fd, &byte, 1, (off_t)where.offset + 100), 1);
    }
    for (page_number i = 0; i < 1500; i++) {
        (void)fake_touch(w, p + i * WORDS, 1);
        if (page_state(page_at(&w->pager.table, i)) == PAGE_LOST)
            n_lost++;
        else
            cr_assert(is_written(w, p, i, 1), "page %u", i);
    }
    cr_assert_eq(n_lost, 30);
}

Test(swap, file_cut_off_loses_what_was_there_and_nothing_else)
{
    struct world *w = swap_world(LIMIT, UINT64_MAX, false, false);
    uint64_t *p = written_block(w, 1500, 1);
    size_t n_lost = 0;

    cr_assert_eq(ftruncate(writeback_of(w)->swap.files[0].fd, 1 * MIB), 0);
    for (page_number i = 0; i < 1500; i++) {
        (void)fake_touch(w, p + i * WORDS, 1);
        if (page_state(page_at(&w->pager.table, i)) == PAGE_LOST)
            n_lost++;
        else
            cr_assert(is_written(w, p, i, 1), "page %u", i);
    }
    cr_assert_gt(n_lost, 100);
    cr_assert_lt(n_lost, 1500);
}

/* ---- threads ---- */

struct crowd {
    struct world *w;
    uint64_t *p;
    size_t n_pages;
};

static void *add_at_random(void *arg)
{
    struct crowd *crowd = arg;
    uint32_t thread = atomic_fetch_add(&crowd->w->next_worker, 1) + 1;
    uint64_t random = thread;

    for (int i = 0; i < 4000; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        fake_add(crowd->w, crowd->p + (random >> 33) % crowd->n_pages * WORDS + 5, 1, thread);
    }
    return NULL;
}

Test(swap, updates_of_many_threads_are_all_there)
{
    struct crowd crowd = {.w = swap_world(LIMIT, UINT64_MAX, false, false), .n_pages = 2500};
    pthread_t threads[4];
    uint64_t sum = 0;

    crowd.p = written_block(crowd.w, crowd.n_pages, 1);
    start_background(crowd.w);
    for (size_t i = 0; i < crowd.n_pages; i++)
        fake_store(crowd.w, crowd.p + i * WORDS + 5, 0, 1);
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, add_at_random, &crowd), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < crowd.n_pages; i++)
        sum += fake_load(crowd.w, crowd.p + i * WORDS + 5, 1);
    cr_assert_eq(sum, 4 * 4000);
}
