/*
 * bitset.h - a few sets of numbers below a bound, of each of which the least is found in constant time.
 *
 * A bit a number; for 64 words of bits a word says which of them are not zero, and so on up to a single word. The words of all the sets
 * lie side by side, and are touched only where numbers have been, so that sets of numbers that lie together take little RAM.
 *
 * Calls: os (mem).  Locks: the caller's.  Memory: its own reservation.
 */
#ifndef GHOSTMEM_CORE_BITSET_H
#define GHOSTMEM_CORE_BITSET_H

#include "core/base.h"

#define BITSET_SETS 5u
#define BITSET_LEVELS 5u
#define BITSET_MAX_NUMBERS ((size_t)1 << 28)
/* n / 64 + n / 64 / 64 + ..., each rounded up. */
#define BITSET_MAX_WORDS ((BITSET_MAX_NUMBERS / 63 + BITSET_LEVELS) * BITSET_SETS)
#define BITSET_MAX_PAGES (BITSET_MAX_WORDS * sizeof(uint64_t) / PAGE_BYTES + 1)
#define BITSET_NONE SIZE_MAX

struct bitset {
    uint64_t *words;
    size_t first_word[BITSET_LEVELS]; /* of each level, the bits themselves first */
    unsigned n_levels;
    size_t n_touched; /* pages of RAM ... */
    uint64_t touched[(BITSET_MAX_PAGES + 63) / 64]; /* ... a bit each */
};

/* Room for numbers below @n, 1 .. BITSET_MAX_NUMBERS; empty. 0 or -ENOMEM. */
int bitset_init(struct bitset *bits, size_t n);

/* Numbers below @to may be added; @from: of the call before, at first 0. 0 or -ENOMEM. */
int bitset_commit(struct bitset *bits, size_t from, size_t to);

/* @set: 0 .. BITSET_SETS - 1. bitset_add(): @number must not be a member yet. bitset_remove(): it must be. */
void bitset_add(struct bitset *bits, unsigned set, size_t number);
void bitset_remove(struct bitset *bits, unsigned set, size_t number);

/* The words of @number, below the bound, will be wanted in a moment. */
void bitset_prefetch(const struct bitset *bits, size_t number);

/* The least number in the set; BITSET_NONE: it is empty. */
size_t bitset_first(const struct bitset *bits, unsigned set);

#endif
