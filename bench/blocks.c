/*
 * blocks.c - the workload's phase of many small blocks: what malloc and free cost while so many are live. See workload.h.
 */
#include "workload.h"

#include <stdio.h>
#include <stdlib.h>

enum { BLOCK_BYTES = 4096, BATCH = 10, N_BATCHES = 5000, N_WARM_UP_BATCHES = 500, N_CHECKS = 1000 };

static uint64_t **allocate_blocks(size_t n_blocks)
{
    uint64_t **blocks = map_table(n_blocks * sizeof *blocks);

    for (size_t i = 0; i < n_blocks; i++)
        if ((blocks[i] = malloc(BLOCK_BYTES)) == NULL)
            die(EXIT_RESOURCE, "malloc of a small block failed");
    return blocks;
}

/* Free BATCH blocks that lie far apart, then allocate as many; the clock is read twice a batch, not twice a call. */
static void exchange_batch(uint64_t **blocks, size_t n_blocks, size_t first, uint64_t *free_ns, uint64_t *malloc_ns)
{
    size_t stride = n_blocks / BATCH;
    uint64_t start_ns = now_ns(), middle_ns;

    for (size_t k = 0; k < BATCH; k++)
        free(blocks[(first + k * stride) % n_blocks]);
    middle_ns = now_ns();
    for (size_t k = 0; k < BATCH; k++)
        blocks[(first + k * stride) % n_blocks] = malloc(BLOCK_BYTES);
    *malloc_ns += now_ns() - middle_ns;
    *free_ns += middle_ns - start_ns;
    for (size_t k = 0; k < BATCH; k++)
        if (blocks[(first + k * stride) % n_blocks] == NULL)
            die(EXIT_RESOURCE, "malloc of a small block failed");
}

static void check_blocks(struct run *r, uint64_t *const *blocks)
{
    for (size_t i = 0; i < N_CHECKS; i++) {
        size_t b = (size_t)pattern_below(pattern_mix(i), r->n_blocks);

        if (*(volatile const uint64_t *)blocks[b] != pattern_mix(b))
            note_wrong(r, "blocks", b);
    }
}

/* None is freed afterwards: they are what the phases that follow have beside them. */
void phase_blocks(struct run *r)
{
    uint64_t free_ns = 0, malloc_ns = 0, start_ns;
    uint64_t **blocks;

    if (r->n_blocks < BATCH || r->n_blocks > UINT32_MAX)
        die(EXIT_USAGE, "the phase blocks needs --blocks, 10 at least");
    blocks = allocate_blocks(r->n_blocks);
    for (size_t i = 0; i < N_WARM_UP_BATCHES + N_BATCHES; i++) {
        if (i == N_WARM_UP_BATCHES)
            free_ns = malloc_ns = 0;
        exchange_batch(blocks, r->n_blocks, (size_t)pattern_below(pattern_mix(i), r->n_blocks), &free_ns, &malloc_ns);
    }
    report("blocks_free", free_ns, (size_t)N_BATCHES * BATCH);
    report("blocks_malloc", malloc_ns, (size_t)N_BATCHES * BATCH);
    start_ns = now_ns();
    for (size_t i = 0; i < r->n_blocks; i++)
        *blocks[i] = pattern_mix(i);
    report("blocks_touch", now_ns() - start_ns, r->n_blocks);
    check_blocks(r, blocks);
}
