/* heap_walk.c - questions that take a walk over all spans. See heap_tags.h. */
#include "core/heap_tags.h"

#include "core/log.h"

void heap_say_pointer(struct heap *heap, const void *p, const char *caller)
{
    page_number number = number_of(heap, p);

    for (size_t i = 0, n_pages; i < heap->top; i += n_pages) {
        void *block = address_of(heap, (page_number)i);

        n_pages = heap_pages_at(heap, i);
        if (number >= i + n_pages)
            continue;
        if (heap_kind_at(heap, i) == TAG_USED)
            log_line(LOG_ERROR, "%s(%p): invalid pointer: %z bytes inside the block %p of %z bytes", caller, p,
                     (size_t)((uintptr_t)p - (uintptr_t)block), block, n_pages * PAGE_BYTES);
        else
            log_line(LOG_ERROR, "%s(%p): double free: the block at this address was freed before", caller, p);
        return;
    }
    log_line(LOG_ERROR, "%s(%p): double free or invalid pointer: no block at this address", caller, p);
}

bool heap_in_one_block(const struct heap *heap, page_number first, size_t n_pages)
{
    for (size_t i = 0, end; i < heap->top; i = end) {
        end = i + heap_pages_at(heap, i);
        if (first < end)
            return first >= i && heap_kind_at(heap, i) == TAG_USED && first + n_pages <= end;
    }
    return false;
}
