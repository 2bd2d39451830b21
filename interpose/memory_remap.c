/* memory_remap.c - see memory_remap.h. */
#include "interpose/memory_remap.h"

#include "interpose/ghost.h"

#include "core/log.h"
#include "core/pager_far.h"
#include "platform/maps.h"
#include "platform/sys.h"
#include "platform/thread.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static struct pager *pager(void)
{
    return &ghost.pager;
}

/* ---- one mapping ---- */

static void unmap_locked(uintptr_t start, uintptr_t end)
{
    if (start < end && sys_call2(SYS_munmap, start, end - start) == 0)
        pager_far_unlearn_locked(pager(), start, end);
}

/* Is all of [@start, @end) watched, and protected in one way? Then: in which. */
static bool is_uniform_locked(uintptr_t start, uintptr_t end, int *protection)
{
    struct rangeset *areas = &pager()->space.areas;
    uint64_t at = start;
    struct range part;

    *protection = pager_far_protection(rangeset_value(areas, start));
    while (rangeset_next(areas, &at, end, &part)) {
        if (part.first != start || (part.value & AREA_WATCHED) == 0 || pager_far_protection(part.value) != *protection)
            return false;
        start = part.end;
    }
    return start == end;
}

#define RETRY_MS 1
#define ATTEMPTS 10000

/* The memory is as the program protects it again: it was, so what the kernel lacks for that now it will have. */
static void open_again(uintptr_t start, uintptr_t end, int protection)
{
    int error = protection == PROT_NONE ? 0 : os_mem_protect((void *)start, end - start, protection);

    for (int i = 0; error != 0 && i < ATTEMPTS; i++) {
        os_sleep_ms(RETRY_MS);
        error = os_mem_protect((void *)start, end - start, protection);
    }
    if (error != 0)
        log_line(LOG_ERROR, "memory at %p cannot be made accessible again after mremap: %e", (void *)start, -error);
}

/* Watched areas that nobody may access, one beside the other, from @at on upwards or downwards. */
static void watch_inaccessible_locked(uintptr_t at, bool up)
{
    struct rangeset *areas = &pager()->space.areas;
    const struct range *area;

    while ((area = rangeset_at(areas, up ? at : at - 1)) != NULL && (area->value & AREA_WATCHED) != 0 &&
           pager_far_protection(area->value) == PROT_NONE) {
        (void)pager()->backend->watch(pager()->backend, area->first, (area->end - area->first) / PAGE_BYTES, true);
        at = up ? area->end : area->first;
    }
}

long memory_remap_one_locked(const unsigned long *args)
{
    uintptr_t from = args[0];
    uintptr_t old_end = from + round_up(args[1], PAGE_BYTES);
    uintptr_t from_end = from + min_size(old_end - from, round_up(args[2], PAGE_BYTES));
    uint32_t value = rangeset_value(&pager()->space.areas, from_end - PAGE_BYTES);
    int flags = (int)args[3];
    int protection;
    uintptr_t to_end;
    long result = -ENOMEM;

    if ((flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) == 0)
        result = sys_call5(SYS_mremap, args[0], args[1], args[2], flags & ~MREMAP_MAYMOVE, 0);
    if (!sys_failed(result))
        memory_far_follow_remap_locked(from, old_end, from, from + round_up(args[2], PAGE_BYTES), flags, value);
    if (result != -ENOMEM)
        return result;
    unmap_locked(from_end, old_end); /* Source: mm/mremap.c, mremap_to(): that comes first */
    if (!is_uniform_locked(from, from_end, &protection)) /* that is several mappings */
        return -EFAULT;
    pager_far_note_move_locked(pager(), from, from_end, 0, 0);
    if (protection != PROT_NONE && os_mem_protect((void *)from, from_end - from, PROT_NONE) != 0)
        return -ENOMEM; /* it is not split, and mremap(2) would have to */
    result = sys_call5(SYS_mremap, args[0], args[1], args[2], args[3], args[4]);
    if (sys_failed(result)) {
        open_again(from, from_end, protection);
        return result;
    }
    to_end = (uintptr_t)result + round_up(args[2], PAGE_BYTES);
    pager_far_note_move_locked(pager(), from, from_end, (uintptr_t)result, to_end);
    memory_far_follow_remap_locked(from, from_end, (uintptr_t)result, to_end, flags, value);
    /*
     * Where the kernel has joined it to a neighbour, it watches neither any more: that neighbour is as inaccessible. Source:
     * mm/mremap.c, copy_vma_and_data(); fs/userfaultfd.c, mremap_userfaultfd_prep().
     */
    watch_inaccessible_locked((uintptr_t)result, false);
    watch_inaccessible_locked(to_end, true);
    open_again((uintptr_t)result, to_end, protection);
    if ((flags & MREMAP_DONTUNMAP) != 0)
        open_again(from, from_end, protection);
    return result;
}

/* ---- several that are as one ---- */

static char buffer[OS_MAPS_BUFFER_BYTES]; /* under pager.lock */

struct pieces {
    uintptr_t at; /* what has been seen reaches to here */
    uintptr_t end;
    uintptr_t last; /* where the last one begins */
    bool differ;
    char flags[OS_MAPS_FLAGS_BYTES];
};

/*
 * Flags that do not keep mappings apart, or that come of our doing: userfaultfd's, soft-dirty, and whether it is accounted, which
 * follows from what was touched. Source: proc_pid_smaps(5).
 */
static void drop_own_flags(char *flags)
{
    static const char *const own[] = {"um ", "uw ", "ui ", "sd ", "ac "};

    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        char *found = strstr(flags, own[i]);

        if (found != NULL)
            memmove(found, found + 3, strlen(found + 3) + 1);
    }
}

static bool look_at_piece(void *arg, const struct os_mapping *mapping)
{
    struct pieces *pieces = arg;
    char flags[OS_MAPS_FLAGS_BYTES];

    if (mapping->end <= pieces->at)
        return true;
    memcpy(flags, mapping->flags, sizeof flags);
    drop_own_flags(flags);
    if (pieces->flags[0] == '\0')
        memcpy(pieces->flags, flags, sizeof flags);
    if (mapping->start > pieces->at || mapping->shared || mapping->of_file || strcmp(pieces->flags, flags) != 0) {
        pieces->differ = true;
        return false;
    }
    pieces->last = mapping->start > pieces->last ? mapping->start : pieces->last;
    pieces->at = mapping->end;
    return pieces->at < pieces->end;
}

/* [@from, @end), mapping by mapping, to @to. What has been moved ends at @moved_to. */
struct moves {
    uintptr_t from;
    uintptr_t end;
    uintptr_t to;
    int flags;
    uintptr_t moved_to;
    long result;
};

static bool move_piece(void *arg, const struct os_mapping *mapping)
{
    struct moves *moves = arg;
    uintptr_t start = mapping->start > moves->from ? mapping->start : moves->from;
    uintptr_t end = mapping->end < moves->end ? mapping->end : moves->end;
    long result;

    if (mapping->end <= moves->from)
        return true;
    if (mapping->start >= moves->end)
        return false;
    result = memory_far_remap_locked((unsigned long[]){start, end - start, end - start, (unsigned long)moves->flags,
                                                       moves->to + (start - moves->from)});
    if (sys_failed(result))
        moves->result = result;
    else
        moves->moved_to = end;
    return !sys_failed(result);
}

static void move_each_locked(struct moves *moves)
{
    int error;

    moves->moved_to = moves->from;
    moves->result = 0;
    if (moves->from >= moves->end)
        return;
    error = os_maps_each(buffer, move_piece, moves);
    if (moves->result == 0)
        moves->result = error;
}

/* The mappings of [@from, @end) to @to, where there is room; the last one, from @last on, grows by @more bytes and goes first. */
static long move_all_locked(uintptr_t to, uintptr_t from, uintptr_t last, uintptr_t end, size_t more, int flags)
{
    struct moves moves = {.from = from, .end = last, .to = to, .flags = flags};
    uintptr_t last_to = to + (last - from);
    long result = memory_far_remap_locked((unsigned long[]){last, end - last, end - last + more, (unsigned long)flags, last_to});

    if (sys_failed(result))
        return result;
    move_each_locked(&moves);
    if (moves.result == 0)
        return (long)to;
    result = moves.result;
    moves = (struct moves){.from = to, .end = to + (moves.moved_to - from), .to = from, .flags = MREMAP_MAYMOVE | MREMAP_FIXED};
    move_each_locked(&moves);
    moves = (struct moves){.from = last_to, .end = last_to + (end - last), .to = last, .flags = MREMAP_MAYMOVE | MREMAP_FIXED};
    move_each_locked(&moves);
    return result;
}

long memory_remap_pieces_locked(const unsigned long *args)
{
    const int kind = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    int flags = (int)args[3];
    bool fixed = (flags & MREMAP_FIXED) != 0;
    size_t old_bytes = round_up(args[1], PAGE_BYTES);
    size_t new_bytes = round_up(args[2], PAGE_BYTES);
    size_t moved = min_size(old_bytes, new_bytes);
    struct pieces pieces = {.at = args[0], .end = args[0] + moved, .last = args[0]};
    long result;
    long to;

    if (os_maps_each_weighed(buffer, look_at_piece, &pieces) != 0 || pieces.differ || pieces.at < pieces.end)
        return -EFAULT;
    if ((flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) == 0) {
        result = memory_far_remap_locked((unsigned long[]){pieces.last, pieces.end - pieces.last,
                                                           pieces.end - pieces.last + (new_bytes - moved), 0, 0});
        if (result != -ENOMEM || (flags & MREMAP_MAYMOVE) == 0)
            return sys_failed(result) ? result : (long)args[0];
    }
    to = sys_call6(SYS_mmap, fixed ? (long)args[4] : 0, (long)new_bytes, PROT_NONE, kind | (fixed ? MAP_FIXED : 0), -1, 0);
    if (sys_failed(to))
        return to;
    pager_far_unlearn_locked(pager(), (uintptr_t)to, (uintptr_t)to + new_bytes);
    result = move_all_locked((uintptr_t)to, args[0], pieces.last, pieces.end, new_bytes - moved, flags | MREMAP_FIXED);
    if (sys_failed(result))
        unmap_locked((uintptr_t)to, (uintptr_t)to + new_bytes);
    return result;
}
