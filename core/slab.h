/*
 * slab.h - blocks below a page: slabs of ghost pages, each of slots of one size.
 *
 * A slab is one page of the ghost heap, or three where a single one would waste more than an eighth. All that is known of it is a
 * record outside of its pages: who looks a block up, frees it or takes another never touches ghost memory. A slot's state is a byte of
 * the record. Whoever has a slot, a cache or the program, has its byte too, and changes it without a lock; slots go to caches and come
 * back under the lock of their class. A slab whose last slot comes back returns its pages to the heap. Before paging starts a few stay,
 * because who allocates and frees by turns would pay for nothing.
 *
 * Slabs with free slots stand in lists: those whose page was in RAM when last looked at, those whose page was not, and the empty ones.
 * Slots are taken from the first as long as there are any, because a slot of a frozen page costs a fault.
 *
 * Slabs that lie side by side are one block to who reads ahead: a walk over many small blocks goes from page to page.
 *
 * Calls: heap (its pages come and go by the functions that slabs_init() gets), pager, slab_records, os.
 * Locks: one for each size class, of which a thread takes one, or for a fork all; records_lock below them.
 * Memory: its own reservations: a pointer for each page of the ghost range up to the highest slab, and the records.
 */
#ifndef GHOSTMEM_CORE_SLAB_H
#define GHOSTMEM_CORE_SLAB_H

#include "core/heap.h"

/* Steps of 16 bytes up to 256, then four to a doubling. */
#define SLAB_CLASSES 28u
#define SLAB_MAX_BYTES ((size_t)2048)
#define SLAB_ALIGNMENT ((size_t)16)

/* A slot's byte. LIVE only with TAKEN; DIRTY: the program has had it since its pages came, so it need not read as zeros. */
#define SLOT_TAKEN 1u
#define SLOT_LIVE 2u
#define SLOT_DIRTY 4u
#define SLOT_OF_PROGRAM (SLOT_TAKEN | SLOT_LIVE | SLOT_DIRTY)
#define SLOT_OF_CACHE (SLOT_TAKEN | SLOT_DIRTY)

struct slab_kind {
    uint32_t inverse; /* 2^32 / bytes, rounded up: exact for what lies within a slab */
    uint16_t bytes;
    uint16_t n_slots;
    uint8_t n_pages;
};
extern const struct slab_kind slab_kinds[SLAB_CLASSES];

enum slab_list {
    SLAB_FULL, /* in no list: no slot is free */
    SLAB_WARM,
    SLAB_COLD,
    SLAB_EMPTY,
    SLAB_LISTS,
};

struct slab {
    /* Constant from the time when it can be looked up. */
    page_number first;
    uint8_t class;

    uint8_t list; /* enum slab_list; like all below guarded by its class's lock */
    uint16_t n_free;
    struct slab *next;
    struct slab *prev;
    unsigned char states[]; /* a slot's byte belongs to whoever has the slot */
};

struct slab_class {
    struct os_lock lock; /* guards all below */
    struct slab *lists[SLAB_LISTS];
    struct slab_chunk *chunks; /* with room for a record */
    size_t n_slabs;
    size_t n_empty; /* of these */
    size_t n_taken; /* slots */
};

/* Slots of one class that are with a cache: the oldest first. */
struct slab_row {
    unsigned n;
    struct slab_slot {
        unsigned char *p;
        unsigned char *state;
    } *slots;
};

struct slabs {
    /* Set by slabs_init(), constant afterwards. */
    struct heap *heap;
    void *(*take_pages)(size_t bytes, bool always); /* NULL: there are none. Like the next one called without a lock of ours */
    void (*give_pages)(void *p);

    /* Written under records_lock, read without. */
    _Atomic size_t n_known; /* pages from the start that can be looked up */
    _Atomic(struct slab *) *table; /* per page */
    uintptr_t base;

    struct os_lock records_lock; /* guards all below */
    unsigned char *chunks;
    size_t n_chunks; /* that were ever used */
    size_t max_chunks;
    size_t n_chunks_used;
    size_t committed_chunks;
    struct bitset free_chunks;
    bool failed; /* there is no room for records here */

    struct slab_class classes[SLAB_CLASSES];
};

/* @slabs: zeroed. Nothing is reserved before the first slab. The functions: see above. */
void slabs_init(struct slabs *slabs, struct heap *heap, void *(*take_pages)(size_t bytes, bool always), void (*give_pages)(void *p));

/* The class for blocks of @bytes, 1 .. SLAB_MAX_BYTES. */
static inline unsigned slab_class(size_t bytes)
{
    unsigned last = (unsigned)bytes - 1;
    unsigned power;

    if (last < 256)
        return last / 16;
    power = 31 - (unsigned)__builtin_clz(last);
    return 16 + (power - 8) * 4 + (last >> (power - 2) & 3);
}

/* The same of blocks whose address is a multiple of @alignment, a power of two up to SLAB_MAX_BYTES. */
unsigned slab_class_aligned(size_t bytes, size_t alignment);

static inline size_t slab_bytes(unsigned class)
{
    return slab_kinds[class].bytes;
}

/* The slab that @p, anywhere, lies in. NULL: in none. It stays as long as it has a slot that the caller has. */
static inline struct slab *slab_at(const struct slabs *slabs, const void *p)
{
    size_t number = ((uintptr_t)p - slabs->base) >> PAGE_SHIFT;

    if (number >= atomic_load_explicit(&slabs->n_known, memory_order_acquire))
        return NULL;
    return atomic_load_explicit(&slabs->table[number], memory_order_acquire);
}

/* Does the page belong to a slab, and the next one to none, or to another? A hint. */
static inline bool slab_ends_at(const struct slabs *slabs, page_number number)
{
    size_t n_known = atomic_load_explicit(&slabs->n_known, memory_order_acquire);
    const struct slab *slab = number < n_known ? atomic_load_explicit(&slabs->table[number], memory_order_acquire) : NULL;

    return slab != NULL && (number + 1 >= n_known || atomic_load_explicit(&slabs->table[number + 1], memory_order_acquire) != slab);
}

/* The byte of the slot that begins at @p. NULL: none does. */
static inline unsigned char *slab_state(const struct slabs *slabs, struct slab *slab, const void *p)
{
    const struct slab_kind *kind = &slab_kinds[slab->class];
    uint32_t offset = (uint32_t)((uintptr_t)p - slabs->base - ((size_t)slab->first << PAGE_SHIFT));
    uint32_t slot = (uint32_t)((uint64_t)offset * kind->inverse >> 32);

    return slot * kind->bytes == offset && slot < kind->n_slots ? &slab->states[slot] : NULL;
}

static inline unsigned slab_look(const unsigned char *state)
{
    return __atomic_load_n(state, __ATOMIC_RELAXED);
}

static inline void slab_mark(unsigned char *state, unsigned value)
{
    __atomic_store_n(state, (unsigned char)value, __ATOMIC_RELAXED);
}

/*
 * Up to @n free slots of @class come into @row, which has room for them, rather of pages that are in RAM. Returns how many: 0 where there
 * is none. The row changes under the class's lock: a forked child has each slot in one place.
 */
unsigned slab_take(struct slabs *slabs, unsigned class, struct slab_row *row, unsigned n);

/*
 * The same of a new slab. @always: also where the limit cannot be kept. 0: there is no memory.
 * Context: takes pages of the heap; no lock of ours is held.
 */
unsigned slab_grow(struct slabs *slabs, unsigned class, bool always, struct slab_row *row, unsigned n);

/*
 * The oldest @n slots of @row, which are of @class and not the program's any more, come back. Slabs without others leave.
 * Context: as above.
 */
void slab_give(struct slabs *slabs, unsigned class, struct slab_row *row, unsigned n);

/* @p lies in @slab and is no live block's start: say what it is. */
void slab_say_pointer(const struct slabs *slabs, struct slab *slab, const void *p, const char *caller);

/* Around a fork. */
void slabs_fork_prepare(struct slabs *slabs);
void slabs_fork_done(struct slabs *slabs); /* in the parent and in the child */

/* RAM for records and the table. */
size_t slabs_meta_bytes(const struct slabs *slabs);

struct slab_counts {
    size_t n_slabs;
    size_t n_pages; /* of these */
    size_t n_empty_pages; /* of those that are empty */
    size_t n_taken; /* slots that are with caches or the program */
};

/* A moment's, without a lock. */
struct slab_counts slabs_count(const struct slabs *slabs);

#endif
