/*
 * watch.h - all processes under GhostMem that we may see, looked at again and again.
 *
 * Calls: process, thread.  Locks: none.  Memory: malloc.
 */
#ifndef GHOSTMEM_TOOLS_WATCH_H
#define GHOSTMEM_TOOLS_WATCH_H

#include "tools/command/process.h"

#define WATCH_HISTORY 120

/* What one look at a process has found. Sizes in bytes. */
struct sight {
    double limit;
    double resident;
    double frozen; /* away: with an image in RAM or in the swap file, or a repeated word */
    double images; /* RAM held for them */
    double swap;   /* bytes of images in the swap file */
    double ratio;  /* of compression, since the start; 0: nothing was compressed */
    double faults_a_second;
    double waited_percent; /* of the time since the last look, of all threads together: may be more than 100 */
};

struct watched {
    struct process process;
    bool seen;    /* in this round */
    bool closed;  /* we may not look into it: */
    char why[PROCESS_WHY_BYTES];
    uint64_t faults;
    uint64_t waited_ns;
    uint64_t looked_ns;
    struct sight now;
    struct sight history[WATCH_HISTORY]; /* a ring: the last one is at n_history - 1 */
    unsigned n_history;
};

struct watch {
    struct watched **all;
    size_t n;
    size_t room;
};

/* One look at all processes. 0; -1: no /proc, or no memory. */
int watch_look(struct watch *watch);
void watch_free(struct watch *watch);

/* The keys: p process, m memory resident, f faults, w waiting, i images, l limit. The order is kept where two are equal. False: no such. */
bool watch_sort(struct watch *watch, char key);

/* Of @back looks ago, 0: the last one; NULL: it was not there then. */
const struct sight *watch_before(const struct watched *watched, unsigned back);

#endif
