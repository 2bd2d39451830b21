/* slab.c - see slab.h. */
#include "core/slab_records.h"

#include "core/log.h"

#include <errno.h>
#include <string.h>

/* Slabs in the warm list that are found to be frozen, at one time: a long list of them is not walked at once. */
#define LOOKS 16

/* Slots that come back at one time, under the lock. */
#define GIVEN_AT_ONCE 32u

/* Empty slabs of a class that stay, before paging starts: so many, and a share of all. */
#define EMPTY_FEW 8
#define EMPTY_SHARE 8

#define KIND(bytes, pages) {UINT32_MAX / (bytes) + 1, (bytes), (pages) * PAGE_BYTES / (bytes), (pages)}

/* Of 1536 bytes a single page would have two, and 1024 bytes of nothing. */
const struct slab_kind slab_kinds[SLAB_CLASSES] = {
    KIND(16, 1),   KIND(32, 1),   KIND(48, 1),   KIND(64, 1),   KIND(80, 1),   KIND(96, 1),   KIND(112, 1),
    KIND(128, 1),  KIND(144, 1),  KIND(160, 1),  KIND(176, 1),  KIND(192, 1),  KIND(208, 1),  KIND(224, 1),
    KIND(240, 1),  KIND(256, 1),  KIND(320, 1),  KIND(384, 1),  KIND(448, 1),  KIND(512, 1),  KIND(640, 1),
    KIND(768, 1),  KIND(896, 1),  KIND(1024, 1), KIND(1280, 1), KIND(1536, 3), KIND(1792, 1), KIND(2048, 1),
};

static bool is_slab(const struct slabs *slabs, size_t number)
{
    return number < atomic_load(&slabs->n_known) && atomic_load(&slabs->table[number]) != NULL;
}

/* Where paging starts while a slab comes or goes, read-ahead may go one page too far, or not far enough. */
static bool joins_next(const void *arg, page_number last)
{
    return is_slab(arg, last) && is_slab(arg, (size_t)last + 1);
}

void slabs_init(struct slabs *slabs, struct heap *heap, void *(*take_pages)(size_t bytes, bool always), void (*give_pages)(void *p))
{
    slabs->heap = heap;
    slabs->take_pages = take_pages;
    slabs->give_pages = give_pages;
    heap->joins = joins_next;
    heap->joins_arg = slabs;
    slabs->records_lock.rank = LOCK_RECORDS;
    for (unsigned i = 0; i < SLAB_CLASSES; i++)
        slabs->classes[i].lock.rank = LOCK_SLABS;
}

unsigned slab_class_aligned(size_t bytes, size_t alignment)
{
    unsigned class = slab_class(max_size(bytes, alignment));

    while (slab_kinds[class].bytes % alignment != 0) /* the last one is a power of two */
        class++;
    return class;
}

static void *address_of(const struct slabs *slabs, const struct slab *slab)
{
    return (void *)space_near_address(&slabs->heap->pager->space, slab->first);
}

/* ---- lists ---- */

static void unlink_locked(struct slab_class *of, struct slab *slab)
{
    LOCK_ASSERT_HELD(LOCK_SLABS);
    if (slab->list == SLAB_FULL)
        return;
    if (slab->next != NULL)
        slab->next->prev = slab->prev;
    if (slab->prev != NULL)
        slab->prev->next = slab->next;
    else
        of->lists[slab->list] = slab->next;
    of->n_empty -= slab->list == SLAB_EMPTY;
    slab->list = SLAB_FULL;
}

static void put_locked(struct slab_class *of, struct slab *slab, enum slab_list list)
{
    LOCK_ASSERT_HELD(LOCK_SLABS);
    unlink_locked(of, slab);
    of->n_empty += list == SLAB_EMPTY;
    slab->list = (unsigned char)list;
    slab->prev = NULL;
    slab->next = of->lists[list];
    if (slab->next != NULL)
        slab->next->prev = slab;
    of->lists[list] = slab;
}

static bool is_near(const struct slabs *slabs, const struct slab *slab)
{
    return pager_is_near(slabs->heap->pager, slab->first);
}

/* A slab with a free slot, of a page that is in RAM if there is one; it is in the warm list, because it is about to be touched. */
static struct slab *choose_locked(struct slabs *slabs, struct slab_class *of)
{
    struct slab *slab;

    LOCK_ASSERT_HELD(LOCK_SLABS);
    for (int i = 0; i < LOOKS; i++) {
        slab = of->lists[SLAB_WARM];
        if (slab == NULL)
            break;
        if (is_near(slabs, slab))
            return slab;
        put_locked(of, slab, SLAB_COLD);
    }
    slab = of->lists[SLAB_WARM];
    if (slab == NULL)
        slab = of->lists[of->lists[SLAB_EMPTY] != NULL ? SLAB_EMPTY : SLAB_COLD];
    if (slab != NULL)
        put_locked(of, slab, SLAB_WARM);
    return slab;
}

/* ---- slots are taken ---- */

#define EACH_BYTE (UINT64_MAX / 255)

/* Eight slots at a time. */
static unsigned take_from_locked(struct slabs *slabs, struct slab_class *of, struct slab *slab, struct slab_row *row, unsigned n)
{
    const struct slab_kind *kind = &slab_kinds[slab->class];
    unsigned char *block = address_of(slabs, slab);
    unsigned n_taken = 0;

    LOCK_ASSERT_HELD(LOCK_SLABS);
    for (unsigned i = 0; i < kind->n_slots && n_taken < n && slab->n_free > 0; i += 8) {
        uint64_t eight;

        /* Records are of whole words. What is behind the last slot is skipped below. */
        eight = __atomic_load_n((uint64_t *)(void *)&slab->states[i], __ATOMIC_RELAXED);
        for (uint64_t free = ~eight & EACH_BYTE * SLOT_TAKEN; free != 0 && n_taken < n; free &= free - 1) {
            unsigned slot = i + (unsigned)__builtin_ctzll(free) / 8;

            if (slot >= kind->n_slots)
                break;
            slab_mark(&slab->states[slot], slab_look(&slab->states[slot]) | SLOT_TAKEN);
            row->slots[row->n + n_taken++] = (struct slab_slot){block + slot * kind->bytes, &slab->states[slot]};
            slab->n_free--;
        }
    }
    row->n += n_taken;
    of->n_taken += n_taken;
    if (slab->n_free == 0)
        unlink_locked(of, slab);
    return n_taken;
}

unsigned slab_take(struct slabs *slabs, unsigned class, struct slab_row *row, unsigned n)
{
    struct slab_class *of = &slabs->classes[class];
    unsigned n_taken = 0;

    os_lock_take(&of->lock);
    while (n_taken < n) {
        struct slab *slab = choose_locked(slabs, of);

        if (slab == NULL)
            break;
        n_taken += take_from_locked(slabs, of, slab, row, n - n_taken);
    }
    os_lock_release(&of->lock);
    return n_taken;
}

/* ---- slabs come and go ---- */

/* What ends at @last: is it the end, or do slabs go on? */
static void mark_end(struct slabs *slabs, page_number last)
{
    if (is_slab(slabs, last))
        pager_mark_last(slabs->heap->pager, last, !is_slab(slabs, (size_t)last + 1));
}

/* @value: the slab, or NULL: it is none any more. The heap marks its own blocks, so a slab that leaves is no concern here. */
static void enter_locked(struct slabs *slabs, const struct slab *slab, struct slab *value)
{
    size_t n_pages = slab_kinds[slab->class].n_pages;

    LOCK_ASSERT_HELD(LOCK_SLABS);
    for (size_t i = 0; i < n_pages; i++)
        atomic_store_explicit(&slabs->table[slab->first + i], value, memory_order_release);
    if (!pager_is_engaged(slabs->heap->pager))
        return;
    if (slab->first > 0)
        mark_end(slabs, slab->first - 1);
    mark_end(slabs, (page_number)(slab->first + n_pages - 1));
}

unsigned slab_grow(struct slabs *slabs, unsigned class, bool always, struct slab_row *row, unsigned n)
{
    struct slab_class *of = &slabs->classes[class];
    const struct slab_kind *kind = &slab_kinds[class];
    void *pages = slabs->take_pages(kind->n_pages * PAGE_BYTES, always);
    unsigned n_taken = 0;
    struct slab *slab;
    page_number first;

    if (pages == NULL)
        return 0;
    first = space_number(&slabs->heap->pager->space, (uintptr_t)pages);
    if (slab_records_reach(slabs, first + kind->n_pages) != 0) {
        slabs->give_pages(pages);
        return 0;
    }
    os_lock_take(&of->lock);
    slab = slab_record_new_locked(slabs, class);
    if (slab != NULL) {
        slab->first = first;
        slab->class = (unsigned char)class;
        slab->n_free = kind->n_slots;
        put_locked(of, slab, SLAB_WARM);
        enter_locked(slabs, slab, slab);
        of->n_slabs++;
        n_taken = take_from_locked(slabs, of, slab, row, n);
    }
    os_lock_release(&of->lock);
    if (slab == NULL)
        slabs->give_pages(pages);
    return n_taken;
}

/* The slab is empty: its pages, which are the caller's to give. NULL: it stays. */
static void *leave_locked(struct slabs *slabs, struct slab_class *of, struct slab *slab)
{
    void *pages = address_of(slabs, slab);

    LOCK_ASSERT_HELD(LOCK_SLABS);
    if (!pager_is_engaged(slabs->heap->pager) && of->n_empty < EMPTY_FEW + of->n_slabs / EMPTY_SHARE) {
        put_locked(of, slab, SLAB_EMPTY);
        return NULL;
    }
    unlink_locked(of, slab);
    enter_locked(slabs, slab, NULL);
    of->n_slabs--;
    slab_record_free_locked(slabs, slab);
    return pages;
}

/* The slot is free. Returns the pages of a slab that is nobody's any more, or NULL. */
static void *give_locked(struct slabs *slabs, struct slab_class *of, const struct slab_slot *slot)
{
    struct slab *slab = slab_at(slabs, slot->p);

    LOCK_ASSERT_HELD(LOCK_SLABS);
    INVARIANT(slab != NULL && (slab_look(slot->state) & SLOT_TAKEN) != 0); /* else two threads have freed it at once */
    slab_mark(slot->state, slab_look(slot->state) & SLOT_DIRTY);
    of->n_taken--;
    slab->n_free++;
    if (slab->n_free == slab_kinds[slab->class].n_slots)
        return leave_locked(slabs, of, slab);
    if (slab->list != SLAB_WARM && is_near(slabs, slab))
        put_locked(of, slab, SLAB_WARM);
    else if (slab->list == SLAB_FULL)
        put_locked(of, slab, SLAB_COLD);
    return NULL;
}

static void give_some(struct slabs *slabs, struct slab_class *of, struct slab_row *row, unsigned n)
{
    void *emptied[GIVEN_AT_ONCE];
    unsigned n_emptied = 0;

    os_lock_take(&of->lock);
    for (unsigned i = 0; i < n; i++) {
        void *pages = give_locked(slabs, of, &row->slots[i]);

        if (pages != NULL)
            emptied[n_emptied++] = pages;
    }
    /* Of those that stayed, before paging started, nobody has any use now. */
    while (of->n_empty > 0 && n_emptied < GIVEN_AT_ONCE && pager_is_engaged(slabs->heap->pager))
        emptied[n_emptied++] = leave_locked(slabs, of, of->lists[SLAB_EMPTY]);
    row->n -= n;
    memmove(row->slots, row->slots + n, row->n * sizeof row->slots[0]);
    os_lock_release(&of->lock);
    for (unsigned i = 0; i < n_emptied; i++)
        slabs->give_pages(emptied[i]);
}

void slab_give(struct slabs *slabs, unsigned class, struct slab_row *row, unsigned n)
{
    while (n > 0) {
        unsigned n_now = n < GIVEN_AT_ONCE ? n : GIVEN_AT_ONCE;

        give_some(slabs, &slabs->classes[class], row, n_now);
        n -= n_now;
    }
}

/* ---- others ---- */

void slab_say_pointer(const struct slabs *slabs, struct slab *slab, const void *p, const char *caller)
{
    const struct slab_kind *kind = &slab_kinds[slab->class];
    uintptr_t start = (uintptr_t)address_of(slabs, slab);
    size_t slot = ((uintptr_t)p - start) / kind->bytes;
    void *block = (void *)(start + slot * kind->bytes);
    unsigned state = slot < kind->n_slots ? slab_look(&slab->states[slot]) : 0;

    if ((state & SLOT_LIVE) != 0)
        log_line(LOG_ERROR, "%s(%p): invalid pointer: %z bytes inside the block %p of %z bytes", caller, p,
                 (size_t)((uintptr_t)p - (uintptr_t)block), block, (size_t)kind->bytes);
    else if ((state & SLOT_DIRTY) != 0)
        log_line(LOG_ERROR, "%s(%p): double free: the block at this address was freed before", caller, p);
    else
        log_line(LOG_ERROR, "%s(%p): double free or invalid pointer: no block at this address", caller, p);
}

/* The locks have one rank: see os_lock_take_row(). */
void slabs_fork_prepare(struct slabs *slabs)
{
    os_lock_take(&slabs->classes[0].lock);
    for (unsigned i = 1; i < SLAB_CLASSES; i++)
        os_lock_take_more(&slabs->classes[i].lock);
    os_lock_take(&slabs->records_lock);
}

void slabs_fork_done(struct slabs *slabs)
{
    os_lock_release(&slabs->records_lock);
    for (unsigned i = SLAB_CLASSES; --i > 0;)
        os_lock_release_more(&slabs->classes[i].lock);
    os_lock_release(&slabs->classes[0].lock);
}

size_t slabs_meta_bytes(const struct slabs *slabs)
{
    return slabs->n_chunks_used * SLAB_CHUNK_BYTES + slabs_count(slabs).n_pages * sizeof slabs->table[0] +
           slabs->free_chunks.n_touched * PAGE_BYTES;
}

struct slab_counts slabs_count(const struct slabs *slabs)
{
    struct slab_counts counts = {.n_slabs = 0};

    for (unsigned i = 0; i < SLAB_CLASSES; i++) {
        size_t n_slabs = __atomic_load_n(&slabs->classes[i].n_slabs, __ATOMIC_RELAXED);

        counts.n_slabs += n_slabs;
        counts.n_pages += n_slabs * slab_kinds[i].n_pages;
        counts.n_empty_pages += __atomic_load_n(&slabs->classes[i].n_empty, __ATOMIC_RELAXED) * slab_kinds[i].n_pages;
        counts.n_taken += __atomic_load_n(&slabs->classes[i].n_taken, __ATOMIC_RELAXED);
    }
    return counts;
}
