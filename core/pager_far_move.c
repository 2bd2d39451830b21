/* pager_far_move.c - mremap(2) where memory is managed in place. See pager_far.h. */
#include "core/pager_far.h"
#include "core/pager_fault.h"

#include "platform/thread.h"

#include <errno.h>
#include <sys/mman.h>

/* The entry of a page whose frame has gone along. What it was closed to is not known any more. */
static void follow_frame_locked(struct pager *pager, page_number to, page_number from)
{
    uint32_t kept = page_at(&pager->table, from)->value;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    reclaim_leave_locked(&pager->reclaim, from);
    page_set_state(&pager->table, from, PAGE_EMPTY);
    page_at(&pager->table, to)->value = kept;
    reclaim_enter_locked(&pager->reclaim, to);
}

/*
 * The kernel has moved it. With by_protection it was shut when its new place came to be watched: it is opened now, or when it is
 * touched.
 */
static void move_resident_locked(struct pager *pager, page_number to, page_number from)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    follow_frame_locked(pager, to, from);
    if (!pager->backend->by_protection)
        return;
    page_at(&pager->table, to)->flags |= PAGE_FLAG_SHUT;
    (void)reclaim_open_locked(&pager->reclaim, to);
}

static void move_entries_locked(struct pager *pager, page_number to, page_number from, size_t n_pages)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    for (page_number i = 0; i < n_pages;) {
        const struct page *page = page_at(&pager->table, (page_number)(from + i));

        if (page_state(page) == PAGE_EMPTY) {
            i = pagetable_next_busy(&pager->table, (page_number)(from + i + 1), (page_number)(from + n_pages)) - from;
        } else if (page_is_resident(page)) {
            move_resident_locked(pager, (page_number)(to + i), (page_number)(from + i));
            i++;
        } else {
            i += (page_number)pager_move_run_locked(pager, (page_number)(to + i), (page_number)(from + i), n_pages - i);
        }
    }
}

/*
 * The tables cannot have the new place: what is not in RAM is put there (@carries: and what is), and all of it is the kernel's, as the
 * program protects it.
 */
static void put_there_locked(struct pager *pager, uintptr_t to, uintptr_t from, size_t bytes, uint32_t value, bool carries)
{
    uintptr_t at = from;
    page_number first;
    size_t n;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    (void)os_mem_protect((void *)to, bytes, PROT_READ | PROT_WRITE);
    while (space_run(&pager->space, &at, from + bytes, &first, &n))
        for (page_number number = first; number < first + n; number++) {
            uintptr_t target = to + (space_address(&pager->space, number) - from);

            if (page_state(page_at(&pager->table, number)) != PAGE_EMPTY && !page_is_resident(page_at(&pager->table, number)))
                pager_thaw_into(pager, number, (unsigned char *)target);
            else if (carries && page_is_resident(page_at(&pager->table, number)))
                INVARIANT(reclaim_peek(&pager->reclaim, (void *)target, number, 1) == 0);
        }
    (void)os_mem_protect((void *)to, bytes, pager_far_protection(value));
}

/* Calls @act for runs that have numbers one after the other at both places. */
typedef void pair_act(struct pager *pager, page_number to, page_number from, size_t n_pages);

static void each_pair_locked(struct pager *pager, uintptr_t to, uintptr_t from, size_t bytes, pair_act *act)
{
    uintptr_t end = from + bytes;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    while (from < end) {
        uintptr_t source = from;
        uintptr_t target = to;
        page_number from_first;
        page_number to_first;
        size_t n_from;
        size_t n_to;

        if (!space_run(&pager->space, &source, end, &from_first, &n_from) ||
            !space_run(&pager->space, &target, to + (end - from), &to_first, &n_to))
            return;
        n_from = min_size(n_from, n_to);
        act(pager, to_first, from_first, n_from);
        from += n_from * PAGE_BYTES;
        to += n_from * PAGE_BYTES;
    }
}

int pager_far_move_locked(struct pager *pager, uintptr_t to, uintptr_t from, size_t bytes)
{
    uint64_t at = from;
    struct range part;
    int error = 0;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    while (rangeset_next(&pager->space.areas, &at, from + bytes, &part)) {
        uintptr_t target = to + (part.first - from);
        size_t part_bytes = (size_t)(part.end - part.first);
        bool watched = (part.value & AREA_WATCHED) != 0;
        int failed = watched ? pager_far_watch_locked(pager, target, target + part_bytes, part.value, true)
                             : space_note_locked(&pager->space, target, target + part_bytes, part.value);

        if (watched && failed == 0)
            each_pair_locked(pager, target, part.first, part_bytes, move_entries_locked);
        else if (watched)
            put_there_locked(pager, target, part.first, part_bytes, part.value, false);
        error = error != 0 ? error : failed;
    }
    pager_far_unlearn_locked(pager, from, from + bytes);
    return error;
}

/* ---- who touches what is on its way ---- */

void pager_far_note_move_locked(struct pager *pager, uintptr_t from, uintptr_t from_end, uintptr_t to, uintptr_t to_end)
{
    pager->moving[0] = (struct pager_moving){from, from_end};
    pager->moving[1] = (struct pager_moving){to, to_end};
    atomic_store(&pager->any_shut, true);
}

bool pager_far_may_touch(struct pager *pager, uintptr_t addr, bool write)
{
    bool may;

    if (!atomic_load_explicit(&pager->any_shut, memory_order_relaxed))
        return false;
    os_lock_take(&pager->reclaim.lock);
    may = (rangeset_value(&pager->space.areas, addr) & (write ? AREA_WRITE : AREA_READ | AREA_WRITE)) != 0;
    for (int i = 0; i < 2; i++)
        may = may || (addr >= pager->moving[i].start && addr < pager->moving[i].end);
    os_lock_release(&pager->reclaim.lock);
    return may;
}

/* ---- without mremap(2) ---- */

#define RETRY_MS 1
#define ATTEMPTS 10000

/* The frame goes along. What cannot be had at the moment is tried again: a page of the program's is at stake. */
static void carry_page_locked(struct pager *pager, page_number to, page_number from)
{
    struct fault_backend *backend = pager->backend;
    size_t n_done;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    (void)reclaim_open_locked(&pager->reclaim, from);
    for (int i = 0; backend->move(backend, space_address(&pager->space, to), space_address(&pager->space, from), 1, &n_done) != 0; i++) {
        INVARIANT(i < ATTEMPTS);
        os_sleep_ms(RETRY_MS);
    }
    follow_frame_locked(pager, to, from);
}

static void carry_entries_locked(struct pager *pager, page_number to, page_number from, size_t n_pages)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    for (page_number i = 0; i < n_pages; i++)
        if (page_is_resident(page_at(&pager->table, from + i)))
            carry_page_locked(pager, to + i, from + i);
    move_entries_locked(pager, to, from, n_pages);
}

void pager_far_carry_locked(struct pager *pager, uintptr_t to, uintptr_t from, size_t bytes)
{
    uint64_t at = from;
    struct range part;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    while (rangeset_next(&pager->space.areas, &at, from + bytes, &part)) {
        uintptr_t target = to + (part.first - from);
        size_t part_bytes = (size_t)(part.end - part.first);

        if (pager_far_watch_locked(pager, target, target + part_bytes, part.value, true) == 0)
            each_pair_locked(pager, target, part.first, part_bytes, carry_entries_locked);
        else
            put_there_locked(pager, target, part.first, part_bytes, part.value, true);
    }
}
