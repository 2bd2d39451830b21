/*
 * stream.h - what each thread has faulted on lately: where to read ahead, and what not to evict yet.
 *
 * Read-ahead: a fault on the page that follows the last run continues a stream, and each continued stream doubles its
 * window. A fault anywhere else brings in one page.
 *
 * Progress: an instruction may need up to four pages at once. When the limit is tiny, the pages that a thread got last
 * are not evicted until it had the time to use them: one page as a rule, four once a thread faults again on a page
 * that it had got a moment ago.
 *
 * Calls: os.  Locks: the caller's (pager.lock).  Memory: the struct.
 */
#ifndef GHOSTMEM_CORE_STREAM_H
#define GHOSTMEM_CORE_STREAM_H

#include "core/pagetable.h"

#define STREAM_MAX_WINDOW 32u
#define STREAM_RECENT 4u
#define STREAM_COUNT 64u

struct stream {
    uint32_t thread;
    page_number expected;              /* first page after the last run */
    uint32_t window;                   /* pages of the last run */
    uint32_t n_struggles;              /* faults for which four pages stay protected */
    uint64_t used_ns;                  /* time of the last fault, 0: free; kept only when protecting */
    page_number recent[STREAM_RECENT]; /* ring: pages got last */
    uint32_t next_recent;
};

struct streams {
    /* Set by streams_init(), constant afterwards. */
    uint32_t max_window;
    bool protecting; /* the limit is so small that a page could go before it was used */

    /* Guarded by pager.lock. */
    bool paused; /* no read-ahead */
    struct stream streams[STREAM_COUNT];
};

void streams_init(struct streams *streams, size_t limit_pages);

/* A fault of @thread on @number: returns the pages to bring in, 1 .. max_window, starting there. */
uint32_t streams_fault(struct streams *streams, uint32_t thread, page_number number);

/* The run that was brought in ends before @end. */
void streams_ran_to(struct streams *streams, uint32_t thread, page_number end);

/* Is it too early to evict @number? @now_ns: of os_now_ns(). */
bool streams_protect(const struct streams *streams, page_number number, uint64_t now_ns);

#endif
