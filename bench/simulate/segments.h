/*
 * segments.h - the policies that need no accessed bit: FIFOs, some of whose oldest pages are cooled, and a history.
 *
 * small: where a page comes in, unless it is remembered. main: where it comes in otherwise. cooled: what has left either; a page
 * touched there goes to main. history: numbers of pages that have left small (with `adapts`: either).
 *
 * Calls: list, machine.
 */
#ifndef BENCH_SIMULATE_SEGMENTS_H
#define BENCH_SIMULATE_SEGMENTS_H

#include "bench/simulate/list.h"

struct segments_setting {
    unsigned small_percent;    /* 0: there is none */
    bool small_leaves;         /* pages go from small without having been cooled (2Q); else cooled first (S3-FIFO) */
    bool unchanged_leave;      /* pages known to be unchanged are never cooled */
    unsigned cooled_per_mille; /* of the limit; with @adapts: at first */
    bool adapts;               /* cooled: longer when a page of the history is missed, shorter when a cooled one is touched */
    unsigned gain;             /* pages by which it grows; it shrinks by one */
    unsigned history_percent;
    bool history_is_table; /* of so many entries, by page number modulo that: the page that left last. Else the last so many */
    unsigned admit_every; /* of the pages that come in one in so many goes to main */
};

struct segments {
    const struct segments_setting *setting;
    struct list small;
    struct list main;
    struct list cooled; /* node.mark: came from small */
    struct list history;
    size_t limit;
    size_t cooled_target;
    size_t n_admitted;
    bool was_full;
};

#define SEGMENTS_LISTS 4u

/* @first_list: the number of its first list of SEGMENTS_LISTS. */
void segments_init(struct segments *s, size_t limit, const struct segments_setting *setting, uint8_t first_list);
void segments_soft(struct segments *s, struct machine *m, uint32_t page);
void segments_miss(struct segments *s, struct machine *m, uint32_t page);

/* From now on another setting holds; the pages stay where they are. */
void segments_set(struct segments *s, const struct segments_setting *setting);

#endif
