/*
 * around.h - how many pages are to come with a fault that continues no stream.
 *
 * Programs use what is adjacent together: nodes of a tree, rows, objects that were made one after the other. A stream finds that out
 * anew each time, doubling from one page. So what would have paid is learned. Set duelling (Qureshi et al., ISCA 2007): where a fault
 * is in a sampled group of AROUND_GROUP pages, one in 16, it brings in one page, and what happens next is seen:
 * - how far the stream went that began there: so each length of a first run could have saved so many faults, for so many pages in vain;
 * - which other pages of the group were asked for as long as they would have stayed: so could have the rest of a smaller group.
 * Everywhere else the way that has the best sum lately is taken, if it has one above nothing. A page in vain counts as AROUND_COST of a
 * fault: it is brought in, pushes another out, and leaves, mostly by its kept image.
 *
 * Calls: nothing.  Locks: the caller's (pager.lock).  Memory: the struct.
 */
#ifndef GHOSTMEM_CORE_AROUND_H
#define GHOSTMEM_CORE_AROUND_H

#include "core/space.h"

#define AROUND_GROUP 16u
#define AROUND_RUNS 5u   /* first runs of 2, 4 .. 32 pages, up or down */
#define AROUND_GROUPS 4u /* of 2, 4 .. 16 pages */
#define AROUND_EPISODES 64u

/* Pages to bring in: the one that faulted, and those @step, 2 * @step ... from it. */
struct ahead {
    int32_t step; /* 0: no stream; n is 1 then */
    uint32_t n;   /* at least 1 */
};

/* A sampled group since its first fault. */
struct around_episode {
    uint32_t group; /* + 1; 0: none */
    uint32_t since; /* n_faults */
    uint32_t first; /* place of that fault in the group */
    uint32_t seen;  /* a bit a page */
};

struct around {
    uint32_t life_faults; /* a page that nobody asks for stays as long as so many faults */
    uint32_t n_faults;
    uint32_t n_known; /* what the sums are of, as far as it matters */
    int32_t runs[2][AROUND_RUNS]; /* up, down: sums of lately, see around.c */
    int32_t groups[AROUND_GROUPS];
    struct around_episode episodes[AROUND_EPISODES];
    /* The best way: a run of so many pages in so many pages' steps; or the rest of a group, where step is 0. 1: none. */
    int32_t best_step;
    uint32_t best_n;
};

void around_init(struct around *around, size_t limit_pages);

/* Another limit. */
void around_resize(struct around *around, size_t limit_pages);

/* Is it in a sampled group? */
static inline bool around_samples(page_number number)
{
    return (number / AROUND_GROUP * UINT32_C(2654435761)) >> 28 == 0;
}

/* A fault that continues no stream, or begins one. */
void around_fault(struct around *around, page_number number);

/*
 * A stream that began in a sampled group, or while no way paid, has ended.
 * @step: 1 or -1. @n: its pages up to its last fault; 1: it was none.
 */
void around_stream_ended(struct around *around, int32_t step, uint32_t n);

/* What is to come with a fault on @number that continues no stream: at most @most pages. */
struct ahead around_start(const struct around *around, page_number number, uint32_t most);

#endif
