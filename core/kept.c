/* kept.c - see kept.h. */
#include "core/kept.h"

#include "core/trace.h"
#include "platform/swapfile.h"

#define XXH_INLINE_ALL
#include <string.h>
#include <xxhash.h>

/* Two hashes cost a fifth of a compression or less (bench/floor): a page that leaves unchanged pays for four that do not. */
#define HASHED_UNCHANGED 4
/*
 * A page that is written in spite of its protection costs a trap, and a change of its page's entry for which every other processor that
 * runs the program is interrupted: 4 us, or 20. One that is not saves two hashes and a copy. Once it is known that many are written a
 * trap opens all around it, but those which come in then would have their traps again.
 */
#define PROTECTED_WRITTEN 12
#define CREDIT_MAX 64
/* A page that was protected for nothing costs a fault, which is many hashes. */
#define HASHING_SAMPLE 16
#define PROTECTING_SAMPLE 64
/* Trials in a row, more or less, before it is done again. */
#define HASHING_ENOUGH 1
#define PROTECTING_ENOUGH 4

/* @bytes that take RAM where they are touched. */
static bool map_table(size_t bytes, void **table)
{
    if (os_mem_reserve(bytes, table) != 0)
        return false;
    if (os_mem_commit(*table, bytes) == 0)
        return true;
    os_mem_unmap(*table, bytes);
    return false;
}

void kept_init(struct kept *kept, size_t capacity)
{
    size_t image_bytes = round_up((capacity + 1) * sizeof(struct kept_image), PAGE_BYTES);
    size_t hash_bytes = round_up((capacity + 1) * sizeof(struct kept_hash), PAGE_BYTES);

    *kept = (struct kept){.hashing = {.left = CREDIT_MAX, .sample = HASHING_SAMPLE, .enough = HASHING_ENOUGH},
                           .protecting = {.left = CREDIT_MAX, .sample = PROTECTING_SAMPLE, .enough = PROTECTING_ENOUGH}};
    if (os_random(&kept->secret, sizeof kept->secret) != 0 || !map_table(image_bytes, (void **)&kept->images))
        return;
    if (map_table(hash_bytes, (void **)&kept->hashes))
        kept->capacity = (uint32_t)min_size(capacity, UINT32_MAX >> 4);
    else
        os_mem_unmap(kept->images, image_bytes);
}

void kept_grow_locked(struct kept *kept, size_t capacity)
{
    size_t image_bytes = round_up((capacity + 1) * sizeof(struct kept_image), PAGE_BYTES);
    size_t hash_bytes = round_up((capacity + 1) * sizeof(struct kept_hash), PAGE_BYTES);
    struct kept old = *kept;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    capacity = min_size(capacity, UINT32_MAX >> 4);
    if (capacity <= old.capacity || old.capacity == 0 || !map_table(image_bytes, (void **)&kept->images))
        return;
    if (!map_table(hash_bytes, (void **)&kept->hashes)) {
        os_mem_unmap(kept->images, image_bytes);
        *kept = old;
        return;
    }
    memcpy(kept->images, old.images, (old.n_carved + 1) * sizeof *old.images);
    if (old.n_hashed > 0)
        memcpy(kept->hashes, old.hashes, (old.n_hashed + 1) * sizeof *old.hashes);
    kept->capacity = (uint32_t)capacity;
    os_mem_unmap(old.images, round_up(((size_t)old.capacity + 1) * sizeof *old.images, PAGE_BYTES));
    os_mem_unmap(old.hashes, round_up(((size_t)old.capacity + 1) * sizeof *old.hashes, PAGE_BYTES));
}

struct kept_hash kept_hash_of(const struct kept *kept, const void *page)
{
    XXH128_hash_t hash = XXH3_128bits_withSeed(page, PAGE_BYTES, kept->secret);

    return (struct kept_hash){.low = hash.low64, .high = hash.high64};
}

bool kept_pays_locked(struct kept_credit *credit, size_t n_pages)
{
    unsigned n_before = credit->n_asked;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (TRACE_IS_ON || !credit->spent)
        return true;
    credit->n_asked += (unsigned)n_pages;
    return n_before == 0 || n_before / credit->sample != credit->n_asked / credit->sample;
}

static void note(struct kept_credit *credit, bool unchanged, unsigned gain, unsigned loss)
{
    if (unchanged)
        credit->left = (unsigned)min_size(credit->left + gain, CREDIT_MAX);
    else
        credit->left -= (unsigned)min_size(credit->left, loss);
    credit->spent = credit->left < (credit->spent ? credit->enough : 1);
}

void kept_note_locked(struct kept *kept, bool unchanged)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    note(&kept->hashing, unchanged, HASHED_UNCHANGED, 1);
}

void kept_note_protected_locked(struct kept *kept, bool unchanged)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    /* Those that leave now came in a turn of the queue ago: without credit only trials say what is now. */
    if (!unchanged || !kept->protecting.spent)
        note(&kept->protecting, unchanged, 1, PROTECTED_WRITTEN);
}

void kept_note_trial_locked(struct kept *kept)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    note(&kept->protecting, true, 1, PROTECTED_WRITTEN);
    kept->tried = 0;
}

uint32_t kept_add_locked(struct kept *kept, uint32_t handle, uint32_t n_units, struct kept_hash hash)
{
    uint32_t number = kept->free;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (number != 0)
        kept->free = kept->images[number].handle;
    else if (kept->n_carved < kept->capacity)
        number = ++kept->n_carved;
    else
        return 0;
    kept->images[number] = (struct kept_image){.handle = handle, .n_units = n_units};
    if (kept_is_hash(hash)) {
        kept->images[number].n_units |= KEPT_HASHED;
        kept->hashes[number] = hash;
        kept->n_hashed = number > kept->n_hashed ? number : kept->n_hashed;
    }
    kept->n_images++;
    return number;
}

struct kept_image *kept_at(const struct kept *kept, uint32_t number)
{
    INVARIANT(number > 0 && number <= kept->n_carved && kept->images[number].n_units > 0);
    return &kept->images[number];
}

struct kept_hash kept_hash_at(const struct kept *kept, uint32_t number)
{
    return (kept_at(kept, number)->n_units & KEPT_HASHED) != 0 ? kept->hashes[number] : KEPT_NO_HASH;
}

struct kept_image kept_take_locked(struct kept *kept, uint32_t number)
{
    struct kept_image image = *kept_at(kept, number);

    LOCK_ASSERT_HELD(LOCK_PAGER);
    image.n_units &= ~KEPT_HASHED;
    kept->images[number] = (struct kept_image){.handle = kept->free};
    kept->free = number;
    kept->n_images--;
    return image;
}

size_t kept_meta_bytes(const struct kept *kept)
{
    size_t image_bytes = kept->n_carved == 0 ? 0 : (kept->n_carved + 1) * sizeof(struct kept_image);
    size_t hash_bytes = kept->n_hashed == 0 ? 0 : (kept->n_hashed + 1) * sizeof(struct kept_hash);

    return round_up(image_bytes, PAGE_BYTES) + round_up(hash_bytes, PAGE_BYTES);
}
