/* test_simulate.c - the simulator's policies on traces whose outcome is known. */
#include "bench/pattern.h"
#include "bench/simulate/policies.h"

#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Each digit of @text is a page; all accesses read. */
static struct trace trace_of(const char *text)
{
    struct trace trace = {.accesses = NULL};

    for (; *text != '\0'; text++)
        trace_add(&trace, (uint32_t)(*text - '0'), false);
    return trace;
}

static struct bill bill_of(const char *text, const struct policy *policy, size_t limit)
{
    struct trace trace = trace_of(text);
    struct bill bill = simulate(&trace, policy, limit, false);

    trace_free(&trace);
    return bill;
}

static uint64_t faults(const char *text, const struct policy *policy, size_t limit)
{
    struct bill bill = bill_of(text, policy, limit);

    return bill.first_touches + bill.thaws;
}

/* The reference string of Silberschatz, Galvin, Gagne, Operating System Concepts: 9, 15 and 12 faults. */
Test(simulate, textbook_counts_of_optimum_fifo_and_lru)
{
    static const char text[] = "70120304230321201701";

    cr_assert_eq(faults(text, &policy_belady, 3), 9);
    cr_assert_eq(faults(text, &policy_fifo, 3), 15);
    cr_assert_eq(faults(text, &policy_lru, 3), 12);
}

/* Belady, Nelson, Shedler 1969. */
Test(simulate, fifo_has_more_faults_with_more_frames_where_beladys_anomaly_says_so)
{
    static const char text[] = "123412512345";

    cr_assert_eq(faults(text, &policy_fifo, 3), 9);
    cr_assert_eq(faults(text, &policy_fifo, 4), 10);
    cr_assert_eq(faults(text, &policy_lru, 3), 10);
    cr_assert_eq(faults(text, &policy_lru, 4), 8);
    cr_assert_eq(faults(text, &policy_belady, 3), 7);
    cr_assert_eq(faults(text, &policy_belady, 4), 6);
}

/* A hot half and a cold one, so that policies differ. */
static void draw(struct trace *trace, uint64_t seed)
{
    *trace = (struct trace){.accesses = NULL};
    for (uint64_t i = 0; i < 4000; i++) {
        uint64_t random = pattern_mix(seed * 1000003 + i);

        trace_add(trace, (uint32_t)pattern_below(random, (random >> 40) % 3 == 0 ? 400 : 100), (random >> 50) % 4 == 0);
    }
}

/* That no policy exceeds the limit, or says that a page is in when it is not, the machine asserts. */
Test(simulate, no_policy_has_fewer_misses_than_the_optimum)
{
    static const size_t limits[] = {2, 9, 70, 130, 399};

    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct trace trace;

        draw(&trace, seed);
        for (size_t k = 0; k < sizeof limits / sizeof *limits; k++) {
            uint64_t least = simulate(&trace, &policy_belady, limits[k], false).thaws;

            for (size_t i = 0; i < n_policies; i++)
                cr_assert_geq(simulate(&trace, policies[i], limits[k], false).thaws, least);
        }
        trace_free(&trace);
    }
}

Test(simulate, every_policy_keeps_what_fits)
{
    struct trace trace;

    draw(&trace, 5);
    for (size_t i = 0; i < n_policies; i++)
        cr_assert_eq(simulate(&trace, policies[i], 16 * (size_t)trace.n_pages, true).thaws, 0);
    trace_free(&trace);
}

/* Page 1 is the oldest when 5 comes; it was touched while it was cooled. */
Test(simulate, a_page_touched_while_it_is_cooled_stays)
{
    struct bill second_chance = bill_of("01234151", &policy_sfifo_2, 4);
    struct bill fifo = bill_of("01234151", &policy_fifo, 4);

    cr_assert_eq(second_chance.thaws, 0);
    cr_assert_eq(second_chance.soft_faults, 1);
    cr_assert_eq(fifo.thaws, 1);
    cr_assert_eq(fifo.soft_faults, 0);
}

/* 1.1 times the limit, again and again. */
Test(simulate, a_loop_that_does_not_fit_is_missed_wholly_by_lru_and_hardly_by_two_queues)
{
    struct trace trace = {.accesses = NULL};
    uint64_t lru;
    uint64_t proposed;

    for (uint32_t i = 0; i < 220 * 100; i++)
        trace_add(&trace, i % 220, false);
    lru = simulate(&trace, &policy_lru, 200, false).thaws;
    proposed = simulate(&trace, &policy_proposed, 200, false).thaws;
    cr_assert_eq(lru, 220 * 99);
    cr_assert_lt(proposed, lru / 2);
    trace_free(&trace);
}

/* Two pages take turns in one frame. Each is compressed once, and found to be what its image says from then on. */
Test(simulate, a_page_that_is_only_read_is_compressed_once)
{
    struct bill bill = bill_of("0101010101", &policy_fifo, 1);

    cr_assert_eq(bill.freezes + bill.drops + bill.hashed_drops, 9);
    cr_assert_lt(bill.freezes, 9); /* room for kept images is bounded */
    cr_assert_gt(bill.drops, 0);
}

Test(simulate, a_page_that_is_written_is_compressed_each_time)
{
    struct trace trace = {.accesses = NULL};
    struct bill bill;

    for (uint32_t i = 0; i < 10; i++)
        trace_add(&trace, i % 2, true);
    bill = simulate(&trace, &policy_fifo, 1, false);
    cr_assert_eq(bill.freezes, 9);
    cr_assert_eq(bill.write_faults, 0);
    trace_free(&trace);
}

/* In order through 640 pages that are out: one page, two, four, and so on up to a sixteenth of the limit. */
Test(simulate, read_ahead_brings_runs_in_with_one_trap)
{
    struct trace trace = {.accesses = NULL};
    struct bill bill;

    for (uint32_t i = 0; i < 2 * 640; i++)
        trace_add(&trace, i % 640, false);
    trace.n_unbilled = 640;
    bill = simulate(&trace, &policy_fifo, 128, true);
    cr_assert_eq(bill.thaws, 640);
    cr_assert_geq(bill.thaws_ahead, 640 - 640 / 8 - 4);
    cr_assert_eq(simulate(&trace, &policy_fifo, 128, false).thaws_ahead, 0);
    trace_free(&trace);
}

Test(simulate, a_recorded_file_is_read_with_its_pages_renumbered)
{
    static const uint32_t words[] = {5, 900 << 1, 900 << 1 | 1, 7 << 1, 900 << 1, 1000000 << 1};
    char path[] = "/tmp/ghostmem-trace-XXXXXX";
    int fd = mkstemp(path);
    struct trace trace;

    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, words, sizeof words), (ssize_t)sizeof words);
    cr_assert_eq(trace_read(&trace, path), 0);
    cr_assert_eq(trace.n_accesses, 4);
    cr_assert_eq(trace.n_pages, 3);
    cr_assert_eq(trace.accesses[0], 1u << 1 | 1);
    cr_assert_eq(trace.accesses[1], 0u);
    cr_assert_eq(trace.accesses[2], 1u << 1);
    cr_assert_eq(trace.accesses[3], 2u << 1);
    trace_free(&trace);
    cr_assert_eq(ftruncate(fd, 12), 0);
    cr_assert_lt(trace_read(&trace, path), 0);
    close(fd);
    unlink(path);
}
