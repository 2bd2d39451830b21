/*
 * history.h - which pages have left lately, and how: one that comes back while it is remembered is used more than once.
 *
 * A table of slots, by page number modulo their number: which page left last, by the quotient. It forgets by chance instead of in order,
 * and costs no links; in simulation that is as good (bench/replacement.txt). Two pages of one slot whose quotients are equal modulo 16,383
 * are taken for each other, and stay longer or shorter for it. That can be only where memory is 24,000 times the limit.
 *
 * Of the pages that left with a kept image, and of those that left without, it counts how many came back and how many were forgotten
 * first: how much either are used.
 *
 * Calls: os (mem).  Locks: the caller's (pager.lock).  Memory: 2 bytes a slot, touched on use.
 */
#ifndef GHOSTMEM_CORE_HISTORY_H
#define GHOSTMEM_CORE_HISTORY_H

#include "core/pagetable.h"

/* How a page left. */
#define HISTORY_FRESH 1u /* it had not proven to be used again */
#define HISTORY_BARE 2u  /* it had no kept image */

struct history {
    uint16_t *left; /* the page's quotient, and how it left; 0: none */
    uint32_t n_slots;
    /* Lately, of those with an image [false] and of those without [true]. */
    uint32_t n_back[2];
    uint32_t n_forgotten[2];
};

/* 0 or -ENOMEM: then nothing is ever remembered. */
int history_init(struct history *history, uint32_t n_slots);

/* Another size: all is forgotten. Where there is no memory for that nothing changes. */
void history_resize(struct history *history, uint32_t n_slots);

/* The page leaves. @how: HISTORY_ flags. */
void history_note(struct history *history, page_number number, unsigned how);

/* Did the page leave lately as a fresh one? */
bool history_has(const struct history *history, page_number number);

/* The page comes in. The same, and it is forgotten. */
bool history_recall(struct history *history, page_number number);

/* The page has not left after all. */
void history_forget(struct history *history, page_number number);

/* Do pages that leave without an image come back less often, nine times for ten, than those that leave with one? */
bool history_bare_are_idle(const struct history *history);

size_t history_meta_bytes(const struct history *history);

#endif
