/* test_history.c - what has left lately, and what follows for who has to leave next. */
#include "core/history.h"
#include "platform/inject.h"
#include "tests/unit/fake.h"
#include "tests/unit/unit.h"

#include <errno.h>

#define WORDS (PAGE_BYTES / sizeof(uint64_t))

Test(history, page_is_remembered_once)
{
    struct history history;

    cr_assert_eq(history_init(&history, 1000), 0);
    cr_assert(!history_has(&history, 0));
    history_note(&history, 0);
    history_note(&history, 7);
    cr_assert(history_has(&history, 0) && history_has(&history, 7) && !history_has(&history, 1007));
    cr_assert(history_recall(&history, 7));
    cr_assert(!history_recall(&history, 7));
    cr_assert(history_recall(&history, 0));
}

Test(history, later_one_takes_the_slot)
{
    struct history history;

    cr_assert_eq(history_init(&history, 1000), 0);
    history_note(&history, 7);
    history_note(&history, 1007);
    cr_assert(!history_recall(&history, 7));
    cr_assert(history_recall(&history, 1007));
}

Test(history, without_memory_nothing_is_remembered)
{
    struct history history;

    atomic_store(&os_inject_countdown, 1);
    cr_assert_eq(history_init(&history, 1000), -ENOMEM);
    history_note(&history, 7);
    cr_assert(!history_has(&history, 7) && !history_recall(&history, 7));
    cr_assert_eq(history_meta_bytes(&history), 0);
}

static size_t n_present(struct world *w, const uint64_t *p, size_t n_pages)
{
    size_t n = 0;

    for (size_t i = 0; i < n_pages; i++)
        n += fake_is_present(w, p + i * WORDS);
    return n;
}

static void touch(struct world *w, uint64_t *p, size_t n_pages, size_t step)
{
    for (size_t i = 0; i < n_pages; i++)
        fake_add(w, p + i * step % n_pages * WORDS, 0, 1);
}

/* Pages that come back while they are remembered stay through a scan of any length. */
static void pages_used_again_stay(bool can_extract)
{
    struct world *w = world_new(256 * MIB, 64, true);
    uint64_t *hot = heap_allocate(&w->heap, 20 * PAGE_BYTES, 0);
    uint64_t *other = heap_allocate(&w->heap, 70 * PAGE_BYTES, 0);
    uint64_t *scanned;

    atomic_store(&w->fake.contract.can_extract, can_extract);
    touch(w, hot, 20, 1);
    touch(w, other, 70, 1);
    cr_assert_lt(n_present(w, hot, 20), 5);
    touch(w, hot, 20, 7);
    scanned = heap_allocate(&w->heap, 500 * PAGE_BYTES, 0);
    touch(w, scanned, 500, 1);
    cr_assert_gt(n_present(w, hot, 20), 14, "%zu", n_present(w, hot, 20));
}

Test(history, pages_used_again_stay_through_a_scan)
{
    pages_used_again_stay(true);
}

Test(history, pages_used_again_stay_through_a_scan_where_pages_are_moved)
{
    pages_used_again_stay(false);
}
