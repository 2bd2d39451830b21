/*
 * machine.h - memory of so many frames under one policy of replacement, and the bill for it.
 *
 * A page is out (an image), in (a touch of it costs nothing, and nobody notices), or cooled (taken out of the program's range,
 * still in its frame: a touch costs a soft fault, and the policy learns of it). In and cooled pages together never exceed the
 * limit. The machine keeps the places and counts what is done; the policy decides which page goes where.
 *
 * A page is unchanged while it has an image and nobody wrote to it. That is known of a page that came in closed to writing; of
 * another one a hash tells when it leaves through the cooled pages. Both as in core/kept.h, with the same bounds.
 *
 * Calls: trace.  Locks: none.  Memory: malloc, freed at the end of simulate().
 */
#ifndef BENCH_SIMULATE_MACHINE_H
#define BENCH_SIMULATE_MACHINE_H

#include "bench/simulate/trace.h"

enum place { PLACE_OUT, PLACE_IN, PLACE_COOLED };

struct seat {
    uint8_t place;
    bool exists;  /* it has been touched */
    bool written; /* since it came in */
    bool shut;    /* to writing, since it came in */
    bool imaged;  /* its image is kept while it is in */
};

/* Links of a page in one of the policy's lists, and words for the policy. */
struct node {
    uint32_t older;
    uint32_t younger;
    uint32_t mark;
    uint32_t memo; /* of no page: entry n of a table that a policy keeps, all zeros at first */
    uint8_t list; /* the policy's number of the list it stands in; 0: none */
};

/* What was done. */
struct bill {
    uint64_t accesses;
    uint64_t first_touches;
    uint64_t thaws;
    uint64_t thaws_ahead; /* of which read-ahead brought in: no trap of their own */
    uint64_t soft_faults;
    uint64_t soft_ahead;
    uint64_t write_faults; /* a page that came in closed to writing is written */
    uint64_t coolings;
    uint64_t drops;       /* of pages known to be unchanged */
    uint64_t hashed_drops; /* of cooled pages found to be unchanged */
    uint64_t freezes;
};

struct machine {
    const struct trace *trace;
    size_t limit;
    size_t now;         /* index of the access */
    size_t n_in;
    size_t n_cooled;
    size_t n_frozen;    /* images of pages that are out */
    size_t n_kept;      /* images of pages that are not */
    size_t n_accounted; /* where the bill begins */
    unsigned protect_credit;
    unsigned n_protect_asked;
    struct seat *seats;
    struct node *nodes;
    uint32_t *next_use; /* per access: when its page is touched next; UINT32_MAX: never. Only for policies that ask for it */
    struct bill bill;
};

/* A page comes in from outside. There is room. */
void machine_enter(struct machine *m, uint32_t page);
/* A page that is in is cooled. */
void machine_cool(struct machine *m, uint32_t page);
/* A page goes out. One that is in and may have changed is cooled for a moment. */
void machine_evict(struct machine *m, uint32_t page);

/* Is the room for kept images taken, but for a little? */
bool machine_kept_is_full(const struct machine *m);

static inline size_t machine_free_frames(const struct machine *m)
{
    return m->limit - m->n_in - m->n_cooled;
}

static inline bool machine_knows_unchanged(const struct machine *m, uint32_t page)
{
    return m->seats[page].shut;
}

/*
 * One policy. Its state is @state_bytes of zeros, followed by begin().
 * @hit: only for policies that see every access, which no real one can here; such a one is a bound, not a candidate.
 * @soft: the page was cooled, and is in again. @miss: the page is out; on return it is in.
 */
struct policy {
    const char *name;
    bool is_ideal;
    bool knows_future;
    size_t state_bytes;
    const void *setting; /* the policy's own */
    void (*begin)(void *state, struct machine *m, const void *setting);
    void (*hit)(void *state, struct machine *m, uint32_t page);
    void (*soft)(void *state, struct machine *m, uint32_t page);
    void (*miss)(void *state, struct machine *m, uint32_t page);
    void (*end)(void *state);
};

/* Run @trace with @limit frames, at least 1. @read_ahead: as core/stream.h does it, for policies that are not ideal. */
struct bill simulate(const struct trace *trace, const struct policy *policy, size_t limit, bool read_ahead);

/* Nanoseconds an access. */
double bill_ns(const struct bill *bill);

#endif
