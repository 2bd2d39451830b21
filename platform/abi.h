/*
 * abi.h - kernel interfaces that the headers of older distributions lack.
 *
 * Owns: numbers and layouts only, each with the Linux source file that fixes it; no code.
 * Calls: nothing.  Locks: none.  Memory: none.
 */
#ifndef GHOSTMEM_PLATFORM_ABI_H
#define GHOSTMEM_PLATFORM_ABI_H

#include <linux/userfaultfd.h>
#include <stdint.h>
#include <sys/ioctl.h>

/* include/uapi/linux/userfaultfd.h, Linux 5.11 to 6.8. */
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00) /* on /dev/userfaultfd */
#endif
#ifndef UFFD_FEATURE_MOVE
#define UFFD_FEATURE_MOVE (1 << 16)
#endif
#ifndef UFFDIO_POISON
#define UFFD_FEATURE_POISON (1 << 14)
#define UFFDIO_POISON _IOWR(0xAA, 0x08, struct uffdio_poison)
struct uffdio_poison {
    struct uffdio_range range;
    uint64_t mode;
    int64_t updated; /* bytes poisoned, or -errno; written by the kernel */
};
#endif
#ifndef UFFDIO_MOVE
#define UFFDIO_MOVE _IOWR(0xAA, 0x05, struct uffdio_move)
#define UFFDIO_MOVE_MODE_DONTWAKE ((uint64_t)1 << 0)
struct uffdio_move {
    uint64_t dst;
    uint64_t src;
    uint64_t len;
    uint64_t mode;
    int64_t move; /* bytes moved, or -errno; written by the kernel */
};
#endif

/* include/uapi/linux/fs.h, Linux 6.7: ioctl on /proc/PID/pagemap. */
#ifndef PAGEMAP_SCAN
#define PAGEMAP_SCAN _IOWR('f', 16, struct pm_scan_arg)
#define PAGE_IS_PRESENT (1 << 3)
#define PAGE_IS_SWAPPED (1 << 4)
struct page_region {
    uint64_t start;
    uint64_t end;
    uint64_t categories;
};
struct pm_scan_arg {
    uint64_t size;
    uint64_t flags;
    uint64_t start;
    uint64_t end;
    uint64_t walk_end;
    uint64_t vec;
    uint64_t vec_len;
    uint64_t max_pages;
    uint64_t category_inverted;
    uint64_t category_mask;
    uint64_t category_anyof_mask;
    uint64_t return_mask;
};
#endif

/* include/uapi/linux/mman.h and arch/x86/entry/syscalls/syscall_64.tbl (the same number everywhere): Linux 6.5. */
#ifndef SYS_cachestat
#define SYS_cachestat 451
struct cachestat_range {
    uint64_t off;
    uint64_t len;
};
struct cachestat {
    uint64_t nr_cache;
    uint64_t nr_dirty;
    uint64_t nr_writeback;
    uint64_t nr_evicted;
    uint64_t nr_recently_evicted;
};
#endif

/* include/uapi/asm-generic/mman-common.h: MADV_POPULATE_WRITE is Linux 5.14. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
/* include/uapi/linux/mman.h: Linux 5.7. */
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

/* Documentation/admin-guide/mm/pagemap.rst: the bits of one 64-bit /proc/PID/pagemap entry. */
#define PAGEMAP_ENTRY_PRESENT ((uint64_t)1 << 63)
#define PAGEMAP_ENTRY_SWAPPED ((uint64_t)1 << 62)

#endif
