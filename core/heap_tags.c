/*
 * heap_tags.c - see heap_tags.h.
 *
 * A tag has 16 bits: two of kind, and 14 of length, which is enough for nearly all spans. Of longer ones, and of free ones, more is
 * written at pages in their midst, in pieces of 14 bits, so that the kind there is TAG_NONE:
 *
 *   first           kind, and the length or LONG
 *   first + 1, + 2  the next span of its bin       free, of HEAP_LINKED_PAGES or more
 *   first + 3, + 4  the one before it
 *   first + 5, + 6  the length, if LONG
 *   last - 2, - 1   the length, if LONG            free
 *   last            as at first
 *
 * What is left of a free span's pieces in a block that was cut from it does no harm: they are read only through a tag that says so.
 */
#include "core/heap_tags.h"

#define KIND_SHIFT 14
#define PIECE_BITS 14
#define PIECE_MASK ((1u << PIECE_BITS) - 1)
#define LONG PIECE_MASK
_Static_assert(PAGE_NUMBER_BITS <= 2 * PIECE_BITS, "two pieces hold a page number or a length");

enum { NEXT_AT = 1, PREV_AT = 3, LENGTH_AT = 5, LENGTH_BEFORE = 2 };
_Static_assert(PREV_AT + 2 < HEAP_LINKED_PAGES && LENGTH_AT + 2 < LONG - LENGTH_BEFORE, "pieces lie apart, and between the tags");

static void write_tag(struct heap *heap, size_t number, unsigned tag)
{
    size_t page = number * sizeof heap->tags[0] / PAGE_BYTES;
    uint64_t bit = (uint64_t)1 << page % 64;

    heap->tags[number] = (uint16_t)tag;
    heap->n_tag_pages += (heap->tag_pages[page / 64] & bit) == 0;
    heap->tag_pages[page / 64] |= bit;
}

static void write_pieces(struct heap *heap, size_t number, size_t value)
{
    write_tag(heap, number, (unsigned)value & PIECE_MASK);
    write_tag(heap, number + 1, (unsigned)(value >> PIECE_BITS));
}

static size_t read_pieces(const struct heap *heap, size_t number)
{
    return heap->tags[number] | (size_t)heap->tags[number + 1] << PIECE_BITS;
}

void heap_tag_span(struct heap *heap, page_number first, enum tag_kind kind, size_t n_pages)
{
    size_t last = first + n_pages - 1;
    unsigned tag = (unsigned)kind << KIND_SHIFT | (n_pages < LONG ? (unsigned)n_pages : LONG);

    write_tag(heap, first, tag);
    if (n_pages >= LONG)
        write_pieces(heap, first + LENGTH_AT, n_pages);
    if (kind != TAG_FREE)
        return;
    write_tag(heap, last, tag);
    if (n_pages >= LONG)
        write_pieces(heap, last - LENGTH_BEFORE, n_pages);
}

void heap_set_next(struct heap *heap, page_number first, page_number next)
{
    write_pieces(heap, first + NEXT_AT, next);
}

void heap_set_prev(struct heap *heap, page_number first, page_number prev)
{
    write_pieces(heap, first + PREV_AT, prev);
}

enum tag_kind heap_kind_at(const struct heap *heap, size_t number)
{
    return (enum tag_kind)(heap->tags[number] >> KIND_SHIFT);
}

bool heap_begins_block(const struct heap *heap, page_number number)
{
    return __atomic_load_n(&heap->tags[number], __ATOMIC_RELAXED) >> KIND_SHIFT == TAG_USED;
}

size_t heap_pages_at(const struct heap *heap, size_t first)
{
    unsigned length = heap->tags[first] & PIECE_MASK;

    return length != LONG ? length : read_pieces(heap, first + LENGTH_AT);
}

size_t heap_pages_up_to(const struct heap *heap, size_t last)
{
    unsigned length = heap->tags[last] & PIECE_MASK;

    return length != LONG ? length : read_pieces(heap, last - LENGTH_BEFORE);
}

page_number heap_next_of(const struct heap *heap, page_number first)
{
    return (page_number)read_pieces(heap, first + NEXT_AT);
}

page_number heap_prev_of(const struct heap *heap, page_number first)
{
    return (page_number)read_pieces(heap, first + PREV_AT);
}
