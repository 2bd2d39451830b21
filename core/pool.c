/* pool.c - see pool.h. */
#include "core/pool.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#define NO_SLOT UINT16_MAX
/* Commit in steps: a system call each 16 MiB of images. */
#define COMMIT_SLABS ((uint32_t)(16 * MIB / POOL_SLAB_BYTES))
/* Compaction pays when an eighth of what is held, and at least this, is slack; the aim is 15 % at the most. */
#define COMPACT_MIN_BYTES (1 * MIB)
#define COMPACT_SHARE 8
/* Fetched ahead of an image's use; the processor's own prefetching goes on from there. */
#define PREFETCH_BYTES 256
#define CACHE_LINE_BYTES 64
/* In front of an image: its length, and its kind in the bits above. */
#define LABEL_KIND_SHIFT 13
#define LABEL_BYTES_MASK ((1u << LABEL_KIND_SHIFT) - 1)
_Static_assert(PAGE_BYTES <= LABEL_BYTES_MASK && POOL_KINDS << LABEL_KIND_SHIFT <= UINT16_MAX + 1, "both fit into 16 bits");

struct pool_slab {
    uint16_t units;      /* of one slot; 0: the slab is empty and on the free list */
    uint16_t n_used;     /* slots */
    uint16_t n_carved;   /* slots that were used at some time: what lies behind them was never touched */
    uint16_t first_free; /* among the carved ones; a free slot's first two bytes name the next */
    uint32_t next;       /* in partial[units] or in the free list: index + 1 */
    uint32_t prev : 31;  /* in partial[units]: index + 1 */
    uint32_t evacuating : 1;
};
_Static_assert(sizeof(struct pool_slab) == 16, "16 bytes of table for 64 KiB of images");

static size_t slot_bytes(const struct pool_slab *slab)
{
    return slab->units * POOL_UNIT_BYTES;
}

static unsigned slots_of(const struct pool_slab *slab)
{
    return (unsigned)(POOL_SLAB_BYTES / slot_bytes(slab));
}

/* A plain page fills its slot; every other image starts with its label. */
static bool is_plain(const struct pool_slab *slab)
{
    return slab->units == POOL_MAX_UNITS;
}

static uint32_t index_of(const struct pool *pool, const struct pool_slab *slab)
{
    return (uint32_t)(slab - pool->slabs);
}

static unsigned char *slot_at(const struct pool *pool, const struct pool_slab *slab, unsigned slot)
{
    return pool->space + (size_t)index_of(pool, slab) * POOL_SLAB_BYTES + slot * slot_bytes(slab);
}

static struct pool_slab *slab_of(const struct pool *pool, pool_handle handle)
{
    return &pool->slabs[(size_t)(handle - 1) * POOL_UNIT_BYTES / POOL_SLAB_BYTES];
}

static unsigned char *address_of(const struct pool *pool, pool_handle handle)
{
    return pool->space + (size_t)(handle - 1) * POOL_UNIT_BYTES;
}

static size_t held_by(const struct pool_slab *slab)
{
    return round_up(slab->n_carved * slot_bytes(slab), PAGE_BYTES);
}

/* Labels are read without a lock, so that they must not be able to change under the reader. */
static struct pool_image image_at(const struct pool_slab *slab, const unsigned char *slot)
{
    uint16_t label;

    if (is_plain(slab))
        return (struct pool_image){.data = slot, .bytes = PAGE_BYTES};
    memcpy(&label, slot, sizeof label);
    return (struct pool_image){
        .data = slot + sizeof label,
        .bytes = label & LABEL_BYTES_MASK,
        .kind = (unsigned)label >> LABEL_KIND_SHIFT,
    };
}

/* Of its slot. */
static size_t stored_bytes(const struct pool_image *image, const unsigned char *slot)
{
    return image->bytes + (size_t)(image->data - slot);
}

static void add(_Atomic uint64_t *counter, uint64_t by)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by, memory_order_relaxed);
}

static uint64_t look(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

int pool_init(struct pool *pool, size_t space_bytes, uint64_t bound_bytes)
{
    int error;

    memset(pool, 0, sizeof *pool);
    pool->lock.rank = LOCK_POOL;
    pool->bound_bytes = bound_bytes;
    /* A handle has 32 bits: 2^32 - 1 units, 256 GiB. */
    space_bytes = min_size(space_bytes, (size_t)(UINT32_MAX / (POOL_SLAB_BYTES / POOL_UNIT_BYTES)) * POOL_SLAB_BYTES);
    for (;; space_bytes /= 2) {
        if (space_bytes < POOL_SLAB_BYTES)
            return -ENOMEM;
        pool->max_slabs = (uint32_t)(space_bytes / POOL_SLAB_BYTES);
        error = os_mem_reserve(pool->max_slabs * POOL_SLAB_BYTES, (void **)&pool->space);
        if (error == 0)
            break;
    }
    error = os_mem_reserve(round_up(pool->max_slabs * sizeof(struct pool_slab), PAGE_BYTES), (void **)&pool->slabs);
    if (error != 0)
        os_mem_unmap(pool->space, pool->max_slabs * POOL_SLAB_BYTES);
    return error;
}

/* Make slabs up to @n usable. */
static int commit_locked(struct pool *pool, uint32_t n)
{
    const size_t record_bytes = sizeof(struct pool_slab);
    size_t meta_from = round_up(pool->committed_slabs * record_bytes, PAGE_BYTES);
    size_t meta_to = round_up(n * record_bytes, PAGE_BYTES);
    int error = 0;

    LOCK_ASSERT_HELD(LOCK_POOL);
    if (meta_to > meta_from)
        error = os_mem_commit((char *)pool->slabs + meta_from, meta_to - meta_from);
    if (error == 0)
        error = os_mem_commit(pool->space + pool->committed_slabs * POOL_SLAB_BYTES,
                              (n - pool->committed_slabs) * POOL_SLAB_BYTES);
    if (error == 0)
        pool->committed_slabs = n;
    return error;
}

static void partial_add_locked(struct pool *pool, struct pool_slab *slab)
{
    uint32_t *head = &pool->partial[slab->units];

    LOCK_ASSERT_HELD(LOCK_POOL);
    slab->prev = 0;
    slab->next = *head;
    if (*head != 0)
        pool->slabs[*head - 1].prev = (index_of(pool, slab) + 1) & 0x7fffffffu;
    *head = index_of(pool, slab) + 1;
}

static void partial_remove_locked(struct pool *pool, struct pool_slab *slab)
{
    LOCK_ASSERT_HELD(LOCK_POOL);
    if (slab->prev != 0)
        pool->slabs[slab->prev - 1].next = slab->next;
    else
        pool->partial[slab->units] = slab->next;
    if (slab->next != 0)
        pool->slabs[slab->next - 1].prev = slab->prev;
    slab->next = 0;
    slab->prev = 0;
}

static struct pool_slab *slab_new_locked(struct pool *pool, unsigned units)
{
    struct pool_slab *slab;

    LOCK_ASSERT_HELD(LOCK_POOL);
    if (pool->free_slabs != 0) {
        slab = &pool->slabs[pool->free_slabs - 1];
        pool->free_slabs = slab->next;
    } else {
        if (pool->n_slabs == pool->max_slabs)
            return NULL;
        if (pool->n_slabs == pool->committed_slabs &&
            commit_locked(pool, (uint32_t)min_size(pool->committed_slabs + COMMIT_SLABS, pool->max_slabs)) != 0)
            return NULL;
        slab = &pool->slabs[pool->n_slabs++];
        atomic_store_explicit(&pool->meta_bytes, round_up(pool->n_slabs * sizeof *slab, PAGE_BYTES),
                              memory_order_relaxed);
    }
    *slab = (struct pool_slab){.units = (uint16_t)units, .first_free = NO_SLOT};
    partial_add_locked(pool, slab);
    return slab;
}

/* An empty slab keeps nothing. When its RAM cannot be returned (locked in memory), it stays as it is, carved. */
static void slab_retire_locked(struct pool *pool, struct pool_slab *slab)
{
    size_t held = held_by(slab);

    LOCK_ASSERT_HELD(LOCK_POOL);
    if (os_mem_release(slot_at(pool, slab, 0), held) != 0)
        return;
    add(&pool->held_bytes, -(uint64_t)held);
    if (slab->evacuating)
        pool->n_evacuating--;
    else
        partial_remove_locked(pool, slab);
    *slab = (struct pool_slab){.next = pool->free_slabs};
    pool->free_slabs = index_of(pool, slab) + 1;
}

/* A slot of the class, not yet written; NULL when there is none to be had. */
static unsigned char *slot_take_locked(struct pool *pool, unsigned units)
{
    struct pool_slab *slab = pool->partial[units] != 0 ? &pool->slabs[pool->partial[units] - 1] : NULL;
    unsigned char *slot;
    size_t held_before;

    LOCK_ASSERT_HELD(LOCK_POOL);
    if (slab == NULL || slab->first_free == NO_SLOT) {
        /* The next slot touches new pages: is there room for them under the bound? */
        if (look(&pool->held_bytes) + round_up(units * POOL_UNIT_BYTES, PAGE_BYTES) > pool->bound_bytes)
            return NULL;
        if (slab == NULL)
            slab = slab_new_locked(pool, units);
        if (slab == NULL)
            return NULL;
    }
    if (slab->first_free != NO_SLOT) {
        slot = slot_at(pool, slab, slab->first_free);
        memcpy(&slab->first_free, slot, sizeof slab->first_free);
    } else {
        held_before = held_by(slab);
        slot = slot_at(pool, slab, slab->n_carved++);
        add(&pool->held_bytes, held_by(slab) - held_before);
        if (look(&pool->held_bytes) > look(&pool->held_bytes_peak))
            atomic_store_explicit(&pool->held_bytes_peak, look(&pool->held_bytes), memory_order_relaxed);
    }
    slab->n_used++;
    if (slab->first_free == NO_SLOT && slab->n_carved == slots_of(slab))
        partial_remove_locked(pool, slab);
    return slot;
}

static void slot_give_back_locked(struct pool *pool, struct pool_slab *slab, unsigned char *slot)
{
    bool was_full = slab->first_free == NO_SLOT && slab->n_carved == slots_of(slab);
    uint16_t number = (uint16_t)((size_t)(slot - slot_at(pool, slab, 0)) / slot_bytes(slab));

    LOCK_ASSERT_HELD(LOCK_POOL);
    INVARIANT(slab->n_used > 0);
    memcpy(slot, &slab->first_free, sizeof slab->first_free);
    slab->first_free = number;
    slab->n_used--;
    if (was_full && !slab->evacuating)
        partial_add_locked(pool, slab);
    if (slab->n_used == 0)
        slab_retire_locked(pool, slab);
}

unsigned pool_units(size_t bytes)
{
    return (unsigned)(round_up(bytes + (bytes == PAGE_BYTES ? 0 : sizeof(uint16_t)), POOL_UNIT_BYTES) / POOL_UNIT_BYTES);
}

static void count_kind_locked(struct pool *pool, unsigned kind, uint64_t n, uint64_t bytes)
{
    add(&pool->n_of_kind[kind], n);
    add(&pool->bytes_of_kind[kind], bytes);
}

pool_handle pool_put(struct pool *pool, const void *image, size_t bytes, unsigned kind)
{
    bool plain = bytes == PAGE_BYTES;
    size_t stored = bytes + (plain ? 0 : sizeof(uint16_t));
    unsigned units = pool_units(bytes);
    uint16_t label = (uint16_t)(bytes | kind << LABEL_KIND_SHIFT);
    unsigned char *slot;

    DEBUG_INVARIANT(bytes > 0 && units <= POOL_MAX_UNITS && (plain ? kind == 0 : units < POOL_MAX_UNITS) && kind < POOL_KINDS);
    os_lock_take(&pool->lock);
    slot = slot_take_locked(pool, units);
    if (slot != NULL) {
        add(&pool->n_images, 1);
        add(&pool->used_bytes, stored);
        if (look(&pool->used_bytes) > look(&pool->used_bytes_peak))
            atomic_store_explicit(&pool->used_bytes_peak, look(&pool->used_bytes), memory_order_relaxed);
        count_kind_locked(pool, kind, 1, stored);
        if (kind == 0) {
            add(&pool->n_images_made, 1);
            add(&pool->made_bytes, stored);
        }
    }
    os_lock_release(&pool->lock);
    if (slot == NULL)
        return 0;
    /* The slot is ours alone until the handle is known. */
    if (!plain) {
        memcpy(slot, &label, sizeof label);
        slot += sizeof label;
    }
    memcpy(slot, image, bytes);
    return (pool_handle)((size_t)(slot - pool->space) / POOL_UNIT_BYTES + 1);
}

struct pool_image pool_image(const struct pool *pool, pool_handle handle)
{
    return image_at(slab_of(pool, handle), address_of(pool, handle));
}

void pool_prefetch(const struct pool *pool, pool_handle handle)
{
    const unsigned char *slot = address_of(pool, handle);

    __builtin_prefetch(slab_of(pool, handle));
    for (size_t i = 0; i < PREFETCH_BYTES; i += CACHE_LINE_BYTES)
        __builtin_prefetch(slot + i);
}

struct pool_where pool_where(pool_handle handle)
{
    size_t slot = (size_t)(handle - 1) * POOL_UNIT_BYTES;

    return (struct pool_where){
        .slab = slot / POOL_SLAB_BYTES * sizeof(struct pool_slab),
        .slab_bytes = sizeof(struct pool_slab),
        .slot = slot,
    };
}

struct pool_image pool_image_of(const void *slab, const void *slot)
{
    struct pool_slab record;

    memcpy(&record, slab, sizeof record);
    return image_at(&record, slot);
}

void pool_free(struct pool *pool, pool_handle handle)
{
    struct pool_slab *slab = slab_of(pool, handle);
    unsigned char *slot = address_of(pool, handle);
    struct pool_image image = image_at(slab, slot);
    uint64_t stored = stored_bytes(&image, slot);

    os_lock_take(&pool->lock);
    add(&pool->n_images, -(uint64_t)1);
    add(&pool->used_bytes, -stored);
    count_kind_locked(pool, image.kind, -(uint64_t)1, -stored);
    slot_give_back_locked(pool, slab, slot);
    os_lock_release(&pool->lock);
}

bool pool_wants_compaction(const struct pool *pool)
{
    uint64_t held = look(&pool->held_bytes);
    uint64_t used = look(&pool->used_bytes);

    return held > used + COMPACT_MIN_BYTES && held - used > held / COMPACT_SHARE;
}

bool pool_compact_begin(struct pool *pool)
{
    bool any;

    os_lock_take(&pool->lock);
    INVARIANT(!pool->compacting);
    for (unsigned units = 1; units <= POOL_MAX_UNITS; units++) {
        uint32_t next;

        for (uint32_t i = pool->partial[units]; i != 0; i = next) {
            struct pool_slab *slab = &pool->slabs[i - 1];

            next = slab->next;
            /* Emptying pays where a quarter or more of what the slab holds is free. */
            if (slab->n_carved < slots_of(slab) / 2 || slab->n_used * 4u > slab->n_carved * 3u)
                continue;
            partial_remove_locked(pool, slab);
            slab->evacuating = 1;
            pool->n_evacuating++;
        }
    }
    any = pool->n_evacuating > 0;
    pool->compacting = any;
    os_lock_release(&pool->lock);
    return any;
}

pool_handle pool_relocate(struct pool *pool, pool_handle handle)
{
    struct pool_slab *slab = slab_of(pool, handle);
    unsigned char *from = address_of(pool, handle);
    unsigned char *to;

    os_lock_take(&pool->lock);
    to = slab->evacuating ? slot_take_locked(pool, slab->units) : NULL;
    if (to != NULL) {
        struct pool_image image = image_at(slab, from);

        memcpy(to, from, stored_bytes(&image, from));
        slot_give_back_locked(pool, slab, from);
        handle = (pool_handle)((size_t)(to - pool->space) / POOL_UNIT_BYTES + 1);
    }
    os_lock_release(&pool->lock);
    return handle;
}

void pool_compact_end(struct pool *pool)
{
    os_lock_take(&pool->lock);
    for (uint32_t i = 0; i < pool->n_slabs && pool->n_evacuating > 0; i++) {
        struct pool_slab *slab = &pool->slabs[i];

        if (!slab->evacuating)
            continue;
        slab->evacuating = 0;
        pool->n_evacuating--;
        if (slab->first_free != NO_SLOT || slab->n_carved < slots_of(slab))
            partial_add_locked(pool, slab);
    }
    pool->compacting = false;
    os_lock_release(&pool->lock);
}
