/* heap_bins.c - see heap_bins.h. */
#include "core/heap_bins.h"

void heap_count_table_page(struct heap *heap, uint64_t *bitmap, size_t page)
{
    uint64_t bit = (uint64_t)1 << page % 64;

    heap->n_table_pages += (bitmap[page / 64] & bit) == 0;
    bitmap[page / 64] |= bit;
}

/* 1 .. 15 pages have a bin each, then eight bins to a power of two. */
unsigned heap_bin_of(size_t n_pages)
{
    unsigned power;

    if (n_pages < 16)
        return (unsigned)n_pages;
    power = 63u - (unsigned)__builtin_clzll(n_pages);
    return 16u + (power - 4u) * 8u + (unsigned)(n_pages >> (power - 3u) & 7u);
}

void heap_bin_insert(struct heap *heap, page_number first, size_t n_pages)
{
    unsigned bin = heap_bin_of(n_pages);
    page_number next = heap->bins[bin];

    heap->links[first] = (struct span_links){.next = next, .prev = PAGE_NONE};
    heap_count_table_page(heap, heap->link_pages, first * sizeof heap->links[0] / PAGE_BYTES);
    if (next != PAGE_NONE)
        heap->links[next].prev = first;
    heap->bins[bin] = first;
    heap->nonempty[bin / 64] |= (uint64_t)1 << bin % 64;
}

void heap_bin_remove(struct heap *heap, page_number first, size_t n_pages)
{
    unsigned bin = heap_bin_of(n_pages);
    struct span_links links = heap->links[first];

    if (links.next != PAGE_NONE)
        heap->links[links.next].prev = links.prev;
    if (links.prev != PAGE_NONE)
        heap->links[links.prev].next = links.next;
    else
        heap->bins[bin] = links.next;
    if (heap->bins[bin] == PAGE_NONE)
        heap->nonempty[bin / 64] &= ~((uint64_t)1 << bin % 64);
}

unsigned heap_bin_search(const struct heap *heap, unsigned bin)
{
    for (unsigned word = bin / 64; word < sizeof heap->nonempty / sizeof heap->nonempty[0]; word++) {
        uint64_t bits = heap->nonempty[word];

        if (word == bin / 64)
            bits &= ~(uint64_t)0 << bin % 64;
        if (bits != 0)
            return word * 64 + (unsigned)__builtin_ctzll(bits);
    }
    return HEAP_BINS;
}
