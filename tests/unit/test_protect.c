/* test_protect.c - pages that come in closed to writing: whether that pays, and when they are opened. */
#include "tests/unit/contents.h"
#include "tests/unit/unit.h"

#include <pthread.h>

/* With room for a turn of the queue between what comes in and what leaves. */
#define MANY 1600
#define LARGE_LIMIT 600

/* What the pages that come in now are used for counts, not what those were that came in a whole turn of the queue before. */
Test(protect, protection_returns_soon_after_a_time_of_writing)
{
    enum { READS = 800 };
    struct world *w = world_new(RANGE, LARGE_LIMIT, true);
    uint64_t *p = heap_allocate(&w->heap, MANY * PAGE_BYTES, 0);
    page_number first = (page_number)(((uintptr_t)p - w->pager.space.near_base) / PAGE_BYTES);
    size_t n_protected = 0;
    uint64_t n_thawed;

    cr_assert_not_null(p);
    for (size_t i = 0; i < MANY; i++)
        write_page(w, p, i, 1);
    for (size_t i = 0; i < 2 * MANY; i++) { /* read, then written */
        (void)fake_load(w, p + i * 7 % MANY * WORDS, 1);
        fake_add(w, p + i * 7 % MANY * WORDS, 0, 1);
    }
    cr_assert_eq(w->pager.reclaim.writeback.kept.protecting.left, 0);
    n_thawed = w->pager.reclaim.counters.thaws;
    for (size_t i = 0; i < READS; i++) {
        read_page(w, p, i * 7 % MANY, 1);
        n_protected += w->fake.protected_pages[first + i * 7 % MANY] == FAKE_READ_ONLY;
    }
    n_thawed = w->pager.reclaim.counters.thaws - n_thawed;
    cr_assert_gt(n_protected, n_thawed / 3, "%zu of %lu", n_protected, n_thawed);
    free_all(w, p);
}

Test(protect, write_to_a_protected_page_ends_its_image)
{
    enum { FEW = 5 }; /* protection still pays */
    struct world *w = world_new(RANGE, LIMIT, true);
    const struct reclaim *r = &w->pager.reclaim;
    uint64_t *p = pages(w);

    read_pages(w, p, 1);
    for (size_t i = N - FEW; i < N; i++) {
        uint32_t n_kept = r->writeback.kept.n_images;

        read_page(w, p, i, 1);
        fake_add(w, p + i * WORDS, 1, 1);
        fake_add(w, p + i * WORDS, 1, 1);
        cr_assert_eq(r->writeback.kept.n_images, n_kept - 1);
    }
    cr_assert_eq(r->counters.write_faults, FEW);
    for (size_t i = 0; i < N - FEW; i++)
        read_page(w, p, i, 1);
    for (size_t i = N - FEW; i < N; i++)
        cr_assert_eq(fake_load(w, p + i * WORDS, 1), word_of(i, 0, 1) + 2);
    free_all(w, p);
}

/* Each page is read and then written: all that protecting brings is one more fault. */
Test(protect, pages_are_not_protected_while_most_are_written)
{
    struct world *w = world_new(RANGE, LIMIT, true);
    const struct reclaim_counters *counters = &w->pager.reclaim.counters;
    uint64_t *p = pages(w);

    for (uint64_t round = 0; round < 4; round++)
        for (size_t i = 0; i < N; i++) {
            (void)fake_load(w, p + i * WORDS, 1);
            fake_add(w, p + i * WORDS, 1, 1);
        }
    cr_assert_gt(counters->write_faults, 0);
    cr_assert_leq(counters->write_faults, 64 + 4 * N / 128 + 1);
    for (size_t i = 0; i < N; i++)
        cr_assert_eq(fake_load(w, p + i * WORDS, 1), word_of(i, 0, 1) + 4);
    free_all(w, p);
}

static uint64_t *many_pages(struct world *w)
{
    uint64_t *p = heap_allocate(&w->heap, MANY * PAGE_BYTES, 0);

    cr_assert_not_null(p);
    for (size_t i = 0; i < MANY; i++)
        write_page(w, p, i, 1);
    for (unsigned round = 0; round < 2; round++) /* many are resident now, and closed to writing */
        for (size_t i = 0; i < MANY; i++)
            read_page(w, p, i, 1);
    return p;
}

/* Every fourth of the pages in RAM is written. Returns how many of them were closed to that; *@n_there: of how many. */
static size_t write_some_that_are_closed(struct world *w, uint64_t *p, size_t *n_there)
{
    page_number first = (page_number)(((uintptr_t)p - w->pager.space.near_base) / PAGE_BYTES);
    size_t n_closed = 0;

    *n_there = 0;
    for (size_t i = 0; i < MANY; i += 4) {
        if (!page_is_resident(page_at(&w->pager.table, first + (page_number)i)))
            continue;
        (*n_there)++;
        n_closed += w->fake.protected_pages[first + i] == FAKE_READ_ONLY;
        fake_add(w, p + i * WORDS, 1, 1);
    }
    return n_closed;
}

static void read_some_written(struct world *w, uint64_t *p)
{
    for (size_t i = 0; i < MANY; i++) {
        uint64_t added = fake_load(w, p + i * WORDS, 1) - word_of(i, 0, 1);

        cr_assert(added == 0 || (added == 1 && i % 4 == 0), "page %zu", i);
    }
}

/* The images of pages that are open and were not written, by page; 0: it is not such a page. */
static uint32_t handles[MANY];

static void note_handles(struct world *w, const uint64_t *p)
{
    page_number first = (page_number)(((uintptr_t)p - w->pager.space.near_base) / PAGE_BYTES);

    for (size_t i = 0; i < MANY; i++) {
        const struct page *page = page_at(&w->pager.table, first + (page_number)i);
        bool is_such = i % 4 != 0 && page_is_resident(page) && (page->flags & PAGE_FLAG_SHUT) == 0 && page->value != 0;

        handles[i] = is_such ? kept_at(&w->pager.reclaim.writeback.kept, page->value)->handle : 0;
    }
}

/* Read here and there. Returns how many of those that have left meanwhile have the image that they had, and so no new one. */
static size_t read_and_count_kept(struct world *w, uint64_t *p, enum page_state left)
{
    page_number first = (page_number)(((uintptr_t)p - w->pager.space.near_base) / PAGE_BYTES);
    uint64_t random = 1;
    size_t n_kept = 0;

    for (size_t n = 0; n < 4 * MANY; n++) {
        const struct page *page;
        size_t i;

        random = random * 6364136223846793005u + 1442695040888963407u;
        i = (size_t)(random >> 33) % MANY;
        page = page_at(&w->pager.table, first + (page_number)i);
        n_kept += handles[i] != 0 && page_state(page) == left && page->value == handles[i];
        if (page_state(page) == left)
            handles[i] = 0;
        (void)fake_load(w, p + i * WORDS, 1);
    }
    return n_kept;
}

Test(protect, once_many_pages_are_written_those_around_them_are_opened_too)
{
    struct world *w = world_new(RANGE, LARGE_LIMIT, true);
    const struct reclaim_counters *counters = &w->pager.reclaim.counters;
    uint64_t *p = many_pages(w);
    size_t n_there;
    size_t n_closed = write_some_that_are_closed(w, p, &n_there);

    /* Six, until it is known that most are written; then one a window, of which the block touches four or five. */
    cr_assert_gt(counters->write_faults, 0);
    cr_assert_leq(counters->write_faults, 6 + MANY / RECLAIM_OPENED_PAGES + 2);
    cr_assert_gt(n_there, 100);
    cr_assert_lt(n_closed, n_there / 2);
    check_protections(w);
    note_handles(w, p);
    cr_assert_gt(read_and_count_kept(w, p, PAGE_FROZEN), 20); /* without a compression */
    read_some_written(w, p);
    free_all(w, p);
}

/* Older kernels refuse a run across two mappings, and do not say how far they have come. */
Test(protect, pages_that_cannot_be_opened_together_are_opened_one_by_one)
{
    struct world *w = world_new(RANGE, LARGE_LIMIT, true);
    uint64_t *p = many_pages(w);
    size_t n_there;

    atomic_store(&w->fake.refuses_runs, true);
    (void)write_some_that_are_closed(w, p, &n_there);
    cr_assert(w->pager.reclaim.writeback.kept.protecting.spent);
    check_protections(w);
    read_some_written(w, p);
    free_all(w, p);
}

/* Images of every size, until there is no room for one more. */
static size_t fill_pool(struct world *w, pool_handle *images, size_t max)
{
    static const unsigned char image[PAGE_BYTES];
    size_t n = 0;

    for (size_t bytes = PAGE_BYTES - POOL_UNIT_BYTES - 2; bytes > POOL_UNIT_BYTES; bytes -= POOL_UNIT_BYTES)
        while (n < max && (images[n] = pool_put(&w->pager.store.pool, image, bytes, 0)) != 0)
            n++;
    return n;
}

/* It was taken out, and had to be put back: whoever put it back did not close it. */
Test(protect, page_that_comes_back_for_lack_of_memory_is_open)
{
    static pool_handle images[8192];
    struct world *w = world_new(RANGE, LIMIT, true);
    uint64_t bound = w->pager.store.pool.bound_bytes;
    uint64_t *p = pages(w);
    size_t n_images;

    atomic_store(&w->fake.contract.can_extract, true);
    read_pages(w, p, 1);
    reclaim_yield_kept(&w->pager.reclaim);
    w->pager.store.pool.bound_bytes = 0; /* no memory for images */
    n_images = fill_pool(w, images, sizeof images / sizeof images[0]);
    for (size_t i = 0; i < LIMIT; i++) {
        read_page(w, p, i, 1);
        check_protections(w);
    }
    cr_assert_gt(w->pager.reclaim.counters.pool_full, 0);
    cr_assert_gt(w->pager.reclaim.counters.extracted, 0);
    w->pager.store.pool.bound_bytes = bound;
    while (n_images > 0)
        store_free(&w->pager.store, images[--n_images]);
    read_pages(w, p, 1);
    free_all(w, p);
}

static long nothing_happens(void *arg)
{
    (void)arg;
    return 0;
}

/* Whoever took the page over may have closed it himself. */
Test(protect, ceded_page_is_not_opened_with_others)
{
    struct world *w = world_new(RANGE, LARGE_LIMIT, true);
    uint64_t *p = many_pages(w);
    page_number first = (page_number)(((uintptr_t)p - w->pager.space.near_base) / PAGE_BYTES);
    page_number ceded = first - first % RECLAIM_OPENED_PAGES + RECLAIM_OPENED_PAGES + 200;
    size_t n_there;

    cr_assert_eq(pager_cede(&w->pager, ceded, 1, true, nothing_happens, NULL), 0);
    w->fake.protected_pages[ceded] = FAKE_READ_ONLY;
    (void)write_some_that_are_closed(w, p, &n_there);
    cr_assert(w->pager.reclaim.writeback.kept.protecting.spent);
    cr_assert_eq(page_state(page_at(&w->pager.table, ceded)), PAGE_CEDED);
    cr_assert_eq(w->fake.protected_pages[ceded], FAKE_READ_ONLY);
    check_protections(w);
    heap_free(&w->heap, p, "test");
}

Test(protect, pages_opened_with_others_keep_their_image_in_the_swap_file)
{
    struct world *w = world_new(RANGE, LARGE_LIMIT, true);
    size_t n_there;
    uint64_t *p;

    world_use_swap(w, UINT64_MAX, false, false);
    p = many_pages(w);
    (void)write_some_that_are_closed(w, p, &n_there);
    cr_assert(w->pager.reclaim.writeback.kept.protecting.spent);
    note_handles(w, p);
    cr_assert_gt(read_and_count_kept(w, p, PAGE_SWAPPED), 20); /* without being written again */
    read_some_written(w, p);
    heap_free(&w->heap, p, "test");
}

struct writer {
    struct world *world;
    uint64_t *pages;
    uint32_t thread;
    uint64_t added[MANY];
};

static void *write_own_pages(void *arg)
{
    struct writer *writer = arg;
    uint64_t random = writer->thread;

    for (size_t i = 0; i < 20 * MANY; i++) {
        size_t page;

        random = random * 6364136223846793005u + 1442695040888963407u;
        page = (size_t)(random >> 33) % MANY;
        if (page % 3 + 1 != writer->thread || i % 1000 < 300) { /* at times it only reads */
            (void)fake_load(writer->world, writer->pages + page * WORDS, writer->thread);
            continue;
        }
        fake_add(writer->world, writer->pages + page * WORDS, 1, writer->thread);
        writer->added[page]++;
    }
    return NULL;
}

Test(protect, pages_opened_together_beside_others_that_leave_lose_nothing)
{
    static struct writer writers[3];
    struct world *w = world_new(RANGE, LARGE_LIMIT, true);
    uint64_t *p = many_pages(w);
    pthread_t threads[3];

    for (size_t i = 0; i < MANY && !w->pager.reclaim.writeback.kept.protecting.spent; i++)
        fake_add(w, p + i * WORDS, 0, 1);
    cr_assert(w->pager.reclaim.writeback.kept.protecting.spent);
    for (uint32_t t = 0; t < 3; t++) {
        writers[t] = (struct writer){.world = w, .pages = p, .thread = t + 1};
        cr_assert_eq(pthread_create(&threads[t], NULL, write_own_pages, &writers[t]), 0);
    }
    for (unsigned t = 0; t < 3; t++)
        pthread_join(threads[t], NULL);
    cr_assert_gt(w->pager.reclaim.counters.write_faults, 0);
    check_protections(w);
    for (size_t i = 0; i < MANY; i++)
        cr_assert_eq(fake_load(w, p + i * WORDS, 1), word_of(i, 0, 1) + writers[i % 3].added[i], "page %zu", i);
    free_all(w, p);
}

Test(protect, what_a_system_call_may_write_is_opened)
{
    struct world *w = world_new(RANGE, LIMIT, true);
    struct hold hold = {.n = 0};
    page_number first;
    uint64_t *p = pages(w);

    read_pages(w, p, 1);
    first = (page_number)(((uintptr_t)p - w->pager.space.near_base) / PAGE_BYTES) + N - 12;
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(w->fake.protected_pages[first + 4 + i], FAKE_READ_ONLY);
    hold_add(&hold, first, first + 8); /* some are frozen */
    for (size_t i = 0; i < 200; i++)
        read_page(w, p, i, 1);
    for (size_t i = N - 8; i < N; i++)
        read_page(w, p, i, 1);
    pager_hold(&w->pager, &hold);
    for (size_t i = 0; i < 8; i++)
        cr_assert_eq(w->fake.protected_pages[first + i], FAKE_OPEN, "page %zu", i);
    p[(N - 12) * WORDS] = p[(N - 5) * WORDS] = 77; /* by the kernel: without a fault */
    hold_end(&hold);
    for (size_t i = 0; i < 200; i++)
        read_page(w, p, i, 1);
    cr_assert_eq(fake_load(w, p + (N - 12) * WORDS, 1), 77);
    cr_assert_eq(fake_load(w, p + (N - 5) * WORDS, 1), 77);
    free_all(w, p);
}

/* It is there, and zeros: its image must not come back in its place. */
Test(protect, protected_page_discarded_behind_our_back_reads_as_zeros)
{
    struct world *w = world_new(RANGE, LIMIT, true);
    uint64_t *p = pages(w);

    read_pages(w, p, 1);
    for (size_t i = N - 4; i < N; i++) {
        read_page(w, p, i, 1);
        cr_assert_eq(os_mem_discard(p + i * WORDS, PAGE_BYTES), 0);
        cr_assert_eq(i % 2 == 0 ? fake_load(w, p + i * WORDS, 1) : *(uint64_t *)fake_touch(w, p + i * WORDS, 1), 0);
    }
    for (size_t i = 0; i < 200; i++)
        read_page(w, p, i, 1);
    for (size_t i = N - 4; i < N; i++)
        cr_assert_eq(fake_load(w, p + i * WORDS + 1, 1), 0);
    free_all(w, p);
}

/* What leaves now came in a while ago: it does not say that pages which come in now will not be written. */
Test(protect, once_protection_does_not_pay_only_trials_bring_it_back)
{
    struct kept kept;

    fake_take_pager_lock();
    kept_init(&kept, 10);
    for (unsigned i = 0; i < 6; i++)
        kept_note_protected_locked(&kept, false);
    cr_assert(kept.protecting.spent);
    for (unsigned i = 0; i < 1000; i++)
        kept_note_protected_locked(&kept, true);
    cr_assert(kept.protecting.spent);
    for (unsigned i = 0; i < 4; i++) {
        kept.tried = 7;
        kept_note_trial_locked(&kept);
        cr_assert_eq(kept.tried, 0, "each counts once");
    }
    cr_assert(!kept.protecting.spent);
}
