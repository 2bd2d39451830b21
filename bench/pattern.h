/*
 * pattern.h - the data that the benchmarks write, page by page, and can tell again at any time.
 *
 * A page's contents follow from (kind, seed, page number) alone. So a phase can check what it reads without keeping a copy
 * that would itself take part in the contest for RAM: resident is only a source of SOURCE_BYTES.
 *
 * Layout of a page, in 64-bit words: everything from the source, except
 *   word pattern_spot()  the page's stamp, at another place in each page; what the timed loops read and check
 *   word TALLY_WORD      upper half from the page number, lower half the number of updates; what randupdate increments
 * and, for PATTERN_HALF, the second half of the page, which is a hash of its position. PATTERN_SPARSE is zeros but for these two words:
 * pages that take next to no RAM when they are compressed, for blocks far larger than the machine.
 *
 * Locks: none; constant after pattern_init().  Memory: one private mapping, never malloc, so that none of it is ghost memory.
 */
#ifndef BENCH_PATTERN_H
#define BENCH_PATTERN_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { PAGE_BYTES = 4096, PAGE_WORDS = PAGE_BYTES / 8, TALLY_WORD = PAGE_WORDS - 1 };

enum pattern_kind { PATTERN_TEXT, PATTERN_BINARY, PATTERN_HALF, PATTERN_SPARSE };

struct pattern {
    enum pattern_kind kind;
    uint64_t seed;
    uint64_t *source; /* SOURCE_BYTES */
};

/* splitmix64's finaliser (Steele, Lea, Flood 2014): cheap, and every output bit depends on every input bit. */
static inline uint64_t pattern_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* A number in [0, n) from 32 random bits, without a division (Lemire). */
static inline uint64_t pattern_below(uint64_t random, uint64_t n)
{
    return ((random & 0xffffffffu) * n) >> 32;
}

static inline uint64_t pattern_stamp(const struct pattern *p, uint64_t page)
{
    return pattern_mix(p->seed ^ (page * 0xd1342543de82ef95u));
}

/* Which word of its page holds the stamp: never TALLY_WORD. */
static inline size_t pattern_spot(uint64_t stamp)
{
    return (size_t)pattern_below(stamp >> 32, TALLY_WORD);
}

/* The tally word of a page that has been updated n_updates times. */
static inline uint64_t pattern_tally(uint64_t stamp, uint32_t n_updates)
{
    return ((stamp ^ (stamp >> 7)) << 32) | n_updates;
}

/*
 * Prepare the source. PATTERN_BINARY reads it from the machine's own executables and libraries.
 * Returns 0 or -errno (-ENODATA: too few executables found).
 */
int pattern_init(struct pattern *p, enum pattern_kind kind, uint64_t seed);

/* "text", "binary", "half", "sparse"; returns 0, or -1 for any other name. */
int pattern_kind_from_name(const char *name, enum pattern_kind *kind);

/* Write page number page, with no updates yet, to dst[PAGE_WORDS]. */
void pattern_fill(const struct pattern *p, uint64_t page, uint64_t *dst);

/* Write n_bytes of fresh text (lines of words) to out, for programs that sort or compress. Returns 0, or -1 on a write error. */
int pattern_emit(uint64_t seed, uint64_t n_bytes, FILE *out);

#endif
