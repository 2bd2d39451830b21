/* memory.c - see memory.h. */
#include "interpose/memory.h"

#include "interpose/ghost.h"
#include "interpose/libc.h"

#include "core/marks.h"
#include "platform/sys.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/mman.h>

#define EXPORT __attribute__((visibility("default")))
/* In one call of the kernel. */
#define COPY_BYTES ((size_t)16 << 20)

/* Source: include/uapi/asm-generic/mman-common.h; Linux 5.14, 5.18, 6.13 */
#define ADVICE_POPULATE_READ 22
#define ADVICE_POPULATE_WRITE 23
#define ADVICE_DONTNEED_LOCKED 24
#define ADVICE_GUARD_INSTALL 102
#define ADVICE_GUARD_REMOVE 103

static struct os_lock lock; /* guards: */
static struct marks wiped;    /* a child finds zeros there */
static struct marks unforked; /* a child must not touch these */

/* Whole pages of ghost memory, at least one. */
static bool is_ghost_range(uintptr_t addr, size_t bytes, page_number *first, size_t *n_pages)
{
    if (addr % PAGE_BYTES != 0 || bytes == 0 || bytes > ghost.heap.bytes || !heap_owns(&ghost.heap, (const void *)addr) ||
        !heap_owns(&ghost.heap, (const void *)(addr + round_up(bytes, PAGE_BYTES) - 1)))
        return false;
    *first = (page_number)((addr - ghost.heap.base) >> PAGE_SHIFT);
    *n_pages = round_up(bytes, PAGE_BYTES) / PAGE_BYTES;
    return true;
}

/* ---- advice and protection ---- */

static int mark(struct marks *marks, page_number first, size_t n_pages, bool on)
{
    page_number end = (page_number)(first + n_pages);
    int error = 0;

    if (end > ghost.heap.top)
        return -ENOMEM; /* nothing was ever there */
    os_lock_take(&lock);
    if (on)
        error = marks_add(marks, first, end);
    else
        marks_remove(marks, first, end);
    os_lock_release(&lock);
    return error;
}

/*
 * Frozen pages are not where the kernel could forget them, so discarding is ours. Huge pages would hide which of their
 * small ones are used, and a page that the kernel merges with its equals loses its write-protection. What is populated
 * may exceed the limit at once. A page with a guard mark would keep it for the next block. All other advice is about
 * speed, and the kernel's to take or leave.
 */
bool memory_advise(const unsigned long *args, long *result)
{
    int advice = (int)args[2];
    page_number first;
    size_t n_pages;

    *result = 0;
    if (!is_ghost_range(args[0], args[1], &first, &n_pages))
        return false;
    switch (advice) {
    case MADV_WIPEONFORK:
    case MADV_KEEPONFORK:
        *result = mark(&wiped, first, n_pages, advice == MADV_WIPEONFORK);
        return true;
    case MADV_DONTFORK:
    case MADV_DOFORK:
        *result = mark(&unforked, first, n_pages, advice == MADV_DONTFORK);
        return true;
    case ADVICE_GUARD_INSTALL: /* as a kernel without them answers */
    case ADVICE_GUARD_REMOVE:
        *result = -EINVAL;
        return true;
    case MADV_MERGEABLE:
        return true;
    case MADV_HUGEPAGE:
    case ADVICE_POPULATE_READ:
    case ADVICE_POPULATE_WRITE:
        return pager_is_engaged(&ghost.pager);
    case MADV_DONTNEED:
    case MADV_FREE:
    case ADVICE_DONTNEED_LOCKED:
        if (!pager_is_engaged(&ghost.pager))
            return false;
        *result = pager_discard(&ghost.pager, first, n_pages) == 0 ? 0 : -EINVAL;
        return *result != 0 || !pager_has_ceded(&ghost.pager, first, n_pages); /* of what is ceded, the kernel knows */
    default:
        return false;
    }
}

static void unmark_locked(page_number first, page_number end)
{
    marks_remove(&wiped, first, end);
    marks_remove(&unforked, first, end);
}

static page_number number_of(const void *p)
{
    return (page_number)(((uintptr_t)p - ghost.heap.base) >> PAGE_SHIFT);
}

static bool any_marks(void)
{
    return marks_any(&wiped) || marks_any(&unforked);
}

void memory_free(void *p, const char *caller)
{
    if (__builtin_expect(any_marks(), 0)) { /* while the block is nobody else's yet */
        size_t bytes = heap_usable_bytes(&ghost.heap, p, caller);

        os_lock_take(&lock);
        unmark_locked(number_of(p), (page_number)(number_of(p) + bytes / PAGE_BYTES));
        os_lock_release(&lock);
    }
    heap_free(&ghost.heap, p, caller);
}

/* Under the lock as a whole: a fork finds the marks where the block is. */
static void *resize_marked(void *p, size_t bytes, const char *caller)
{
    page_number first = number_of(p);
    page_number end = (page_number)(first + heap_usable_bytes(&ghost.heap, p, caller) / PAGE_BYTES);
    void *fresh;

    os_lock_take(&lock);
    fresh = heap_resize(&ghost.heap, p, bytes, caller);
    if (fresh != NULL && round_up(bytes, PAGE_BYTES) / PAGE_BYTES < end - first)
        unmark_locked((page_number)(first + max_size(1, round_up(bytes, PAGE_BYTES) / PAGE_BYTES)), end);
    if (fresh != NULL && fresh != p) {
        marks_move(&wiped, first, end, number_of(fresh));
        marks_move(&unforked, first, end, number_of(fresh));
    }
    os_lock_release(&lock);
    return fresh;
}

void *memory_resize(void *p, size_t bytes, const char *caller)
{
    return any_marks() ? resize_marked(p, bytes, caller) : heap_resize(&ghost.heap, p, bytes, caller);
}

void memory_fork_prepare(void)
{
    os_lock_take(&lock);
}

void memory_fork_parent(void)
{
    os_lock_release(&lock);
}

/* A page that may still hold what the child must not see would be worse than no child. */
static void forget(const struct marks *marks)
{
    for (uint32_t i = 0; i < marks->n; i++)
        INVARIANT(pager_discard(&ghost.pager, marks->ranges[i].first,
                                marks->ranges[i].end - marks->ranges[i].first) == 0);
}

void memory_fork_child(void)
{
    os_lock_reset(&lock);
    forget(&wiped);
    forget(&unforked);
    /* Where protections are ours, a protected page takes RAM: there they read as zeros. */
    for (uint32_t i = 0; i < unforked.n && !(pager_is_engaged(&ghost.pager) && ghost.pager.backend->by_protection); i++)
        (void)pager_protect(&ghost.pager, unforked.ranges[i].first,
                            unforked.ranges[i].end - unforked.ranges[i].first, PROT_NONE);
}

bool memory_protect(const unsigned long *args, long *result)
{
    int protection = (int)args[2];
    page_number first;
    size_t n_pages;

    if (!is_ghost_range(args[0], args[1], &first, &n_pages) || first + n_pages > ghost.heap.top ||
        (protection & ~(PROT_READ | PROT_WRITE | PROT_EXEC)) != 0 || pager_has_ceded(&ghost.pager, first, n_pages))
        return false;
    *result = pager_protect(&ghost.pager, first, n_pages, protection);
    return true;
}

/* ---- mappings ---- */

static long change_key(void *arg)
{
    const unsigned long *args = arg;

    return sys_call4(SYS_pkey_mprotect, args[0], args[1], args[2], args[3]);
}

bool memory_protect_by_key(const unsigned long *args, long *result)
{
    page_number first;
    size_t n_pages;

    if ((int)args[3] == -1) /* Source: pkey_mprotect(2): as mprotect(2) */
        return memory_protect(args, result);
    if (!is_ghost_range(args[0], args[1], &first, &n_pages))
        return false;
    *result = heap_cede(&ghost.heap, args[0], args[1], true, change_key, (void *)(uintptr_t)args);
    if (*result == 0)
        pager_unwatch(&ghost.pager, first, n_pages);
    return true;
}

static long map_over(void *arg)
{
    const unsigned long *args = arg;

    return sys_call6(SYS_mmap, (long)args[0], (long)args[1], (long)args[2], (long)args[3], (long)args[4], (long)args[5]);
}

/* Fresh memory over a part of a block is what discarding makes of it. */
static bool is_fresh_memory(const unsigned long *args)
{
    const int without = MAP_NORESERVE | MAP_STACK;

    return (int)args[2] == (PROT_READ | PROT_WRITE) && ((int)args[3] & ~without) == (MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED);
}

bool memory_map(const unsigned long *args, long *result)
{
    page_number first;
    size_t n_pages;

    if (((int)args[3] & MAP_FIXED) == 0 || !is_ghost_range(args[0], args[1], &first, &n_pages))
        return false;
    *result = (long)args[0];
    if (is_fresh_memory(args) && first + n_pages <= ghost.heap.top && !pager_has_ceded(&ghost.pager, first, n_pages) &&
        pager_discard(&ghost.pager, first, n_pages) == 0 && pager_unprotect(&ghost.pager, first, n_pages) == 0)
        return true;
    *result = heap_cede(&ghost.heap, args[0], args[1], false, map_over, (void *)(uintptr_t)args);
    return true;
}

/* The range stays ours, so that nothing else comes to lie there: an access is a fault, as after munmap(2). */
static long unmap(void *arg)
{
    const unsigned long *range = arg;
    long result = sys_call6(SYS_mmap, (long)range[0], (long)range[1], PROT_NONE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);

    return sys_failed(result) ? result : 0;
}

bool memory_unmap(const unsigned long *args, long *result)
{
    page_number first;
    size_t n_pages;

    if (!is_ghost_range(args[0], args[1], &first, &n_pages))
        return false;
    *result = heap_cede(&ghost.heap, args[0], args[1], false, unmap, (void *)(uintptr_t)args);
    return true;
}

/* The contents go to a mapping of their own. Source: mremap(2). */
static long copy_elsewhere(void *arg)
{
    const unsigned long *args = arg;
    bool fixed = ((int)args[3] & MREMAP_FIXED) != 0;
    size_t bytes = min_size(args[1], args[2]);
    long target = sys_call6(SYS_mmap, fixed ? (long)args[4] : 0, (long)args[2], PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | (fixed ? MAP_FIXED : 0), -1, 0);
    long result = target;

    for (size_t at = 0; !sys_failed(result) && at < bytes; at += COPY_BYTES)
        if (os_mem_peek((void *)((uintptr_t)target + at), (const void *)(args[0] + at), min_size(COPY_BYTES, bytes - at)) != 0)
            result = -EFAULT;
    if (!sys_failed(result) && sys_failed(unmap((void *)(uintptr_t)args)))
        result = -ENOMEM;
    if (sys_failed(result) && !sys_failed(target))
        sys_call2(SYS_munmap, target, args[2]);
    return result;
}

static long remap_over(void *arg)
{
    const unsigned long *args = arg;

    return sys_call5(SYS_mremap, args[0], args[1], args[2], args[3], args[4]);
}

static long remap(const unsigned long *args)
{
    const unsigned long tail[2] = {args[0] + args[2], args[1] - args[2]};
    int flags = (int)args[3];

    if ((flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED)) != 0 || args[1] == 0 || args[2] == 0 ||
        ((flags & MREMAP_FIXED) != 0 && (flags & MREMAP_MAYMOVE) == 0))
        return -EINVAL;
    if (args[1] == args[2] && (flags & MREMAP_FIXED) == 0)
        return (long)args[0];
    if (args[1] > args[2] && (flags & MREMAP_FIXED) == 0) {
        long result = heap_cede(&ghost.heap, tail[0], tail[1], false, unmap, (void *)(uintptr_t)tail);

        return result != 0 ? result : (long)args[0];
    }
    if ((flags & MREMAP_MAYMOVE) == 0)
        return -ENOMEM;
    return heap_cede(&ghost.heap, args[0], args[1], true, copy_elsewhere, (void *)(uintptr_t)args);
}

bool memory_remap(const unsigned long *args, long *result)
{
    const unsigned long whole[5] = {args[0], round_up(args[1], PAGE_BYTES), round_up(args[2], PAGE_BYTES), args[3], args[4]};
    bool to_ghost;
    page_number first;
    size_t n_pages;

    to_ghost = ((int)args[3] & MREMAP_FIXED) != 0 && is_ghost_range(args[4], args[2], &first, &n_pages);
    if (is_ghost_range(args[0], max_size(args[1], 1), &first, &n_pages))
        *result = to_ghost ? -EINVAL : remap(whole);
    else if (to_ghost)
        *result = heap_cede(&ghost.heap, args[4], args[2], false, remap_over, (void *)(uintptr_t)whole);
    else
        return false;
    return true;
}

/* ---- the program's libc ---- */

static long answer(long result)
{
    if (!sys_failed(result))
        return result;
    errno = (int)-result;
    return -1;
}

/* A handler that interrupted us might fork. */
static bool quietly(bool (*call)(const unsigned long *args, long *result), const unsigned long *args, long *result)
{
    struct ghost_quiet quiet;
    bool done;

    if (!heap_owns(&ghost.heap, (const void *)args[0]) && call != memory_remap)
        return false;
    quiet = ghost_quiet_begin();
    done = call(args, result);
    ghost_quiet_end(quiet);
    return done;
}

EXPORT int madvise(void *addr, size_t bytes, int advice)
{
    const unsigned long args[] = {(uintptr_t)addr, bytes, (unsigned long)advice};
    long result;

    return quietly(memory_advise, args, &result) ? (int)answer(result) : libc_next()->madvise(addr, bytes, advice);
}

EXPORT int mprotect(void *addr, size_t bytes, int protection)
{
    const unsigned long args[] = {(uintptr_t)addr, bytes, (unsigned long)protection};
    long result;

    return quietly(memory_protect, args, &result) ? (int)answer(result) : libc_next()->mprotect(addr, bytes, protection);
}

EXPORT void *mmap(void *addr, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    const unsigned long args[] = {(uintptr_t)addr, bytes, (unsigned long)protection, (unsigned long)flags, (unsigned long)fd,
                                  (unsigned long)offset};
    long result;

    if (!quietly(memory_map, args, &result))
        result = map_over((void *)(uintptr_t)args);
    return (void *)answer(result);
}

EXPORT void *mmap64(void *addr, size_t bytes, int protection, int flags, int fd, off64_t offset)
{
    return mmap(addr, bytes, protection, flags, fd, offset);
}

EXPORT int munmap(void *addr, size_t bytes)
{
    const unsigned long args[] = {(uintptr_t)addr, bytes};
    long result;

    if (!quietly(memory_unmap, args, &result))
        result = sys_call2(SYS_munmap, addr, bytes);
    return (int)answer(result);
}

EXPORT void *mremap(void *addr, size_t bytes, size_t new_bytes, int flags, ...)
{
    unsigned long args[] = {(uintptr_t)addr, bytes, new_bytes, (unsigned long)flags, 0};
    long result;

    if ((flags & MREMAP_FIXED) != 0) {
        va_list more;

        va_start(more, flags);
        args[4] = (uintptr_t)va_arg(more, void *);
        va_end(more);
    }
    if (!quietly(memory_remap, args, &result))
        result = remap_over(args);
    return (void *)answer(result);
}

EXPORT int pkey_mprotect(void *addr, size_t bytes, int protection, int key)
{
    const unsigned long args[] = {(uintptr_t)addr, bytes, (unsigned long)protection, (unsigned long)key};
    long result;

    if (!quietly(memory_protect_by_key, args, &result))
        result = change_key((void *)(uintptr_t)args);
    return (int)answer(result);
}
