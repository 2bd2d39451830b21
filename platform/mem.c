/* mem.c - see mem.h. */
#include "platform/mem.h"

#include "platform/abi.h"
#include "platform/file.h"
#include "platform/inject.h"
#include "platform/sys.h"
#include "platform/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>

/*
 * What is ours: ranges, in pieces of memory of their own that are never given back. A place is taken by its end, and may be read once
 * it has a start.
 */
#define OWN_RANGES (OS_PAGE_BYTES / sizeof(struct own_range) - 1)
struct own_range {
    _Atomic uintptr_t start; /* 0: not yet, or not any more */
    _Atomic uintptr_t end;   /* 0: the place is free */
};
struct own_ranges {
    struct own_range ranges[OWN_RANGES];
    _Atomic(struct own_ranges *) next;
};
static struct own_ranges own;
static _Atomic bool unlocks_own;

static bool enter_own(struct own_ranges *list, uintptr_t start, uintptr_t end)
{
    for (size_t i = 0; i < OWN_RANGES; i++) {
        uintptr_t none = 0;

        if (!atomic_compare_exchange_strong(&list->ranges[i].end, &none, end))
            continue;
        atomic_store(&list->ranges[i].start, start);
        return true;
    }
    return false;
}

static struct own_ranges *next_list(struct own_ranges *list)
{
    struct own_ranges *next = atomic_load(&list->next);
    long fresh;

    if (next != NULL)
        return next;
    fresh = sys_call6(SYS_mmap, 0, sizeof *list, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (sys_failed(fresh))
        return NULL;
    if (atomic_compare_exchange_strong(&list->next, &next, (struct own_ranges *)fresh))
        return (struct own_ranges *)fresh;
    sys_call2(SYS_munmap, fresh, sizeof *list);
    return next;
}

/* Without memory for it, it is taken for the program's. */
static void note_own(uintptr_t start, size_t bytes)
{
    struct own_ranges *list = &own;

    while (list != NULL && !enter_own(list, start, start + bytes))
        list = next_list(list);
}

static void forget_own(uintptr_t start)
{
    for (struct own_ranges *list = &own; list != NULL; list = atomic_load(&list->next))
        for (size_t i = 0; i < OWN_RANGES; i++)
            if (atomic_load(&list->ranges[i].start) == start) {
                atomic_store(&list->ranges[i].start, 0);
                atomic_store(&list->ranges[i].end, 0);
                return;
            }
}

bool os_mem_next_own(uintptr_t addr, uintptr_t *start, uintptr_t *end)
{
    *start = UINTPTR_MAX;
    for (struct own_ranges *list = &own; list != NULL; list = atomic_load(&list->next))
        for (size_t i = 0; i < OWN_RANGES; i++) {
            uintptr_t from = atomic_load(&list->ranges[i].start);
            uintptr_t to = atomic_load(&list->ranges[i].end);

            if (from == 0 || to <= addr || from >= *start)
                continue;
            *start = from;
            *end = to;
        }
    return *start != UINTPTR_MAX;
}

void os_mem_visit_own(os_mem_visit *visit, void *arg)
{
    uintptr_t start;
    uintptr_t end = 0;

    while (os_mem_next_own(end, &start, &end))
        visit(arg, start, (end - start + OS_PAGE_BYTES - 1) / OS_PAGE_BYTES);
}

void os_mem_unlock_own(bool on)
{
    atomic_store(&unlocks_own, on);
}

/* With mlockall(MCL_FUTURE) what is mapped is locked, and filled if it may be accessed. */
static int map_anonymous(size_t bytes, int protection, int flags, void **addr)
{
    bool unlocks = atomic_load(&unlocks_own);
    long result = sys_call6(SYS_mmap, 0, (long)bytes, unlocks ? PROT_NONE : protection, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    int error = 0;

    if (sys_failed(result))
        return (int)result;
    if (unlocks)
        sys_call2(SYS_munlock, result, bytes);
    if (unlocks && protection != PROT_NONE)
        error = (int)sys_call3(SYS_mprotect, result, bytes, protection);
    if (error != 0) {
        sys_call2(SYS_munmap, result, bytes);
        return error;
    }
    note_own((uintptr_t)result, bytes);
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

/* Source: Documentation/mm/overcommit-accounting.rst. 0: the kernel refuses single requests that are beyond reason. */
static bool is_overcommit_guessed(void)
{
    static _Atomic int known; /* 1: no, 2: yes */
    char text[8];
    struct rlimit limit;

    if (known == 0)
        known = 1 + (os_file_read("/proc/sys/vm/overcommit_memory", text, sizeof text) > 0 && text[0] == '0');
    return known == 2 && sys_call4(SYS_prlimit64, 0, RLIMIT_AS, 0, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY;
}

bool os_mem_is_beyond_reason(size_t bytes)
{
    void *addr;
    int error;

    if (!is_overcommit_guessed())
        return false;
    error = map_anonymous(bytes, PROT_READ | PROT_WRITE, 0, &addr);
    if (error == 0)
        os_mem_unmap(addr, bytes);
    return error == -ENOMEM;
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

#ifndef SYS_mlock2
#define SYS_mlock2 325
#endif

int os_mem_lock(void *addr, size_t bytes, bool on_fault)
{
    OS_MAY_FAIL(ENOMEM);
    return (int)sys_call3(SYS_mlock2, addr, bytes, on_fault ? 1 : 0); /* MLOCK_ONFAULT */
}

int os_mem_unlock(void *addr, size_t bytes)
{
    return (int)sys_call2(SYS_munlock, addr, bytes);
}

void os_mem_unmap(void *addr, size_t bytes)
{
    forget_own((uintptr_t)addr);
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
