/* memory.c - see memory.h. */
#include "interpose/memory.h"

#include "interpose/ghost.h"
#include "interpose/libc.h"

#include <errno.h>
#include <sys/mman.h>

#define EXPORT __attribute__((visibility("default")))

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

/*
 * Frozen pages are not where the kernel could forget them, so discarding is ours. Huge pages would hide which of their
 * small ones are used, and a page that the kernel merges with its equals loses its write-protection. All other advice is about speed, and the kernel's to take or leave.
 */
bool memory_advise(uintptr_t addr, size_t bytes, int advice, int *result)
{
    page_number first;
    size_t n_pages;

    *result = 0;
    if (!is_ghost_range(addr, bytes, &first, &n_pages))
        return false;
    if (advice == MADV_MERGEABLE)
        return true;
    if (!pager_is_engaged(&ghost.pager))
        return false;
    if (advice == MADV_HUGEPAGE)
        return true;
    if (advice != MADV_DONTNEED && advice != MADV_FREE)
        return false;
    *result = pager_discard(&ghost.pager, first, n_pages) == 0 ? 0 : -EINVAL;
    return true;
}

bool memory_protect(uintptr_t addr, size_t bytes, int protection, int *result)
{
    page_number first;
    size_t n_pages;

    if (!is_ghost_range(addr, bytes, &first, &n_pages) || first + n_pages > ghost.heap.top ||
        (protection & ~(PROT_READ | PROT_WRITE | PROT_EXEC)) != 0)
        return false;
    *result = pager_protect(&ghost.pager, first, n_pages, protection);
    return true;
}

static int answer(int result)
{
    if (result == 0)
        return 0;
    errno = -result;
    return -1;
}

EXPORT int madvise(void *addr, size_t bytes, int advice)
{
    int result;

    return memory_advise((uintptr_t)addr, bytes, advice, &result) ? answer(result) : libc_next()->madvise(addr, bytes, advice);
}

EXPORT int mprotect(void *addr, size_t bytes, int protection)
{
    int result;

    return memory_protect((uintptr_t)addr, bytes, protection, &result) ? answer(result)
                                                                       : libc_next()->mprotect(addr, bytes, protection);
}
