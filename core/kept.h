/*
 * kept.h - images whose page is resident: if the page leaves unchanged, nothing is compressed, and nothing written.
 *
 * A hash of the contents tells whether a page has changed: 128 bits under a secret of the process, taken when the page comes in and again
 * when it is out of the program's reach. Where the backend can, and while most pages are not written, pages come in
 * write-protected instead: a page that is still so (PAGE_FLAG_SHUT) is unchanged. A page that had to be opened counts as changed. Once many
 * have to be opened, the pages around one are opened with it, and compared when they leave: with the image itself, which is decompressed
 * for that, or by hash, which images in the swap file always have.
 *
 * Images in the swap file are kept until their segment is emptied. Images in the pool cost RAM, and hashes cost time: such images
 * are kept while that pays, and as far as there is room (writeback.h).
 *
 * A resident page's entry holds the number of its kept image in `value`, a cooled one's in `next`; 0 is none.
 *
 * Calls: xxhash, os (mem, random).  Locks: the caller's (pager.lock).
 * Memory: its own reservations, 8 bytes for each page that has one, and 16 more if that has a hash.
 */
#ifndef GHOSTMEM_CORE_KEPT_H
#define GHOSTMEM_CORE_KEPT_H

#include "core/swap.h"

struct kept_hash {
    uint64_t low;
    uint64_t high;
};

/* Of an image in the pool whose page came in write-protected: should it be opened, the image itself is compared. */
#define KEPT_NO_HASH ((struct kept_hash){0, 0})

struct kept_image {
    uint32_t handle;  /* the swap's, or the store's; free: the next free number */
    uint32_t n_units; /* in the swap file; KEPT_IN_POOL and its bytes; 0: free */
};
#define KEPT_IN_POOL (1u << 31)
#define KEPT_HASHED (1u << 30) /* beside its units, only in the table */
_Static_assert(sizeof(struct kept_image) == 8 && sizeof(struct kept_hash) == 16, "24 bytes of tables for a kept image at the most");

/* Does an optimisation pay? What it has saved lately, less what it has cost. */
struct kept_credit {
    unsigned left;
    bool spent; /* @left has reached zero: it is tried only once in @sample times, until @left is @enough again */
    unsigned n_asked;
    unsigned sample;
    unsigned enough;
};

struct kept {
    /* Set by kept_init(), constant afterwards. */
    struct kept_image *images; /* numbers from 1 */
    struct kept_hash *hashes;  /* of those that are KEPT_HASHED, by the same numbers */
    uint32_t capacity;
    uint64_t secret;

    /* Guarded by pager.lock. */
    uint32_t n_carved; /* numbers [1, n_carved] have been used at some time ... */
    uint32_t n_hashed; /* ... and up to this one with a hash */
    uint32_t free;     /* first of the free ones; 0: none */
    uint32_t n_images;
    struct kept_credit hashing;    /* of images in the pool */
    struct kept_credit protecting; /* pages that come in to be read */
    uint32_t tried; /* the page that was protected last without credit, plus one; 0: what became of it is known */
};

/* Room for @capacity images. Without memory for them none is ever kept. */
void kept_init(struct kept *kept, size_t capacity);

/* @page: PAGE_BYTES. */
struct kept_hash kept_hash_of(const struct kept *kept, const void *page);

static inline bool kept_same(struct kept_hash a, struct kept_hash b)
{
    return a.low == b.low && a.high == b.high;
}

static inline bool kept_is_hash(struct kept_hash hash)
{
    return (hash.low | hash.high) != 0;
}

/* Room for more images, where there is memory for that. */
void kept_grow_locked(struct kept *kept, size_t capacity);

/*
 * Remember an image. @n_units: KEPT_IN_POOL and its bytes, or its length in the swap file; @hash may be KEPT_NO_HASH. Its number; 0:
 * there is no room.
 */
uint32_t kept_add_locked(struct kept *kept, uint32_t handle, uint32_t n_units, struct kept_hash hash);

/*
 * Does it pay for @n_pages more? Hashing pays while at least a fifth of the pages leave unchanged, write-protection while twelve in
 * thirteen do. Otherwise the answer is yes now and then, to find out.
 */
bool kept_pays_locked(struct kept_credit *credit, size_t n_pages);

/* A page whose image was kept in the pool has left; a hash would have told as much, whatever did. */
void kept_note_locked(struct kept *kept, bool unchanged);

/* A page that came in write-protected has left, or it had to be opened for writing. */
void kept_note_protected_locked(struct kept *kept, bool unchanged);

/* The page @tried has not been written until the next trial, or until it left. */
void kept_note_trial_locked(struct kept *kept);

struct kept_image *kept_at(const struct kept *kept, uint32_t number);

/* Its hash, or KEPT_NO_HASH. */
struct kept_hash kept_hash_at(const struct kept *kept, uint32_t number);

static inline bool kept_is_pooled(const struct kept_image *image)
{
    return (image->n_units & KEPT_IN_POOL) != 0;
}

/* The number is free; the image is the caller's again. */
struct kept_image kept_take_locked(struct kept *kept, uint32_t number);

size_t kept_meta_bytes(const struct kept *kept);

#endif
