/*
 * ghostmem.h - memory that need not all be in RAM, for C. ghostmem(3) describes each function.
 *
 * A block of ghost memory has its address from the first moment, takes RAM when it is touched, and reads as zeros then. Of all blocks at
 * most the limit's pages are in RAM; the others are kept compressed, in RAM or in a file, and come back when they are touched.
 *
 * A program links the library (pkg-config --libs ghostmem), or finds it with dlsym(RTLD_DEFAULT, "ghostmem_allocate") where it runs
 * under LD_PRELOAD=libghostmem.so: both are the same library, and there is one of it.
 *
 * Every function may be called by several threads at once. None may be called in a signal handler but those that say so. Sizes are in
 * bytes, limits in pages of 4096 bytes. Functions that fail return NULL, false or -1, and set errno.
 */
#ifndef GHOSTMEM_H
#define GHOSTMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GHOSTMEM_VERSION_MAJOR 0
#define GHOSTMEM_VERSION_MINOR 1
#define GHOSTMEM_VERSION_PATCH 0
#define GHOSTMEM_VERSION_STRING "0.1.0"
/* 10000 for each major version, 100 for each minor one: 0.9.0 is 900. */
#define GHOSTMEM_VERSION_NUMBER (GHOSTMEM_VERSION_MAJOR * 10000 + GHOSTMEM_VERSION_MINOR * 100 + GHOSTMEM_VERSION_PATCH)

#define GHOSTMEM_PAGE_BYTES 4096

#ifdef __cplusplus
extern "C" {
#endif

/* ---- version: of the library that runs. Signal-safe. ---- */

const char *ghostmem_version(void); /* "0.1.0" */
int ghostmem_version_major(void);
int ghostmem_version_minor(void);
int ghostmem_version_patch(void);
int ghostmem_version_number(void);

/* ---- settings ---- */

/*
 * What a program sets itself. A field that is as GHOSTMEM_CONFIG_INIT has it leaves the setting to the environment (libghostmem(7)), and
 * without one to the default; any other value counts whatever the environment says.
 */
struct ghostmem_config {
    size_t bytes; /* sizeof(struct ghostmem_config): which version of it this is. Later ones have more fields */
    bool use_disk_backing;      /* what leaves RAM goes to a file: */
    const char *disk_file_path; /* ... this one, which must not exist or be empty, or a directory. NULL: "ghostmem.swap" */
    size_t max_memory_pages;    /* the limit, at least 5; 0: half of the RAM that the process may use */
    bool compress_before_disk;
    bool encrypt_disk_pages;
    bool enable_verbose_logging; /* lines on stderr of what was chosen, and when paging starts */
    bool abort_on_misuse;        /* a pointer that is none of ours ends the program */
    const char *const *settings; /* NULL; or settings as the environment has them, "POOL=1G", up to a NULL */
};

#define GHOSTMEM_CONFIG_INIT {sizeof(struct ghostmem_config), false, NULL, 0, true, false, false, false, NULL}

/*
 * Apply @config (NULL: the environment and the defaults alone), once, before there is ghost memory. A program that does not call this gets
 * what NULL gives, with its first block. The strings are copied.
 * False, and nothing has changed: EBUSY: there is ghost memory already; EINVAL: a value is not one, or @config's `bytes`; otherwise
 * the disk file cannot be had, and errno says why (EEXIST: it is there and not empty).
 */
bool ghostmem_initialize(const struct ghostmem_config *config);

/*
 * Another limit, in pages, at least 5. What is above it leaves before this returns. 0; -1: EINVAL: less than 5; EBUSY: the limit is set,
 * and pages that cannot leave now (pinned, in use by the kernel) keep the process above it for the moment; EPERM: paging is not possible.
 */
int ghostmem_set_limit(size_t pages);

/* ---- blocks ---- */

/*
 * A block of @bytes. NULL: ENOMEM. It is aligned for every type; to a page, if it is one or more. @bytes of 0 count as 1. Blocks up to
 * 2048 bytes share pages with others of about their size; larger ones have whole pages.
 */
void *ghostmem_allocate(size_t bytes);

/* @n times @bytes, all of them zero. NULL: ENOMEM. */
void *ghostmem_allocate_zeroed(size_t n, size_t bytes);

/* @alignment: a power of two. NULL: EINVAL, ENOMEM. */
void *ghostmem_allocate_aligned(size_t alignment, size_t bytes);

/*
 * Give a block back, whatever of it is in RAM, compressed or in the file; nothing is brought in for that. @bytes: as allocated. NULL is
 * fine. A pointer that is no live block's is said in one line, and nothing else is done; another size is said too, and the block goes.
 * With abort_on_misuse (GHOSTMEM_MISUSE=abort) either ends the program.
 */
void ghostmem_deallocate(void *p, size_t bytes);

/* The same where the size is not known. */
void ghostmem_free(void *p);

/*
 * As realloc(3), but for a block of these functions, and @bytes of 0 count as 1. NULL: ENOMEM, and the block is as it was; EINVAL: @p is
 * no block.
 */
void *ghostmem_resize(void *p, size_t bytes);

/* Is there ghost memory at @p, of these functions or of malloc under the preload? Signal-safe. */
bool ghostmem_owns(const void *p);

/* Bytes that may be used of the block, at least what was asked for. 0: NULL, or no live block, which is said in one line. */
size_t ghostmem_usable_size(const void *p);

/* ---- what is to be in RAM: of ghost memory, whole pages that the range has a part of. -1: EINVAL: not ghost memory. ---- */

/*
 * The range comes in, and stays until it is unpinned or freed; the limit yields where it must. Pins do not count: one
 * ghostmem_unpin() ends them all. A forked child has none. -1: ENOMEM.
 */
int ghostmem_pin(const void *p, size_t bytes);
int ghostmem_unpin(const void *p, size_t bytes);

/* Hints: the range comes in now, up to half of the limit; or it will be the next to leave. */
int ghostmem_prefetch(const void *p, size_t bytes);
int ghostmem_evict(const void *p, size_t bytes);

/* ---- statistics. Signal-safe ---- */

struct ghostmem_statistics {
    uint64_t limit_pages;
    uint64_t resident_pages; /* of ghost memory, in RAM; what follows too: 0 until there is more than the limit */
    uint64_t resident_pages_peak;
    uint64_t frozen_pages;   /* compressed in RAM */
    uint64_t swapped_pages;  /* in the file */
    uint64_t images_bytes;   /* RAM for compressed pages */
    uint64_t file_bytes;     /* of the file */
    uint64_t tables_bytes;   /* RAM for what is known of pages */
    uint64_t faults;         /* touches of pages that were not there */
    uint64_t thaws;          /* pages brought back */
    uint64_t freezes;        /* pages that left */
    uint64_t blocks;         /* live ones */
    uint64_t live_bytes;     /* their pages */
    uint64_t live_bytes_peak;
    uint64_t engaged;        /* 1: paging has started */
};

/*
 * As much of it as @bytes, which are sizeof(struct ghostmem_statistics). Returns how many bytes were filled in: a program that is newer
 * than the library finds the others as they were.
 */
size_t ghostmem_get_statistics(struct ghostmem_statistics *statistics, size_t bytes);

/*
 * The statistics as JSON, zero-terminated, as GHOSTMEM_STATS writes them. Returns the length, or 0 when @bytes is too
 * small (32768 is enough) or there was no ghost memory yet.
 */
size_t ghostmem_stats(char *buffer, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif
