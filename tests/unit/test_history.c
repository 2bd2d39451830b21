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
    history_note(&history, 0, HISTORY_FRESH);
    history_note(&history, 7, HISTORY_FRESH);
    cr_assert(history_has(&history, 0) && history_has(&history, 7) && !history_has(&history, 1007));
    cr_assert(history_recall(&history, 7));
    cr_assert(!history_recall(&history, 7));
    cr_assert(history_recall(&history, 0));
}

Test(history, later_one_takes_the_slot)
{
    struct history history;

    cr_assert_eq(history_init(&history, 1000), 0);
    history_note(&history, 7, HISTORY_FRESH);
    history_note(&history, 1007, HISTORY_FRESH);
    cr_assert(!history_recall(&history, 7));
    cr_assert(history_recall(&history, 1007));
}

Test(history, pages_are_told_apart_however_few_slots_there_are)
{
    const page_number highest = PAGE_NONE - 1;
    struct history history;

    cr_assert_eq(history_init(&history, 8), 0);
    history_note(&history, 7 + 8 * 16382, HISTORY_FRESH | HISTORY_BARE);
    for (page_number other = 7; other < 7 + 8 * 16382; other += 8)
        cr_assert(!history_has(&history, other), "%u", other);
    cr_assert(history_recall(&history, 7 + 8 * 16382));
    cr_assert_eq(history.n_back[true], 2, "one, and the one to begin with");
    history_note(&history, highest, HISTORY_FRESH);
    cr_assert(history_recall(&history, highest) && !history_recall(&history, highest));
}

Test(history, without_memory_nothing_is_remembered)
{
    struct history history;

    atomic_store(&os_inject_countdown, 1);
    cr_assert_eq(history_init(&history, 1000), -ENOMEM);
    history_note(&history, 7, HISTORY_FRESH);
    cr_assert(!history_has(&history, 7) && !history_recall(&history, 7));
    cr_assert_eq(history_meta_bytes(&history), 0);
}

Test(history, page_that_left_as_a_proven_one_is_not_remembered_as_a_fresh_one)
{
    struct history history;

    cr_assert_eq(history_init(&history, 1000), 0);
    history_note(&history, 7, 0);
    cr_assert(!history_has(&history, 7) && !history_recall(&history, 7));
}

/* Of a hundred pages each that leave with an image and without, so many come back before they are forgotten. */
static void go_and_come_back(struct history *history, unsigned n_imaged, unsigned n_bare)
{
    for (page_number number = 0; number < 100; number++) {
        history_note(history, number, 0);
        history_note(history, 100 + number, HISTORY_BARE);
    }
    for (page_number number = 0; number < n_imaged; number++)
        (void)history_recall(history, number);
    for (page_number number = 0; number < n_bare; number++)
        (void)history_recall(history, 100 + number);
    for (page_number number = 0; number < 200; number++) { /* in the same slots */
        history_note(history, 1000 + number, HISTORY_FRESH);
        history_forget(history, 1000 + number);
    }
}

Test(history, says_whether_pages_without_an_image_come_back_less_often)
{
    struct history history;

    cr_assert_eq(history_init(&history, 1000), 0);
    cr_assert(!history_bare_are_idle(&history));
    go_and_come_back(&history, 50, 50);
    cr_assert(!history_bare_are_idle(&history));
    go_and_come_back(&history, 50, 5);
    cr_assert(history_bare_are_idle(&history));
}

Test(history, what_was_long_ago_does_not_count)
{
    struct history history;

    cr_assert_eq(history_init(&history, 1000), 0);
    for (unsigned i = 0; i < 1000; i++)
        go_and_come_back(&history, 100, 1);
    cr_assert(history_bare_are_idle(&history));
    for (unsigned i = 0; i < 200; i++)
        go_and_come_back(&history, 50, 50);
    cr_assert(!history_bare_are_idle(&history));
}

Test(history, page_that_has_not_left_after_all_counts_for_nothing)
{
    struct history history;

    cr_assert_eq(history_init(&history, 1000), 0);
    for (page_number number = 0; number < 100; number++) {
        history_note(&history, number, HISTORY_FRESH);
        history_forget(&history, number);
        cr_assert(!history_has(&history, number));
        history_note(&history, number, HISTORY_BARE);
        history_forget(&history, number);
    }
    cr_assert_eq(history.n_back[false] + history.n_back[true], 2); /* as at the start */
    cr_assert_eq(history.n_forgotten[false] + history.n_forgotten[true], 0);
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
