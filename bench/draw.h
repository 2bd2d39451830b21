/*
 * draw.h - which pages a random phase touches, drawn before its clock starts.
 *
 * Locks: none.  Memory: the caller's.
 */
#ifndef BENCH_DRAW_H
#define BENCH_DRAW_H

#include <stddef.h>
#include <stdint.h>

/* Write n page numbers in [0, n_pages) to order: page by page, from the first one on, again and again. */
void draw_in_order(uint32_t *order, size_t n, size_t n_pages, uint64_t seed);

/* The same, every page as likely as any other. */
void draw_uniform(uint32_t *order, size_t n, size_t n_pages, uint64_t seed);

/* The same by Zipf's law, theta 0.99, the hot pages scattered over the block. */
void draw_zipf(uint32_t *order, size_t n, size_t n_pages, uint64_t seed);

#endif
