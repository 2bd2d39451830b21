/*
 * mem.h - address space and RAM.
 *
 * Ranges are reserved without access, committed from the bottom upwards in steps, and discarded page by page. All
 * addresses and sizes are multiples of OS_PAGE_BYTES. Every call works on the address range that it is given and
 * remembers nothing.
 *
 * Calls: the kernel.  Locks: none.  Memory: what it maps.
 */
#ifndef GHOSTMEM_PLATFORM_MEM_H
#define GHOSTMEM_PLATFORM_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OS_PAGE_BYTES ((size_t)4096)

/* Reserve inaccessible address space, which core files leave out. Returns 0 and *@addr; -ENOMEM. */
int os_mem_reserve(size_t bytes, void **addr);

/*
 * Would the kernel refuse so much memory at once, because RAM and swap together are less? What it counts in other ways (strict accounting,
 * limits of address space) is not asked. Two system calls.
 */
bool os_mem_is_beyond_reason(size_t bytes);

/* Make [@addr, @addr + @bytes) of a reservation readable and writable; zero-filled on first touch. 0 or -ENOMEM. */
int os_mem_commit(void *addr, size_t bytes);

/* Core files contain these pages of a reservation from now on. Only for callers that do not use os_mem_commit(), which does this too. */
void os_mem_dump(void *addr, size_t bytes);

/* mprotect(2) on behalf of the program. 0 or -errno. */
int os_mem_protect(void *addr, size_t bytes, int protection);

/* Map @bytes of ordinary zeroed memory outside any reservation. 0 and *@addr, or -ENOMEM. */
int os_mem_map(size_t bytes, void **addr);

/*
 * Call @visit(@arg, start, n_pages) for each range that os_mem_reserve() and os_mem_map() have mapped and that is still there. The kernel
 * may show neighbours of ours and of the program's as one mapping. Context: any; a range that is mapped meanwhile may be left out.
 */
typedef void os_mem_visit(void *arg, uintptr_t start, size_t n_pages);
void os_mem_visit_own(os_mem_visit *visit, void *arg);

/* Forbid huge pages and merged pages again, as os_mem_reserve() did: the program may have asked for them meanwhile. */
void os_mem_keep_single(void *addr, size_t bytes);

/* From now on an access to the range is a fault. 0 or -errno. */
int os_mem_protect_none(void *addr, size_t bytes);

/* A committed part of a reservation is as new, whatever has been mapped there: zeros, readable and writable. 0 or -ENOMEM. */
int os_mem_renew(void *addr, size_t bytes);

void os_mem_unmap(void *addr, size_t bytes);

/*
 * What is reserved and mapped here is ours, and no business of the program's mlockall(2). The lowest part of ours that ends behind
 * @addr, into *@start and *@end; false: there is none.
 */
bool os_mem_next_own(uintptr_t addr, uintptr_t *start, uintptr_t *end);

/* The program has mlockall(MCL_FUTURE) on: what is reserved and mapped here is to be unlocked all the same. */
void os_mem_unlock_own(bool on);

/* mlock2(2), @on_fault: MLOCK_ONFAULT; munlock(2). 0 or -errno. */
int os_mem_lock(void *addr, size_t bytes, bool on_fault);
int os_mem_unlock(void *addr, size_t bytes);

/* Give the RAM back; the range reads as zeros afterwards. 0; -EINVAL when part of it is locked in RAM. */
int os_mem_discard(void *addr, size_t bytes);

/*
 * The same, also for pages that are locked in RAM: the lock ends with them, as munmap(2) would end it. For blocks that the
 * program frees, and for our own memory after a mlockall().
 * 0; -errno: the contents may still be there.
 */
int os_mem_release(void *addr, size_t bytes);

/* As os_mem_discard(), for @n single pages anywhere, with as few system calls as possible. Returns how many were done. */
size_t os_mem_discard_each(const uintptr_t *addrs, size_t n);

/*
 * Tell the system that these pages have not been used lately, so that it swaps them out before others. It may ignore this. The
 * second function is for @n single pages. Source: madvise(2), MADV_COLD; process_madvise(2).
 */
void os_mem_cool(const void *addr, size_t bytes);
void os_mem_cool_each(const uintptr_t *addrs, size_t n);

/*
 * Move the pages of [@from, @from + @bytes) to @to, which is committed and empty; @from stays mapped and empty.
 * Returns 0; -EFAULT or -EINVAL when the kernel cannot (mappings of different kinds): then nothing has moved.
 * Source: mremap(2), MREMAP_FIXED | MREMAP_DONTUNMAP (Linux 5.7).
 */
int os_mem_move(void *from, void *to, size_t bytes);

/* Break sharing with a forked child: the page becomes this process's own. 0 or -errno. Source: MADV_POPULATE_WRITE. */
int os_mem_unshare(void *addr, size_t bytes);

/* Copy pages through the kernel's view of them. 0 or -EFAULT: refused, or not readable. */
int os_mem_read(void *buffer, const void *addr, size_t bytes);

/*
 * Copy @bytes from @addr into @buffer although @addr may be unreadable at any moment. 0 or -EFAULT.
 * Source: process_vm_readv(2) on the caller itself, /proc/self/mem where the program has forbidden reading.
 */
int os_mem_peek(void *buffer, const void *addr, size_t bytes);

/* Is anything mapped at the page? Source: mincore(2), ENOMEM. */
bool os_mem_is_mapped(const void *addr);

/*
 * Does the page have a frame, or a place in the system's own swap? Where /proc/self/pagemap cannot be read, the answer "no" takes up to a
 * tenth of a second. Source: mincore(2), which says no for a page that is swapped out; pagemap in the kernel's admin-guide/mm.
 */
bool os_mem_is_present(const void *addr);

/*
 * Call @visit(@arg, start, n_pages) for each run of pages of [@addr, @addr + @bytes) that are in RAM or in the
 * system's swap, in ascending order. Returns 0; -errno when neither PAGEMAP_SCAN nor /proc/self/pagemap can be had.
 */
int os_mem_scan_present(void *addr, size_t bytes, os_mem_visit *visit, void *arg);

#endif
