/*
 * memory_far.c - memory calls of the program outside of the ghost range, where that is managed too: GHOSTMEM_SCOPE=process.
 *
 * The kernel makes each call, and the tables follow, in one critical section against faults and eviction. What becomes executable
 * or locked leaves management before. See memory.h.
 */
#include "interpose/memory.h"

#include "interpose/ghost.h"
#include "interpose/pressure.h"
#include "interpose/survey.h"

#include "core/pager_far.h"
#include "platform/sys.h"

#include <errno.h>
#include <sys/mman.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
/* Source: include/uapi/asm-generic/mman-common.h */
#define ADVICE_POPULATE_READ 22
#define ADVICE_POPULATE_WRITE 23
#define ADVICE_DONTNEED_LOCKED 24
#define ADVICE_COLLAPSE 25
#define ADVICE_GUARD_INSTALL 102
#define ADVICE_GUARD_REMOVE 103

static struct pager *pager(void)
{
    return &ghost.pager;
}

bool memory_has_far(void)
{
    return pager()->survey_locked != NULL && pager_is_engaged(pager());
}

static uintptr_t end_of(uintptr_t start, size_t bytes)
{
    size_t whole = round_up(bytes, PAGE_BYTES);

    return whole < bytes || start + whole < start ? UINTPTR_MAX & ~(PAGE_BYTES - 1) : start + whole;
}

/* Where protections are ours, one mapping of the program's is many to the kernel. */
static bool shuts(void)
{
    return pager()->backend->by_protection;
}

static uint32_t access_of(int protection)
{
    return ((protection & PROT_READ) != 0 ? AREA_READ : 0) | ((protection & PROT_WRITE) != 0 ? AREA_WRITE : 0);
}

static bool is_any_watched(uintptr_t start, uintptr_t end)
{
    struct visit visit;
    bool any;

    pager_change_begin(pager(), &visit);
    any = pager_far_any_locked(pager(), start, end);
    pager_change_end(pager(), &visit);
    return any;
}

/* All of it comes to its place and is the kernel's, if any of it is ours. */
static void leave(uintptr_t start, uintptr_t end)
{
    if (!is_any_watched(start, end))
        return;
    os_lock_take(&ghost.heap.lock);
    pager_far_leave(pager(), start, end);
    os_lock_release(&ghost.heap.lock);
}

/* ---- mmap(2), munmap(2), brk(2) ---- */

static bool may_be_managed(const unsigned long *args)
{
    const int others = MAP_GROWSDOWN | MAP_HUGETLB | MAP_STACK | MAP_LOCKED;
    int flags = (int)args[3];

    return !pager_locks_future(pager()) && (flags & MAP_TYPE) == MAP_PRIVATE && (flags & MAP_ANONYMOUS) != 0 && (flags & others) == 0 && ((int)args[2] & PROT_EXEC) == 0 &&
           args[1] >= SURVEY_LEAST_BYTES;
}

long memory_far_map(const unsigned long *args)
{
    bool manages = may_be_managed(args);
    int flags = (int)args[3];
    bool replaces = (flags & MAP_FIXED) != 0 && (flags & MAP_FIXED_NOREPLACE) == 0;
    struct visit visit;
    uintptr_t end;
    long result;

    if (manages) /* they come in when they are touched */
        flags &= ~(MAP_POPULATE | MAP_NONBLOCK);
    pager_change_begin(pager(), &visit);
    if (replaces)
        pager_far_settle_relock(pager(), args[0], end_of(args[0], args[1]));
    result = sys_call6(SYS_mmap, (long)args[0], (long)args[1], (long)args[2], flags, (long)args[4], (long)args[5]);
    if (!sys_failed(result)) {
        end = end_of((uintptr_t)result, args[1]);
        pager_far_unlearn_locked(pager(), (uintptr_t)result, end);
        if (manages)
            (void)pager_far_learn_locked(pager(), (uintptr_t)result, end, AREA_MAPPING | access_of((int)args[2]), true);
    }
    pager_change_end(pager(), &visit);
    return result;
}

long memory_far_unmap(const unsigned long *args)
{
    uintptr_t end = end_of(args[0], args[1]);
    struct visit visit;
    long result;

    pager_change_begin(pager(), &visit);
    pager_far_settle_relock(pager(), args[0], end);
    result = sys_call2(SYS_munmap, args[0], args[1]);
    if (result == 0)
        pager_far_unlearn_locked(pager(), args[0], end);
    pager_change_end(pager(), &visit);
    return result;
}

long memory_far_break(const unsigned long *args)
{
    struct visit visit;
    uintptr_t before;
    uintptr_t after;
    long result;

    pager_change_begin(pager(), &visit);
    before = round_up((uintptr_t)sys_call1(SYS_brk, 0), PAGE_BYTES);
    if (args[0] != 0 && args[0] < before)
        pager_far_settle_relock(pager(), round_up(args[0], PAGE_BYTES), before);
    result = sys_call1(SYS_brk, args[0]);
    after = round_up((uintptr_t)result, PAGE_BYTES);
    if (after < before)
        pager_far_unlearn_locked(pager(), after, before);
    else if (after > before && !pager_locks_future(pager()))
        (void)pager_far_learn_locked(pager(), before, after, AREA_HEAP | AREA_READ | AREA_WRITE, true);
    pager_change_end(pager(), &visit);
    return result;
}

/* ---- mremap(2) ---- */

/* What the kernel did: the tables do it too. @value: of the area that the mapping is, or 0. */
static void follow_remap_locked(uintptr_t from, uintptr_t from_end, uintptr_t to, uintptr_t to_end, int flags, uint32_t value)
{
    size_t moved = min_size(from_end - from, to_end - to);

    if (to != from) {
        if (moved < from_end - from)
            pager_far_unlearn_locked(pager(), from + moved, from_end);
        pager_far_unlearn_locked(pager(), to, to_end);
        (void)pager_far_move_locked(pager(), to, from, moved);
        if ((flags & MREMAP_DONTUNMAP) != 0 && value != 0)
            (void)pager_far_learn_locked(pager(), from, from_end, value & ~AREA_WATCHED, true);
    } else if (to_end < from_end) {
        pager_far_unlearn_locked(pager(), to_end, from_end);
    }
    if (to + moved < to_end) {
        pager_far_unlearn_locked(pager(), to + moved, to_end);
        if (value != 0)
            (void)pager_far_learn_locked(pager(), to + moved, to_end, value & ~AREA_WATCHED, true);
    }
}

/*
 * The same by other calls, where the kernel would not take the many mappings for one. What the program asks for is in order, and all of
 * the old place is watched. The new memory is as private anonymous memory comes.
 */
static long carry_relock(const unsigned long *args)
{
    const int kind = MAP_PRIVATE | MAP_ANONYMOUS;
    size_t old_bytes = end_of(args[0], args[1]) - args[0];
    size_t new_bytes = end_of(args[0], args[2]) - args[0];
    uintptr_t from_end = args[0] + old_bytes;
    int flags = (int)args[3];
    uint32_t value = rangeset_value(&pager()->space.areas, from_end - PAGE_BYTES);
    int protection = pager_far_protection(value);
    size_t moved = min_size(old_bytes, new_bytes);
    long to = -ENOMEM;

    if ((flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) == 0 && new_bytes <= old_bytes) {
        if (new_bytes < old_bytes && sys_call2(SYS_munmap, args[0] + new_bytes, old_bytes - new_bytes) == 0)
            pager_far_unlearn_locked(pager(), args[0] + new_bytes, from_end);
        return (long)args[0];
    }
    if ((flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) == 0)
        to = sys_call6(SYS_mmap, (long)from_end, (long)(new_bytes - old_bytes), protection, kind | MAP_FIXED_NOREPLACE, -1, 0);
    if (to == (long)from_end) {
        (void)pager_far_learn_locked(pager(), from_end, from_end + (new_bytes - old_bytes), value & ~AREA_WATCHED, true);
        return (long)args[0];
    }
    if ((flags & MREMAP_MAYMOVE) == 0)
        return -ENOMEM;
    to = sys_call6(SYS_mmap, (flags & MREMAP_FIXED) != 0 ? (long)args[4] : 0, (long)new_bytes, PROT_READ | PROT_WRITE,
                   kind | ((flags & MREMAP_FIXED) != 0 ? MAP_FIXED : 0), -1, 0);
    if (sys_failed(to))
        return to;
    pager_far_unlearn_locked(pager(), (uintptr_t)to, (uintptr_t)to + new_bytes);
    pager_far_carry_locked(pager(), (uintptr_t)to, args[0], moved);
    if (moved < new_bytes) {
        (void)sys_call3(SYS_mprotect, (uintptr_t)to + moved, new_bytes - moved, protection);
        (void)pager_far_learn_locked(pager(), (uintptr_t)to + moved, (uintptr_t)to + new_bytes, value & ~AREA_WATCHED, true);
    }
    if ((flags & MREMAP_DONTUNMAP) == 0 && sys_call2(SYS_munmap, args[0], old_bytes) == 0)
        pager_far_unlearn_locked(pager(), args[0], from_end);
    return to;
}

/* Source: mremap(2), ERRORS. */
static bool is_in_order(const unsigned long *args)
{
    int flags = (int)args[3];
    bool may_move = (flags & MREMAP_MAYMOVE) != 0;
    bool fixed = (flags & MREMAP_FIXED) != 0;
    bool overlaps = fixed && args[4] < end_of(args[0], args[1]) && args[0] < end_of(args[4], args[2]);

    return args[0] % PAGE_BYTES == 0 && args[1] > 0 && args[2] > 0 && (flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)) == 0 &&
           (may_move || (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) == 0) && !(fixed && args[4] % PAGE_BYTES != 0) && !overlaps &&
           ((flags & MREMAP_DONTUNMAP) == 0 || args[1] == args[2]) && end_of(args[0], args[1]) < UINTPTR_MAX / 2 &&
           end_of(args[0], args[2]) < UINTPTR_MAX / 2;
}

long memory_far_remap(const unsigned long *args)
{
    uintptr_t from_end = end_of(args[0], args[1]);
    int flags = (int)args[3];
    struct visit visit;
    uint32_t value;
    long result;

    pager_change_begin(pager(), &visit);
    if (args[1] > 0)
        pager_far_settle_relock(pager(), args[0], from_end);
    if ((flags & MREMAP_FIXED) != 0)
        pager_far_settle_relock(pager(), args[4], end_of(args[4], args[2]));
    if (shuts() && is_in_order(args) && pager_far_whole_locked(pager(), args[0], from_end)) {
        result = carry_relock(args);
        pager_change_end(pager(), &visit);
        return result;
    }
    value = args[1] > 0 ? rangeset_value(&pager()->space.areas, from_end - PAGE_BYTES) : 0;
    result = sys_call5(SYS_mremap, args[0], args[1], args[2], flags, args[4]);
    if (!sys_failed(result) && args[1] > 0)
        follow_remap_locked(args[0], from_end, (uintptr_t)result, end_of((uintptr_t)result, args[2]), flags, value);
    else if (!sys_failed(result))
        pager_far_unlearn_locked(pager(), (uintptr_t)result, end_of((uintptr_t)result, args[2]));
    pager_change_end(pager(), &visit);
    return result;
}

/* ---- mprotect(2), pkey_mprotect(2) ---- */

long memory_far_protect(const unsigned long *args, bool by_key)
{
    uintptr_t end = end_of(args[0], args[1]);
    int protection = (int)args[2];
    bool followed = !by_key && (protection & ~(PROT_READ | PROT_WRITE)) == 0 && args[0] % PAGE_BYTES == 0 && args[1] > 0 && args[0] < end;
    struct visit visit;
    long result;

    if (!followed && protection != PROT_NONE)
        leave(args[0] & ~(PAGE_BYTES - 1), end);
    pager_change_begin(pager(), &visit);
    if (followed)
        result = pager_far_protect_locked(pager(), args[0], end, protection);
    else
        result = by_key ? sys_call4(SYS_pkey_mprotect, args[0], args[1], args[2], args[3])
                        : sys_call3(SYS_mprotect, args[0], args[1], args[2]);
    pager_change_end(pager(), &visit);
    return result;
}

void memory_far_leave(uintptr_t start, size_t bytes)
{
    if (memory_has_far())
        leave(start & ~(PAGE_BYTES - 1), end_of(start & ~(PAGE_BYTES - 1), bytes + start % PAGE_BYTES));
}

/* ---- madvise(2) ---- */

static long discard(const unsigned long *args, uintptr_t end)
{
    int advice = (int)args[2] == MADV_FREE ? MADV_DONTNEED : (int)args[2];
    struct visit visit;
    long result;

    pager_change_begin(pager(), &visit);
    pager_far_settle_relock(pager(), args[0], end);
    result = pager_far_shut_locked(pager(), args[0], end);
    if (result == 0)
        result = sys_call3(SYS_madvise, args[0], args[1], advice);
    if (result == 0)
        pager_far_forget_locked(pager(), args[0], end);
    pager_change_end(pager(), &visit);
    return result;
}

static long mark(const unsigned long *args, uintptr_t end, uint32_t set, uint32_t clear)
{
    struct visit visit;
    long result;

    pager_change_begin(pager(), &visit);
    result = sys_call3(SYS_madvise, args[0], args[1], args[2]);
    if (result == 0)
        pager_far_mark_locked(pager(), args[0], end, set, clear);
    pager_change_end(pager(), &visit);
    return result;
}

/* As for ghost memory: see memory_advise(). */
long memory_far_advise(const unsigned long *args)
{
    uintptr_t end = end_of(args[0], args[1]);
    bool watched = args[0] % PAGE_BYTES == 0 && args[1] > 0 && is_any_watched(args[0], end);

    if (!watched)
        return sys_call3(SYS_madvise, args[0], args[1], args[2]);
    switch ((int)args[2]) {
    case MADV_DONTNEED:
    case MADV_FREE:
    case ADVICE_DONTNEED_LOCKED:
        return discard(args, end);
    case MADV_DONTFORK:
        return mark(args, end, AREA_DONTFORK, 0);
    case MADV_DOFORK:
        return mark(args, end, 0, AREA_DONTFORK);
    case MADV_WIPEONFORK:
        return mark(args, end, AREA_WIPEONFORK, 0);
    case MADV_KEEPONFORK:
        return mark(args, end, 0, AREA_WIPEONFORK);
    case ADVICE_GUARD_INSTALL:
    case ADVICE_GUARD_REMOVE:
    case ADVICE_COLLAPSE:
        return -EINVAL;
    case MADV_MERGEABLE:
    case MADV_HUGEPAGE:
    case ADVICE_POPULATE_READ:
    case ADVICE_POPULATE_WRITE:
        return 0;
    default:
        return sys_call3(SYS_madvise, args[0], args[1], args[2]);
    }
}
