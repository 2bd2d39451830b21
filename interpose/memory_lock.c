/*
 * memory_lock.c - mlock(2), munlock(2), mlockall(2) and munlockall(2). See memory.h.
 *
 * What is locked of ghost memory stays in its place and has no image. mlockall() is made up of locks of each mapping of the program and
 * each of its ghost blocks: the kernel's own would count a reserved terabyte, and would fill what is ours. Of what is to come the
 * kernel locks all but ghost memory; that is locked as it is allocated.
 */
#include "interpose/memory.h"

#include "interpose/ghost.h"

#include "platform/memlock.h"
#include "platform/sys.h"

#include <errno.h>
#include <sys/mman.h>

#define EXPORT __attribute__((visibility("default")))

#ifndef SYS_mlock2
#define SYS_mlock2 325
#endif
#define LOCK_ON_FAULT 1ul /* MLOCK_ONFAULT */
#ifndef MCL_ONFAULT
#define MCL_ONFAULT 4
#endif

static _Atomic bool future_on_fault; /* guarded by memory's lock, as is what follows from mlockall() */

/* ---- parts ---- */

/* Source: mlock(2): all pages that a part of the range lies in. */
static bool whole_pages(uintptr_t addr, size_t bytes, page_number *first, size_t *n_pages)
{
    uintptr_t start = addr & ~(PAGE_BYTES - 1);

    return bytes <= ghost.heap.bytes && memory_is_ghost(start, bytes == 0 ? 0 : bytes + (addr - start), first, n_pages);
}

bool memory_lock(const unsigned long *args, long *result)
{
    page_number first;
    size_t n_pages;

    if ((args[2] & ~LOCK_ON_FAULT) != 0)
        return false;
    if (!whole_pages(args[0], args[1], &first, &n_pages)) {
        memory_far_lock(args[0], args[1]);
        return false;
    }
    memory_take_lock();
    *result = first + n_pages > ghost.heap.top ? -ENOMEM : pager_lock(&ghost.pager, first, n_pages, args[2] != 0);
    memory_release_lock();
    return true;
}

bool memory_unlock(const unsigned long *args, long *result)
{
    page_number first;
    size_t n_pages;

    if (!whole_pages(args[0], args[1], &first, &n_pages))
        return memory_far_unlock(args, result);
    memory_take_lock();
    *result = first + n_pages > ghost.heap.top ? -ENOMEM : 0;
    if (*result == 0)
        pager_unlock(&ghost.pager, first, n_pages);
    memory_release_lock();
    return true;
}

/* ---- all ---- */

static int lock_block(void *arg, page_number first, size_t n_pages)
{
    const bool *on_fault = arg;

    return pager_lock(&ghost.pager, first, n_pages, *on_fault);
}

static void add_bytes(void *arg, uintptr_t start, size_t bytes)
{
    uint64_t *sum = arg;

    (void)start;
    *sum += bytes;
}

/*
 * One that has gone meanwhile is none. The first call says what may be locked; that not all of it can be filled is no error of
 * mlockall(2).
 */
static void lock_mapping(void *arg, uintptr_t start, size_t bytes)
{
    const bool *on_fault = arg;

    if (os_mem_lock((void *)start, bytes, true) == 0 && !*on_fault)
        (void)os_mem_lock((void *)start, bytes, false);
}

static int lock_current(bool on_fault)
{
    int error = heap_visit_blocks(&ghost.heap, lock_block, &on_fault);

    return error != 0 ? error : os_mappings_visit(lock_mapping, &on_fault);
}

/* Source: mlockall(2), the kernel's can_do_mlock(); RLIMIT_MEMLOCK is compared with all that is mapped. */
static int may_lock_all(unsigned long flags)
{
    uint64_t limit = os_lock_limit_bytes();
    uint64_t bytes = (uint64_t)ghost.heap.live_pages * PAGE_BYTES;
    int error;

    if (limit == 0)
        return -EPERM;
    if ((flags & MCL_CURRENT) == 0)
        return 0;
    error = os_mappings_visit(add_bytes, &bytes);
    if (error != 0)
        return -EAGAIN;
    return bytes <= limit ? 0 : -ENOMEM;
}

static void set_future(bool on, bool on_fault)
{
    pager_lock_future(&ghost.pager, on);
    os_mem_unlock_own(on);
    atomic_store(&future_on_fault, on_fault);
}

static long lock_all_locked(unsigned long flags)
{
    bool future = (flags & MCL_FUTURE) != 0;
    bool on_fault = (flags & MCL_ONFAULT) != 0;
    long result = may_lock_all(flags);

    LOCK_ASSERT_HELD(LOCK_MARKS);
    if (result == 0)
        result = memory_reserve_marks(); /* what is reserved once MCL_FUTURE is on counts as locked */
    if (result != 0)
        return result;
    if (future)
        result = sys_call1(SYS_mlockall, flags & ~(unsigned long)MCL_CURRENT);
    else if (pager_locks_future(&ghost.pager)) /* the kernel has no other way to end that; all is locked again right now */
        result = sys_call0(SYS_munlockall);
    if (result != 0)
        return result;
    set_future(future, on_fault);
    return (flags & MCL_CURRENT) != 0 ? lock_current(on_fault) : 0;
}

bool memory_lock_all(const unsigned long *args, long *result)
{
    unsigned long flags = (unsigned)args[0];

    if (flags == 0 || flags == MCL_ONFAULT || (flags & ~(unsigned long)(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) != 0 ||
        (ghost.heap.bytes == 0 && (atomic_load(&ghost_threshold_bytes) == SIZE_MAX || ghost_heap() == NULL)))
        return false;
    if ((flags & MCL_CURRENT) != 0)
        memory_far_leave(0, UINTPTR_MAX / 2);
    memory_take_lock();
    *result = lock_all_locked(flags);
    memory_release_lock();
    return true;
}

bool memory_unlock_all(const unsigned long *args, long *result)
{
    (void)args;
    if (ghost.heap.bytes == 0)
        return false;
    memory_take_lock();
    *result = sys_call0(SYS_munlockall);
    set_future(false, false);
    pager_forget_locks(&ghost.pager);
    memory_release_lock();
    return true;
}

/* ---- blocks ---- */

void *memory_allocate(struct heap *heap, size_t bytes, size_t alignment)
{
    void *p = heap_allocate(heap, bytes, alignment);
    unsigned long args[3] = {(uintptr_t)p, bytes, 0};
    long result = 0;

    if (p == NULL || __builtin_expect(!pager_locks_future(heap->pager), 1))
        return p;
    args[2] = atomic_load(&future_on_fault) ? LOCK_ON_FAULT : 0;
    if (!memory_lock(args, &result) || result == 0)
        return p;
    memory_free(p, "malloc");
    return NULL; /* RLIMIT_MEMLOCK: libc comes to the same */
}

/* ---- the program's libc ---- */

static int answer(memory_call *call, const unsigned long *args, long number)
{
    long result;

    if (!memory_always_quietly(call, args, &result))
        result = sys_call3(number, args[0], args[1], args[2]);
    return (int)memory_answer(result);
}

EXPORT int mlock(const void *addr, size_t bytes)
{
    const unsigned long args[] = {(uintptr_t)addr, bytes, 0};

    return answer(memory_lock, args, SYS_mlock);
}

EXPORT int mlock2(const void *addr, size_t bytes, unsigned flags)
{
    const unsigned long args[] = {(uintptr_t)addr, bytes, flags};

    return answer(memory_lock, args, SYS_mlock2);
}

EXPORT int munlock(const void *addr, size_t bytes)
{
    const unsigned long args[] = {(uintptr_t)addr, bytes, 0};

    return answer(memory_unlock, args, SYS_munlock);
}

EXPORT int mlockall(int flags)
{
    const unsigned long args[] = {(unsigned long)flags, 0, 0};

    return answer(memory_lock_all, args, SYS_mlockall);
}

EXPORT int munlockall(void)
{
    const unsigned long args[] = {0, 0, 0};

    return answer(memory_unlock_all, args, SYS_munlockall);
}
