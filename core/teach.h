/*
 * teach.h - a dictionary is trained: what pages have in common.
 *
 * Calls: libzstd (ZDICT), whose malloc() is ours: the Makefile renames it in our copy of the library.  Locks: none; one thread of ours
 * trains at a time.  Memory: the caller's: nothing is allocated, and when that memory does not suffice, training fails.
 */
#ifndef GHOSTMEM_CORE_TEACH_H
#define GHOSTMEM_CORE_TEACH_H

#include "core/base.h"

/* What training needs besides the pages and the dictionary. Found by teach() itself: with less it fails. */
#define TEACH_MEMORY_BYTES(n_pages) ((size_t)2 * MIB + (size_t)(n_pages) * 64)

/*
 * Train a dictionary of at most @capacity bytes at @dictionary from @n_pages at @pages.
 * @memory: TEACH_MEMORY_BYTES(@n_pages), zeroed, page-aligned. @level: of squeezer_init().
 * Returns its length; 0: the pages have nothing in common, or are too few, or memory did not suffice.
 * Context: a thread of ours with 64 KiB of stack.
 */
size_t teach(void *dictionary, size_t capacity, const void *pages, size_t n_pages, int level, void *memory, size_t memory_bytes);

#endif
