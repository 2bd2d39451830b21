/* test_slab.c - blocks below a page: slots of slabs, what is known of them, and which are taken. */
#include "core/slab_records.h"
#include "tests/unit/fake.h"
#include "tests/unit/unit.h"

#include "platform/inject.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define RANGE (256 * MIB)
#define NO_LIMIT ((size_t)1 << 20)

static struct world *w;
static struct slabs slabs;

static void *take_pages(size_t bytes, bool always)
{
    return always ? heap_allocate_always(&w->heap, bytes, 0) : heap_allocate(&w->heap, bytes, 0);
}

static void give_pages(void *p)
{
    heap_free(&w->heap, p, "test");
}

static void begin(size_t limit)
{
    w = world_new(RANGE, limit, true);
    memset(&slabs, 0, sizeof slabs);
    slabs_init(&slabs, &w->heap, take_pages, give_pages);
}

static void *take_one(unsigned class)
{
    struct slab_slot slot;
    struct slab_row row = {.n = 0, .slots = &slot};

    if (slab_take(&slabs, class, &row, 1) == 0 && slab_grow(&slabs, class, false, &row, 1) == 0)
        return NULL;
    slab_mark(slot.state, SLOT_OF_PROGRAM);
    return slot.p;
}

static void give_one(void *p)
{
    struct slab *slab = slab_at(&slabs, p);
    struct slab_slot slot = {p, slab_state(&slabs, slab, p)};
    struct slab_row row = {.n = 1, .slots = &slot};

    slab_mark(slot.state, SLOT_OF_CACHE);
    slab_give(&slabs, slab->class, &row, 1);
    cr_assert_eq(row.n, 0);
}

Test(slab, classes_hold_their_sizes_and_waste_an_eighth_at_most)
{
    for (size_t bytes = 1; bytes <= SLAB_MAX_BYTES; bytes++) {
        unsigned class = slab_class(bytes);

        cr_assert_leq(bytes, slab_bytes(class));
        cr_assert(class == 0 || slab_bytes(class - 1) < bytes, "%zu bytes: class %u", bytes, class);
        for (size_t alignment = 1; alignment <= SLAB_MAX_BYTES; alignment *= 2) {
            unsigned aligned = slab_class_aligned(bytes, alignment);

            cr_assert(slab_bytes(aligned) >= bytes && slab_bytes(aligned) % alignment == 0);
        }
    }
    for (unsigned class = 0; class < SLAB_CLASSES; class++) {
        size_t pages = slab_kinds[class].n_pages * PAGE_BYTES;

        cr_assert_eq(slab_bytes(class) % SLAB_ALIGNMENT, 0);
        cr_assert_leq((pages - slab_kinds[class].n_slots * slab_bytes(class)) * 8, pages);
    }
}

Test(slab, each_slot_is_found_by_its_address_alone_and_no_other_is)
{
    begin(NO_LIMIT);
    for (unsigned class = 0; class < SLAB_CLASSES; class++) {
        unsigned n = slab_kinds[class].n_slots;
        unsigned char *first = take_one(class);
        size_t bytes = slab_kinds[class].n_pages * PAGE_BYTES;
        struct slab *slab = slab_at(&slabs, first);

        for (size_t offset = 0; offset < bytes; offset++) {
            bool starts = offset % slab_bytes(class) == 0 && offset / slab_bytes(class) < n;
            unsigned char *state = slab_state(&slabs, slab, first + offset);

            cr_assert_eq(slab_at(&slabs, first + offset), slab);
            cr_assert_eq(state, starts ? &slab->states[offset / slab_bytes(class)] : NULL);
        }
        cr_assert_neq(slab_at(&slabs, first + bytes), slab);
    }
    cr_assert_null(slab_at(&slabs, heap_allocate(&w->heap, PAGE_BYTES, 0)));
}

Test(slab, slots_lie_apart_and_the_last_one_takes_the_slab_with_it)
{
    begin(NO_LIMIT);
    for (unsigned class = 0; class < SLAB_CLASSES; class++) {
        enum { N = 1000 };
        unsigned char *blocks[N];
        size_t n_before = w->heap.n_blocks;
        size_t most;

        for (size_t i = 0; i < N; i++) {
            blocks[i] = take_one(class);
            cr_assert_eq((uintptr_t)blocks[i] % SLAB_ALIGNMENT, 0);
            memset(blocks[i], (int)i, slab_bytes(class));
        }
        most = 9 + slabs.classes[class].n_slabs / 8;
        for (size_t i = 0; i < N; i++) {
            size_t k = i * 7 % N;

            for (size_t j = 0; j < slab_bytes(class); j++)
                cr_assert_eq(blocks[k][j], (unsigned char)k);
            give_one(blocks[k]);
        }
        cr_assert_eq(slabs.classes[class].n_taken, 0);
        cr_assert_eq(slabs.classes[class].n_slabs, slabs.classes[class].n_empty);
        cr_assert_leq(w->heap.n_blocks - n_before, most, "some stay before paging");
    }
}

static uint64_t value_at(const void *p)
{
    return fake_load(w, p, 1);
}

/* Four times the limit, so that most of it is frozen. */
static void fill_beyond_the_limit(void **blocks, size_t n, unsigned class)
{
    for (size_t i = 0; i < n; i++) {
        blocks[i] = take_one(class);
        cr_assert_not_null(blocks[i]);
        fake_store(w, blocks[i], i * 77, 1);
    }
    cr_assert(pager_is_engaged(&w->pager));
}

Test(slab, free_touches_no_page_and_pages_leave_with_their_last_slot)
{
    enum { LIMIT = 64, CLASS = 4, N = 4 * LIMIT * 51 };
    static void *blocks[N];
    uint64_t thaws;

    begin(LIMIT);
    fill_beyond_the_limit(blocks, N, CLASS);
    for (size_t i = 0; i < N; i++)
        cr_assert_eq(value_at(blocks[i]), i * 77);
    thaws = w->pager.reclaim.counters.thaws + w->pager.reclaim.counters.faults;
    for (size_t i = 0; i < N; i++)
        give_one(blocks[i * 5 % N]);
    cr_assert_eq(w->pager.reclaim.counters.thaws + w->pager.reclaim.counters.faults, thaws);
    cr_assert_eq(slabs.classes[CLASS].n_slabs, 0);
    cr_assert_eq(w->heap.n_blocks, 0);
    cr_assert_eq(w->heap.live_pages, 0);
}

/* The oldest pages are frozen: each gets a free slot. Then a few pages that are in RAM get some: those come first. */
Test(slab, slots_of_pages_in_ram_are_taken_first)
{
    enum { LIMIT = 64, CLASS = 15, EACH = 16, N = 4 * LIMIT * EACH, FROZEN = 100 };
    static void *blocks[N];
    size_t n_near = 0;

    begin(LIMIT);
    fill_beyond_the_limit(blocks, N, CLASS);
    for (size_t i = 0; i < FROZEN; i++)
        give_one(blocks[i * EACH]);
    for (size_t i = N - 8 * EACH; i < N; i += 2) {
        if (!fake_is_present(w, (void *)((uintptr_t)blocks[i] & ~(PAGE_BYTES - 1))))
            continue;
        give_one(blocks[i]);
        n_near++;
    }
    cr_assert_gt(n_near, 4);
    for (size_t i = 0; i < n_near; i++) {
        unsigned char *p = take_one(CLASS);

        cr_assert(fake_is_present(w, (void *)((uintptr_t)p & ~(PAGE_BYTES - 1))), "%zu of %zu", i, n_near);
    }
    for (size_t i = 0; i < FROZEN; i++)
        cr_assert_eq(space_number(&w->pager.space, (uintptr_t)take_one(CLASS)) < slabs.heap->top, true);
    cr_assert_eq(slabs.classes[CLASS].n_slabs, N / EACH, "no new page");
}

/* Pages get free slots while they are in RAM, and half of them leave before slots are wanted: those that gave theirs last. */
Test(slab, slots_of_pages_that_have_left_meanwhile_are_passed_over)
{
    enum { LIMIT = 64, CLASS = 15, EACH = 16, N = 4 * LIMIT * EACH, HALF = 6 };
    static void *blocks[N];
    static size_t near[LIMIT];
    size_t n_near = 0;

    begin(LIMIT);
    fill_beyond_the_limit(blocks, N, CLASS);
    for (size_t i = N; i > 0 && n_near < 2 * HALF; i -= EACH)
        if (fake_is_present(w, (void *)((uintptr_t)blocks[i - EACH] & ~(PAGE_BYTES - 1))))
            near[n_near++] = i - EACH;
    cr_assert_eq(n_near, 2 * HALF);
    for (size_t i = 0; i < 2 * HALF; i++)
        give_one(blocks[near[i] + 1]);
    for (size_t i = 0; i < 2 * LIMIT; i++) {
        (void)value_at(blocks[i * EACH]);
        for (size_t k = 0; k < HALF; k++)
            (void)value_at(blocks[near[k]]);
    }
    for (size_t i = 0; i < HALF; i++) {
        unsigned char *p = take_one(CLASS);

        cr_assert(fake_is_present(w, (void *)((uintptr_t)p & ~(PAGE_BYTES - 1))), "%zu", i);
    }
}

Test(slab, records_give_their_ram_back)
{
    enum { N = 40000 };
    static void *blocks[N];
    size_t peak;

    begin(64);
    for (int round = 0; round < 2; round++) {
        unsigned class = round == 0 ? 27 : 25; /* records of one class become another's */

        for (size_t i = 0; i < N; i++)
            blocks[i] = take_one(class);
        peak = slabs_meta_bytes(&slabs);
        for (size_t i = 0; i < N; i++)
            give_one(blocks[i]);
        cr_assert_lt(slabs_meta_bytes(&slabs), peak / 4);
        cr_assert_leq(slabs.n_chunks_used, (size_t)2);
    }
}

/* Every call of the system fails once: nothing is lost, and later it goes on. */
Test(slab, failing_calls_leave_nothing_behind)
{
    for (int n = 1; n < 40; n++) {
        void *blocks[200];
        size_t n_blocks = 0;

        begin(NO_LIMIT);
        os_inject_countdown = n;
        for (size_t i = 0; i < 200; i++) {
            blocks[n_blocks] = take_one((unsigned)(i % SLAB_CLASSES));
            n_blocks += blocks[n_blocks] != NULL;
        }
        os_inject_countdown = 0;
        cr_assert(n_blocks >= 199 || slabs.failed);
        for (size_t i = 0; i < n_blocks; i++) {
            memset(blocks[i], 1, 16);
            give_one(blocks[i]);
        }
    }
}

enum { N_THREADS = 3, N_MARKET = 64 };
static _Atomic(void *) market[N_MARKET];

/* Blocks go from thread to thread. */
static void *trade(void *arg)
{
    uint64_t random = (uintptr_t)arg;

    for (int i = 0; i < 20000; i++) {
        unsigned char *mine;
        unsigned char *theirs;

        random = random * 6364136223846793005u + 1442695040888963407u;
        mine = take_one((unsigned)(random >> 33) % SLAB_CLASSES);
        cr_assert_not_null(mine);
        mine[0] = mine[15] = (unsigned char)((uintptr_t)mine >> 4);
        theirs = atomic_exchange(&market[(random >> 50) % N_MARKET], mine);
        if (theirs == NULL)
            continue;
        cr_assert(theirs[0] == (unsigned char)((uintptr_t)theirs >> 4) && theirs[15] == theirs[0]);
        give_one(theirs);
    }
    return NULL;
}

Test(slab, several_threads_share_slabs)
{
    pthread_t threads[N_THREADS];

    begin(NO_LIMIT);
    for (uintptr_t i = 0; i < N_THREADS; i++)
        pthread_create(&threads[i], NULL, trade, (void *)(i + 1));
    for (size_t i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < N_MARKET; i++)
        if (market[i] != NULL)
            give_one(market[i]);
    for (unsigned class = 0; class < SLAB_CLASSES; class++)
        cr_assert_eq(slabs.classes[class].n_taken, 0);
}
