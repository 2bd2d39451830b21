/*
 * heap_bins.h - the heap's free spans by size: lists that are found in constant time.
 *
 * Calls: nothing.  Locks: the caller's (heap.lock).  Memory: the heap's links.
 */
#ifndef GHOSTMEM_CORE_HEAP_BINS_H
#define GHOSTMEM_CORE_HEAP_BINS_H

#include "core/heap.h"

/* A page of a table is about to be written: count it, once. @bitmap: heap.tag_pages or heap.link_pages. */
void heap_count_table_page(struct heap *heap, uint64_t *bitmap, size_t page);

/* The list for spans of @n_pages. */
unsigned heap_bin_of(size_t n_pages);

void heap_bin_insert(struct heap *heap, page_number first, size_t n_pages);
void heap_bin_remove(struct heap *heap, page_number first, size_t n_pages);

/* The first list from @bin on that has a span; HEAP_BINS if none. */
unsigned heap_bin_search(const struct heap *heap, unsigned bin);

#endif
