/* memory_map.c - mmap(2), munmap(2), mremap(2) and pkey_mprotect(2) where ghost memory lies. See memory.h. */
#include "interpose/memory.h"

#include "interpose/ghost.h"
#include "interpose/guard.h"
#include "interpose/pressure.h"
#include "interpose/survey.h"

#include "platform/sys.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/mman.h>

#define EXPORT __attribute__((visibility("default")))
/* In one call of the kernel. */
#define COPY_BYTES ((size_t)16 << 20)

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
    if (!memory_is_ghost(args[0], args[1], &first, &n_pages)) {
        if (!memory_has_far())
            return false;
        *result = memory_far_protect(args, true);
        return true;
    }
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

/* Fresh memory over a part of a block, or beyond it, is what discarding makes of it. */
static bool is_fresh_memory(const unsigned long *args)
{
    const int without = MAP_NORESERVE | MAP_STACK;

    return (int)args[2] == (PROT_READ | PROT_WRITE) && ((int)args[3] & ~without) == (MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED);
}

bool memory_map(const unsigned long *args, long *result)
{
    page_number first;
    size_t n_pages;

    if (((int)args[3] & MAP_FIXED) == 0 || !memory_is_ghost(args[0], args[1], &first, &n_pages)) {
        if (!memory_has_far())
            return false;
        *result = memory_far_map(args);
        return true;
    }
    *result = (long)args[0];
    memory_forget_locks(first, n_pages);
    if (is_fresh_memory(args) && first + n_pages <= ghost.heap.committed && !pager_has_ceded(&ghost.pager, first, n_pages) &&
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

    if (!memory_is_ghost(args[0], args[1], &first, &n_pages)) {
        if (!memory_has_far())
            return false;
        *result = memory_far_unmap(args);
        return true;
    }
    *result = heap_cede(&ghost.heap, args[0], args[1], false, unmap, (void *)(uintptr_t)args);
    if (*result == 0)
        memory_forget_locks(first, n_pages);
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

    to_ghost = ((int)args[3] & MREMAP_FIXED) != 0 && memory_is_ghost(args[4], args[2], &first, &n_pages);
    if (memory_is_ghost(args[0], max_size(args[1], 1), &first, &n_pages))
        *result = to_ghost ? -EINVAL : remap(whole);
    else if (to_ghost)
        *result = heap_cede(&ghost.heap, args[4], args[2], false, remap_over, (void *)(uintptr_t)whole);
    else if (memory_has_far())
        *result = memory_far_remap(args);
    else
        return false;
    return true;
}

/* ---- the program's libc ---- */

static long unmap_plain(void *arg)
{
    const unsigned long *args = arg;

    return sys_call2(SYS_munmap, args[0], args[1]);
}

/*
 * A call on memory that is not managed. Where all of the process's is to be, paging must not begin between here and the kernel: what
 * the call did would be missed.
 */
static long by_kernel(memory_call *call, const unsigned long *args, pager_call *plain)
{
    long result;

    if (ghost.pager.survey_locked == NULL)
        return plain((void *)(uintptr_t)args);
    if (!pager_dormant_begin(&ghost.pager))
        return memory_quietly(call, args, &result) ? result : plain((void *)(uintptr_t)args);
    result = plain((void *)(uintptr_t)args);
    pager_dormant_end(&ghost.pager);
    return result;
}

/* Small ones count as malloc's blocks do: a runtime may have its heap in thousands of them. */
static void note_mapping(size_t bytes)
{
    if (bytes >= SURVEY_LEAST_BYTES)
        pressure_note_mapping(bytes);
    else
        pressure_note(bytes);
}

EXPORT void *mmap(void *addr, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    const unsigned long args[] = {(uintptr_t)addr, bytes, (unsigned long)protection, (unsigned long)flags, (unsigned long)fd,
                                  (unsigned long)offset};
    long result;

    if (!memory_quietly(memory_map, args, &result))
        result = by_kernel(memory_map, args, map_over);
    if ((flags & MAP_ANONYMOUS) != 0 && (protection & PROT_WRITE) != 0 && !sys_failed(result))
        note_mapping(bytes);
    if ((flags & MAP_ANONYMOUS) == 0)
        guard_note_device(fd);
    return (void *)memory_answer(result);
}

EXPORT void *mmap64(void *addr, size_t bytes, int protection, int flags, int fd, off64_t offset)
{
    return mmap(addr, bytes, protection, flags, fd, offset);
}

EXPORT int munmap(void *addr, size_t bytes)
{
    const unsigned long args[] = {(uintptr_t)addr, bytes};
    long result;

    if (!memory_quietly(memory_unmap, args, &result))
        result = by_kernel(memory_unmap, args, unmap_plain);
    return (int)memory_answer(result);
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
    if (!memory_quietly(memory_remap, args, &result))
        result = by_kernel(memory_remap, args, remap_over);
    return (void *)memory_answer(result);
}

EXPORT int pkey_mprotect(void *addr, size_t bytes, int protection, int key)
{
    const unsigned long args[] = {(uintptr_t)addr, bytes, (unsigned long)protection, (unsigned long)key};
    long result;

    if (!memory_quietly(memory_protect_by_key, args, &result))
        result = by_kernel(memory_protect_by_key, args, change_key);
    return (int)memory_answer(result);
}
