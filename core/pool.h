/*
 * pool.h - memory for images: size classes in address space of its own.
 *
 * The space is cut into slabs of 64 KiB. A slab serves one size class: slots of 1, 2, 3 ... units of 64 bytes, so that a
 * slot is at most 63 bytes larger than its image. An empty slab gives its RAM back at once. Where many slabs are half
 * empty the pool is compacted: pool_compact_begin() picks the emptiest slabs, the caller offers every image that it
 * owns to pool_relocate(), and pool_compact_end() closes the round. (The caller owns the handles, so only it can change
 * them; keeping an owner beside every image would cost more than a sweep.)
 *
 * Calls: os (mem, lock).  Locks: pool.lock.
 * Memory: its own reservation; slab records in another one, 16 bytes for 64 KiB.
 */
#ifndef GHOSTMEM_CORE_POOL_H
#define GHOSTMEM_CORE_POOL_H

#include "core/base.h"
#include "platform/lock.h"

/* Where an image lies: its first unit, plus one. 0 is no image. */
typedef uint32_t pool_handle;

#define POOL_UNIT_BYTES ((size_t)64)
#define POOL_SLAB_BYTES (64 * KIB)
#define POOL_MAX_UNITS (PAGE_BYTES / POOL_UNIT_BYTES)

/* How an image was made: a number below this. What the numbers mean is core/squeeze.h's. */
#define POOL_KINDS 8u

/* An image where it lies. @bytes: PAGE_BYTES is a plain page. */
struct pool_image {
    const unsigned char *data;
    size_t bytes;
    unsigned kind;
};

struct pool_slab;

struct pool {
    /* Set by pool_init(), constant afterwards: read without a lock. */
    unsigned char *space;
    struct pool_slab *slabs;
    uint32_t max_slabs;
    uint64_t bound_bytes;

    struct os_lock lock; /* guards all below */
    uint32_t n_slabs;    /* slabs [0, n_slabs) have been used at some time */
    uint32_t committed_slabs;
    uint32_t free_slabs;                  /* list of empty ones: index + 1, 0 ends it */
    uint32_t partial[POOL_MAX_UNITS + 1]; /* per class: slabs with room, index + 1 */
    uint32_t n_evacuating;
    bool compacting;

    /* Written under the lock, read by anybody with relaxed loads. */
    _Atomic uint64_t n_images;
    _Atomic uint64_t used_bytes; /* of images, their length fields included */
    _Atomic uint64_t held_bytes; /* RAM: whole pages that images have touched */
    _Atomic uint64_t used_bytes_peak;
    _Atomic uint64_t held_bytes_peak;
    _Atomic uint64_t meta_bytes; /* RAM for slab records */
    _Atomic uint64_t n_images_made; /* since the start */
    _Atomic uint64_t made_bytes;    /* of those, lengths included; images that are made of images do not count */
    _Atomic uint64_t n_of_kind[POOL_KINDS];
    _Atomic uint64_t bytes_of_kind[POOL_KINDS]; /* lengths included */
};

/*
 * Reserve address space for @space_bytes of images, halved until it can be had.
 * @bound_bytes: most RAM to hold; UINT64_MAX without a bound. Returns 0 or -ENOMEM.
 */
int pool_init(struct pool *pool, size_t space_bytes, uint64_t bound_bytes);

/*
 * Store a copy of @image. @bytes: 1 .. POOL_MAX_UNITS * POOL_UNIT_BYTES; exactly PAGE_BYTES for a plain page, which is of kind 0.
 * Returns a handle, or 0: the bound is reached, or the system has no memory.
 * Context: fault path; takes pool.lock.
 */
pool_handle pool_put(struct pool *pool, const void *image, size_t bytes, unsigned kind);

/* The image of a live handle, in place until it is freed or relocated. Takes no lock. */
struct pool_image pool_image(const struct pool *pool, pool_handle handle);

/* Units of a slot for an image of @bytes: what it costs. */
unsigned pool_units(size_t bytes);

/* The image will be wanted in a moment: its first bytes are on their way into the cache. */
void pool_prefetch(const struct pool *pool, pool_handle handle);

/*
 * The same for a pool in the memory of another process: where the image's slab record and its slot lie, in bytes from `slabs`
 * and `space`; and what they hold. @slot may be anything: the length is for the caller to check.
 */
struct pool_where {
    size_t slab;
    size_t slab_bytes;
    size_t slot;
};
struct pool_where pool_where(pool_handle handle);
struct pool_image pool_image_of(const void *slab, const void *slot);

void pool_free(struct pool *pool, pool_handle handle);

/* Is so much RAM held by half-empty slabs that a round of compaction pays? */
bool pool_wants_compaction(const struct pool *pool);

/* Pick the slabs to empty. False: nothing to gain. One round at a time. */
bool pool_compact_begin(struct pool *pool);

/* Move the image out of a slab that is being emptied. Returns its handle, new or as before. */
pool_handle pool_relocate(struct pool *pool, pool_handle handle);

void pool_compact_end(struct pool *pool);

#endif
