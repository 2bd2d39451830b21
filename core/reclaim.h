/*
 * reclaim.h - the resident set: the budget, who is in it, and who has to leave.
 *
 * charged pages = resident pages in the program's range + COOLED pages + frames granted for pages about to come in.
 * A frame is charged before the page exists and uncharged after its RAM went back, so that the resident pages never
 * exceed what is charged, and charged never exceeds the limit - unless nothing at all can be evicted: then the limit
 * yields, and that is counted.
 *
 * Who leaves is said by 2Q (Johnson and Shasha, VLDB 1994) without accessed bits: pages that come in are fresh, and the oldest of them
 * leave while they are more than a tenth of the limit; those that come back while they are remembered (history.h) are proven, and
 * leave in the order in which they came. While the room for kept images is taken, pages without one are spared as far as they are used
 * like others: to compress costs ten times what to drop does.
 *
 * How a page leaves. A page that is known to be the same as its kept image is dropped. A page whose frame nobody else can have is extracted
 * with others, by one change of the page tables (fault.h), and compressed. Other pages are cooled: moved in runs to the limbo range, where
 * a touch costs a soft fault; the oldest cooled pages are compressed and dropped in runs. A page that cannot be moved (older kernel, not
 * writable) is compressed in place, write-protected meanwhile.
 *
 * Who evicts is settled by a duel: the threads that fault, each for itself ("direct"), or a thread of ours in the background.
 * In the background it costs the program no time of its own, but a second processor that changes the page tables interrupts the
 * first one at each change; which weighs more depends on the machine, on how many processors are idle, and on the way pages leave.
 *
 * Invariants, with the lock free of holders:
 *   1. fresh = pages in PAGE_FRESH; proven and stuck = pages in PAGE_RESIDENT; limbo's resting slots = pages in PAGE_COOLED
 *   2. charged = RESIDENT + COOLED + frames held by pages in transit
 *   3. every page in transit has one thread at work that will end it without waiting for the program
 *
 * Calls: duel, pagetable, queue, limbo, stream, store, fetch, writeback, log, os (fault).  Locks: pager.lock, it lives here.
 * Memory: per-worker scratch mapped once, when the core engages.
 */
#ifndef GHOSTMEM_CORE_RECLAIM_H
#define GHOSTMEM_CORE_RECLAIM_H

#include "core/duel.h"
#include "core/fetch.h"
#include "core/history.h"
#include "core/hold.h"
#include "core/limbo.h"
#include "core/marks.h"
#include "core/pagetable.h"
#include "core/queue.h"
#include "core/store.h"
#include "core/stream.h"
#include "core/writeback.h"
#include "platform/fault.h"
#include "platform/lock.h"

/* Pages in one background round; a run of 16 moves at a fifth of the price a page (bench/floor, UFFDIO_MOVE). */
#define RECLAIM_BATCH 32u
/* Pages that a thread evicts which waits for a frame, or would rather go on: few, if they have to be compressed. */
#define RECLAIM_DIRECT_BATCH 16u
/* Adjacent pages that are opened to writing together: a table of the processor's, on x86-64. Their entries are read in 1 us, locked. */
#define RECLAIM_OPENED_PAGES 512u

enum reclaim_way {
    RECLAIM_DIRECT,
    RECLAIM_BACKGROUND,
};

struct reclaim_worker {
    struct store_scratch scratch;
    _Alignas(4096) unsigned char pages[STREAM_MAX_WINDOW][PAGE_BYTES]; /* thawed, before they are filled in */
    _Alignas(4096) unsigned char boxes[FETCH_BUFFER_BYTES]; /* as they were read from the swap file */
    page_number batch[RECLAIM_BATCH];
    limbo_slot slots[RECLAIM_BATCH];
    uint64_t results[RECLAIM_BATCH];
    uint32_t kept[RECLAIM_BATCH]; /* numbers of kept images */
    struct kept_image images[RECLAIM_BATCH]; /* what these were ... */
    struct kept_hash hashes[RECLAIM_BATCH];  /* ... and theirs */
    uint8_t outcomes[RECLAIM_BATCH];
    bool shut[RECLAIM_BATCH]; /* it was SHUT, and is to be so again if it stays */
};

struct reclaim_counters {
    uint64_t faults;      /* messages from the backend */
    uint64_t soft_faults; /* pages given back from limbo */
    uint64_t clean_drops; /* pages that left unchanged, with their image kept */
    uint64_t write_faults; /* pages that had come in write-protected, and were written */
    uint64_t thaws;       /* pages restored from an image or a word */
    uint64_t freezes;     /* pages that became an image or a word */
    uint64_t first_touches;
    uint64_t read_ahead_pages;
    uint64_t freezes_in_place;
    uint64_t extracted; /* pages taken out together with others, by one change of the page tables */
    uint64_t busy_pages;  /* evictions refused because the page is pinned or locked */
    uint64_t pool_full;   /* images refused by the pool */
    uint64_t compactions;
    uint64_t outside_changes; /* pages found otherwise than we left them: discarded or brought in by others */
    uint64_t reclaimed_direct;     /* frames freed by threads that faulted ... */
    uint64_t reclaimed_background; /* ... and by the background thread */
};

/* What threads have waited for. */
enum reclaim_wait {
    WAIT_FIRST_TOUCH, /* a page of zeros */
    WAIT_IMAGE,       /* a page with an image in RAM, or a repeated word */
    WAIT_SWAP,        /* a page with an image in the swap file */
    WAIT_COOLED,      /* a page that was still whole */
    WAIT_CALL,        /* what a system call needed */
    WAIT_OTHER,       /* another thread that had the page in transit; a page closed to writing */
    N_WAITS,
};

/* Written by the one who is worker at the time: no two threads share a line. */
struct reclaim_waited {
    _Alignas(64) _Atomic uint64_t ticks[N_WAITS];
};

static inline void reclaim_waited_add(struct reclaim_waited *waited, enum reclaim_wait kind, uint64_t began, uint64_t now)
{
    uint64_t ticks = now > began ? now - began : 0; /* the counters of two processors may differ by a little */

    atomic_store_explicit(&waited->ticks[kind], atomic_load_explicit(&waited->ticks[kind], memory_order_relaxed) + ticks,
                          memory_order_relaxed);
}

struct reclaim {
    /* Set by reclaim_init(), constant afterwards. */
    struct space *space;
    struct pagetable *table;
    struct store *store;
    struct fault_backend *backend;
    struct reclaim_worker *workers; /* FAULT_MAX_WORKERS */
    struct holds *holds;
    void (*on_wake)(void *arg, unsigned worker); /* the background thread calls it when it wakes; NULL: nobody */
    void *on_wake_arg;
    const struct marks *locked; /* pages that never leave; NULL: there are none */
    bool way_is_fixed; /* duel.way is not for a duel to say */

    /* Written with the lock held; what follows the limit is read without it, too. */
    size_t limit;
    size_t low_free;      /* the background thread starts below so many free frames ... */
    size_t high_free;     /* ... and stops here */
    size_t cooled_target; /* pages to keep in limbo */
    size_t fresh_target;  /* of more fresh pages than these the oldest leaves, else the oldest proven one */
    size_t direct_batch;  /* a thread that faults evicts so many at once ... */
    size_t direct_free;   /* ... below so many free frames */

    struct os_lock lock; /* pager.lock; guards all below, the page table and the streams */
    struct page_queue fresh; /* pages that came in, and were not remembered to have left lately */
    struct page_queue proven; /* that were */
    struct history history;
    unsigned n_bare_met; /* that would have been spared; see reclaim_cool.c */
    struct page_queue stuck; /* resident pages that would not leave; back among the proven now and then */
    uint64_t stuck_retry_ns; /* time of the next return ... */
    uint64_t stuck_wait_ns;  /* ... which is so long after the last one ... */
    size_t n_retried;        /* ... of so many pages; 0: there was none since the queue was empty */
    struct limbo limbo;
    struct streams streams;
    struct writeback writeback;
    struct duel duel; /* of enum reclaim_way */
    size_t charged;
    size_t charged_peak;
    size_t allowed; /* the limit; or, since that has come down, what there was above it and has not left yet */
    size_t exceeded_peak; /* pages by which the limit had to yield */
    struct reclaim_counters counters;
    struct reclaim_waited waited[FAULT_MAX_WORKERS];
    uint64_t pool_full_lines;
    unsigned n_refills;
    unsigned n_extracting; /* batches on their way, in which some may be taken out */
    size_t n_operations; /* discards and moves of whole blocks under way */
    bool paused;         /* a fork is waiting for transits and operations to end: start none */

    struct os_event transit_ended;
    struct os_event frames_wanted; /* wakes the background thread */
};

/* Workers and limbo for @limit pages. 0 or -ENOMEM, -EINVAL. */
int reclaim_init(struct reclaim *r, struct space *space, struct pagetable *table, struct store *store,
                 struct fault_backend *backend, struct holds *holds, size_t limit);

/* Another limit. What is above it leaves by and by: pager_set_limit(). */
void reclaim_set_limit_locked(struct reclaim *r, size_t limit);

/* As many slots in limbo as the limit wants, if there are fewer. False: not now. */
bool reclaim_grow_limbo_locked(struct reclaim *r);

/* Both ways are tried from now on, where the limit leaves room for a reserve. */
void reclaim_free_way_locked(struct reclaim *r);

/* Who evicts, for good. */
void reclaim_fix_way_locked(struct reclaim *r, enum reclaim_way way);

static inline uintptr_t reclaim_address(const struct reclaim *r, page_number number)
{
    return space_address(r->space, number);
}

/*
 * Frames for @wanted pages, charged. Returns how many were granted, at least one; or 0: the lock was dropped meanwhile
 * to make room, and the caller must look at its page again. @exhausted: false before the first call for a fault; set
 * when nothing can be evicted, so that the next call lets the limit yield.
 * Context: fault path; pager.lock is held on entry and on return.
 */
size_t reclaim_grant_relock(struct reclaim *r, unsigned worker, size_t wanted, bool *exhausted);

/* Should the calling thread, whose fault is served, evict now for the next fault? Then: reclaim_refill(). */
bool reclaim_is_low_locked(const struct reclaim *r);

/* Evict a few pages. Returns how many frames became free. Takes the lock. */
size_t reclaim_refill(struct reclaim *r, unsigned worker);

/* A frame for a moment, whatever the limit says: it yields, and that is counted. */
void reclaim_charge(struct reclaim *r, size_t n_pages);
void reclaim_uncharge(struct reclaim *r, size_t n_pages);

void reclaim_uncharge_locked(struct reclaim *r, size_t n_pages);

/* A page is not as we left it: count that, and say it under GHOSTMEM_VERBOSE=2. */
void reclaim_note_change(struct reclaim *r, page_number number, const char *what);

/* A page has become resident: the youngest of its queue. Its entry's `value` is the number of its kept image, or 0. */
void reclaim_enter_locked(struct reclaim *r, page_number number);

/* After reclaim_enter_locked(): the page was in RAM before. Charge its frame, whatever the limit says. */
void reclaim_adopt_locked(struct reclaim *r);

/* The same for a page that is touched before it was frozen: it is proven. */
void reclaim_enter_proven_locked(struct reclaim *r, page_number number);

/* A resident page becomes the oldest fresh one: the next to leave. */
void reclaim_age_locked(struct reclaim *r, page_number number);

/* A resident page leaves its queue; the caller sets its state. */
void reclaim_leave_locked(struct reclaim *r, page_number number);

/* The pages are missing from now on, and their RAM returned. 0 or -errno: the contents may still be there. */
int reclaim_drop(struct reclaim *r, page_number first, size_t n_pages);

/* A resident page that is SHUT becomes accessible. 0 or -errno: the kernel has no memory, or no mapping left, for it to be so. */
int reclaim_open_locked(struct reclaim *r, page_number number);

/*
 * Protection against writing does not pay, and @number had to be opened: open the pages around it too, by one change of the page
 * tables. Their images stay with them, to be compared when they leave. Only where pages are closed to writing alone.
 */
void reclaim_open_around_locked(struct reclaim *r, page_number number);

/* A fork is about to happen: every frame will be the child's too. */
void reclaim_share_all_locked(struct reclaim *r);

/* In a forked child, where no page is write-protected. */
void reclaim_fork_child(struct reclaim *r);

/* Wait until no page is being extracted. The lock is dropped meanwhile. */
void reclaim_await_extraction_relock(struct reclaim *r);

/* Copy pages that may be protected. 0 or -EFAULT. */
int reclaim_peek(struct reclaim *r, void *buffer, page_number first, size_t n_pages);

/* Sleep until some page's transit ends. The lock is dropped meanwhile. */
void reclaim_wait_relock(struct reclaim *r);

/* Start no transit before this returns: waits out a fork that is being prepared. */
void reclaim_admit_relock(struct reclaim *r);

/*
 * Move pages between places with all that can come in between: runs that end at a mapping's border, pages shared
 * with a forked child. Returns the pages moved; *@error says why the next one was not.
 */
size_t reclaim_move_run(struct reclaim *r, uintptr_t dst, uintptr_t src, size_t n_pages, int *error);

/* Evict up to @wanted pages. Returns how many frames became free. Takes the lock. */
size_t reclaim_evict(struct reclaim *r, unsigned worker, size_t wanted);

/* One round of the pool's compaction: every image is offered to it. Takes the lock in short turns. */
void reclaim_compact(struct reclaim *r);

/* The pool is full: resident pages give their kept images up. Takes the lock in short turns. */
void reclaim_yield_kept(struct reclaim *r);

/* The background thread's life: keeps high_free frames free where that is its part, and the pool compact. Never returns. */
void reclaim_background(struct reclaim *r, unsigned worker);

#endif
