/*
 * space.h - which memory of the process is managed, and the numbers of its pages.
 *
 * The ghost range has the numbers [0, near_pages), in order of address. Memory anywhere else, managed where the program has it, gets
 * numbers by the chunk of 2 MiB: 512 numbers for 512 adjacent pages. Chunks that come together get numbers one after the other, so that
 * neighbours in memory are mostly neighbours in number; space_run() tells how far.
 *
 * `areas` says what is known of memory outside of the ghost range: what kind it is, how the program protects it, whether it is
 * watched. A chunk has numbers as long as some of it is watched. Whoever has only an address finds its chunk without a lock, by
 * two look-ups; whether the page is watched is asked under pager.lock.
 *
 * Calls: rangeset, os (mem).  Locks: pager.lock, but for looking numbers up.
 * Memory: 4 bytes a chunk and way; a table of 32 KiB for each 16 GiB in which there is a chunk.
 */
#ifndef GHOSTMEM_CORE_SPACE_H
#define GHOSTMEM_CORE_SPACE_H

#include "core/rangeset.h"

#include <stdatomic.h>

/* 2^28 - 1 numbers: of 1 TiB less a page. */
typedef uint32_t page_number;
#define PAGE_NUMBER_BITS 28
#define PAGE_NONE (((page_number)1 << PAGE_NUMBER_BITS) - 1)

#define SPACE_CHUNK_PAGES ((size_t)512)
#define SPACE_CHUNK_BYTES (SPACE_CHUNK_PAGES * PAGE_BYTES)
#define SPACE_ADDRESS_BITS 47 /* Source: Documentation/arch/x86/x86_64/mm.rst, user space with four levels */
#define SPACE_LEAF_BITS 13
#define SPACE_LEAVES ((size_t)1 << (SPACE_ADDRESS_BITS - 21 - SPACE_LEAF_BITS))

/* The value of an area. */
#define AREA_READ 1u /* PROT_READ, PROT_WRITE and PROT_EXEC as they are */
#define AREA_WRITE 2u
#define AREA_EXEC 4u
#define AREA_PROTECTION 7u
#define AREA_HEAP 8u /* brk(2) */
#define AREA_MAPPING 16u
#define AREA_STATIC 24u /* .bss */
#define AREA_KIND 24u
#define AREA_KINDS 3 /* and their places in n_watched, in this order */
#define AREA_WATCHED 32u /* its pages are ours; without: only known, nothing of it was ever accessible */
#define AREA_DONTFORK 64u
#define AREA_WIPEONFORK 128u
#define AREA_RANDOM 512u /* and what else madvise(2) says of a mapping, as the kernel keeps it */
#define AREA_SEQUENTIAL 1024u
#define AREA_DONTDUMP 2048u
#define AREA_NOHUGEPAGE 4096u
#define AREA_LOCKED 256u /* by mlock(2): not ours for as long, nor while it is AREA_EXEC */

#define SPACE_FREE (UINT32_C(1) << 31)

struct space {
    /* Set by space_init_near() and space_init_far(), constant afterwards. */
    uintptr_t near_base;
    size_t near_pages;
    page_number far_first; /* number of the first page of chunk 0 */
    size_t max_chunks;

    /* Guarded by pager.lock; numbers are looked up without. */
    uint32_t *places; /* per chunk: its address / 2 MiB; 0: never used; or, free, SPACE_FREE and the next free one */
    uint32_t n_chunks; /* that were ever used */
    uint32_t free;    /* chunk + 1; 0: none */
    size_t n_live;
    _Atomic(_Atomic uint32_t *) leaves[SPACE_LEAVES]; /* chunk + 1; 0: none */
    size_t n_leaves;
    struct rangeset areas; /* set by space_note_locked() alone */
    size_t n_watched[AREA_KINDS]; /* pages of the areas that are watched, by kind */
};

void space_init_near(struct space *space, uintptr_t base, size_t n_pages);

/* Numbers for memory outside of the ghost range. 0 or -ENOMEM: there are none. */
int space_init_far(struct space *space);

/* The end of all numbers that were ever given. */
static inline page_number space_end(const struct space *space)
{
    return (page_number)(space->far_first + space->n_chunks * SPACE_CHUNK_PAGES);
}

static inline bool space_is_near(const struct space *space, page_number number)
{
    return number < space->near_pages;
}

static inline bool space_has_near(const struct space *space, uintptr_t addr)
{
    return (addr - space->near_base) >> PAGE_SHIFT < space->near_pages;
}

/* Also of the ghost range's end. */
static inline uintptr_t space_near_address(const struct space *space, size_t number)
{
    return space->near_base + (number << PAGE_SHIFT);
}

/* Address of a far page: of one whose chunk has numbers. */
uintptr_t space_far_address(const struct space *space, page_number number);
page_number space_far_number(const struct space *space, uintptr_t addr);

static inline uintptr_t space_address(const struct space *space, page_number number)
{
    return space_is_near(space, number) ? space_near_address(space, number) : space_far_address(space, number);
}

/* Is @next the page behind @number, in memory as in number? */
static inline bool space_adjoins(const struct space *space, page_number number, page_number next)
{
    return next == number + 1 && (next % SPACE_CHUNK_PAGES != 0 || next < space->near_pages ||
                                  (number >= space->near_pages &&
                                    space_far_address(space, next) == space_far_address(space, number) + PAGE_BYTES));
}

/* PAGE_NONE: no chunk at @addr has numbers. Any context. */
static inline page_number space_number(const struct space *space, uintptr_t addr)
{
    return space_has_near(space, addr) ? (page_number)((addr - space->near_base) >> PAGE_SHIFT) : space_far_number(space, addr);
}

/*
 * The pages of [*@at, @end), which need not be whole at its ends, that have numbers one after the other: the first such run. *@at moves
 * behind it. False: no more page has a number. Any context.
 */
bool space_run(const struct space *space, uintptr_t *at, uintptr_t end, page_number *first, size_t *n_pages);

/* Numbers for all chunks of [@start, @end). 0; -ENOMEM: none has more than before. */
int space_place_locked(struct space *space, uintptr_t start, uintptr_t end);

/* Chunks of [@start, @end) in which nothing is watched any more lose their numbers, whose entries are all EMPTY. */
void space_release_locked(struct space *space, uintptr_t start, uintptr_t end);

/*
 * [@start, @end), outside of the ghost range, is an area of @value; 0: nothing is known of it any more. 0 or -ENOMEM as
 * rangeset_set() of `areas`.
 */
int space_note_locked(struct space *space, uintptr_t start, uintptr_t end, uint32_t value);

/* Pages of the watched areas of one kind: AREA_HEAP, AREA_MAPPING or AREA_STATIC. Any context: a number of a moment ago. */
static inline size_t space_watched_pages(const struct space *space, uint32_t kind)
{
    return space->n_watched[kind / AREA_HEAP - 1];
}

/* Is the page ours? Near ones all are. */
bool space_is_watched_locked(struct space *space, page_number number);

/*
 * How far may pages follow each other from @number on, upwards (@step > 0) or downwards, by @step: the next one's number if both lie in
 * one watched area of the same protection; or PAGE_NONE. Far pages only.
 */
page_number space_step_locked(struct space *space, page_number number, int32_t step);

size_t space_meta_bytes(const struct space *space);

#endif
