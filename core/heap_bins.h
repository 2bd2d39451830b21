/*
 * heap_bins.h - the heap's free spans by size, found in constant time: lists through their tags, sets of the shortest ones.
 *
 * Calls: bitset.  Locks: the caller's (heap.lock).  Memory: the heap's tags, and the bitset's.
 */
#ifndef GHOSTMEM_CORE_HEAP_BINS_H
#define GHOSTMEM_CORE_HEAP_BINS_H

#include "core/heap.h"

/* Empty bins for a heap of @n_pages. 0 or -ENOMEM. */
int heap_bins_init(struct heap *heap, size_t n_pages);

/* Spans below @to may be inserted; @from: of the call before, at first 0. 0 or -ENOMEM. */
int heap_bins_commit(struct heap *heap, size_t from, size_t to);

/* A free span, tagged as that. */
void heap_bin_insert(struct heap *heap, page_number first, size_t n_pages);
void heap_bin_remove(struct heap *heap, page_number first, size_t n_pages);

/* A free span of at least @n_pages, which stays in its bin; PAGE_NONE: none was found. */
page_number heap_bins_find(const struct heap *heap, size_t n_pages);

#endif
