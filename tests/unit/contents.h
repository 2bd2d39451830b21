/*
 * contents.h - a block of N pages whose contents tell page, word and round, for tests of what leaves and comes back.
 *
 * There is one thread: a page that was brought in stays until the next touch.
 */
#ifndef TESTS_CONTENTS_H
#define TESTS_CONTENTS_H

#include "tests/unit/fake.h"

#define RANGE (256 * MIB)
#define WORDS (PAGE_BYTES / sizeof(uint64_t))
#define LIMIT 64
#define N 500

/* Words that make a page's image about half a page. */
uint64_t word_of(size_t page, size_t word, uint64_t round);

void write_page(struct world *w, uint64_t *p, size_t page, uint64_t round);
void read_page(struct world *w, uint64_t *p, size_t page, uint64_t round);
void write_pages(struct world *w, uint64_t *p, uint64_t round);
void read_pages(struct world *w, uint64_t *p, uint64_t round);

/* All written, round 1. */
uint64_t *pages(struct world *w);

/* What the table says of each page is so: who is told that it may be written, a system call of the program's, relies on it. */
void check_protections(struct world *w);

/* Nothing is left of it, no image either. */
void free_all(struct world *w, uint64_t *p);

#endif
