/*
 * workload.h - what the files of the workload program share: the state of a run, and its phases.
 *
 * workload.c reads the command line and calls the phases: block.c (over the whole block, and the allocator's calls), random.c
 * (random pages, in threads), calls.c (single thaws, and system calls), blocks.c (many small blocks). Phases print their own line.
 *
 * Locks: none; phases run one after the other.  Memory: the block from malloc, everything else mapped.
 */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include "draw.h"
#include "pattern.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EXIT_WRONG = 1, EXIT_USAGE = 2, EXIT_RESOURCE = 3 };
enum { MAX_THREADS = 64 };

struct run {
    /* Set from the command line, constant afterwards. */
    struct pattern pattern;
    size_t n_pages;
    size_t n_ops;
    size_t n_blocks; /* of the phase blocks */
    unsigned n_threads;
    uint64_t seed;
    bool wants_neighbour; /* a phase reallocmove is coming */

    /* Written by the main thread between phases. */
    uint64_t *block;
    size_t block_bytes;
    void *neighbour; /* never used: it stands in the way of the block's growth */
    bool is_filled;
    unsigned n_phases; /* so far: makes each phase's random numbers its own */

    _Atomic uint32_t *tallies; /* updates made to each page; NULL before the first phase that makes any */
    _Atomic size_t n_wrong;
};

_Noreturn void die(int status, const char *what);
uint64_t now_ns(void);
void report(const char *phase, uint64_t elapsed_ns, size_t n_accesses);
/* Zeroed memory that is present already; dies if there is none. */
void *map_table(size_t bytes);
/* Say which page read wrong (the first few times), and remember it for the exit status. */
void note_wrong(struct run *r, const char *phase, size_t page);

/* The read that is timed: one word of the page, checked. */
static inline bool stamp_is_right(const struct run *r, size_t page)
{
    uint64_t stamp = pattern_stamp(&r->pattern, page);
    /* volatile: the read is what is timed, the compiler shall not join or drop any. */
    const volatile uint64_t *words = r->block + page * PAGE_WORDS;

    return words[pattern_spot(stamp)] == stamp;
}

void phase_fill(struct run *r, const char *name);
void phase_seqread(struct run *r, const char *name);
void phase_revread(struct run *r, const char *name);
void phase_strideread(struct run *r, const char *name);
void phase_scan(struct run *r, const char *name);
void phase_verify(struct run *r, const char *name);
void phase_bigfree(const char *name);
void phase_realloc(struct run *r, const char *name);

void phase_thaw(struct run *r);
void phase_readcall(const char *name);
void phase_getppid(const char *name);
void phase_pingpong(const char *name);
void phase_forkexec(const char *name);

typedef void draw_fn(uint32_t *order, size_t n, size_t n_pages, uint64_t seed);

/* n_warm_up accesses are made before the clock starts. */
void phase_randread(struct run *r, const char *name, unsigned n_threads, size_t n_warm_up, draw_fn *draw);
void phase_sequpdate(struct run *r, const char *name);
void phase_randupdate(struct run *r, const char *name, unsigned n_threads);
void phase_mixed(struct run *r, const char *name, unsigned n_threads);

void phase_blocks(struct run *r);

#endif
