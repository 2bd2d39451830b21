/* slab_records.c - see slab_records.h. */
#include "core/slab_records.h"

#include <errno.h>
#include <string.h>

/* Committed at once: system calls are few, and what is not touched takes no RAM. */
#define TABLE_STEP_PAGES ((size_t)(64 * MIB / PAGE_BYTES))
#define CHUNK_STEP 64u

/* A processor that writes a slot's byte takes the line away from the others: two slabs never share one. */
#define LINE_BYTES ((size_t)64)

struct slab_chunk {
    struct slab_chunk *next; /* of its class, while it has room */
    struct slab_chunk *prev;
    struct slab *free; /* records that were used before, by `next` */
    uint32_t n_used;
    uint32_t n_carved; /* records that were ever used */
};
_Static_assert(sizeof(struct slab_chunk) <= LINE_BYTES, "records begin with the second line");

static size_t record_bytes(unsigned class)
{
    return round_up(offsetof(struct slab, states) + slab_kinds[class].n_slots, LINE_BYTES);
}

static uint32_t records_of(unsigned class)
{
    return (uint32_t)((SLAB_CHUNK_BYTES - LINE_BYTES) / record_bytes(class));
}

/* ---- chunks ---- */

/* Records of one page of slots of 16 bytes are the largest. */
static size_t chunks_for(size_t n_pages)
{
    return n_pages / records_of(0) + SLAB_CLASSES + 1;
}

static int reserve_locked(struct slabs *slabs)
{
    size_t n_pages = slabs->heap->n_pages;
    size_t max_chunks = chunks_for(n_pages) * 2; /* those of caches, too */
    void *table;
    void *chunks;
    int error;

    LOCK_ASSERT_HELD(LOCK_RECORDS);
    if (slabs->table != NULL || slabs->failed)
        return slabs->failed ? -ENOMEM : 0;
    slabs->failed = true;
    error = bitset_init(&slabs->free_chunks, max_chunks);
    if (error == 0)
        error = os_mem_reserve(n_pages * sizeof slabs->table[0], &table);
    if (error != 0)
        return error;
    error = os_mem_reserve((max_chunks + 1) * SLAB_CHUNK_BYTES, &chunks);
    if (error != 0) {
        os_mem_unmap(table, n_pages * sizeof slabs->table[0]);
        return error;
    }
    slabs->chunks = (unsigned char *)round_up((uintptr_t)chunks, SLAB_CHUNK_BYTES);
    slabs->max_chunks = max_chunks;
    slabs->base = slabs->heap->pager->space.near_base;
    slabs->table = table;
    slabs->failed = false;
    return 0;
}

int slab_records_reach(struct slabs *slabs, page_number end)
{
    size_t from;
    size_t to;
    int error;

    if (end <= atomic_load(&slabs->n_known))
        return 0;
    os_lock_take(&slabs->records_lock);
    error = reserve_locked(slabs);
    from = slabs->n_known;
    to = min_size(round_up(end, TABLE_STEP_PAGES), round_up(slabs->heap->n_pages, PAGE_BYTES / sizeof slabs->table[0]));
    if (error == 0 && to > from)
        error = os_mem_commit(&slabs->table[from], (to - from) * sizeof slabs->table[0]);
    if (error == 0 && to > from)
        atomic_store_explicit(&slabs->n_known, to, memory_order_release);
    os_lock_release(&slabs->records_lock);
    return error;
}

static size_t new_number_locked(struct slabs *slabs)
{
    size_t number = slabs->n_chunks > 0 ? bitset_first(&slabs->free_chunks, 0) : BITSET_NONE;
    size_t n = slabs->committed_chunks;

    LOCK_ASSERT_HELD(LOCK_RECORDS);
    if (number != BITSET_NONE) {
        bitset_remove(&slabs->free_chunks, 0, number);
        return number;
    }
    if (slabs->n_chunks == n) {
        size_t to = min_size(n + CHUNK_STEP, slabs->max_chunks);

        if (to == n || bitset_commit(&slabs->free_chunks, n, to) != 0 ||
            os_mem_commit(slabs->chunks + n * SLAB_CHUNK_BYTES, (to - n) * SLAB_CHUNK_BYTES) != 0)
            return BITSET_NONE;
        slabs->committed_chunks = to;
    }
    return slabs->n_chunks++;
}

void *slab_chunk_new(struct slabs *slabs)
{
    size_t number = BITSET_NONE;

    os_lock_take(&slabs->records_lock);
    if (reserve_locked(slabs) == 0)
        number = new_number_locked(slabs);
    slabs->n_chunks_used += number != BITSET_NONE;
    os_lock_release(&slabs->records_lock);
    return number != BITSET_NONE ? slabs->chunks + number * SLAB_CHUNK_BYTES : NULL;
}

void slab_chunk_free(struct slabs *slabs, void *chunk)
{
    size_t number = (size_t)((unsigned char *)chunk - slabs->chunks) / SLAB_CHUNK_BYTES;

    if (os_mem_release(chunk, SLAB_CHUNK_BYTES) != 0)
        memset(chunk, 0, SLAB_CHUNK_BYTES);
    os_lock_take(&slabs->records_lock);
    bitset_add(&slabs->free_chunks, 0, number);
    slabs->n_chunks_used--;
    os_lock_release(&slabs->records_lock);
}

/* ---- records ---- */

static void link_chunk_locked(struct slab_class *of, struct slab_chunk *chunk)
{
    LOCK_ASSERT_HELD(LOCK_SLABS);
    chunk->prev = NULL;
    chunk->next = of->chunks;
    if (of->chunks != NULL)
        of->chunks->prev = chunk;
    of->chunks = chunk;
}

static void unlink_chunk_locked(struct slab_class *of, struct slab_chunk *chunk)
{
    LOCK_ASSERT_HELD(LOCK_SLABS);
    if (chunk->next != NULL)
        chunk->next->prev = chunk->prev;
    if (chunk->prev != NULL)
        chunk->prev->next = chunk->next;
    else
        of->chunks = chunk->next;
}

struct slab *slab_record_new_locked(struct slabs *slabs, unsigned class)
{
    struct slab_class *of = &slabs->classes[class];
    struct slab_chunk *chunk = of->chunks;
    struct slab *record;

    LOCK_ASSERT_HELD(LOCK_SLABS);
    if (chunk == NULL) {
        chunk = slab_chunk_new(slabs);
        if (chunk == NULL)
            return NULL;
        link_chunk_locked(of, chunk);
    }
    record = chunk->free;
    if (record != NULL)
        chunk->free = record->next;
    else
        record = (struct slab *)(void *)((unsigned char *)chunk + LINE_BYTES + chunk->n_carved++ * record_bytes(class));
    if (++chunk->n_used == records_of(class))
        unlink_chunk_locked(of, chunk);
    memset(record, 0, record_bytes(class));
    return record;
}

void slab_record_free_locked(struct slabs *slabs, struct slab *slab)
{
    struct slab_class *of = &slabs->classes[slab->class];
    struct slab_chunk *chunk = (struct slab_chunk *)((uintptr_t)slab & ~(uintptr_t)(SLAB_CHUNK_BYTES - 1));

    LOCK_ASSERT_HELD(LOCK_SLABS);
    if (chunk->n_used-- == records_of(slab->class))
        link_chunk_locked(of, chunk);
    slab->next = chunk->free;
    chunk->free = slab;
    if (chunk->n_used > 0 || (of->chunks == chunk && chunk->next == NULL))
        return; /* the only one stays, for the next slab */
    unlink_chunk_locked(of, chunk);
    slab_chunk_free(slabs, chunk);
}
