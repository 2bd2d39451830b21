/* test_heap.c - blocks of whole pages. */
#include "core/heap_tags.h"
#include "tests/unit/fake.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RANGE (256 * MIB)
#define NO_LIMIT ((size_t)1 << 20)

Test(heap, blocks_are_aligned_zeroed_and_apart)
{
    struct world *w = world_new(RANGE, NO_LIMIT, true);
    unsigned char *a = heap_allocate(&w->heap, 10000, 0);
    unsigned char *b = heap_allocate(&w->heap, 1, 0);

    cr_assert(heap_owns(&w->heap, a) && heap_owns(&w->heap, b));
    cr_assert((uintptr_t)a % PAGE_BYTES == 0 && (uintptr_t)b % PAGE_BYTES == 0);
    cr_assert_eq(heap_usable_bytes(&w->heap, a, "test"), 3 * PAGE_BYTES);
    for (size_t i = 0; i < 3 * PAGE_BYTES; i++)
        cr_assert_eq(a[i], 0);
    memset(a, 1, 3 * PAGE_BYTES);
    cr_assert_eq(b[0], 0);
}

Test(heap, every_alignment_is_kept_and_the_rest_is_not_lost)
{
    struct world *w = world_new(RANGE, NO_LIMIT, true);

    for (size_t alignment = 1; alignment <= 64 * MIB; alignment *= 2) {
        void *p = heap_allocate(&w->heap, 12345, alignment);

        cr_assert_not_null(p);
        cr_assert_eq((uintptr_t)p % alignment, 0);
        heap_free(&w->heap, p, "test");
    }
    cr_assert_eq(w->heap.top, 0, "all joined and given back: %zu pages", w->heap.top);
}

Test(heap, freed_neighbours_join_in_every_order)
{
    static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    struct world *w = world_new(RANGE, NO_LIMIT, true);
    void *fence;

    for (int order = 0; order < 6; order++) {
        void *p[3];
        void *joined;

        for (int i = 0; i < 3; i++)
            p[i] = heap_allocate(&w->heap, 5 * PAGE_BYTES, 0);
        fence = heap_allocate(&w->heap, PAGE_BYTES, 0);
        for (int i = 0; i < 3; i++)
            heap_free(&w->heap, p[orders[order][i]], "test");
        joined = heap_allocate(&w->heap, 15 * PAGE_BYTES, 0);
        cr_assert_eq(joined, p[0]);
        heap_free(&w->heap, joined, "test");
        heap_free(&w->heap, fence, "test");
        cr_assert_eq(w->heap.top, 0);
    }
}

/* Lengths that do not fit into a tag: 16,383 pages and more. */
Test(heap, blocks_longer_than_a_tag_can_say_are_cut_joined_and_resized)
{
    static const size_t lengths[] = {16381, 16382, 16383, 16384, 16385, 40000};
    struct world *w = world_new(RANGE, NO_LIMIT, true);

    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        size_t n = lengths[i];
        unsigned char *p = heap_allocate(&w->heap, n * PAGE_BYTES, 0);
        unsigned char *fence = heap_allocate(&w->heap, PAGE_BYTES, 0);
        unsigned char *half;

        cr_assert_eq(heap_usable_bytes(&w->heap, p, "test"), n * PAGE_BYTES);
        cr_assert_eq(heap_resize(&w->heap, p, (n - 1) * PAGE_BYTES, "test"), p);
        cr_assert_eq(heap_resize(&w->heap, p, 7 * PAGE_BYTES, "test"), p);
        cr_assert_eq(heap_resize(&w->heap, p, n * PAGE_BYTES, "test"), p);
        cr_assert_eq(heap_usable_bytes(&w->heap, p, "test"), n * PAGE_BYTES);
        heap_free(&w->heap, p, "test");
        half = heap_allocate(&w->heap, n / 2 * PAGE_BYTES, 0);
        cr_assert_eq(half, p);
        cr_assert_eq(heap_usable_bytes(&w->heap, half, "test"), n / 2 * PAGE_BYTES);
        heap_free(&w->heap, half, "test");
        cr_assert_eq(heap_allocate(&w->heap, n * PAGE_BYTES, 0), p, "joined again");
        heap_free(&w->heap, p, "test");
        heap_free(&w->heap, fence, "test");
        cr_assert_eq(w->heap.top, 0);
    }
}

/* Every length with and without room for links, freed among blocks that stay, and found again. */
Test(heap, short_free_spans_are_used_again)
{
    enum { N_EACH = 50 };
    struct world *w = world_new(RANGE, NO_LIMIT, true);

    for (size_t n_pages = 1; n_pages <= 9; n_pages++) {
        void *blocks[N_EACH];
        size_t top;

        for (size_t i = 0; i < N_EACH; i++) {
            blocks[i] = heap_allocate(&w->heap, n_pages * PAGE_BYTES, 0);
            cr_assert_not_null(heap_allocate(&w->heap, PAGE_BYTES, 0));
        }
        top = w->heap.top;
        for (size_t i = 0; i < N_EACH; i++)
            heap_free(&w->heap, blocks[i * 7 % N_EACH], "test");
        for (size_t i = 0; i < N_EACH; i++)
            cr_assert_not_null(heap_allocate(&w->heap, n_pages * PAGE_BYTES, 0));
        cr_assert_eq(w->heap.top, top);
    }
}

/* What a free span's links leave behind in a block is no tag: pages far up, whose numbers need all their bits. */
Test(heap, what_links_and_lengths_left_behind_is_not_taken_for_a_tag)
{
    enum { N_EACH = 8, N_PAGES = 12, FAR = 40000 };
    struct world *w = world_new(RANGE, NO_LIMIT, true);
    unsigned char *far = heap_allocate(&w->heap, FAR * PAGE_BYTES, 0);
    unsigned char *blocks[N_EACH];
    page_number first;

    cr_assert_not_null(heap_allocate(&w->heap, PAGE_BYTES, 0)); /* between what is freed */
    for (size_t i = 0; i < N_EACH; i++) {
        blocks[i] = heap_allocate(&w->heap, N_PAGES * PAGE_BYTES, 0);
        cr_assert_not_null(heap_allocate(&w->heap, PAGE_BYTES, 0));
    }
    for (size_t i = 0; i < N_EACH; i++)
        heap_free(&w->heap, blocks[i], "test");
    heap_free(&w->heap, far, "test");
    for (size_t i = 0; i < N_EACH; i++) {
        unsigned char *block = heap_allocate(&w->heap, N_PAGES * PAGE_BYTES, 0);

        first = number_of(&w->heap, block);
        cr_assert_gt(first, 16384);
        for (page_number number = first + 1; number < first + N_PAGES; number++)
            cr_assert_eq(heap_kind_at(&w->heap, number), TAG_NONE);
    }
    far = heap_allocate(&w->heap, FAR * PAGE_BYTES, 0);
    first = number_of(&w->heap, far);
    for (page_number number = first + 1; number < first + FAR; number++)
        cr_assert_eq(heap_kind_at(&w->heap, number), TAG_NONE);
}

Test(heap, tables_of_short_free_spans_are_counted)
{
    struct world *w = world_new(RANGE, NO_LIMIT, true);
    void *p = heap_allocate(&w->heap, PAGE_BYTES, 0);
    size_t n_bytes;

    cr_assert_not_null(heap_allocate(&w->heap, PAGE_BYTES, 0));
    n_bytes = heap_meta_bytes(&w->heap);
    heap_free(&w->heap, p, "test");
    cr_assert_eq(heap_meta_bytes(&w->heap), n_bytes + w->heap.short_spans.n_touched * PAGE_BYTES);
    cr_assert_gt(w->heap.short_spans.n_touched, 0);
}

Test(heap, freed_memory_returns_to_the_system_and_comes_back_zeroed)
{
    struct world *w = world_new(RANGE, NO_LIMIT, true);
    unsigned char *p = heap_allocate(&w->heap, MIB, 0);
    unsigned char *again;

    memset(p, 1, MIB);
    heap_free(&w->heap, p, "test");
    cr_assert(!fake_is_present(w, p));
    again = heap_allocate(&w->heap, MIB, 0);
    cr_assert_eq(again, p);
    for (size_t i = 0; i < MIB; i++)
        cr_assert_eq(again[i], 0);
}

Test(heap, block_grows_in_place_into_free_pages_and_shrinks)
{
    struct world *w = world_new(RANGE, NO_LIMIT, true);
    unsigned char *p = heap_allocate(&w->heap, 4 * PAGE_BYTES, 0);
    void *next;

    memset(p, 7, 4 * PAGE_BYTES);
    cr_assert_eq(heap_resize(&w->heap, p, 40 * PAGE_BYTES, "test"), p);
    cr_assert_eq(p[39 * PAGE_BYTES], 0);
    cr_assert_eq(heap_resize(&w->heap, p, 3 * PAGE_BYTES, "test"), p);
    next = heap_allocate(&w->heap, PAGE_BYTES, 0);
    cr_assert_eq(next, p + 3 * PAGE_BYTES);
    heap_free(&w->heap, next, "test");
    cr_assert_eq(heap_resize(&w->heap, p, 4 * PAGE_BYTES, "test"), p);
    cr_assert_eq(p[3 * PAGE_BYTES], 0, "the page that was cut off came back as zeros");
    cr_assert_eq(p[0], 7);
    cr_assert_eq(w->heap.live_pages, 4);
}

Test(heap, block_that_cannot_grow_moves_with_its_contents)
{
    struct world *w = world_new(RANGE, NO_LIMIT, true);
    unsigned char *p = heap_allocate(&w->heap, 64 * PAGE_BYTES, 0);
    void *fence = heap_allocate(&w->heap, PAGE_BYTES, 0);
    unsigned char *q;

    for (size_t i = 0; i < 64; i++)
        p[i * PAGE_BYTES] = (unsigned char)(i + 1);
    q = heap_resize(&w->heap, p, 128 * PAGE_BYTES, "test");
    cr_assert(q != p && q != NULL);
    for (size_t i = 0; i < 64; i++)
        cr_assert_eq(q[i * PAGE_BYTES], i + 1);
    cr_assert(!fake_is_present(w, p));
    heap_free(&w->heap, q, "test");
    heap_free(&w->heap, fence, "test");
    cr_assert(w->heap.top == 0 && w->heap.live_pages == 0 && w->heap.n_blocks == 0);
}

Test(heap, what_does_not_fit_is_null_and_harms_nothing)
{
    struct world *w = world_new(RANGE, NO_LIMIT, true);
    void *p = heap_allocate(&w->heap, 200 * MIB, 0);

    cr_assert_not_null(p);
    cr_assert_null(heap_allocate(&w->heap, 57 * MIB, 0));
    cr_assert_null(heap_allocate(&w->heap, SIZE_MAX, 0));
    cr_assert_null(heap_allocate(&w->heap, SIZE_MAX - 4096, 0));
    cr_assert_null(heap_allocate(&w->heap, PAGE_BYTES, (size_t)1 << 40));
    cr_assert_null(heap_resize(&w->heap, p, 300 * MIB, "test"));
    cr_assert_null(heap_resize(&w->heap, p, SIZE_MAX, "test"));
    cr_assert_eq(heap_usable_bytes(&w->heap, p, "test"), 200 * MIB);
    cr_assert_not_null(heap_allocate(&w->heap, 50 * MIB, 0));
}

Test(heap, untouched_gigabyte_costs_no_table_memory_to_speak_of)
{
    struct world *w = world_new(4 * GIB, NO_LIMIT, true);

    for (int i = 0; i < 100; i++)
        heap_free(&w->heap, heap_allocate(&w->heap, GIB, 0), "test");
    cr_assert_leq(heap_meta_bytes(&w->heap), 16 * KIB);
}

Test(heap, core_that_cannot_start_leaves_the_blocks_alone_and_closes_the_heap)
{
    struct world *w = world_new(RANGE, 100, true);
    unsigned char *p = heap_allocate(&w->heap, 90 * PAGE_BYTES, 0);

    memset(p, 3, 90 * PAGE_BYTES);
    w->fake.start_error = -EPERM;
    cr_assert_null(heap_allocate(&w->heap, 20 * PAGE_BYTES, 0));
    cr_assert_null(heap_allocate(&w->heap, PAGE_BYTES, 0));
    cr_assert(!pager_is_engaged(&w->pager));
    for (size_t i = 0; i < 90 * PAGE_BYTES; i++)
        cr_assert_eq(p[i], 3);
    heap_free(&w->heap, p, "test");
    cr_assert_eq(w->heap.live_pages, 0);
}

/* ---- against a shadow model ---- */

struct shadow {
    uint64_t *p;
    size_t n_pages;
    uint64_t stamp;
};

static uint64_t random_state = 88172645463325252u;

static size_t random_below(size_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (size_t)(random_state % n);
}

static uint64_t *word_of(const struct shadow *s, size_t page)
{
    return s->p + page * (PAGE_BYTES / sizeof(uint64_t)) + page % 500;
}

static void check_shadow(struct world *w, const struct shadow *s)
{
    for (size_t page = 0; page < s->n_pages; page++)
        cr_assert_eq(fake_load(w, word_of(s, page), 1), s->stamp + page * (page % 2));
}

static void write_shadow(struct world *w, const struct shadow *s, size_t from)
{
    for (size_t page = from; page < s->n_pages; page++) {
        cr_assert_eq(fake_load(w, word_of(s, page), 1), 0, "a fresh page is not zero");
        fake_store(w, word_of(s, page), s->stamp + page * (page % 2), 1);
    }
}

static void random_step(struct world *w, struct shadow *s, uint64_t stamp)
{
    size_t n_pages = 1 + random_below(random_below(8) == 0 ? 400 : 12);

    if (s->p == NULL) {
        *s = (struct shadow){heap_allocate(&w->heap, n_pages * PAGE_BYTES, PAGE_BYTES << random_below(4)), n_pages, stamp};
        cr_assert_not_null(s->p);
        write_shadow(w, s, 0);
    } else if (random_below(3) == 0) {
        size_t before = s->n_pages;

        s->p = heap_resize(&w->heap, s->p, n_pages * PAGE_BYTES, "test");
        cr_assert_not_null(s->p);
        s->n_pages = n_pages;
        if (n_pages > before)
            write_shadow(w, s, before);
        check_shadow(w, s);
    } else {
        check_shadow(w, s);
        heap_free(&w->heap, s->p, "test");
        s->p = NULL;
    }
}

static void run_against_model(size_t limit, bool can_move, bool swaps)
{
    enum { N = 60, STEPS = 3000 };
    static struct shadow shadows[N];
    struct world *w = world_new(RANGE, limit, can_move);
    size_t n_live = 0;

    if (swaps) /* plain images, so that these few pages overflow the buffer */
        world_use_swap(w, UINT64_MAX, false, true);
    memset(shadows, 0, sizeof shadows);
    for (uint64_t step = 1; step <= STEPS; step++) {
        random_step(w, &shadows[random_below(N)], step << 20);
        cr_assert_leq(w->pager.reclaim.exceeded_peak, 0);
    }
    for (size_t i = 0; i < N; i++) {
        if (shadows[i].p == NULL)
            continue;
        check_shadow(w, &shadows[i]);
        n_live += shadows[i].n_pages;
    }
    cr_assert_eq(w->heap.live_pages, n_live);
    for (size_t i = 0; i < N; i++)
        if (shadows[i].p != NULL)
            heap_free(&w->heap, shadows[i].p, "test");
    cr_assert_eq(w->heap.top, 0);
    cr_assert_eq(w->pager.reclaim.charged, 0);
    cr_assert_eq(w->pager.store.pool.n_images, 0);
    cr_assert_eq(pagetable_meta_bytes(&w->pager.table), 0);
    cr_assert_eq(w->pager.reclaim.writeback.n_written > 0, swaps);
    cr_assert_eq(w->pager.reclaim.writeback.swap.n_used, 0);
    cr_assert_eq(w->pager.reclaim.writeback.queue.n_pages, 0);
    cr_assert_eq(w->pager.reclaim.writeback.kept.n_images, 0);
    cr_assert_eq(w->pager.reclaim.writeback.kept_bytes, 0);
}

Test(heap, random_calls_agree_with_a_shadow_model_at_64_pages)
{
    run_against_model(64, true, false);
}

Test(heap, random_calls_agree_with_a_shadow_model_at_1024_pages)
{
    run_against_model(1024, true, false);
}

Test(heap, random_calls_agree_with_a_shadow_model_at_5_pages)
{
    run_against_model(5, true, false);
}

Test(heap, random_calls_agree_with_a_shadow_model_where_pages_cannot_move)
{
    run_against_model(64, false, false);
}

Test(heap, random_calls_agree_with_a_shadow_model_with_a_swap_file)
{
    run_against_model(64, true, true);
}
