/*
 * block.c - the workload's phases over the whole block in order, and the allocator's calls. See workload.h.
 */
#include "workload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SCAN_PASSES = 8, BIGFREE_CALLS = 16, STRIDE_PAGES = 16 };

#define BIGFREE_BYTES ((size_t)1 << 30)
#define NEIGHBOUR_BYTES ((size_t)1 << 20)

void phase_fill(struct run *r, const char *name)
{
    uint64_t start_ns = now_ns();

    /* The malloc is part of the price: it may be what sets things up. */
    if (r->block == NULL) {
        r->block = malloc(r->block_bytes);
        if (r->block == NULL)
            die(EXIT_RESOURCE, "malloc of the block failed");
        if (r->wants_neighbour)
            r->neighbour = malloc(NEIGHBOUR_BYTES);
    }
    for (size_t page = 0; page < r->n_pages; page++)
        pattern_fill(&r->pattern, page, r->block + page * PAGE_WORDS);
    report(name, now_ns() - start_ns, r->n_pages);
    r->is_filled = true;
    if (r->tallies != NULL)
        for (size_t page = 0; page < r->n_pages; page++)
            atomic_store(&r->tallies[page], 0);
}

void phase_seqread(struct run *r, const char *name)
{
    uint64_t start_ns = now_ns();

    for (size_t page = 0; page < r->n_pages; page++)
        if (!stamp_is_right(r, page))
            note_wrong(r, name, page);
    report(name, now_ns() - start_ns, r->n_pages);
}

void phase_revread(struct run *r, const char *name)
{
    uint64_t start_ns = now_ns();

    for (size_t page = r->n_pages; page-- > 0;)
        if (!stamp_is_right(r, page))
            note_wrong(r, name, page);
    report(name, now_ns() - start_ns, r->n_pages);
}

void phase_strideread(struct run *r, const char *name)
{
    uint64_t start_ns = now_ns();

    for (size_t first = 0; first < STRIDE_PAGES; first++)
        for (size_t page = first; page < r->n_pages; page += STRIDE_PAGES)
            if (!stamp_is_right(r, page))
                note_wrong(r, name, page);
    report(name, now_ns() - start_ns, r->n_pages);
}

/* What page must hold by now, without looking at it. */
static void expected_page(const struct run *r, size_t page, uint64_t *dst)
{
    pattern_fill(&r->pattern, page, dst);
    if (r->tallies != NULL)
        dst[TALLY_WORD] += atomic_load(&r->tallies[page]);
}

static void verify_block(struct run *r, const char *name)
{
    uint64_t expected[PAGE_WORDS];

    for (size_t page = 0; page < r->n_pages; page++) {
        expected_page(r, page, expected);
        if (memcmp(expected, r->block + page * PAGE_WORDS, PAGE_BYTES) != 0)
            note_wrong(r, name, page);
    }
}

void phase_verify(struct run *r, const char *name)
{
    uint64_t start_ns = now_ns();

    verify_block(r, name);
    report(name, now_ns() - start_ns, r->n_pages);
}

static uint64_t sum_words(const uint64_t *words, size_t n_words)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < n_words; i++)
        sum += words[i];
    return sum;
}

void phase_scan(struct run *r, const char *name)
{
    uint64_t expected[PAGE_WORDS], must_be = 0;
    bool is_wrong = false;

    for (size_t page = 0; page < r->n_pages; page++) {
        expected_page(r, page, expected);
        must_be += sum_words(expected, PAGE_WORDS);
    }

    uint64_t start_ns = now_ns();

    for (int pass = 0; pass < SCAN_PASSES; pass++) {
        /* Pretend that the block may have changed, or the compiler adds it up once. */
        __asm__ volatile("" ::: "memory");
        is_wrong |= sum_words(r->block, r->n_pages * PAGE_WORDS) != must_be;
    }
    report(name, now_ns() - start_ns, r->n_pages * SCAN_PASSES);
    if (is_wrong) {
        fprintf(stderr, "workload: %s: the sum is not that of what was written\n", name);
        atomic_fetch_add(&r->n_wrong, 1);
    }
}

void phase_bigfree(const char *name)
{
    uint64_t sum_ns = 0, max_ns = 0;

    for (int i = 0; i < BIGFREE_CALLS; i++) {
        uint64_t start_ns = now_ns(), took_ns;
        void *volatile big = malloc(BIGFREE_BYTES); /* volatile: or the compiler drops the pair */

        if (big == NULL)
            die(EXIT_RESOURCE, "bigfree: malloc failed");
        free(big);
        took_ns = now_ns() - start_ns;
        sum_ns += took_ns;
        max_ns = took_ns > max_ns ? took_ns : max_ns;
    }
    report(name, sum_ns, BIGFREE_CALLS);
    report("bigfree_max", max_ns, 1);
}

void phase_realloc(struct run *r, const char *name)
{
    uintptr_t before = (uintptr_t)r->block;
    uint64_t start_ns = now_ns();
    uint64_t *grown = realloc(r->block, 2 * r->block_bytes);
    uint64_t took_ns = now_ns() - start_ns;

    if (grown == NULL)
        die(EXIT_RESOURCE, "realloc: no memory");
    r->block = grown;
    r->block_bytes *= 2;
    report(name, took_ns, 1);
    printf("# %s: the block %s\n", name, (uintptr_t)grown == before ? "grew in place" : "moved");
    verify_block(r, name);
}
