/* heap_bins.c - see heap_bins.h. */
#include "core/heap_bins.h"
#include "core/heap_tags.h"

/* Bins 1 .. BITSET_SETS are sets of spans of so many pages. Bin 0 is none. */
_Static_assert(BITSET_SETS == HEAP_LINKED_PAGES - 1, "spans without room for links stand in sets");
_Static_assert(PAGE_NUMBER_BITS <= 28, "BITSET_MAX_NUMBERS");

int heap_bins_init(struct heap *heap, size_t n_pages)
{
    for (size_t i = 0; i < HEAP_BINS; i++)
        heap->bins[i] = PAGE_NONE;
    return bitset_init(&heap->short_spans, n_pages);
}

int heap_bins_commit(struct heap *heap, size_t from, size_t to)
{
    return bitset_commit(&heap->short_spans, from, to);
}

/* 1 .. 15 pages have a bin each, then eight bins to a power of two. */
static unsigned bin_of(size_t n_pages)
{
    unsigned power;

    if (n_pages < 16)
        return (unsigned)n_pages;
    power = 63u - (unsigned)__builtin_clzll(n_pages);
    return 16u + (power - 4u) * 8u + (unsigned)(n_pages >> (power - 3u) & 7u);
}

static bool is_set(unsigned bin)
{
    return bin <= BITSET_SETS;
}

/* Of the spans in the bin, the one to be taken; PAGE_NONE: it is empty. */
static page_number first_of(const struct heap *heap, unsigned bin)
{
    size_t least;

    if (!is_set(bin))
        return heap->bins[bin];
    least = bitset_first(&heap->short_spans, bin - 1);
    return least != BITSET_NONE ? (page_number)least : PAGE_NONE;
}

void heap_bin_insert(struct heap *heap, page_number first, size_t n_pages)
{
    unsigned bin = bin_of(n_pages);

    if (is_set(bin)) {
        bitset_add(&heap->short_spans, bin - 1, first);
    } else {
        page_number next = heap->bins[bin];

        heap_set_next(heap, first, next);
        heap_set_prev(heap, first, PAGE_NONE);
        if (next != PAGE_NONE)
            heap_set_prev(heap, next, first);
        heap->bins[bin] = first;
    }
    heap->nonempty[bin / 64] |= (uint64_t)1 << bin % 64;
}

void heap_bin_remove(struct heap *heap, page_number first, size_t n_pages)
{
    unsigned bin = bin_of(n_pages);

    if (is_set(bin)) {
        bitset_remove(&heap->short_spans, bin - 1, first);
    } else {
        page_number next = heap_next_of(heap, first);
        page_number prev = heap_prev_of(heap, first);

        if (next != PAGE_NONE)
            heap_set_prev(heap, next, prev);
        if (prev != PAGE_NONE)
            heap_set_next(heap, prev, next);
        else
            heap->bins[bin] = next;
    }
    if (first_of(heap, bin) == PAGE_NONE)
        heap->nonempty[bin / 64] &= ~((uint64_t)1 << bin % 64);
}

/* The first bin from @bin on that has a span; HEAP_BINS if none. */
static unsigned search(const struct heap *heap, unsigned bin)
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

page_number heap_bins_find(const struct heap *heap, size_t n_pages)
{
    unsigned bin = bin_of(n_pages);
    page_number first = first_of(heap, bin);

    /* A span of the same class may be too short; one of any larger class is long enough. */
    if (first != PAGE_NONE && heap_pages_at(heap, first) >= n_pages)
        return first;
    bin = search(heap, bin + 1);
    return bin < HEAP_BINS ? first_of(heap, bin) : PAGE_NONE;
}
