/* test_stuck.c - pages that will not go: locked in RAM. */
#include "tests/unit/contents.h"
#include "tests/unit/unit.h"

#include <sys/syscall.h>
#include <unistd.h>

/* The kernel does not discard what is locked in RAM. */
static void lock_in_ram(uint64_t *p, size_t n_pages)
{
    cr_assert_eq(syscall(SYS_mlock, p, n_pages * PAGE_BYTES), 0); /* a sanitizer makes nothing of mlock() */
}

static void page_that_will_not_go_stays_closed(bool has_image)
{
    struct world *w = world_new(RANGE, LIMIT, true);
    const struct reclaim_counters *counters = &w->pager.reclaim.counters;
    uint64_t *p = pages(w);
    page_number number = (page_number)(((uintptr_t)p - w->pager.space.near_base) / PAGE_BYTES) + 7;
    uint64_t n_busy;

    read_pages(w, p, 1);
    read_page(w, p, 7, 1);
    if (!has_image)
        reclaim_yield_kept(&w->pager.reclaim);
    cr_assert_eq(page_at(&w->pager.table, number)->value != 0, has_image);
    cr_assert_eq(w->fake.protected_pages[number], FAKE_READ_ONLY);
    lock_in_ram(p + 7 * WORDS, 1);
    n_busy = counters->busy_pages;
    read_pages(w, p, 1);
    cr_assert_gt(counters->busy_pages, n_busy);
    cr_assert(fake_is_present(w, p + 7 * WORDS));
    check_protections(w);
    fake_add(w, p + 7 * WORDS, 5, 1);
    check_protections(w);
    cr_assert_eq(syscall(SYS_munlock, p + 7 * WORDS, PAGE_BYTES), 0);
    for (size_t i = 0; i < N; i++)
        cr_assert_eq(fake_load(w, p + i * WORDS, 1), word_of(i, 0, 1) + (i == 7 ? 5 : 0));
    free_all(w, p);
}

Test(stuck, page_that_will_not_go_stays_closed)
{
    page_that_will_not_go_stays_closed(true);
}

Test(stuck, page_that_will_not_go_stays_closed_also_without_an_image)
{
    page_that_will_not_go_stays_closed(false);
}

/* As if so much time had passed, and no more until all has been tried. */
static void retry_stuck(struct world *w, uint64_t *p)
{
    struct reclaim *r = &w->pager.reclaim;

    r->stuck_retry_ns = 0;
    for (size_t i = N - LIMIT; i < N && r->stuck_retry_ns == 0; i++)
        read_page(w, p, i, 1);
    r->stuck_retry_ns = UINT64_MAX;
    read_pages(w, p, 1);
}

Test(stuck, pages_that_will_not_go_are_tried_less_and_less)
{
    enum { LOCKED_PAGES = LIMIT + 20 }; /* all that is resident, and more than that */
    struct world *w = world_new(RANGE, LIMIT, true);
    struct reclaim *r = &w->pager.reclaim;
    uint64_t *p = pages(w);
    uint64_t wait_ns;
    size_t n_stuck;

    for (size_t i = 0; i < LOCKED_PAGES; i++) {
        read_page(w, p, i, 1);
        lock_in_ram(p + i * WORDS, 1);
    }
    read_pages(w, p, 1);
    retry_stuck(w, p);
    n_stuck = r->stuck.n_pages;
    cr_assert_gt(n_stuck, LIMIT / 2);
    for (unsigned i = 0; i < 8; i++) {
        wait_ns = r->stuck_wait_ns;
        retry_stuck(w, p);
        cr_assert_gt(2 * r->stuck.n_pages, n_stuck);
        /* More than twice as long where one read took so long itself that a second retry was due in it. */
        cr_assert((r->stuck_wait_ns >= 2 * wait_ns && r->stuck_wait_ns % (2 * wait_ns) == 0) || (i > 4 && r->stuck_wait_ns == wait_ns),
                  "%u", i);
    }
    cr_assert_eq(syscall(SYS_munlock, p, LOCKED_PAGES * PAGE_BYTES), 0);
    retry_stuck(w, p);
    cr_assert_eq(r->stuck.n_pages, 0);
    retry_stuck(w, p);
    cr_assert_eq(r->n_retried, 0); /* the next one that will not go is tried again soon */
    free_all(w, p);
}

/* A lock is not inherited, and neither is a protection: what stands among the pages that would not go may be written unseen. */
Test(stuck, page_that_would_not_go_is_open_in_a_forked_child)
{
    struct world *w = world_new(RANGE, LIMIT, true);
    struct reclaim *r = &w->pager.reclaim;
    uint64_t *p = pages(w);
    page_number number = (page_number)(((uintptr_t)p - w->pager.space.near_base) / PAGE_BYTES) + 7;

    read_pages(w, p, 1);
    read_page(w, p, 7, 1);
    lock_in_ram(p + 7 * WORDS, 1);
    read_pages(w, p, 1);
    cr_assert_neq(page_at(&w->pager.table, number)->flags & PAGE_FLAG_STUCK, 0);
    cr_assert_neq(page_at(&w->pager.table, number)->flags & PAGE_FLAG_SHUT, 0);
    os_lock_take(&r->lock);
    reclaim_fork_child(r);
    os_lock_release(&r->lock);
    for (page_number i = 0; i < w->pager.table.committed_pages; i++) /* as the kernel leaves them in a child */
        w->fake.protected_pages[i] = w->fake.protected_pages[i] == FAKE_READ_ONLY ? FAKE_OPEN : w->fake.protected_pages[i];
    cr_assert_eq(syscall(SYS_munlock, p + 7 * WORDS, PAGE_BYTES), 0);
    fake_add(w, p + 7 * WORDS, 5, 1);
    r->stuck_retry_ns = 0;
    for (unsigned round = 0; round < 4; round++) /* these come back soon, so that its turn comes too */
        for (size_t i = 8; i < 8 + LIMIT + LIMIT / 4; i++)
            read_page(w, p, i, 1);
    cr_assert(!fake_is_present(w, p + 7 * WORDS));
    cr_assert_eq(fake_load(w, p + 7 * WORDS, 1), word_of(7, 0, 1) + 5);
    free_all(w, p);
}

/* All that is resident is held: to look for something else at each page that comes in would take the square of them. */
Test(stuck, hold_larger_than_the_limit_looks_for_others_now_and_then)
{
    struct world *w = world_new(RANGE, 1024, true);
    struct reclaim *r = &w->pager.reclaim;
    const size_t n_pages = 8000;
    uint64_t *p = heap_allocate(&w->heap, n_pages * PAGE_BYTES, 0);
    page_number first = (page_number)(((uintptr_t)p - w->pager.space.near_base) / PAGE_BYTES);
    static struct hold hold;
    unsigned n_refills;

    for (size_t i = 0; i < n_pages; i++)
        write_page(w, p, i, 1);
    n_refills = r->n_refills;
    hold_add(&hold, first, (page_number)(first + n_pages));
    pager_hold(&w->pager, &hold);
    cr_assert_eq(r->fresh.n_pages + r->proven.n_pages, n_pages);
    cr_assert_gt(r->exceeded_peak, 0);
    cr_assert_lt(r->n_refills - n_refills, n_pages / 20, "%u", r->n_refills - n_refills);
    hold_end(&hold);
    write_page(w, p, 0, 1);
    free_all(w, p);
}

/* What the program locks is not even tried: no image is made of it, and it may leave again as soon as the lock is gone. */
Test(stuck, locked_pages_have_no_images)
{
    enum { LOCKED_PAGES = LIMIT / 2 };
    struct world *w = world_new(RANGE, LIMIT, true);
    const struct reclaim_counters *counters = &w->pager.reclaim.counters;
    uint64_t *p = pages(w);
    page_number number = (page_number)(((uintptr_t)p - w->pager.space.near_base) / PAGE_BYTES);

    read_pages(w, p, 1);
    cr_assert_eq(pager_lock(&w->pager, number, LOCKED_PAGES, false), 0);
    for (size_t i = 0; i < LOCKED_PAGES; i++)
        cr_assert(fake_is_present(w, p + i * WORDS));
    for (int round = 0; round < 3; round++) {
        uint64_t n_busy = counters->busy_pages;

        read_pages(w, p, 1);
        cr_assert_eq(counters->busy_pages, n_busy);
        for (size_t i = 0; i < LOCKED_PAGES; i++)
            cr_assert(fake_is_present(w, p + i * WORDS));
    }
    pager_unlock(&w->pager, number, LOCKED_PAGES);
    read_pages(w, p, 1);
    read_pages(w, p, 1);
    cr_assert_leq(w->pager.reclaim.charged, LIMIT);
    cr_assert_eq(w->pager.reclaim.stuck.n_pages, 0);
    free_all(w, p);
}
