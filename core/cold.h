/*
 * cold.h - the cold tier: images that nobody has wanted for a while are squeezed by a thread of ours.
 *
 * Two threads share the work in turns, so that the one that waits for idle processors never holds a lock that a fault needs. The thread
 * that evicts gathers copies of the coldest images, and later puts squeezed ones in their place (writeback_cold.c). The cold thread
 * squeezes what it was given, measures what that saves and costs, and trains dictionaries. It holds no lock of ours at any time.
 *
 * - Age: an image counts as cold once it is as old as `patience` says, and older if its page has come back from this tier lately.
 *   Patience grows while thaws from this tier cost more than a sixty-fourth of the time.
 * - Share: an eighth of a processor while the process leaves half of one idle, a thirty-second otherwise.
 * - It stops when a window of images shrinks by less than an eighth, and tries again later.
 * - A dictionary is trained when enough pages have been seen, and again when as many more have been as have paid for it. The new one
 *   takes over if it does better on pages that it was not trained on. A page that is locked in RAM or kept out of dumps is never shown to
 *   the training, and a dictionary is not used if one of its pages has become so meanwhile.
 *
 * Calls: store, squeeze, teach, os (mem, thread).  Locks: none; what pager.lock guards is written by its holders.
 * Memory: its own mappings, once there is enough to be saved.
 */
#ifndef GHOSTMEM_CORE_COLD_H
#define GHOSTMEM_CORE_COLD_H

#include "core/space.h"
#include "core/store.h"

#include <stdatomic.h>

#define COLD_BATCH 32u
/* Ages are counted in these. */
#define COLD_TICK_MS 250u
/* How often the pages of one number have come back lately: a table of counters. */
#define COLD_RETURNS 4096u

struct cold_record {
    page_number number;
    uint16_t bytes;
    uint8_t kind;
    bool is_private; /* its page must not be in a dictionary */
    uint16_t squeezed_bytes; /* 0: not worth it */
    uint8_t squeezed_kind;
};

struct cold_batch {
    unsigned char images[COLD_BATCH][PAGE_BYTES];
    unsigned char squeezed[COLD_BATCH][CODEC_MAX_IMAGE_BYTES];
    _Alignas(64) unsigned char page[PAGE_BYTES];
    _Alignas(64) unsigned char back[PAGE_BYTES];
    struct squeeze_reader reader;
    struct cold_record records[COLD_BATCH];
    size_t n;
    bool is_out; /* guarded by pager.lock: pages may have PAGE_FLAG_WRITING */
};

/* Whose turn it is with the batch. */
enum cold_turn {
    COLD_OURS,   /* the cold thread's; the others are for the thread that evicts: */
    COLD_GATHER, /* fill the batch */
    COLD_SETTLE, /* put what was squeezed in its place */
    COLD_INSTALL, /* take the new dictionary over */
};

/* Pages for a dictionary. */
#define COLD_SAMPLES 256u
#define COLD_HELD_OUT 32u /* of those, for the comparison */
struct cold_samples {
    unsigned char pages[COLD_SAMPLES][PAGE_BYTES];
    unsigned char dictionary[32 * KIB];
    page_number numbers[COLD_SAMPLES];
    size_t n;
};

struct cold_counters {
    uint64_t squeezed; /* images, since the start */
    uint64_t squeezed_from_bytes; /* what they were ... */
    uint64_t squeezed_bytes;      /* ... and became */
    uint64_t refused; /* images that would not have become an eighth smaller */
    uint64_t thaws;   /* pages that came back from this tier */
    uint64_t dictionaries; /* trained and used */
    uint64_t dictionaries_refused; /* trained, and no better; or that failed */
    uint64_t failures; /* squeezed images that did not read back */
    uint64_t pauses;   /* it did not pay */
    uint64_t cpu_ns;   /* of the cold thread */
};

struct cold {
    /* Set by cold_init(), constant afterwards. */
    struct store *store;
    struct os_event *served; /* wakes the thread that evicts */
    struct squeezer squeezer; /* and its contexts, the cold thread's */

    _Atomic int turn;        /* enum cold_turn */
    struct os_event wanted;  /* wakes the cold thread */
    _Atomic bool resting;    /* it sleeps until there are new images */
    _Atomic uint32_t clock;  /* ticks */
    _Atomic uint32_t n_new;  /* images that have been made since the start */

    /* Whose turn it is. */
    struct cold_batch *batch;     /* NULL before it is needed */
    struct cold_samples *samples; /* NULL unless they are being collected */
    void *training;      /* memory for that; NULL: none */
    struct dictionary fresh;      /* the one to be taken over */
    page_number cursor;  /* of the sweep */
    uint32_t threshold;  /* of this pass over all pages: ticks */
    uint32_t oldest;     /* image that has been passed over in it */
    uint32_t previous_oldest; /* the same of the pass before */
    bool passed;         /* the pass has ended with this batch */
    uint64_t gathered_ns; /* what gathering it took */
    uint32_t serial;     /* of the dictionaries, 1 for none: what has been tried since is not tried again */
    uint32_t serials[SQUEEZE_DICTIONARIES]; /* 0: there is none */
    int current;         /* -1: without a dictionary */
    int retiring;        /* its images are made anew, to have room for another one; -1: none */

    /* The cold thread's. */
    uint32_t patience;   /* ticks */
    uint64_t not_before_ns; /* it does not pay until then */
    uint64_t backoff_ns;
    size_t n_window;     /* images tried, and what they cost: units of the pool */
    uint64_t window_before;
    uint64_t window_after;
    uint64_t n_seen;     /* images tried since the last training ... */
    uint64_t teach_after; /* ... and so many before the next one */
    uint64_t random;
    uint64_t debt_ns;    /* of sleep, for the share */
    uint64_t slow_ns;    /* what a thaw costs more from this tier: mean */
    uint64_t looked_ns;  /* when what follows was looked at */
    uint64_t looked_process_ns;
    uint64_t looked_cpu_ns;
    uint64_t looked_thaws;
    unsigned n_looks;
    bool process_is_busy;

    /* Written by one thread at a time, read by anybody. */
    struct cold_counters counters;
    _Atomic uint8_t returns[COLD_RETURNS];
};

/* @way: SQUEEZE_OFF: there is no such tier. @level: as for squeezer_init(). */
void cold_init(struct cold *cold, struct store *store, enum squeeze_way way, int level, struct os_event *served);

static inline bool cold_is_on(const struct cold *cold)
{
    return cold->squeezer.way != SQUEEZE_OFF;
}

/* Is a batch out, so that pages may have PAGE_FLAG_WRITING? With pager.lock held. */
static inline bool cold_is_out(const struct cold *cold)
{
    return cold->batch != NULL && cold->batch->is_out;
}

/* An image has been made, with pager.lock held. */
static inline void cold_note_new(struct cold *cold)
{
    atomic_fetch_add(&cold->n_new, 1);
    if (atomic_load(&cold->resting))
        os_event_signal(&cold->wanted);
}

/* A page has come back from this tier. With pager.lock held. */
void cold_note_thaw(struct cold *cold, page_number number);

/* Has it done so often lately, so that an image of the fast tier would be cheaper? With pager.lock held. */
bool cold_comes_back(const struct cold *cold, page_number number);

/* How old its image must be. With pager.lock held. */
uint32_t cold_age_wanted(const struct cold *cold, page_number number);

/* Squeeze the batch: the cold thread's turn. */
void cold_squeeze(struct cold *cold);

/* Enough samples: train, and compare. True: cold->fresh is better. */
bool cold_teach(struct cold *cold);

/* The batch, the contexts: 0 or -ENOMEM, -EINVAL. */
int cold_open(struct cold *cold);

/* The cold thread's life. Never returns. */
void cold_background(struct cold *cold);

/* In a forked child, which has no cold thread yet. The caller has seen to the pages of the batch. */
void cold_fork_child(struct cold *cold);

size_t cold_meta_bytes(const struct cold *cold);

#endif
