/*
 * fake.h - a fault backend without userfaultfd: a test touches pages through fake_load() and the like, which look with
 * mincore(2) whether the page is there and call the fault callback if it is not, as a trap would.
 *
 * The memory is real: what the core drops is gone, and what it reads without having put it there is zeros.
 */
#ifndef TESTS_UNIT_FAKE_H
#define TESTS_UNIT_FAKE_H

#include "core/heap.h"

#include <stdatomic.h>

enum fake_protection {
    FAKE_OPEN,
    FAKE_CLOSED,     /* it is there, and nobody may use it */
    FAKE_READ_ONLY,
};

struct fake {
    struct fault_backend contract; /* first */
    struct fault_setup setup;
    int start_error;
    int restart_error;
    _Atomic uint64_t n_moves;
    _Atomic uint64_t n_fills;

    /* Errors to give: the page at this address cannot be moved (-EBUSY) or is of another kind (-EINVAL). */
    _Atomic uintptr_t busy_page;
    _Atomic uintptr_t odd_page;
    _Atomic uintptr_t staying_page; /* cannot be extracted */
    _Atomic int extract_error; /* extract() is refused */
    _Atomic uintptr_t poisoned; /* the page that was poisoned last: a touch of it ends without it */
    _Atomic int fail_fills; /* so many fills end with -ENOMEM */
    _Atomic bool refuses_runs; /* more than one page cannot be protected or opened at once: one of them may be before that is found */
    _Atomic unsigned char *protected_pages; /* a byte a ghost page: enum fake_protection */
};

/* One for the process: a pager and a heap over @limit pages, with the fake behind them. */
struct world {
    struct heap heap;
    struct pager pager;
    struct fake fake;
    _Atomic unsigned next_worker; /* threads of a test take worker numbers: at most 6 */
};

/* For what is called with pager.lock held, where there is no world: the calling thread holds a lock of that rank from now on. */
void fake_take_pager_lock(void);

void fake_init(struct fake *fake, bool can_move);

/* A heap of @range_bytes at @limit pages. */
struct world *world_new(size_t range_bytes, size_t limit, bool can_move);

/* Before anything is allocated: a swap file in TMPDIR or /tmp, and the smallest buffer in front of it. */
void world_use_swap(struct world *world, uint64_t max_bytes, bool encrypts, bool plain);

/* Is the page of @p in its place, and may be read? */
bool fake_is_present(struct world *world, const void *p);

/* What a load does: bring the page in if it is not there. Returns @p. @thread: 1 .. */
void *fake_look(struct world *world, void *p, uint32_t thread);

/* What a store does. */
void *fake_touch(struct world *world, void *p, uint32_t thread);

/* Read or write one word, holding the page in its place meanwhile. */
uint64_t fake_load(struct world *world, const uint64_t *p, uint32_t thread);
void fake_store(struct world *world, uint64_t *p, uint64_t value, uint32_t thread);
void fake_add(struct world *world, uint64_t *p, uint64_t value, uint32_t thread);

#endif
