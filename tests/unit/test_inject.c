/*
 * test_inject.c - the n-th call of platform/ that can fail does fail, for n = 1, 2, 3 ... until a run is through without
 * one: the answers stay right, or memory is refused as libc could refuse it.
 */
#include "platform/inject.h"
#include "tests/unit/fake.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define WORDS (PAGE_BYTES / sizeof(uint64_t))
#define N_PAGES 100

static bool is_filled(struct world *w, uint64_t *p, size_t n_pages)
{
    for (size_t i = 0; i < n_pages; i++)
        if (fake_load(w, p + i * WORDS, 1) != i + 1 || fake_load(w, p + i * WORDS + 99, 1) != i * 0x9e3779b97f4a7c15u)
            return false;
    return true;
}

static void use_memory(struct world *w)
{
    uint64_t *p = heap_allocate(&w->heap, N_PAGES * PAGE_BYTES, 0);
    uint64_t *fence = heap_allocate(&w->heap, PAGE_BYTES, 0);
    uint64_t *q;

    if (p == NULL)
        return; /* libc's turn */
    for (size_t i = 0; i < N_PAGES; i++) {
        fake_store(w, p + i * WORDS, i + 1, 1);
        fake_store(w, p + i * WORDS + 99, i * 0x9e3779b97f4a7c15u, 1);
    }
    cr_assert(is_filled(w, p, N_PAGES));
    q = heap_resize(&w->heap, p, 2 * N_PAGES * PAGE_BYTES, "test");
    if (q != NULL) {
        cr_assert(is_filled(w, q, N_PAGES));
        cr_assert_eq(fake_load(w, q + (2 * N_PAGES - 1) * WORDS, 1), 0);
        p = q;
    }
    if (pager_is_engaged(&w->pager))
        reclaim_compact(&w->pager.reclaim);
    cr_assert(is_filled(w, p, N_PAGES));
    heap_free(&w->heap, p, "test");
    if (fence != NULL)
        heap_free(&w->heap, fence, "test");
    if (!pager_is_engaged(&w->pager))
        return;
    cr_assert_eq(w->pager.reclaim.charged, 0);
    cr_assert_eq(w->pager.store.pool.n_images, 0);
}

static void fail_each_call(size_t limit, bool can_move)
{
    for (long n = 1;; n++) {
        struct world *w = calloc(1, sizeof *w);

        cr_assert_not_null(w);
        atomic_store(&os_inject_countdown, n);
        if (heap_init(&w->heap, 64 * MIB, limit, &w->pager) == 0) {
            fake_init(&w->fake, can_move);
            pager_init(&w->pager, limit, UINT64_MAX, &w->fake.contract);
            heap_open(&w->heap);
            use_memory(w);
        }
        if (atomic_exchange(&os_inject_countdown, 0) > 0) {
            cr_assert_gt(n, 5, "%ld calls failed, one a run: too few to be true", n - 1);
            return;
        }
        cr_assert_lt(n, 100000);
    }
}

Test(inject, every_call_fails_once_over_the_limit)
{
    fail_each_call(64, true);
}

Test(inject, every_call_fails_once_where_pages_cannot_move)
{
    fail_each_call(64, false);
}

Test(inject, every_call_fails_once_within_the_limit)
{
    fail_each_call(100000, true);
}
