/*
 * heap_tags.h - what the heap writes down of its spans, and what can be read from it by walking all of them.
 *
 * Calls: log.  Locks: the caller's (heap.lock).  Memory: the heap's tags.
 */
#ifndef GHOSTMEM_CORE_HEAP_TAGS_H
#define GHOSTMEM_CORE_HEAP_TAGS_H

#include "core/heap.h"

/*
 * A tag stands at the first page of every span, and at the last page of free ones, so that a freed block finds its
 * neighbours. 0 everywhere else.
 */
enum tag_kind {
    TAG_NONE,
    TAG_USED,
    TAG_FREE,
    TAG_LEAVING, /* freed, its RAM is being returned; or it could not be, and the span is retired */
};
#define TAG_KIND_SHIFT 30

static inline uint32_t make_tag(enum tag_kind kind, size_t n_pages)
{
    return (uint32_t)kind << TAG_KIND_SHIFT | (uint32_t)n_pages;
}

static inline enum tag_kind kind_of(uint32_t tag)
{
    return (enum tag_kind)(tag >> TAG_KIND_SHIFT);
}

static inline size_t pages_of(uint32_t tag)
{
    return tag & (((uint32_t)1 << TAG_KIND_SHIFT) - 1);
}

static inline void *address_of(const struct heap *heap, page_number number)
{
    return (void *)(heap->base + ((uintptr_t)number << PAGE_SHIFT));
}

static inline page_number number_of(const struct heap *heap, const void *p)
{
    return (page_number)(((uintptr_t)p - heap->base) >> PAGE_SHIFT);
}

/* @p is in our range and not a live block's start: say what it is. The walk is long, but it is the last one. */
_Noreturn void heap_die_of_pointer(struct heap *heap, const void *p, const char *caller);

/* Do the pages lie within one live block? The walk is long, but such calls are rare. */
bool heap_in_one_block(const struct heap *heap, page_number first, size_t n_pages);

#endif
