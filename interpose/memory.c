/*
 * memory.c - memory calls of the program on ghost memory.
 *
 * Calls: ghost, pager, libc.  Locks: none of its own.  Memory: none.
 */
#include "interpose/ghost.h"
#include "interpose/libc.h"

#include <errno.h>
#include <sys/mman.h>

#define EXPORT __attribute__((visibility("default")))

/*
 * Frozen pages are not where the kernel could forget them, so discarding is ours. Huge pages would hide which of their
 * small ones are used. All other advice is about speed, and the kernel's to take or leave.
 */
EXPORT int madvise(void *addr, size_t bytes, int advice)
{
    uintptr_t start = (uintptr_t)addr;
    page_number first;

    if (!heap_owns(&ghost.heap, addr) || !pager_is_engaged(&ghost.pager) || start % PAGE_BYTES != 0 ||
        bytes > ghost.heap.bytes || !heap_owns(&ghost.heap, (char *)addr + round_up(bytes, PAGE_BYTES) - 1))
        return libc_next()->madvise(addr, bytes, advice);
    if (advice == MADV_HUGEPAGE || bytes == 0)
        return 0;
    if (advice != MADV_DONTNEED && advice != MADV_FREE)
        return libc_next()->madvise(addr, bytes, advice);
    first = (page_number)((start - ghost.heap.base) >> PAGE_SHIFT);
    if (pager_discard(&ghost.pager, first, round_up(bytes, PAGE_BYTES) / PAGE_BYTES) == 0)
        return 0;
    errno = EINVAL;
    return -1;
}
