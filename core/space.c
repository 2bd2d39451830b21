/* space.c - see space.h. */
#include "core/space.h"

#include "platform/lock.h"

#include <errno.h>

#define CHUNK_SHIFT 21
_Static_assert(SPACE_CHUNK_BYTES == (size_t)1 << CHUNK_SHIFT, "chunks are of 2 MiB");
#define LEAF_CHUNKS ((size_t)1 << SPACE_LEAF_BITS)
#define LEAF_BYTES (LEAF_CHUNKS * sizeof(uint32_t))

void space_init_near(struct space *space, uintptr_t base, size_t n_pages)
{
    space->near_base = base;
    space->near_pages = n_pages;
    space->far_first = (page_number)n_pages;
}

int space_init_far(struct space *space)
{
    size_t first = round_up(space->near_pages, 2 * SPACE_CHUNK_PAGES);
    size_t max_chunks = first < PAGE_NONE ? (PAGE_NONE - first) / SPACE_CHUNK_PAGES : 0;
    int error = os_mem_reserve(round_up(max_size(max_chunks, 1) * sizeof *space->places, PAGE_BYTES), (void **)&space->places);

    if (error == 0)
        error = os_mem_commit(space->places, round_up(max_size(max_chunks, 1) * sizeof *space->places, PAGE_BYTES));
    if (error != 0)
        return error;
    space->far_first = (page_number)first;
    space->max_chunks = max_chunks;
    return 0;
}

/* ---- numbers ---- */

static uint32_t chunk_of(const struct space *space, uintptr_t addr)
{
    _Atomic uint32_t *leaf;

    if (addr >> SPACE_ADDRESS_BITS != 0)
        return 0;
    leaf = atomic_load_explicit(&space->leaves[addr >> (CHUNK_SHIFT + SPACE_LEAF_BITS)], memory_order_acquire);
    return leaf != NULL ? atomic_load_explicit(&leaf[addr >> CHUNK_SHIFT & (LEAF_CHUNKS - 1)], memory_order_acquire) : 0;
}

uintptr_t space_far_address(const struct space *space, page_number number)
{
    page_number in_far = number - space->far_first;

    return ((uintptr_t)space->places[in_far / SPACE_CHUNK_PAGES] << CHUNK_SHIFT) + in_far % SPACE_CHUNK_PAGES * PAGE_BYTES;
}

page_number space_far_number(const struct space *space, uintptr_t addr)
{
    uint32_t chunk = chunk_of(space, addr);

    if (chunk == 0)
        return PAGE_NONE;
    return (page_number)(space->far_first + (chunk - 1) * SPACE_CHUNK_PAGES + (addr >> PAGE_SHIFT & (SPACE_CHUNK_PAGES - 1)));
}

static uintptr_t end_of_chunk(uintptr_t addr)
{
    return (addr | (SPACE_CHUNK_BYTES - 1)) + 1;
}

/* The end of the memory around @addr, at the most @end, that goes one way: in the ghost range, in a chunk, or in none. */
static uintptr_t end_of_kind(const struct space *space, uintptr_t addr, uintptr_t end)
{
    uintptr_t near_end = space->near_base + space->near_pages * PAGE_BYTES;
    uintptr_t stop = end_of_chunk(addr);

    if (space_has_near(space, addr))
        return near_end < end ? near_end : end;
    /* Where there is no leaf, there is nothing for 16 GiB. */
    if (addr >> SPACE_ADDRESS_BITS != 0)
        return end;
    if (atomic_load_explicit(&space->leaves[addr >> (CHUNK_SHIFT + SPACE_LEAF_BITS)], memory_order_acquire) == NULL)
        stop = (addr | ((LEAF_CHUNKS << CHUNK_SHIFT) - 1)) + 1;
    if (addr < space->near_base && space->near_base < stop)
        stop = space->near_base;
    return stop < end ? stop : end;
}

bool space_run(const struct space *space, uintptr_t *at, uintptr_t end, page_number *first, size_t *n_pages)
{
    uintptr_t here = *at & ~(PAGE_BYTES - 1);
    page_number number = PAGE_NONE;
    uintptr_t stop;

    end = end <= *at ? here : end; /* the last page of the run before need not have been whole */
    for (; here < end; here = stop) {
        number = space_number(space, here);
        stop = end_of_kind(space, here, end);
        if (number != PAGE_NONE)
            break;
    }
    if (here >= end || number == PAGE_NONE) {
        *at = end;
        return false;
    }
    *first = number;
    *n_pages = (round_up(stop, PAGE_BYTES) - here) / PAGE_BYTES;
    while (stop < end && space_number(space, stop) == number + *n_pages) {
        uintptr_t next = end_of_kind(space, stop, end);

        *n_pages += (round_up(next, PAGE_BYTES) - stop) / PAGE_BYTES;
        stop = next;
    }
    *at = stop;
    return true;
}

/* ---- chunks come and go ---- */

static _Atomic uint32_t *leaf_for(struct space *space, uintptr_t addr)
{
    _Atomic(_Atomic uint32_t *) *slot = &space->leaves[addr >> (CHUNK_SHIFT + SPACE_LEAF_BITS)];
    void *memory;

    if (atomic_load(slot) == NULL) {
        if (os_mem_map(LEAF_BYTES, &memory) != 0)
            return NULL;
        atomic_store_explicit(slot, memory, memory_order_release);
        space->n_leaves++;
    }
    return atomic_load(slot);
}

/* A chunk's index + 1; 0: all numbers are in use. */
static uint32_t take_chunk(struct space *space, bool fresh)
{
    uint32_t chunk = space->free;

    if (space->n_chunks < space->max_chunks && (fresh || chunk == 0))
        return ++space->n_chunks;
    if (chunk != 0)
        space->free = space->places[chunk - 1] & ~SPACE_FREE;
    return chunk;
}

static bool place_chunk(struct space *space, uintptr_t addr, bool fresh)
{
    _Atomic uint32_t *leaf = addr >> SPACE_ADDRESS_BITS == 0 ? leaf_for(space, addr) : NULL;
    uint32_t chunk = leaf != NULL ? take_chunk(space, fresh) : 0;

    if (chunk == 0)
        return false;
    space->places[chunk - 1] = (uint32_t)(addr >> CHUNK_SHIFT);
    atomic_store_explicit(&leaf[addr >> CHUNK_SHIFT & (LEAF_CHUNKS - 1)], chunk, memory_order_release);
    space->n_live++;
    return true;
}

static void release_chunk(struct space *space, uintptr_t addr, uint32_t chunk)
{
    _Atomic uint32_t *leaf = atomic_load(&space->leaves[addr >> (CHUNK_SHIFT + SPACE_LEAF_BITS)]);

    atomic_store_explicit(&leaf[addr >> CHUNK_SHIFT & (LEAF_CHUNKS - 1)], 0, memory_order_release);
    space->places[chunk - 1] = SPACE_FREE | space->free;
    space->free = chunk;
    space->n_live--;
}

int space_place_locked(struct space *space, uintptr_t start, uintptr_t end)
{
    bool fresh = end - start > SPACE_CHUNK_BYTES; /* numbers one after the other are worth more to what is large */

    LOCK_ASSERT_HELD(LOCK_PAGER);
    for (uintptr_t at = start; at < end; at = end_of_chunk(at)) {
        if (chunk_of(space, at) != 0 || place_chunk(space, at, fresh))
            continue;
        space_release_locked(space, start, at);
        return -ENOMEM;
    }
    return 0;
}

static bool any_watched(struct space *space, uintptr_t start, uintptr_t end)
{
    uint64_t at = start;
    struct range part;

    while (rangeset_next(&space->areas, &at, end, &part))
        if ((part.value & AREA_WATCHED) != 0)
            return true;
    return false;
}

void space_release_locked(struct space *space, uintptr_t start, uintptr_t end)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    for (uintptr_t at = start & ~(SPACE_CHUNK_BYTES - 1); at < end; at += SPACE_CHUNK_BYTES) {
        uint32_t chunk = chunk_of(space, at);

        if (chunk != 0 && !any_watched(space, at, at + SPACE_CHUNK_BYTES))
            release_chunk(space, at, chunk);
    }
}

/* ---- what is ours ---- */

static bool is_counted(uint32_t value)
{
    return (value & AREA_WATCHED) != 0 && (value & AREA_KIND) != 0;
}

int space_note_locked(struct space *space, uintptr_t start, uintptr_t end, uint32_t value)
{
    size_t before[AREA_KINDS] = {0};
    uint64_t at = start;
    struct range part;
    int error;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    while (rangeset_next(&space->areas, &at, end, &part))
        if (is_counted(part.value))
            before[(part.value & AREA_KIND) / AREA_HEAP - 1] += (size_t)(part.end - part.first) >> PAGE_SHIFT;
    error = rangeset_set(&space->areas, start, end, value);
    if (error != 0)
        return error;
    for (size_t kind = 0; kind < AREA_KINDS; kind++)
        space->n_watched[kind] -= before[kind];
    if (is_counted(value))
        space->n_watched[(value & AREA_KIND) / AREA_HEAP - 1] += (end - start) >> PAGE_SHIFT;
    return 0;
}

bool space_is_watched_locked(struct space *space, page_number number)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    return space_is_near(space, number) || (rangeset_value(&space->areas, space_far_address(space, number)) & AREA_WATCHED) != 0;
}

page_number space_step_locked(struct space *space, page_number number, int32_t step)
{
    uintptr_t here = space_far_address(space, number);
    uintptr_t there = here + (uintptr_t)((intptr_t)step * (intptr_t)PAGE_BYTES);
    const struct range *area = rangeset_at(&space->areas, here);

    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (area == NULL || (area->value & AREA_WATCHED) == 0 || there < area->first || there >= area->end)
        return PAGE_NONE;
    /* Adjacent chunks may have numbers that are not. */
    return space_far_number(space, there) == (page_number)((int64_t)number + step) ? (page_number)((int64_t)number + step) : PAGE_NONE;
}

size_t space_meta_bytes(const struct space *space)
{
    return space->n_leaves * LEAF_BYTES + round_up(space->n_chunks * sizeof *space->places, PAGE_BYTES) +
           rangeset_meta_bytes(&space->areas);
}
