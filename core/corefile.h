/*
 * corefile.h - what ghostmem-core (tools/) looks for in the core file of a process: where paging keeps what is not in the
 * ghost range. It lies in the pager and is filled in when paging has begun; nothing in it changes afterwards.
 *
 * Calls: pagetable, store, limbo.  Locks: none.  Memory: the caller's.
 */
#ifndef GHOSTMEM_CORE_COREFILE_H
#define GHOSTMEM_CORE_COREFILE_H

#include "core/limbo.h"

#define COREFILE_MAGIC_1 0x6d656d74736f6847u
#define COREFILE_MAGIC_2 0xb10c4ed0c0de8fd1u
/* Of page table entries, slab records and images: to be raised when one of them, or what follows, changes. */
#define COREFILE_LAYOUT 3u

struct corefile {
    /* The same in every version. */
    uint64_t magic[2];
    uint64_t self; /* its own address: a copy of it, wherever that lies, does not count */
    char version[16];
    uint32_t layout;
    uint32_t by_protection; /* a debugger reads zeros where a page is not resident */

    uint64_t base; /* of the ghost range */
    uint64_t near_pages; /* in it */
    uint64_t far_first;  /* number of the first page outside of it ... */
    uint64_t places;     /* ... where uint32_t say for each chunk of these where it is (space.h); 0: there are none */
    uint64_t n_pages;    /* in all */
    uint64_t entries; /* struct page, for each page */
    uint64_t pool_space;
    uint64_t pool_slabs;
    uint64_t pool_max_slabs;
    uint64_t dictionaries; /* struct dictionary, SQUEEZE_DICTIONARIES of them */
    uint64_t limbo_space;
    uint64_t limbo_slots;
};

void corefile_fill(struct corefile *corefile, const struct space *space, const struct pagetable *table, const struct store *store,
                   const struct limbo *limbo, bool by_protection);

#endif
