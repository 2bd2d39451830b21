/*
 * small.h - blocks below a page, as malloc and ghostmem_allocate() hand them out: a cache for each thread in front of the slabs.
 *
 * A thread takes slots from its cache and puts them back there without a lock; they come from the slabs, and go back, some at a time.
 * What comes in between - a handler of the program that interrupts its thread here and allocates - finds the cache not ready, and goes
 * to the slabs. A handler that leaves by longjmp() leaves the cache so: the thread is slower from then on, and nothing is lost.
 *
 * Calls: ghost, slab, memory, guard.  Locks: none of its own; those of the slabs.
 * Memory: a chunk of the slabs' records for each thread that has such blocks, used again when the thread has ended.
 */
#ifndef GHOSTMEM_INTERPOSE_SMALL_H
#define GHOSTMEM_INTERPOSE_SMALL_H

#include "interpose/ghost.h"

#define SMALL_MAX_BYTES SLAB_MAX_BYTES

/* The sum of small_most. */
#define SMALL_SLOTS 1760u

struct small_cache {
    bool ready; /* the thread may use it */
    _Atomic uint32_t owner; /* a thread's id; 0: nobody's */
    struct small_cache *next; /* of all that there ever were */
    struct slab_row rows[SLAB_CLASSES]; /* each has its part of: */
    struct slab_slot slots[SMALL_SLOTS];
};

/* Never NULL: who has none has one that is never ready. */
extern __thread struct small_cache *small_self;

/* Slots of a class that a cache has at most. */
extern const unsigned char small_most[SLAB_CLASSES];

/* The cache is the caller's until small_leave(). False: it is in use below, in this thread, or there is none. */
static inline bool small_enter(struct small_cache *cache)
{
    if (__builtin_expect(!cache->ready, 0))
        return false;
    cache->ready = false;
    atomic_signal_fence(memory_order_seq_cst);
    return true;
}

static inline void small_leave(struct small_cache *cache)
{
    atomic_signal_fence(memory_order_seq_cst);
    cache->ready = true;
}

/* The youngest slot of a row that has one becomes the program's. *@dirty: it need not read as zeros. */
static inline void *small_pop(struct slab_row *row, bool *dirty)
{
    struct slab_slot slot = row->slots[row->n - 1];

    row->n--;
    *dirty = (slab_look(slot.state) & SLOT_DIRTY) != 0;
    slab_mark(slot.state, SLOT_OF_PROGRAM);
    return slot.p;
}

/* The slot comes into a row that has room. */
static inline void small_push(struct slab_row *row, void *p, unsigned char *state)
{
    row->slots[row->n] = (struct slab_slot){p, state};
    __atomic_store_n(&row->n, row->n + 1, __ATOMIC_RELEASE); /* the slot first: a fork may happen at any time */
}

/* A block of @bytes, 1 .. SMALL_MAX_BYTES, if that is quick. NULL: it is not. */
static inline void *small_take(size_t bytes, bool *dirty)
{
    struct small_cache *cache = small_self;
    void *p = NULL;
    struct slab_row *row;

    if (!small_enter(cache))
        return NULL;
    row = &cache->rows[slab_class(bytes)];
    if (__builtin_expect(row->n > 0 && !pager_is_engaged(&ghost.pager), 1))
        p = small_pop(row, dirty);
    small_leave(cache);
    return p;
}

/* @p, anywhere, is a live small block and has been freed, which was quick. False: nothing has happened. */
static inline bool small_put(void *p)
{
    struct small_cache *cache = small_self;
    struct slab *slab = slab_at(&ghost.slabs, p);
    struct slab_row *row;
    unsigned char *state;
    bool done = false;

    if (slab == NULL || !small_enter(cache))
        return false;
    row = &cache->rows[slab->class];
    state = slab_state(&ghost.slabs, slab, p);
    if (__builtin_expect(state != NULL && slab_look(state) == SLOT_OF_PROGRAM && row->n < small_most[slab->class] &&
                         !pager_is_engaged(&ghost.pager), 1)) {
        slab_mark(state, SLOT_OF_CACHE);
        small_push(row, p, state);
        done = true;
    }
    small_leave(cache);
    return done;
}

/* Does @p lie in a slab? */
static inline bool small_owns(const void *p)
{
    return slab_at(&ghost.slabs, p) != NULL;
}

/*
 * A block of @bytes, 1 .. SMALL_MAX_BYTES, whose address is a multiple of @alignment, a power of two up to SMALL_MAX_BYTES, or 0.
 * @always: as heap_allocate_always(). NULL: not to be had here. Context: as malloc.
 */
void *small_allocate(size_t bytes, size_t alignment, bool always, bool *dirty);

/* Bytes of the live block that begins at @p, which lies in a slab. 0: none does, and one line of @caller says what @p is. */
size_t small_look_up(const void *p, const char *caller);

/* Can the live block at @p have been allocated with so many bytes, whatever its alignment? */
bool small_may_have(const void *p, size_t bytes);

/* Free the live block at @p, which lies in a slab. False: there is none, and one line has said so. Context: as malloc. */
bool small_free(void *p, const char *caller);

/* Live blocks: the slots of @counts without those of caches. A moment's. */
size_t small_count(const struct slab_counts *counts);

/* In the child of a fork, once it has its heap: blocks in caches of threads that it does not have come back. */
void small_fork_child(void);

/* When the heap comes to life. */
void small_start(void);

#endif
