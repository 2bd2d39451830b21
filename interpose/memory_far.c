/*
 * memory_far.c - memory calls of the program outside of the ghost range, where that is managed too: GHOSTMEM_SCOPE=process.
 *
 * The kernel makes each call, and the tables follow, in one critical section against faults and eviction. What becomes executable
 * or locked leaves management before. See memory.h.
 */
#include "interpose/memory.h"

#include "interpose/ghost.h"
#include "interpose/memory_remap.h"
#include "interpose/pressure.h"
#include "interpose/survey.h"

#include "core/pager_far.h"
#include "platform/maps.h"
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
    return ((protection & PROT_READ) != 0 ? AREA_READ : 0) | ((protection & PROT_WRITE) != 0 ? AREA_WRITE : 0) |
           ((protection & PROT_EXEC) != 0 ? AREA_EXEC : 0);
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

/* All of it comes to its place and is the kernel's, if any of it is ours. @why: see pager_far_leave(). */
static void leave(uintptr_t start, uintptr_t end, uint32_t why)
{
    start &= ~(PAGE_BYTES - 1);
    end = round_up(end, PAGE_BYTES);
    if (!is_any_watched(start, end))
        return;
    os_lock_take(&ghost.heap.lock);
    pager_far_leave(pager(), start, end, why);
    os_lock_release(&ghost.heap.lock);
}

/* ---- calls that end at a hole ---- */

static char maps_buffer[OS_MAPS_BUFFER_BYTES]; /* under pager.lock */

static bool go_on(void *arg, const struct os_mapping *mapping)
{
    uintptr_t *at = arg;

    if (mapping->end <= *at)
        return true;
    if (mapping->start > *at)
        return false;
    *at = mapping->end;
    return true;
}

/* The end of what is mapped without a hole from @start on, at the most @end; @end, if that cannot be seen. */
static uintptr_t end_of_mapped_locked(uintptr_t start, uintptr_t end)
{
    uintptr_t at = start;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    return os_maps_each(maps_buffer, go_on, &at) != 0 || at > end ? end : at;
}

static uintptr_t end_of_mapped(uintptr_t start, uintptr_t end)
{
    struct visit visit;

    pager_change_begin(pager(), &visit);
    if (pager_far_any_locked(pager(), start, end))
        end = end_of_mapped_locked(start, end);
    pager_change_end(pager(), &visit);
    return end;
}

/* ---- mmap(2), munmap(2), brk(2) ---- */

static bool may_be_managed(const unsigned long *args)
{
    const int others = MAP_GROWSDOWN | MAP_HUGETLB | MAP_STACK | MAP_LOCKED;
    int flags = (int)args[3];

    return !pager_locks_future(pager()) && (flags & MAP_TYPE) == MAP_PRIVATE && (flags & MAP_ANONYMOUS) != 0 && (flags & others) == 0 &&
           ((int)args[2] & PROT_EXEC) == 0 && args[1] > 0;
}

long memory_far_map(const unsigned long *args)
{
    bool manages = may_be_managed(args);
    uint32_t value = AREA_MAPPING | access_of((int)args[2]);
    int flags = (int)args[3];
    bool replaces = (flags & MAP_FIXED) != 0 && (flags & MAP_FIXED_NOREPLACE) == 0;
    struct visit visit;
    uintptr_t end;
    long result;

    if (manages) /* they come in when they are touched */
        flags &= ~(MAP_POPULATE | MAP_NONBLOCK);
    pager_change_begin(pager(), &visit);
    if (replaces)
        (void)pager_far_settle_relock(pager(), args[0], end_of(args[0], args[1]));
    result = sys_call6(SYS_mmap, (long)args[0], (long)args[1], (long)args[2], flags, (long)args[4], (long)args[5]);
    if (!sys_failed(result)) {
        end = end_of((uintptr_t)result, args[1]);
        pager_far_unlearn_locked(pager(), (uintptr_t)result, end);
        /* Also the smallest: a runtime may have its heap in thousands of them. */
        if (manages && pager_far_learn_locked(pager(), (uintptr_t)result, end, value, true) != 0 &&
            ((int)args[3] & MAP_POPULATE) != 0 && (value & AREA_PROTECTION) != 0)
            (void)sys_call3(SYS_madvise, result, end - (uintptr_t)result,
                            (value & AREA_WRITE) != 0 ? ADVICE_POPULATE_WRITE : ADVICE_POPULATE_READ);
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
    (void)pager_far_settle_relock(pager(), args[0], end);
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
        (void)pager_far_settle_relock(pager(), round_up(args[0], PAGE_BYTES), before);
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

/* More of a mapping: where that is watched the kernel watches it, accessible or not. */
static void learn_more_locked(uintptr_t start, uintptr_t end, uint32_t value)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    if ((value & AREA_WATCHED) == 0)
        (void)pager_far_learn_locked(pager(), start, end, value, true);
    else if (pager_far_watch_locked(pager(), start, end, value, true) != 0 && !shuts())
        (void)pager()->backend->watch(pager()->backend, start, (end - start) / PAGE_BYTES, false);
}

void memory_far_follow_remap_locked(uintptr_t from, uintptr_t from_end, uintptr_t to, uintptr_t to_end, int flags, uint32_t value)
{
    size_t moved = min_size(from_end - from, to_end - to);

    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (to != from) {
        if (moved < from_end - from)
            pager_far_unlearn_locked(pager(), from + moved, from_end);
        pager_far_unlearn_locked(pager(), to, to_end);
        (void)pager_far_move_locked(pager(), to, from, moved);
        if ((flags & MREMAP_DONTUNMAP) != 0 && value != 0)
            learn_more_locked(from, from_end, value & ~AREA_LOCKED);
    } else if (to_end < from_end) {
        pager_far_unlearn_locked(pager(), to_end, from_end);
    }
    if (to + moved < to_end) {
        pager_far_unlearn_locked(pager(), to + moved, to_end);
        if (value != 0)
            learn_more_locked(to + moved, to_end, value);
    }
}

/* What the program has said of memory of @value, for the kernel, to which the memory is new. */
static void mark_new(uintptr_t start, size_t bytes, uint32_t value)
{
    static const struct {
        uint32_t mark;
        int advice;
    } marks[] = {{AREA_DONTFORK, MADV_DONTFORK}, {AREA_WIPEONFORK, MADV_WIPEONFORK}, {AREA_RANDOM, MADV_RANDOM},
                 {AREA_SEQUENTIAL, MADV_SEQUENTIAL}, {AREA_DONTDUMP, MADV_DONTDUMP}, {AREA_NOHUGEPAGE, MADV_NOHUGEPAGE}};

    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        if ((value & marks[i].mark) != 0)
            (void)sys_call3(SYS_madvise, start, bytes, marks[i].advice);
}

/*
 * The same by other calls, where the kernel would not take the many mappings for one. What the program asks for is in order, and the old
 * place is in one area that is watched. The new memory is as private anonymous memory comes, with the marks of the old.
 */
static long carry_relock(const unsigned long *args)
{
    const int kind = MAP_PRIVATE | MAP_ANONYMOUS;
    size_t old_bytes = end_of(args[0], args[1]) - args[0];
    size_t new_bytes = end_of(args[0], args[2]) - args[0];
    uintptr_t from_end = args[0] + old_bytes;
    int flags = (int)args[3];
    uint32_t value = rangeset_value(&pager()->space.areas, args[0]);
    int protection = pager_far_protection(value);
    size_t moved = min_size(old_bytes, new_bytes);
    long to = -ENOMEM;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    if ((flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) == 0 && new_bytes <= old_bytes) {
        if (new_bytes < old_bytes && sys_call2(SYS_munmap, args[0] + new_bytes, old_bytes - new_bytes) == 0)
            pager_far_unlearn_locked(pager(), args[0] + new_bytes, from_end);
        return (long)args[0];
    }
    if ((flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) == 0)
        to = sys_call6(SYS_mmap, (long)from_end, (long)(new_bytes - old_bytes), protection, kind | MAP_FIXED_NOREPLACE, -1, 0);
    if (to == (long)from_end) {
        mark_new(from_end, new_bytes - old_bytes, value);
        learn_more_locked(from_end, from_end + (new_bytes - old_bytes), value);
        return (long)args[0];
    }
    if ((flags & MREMAP_MAYMOVE) == 0)
        return -ENOMEM;
    to = sys_call6(SYS_mmap, (flags & MREMAP_FIXED) != 0 ? (long)args[4] : 0, (long)new_bytes, PROT_READ | PROT_WRITE,
                   kind | ((flags & MREMAP_FIXED) != 0 ? MAP_FIXED : 0), -1, 0);
    if (sys_failed(to))
        return to;
    mark_new((uintptr_t)to, new_bytes, value);
    pager_far_unlearn_locked(pager(), (uintptr_t)to, (uintptr_t)to + new_bytes);
    pager_far_carry_locked(pager(), (uintptr_t)to, args[0], moved);
    if (moved < new_bytes) {
        (void)sys_call3(SYS_mprotect, (uintptr_t)to + moved, new_bytes - moved, protection);
        learn_more_locked((uintptr_t)to + moved, (uintptr_t)to + new_bytes, value);
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
    bool names_place = (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) != 0;
    bool overlaps = fixed && args[4] < end_of(args[0], args[1]) && args[0] < end_of(args[4], args[2]);

    return args[0] % PAGE_BYTES == 0 && args[1] > 0 && args[2] > 0 && (flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)) == 0 &&
           (may_move || !names_place) && !(names_place && args[4] % PAGE_BYTES != 0) && !overlaps &&
           ((flags & MREMAP_DONTUNMAP) == 0 || end_of(args[0], args[1]) == end_of(args[0], args[2])) &&
           end_of(args[0], args[1]) < UINTPTR_MAX / 2 && end_of(args[0], args[2]) < UINTPTR_MAX / 2;
}

/* Where what is carried along ends. */
static uintptr_t end_of_moved(const unsigned long *args)
{
    uintptr_t from_end = end_of(args[0], args[1]);
    uintptr_t kept_end = end_of(args[0], args[2]);

    return ((int)args[3] & MREMAP_FIXED) != 0 && kept_end < from_end ? kept_end : from_end;
}

long memory_far_remap_locked(const unsigned long *args)
{
    uintptr_t from_end = end_of(args[0], args[1]);
    uint32_t value = args[1] > 0 ? rangeset_value(&pager()->space.areas, from_end - PAGE_BYTES) : 0;
    bool moves = is_in_order(args) && ((int)args[3] & MREMAP_MAYMOVE) != 0;
    long result;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (moves && !shuts() && pager_far_any_locked(pager(), args[0], end_of_moved(args)))
        return memory_remap_one_locked(args);
    result = sys_call5(SYS_mremap, args[0], args[1], args[2], args[3], args[4]);
    if (!sys_failed(result) && args[1] > 0)
        memory_far_follow_remap_locked(args[0], from_end, (uintptr_t)result, end_of((uintptr_t)result, args[2]), (int)args[3], value);
    else if (!sys_failed(result))
        pager_far_unlearn_locked(pager(), (uintptr_t)result, end_of((uintptr_t)result, args[2]));
    return result;
}

/*
 * Linux 6.17 and later move several mappings by one call, with the gaps between them, and leave what is at the gaps' new places. They do
 * not where one of them is watched. So here they move one by one, and where protections are ours, as the areas are.
 */
struct moves {
    const unsigned long *args;
    uintptr_t end;
    uintptr_t moved_to; /* the end of the mappings that have been moved; 0: none */
    long result;
};

/* The end of the area at @start, or of what lies in front of the next one, at the most @end. */
static uintptr_t end_of_area_locked(uintptr_t start, uintptr_t end)
{
    const struct range *area = rangeset_from(&pager()->space.areas, start);
    uintptr_t stop = area == NULL ? end : area->first > start ? area->first : area->end;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    return stop < end ? stop : end;
}

static bool move_mapping(void *arg, const struct os_mapping *mapping)
{
    struct moves *moves = arg;
    uintptr_t from = moves->args[0];
    uintptr_t start = mapping->start > from ? mapping->start : from;
    uintptr_t end = mapping->end < moves->end ? mapping->end : moves->end;
    long result = 0;

    if (mapping->end <= from)
        return true;
    if (mapping->start >= moves->end)
        return false;
    if (moves->moved_to == 0 && start > from) /* Source: mm/mremap.c, remap_move(): no gap at the start */
        return false;
    for (uintptr_t stop; start < end && !sys_failed(result); start = stop) {
        stop = end_of_area_locked(start, end);
        result = memory_far_remap_locked((unsigned long[]){start, stop - start, stop - start, moves->args[3],
                                                           moves->args[4] + (start - from)});
    }
    moves->moved_to = end;
    moves->result = sys_failed(result) ? result : (long)moves->args[4];
    return !sys_failed(result);
}

/* If there are. */
static bool moves_several(const unsigned long *args)
{
    const int needed = MREMAP_MAYMOVE | MREMAP_FIXED;
    uintptr_t from = args[0];
    uintptr_t to = args[4];
    size_t bytes = end_of(from, args[1]) - from;

    if (((int)args[3] & needed) != needed || args[1] == 0 || end_of(from, args[2]) != from + bytes || from % PAGE_BYTES != 0 ||
        to % PAGE_BYTES != 0)
        return false;
    return from + bytes >= from && to + bytes >= to && (from >= to + bytes || to >= from + bytes);
}

/* Two mappings of ours, which are not watched. */
static bool kernel_moves_several(void)
{
    static _Atomic int known; /* 1: it does not; 2: it does */
    void *memory;
    long result;

    if (known != 0 || os_mem_reserve(4 * PAGE_BYTES, &memory) != 0)
        return known == 2;
    (void)os_mem_protect(memory, PAGE_BYTES, PROT_READ);
    result = sys_call5(SYS_mremap, memory, 2 * PAGE_BYTES, 2 * PAGE_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED,
        (uintptr_t)memory + 2 * PAGE_BYTES);
    known = sys_failed(result) ? 1 : 2;
    os_mem_unmap(memory, 4 * PAGE_BYTES);
    return known == 2;
}

static long move_several_locked(const unsigned long *args)
{
    struct moves moves = {.args = args, .end = end_of(args[0], args[1]), .result = -EFAULT};
    int error = os_maps_each(maps_buffer, move_mapping, &moves);

    LOCK_ASSERT_HELD(LOCK_PAGER);
    return error != 0 && moves.moved_to == 0 ? memory_far_remap_locked(args) : moves.result;
}

/* Is not all of [@start, @end) in one area? */
static bool is_in_parts_locked(uintptr_t start, uintptr_t end)
{
    const struct range *area = rangeset_at(&pager()->space.areas, start);

    LOCK_ASSERT_HELD(LOCK_PAGER);
    return area == NULL || area->end < end;
}

/* Do parts of [@start, @end) that adjoin differ in what the kernel has one mapping for? */
static bool differs_locked(uintptr_t start, uintptr_t end)
{
    struct range before = {.end = UINT64_MAX};
    struct range part;
    uint64_t at = start;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    while (rangeset_next(&pager()->space.areas, &at, end, &part)) {
        if (part.first == before.end && ((part.value ^ before.value) & ~(AREA_KIND | AREA_WATCHED)) != 0)
            return true;
        before = part;
    }
    return false;
}

static bool differs(uintptr_t start, uintptr_t end)
{
    struct visit visit;
    bool result;

    pager_change_begin(pager(), &visit);
    result = differs_locked(start, end);
    pager_change_end(pager(), &visit);
    return result;
}

/* Is it watched in parts? To the kernel that is several mappings then, where it may be one to the program. */
static bool is_watched_in_parts(uintptr_t start, uintptr_t end)
{
    struct visit visit;
    bool in_parts;

    pager_change_begin(pager(), &visit);
    in_parts = is_in_parts_locked(start, end) && pager_far_any_locked(pager(), start, end);
    pager_change_end(pager(), &visit);
    return in_parts;
}

static void settle_relock(const unsigned long *args)
{
    uintptr_t from_end = end_of(args[0], args[1]);

    do {
        (void)pager_far_settle_relock(pager(), args[0], from_end);
    } while (((int)args[3] & MREMAP_FIXED) != 0 && pager_far_settle_relock(pager(), args[4], end_of(args[4], args[2])));
}

static long remap_shut(const unsigned long *args)
{
    uintptr_t from_end = end_of(args[0], args[1]);
    uintptr_t moved_end = end_of_moved(args);
    struct visit visit;
    long result = -EFAULT;

    pager_change_begin(pager(), &visit);
    settle_relock(args);
    if (is_in_order(args) && !is_in_parts_locked(args[0], moved_end) && pager_far_any_locked(pager(), args[0], moved_end))
        result = carry_relock(args);
    else if (!is_in_parts_locked(args[0], from_end))
        result = memory_far_remap_locked(args);
    /* One area may be several mappings too: the first is watched then, and nothing has been moved. */
    if (result == -EFAULT && moves_several(args) && kernel_moves_several())
        result = move_several_locked(args);
    else if (result == -EFAULT && is_in_parts_locked(args[0], from_end))
        result = memory_far_remap_locked(args);
    pager_change_end(pager(), &visit);
    return result;
}

/* Where protections are ours. */
static long remap_shutting(const unsigned long *args)
{
    uintptr_t end = end_of(args[0], args[1]);
    uintptr_t moved_end = end_of_moved(args);
    int placing = (int)args[3] & (MREMAP_FIXED | MREMAP_DONTUNMAP);
    bool in_parts = args[1] > 0 && args[0] % PAGE_BYTES == 0 && is_watched_in_parts(args[0], moved_end);
    bool several = in_parts && moves_several(args) && kernel_moves_several();
    /* What is shut is one mapping to the kernel, whatever it is to the program. */
    bool seems_one = in_parts && !several && is_in_order(args) && (placing != 0 || end_of(args[0], args[2]) > end);
    long result;

    if (seems_one && (differs(args[0], moved_end) || end_of_mapped(args[0], moved_end) < moved_end))
        return -EFAULT;
    /* That might move the first mapping and fail at the next. */
    if (seems_one || (in_parts && placing == MREMAP_DONTUNMAP))
        leave(args[0], end, 0);
    result = remap_shut(args);
    if (result != -EFAULT || !in_parts || several || !is_any_watched(args[0], end))
        return result;
    leave(args[0], end, 0);
    return remap_shut(args);
}

/*
 * Several mappings are not for the kernel: where one is watched it might move the first one and fail at the next, and what it leaves at the
 * gaps' new places is not seen.
 */
static long move_watched_locked(const unsigned long *args)
{
    uintptr_t from_end = end_of(args[0], args[1]);
    uintptr_t end = end_of_moved(args);
    bool several = moves_several(args) && kernel_moves_several();
    bool in_parts = is_in_parts_locked(args[0], end) && (several || pager_far_any_locked(pager(), args[0], end));
    long result = in_parts ? -EFAULT : memory_far_remap_locked(args);

    if (result != -EFAULT)
        return result;
    if (several)
        return move_several_locked(args);
    if (end < from_end && sys_call2(SYS_munmap, end, from_end - end) == 0) /* Source: mm/mremap.c, mremap_to(): that comes first */
        pager_far_unlearn_locked(pager(), end, from_end);
    return memory_remap_pieces_locked((unsigned long[]){args[0], end - args[0], args[2], args[3], args[4]});
}

static long remap_watched(const unsigned long *args)
{
    bool shrinks = ((int)args[3] & (MREMAP_FIXED | MREMAP_DONTUNMAP)) == 0 && end_of(args[0], args[2]) <= end_of(args[0], args[1]);
    struct visit visit;
    long result;

    pager_change_begin(pager(), &visit);
    settle_relock(args);
    result = is_in_order(args) && !shrinks ? move_watched_locked(args) : memory_far_remap_locked(args);
    pager_change_end(pager(), &visit);
    return result;
}

long memory_far_remap(const unsigned long *args)
{
    return shuts() ? remap_shutting(args) : remap_watched(args);
}

/* ---- mprotect(2), pkey_mprotect(2) ---- */

struct noted {
    uintptr_t start;
    uintptr_t end;
};

static bool note_mapping(void *arg, const struct os_mapping *mapping)
{
    const struct noted *noted = arg;
    uintptr_t start = mapping->start > noted->start ? mapping->start : noted->start;
    uintptr_t end = mapping->end < noted->end ? mapping->end : noted->end;

    if (start < end)
        pager_far_note_protection_locked(pager(), start, end, access_of(mapping->protection));
    return mapping->end < noted->end;
}

static void note_left_locked(uintptr_t start, uintptr_t end, int protection, bool has_key)
{
    pager_far_note_protected_locked(pager(), start, end, protection, !has_key && (protection & PROT_EXEC) != 0);
}

/* The call has failed, and may have come some way: that is known from what is mapped. */
static void note_failed_locked(uintptr_t start, uintptr_t end, int protection, bool has_key)
{
    struct noted noted = {start, end};

    if (!shuts() && !has_key)
        (void)os_maps_each(maps_buffer, note_mapping, &noted);
    else if ((end = end_of_mapped_locked(start, end)) > start)
        note_left_locked(start, end, protection, has_key);
}

/* What the tables do not do to watched memory: it becomes executable, or has a key. */
static long protect_left_locked(const unsigned long *args, uintptr_t end, bool has_key)
{
    long result = has_key ? sys_call4(SYS_pkey_mprotect, args[0], args[1], args[2], args[3])
                          : sys_call3(SYS_mprotect, args[0], args[1], args[2]);

    if (result == 0 && args[0] < end)
        note_left_locked(args[0], end, (int)args[2], has_key);
    return result;
}

long memory_far_protect(const unsigned long *args, bool by_key)
{
    uintptr_t end = end_of(args[0], args[1]);
    int protection = (int)args[2];
    bool has_key = by_key && (int)args[3] != -1; /* Source: pkeys(7): with -1 it is mprotect(2) */
    bool in_order = args[0] % PAGE_BYTES == 0 && args[1] > 0 && args[0] < end;
    bool followed = in_order && !has_key && (protection & ~(PROT_READ | PROT_WRITE)) == 0;
    struct visit visit;
    long result;

    if (!followed && in_order)
        leave(args[0], end_of_mapped(args[0], end), has_key ? 0 : AREA_EXEC);
    pager_change_begin(pager(), &visit);
    result = followed ? pager_far_protect_locked(pager(), args[0], end, protection) : protect_left_locked(args, end, has_key);
    if (followed && shuts() && result == -ENOMEM && (end = end_of_mapped_locked(args[0], end)) > args[0])
        (void)pager_far_protect_locked(pager(), args[0], end, protection);
    else if (in_order && result != 0 && result != -EINVAL && (!followed || !shuts()))
        note_failed_locked(args[0], end, protection, has_key);
    pager_change_end(pager(), &visit);
    return result;
}

void memory_far_leave(uintptr_t start, size_t bytes)
{
    if (memory_has_far())
        leave(start & ~(PAGE_BYTES - 1), end_of(start & ~(PAGE_BYTES - 1), bytes + start % PAGE_BYTES), 0);
}

/* ---- mlock(2), munlock(2) ---- */

void memory_far_lock(uintptr_t start, size_t bytes)
{
    uintptr_t first = start & ~(PAGE_BYTES - 1);
    uintptr_t end = end_of(first, bytes + start % PAGE_BYTES);
    struct visit visit;

    if (!memory_has_far() || first >= end)
        return;
    end = end_of_mapped(first, end);
    if (first >= end)
        return;
    leave(first, end, AREA_LOCKED);
    pager_change_begin(pager(), &visit);
    pager_far_mark_locked(pager(), first, end, AREA_LOCKED, 0); /* what was not accessible yet */
    pager_change_end(pager(), &visit);
}

bool memory_far_unlock(const unsigned long *args, long *result)
{
    uintptr_t first = args[0] & ~(PAGE_BYTES - 1);
    uintptr_t end = end_of(first, args[1] + args[0] % PAGE_BYTES);
    struct visit visit;

    if (!memory_has_far() || first >= end)
        return false;
    pager_change_begin(pager(), &visit);
    *result = sys_call2(SYS_munlock, args[0], args[1]);
    if (*result == -ENOMEM)
        end = end_of_mapped_locked(first, end);
    if (first < end)
        pager_far_unlock_locked(pager(), first, end);
    pager_change_end(pager(), &visit);
    return true;
}

/* ---- madvise(2) ---- */

/*
 * How far into [@start, @end) an advice has come that fails at a mapping: it fails in the same way as far as from @start to where it
 * has not come. Holes let it fail in the end, and change nothing else. Source: mm/madvise.c, madvise_walk_vmas().
 */
static bool has_come_to(const unsigned long *args, uintptr_t end)
{
    long result = sys_call3(SYS_madvise, args[0], end - args[0], args[2]);

    return result == 0 || result == -ENOMEM;
}

/* What MADV_FREE may discard at any time is discarded now. */
static void follow_discard_locked(const unsigned long *args, uintptr_t end, bool all)
{
    uint64_t at = args[0];
    struct range part;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    while (rangeset_next(&pager()->space.areas, &at, end, &part) && (all || has_come_to(args, part.end))) {
        if ((part.value & AREA_WATCHED) == 0)
            continue;
        if ((int)args[2] == MADV_FREE)
            (void)sys_call3(SYS_madvise, part.first, part.end - part.first, MADV_DONTNEED);
        pager_far_forget_locked(pager(), part.first, part.end);
    }
}

static long discard(const unsigned long *args, uintptr_t end)
{
    struct visit visit;
    long result;

    pager_change_begin(pager(), &visit);
    (void)pager_far_settle_relock(pager(), args[0], end);
    result = pager_far_shut_locked(pager(), args[0], end);
    if (result == 0) {
        result = sys_call3(SYS_madvise, args[0], args[1], args[2]);
        follow_discard_locked(args, end, result == 0 || result == -ENOMEM);
    }
    pager_change_end(pager(), &visit);
    return result;
}

static long mark(const unsigned long *args, uintptr_t end, uint32_t set, uint32_t clear)
{
    struct visit visit;
    long result;

    pager_change_begin(pager(), &visit);
    result = sys_call3(SYS_madvise, args[0], args[1], args[2]);
    if (result == 0 || result == -ENOMEM) /* holes are left out */
        pager_far_mark_locked(pager(), args[0], end, set, clear);
    pager_change_end(pager(), &visit);
    return result;
}

/* Is it what the kernel keeps of a mapping? What nobody can access yet may be watched later, and has it then. */
static bool is_kept(int advice)
{
    return advice == MADV_DONTFORK || advice == MADV_DOFORK || advice == MADV_WIPEONFORK || advice == MADV_KEEPONFORK ||
           advice == MADV_NORMAL || advice == MADV_RANDOM || advice == MADV_SEQUENTIAL || advice == MADV_DONTDUMP ||
           advice == MADV_DODUMP || advice == MADV_NOHUGEPAGE;
}

/* As for ghost memory: see memory_advise(). */
long memory_far_advise(const unsigned long *args)
{
    uintptr_t end = end_of(args[0], args[1]);
    bool in_order = args[0] % PAGE_BYTES == 0 && args[1] > 0;

    if (!in_order || (!is_kept((int)args[2]) && !is_any_watched(args[0], end)))
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
    case MADV_NORMAL:
        return mark(args, end, 0, AREA_RANDOM | AREA_SEQUENTIAL);
    case MADV_RANDOM:
        return mark(args, end, AREA_RANDOM, AREA_SEQUENTIAL);
    case MADV_SEQUENTIAL:
        return mark(args, end, AREA_SEQUENTIAL, AREA_RANDOM);
    case MADV_DONTDUMP:
        return mark(args, end, AREA_DONTDUMP, 0);
    case MADV_DODUMP:
        return mark(args, end, 0, AREA_DONTDUMP);
    case MADV_NOHUGEPAGE:
        return mark(args, end, AREA_NOHUGEPAGE, 0);
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
