/*
 * heap_tags.h - what the heap writes down of its spans, and what can be read from it by walking all of them.
 *
 * Calls: log.  Locks: the caller's (heap.lock).  Memory: the heap's tags.
 */
#ifndef GHOSTMEM_CORE_HEAP_TAGS_H
#define GHOSTMEM_CORE_HEAP_TAGS_H

#include "core/heap.h"

/* What a tag says of its page. */
enum tag_kind {
    TAG_NONE, /* no span begins here, and no free one ends */
    TAG_USED,
    TAG_FREE,
    TAG_LEAVING, /* freed, its RAM is being returned; or it could not be, and the span is retired */
};

/* Spans of fewer pages have no room for links: a tag, four pieces of them, a tag (heap_tags.c). */
#define HEAP_LINKED_PAGES 6u

/* ---- writing ---- */

/* The span at @first: its kind and its length at its first page, and at its last one if it is free. */
void heap_tag_span(struct heap *heap, page_number first, enum tag_kind kind, size_t n_pages);

/* No span begins at @number, and no free one ends. */
static inline void heap_untag(struct heap *heap, page_number number)
{
    if (heap->tags[number] != 0) /* else its page of the table may never have been written */
        heap->tags[number] = 0;
}

/* Of a free span of HEAP_LINKED_PAGES or more. */
void heap_set_next(struct heap *heap, page_number first, page_number next);
void heap_set_prev(struct heap *heap, page_number first, page_number prev);

/* ---- reading ---- */

enum tag_kind heap_kind_at(const struct heap *heap, size_t number);

/* Pages of the span that begins at @first, and of the free one that ends at @last. */
size_t heap_pages_at(const struct heap *heap, size_t first);
size_t heap_pages_up_to(const struct heap *heap, size_t last);

page_number heap_next_of(const struct heap *heap, page_number first);
page_number heap_prev_of(const struct heap *heap, page_number first);

static inline void *address_of(const struct heap *heap, page_number number)
{
    return (void *)space_address(&heap->pager->space, number);
}

static inline page_number number_of(const struct heap *heap, const void *p)
{
    return space_number(&heap->pager->space, (uintptr_t)p);
}

/* ---- by a walk: long, but the last one, or rare ---- */

/* @p is in our range and not a live block's start: say what it is. */
void heap_say_pointer(struct heap *heap, const void *p, const char *caller);

/* Do the pages lie within one live block? */
bool heap_in_one_block(const struct heap *heap, page_number first, size_t n_pages);

#endif
