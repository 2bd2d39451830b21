/* test_cold.c - the cold tier: what is squeezed, when, and that no page changes for it. */
#include "core/cold.h"
#include "platform/inject.h"
#include "platform/thread.h"
#include "tests/unit/contents.h"
#include "tests/unit/unit.h"

#include <string.h>

static struct world *w;

static struct writeback *wb(void)
{
    return &w->pager.reclaim.writeback;
}

static struct cold *cold(void)
{
    return &wb()->cold;
}

/* All pages have been written, most are frozen. */
static uint64_t *begin(void)
{
    uint64_t *p;

    w = world_new(RANGE, LIMIT, true);
    pager_use_cold(&w->pager, SQUEEZE_ZSTD, 0);
    p = pages(w);
    cr_assert(cold_is_on(cold()));
    cr_assert_eq(cold_open(cold()), 0);
    return p;
}

/* So many ticks go by. */
static void age(uint32_t ticks)
{
    atomic_store(&cold()->clock, atomic_load(&cold()->clock) + ticks);
}

static size_t gather(void)
{
    writeback_gather_cold(wb());
    return cold()->batch->n;
}

static void squeeze_all(void)
{
    do {
        while (gather() > 0) {
            cold_squeeze(cold());
            writeback_settle_cold(wb());
        }
    } while (!cold()->passed);
}

static uint64_t n_squeezed(void)
{
    const struct pool *pool = &w->pager.store.pool;
    uint64_t n = 0;

    for (unsigned kind = IMAGE_FAST + 1; kind < POOL_KINDS; kind++)
        n += pool->n_of_kind[kind];
    return n;
}

static page_number number_of(const uint64_t *p, size_t page)
{
    return space_number(&w->pager.space, (uintptr_t)(p + page * WORDS));
}

static struct page *entry_of(const uint64_t *p, size_t page)
{
    return page_at(&w->pager.table, number_of(p, page));
}

/* A page whose image is in the batch. */
static size_t page_out(const uint64_t *p)
{
    for (size_t i = 0; i < N; i++)
        if (page_state(entry_of(p, i)) == PAGE_FROZEN && (entry_of(p, i)->flags & PAGE_FLAG_WRITING) != 0)
            return i;
    cr_assert(false, "none is out");
    return 0;
}

static void check_no_page_is_out(void)
{
    for (page_number i = 0; i < w->pager.table.committed_pages; i++)
        cr_assert(page_state(page_at(&w->pager.table, i)) != PAGE_FROZEN ||
                  (page_at(&w->pager.table, i)->flags & PAGE_FLAG_WRITING) == 0, "page %u", i);
}

Test(cold, images_that_stay_cold_are_squeezed_and_their_pages_are_the_same)
{
    uint64_t *p = begin();
    uint64_t held = w->pager.store.pool.used_bytes;

    cr_assert_eq(gather(), 0, "none is old enough");
    age(100);
    squeeze_all();
    cr_assert_gt(n_squeezed(), 300);
    cr_assert_lt(w->pager.store.pool.used_bytes, held - held / 8);
    check_no_page_is_out();
    cr_assert_eq(gather(), 0, "none is tried twice");
    read_pages(w, p, 1);
    cr_assert_gt(cold()->counters.thaws, 0);
    cr_assert_eq(cold()->counters.failures, 0);
    write_pages(w, p, 2);
    read_pages(w, p, 2);
    free_all(w, p);
    cr_assert_eq(n_squeezed(), 0);
}

Test(cold, lz4_that_looks_longer_is_read_as_what_it_is)
{
    uint64_t *p = begin();

    squeezer_close(&cold()->squeezer);
    squeezer_init(&cold()->squeezer, SQUEEZE_LZ4, 12);
    cr_assert_eq(cold_open(cold()), 0);
    age(100);
    squeeze_all();
    read_pages(w, p, 1);
    cr_assert_eq(cold()->counters.thaws, 0, "no page was read back at the price of libzstd");
    free_all(w, p);
}

Test(cold, oldest_images_come_first)
{
    uint64_t *p = begin();
    size_t young = 0;

    age(64);
    write_pages(w, p, 2); /* now all are young; then some grow old */
    age(64);
    for (size_t i = 0; i < N / 2; i++)
        write_page(w, p, i, 3);
    cold()->threshold = 32;
    while (gather() > 0) {
        for (size_t i = 0; i < cold()->batch->n; i++)
            young += cold()->batch->records[i].number < number_of(p, N / 2) && cold()->batch->records[i].number >= number_of(p, LIMIT);
        cold_squeeze(cold());
        writeback_settle_cold(wb());
    }
    cr_assert_eq(young, 0);
    cr_assert_gt(n_squeezed(), 0);
    free_all(w, p);
}

Test(cold, page_that_is_wanted_meanwhile_is_left_alone)
{
    uint64_t *p = begin();
    size_t page;

    age(100);
    cr_assert_gt(gather(), 0);
    cold_squeeze(cold());
    page = page_out(p);
    write_page(w, p, page, 7);
    for (size_t i = 0; i < N; i++) /* it leaves again, with another image in the same place, perhaps */
        if (i != page)
            read_page(w, p, i, 1);
    writeback_settle_cold(wb());
    check_no_page_is_out();
    read_page(w, p, page, 7);
    free_all(w, p);
}

Test(cold, block_that_is_freed_or_moved_meanwhile_takes_its_pages_along)
{
    uint64_t *p = begin();
    uint64_t *q;

    age(100);
    cr_assert_gt(gather(), 0);
    cold_squeeze(cold());
    q = heap_resize(&w->heap, p, 3 * N * PAGE_BYTES, "test");
    cr_assert_not_null(q);
    writeback_settle_cold(wb());
    check_no_page_is_out();
    read_pages(w, q, 1);
    age(10000);
    cr_assert_gt(gather(), 0);
    cold_squeeze(cold());
    free_all(w, q);
    writeback_settle_cold(wb());
    cr_assert_eq(w->pager.store.pool.n_images, 0);
}

Test(cold, pool_is_compacted_meanwhile)
{
    uint64_t *p = begin();

    age(100);
    for (unsigned i = 0; i < 5; i++) {
        cr_assert_gt(gather(), 0);
        cold_squeeze(cold());
        reclaim_compact(&w->pager.reclaim);
        writeback_settle_cold(wb());
    }
    read_pages(w, p, 1);
    free_all(w, p);
}

Test(cold, image_stays_where_the_pool_has_no_room_for_another)
{
    uint64_t *p = begin();
    uint64_t bound = w->pager.store.pool.bound_bytes;

    age(100);
    cr_assert_gt(gather(), 0);
    cold_squeeze(cold());
    w->pager.store.pool.bound_bytes = 0;
    writeback_settle_cold(wb());
    w->pager.store.pool.bound_bytes = bound;
    cr_assert_eq(n_squeezed(), 0);
    check_no_page_is_out();
    squeeze_all();
    cr_assert_gt(n_squeezed(), 0, "they are tried again");
    read_pages(w, p, 1);
    free_all(w, p);
}

Test(cold, image_that_is_damaged_on_its_way_is_not_used)
{
    uint64_t *p = begin();
    struct cold_batch *batch;

    age(100);
    cr_assert_gt(gather(), 0);
    batch = cold()->batch;
    for (size_t i = 0; i < batch->n; i++)
        batch->records[i].bytes = (uint16_t)(batch->records[i].bytes - 9); /* as if it had been copied by halves */
    cold_squeeze(cold());
    for (size_t i = 0; i < batch->n; i++)
        cr_assert_eq(batch->records[i].squeezed_bytes, 0);
    writeback_settle_cold(wb());
    read_pages(w, p, 1);
    free_all(w, p);
}

Test(cold, forked_child_begins_anew)
{
    uint64_t *p = begin();

    age(100);
    cr_assert_gt(gather(), 0);
    cold_squeeze(cold());
    cold()->turn = COLD_SETTLE;
    heap_fork_prepare(&w->heap);
    heap_fork_child(&w->heap);
    check_no_page_is_out();
    cr_assert_eq(atomic_load(&cold()->turn), COLD_OURS);
    read_pages(w, p, 1);
    cr_assert_eq(cold_open(cold()), 0);
    age(10000);
    squeeze_all();
    cr_assert_gt(n_squeezed(), 0);
    read_pages(w, p, 1);
    free_all(w, p);
}

Test(cold, nothing_is_squeezed_where_there_is_no_memory_for_it)
{
    w = world_new(RANGE, LIMIT, true);
    pager_use_cold(&w->pager, SQUEEZE_ZSTD, 0);
    pages(w);
    for (int n = 1; n <= 2; n++) {
        atomic_store(&os_inject_countdown, n);
        cr_assert_lt(cold_open(cold()), 0, "call %d", n);
    }
    atomic_store(&os_inject_countdown, 0);
    cr_assert_eq(cold_open(cold()), 0);
}

/* ---- dictionaries ---- */

/* Enough samples, of what the pages have. */
static void collect_samples(void)
{
    struct cold_batch *batch = cold()->batch;

    cold()->teach_after = 0;
    w->pager.store.pool.used_bytes += 16 * MIB; /* as if there were many more */
    while (cold()->samples == NULL || cold()->samples->n < COLD_SAMPLES) {
        batch->n = 0;
        cr_assert_gt(gather(), 0, "too few images");
        cold_squeeze(cold());
        for (unsigned i = 0; i < 8; i++)
            cold_squeeze(cold());
        writeback_settle_cold(wb());
    }
    w->pager.store.pool.used_bytes -= 16 * MIB;
}

static bool teach_and_install(void)
{
    bool better = cold_teach(cold());

    if (better)
        writeback_install_dictionary(wb());
    return better;
}

Test(cold, dictionary_of_this_process_is_used_and_dropped_with_its_last_image)
{
    uint64_t *p = begin();

    age(100);
    collect_samples();
    cr_assert(teach_and_install());
    cr_assert_eq(cold()->current, 0);
    cr_assert_eq(cold()->counters.dictionaries, 1);
    write_pages(w, p, 1);
    age(100);
    squeeze_all();
    cr_assert_gt(w->pager.store.pool.n_of_kind[IMAGE_TAUGHT], 0);
    read_pages(w, p, 1);
    /* Another one: the first is there as long as an image needs it. */
    cr_assert_eq(cold_teach(cold()) || true, true);
    if (cold()->fresh.content == NULL)
        cr_assert_eq(dictionary_make(&cold()->fresh, w->pager.store.dictionaries[0].content, w->pager.store.dictionaries[0].bytes,
                                     cold()->squeezer.level), 0);
    writeback_install_dictionary(wb());
    cr_assert_eq(cold()->current, 1);
    cr_assert_not_null(w->pager.store.dictionaries[0].content);
    read_pages(w, p, 1);
    free_all(w, p);
    gather();
    writeback_settle_cold(wb());
    cr_assert_null(w->pager.store.dictionaries[0].content);
    cr_assert_not_null(w->pager.store.dictionaries[1].content);
}

Test(cold, images_of_the_oldest_dictionary_are_made_anew_before_places_run_out)
{
    uint64_t *p = begin();

    age(100);
    collect_samples();
    for (unsigned i = 0; i < 3 * SQUEEZE_DICTIONARIES; i++) {
        struct dictionary *fresh = &cold()->fresh;

        if (i == 0)
            cr_assert(cold_teach(cold()));
        else
            cr_assert_eq(dictionary_make(fresh, w->pager.store.dictionaries[cold()->current].content,
                                         w->pager.store.dictionaries[cold()->current].bytes, cold()->squeezer.level), 0);
        writeback_install_dictionary(wb());
        cr_assert_null(fresh->content, "dictionary %u has a place", i);
        for (size_t k = 0; k < N; k += 3)
            write_page(w, p, k, 1);
        age(10000);
        squeeze_all();
    }
    cr_assert_eq(cold()->counters.dictionaries, 3 * SQUEEZE_DICTIONARIES);
    read_pages(w, p, 1);
    free_all(w, p);
}

Test(cold, page_that_is_locked_or_kept_out_of_dumps_is_in_no_dictionary)
{
    uint64_t *p = begin();
    struct marks *undumped = &w->pager.undumped;

    cr_assert_eq(marks_reserve(undumped, w->pager.space.near_pages), 0);
    marks_add(undumped, number_of(p, 100), number_of(p, 400));
    age(100);
    w->pager.store.pool.used_bytes += 16 * MIB;
    squeeze_all();
    w->pager.store.pool.used_bytes -= 16 * MIB;
    cr_assert_not_null(cold()->samples);
    for (size_t i = 0; i < cold()->samples->n; i++)
        cr_assert(!marks_has(undumped, cold()->samples->numbers[i]));
    read_pages(w, p, 1);
}

Test(cold, dictionary_is_not_used_if_one_of_its_pages_is_private_by_then)
{
    uint64_t *p = begin();
    struct marks *undumped = &w->pager.undumped;

    age(100);
    collect_samples();
    cr_assert(cold_teach(cold()));
    cr_assert_eq(marks_reserve(undumped, w->pager.space.near_pages), 0);
    marks_add(undumped, cold()->samples->numbers[17], cold()->samples->numbers[17] + 1);
    writeback_install_dictionary(wb());
    cr_assert_eq(cold()->current, -1);
    cr_assert_not_null(cold()->fresh.content, "the cold thread lets it go");
    read_pages(w, p, 1);
}

Test(cold, training_that_fails_changes_nothing)
{
    uint64_t *p = begin();
    unsigned n_failed = 0;

    age(100);
    collect_samples();
    for (int n = 1; n < 10; n++) {
        atomic_store(&os_inject_countdown, n);
        n_failed += !cold_teach(cold());
        dictionary_drop(&cold()->fresh);
    }
    atomic_store(&os_inject_countdown, 0);
    cr_assert_geq(n_failed, 2);
    cr_assert_eq(cold()->current, -1);
    read_pages(w, p, 1);
    free_all(w, p);
}

Test(cold, fork_while_a_dictionary_is_being_trained_leaves_the_child_without_its_memory)
{
    uint64_t *p = begin();

    age(100);
    collect_samples();
    cr_assert_eq(os_mem_map(4 * MIB, &cold()->training), 0);
    heap_fork_prepare(&w->heap);
    heap_fork_child(&w->heap);
    cr_assert_null(cold()->training);
    cr_assert_null(cold()->samples);
    cr_assert_null(cold()->fresh.content);
    read_pages(w, p, 1);
    free_all(w, p);
}
