/* mem.c - see mem.h. */
#include "platform/mem.h"

#include "platform/abi.h"
#include "platform/inject.h"
#include "platform/sys.h"
#include "platform/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/uio.h>

/* ---- what is mapped by us ---- */

#define OWN_EACH 255u

/* Ranges are added and taken away without a lock; a block of them never goes. */
struct own_block {
    struct own_block *_Atomic next;
    _Atomic uint32_t n;
    struct {
        _Atomic uintptr_t start; /* 0: gone, or not there yet */
        size_t bytes;
    } ranges[OWN_EACH];
};

static struct own_block own_first;

static long map_raw(size_t bytes, int protection, int flags)
{
    return sys_call6(SYS_mmap, 0, (long)bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
}

static void own_in(struct own_block *block, uint32_t i, uintptr_t start, size_t bytes)
{
    block->ranges[i].bytes = bytes;
    atomic_store(&block->ranges[i].start, start);
}

/* Who finds no memory for another block leaves the range out: it may be taken for the program's, and no harm but delay is done to it. */
static struct own_block *next_block(struct own_block *block)
{
    struct own_block *none = NULL;
    long fresh = map_raw(sizeof *block, PROT_READ | PROT_WRITE, 0);

    if (sys_failed(fresh))
        return atomic_load(&block->next);
    if (!atomic_compare_exchange_strong(&block->next, &none, (struct own_block *)fresh)) {
        sys_call2(SYS_munmap, fresh, sizeof *block);
        return none;
    }
    block = (struct own_block *)fresh;
    own_in(block, 0, (uintptr_t)fresh, (sizeof *block + OS_PAGE_BYTES - 1) & ~(OS_PAGE_BYTES - 1));
    atomic_store(&block->n, 1);
    return block;
}

static void own(uintptr_t start, size_t bytes)
{
    for (struct own_block *block = &own_first; block != NULL;) {
        uint32_t i = atomic_load(&block->n);

        if (i < OWN_EACH && !atomic_compare_exchange_strong(&block->n, &i, i + 1))
            continue;
        if (i < OWN_EACH) {
            own_in(block, i, start, bytes);
            return;
        }
        block = atomic_load(&block->next) != NULL ? atomic_load(&block->next) : next_block(block);
    }
}

static void disown(uintptr_t start, size_t bytes)
{
    for (struct own_block *block = &own_first; block != NULL; block = atomic_load(&block->next))
        for (uint32_t i = 0; i < OWN_EACH; i++)
            if (atomic_load_explicit(&block->ranges[i].start, memory_order_relaxed) == start && block->ranges[i].bytes == bytes) {
                atomic_store(&block->ranges[i].start, 0);
                return;
            }
}

void os_mem_visit_own(os_mem_visit *visit, void *arg)
{
    for (struct own_block *block = &own_first; block != NULL; block = atomic_load(&block->next))
        for (uint32_t i = 0; i < OWN_EACH; i++) {
            uintptr_t start = atomic_load(&block->ranges[i].start);

            if (start != 0)
                visit(arg, start, (block->ranges[i].bytes + OS_PAGE_BYTES - 1) / OS_PAGE_BYTES);
        }
}

static int map_anonymous(size_t bytes, int protection, int flags, void **addr)
{
    long result = map_raw(bytes, protection, flags);

    if (sys_failed(result))
        return (int)result;
    own((uintptr_t)result, bytes);
    *addr = (void *)result;
    return 0;
}

/*
 * A huge page would make neighbours resident that nobody touched; kernels without huge pages refuse, fine. Where equal pages
 * of the whole process are merged (PR_SET_MEMORY_MERGE), a merged page has lost its write-protection.
 */
void os_mem_keep_single(void *addr, size_t bytes)
{
    sys_call3(SYS_madvise, addr, bytes, MADV_NOHUGEPAGE);
    sys_call3(SYS_madvise, addr, bytes, MADV_UNMERGEABLE);
}

int os_mem_reserve(size_t bytes, void **addr)
{
    int error;

    OS_MAY_FAIL(ENOMEM);
    error = map_anonymous(bytes, PROT_NONE, MAP_NORESERVE, addr);
    if (error != 0)
        return error;
    os_mem_keep_single(*addr, bytes);
    /* With one page of it ever touched the kernel would look at each page of a terabyte, and gdb write them all. */
    sys_call3(SYS_madvise, *addr, bytes, MADV_DONTDUMP);
    return 0;
}

void os_mem_dump(void *addr, size_t bytes)
{
    sys_call3(SYS_madvise, addr, bytes, MADV_DODUMP);
}

int os_mem_commit(void *addr, size_t bytes)
{
    int error;

    OS_MAY_FAIL(ENOMEM);
    error = (int)sys_call3(SYS_mprotect, addr, bytes, PROT_READ | PROT_WRITE);
    if (error == 0)
        os_mem_dump(addr, bytes);
    return error;
}

int os_mem_protect(void *addr, size_t bytes, int protection)
{
    OS_MAY_FAIL(ENOMEM);
    return (int)sys_call3(SYS_mprotect, addr, bytes, protection);
}

int os_mem_map(size_t bytes, void **addr)
{
    OS_MAY_FAIL(ENOMEM);
    return map_anonymous(bytes, PROT_READ | PROT_WRITE, 0, addr);
}

int os_mem_protect_none(void *addr, size_t bytes)
{
    OS_MAY_FAIL(ENOMEM);
    return (int)sys_call3(SYS_mprotect, addr, bytes, PROT_NONE);
}

int os_mem_renew(void *addr, size_t bytes)
{
    long result;

    OS_MAY_FAIL(ENOMEM);
    result = sys_call6(SYS_mmap, (long)addr, (long)bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    if (sys_failed(result))
        return (int)result;
    os_mem_keep_single(addr, bytes);
    return 0;
}

void os_mem_unmap(void *addr, size_t bytes)
{
    disown((uintptr_t)addr, bytes);
    sys_call2(SYS_munmap, addr, bytes);
}

int os_mem_discard(void *addr, size_t bytes)
{
    OS_MAY_FAIL(EINVAL);
    return (int)sys_call3(SYS_madvise, addr, bytes, MADV_DONTNEED);
}

#define MAX_EACH 32

/* Of @n single pages, with as few system calls as the kernel lets it be. Returns how many were done so. */
static size_t advise_each(const uintptr_t *addrs, size_t n, int advice)
{
    static _Atomic bool refused; /* by an older kernel, or by a filter */
    struct iovec pages[MAX_EACH];
    size_t n_done = 0;

    while (!atomic_load_explicit(&refused, memory_order_relaxed) && n_done < n) {
        size_t n_now = n - n_done < MAX_EACH ? n - n_done : MAX_EACH;
        long result;

        for (size_t i = 0; i < n_now; i++)
            pages[i] = (struct iovec){(void *)addrs[n_done + i], OS_PAGE_BYTES};
        result = sys_call5(SYS_process_madvise, PIDFD_SELF_THREAD_GROUP, pages, n_now, advice, 0);
        if (result == -EBADF || result == -EPERM || result == -ENOSYS)
            atomic_store_explicit(&refused, true, memory_order_relaxed);
        if (result <= 0)
            break;
        n_done += (size_t)result / OS_PAGE_BYTES;
    }
    return n_done;
}

size_t os_mem_discard_each(const uintptr_t *addrs, size_t n)
{
    size_t n_done;

    OS_MAY_STOP(n);
    n_done = advise_each(addrs, n, MADV_DONTNEED);
    while (n_done < n && os_mem_discard((void *)addrs[n_done], OS_PAGE_BYTES) == 0)
        n_done++;
    return n_done;
}

#ifndef MADV_COLD
#define MADV_COLD 20 /* Linux 5.4 */
#endif

void os_mem_cool(const void *addr, size_t bytes)
{
    sys_call3(SYS_madvise, addr, bytes, MADV_COLD);
}

void os_mem_cool_each(const uintptr_t *addrs, size_t n)
{
    for (size_t i = advise_each(addrs, n, MADV_COLD); i < n; i++)
        os_mem_cool((const void *)addrs[i], OS_PAGE_BYTES);
}

int os_mem_release(void *addr, size_t bytes)
{
    int error = os_mem_discard(addr, bytes);

    if (error == 0)
        return 0;
    sys_call2(SYS_munlock, addr, bytes);
    return (int)sys_call3(SYS_madvise, addr, bytes, MADV_DONTNEED);
}

/*
 * A move that fails may leave the target unmapped, or half of the source moved, so it must be known beforehand that
 * the source is one mapping. Asking to grow without moving tells: EFAULT for more than one, ENOMEM for one that has
 * no room behind it, as is always so inside a reservation (Source: mm/mremap.c).
 */
static bool is_one_mapping(const void *addr, size_t bytes)
{
    return sys_call4(SYS_mremap, addr, bytes, bytes + OS_PAGE_BYTES, 0) == -ENOMEM;
}

int os_mem_move(void *from, void *to, size_t bytes)
{
    long result;

    OS_MAY_FAIL(EFAULT);
    if (!is_one_mapping(from, bytes))
        return -EFAULT;
    result = sys_call5(SYS_mremap, from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, to);
    if (!sys_failed(result))
        return 0;
    /* Whatever became of the target, it must be memory again. */
    (void)sys_call6(SYS_mmap, (long)to, (long)bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    return (int)result;
}

int os_mem_unshare(void *addr, size_t bytes)
{
    OS_MAY_FAIL(ENOMEM);
    return (int)sys_call3(SYS_madvise, addr, bytes, MADV_POPULATE_WRITE);
}

/* The kernel's view ignores protections (FOLL_FORCE), at the price of two system calls more. */
static int peek_by_file(void *buffer, const void *addr, size_t bytes)
{
    int fd = (int)sys_call4(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDONLY | O_CLOEXEC, 0);
    long got;

    if (fd < 0)
        return -EFAULT;
    got = sys_call4(SYS_pread64, fd, buffer, bytes, addr);
    sys_call1(SYS_close, fd);
    return got == (long)bytes ? 0 : -EFAULT;
}

int os_mem_read(void *buffer, const void *addr, size_t bytes)
{
    struct iovec local = {.iov_base = buffer, .iov_len = bytes};
    struct iovec remote = {.iov_base = (void *)(uintptr_t)addr, .iov_len = bytes};

    OS_MAY_FAIL(EFAULT);
    /* By the thread's own number: the process's first thread may have ended, and has no memory then. */
    return sys_call6(SYS_process_vm_readv, sys_call0(SYS_gettid), (long)&local, 1, (long)&remote, 1, 0) == (long)bytes ? 0
                                                                                                              : -EFAULT;
}

int os_mem_peek(void *buffer, const void *addr, size_t bytes)
{
    OS_MAY_FAIL(EFAULT);
    return os_mem_read(buffer, addr, bytes) == 0 ? 0 : peek_by_file(buffer, addr, bytes);
}

static int open_pagemap(void)
{
    return (int)sys_call4(SYS_openat, AT_FDCWD, "/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0);
}

/* 1, 0, or -errno. */
static int is_entered(const void *addr)
{
    uint64_t entry;
    long offset = (long)((uintptr_t)addr / OS_PAGE_BYTES * sizeof entry);
    int fd = open_pagemap();
    long got;

    if (fd < 0)
        return fd;
    got = sys_call4(SYS_pread64, fd, &entry, sizeof entry, offset);
    sys_call1(SYS_close, fd);
    if (got != (long)sizeof entry)
        return -EIO;
    return (entry & (PAGEMAP_ENTRY_PRESENT | PAGEMAP_ENTRY_SWAPPED)) != 0;
}

bool os_mem_is_mapped(const void *addr)
{
    unsigned char there;

    return sys_call3(SYS_mincore, addr, OS_PAGE_BYTES, &there) != -ENOMEM;
}

static bool is_in_core(const void *addr)
{
    unsigned char there = 0;

    return sys_call3(SYS_mincore, addr, OS_PAGE_BYTES, &there) == 0 && (there & 1) != 0;
}

/* For the system to have the memory, or the page read from its swap. */
#define PRESENT_ATTEMPTS 100

bool os_mem_is_present(const void *addr)
{
    for (int i = 0; i < PRESENT_ATTEMPTS; i++) {
        int entered;

        if (is_in_core(addr))
            return true;
        entered = is_entered(addr);
        if (entered >= 0)
            return entered == 1;
        /* No descriptor is left, say. A page in the swap is fetched, and then it is in core. */
        sys_call3(SYS_madvise, addr, OS_PAGE_BYTES, MADV_WILLNEED);
        os_sleep_ms(1);
    }
    return false;
}

/* It has no memory at the moment, for itself or to fetch our buffer from its swap. */
static bool may_try_again(long result, int *n_attempts)
{
    if ((result != -ENOMEM && result != -EFAULT) || ++*n_attempts > PRESENT_ATTEMPTS)
        return false;
    os_sleep_ms(1);
    return true;
}

/* One answer of the kernel; 64 runs a call keep the buffer small enough for a signal stack. */
#define SCAN_RUNS 64

static int scan_by_ioctl(int fd, uintptr_t start, uintptr_t end, os_mem_visit *visit, void *arg)
{
    struct page_region runs[SCAN_RUNS];
    struct pm_scan_arg scan = {
        .size = sizeof scan,
        .end = end,
        .vec = (uintptr_t)runs,
        .vec_len = SCAN_RUNS,
        .category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
        .return_mask = PAGE_IS_PRESENT,
    };
    int n_attempts = 0;

    while (start < end) {
        long n;

        scan.start = start;
        n = sys_call3(SYS_ioctl, fd, PAGEMAP_SCAN, &scan);
        if (may_try_again(n, &n_attempts))
            continue;
        if (sys_failed(n))
            return (int)n;
        for (long i = 0; i < n; i++)
            visit(arg, (uintptr_t)runs[i].start, (size_t)(runs[i].end - runs[i].start) / OS_PAGE_BYTES);
        start = (uintptr_t)scan.walk_end;
    }
    return 0;
}

#define PAGEMAP_ENTRIES 256

static int scan_by_reading(int fd, uintptr_t start, uintptr_t end, os_mem_visit *visit, void *arg)
{
    uint64_t entries[PAGEMAP_ENTRIES];
    int n_attempts = 0;

    while (start < end) {
        size_t n = (end - start) / OS_PAGE_BYTES;
        long got;

        if (n > PAGEMAP_ENTRIES)
            n = PAGEMAP_ENTRIES;
        got = sys_call4(SYS_pread64, fd, entries, n * sizeof entries[0], start / OS_PAGE_BYTES * sizeof entries[0]);
        if (may_try_again(got, &n_attempts))
            continue;
        if (got < (long)sizeof entries[0])
            return sys_failed(got) ? (int)got : -EIO;
        n = (size_t)got / sizeof entries[0];
        for (size_t i = 0; i < n; i++)
            if ((entries[i] & (PAGEMAP_ENTRY_PRESENT | PAGEMAP_ENTRY_SWAPPED)) != 0)
                visit(arg, start + i * OS_PAGE_BYTES, 1);
        start += n * OS_PAGE_BYTES;
    }
    return 0;
}

int os_mem_scan_present(void *addr, size_t bytes, os_mem_visit *visit, void *arg)
{
    uintptr_t start = (uintptr_t)addr;
    int error;
    int fd;

    OS_MAY_FAIL(EACCES);
    fd = open_pagemap();
    if (fd < 0)
        return fd;
    /* A kernel before 6.7 refuses the ioctl before it visits anything. */
    error = scan_by_ioctl(fd, start, start + bytes, visit, arg);
    if (error == -ENOTTY || error == -EINVAL)
        error = scan_by_reading(fd, start, start + bytes, visit, arg);
    sys_call1(SYS_close, fd);
    return error;
}
