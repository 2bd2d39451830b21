/*
 * writeback.h - from the pool to the swap file: which images go, when, and how segments are emptied again.
 *
 * With a swap the pool is a buffer. Frozen pages stand in a queue, the coldest first. When half of the buffer's bound is
 * used, a background thread copies the coldest images into a segment and writes it. Only then do the pages that are still frozen change
 * from FROZEN to SWAPPED. A thread that evicts and finds the buffer over its bound writes a segment itself, or waits for the
 * thread that writes: there is one writer at a time. While the file cannot be written, the bound yields and images stay in RAM;
 * the write is tried again at growing intervals.
 *
 * Invariants, with the lock free of holders:
 *   1. queue = pages in PAGE_FROZEN without PAGE_FLAG_WRITING, when there is a swap; empty otherwise
 *   2. PAGE_FLAG_WRITING is set only on FROZEN pages, and only while `busy`; or, without a swap, while the cold tier's batch is out
 *   3. live units of a segment = units of the pages in PAGE_SWAPPED, or in transit from it, that name it
 *
 * Calls: swap, store, cold, marks, queue, pagetable, log, os.  Locks: pager.lock, which it is given.
 * Memory: its own mapping: two segments and a list.
 */
#ifndef GHOSTMEM_CORE_WRITEBACK_H
#define GHOSTMEM_CORE_WRITEBACK_H

#include "core/cold.h"
#include "core/kept.h"
#include "core/marks.h"
#include "core/pagetable.h"
#include "core/queue.h"
#include "core/store.h"
#include "core/swap.h"

struct writeback_buffer;

struct writeback {
    /* Set by writeback_init(), constant afterwards. */
    struct os_lock *lock;    /* pager.lock */
    struct os_event *ended;  /* signalled when a round has ended */
    struct pagetable *table;
    struct store *store;
    struct swap swap;
    struct kept kept;
    struct cold cold; /* without a swap */
    const struct marks *locked; /* pages that must not get into a dictionary; NULL: none */
    const struct marks *undumped;
    const _Atomic bool *far_undumped; /* nor, if true, any outside of the ghost range; NULL: false */
    _Atomic uint64_t bound_bytes; /* of the pool, with a swap */
    uint64_t limit_bytes; /* of resident pages */
    struct writeback_buffer *buffer;

    /* Guarded by the lock. */
    struct page_queue queue;
    bool busy;   /* a round is under way: its thread alone uses the buffer and calls the swap's unlocked functions */
    bool paused; /* for a fork: begin no round */
    bool missed; /* a round was not begun because of `busy` or `paused`: the background thread looks again when that is over */
    bool opened; /* a file of our own, at some time */
    uint64_t retry_ns;   /* after a failure: not before */
    uint64_t backoff_ns; /* 0: the last write succeeded */
    uint64_t failed_lines;
    uint64_t n_written;  /* pages that became SWAPPED */
    uint64_t kept_bytes; /* of kept images in the pool */

    struct os_event wanted; /* wakes the background thread */
    _Atomic bool resting;   /* it sleeps until it is woken, or is about to */
};

/* After swap_init(), if there is a swap. @bound_bytes: of the pool. @limit_pages: most pages that can be resident. 0 or -errno: no swap. */
int writeback_init(struct writeback *wb, struct os_lock *lock, struct os_event *ended, struct pagetable *table,
                   struct store *store, uint64_t bound_bytes, size_t limit_pages);

/* Other bounds. */
void writeback_resize_locked(struct writeback *wb, uint64_t bound_bytes, size_t limit_pages);

static inline bool writeback_is_on(const struct writeback *wb)
{
    return swap_is_on(&wb->swap);
}

/* A page has become FROZEN, or is about to be something else. */
void writeback_enter_locked(struct writeback *wb, page_number number);
void writeback_leave_locked(struct writeback *wb, page_number number);

/* Entries have moved from @from on to @to on, with the queue's links in them as they were. */
void writeback_moved_locked(struct writeback *wb, page_number to, page_number from, size_t n_pages);

/* Clear PAGE_FLAG_WRITING of these pages: their images in the segment under way will be dead. */
void writeback_recall_locked(struct writeback *wb, page_number first, size_t n_pages);

/*
 * A frozen page comes in: is its image in the pool to be kept? Not with a swap file, where the pool is a buffer; not beyond 15 % of all
 * RAM that paging holds; not in the last eighth of the pool; and not where hashes do not pay. @is_free: the image needs no hash.
 * @for_long: the page is going to stay (proven), and must leave some of the room to fresh pages.
 */
bool writeback_wants_kept_locked(struct writeback *wb, bool is_free, bool for_long);

/* Is the room for kept images in the pool taken, but for a little? */
bool writeback_kept_is_full_locked(const struct writeback *wb);

/* Keep the image at @handle, after writeback_wants_kept_locked(). Returns its number among the kept ones; 0: there is no room. */
uint32_t writeback_keep_locked(struct writeback *wb, store_handle handle, struct kept_hash hash);

/* An image is kept no longer, and the caller's again. */
struct kept_image writeback_take_kept_locked(struct writeback *wb, uint32_t kept);

/* The number of its kept image in a RESIDENT or COOLED page's entry. */
uint32_t writeback_kept_of(const struct page *page);

/* A RESIDENT or COOLED page gives its kept image up. */
void writeback_unkeep_locked(struct writeback *wb, struct page *page);

/* The image that number @kept stands for is not needed any more. 0: there is none. */
void writeback_drop_kept_locked(struct writeback *wb, uint32_t kept);

/*
 * Called before another image is made: returns when the pool is within its bound, or the bound has to yield.
 * Context: threads in whose descriptor table the files stand; no lock of ours is held.
 */
void writeback_throttle(struct writeback *wb);

/* There may be something to do for the background thread. */
void writeback_poke(struct writeback *wb);

/* The background thread's life: opens the file, writes, cleans. Never returns. */
void writeback_background(struct writeback *wb);

/* ---- writeback_cold.c: without a swap, images are squeezed ---- */

/* In writeback_enter_locked(): when the page's image was made is noted. */
void writeback_note_image_locked(struct writeback *wb, page_number number);

/* What the cold thread waits for: a part of the thread that evicts. Takes the lock in short turns. */
void writeback_serve_cold(struct writeback *wb);

/* The parts of it. */
void writeback_gather_cold(struct writeback *wb);
void writeback_settle_cold(struct writeback *wb);
void writeback_install_dictionary(struct writeback *wb);

/* In a forked child. */
void writeback_fork_child(struct writeback *wb);

size_t writeback_meta_bytes(const struct writeback *wb);

#endif
