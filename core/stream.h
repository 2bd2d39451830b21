/*
 * stream.h - what each thread has faulted on lately: where to read ahead, and what not to evict yet.
 *
 * Read-ahead: a thread has a few streams at once, so that a copy or a merge is several of them. A fault next to an earlier one
 * begins a stream that goes up or down; two equal distances of at most STREAM_MAX_STEP pages begin one with that step. A fault
 * where a stream's last run ended continues it: all of the run was used, and the next may be twice as long. Any other fault
 * brings in one page, or as many as are known to pay (around.h): they are the first run of a stream that is foretold.
 *
 * Waste: the system tells nobody whether a page was touched. So a run counts as used once its stream goes on, and what it
 * brought ahead as wasted if the stream does not, or if the thread faults inside the run: an estimate, at most one run too much
 * for each stream. A thread's waste halves how far its next streams reach before they have proved themselves. A run that ends
 * with its block is taken as used, and so is a first run that was foretold: it has its own account.
 *
 * Progress: an instruction may need up to four pages at once. When the limit is tiny, the pages that a thread got last
 * are not evicted until it had the time to use them: one page as a rule, four once a thread faults again on a page
 * that it had got a moment ago.
 *
 * Calls: os.  Locks: the caller's (pager.lock).  Memory: the struct.
 */
#ifndef GHOSTMEM_CORE_STREAM_H
#define GHOSTMEM_CORE_STREAM_H

#include "core/around.h"
#include "core/pagetable.h"

#define STREAM_MAX_WINDOW 32u
/* Where pages do not adjoin, each costs a system call of its own, and the thread waits for all of them. */
#define STREAM_MAX_STEP_WINDOW 8u
#define STREAM_MAX_STEP 64
#define STREAM_RECENT 4u
#define STREAM_EACH 8u
#define STREAM_THREADS 64u

struct stream {
    page_number last;     /* its last fault; PAGE_NONE: free */
    page_number expected; /* its next fault, if it goes on; PAGE_NONE: nobody knows */
    int32_t step;         /* from fault to fault, or page to page of a run; 0: it has had one fault */
    uint32_t window;      /* pages of the last run, as they were wanted */
    uint32_t n_ahead;     /* pages of it that came before they were touched, as long as it may be wasted */
    uint32_t n_full;      /* runs as long as `reach` that were used, since it grew */
    uint32_t age;         /* n_faults at its last fault */
    page_number start;    /* its first fault */
    bool samples;         /* how far it goes is to be learned */
    bool is_first_touch;
    bool is_foretold;     /* its first run was, and has not been used to its end yet */
};

struct stream_thread {
    uint32_t n_struggles;              /* faults for which four pages stay protected */
    uint64_t used_ns;                  /* time of the last fault, 0: free; kept only when protecting */
    page_number recent[STREAM_RECENT]; /* ring: pages got last */
    uint32_t next_recent;

    uint32_t thread;
    uint32_t n_faults;
    uint32_t reach;       /* longest window of a stream that has not proved itself yet */
    uint32_t current;     /* the stream of the last fault */
    struct stream streams[STREAM_EACH];
};

struct streams {
    /* Follow from the limit. */
    uint32_t max_window;
    bool protecting; /* the limit is so small that a page could go before it was used */

    /* Guarded by pager.lock. */
    bool paused; /* no read-ahead */
    uint64_t n_wasted; /* pages */
    struct around around[2]; /* of pages that come back; of first touches */
    struct stream_thread threads[STREAM_THREADS];
};

void streams_init(struct streams *streams, size_t limit_pages);

/* Another limit. */
void streams_resize(struct streams *streams, size_t limit_pages);

/* A fault of @thread on @number: what to bring in, at most max_window pages. @first_touch: the page was EMPTY. */
struct ahead streams_fault(struct streams *streams, uint32_t thread, page_number number, bool first_touch);

/*
 * What came in upon the fault of @thread on @number.
 * @n_ahead: pages beside that one
 * @next: the page at which the stream will fault if it goes on; PAGE_NONE: its block ends before
 */
void streams_ran(struct streams *streams, uint32_t thread, page_number number, uint32_t n_ahead, page_number next);

/* Is it too early to evict @number? @now_ns: of os_now_ns(). */
bool streams_protect(const struct streams *streams, page_number number, uint64_t now_ns);

#endif
