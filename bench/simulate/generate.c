/* generate.c - traces that are drawn. Each begins with a fill of all its memory, which is not billed. */
#include "bench/pattern.h"
#include "bench/simulate/trace.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct dice {
    uint64_t seed;
    uint64_t n;
};

static uint64_t roll(struct dice *dice)
{
    return pattern_mix(dice->seed * 0x9e3779b97f4a7c15u + dice->n++);
}

static uint32_t below(struct dice *dice, size_t n)
{
    return (uint32_t)pattern_below(roll(dice), n);
}

static void fill(struct trace *trace, uint32_t n_pages)
{
    for (uint32_t page = 0; page < n_pages; page++)
        trace_add(trace, page, true);
    trace->n_unbilled = trace->n_accesses;
}

static void shuffle(uint32_t *pages, size_t n, struct dice *dice)
{
    for (size_t i = n; i > 1; i--) {
        size_t k = below(dice, i);
        uint32_t page = pages[i - 1];

        pages[i - 1] = pages[k];
        pages[k] = page;
    }
}

/* ---- Zipf's law, by its sums: any theta ---- */

struct zipf {
    double *sums;
    uint32_t *pages; /* by rank */
    size_t n;
};

static void zipf_init(struct zipf *z, size_t n, double theta, struct dice *dice)
{
    double sum = 0;

    *z = (struct zipf){.sums = malloc(n * sizeof *z->sums), .pages = malloc(n * sizeof *z->pages), .n = n};
    if (z->sums == NULL || z->pages == NULL) {
        fputs("simulate: no memory\n", stderr);
        exit(1);
    }
    for (size_t i = 0; i < n; i++) {
        sum += pow((double)(i + 1), -theta);
        z->sums[i] = sum;
        z->pages[i] = (uint32_t)i;
    }
    shuffle(z->pages, n, dice);
}

static uint32_t zipf_draw(const struct zipf *z, struct dice *dice)
{
    double wanted = (double)(roll(dice) >> 11) * 0x1p-53 * z->sums[z->n - 1];
    size_t low = 0;
    size_t high = z->n - 1;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (z->sums[middle] < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return z->pages[low];
}

static void zipf_free(struct zipf *z)
{
    free(z->sums);
    free(z->pages);
}

static void draw_by_zipf(struct trace *trace, uint32_t n_pages, size_t n, double theta, unsigned write_percent)
{
    struct dice dice = {.seed = 1};
    struct zipf z;

    fill(trace, n_pages);
    zipf_init(&z, n_pages, theta, &dice);
    for (size_t i = 0; i < n; i++) {
        uint32_t page = zipf_draw(&z, &dice);

        trace_add(trace, page, below(&dice, 100) < write_percent);
    }
    zipf_free(&z);
}

static void draw_zipf_080(struct trace *trace, uint32_t n_pages, size_t n, size_t limit)
{
    (void)limit;
    draw_by_zipf(trace, n_pages, n, 0.8, 0);
}

static void draw_zipf_099(struct trace *trace, uint32_t n_pages, size_t n, size_t limit)
{
    (void)limit;
    draw_by_zipf(trace, n_pages, n, 0.99, 0);
}

static void draw_zipf_120(struct trace *trace, uint32_t n_pages, size_t n, size_t limit)
{
    (void)limit;
    draw_by_zipf(trace, n_pages, n, 1.2, 0);
}

static void draw_zipf_updates(struct trace *trace, uint32_t n_pages, size_t n, size_t limit)
{
    (void)limit;
    draw_by_zipf(trace, n_pages, n, 0.99, 50);
}

static void draw_uniform(struct trace *trace, uint32_t n_pages, size_t n, size_t limit)
{
    struct dice dice = {.seed = 2};

    (void)limit;
    fill(trace, n_pages);
    for (size_t i = 0; i < n; i++)
        trace_add(trace, below(&dice, n_pages), false);
}

/* ---- scans and loops ---- */

/* A twentieth of the memory takes two accesses of three, one of four a write; the third goes on through all the rest. */
static void draw_scan_and_hot(struct trace *trace, uint32_t n_pages, size_t n, size_t limit)
{
    struct dice dice = {.seed = 3};
    uint32_t n_hot = n_pages / 20;

    (void)limit;
    fill(trace, n_pages);
    for (size_t i = 0; i < n; i++)
        if (i % 3 == 0)
            trace_add(trace, n_hot + (uint32_t)(i / 3 % (n_pages - n_hot)), false);
        else
            trace_add(trace, below(&dice, n_hot), below(&dice, 4) == 0);
}

static void draw_loop(struct trace *trace, uint32_t n_pages, size_t n, size_t limit)
{
    size_t length = limit + limit / 10;

    fill(trace, n_pages);
    for (size_t i = 0; i < n; i++)
        trace_add(trace, (uint32_t)(i % (length < n_pages ? length : n_pages)), false);
}

static void draw_loop_of_all(struct trace *trace, uint32_t n_pages, size_t n, size_t limit)
{
    (void)limit;
    fill(trace, n_pages);
    for (size_t i = 0; i < n; i++)
        trace_add(trace, (uint32_t)(i % n_pages), false);
}

/* What was filled is read, once. */
static void draw_reread(struct trace *trace, uint32_t n_pages, size_t n, size_t limit)
{
    draw_loop_of_all(trace, n_pages, n < n_pages ? n : n_pages, limit);
}

/* A working set of a fifth of the memory, by Zipf's law, a quarter of it writes; another one eight times. */
static void draw_phases(struct trace *trace, uint32_t n_pages, size_t n, size_t limit)
{
    struct dice dice = {.seed = 4};
    struct zipf z;

    (void)limit;
    fill(trace, n_pages);
    zipf_init(&z, n_pages / 5, 0.8, &dice);
    for (size_t i = 0; i < n; i++) {
        uint32_t first = (uint32_t)(i * 8 / n) * (n_pages / 10);
        uint32_t page = first + zipf_draw(&z, &dice);

        trace_add(trace, page % n_pages, below(&dice, 4) == 0);
    }
    zipf_free(&z);
}

/* ---- programs ---- */

/* Partition [first, first + n) from both ends inwards, then both parts. The pivot falls between a third and two thirds. */
static void quick_sort(struct trace *trace, struct dice *dice, uint32_t first, uint32_t n)
{
    uint32_t n_left = n / 3 + below(dice, n / 3 + 1);

    if (n < 2)
        return;
    n_left = n_left == 0 ? 1 : n_left;
    for (uint32_t left = 0, right = n - 1; left <= right; left++, right--) {
        trace_add(trace, first + left, true);
        trace_add(trace, first + right, true);
        if (right == 0)
            break;
    }
    quick_sort(trace, dice, first, n_left);
    quick_sort(trace, dice, first + n_left, n - n_left);
}

static void draw_quick_sort(struct trace *trace, uint32_t n_pages, size_t n, size_t limit)
{
    struct dice dice = {.seed = 5};

    (void)limit;
    fill(trace, n_pages);
    while (trace->n_accesses - trace->n_unbilled < n / 2)
        quick_sort(trace, &dice, 0, n_pages);
}

/* Bottom up, pairs of runs from one half of the memory into the other, and back. */
static void draw_merge_sort(struct trace *trace, uint32_t n_pages, size_t n, size_t limit)
{
    struct dice dice = {.seed = 6};
    uint32_t half = n_pages / 2;
    uint32_t from = 0;
    uint32_t to = half;

    (void)limit;
    fill(trace, n_pages);
    for (uint32_t run = 1; trace->n_accesses - trace->n_unbilled < n / 2; run = run < half ? 2 * run : 1) {
        for (uint32_t first = 0; first < half; first += 2 * run) {
            uint32_t left = first;
            uint32_t right = first + run;
            uint32_t middle = first + run < half ? first + run : half;
            uint32_t end = first + 2 * run < half ? first + 2 * run : half;

            for (uint32_t out = first; out < end; out++) {
                bool takes_left = right >= end || (left < middle && below(&dice, 2) == 0);

                trace_add(trace, from + (takes_left ? left++ : right++), false);
                trace_add(trace, to + out, true);
            }
        }
        from = half - from;
        to = half - to;
    }
}

/* A quarter is read in order into a table of half, 16 rows a page at random; a quarter is read against it. */
static void draw_hash_join(struct trace *trace, uint32_t n_pages, size_t n, size_t limit)
{
    enum { ROWS = 16 };
    struct dice dice = {.seed = 7};
    uint32_t quarter = n_pages / 4;

    (void)limit;
    fill(trace, n_pages);
    while (trace->n_accesses - trace->n_unbilled < n)
        for (uint32_t i = 0; i < 2 * quarter; i++) {
            uint32_t relation = i < quarter ? i : 2 * quarter + i;

            for (unsigned row = 0; row < ROWS; row++) {
                trace_add(trace, relation, false);
                trace_add(trace, quarter + below(&dice, 2 * quarter), i < quarter);
            }
        }
}

const struct generator generators[] = {
    {"zipf .8", draw_zipf_080},      {"zipf .99", draw_zipf_099},     {"zipf 1.2", draw_zipf_120},     {"updates", draw_zipf_updates},
    {"uniform", draw_uniform},       {"scan+hot", draw_scan_and_hot}, {"reread", draw_reread},         {"loop 1.1", draw_loop},
    {"loop all", draw_loop_of_all},  {"phases", draw_phases},         {"quick s.", draw_quick_sort},   {"merge s.", draw_merge_sort},
    {"join", draw_hash_join},
};
const size_t n_generators = sizeof generators / sizeof *generators;
