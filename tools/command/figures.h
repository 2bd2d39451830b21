/*
 * figures.h - the statistics of one run, read back from the JSON that the library writes.
 *
 * Calls: command, jansson.  Locks: none.  Memory: jansson's.
 */
#ifndef GHOSTMEM_TOOLS_FIGURES_H
#define GHOSTMEM_TOOLS_FIGURES_H

#include <jansson.h>
#include <stdbool.h>

/* What core/stats.h says of each; pages are in bytes here. A key that a version does not write is 0. */
struct figures {
    json_t *all; /* the object as it was read */
    const char *version;
    const char *program;
    double process; /* its id; 0: a version that does not say, nor what follows */
    double run_s;
    double started_s; /* since 1970 */
    double rss_peak;
    /* Seconds, of all threads together. */
    double waited;
    double waited_first_touch;
    double waited_image;
    double waited_swap;
    double waited_cooled;
    double waited_call;
    double waited_other;
    const char *backend;
    const char *backend_reason;
    bool engaged;

    double limit;
    double resident;
    double resident_peak;
    double exceeded;
    double cooled;
    double frozen;
    double same_filled;
    double swapped;
    double lost;
    double asked; /* by live blocks, at most */
    double frozen_peak; /* away at most, as pages */
    double images_held; /* the RAM for them, at most */
    double tables;
    double swap_file;

    /* Pages. */
    double first_touches;
    double thaws;
    double soft_faults;
    double write_faults;
    double read_ahead;
    double read_ahead_wasted;
    double asked_pages;
    double images_made;

    double faults;
    double ratio; /* of compression; 0: nothing was compressed */
    double swap_errors;
    double outside_changes;
};

/* 0; -1: one line has said what is wrong with the file. */
int figures_read(const char *path, struct figures *figures);
void figures_free(struct figures *figures);

#endif
