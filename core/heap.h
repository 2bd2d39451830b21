/*
 * heap.h - the ghost heap: blocks of whole pages in one reserved range.
 *
 * A span is a run of pages, either a block that the program holds or free. All that is known of spans lies outside
 * their pages: 2 bytes a page for the tags at their ends and the links of free spans (heap_tags.c), and a bit a page for
 * free spans too short for links. Freed neighbours are joined; free pages hold no RAM and read as zeros, so a fresh
 * block needs no clearing. Free spans are found by size classes, eight to a power of two, in constant time.
 *
 * Calls: pager, bitset, log, os.  Locks: heap.lock. It is not held while a freed block's RAM is returned, and is held while a
 * free span is made to read as zeros before it is handed out (clean_locked()).
 * Memory: its own reservations.
 */
#ifndef GHOSTMEM_CORE_HEAP_H
#define GHOSTMEM_CORE_HEAP_H

#include "core/bitset.h"
#include "core/pager.h"

#define HEAP_BINS 216u /* 16, and eight for each power of two from 16 to 2^28 pages */
#define HEAP_TAG_PAGES (((size_t)1 << PAGE_NUMBER_BITS) * sizeof(uint16_t) / PAGE_BYTES)

struct heap {
    /* Set by heap_init(), constant afterwards: read without a lock. */
    size_t bytes; /* of the range; written last: 0 until the heap can be used */
    size_t n_pages;
    struct pager *pager;

    struct os_lock lock; /* guards all below */
    uint16_t *tags;
    size_t committed; /* pages from the start that are accessible */
    size_t top;       /* pages from the start that spans cover */
    uint64_t nonempty[(HEAP_BINS + 63) / 64];
    page_number bins[HEAP_BINS];
    struct bitset short_spans; /* first pages of free spans of 1, 2 ... pages */
    size_t live_pages;
    size_t live_pages_peak;
    size_t n_blocks;
    bool closed; /* the limit cannot be kept here: no new blocks */
    uint64_t retry_ns; /* paging could not start yet: it is not tried again before */
    void (*put_off)(void); /* called then; NULL: nobody is */
    bool (*joins)(const void *arg, page_number last); /* does what ends there go on in the next block? NULL: nothing does */
    const void *joins_arg;

    /* Pages of tags written so far, a bit each: untouched ones cost nothing, and are not counted. */
    uint64_t tag_pages[HEAP_TAG_PAGES / 64];
    size_t n_tag_pages;
};

/*
 * Reserve the range, @max_bytes halved until it fits. @heap: zeroed. 0; -ENOMEM.
 * The caller sets up the pager with the range that was had, then calls heap_open(); until then heap_owns() is false.
 */
int heap_init(struct heap *heap, size_t max_bytes, size_t limit, struct pager *pager);
void heap_open(struct heap *heap);

static inline bool heap_owns(const struct heap *heap, const void *p)
{
    size_t bytes = __atomic_load_n(&heap->bytes, __ATOMIC_ACQUIRE);

    return bytes != 0 && (uintptr_t)p - heap->pager->space.near_base < bytes;
}

/*
 * A block of at least @bytes > 0, zero-filled, page-aligned or more. @alignment: a power of two, or 0.
 * NULL: not to be had here; libc may still have it.
 */
void *heap_allocate(struct heap *heap, size_t bytes, size_t alignment);

/* The same where there is no other allocator to ask: also where the limit cannot be kept. NULL: address space is used up. */
void *heap_allocate_always(struct heap *heap, size_t bytes, size_t alignment);

/* Bytes of the live block that begins at @p, which is in the range. 0: none does, and one line of @caller says what @p is. */
size_t heap_look_up(struct heap *heap, const void *p, const char *caller);

/* Bytes that may be used from a live block's start. Anything else than a block's start: one line, abort. */
size_t heap_usable_bytes(struct heap *heap, const void *p, const char *caller);

/*
 * Does another live block begin at @number? The caller knows that a live block ends just before it. The other must not be freed meanwhile.
 * Context: anywhere below `committed`; takes no lock.
 */
bool heap_begins_block(const struct heap *heap, page_number number);

/* Free a live block. Anything else than a block's start: one line that says what it is, abort. */
void heap_free(struct heap *heap, void *p, const char *caller);

/* Resize a live block; contents up to the smaller size stay. NULL: not to be had here, and the block is as it was. */
void *heap_resize(struct heap *heap, void *p, size_t bytes, const char *caller);

/*
 * A memory call of the program that changes what lies at @addr: see pager_cede(). Returns what @call does; -EINVAL: the pages do
 * not lie within one live block; -ENOMEM.
 */
long heap_cede(struct heap *heap, uintptr_t addr, size_t bytes, bool keep, pager_call *call, void *arg);

/*
 * The process has reached the limit, wherever its memory lies: paging starts, if it has not. False: it must be tried again later, as the
 * next block that is wanted would do too. The limit yields meanwhile. True: it has started, or never will.
 */
bool heap_start_paging(struct heap *heap);

/*
 * Another limit, in pages, at least CONFIG_MIN_LIMIT_PAGES, and another bound of the pool (config_pool_bytes()), from now on. Paging starts
 * where the blocks are more. Returns 0: the resident pages are within it; -EBUSY: as pager_shrink(); -EPERM: paging cannot start.
 * Until it returns the limit is between the old one and the new one: what has left does not come back. Context: as malloc.
 */
int heap_set_limit(struct heap *heap, size_t limit, uint64_t pool_bound_bytes);

/* The same where paging has started, for a thread of ours that has a worker. */
int heap_set_limit_as(struct heap *heap, size_t limit, uint64_t pool_bound_bytes, unsigned worker);

/* @visit for each live block, as long as it returns 0: what it returned last. Under the heap's lock. */
typedef int heap_visit(void *arg, page_number first, size_t n_pages);
int heap_visit_blocks(struct heap *heap, heap_visit *visit, void *arg);

void heap_fork_prepare(struct heap *heap);
void heap_fork_parent(struct heap *heap);
void heap_fork_child(struct heap *heap);

/* No paging any more, and no new blocks: pager_give_up(). */
void heap_give_up(struct heap *heap);

/* RAM for tags and sets. */
size_t heap_meta_bytes(const struct heap *heap);

#endif
