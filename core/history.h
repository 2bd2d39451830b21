/*
 * history.h - which pages have left lately: one that comes back while it is remembered is used more than once.
 *
 * A table of one page number for each slot, by page number modulo the slots: the one that left last. It forgets by chance instead of
 * in order, and costs no links; in simulation that is as good (bench/replacement.txt).
 *
 * Calls: os (mem).  Locks: the caller's (pager.lock).  Memory: 4 bytes a slot, touched on use.
 */
#ifndef GHOSTMEM_CORE_HISTORY_H
#define GHOSTMEM_CORE_HISTORY_H

#include "core/pagetable.h"

struct history {
    uint32_t *left; /* page number + 1; 0: none */
    uint32_t n_slots;
};

/* 0 or -ENOMEM: then nothing is ever remembered. */
int history_init(struct history *history, uint32_t n_slots);

/* The page leaves. */
void history_note(struct history *history, page_number number);

/* Has the page left lately? */
bool history_has(const struct history *history, page_number number);

/* The same, and it is forgotten. */
bool history_recall(struct history *history, page_number number);

size_t history_meta_bytes(const struct history *history);

#endif
