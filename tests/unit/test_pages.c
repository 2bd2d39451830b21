/* test_pages.c - page table, queue, limbo and streams: the parts that the pager is made of. */
#include "core/limbo.h"
#include "core/pagetable.h"
#include "core/queue.h"
#include "core/stream.h"
#include "platform/thread.h"
#include "tests/unit/unit.h"

static struct pagetable table;

static void make_table(size_t n_pages)
{
    cr_assert_eq(pagetable_init(&table, n_pages), 0);
    cr_assert_eq(pagetable_commit(&table, n_pages), 0);
}

/* Through the arrows that lead there. */
static void make(page_number number, enum page_state state)
{
    page_set_state(&table, number, PAGE_THAWING);
    page_set_state(&table, number, PAGE_RESIDENT);
    if (state == PAGE_RESIDENT)
        return;
    page_set_state(&table, number, PAGE_COOLING);
    page_set_state(&table, number, PAGE_COOLED);
    if (state == PAGE_COOLED)
        return;
    page_set_state(&table, number, PAGE_FREEZING);
    page_set_state(&table, number, state);
}

Test(pagetable, any_word_survives_in_an_entry)
{
    static const uint64_t words[] = {0, 1, UINT64_MAX, 0x0123456789abcdef, 0xf000000000000000, 0x0fffffff00000000};
    struct page page = {0};

    page.state = PAGE_SAME;
    page.flags = PAGE_FLAG_LAST;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        page_set_word(&page, words[i]);
        cr_assert_eq(page_word(&page), words[i]);
        cr_assert(page.state == PAGE_SAME && page.flags == PAGE_FLAG_LAST);
    }
}

Test(pagetable, counts_follow_the_states)
{
    make_table(4096);
    make(1, PAGE_FROZEN);
    make(2, PAGE_SAME);
    make(2000, PAGE_FROZEN);
    page_set_state(&table, 3, PAGE_THAWING);
    cr_assert_eq(table.n_frozen, 2);
    cr_assert_eq(table.n_same, 1);
    cr_assert_eq(table.n_transit, 1);
    page_set_state(&table, 1, PAGE_EMPTY);
    cr_assert_eq(table.n_frozen, 1);
}

Test(pagetable, sixteen_bytes_a_page_at_the_most)
{
    make_table(100000);
    for (page_number i = 0; i < 100000; i++)
        make(i, PAGE_RESIDENT);
    cr_assert_leq(pagetable_meta_bytes(&table), 16u * 100000);
}

Test(pagetable, empty_groups_are_skipped_and_hold_no_memory)
{
    make_table(1 << 20);
    make(700000, PAGE_FROZEN);
    cr_assert_eq(pagetable_next_busy(&table, 0, 1 << 20) / PAGETABLE_GROUP_PAGES, 700000 / PAGETABLE_GROUP_PAGES);
    page_set_state(&table, 700000, PAGE_EMPTY);
    cr_assert_eq(pagetable_next_busy(&table, 0, 1 << 20), 1 << 20);
    cr_assert_eq(pagetable_meta_bytes(&table), 0);
}

Test(pagetable, run_of_entries_moves_as_it_is)
{
    make_table(16384);
    for (page_number i = 100; i < 3000; i++) {
        make(i, i % 3 == 0 ? PAGE_SAME : PAGE_FROZEN);
        page_at(&table, i)->value = i;
    }
    make(3000, PAGE_RESIDENT);
    page_at(&table, 8000 + 2899)->flags = PAGE_FLAG_LAST;
    for (size_t moved = 0; moved < 2900;) {
        size_t n = pagetable_move_run(&table, (page_number)(8000 + moved), (page_number)(100 + moved), 5000 - moved);

        cr_assert_gt(n, 0);
        moved += n;
    }
    cr_assert_eq(pagetable_move_run(&table, 10900, 3000, 10), 0, "a resident page has to be moved by hand");
    for (page_number i = 100; i < 3000; i++) {
        cr_assert_eq(page_state(page_at(&table, i)), PAGE_EMPTY);
        cr_assert_eq(page_state(page_at(&table, i + 7900)), i % 3 == 0 ? PAGE_SAME : PAGE_FROZEN);
        cr_assert_eq(page_at(&table, i + 7900)->value, i);
    }
    cr_assert_eq(page_at(&table, 10899)->flags, PAGE_FLAG_LAST);
    cr_assert_eq(table.n_frozen + table.n_same, 2900);
    page_set_state(&table, 3000, PAGE_EMPTY);
    cr_assert_eq(pagetable_next_busy(&table, 0, 7000), 7000);
}

Test(queue, oldest_leaves_first_and_any_page_can_leave)
{
    struct page_queue queue;

    make_table(1024);
    queue_init(&queue);
    for (page_number i = 0; i < 10; i++)
        queue_push(&queue, &table, i);
    queue_remove(&queue, &table, 0);
    queue_remove(&queue, &table, 5);
    queue_remove(&queue, &table, 9);
    cr_assert_eq(queue.oldest, 1);
    cr_assert_eq(queue.newest, 8);
    cr_assert_eq(queue.n_pages, 7);
    cr_assert_eq(page_at(&table, 4)->next, 6);
    for (page_number i = 1; i < 9; i++)
        if (i != 5)
            queue_remove(&queue, &table, i);
    cr_assert(queue.oldest == PAGE_NONE && queue.newest == PAGE_NONE && queue.n_pages == 0);
}

/* A run with a page in it that stands in no queue: the neighbours find each other, in the old order. */
Test(queue, entries_that_move_stay_where_they_are_in_the_order)
{
    static const page_number expected[] = {9, 100, 101, 5, 103, 104, 7};
    struct page_queue queue;
    page_number number;
    size_t n = 0;

    make_table(1024);
    queue_init(&queue);
    queue_push(&queue, &table, 0);
    queue_push(&queue, &table, 1);
    queue_push(&queue, &table, 5);
    queue_push(&queue, &table, 3);
    queue_push(&queue, &table, 4);
    queue_push(&queue, &table, 7);
    queue_push_oldest(&queue, &table, 9);
    for (page_number i = 0; i < 5; i++)
        *page_at(&table, 100 + i) = *page_at(&table, i);
    for (page_number i = 0; i < 5; i++)
        if (i != 2)
            queue_follow(&queue, &table, 100, 0, 5, i);
    for (number = queue.oldest; number != PAGE_NONE; number = page_at(&table, number)->next)
        cr_assert_eq(number, expected[n++]);
    cr_assert_eq(n, queue.n_pages);
    for (number = queue.newest; number != PAGE_NONE; number = page_at(&table, number)->prev)
        cr_assert_eq(number, expected[--n]);
}

Test(limbo, slots_come_in_order_and_a_full_ring_says_so)
{
    struct limbo limbo;

    cr_assert_eq(limbo_init(&limbo, 8, 8), 0);
    for (limbo_slot i = 0; i < 8; i++)
        cr_assert_eq(limbo_take(&limbo, i), i);
    cr_assert_eq(limbo_take(&limbo, 99), LIMBO_NONE);
    limbo_release(&limbo, 3);
    cr_assert_eq(limbo_take(&limbo, 99), LIMBO_NONE, "the next slot in order is still in use");
    limbo_release(&limbo, 0);
    cr_assert_eq(limbo_take(&limbo, 99), 0);
}

Test(limbo, oldest_resting_page_comes_first_and_holes_are_skipped)
{
    struct limbo limbo;
    uint64_t cursor;

    make_table(1024);
    cr_assert_eq(limbo_init(&limbo, 8, 8), 0);
    for (page_number i = 0; i < 5; i++) {
        make(i, i == 2 ? PAGE_RESIDENT : PAGE_COOLED);
        (void)limbo_take(&limbo, i);
    }
    limbo_release(&limbo, 0);
    cursor = limbo.tail;
    cr_assert_eq(limbo_next_resting(&limbo, &table, &cursor), 1);
    cr_assert_eq(limbo_next_resting(&limbo, &table, &cursor), 3);
    cr_assert_eq(limbo_next_resting(&limbo, &table, &cursor), 4);
    cr_assert_eq(limbo_next_resting(&limbo, &table, &cursor), PAGE_NONE);
}

static struct streams streams;

/* A thread that faults: what comes in by its stream, in a block without end. */
static struct ahead fault_of(uint32_t thread, page_number at)
{
    struct ahead ahead = streams_fault(&streams, thread, at, false);

    streams_ran(&streams, thread, at, ahead.n - 1, (page_number)((int32_t)at + ahead.step * (int32_t)ahead.n));
    return ahead;
}

/* Go through @n_pages from @at on in steps of @step, faulting where nothing came ahead. Returns the faults. */
static uint32_t walk(uint32_t thread, page_number at, int32_t step, uint32_t n_pages)
{
    uint32_t n_faults = 0;

    for (uint32_t i = 0; i < n_pages; n_faults++)
        i += fault_of(thread, (page_number)((int32_t)at + step * (int32_t)i)).n;
    return n_faults;
}

Test(stream, sequential_faults_open_the_window_and_random_ones_do_not)
{
    page_number at = 1000;

    streams_init(&streams, 16384);
    for (uint32_t window = 1; window <= 32; window *= 2) {
        cr_assert_eq(fault_of(7, at).n, window);
        at += window;
    }
    cr_assert_eq(fault_of(7, at).n, 32);
    cr_assert_eq(fault_of(7, 5).n, 1);
    cr_assert_eq(fault_of(7, 9000).n, 1);
}

Test(stream, window_opens_downwards_too)
{
    page_number at = 100000;

    streams_init(&streams, 16384);
    for (uint32_t window = 1; window <= 32; window *= 2) {
        struct ahead ahead = fault_of(7, at);

        cr_assert_eq(ahead.n, window);
        cr_assert(window == 1 || ahead.step == -1);
        at -= window;
    }
    cr_assert_eq(streams.n_wasted, 0);
}

Test(stream, two_equal_distances_make_a_step_up_or_down)
{
    static const int32_t steps[] = {2, 3, 16, 64, -2, -7, -64};

    for (size_t k = 0; k < sizeof steps / sizeof steps[0]; k++) {
        page_number at = 50000;
        uint32_t window = 1;

        streams_init(&streams, 16384);
        cr_assert_eq(fault_of(7, at).n, 1);
        at = (page_number)((int32_t)at + steps[k]);
        cr_assert_eq(fault_of(7, at).n, 1, "one distance is none");
        for (int i = 0; i < 5; i++) {
            struct ahead ahead;

            at = (page_number)((int32_t)at + steps[k] * (int32_t)window);
            window = window < STREAM_MAX_STEP_WINDOW ? 2 * window : window;
            ahead = fault_of(7, at);
            cr_assert_eq(ahead.step, steps[k]);
            cr_assert_eq(ahead.n, window);
        }
    }
    streams_init(&streams, 16384);
    cr_assert_eq(walk(7, 1000, STREAM_MAX_STEP + 1, 100), 100, "too far for a step");
}

Test(stream, streams_that_take_turns_are_all_seen)
{
    page_number at[6];
    uint32_t n_ahead = 0;

    streams_init(&streams, 16384);
    for (unsigned i = 0; i < 6; i++)
        at[i] = 1000 * (i + 1) + 7 * i;
    for (int round = 0; round < 10; round++)
        for (unsigned i = 0; i < 6; i++) {
            struct ahead ahead = fault_of(7, at[i]);

            at[i] += ahead.n;
            n_ahead += ahead.n - 1;
        }
    cr_assert_eq(n_ahead, 6 * (1 + 3 + 7 + 15 + 5 * 31));
    cr_assert_eq(streams.n_wasted, 0);
}

Test(stream, copy_between_near_places_is_two_streams)
{
    streams_init(&streams, 16384);
    (void)fault_of(7, 1000);
    (void)fault_of(7, 1040);
    cr_assert_eq(fault_of(7, 1001).n, 2);
    cr_assert_eq(fault_of(7, 1041).n, 2);
    cr_assert_eq(fault_of(7, 1003).n, 4);
    cr_assert_eq(fault_of(7, 1043).n, 4);
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

Test(stream, random_faults_read_nothing_ahead_but_for_chance)
{
    uint64_t state = 1;
    uint32_t n_ahead = 0;

    streams_init(&streams, 16384);
    for (int i = 0; i < 10000; i++)
        n_ahead += fault_of(7, (page_number)(next_random(&state) % 131072)).n - 1;
    cr_assert_leq(n_ahead, 2);
    /* In so small a block neighbours are frequent: the first ones are waste, and that is learnt from. */
    for (int i = 0; i < 10000; i++)
        n_ahead += fault_of(7, (page_number)(next_random(&state) % 1000)).n - 1;
    cr_assert_leq(n_ahead, 20);
}

Test(stream, scan_goes_on_among_random_faults)
{
    page_number at = 200000;
    uint64_t state = 1;
    uint32_t n_ahead = 0;

    streams_init(&streams, 16384);
    for (int i = 0; i < 20; i++) {
        struct ahead ahead = fault_of(7, at);

        at += ahead.n;
        n_ahead += ahead.n - 1;
        for (int k = 0; k < (i < 3 ? 3 : 30); k++)
            (void)fault_of(7, (page_number)(next_random(&state) % 131072));
    }
    cr_assert_gt(n_ahead, 400);
    cr_assert_leq(streams.n_wasted, 2);
}

Test(stream, run_whose_stream_breaks_is_waste_and_the_next_ones_are_shorter)
{
    streams_init(&streams, 16384);
    cr_assert_eq(walk(7, 1000, 1, 63), 6);
    cr_assert_eq(streams.n_wasted, 0);
    for (uint32_t i = 1; i <= 100; i++)
        (void)fault_of(7, 100000 + 1000 * i); /* it is given up */
    cr_assert_eq(streams.n_wasted, 31);
    cr_assert_eq(walk(7, 5000, 1, 31), 5, "1, 2, 4, 8, 16");
    cr_assert_eq(fault_of(7, 5031).n, 16, "once is no proof");
    cr_assert_eq(fault_of(7, 5047).n, 32);
}

Test(stream, short_records_are_read_without_lasting_waste)
{
    uint64_t state = 1;
    uint32_t n_pages = 0;

    streams_init(&streams, 16384);
    for (int record = 0; record < 1000; record++) {
        page_number first = (page_number)(next_random(&state) % 1000000) * 100;

        for (uint32_t i = 0; i < 4;) {
            uint32_t n = fault_of(7, first + i).n;

            i += n;
            n_pages += n;
        }
    }
    cr_assert_leq(n_pages, 4000 + 4000 / 4, "a quarter too much at the worst");
}

Test(stream, fault_inside_the_run_means_that_it_left_too_early)
{
    streams_init(&streams, 16384);
    (void)walk(7, 1000, 1, 15);
    cr_assert_eq(fault_of(7, 1015).n, 16);
    cr_assert_eq(fault_of(7, 1020).n, 1);
    cr_assert_eq(streams.n_wasted, 11);
    cr_assert_eq(fault_of(7, 1021).n, 2, "it is the same stream");
}

Test(stream, run_that_ends_with_its_block_is_no_waste)
{
    streams_init(&streams, 16384);
    (void)walk(7, 1000, 1, 15);
    cr_assert_eq(streams_fault(&streams, 7, 1015, false).n, 16);
    streams_ran(&streams, 7, 1015, 15, PAGE_NONE);
    for (uint32_t i = 1; i <= 100; i++)
        (void)fault_of(7, 100000 + 1000 * i);
    cr_assert_eq(streams.n_wasted, 0);
}

Test(stream, first_and_last_pages_of_the_range_are_no_trap)
{
    streams_init(&streams, 16384);
    for (int i = 0; i < 3; i++) {
        (void)fault_of(7, 10 - 5 * (page_number)i);
        (void)fault_of(8, PAGE_NONE - 11 + 5 * (page_number)i);
    }
    cr_assert_eq(streams_fault(&streams, 7, PAGE_NONE - 20, false).n, 1);
}

Test(stream, threads_have_streams_of_their_own)
{
    streams_init(&streams, 16384);
    cr_assert_eq(fault_of(1, 100).n, 1);
    cr_assert_eq(fault_of(2, 101).n, 1);
    cr_assert_eq(fault_of(1, 101).n, 2);
}

Test(stream, window_is_a_sixteenth_of_a_small_limit)
{
    streams_init(&streams, 64);
    cr_assert_eq(streams.max_window, 4);
    streams_init(&streams, 5);
    cr_assert_eq(streams.max_window, 1);
}

Test(stream, page_got_last_is_protected_and_four_for_a_thread_that_struggles)
{
    uint64_t now;

    streams_init(&streams, 5);
    (void)streams_fault(&streams, 1, 10, false);
    (void)streams_fault(&streams, 1, 20, false);
    now = os_now_ns();
    cr_assert(streams_protect(&streams, 20, now));
    cr_assert(!streams_protect(&streams, 10, now));
    (void)streams_fault(&streams, 1, 10, false);
    now = os_now_ns();
    cr_assert(streams_protect(&streams, 10, now) && streams_protect(&streams, 20, now));
    cr_assert(!streams_protect(&streams, 10, now + 1000000000u), "a second later the thread had its turn");
}

Test(stream, large_limit_needs_no_protection)
{
    streams_init(&streams, 16384);
    (void)streams_fault(&streams, 1, 10, false);
    cr_assert(!streams_protect(&streams, 10, os_now_ns()));
}
