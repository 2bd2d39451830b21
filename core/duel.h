/*
 * duel.h - which of two ways of doing the same work is cheaper here and now: found out by doing it both ways.
 *
 * Set duelling (Qureshi et al., ISCA 2007) in time instead of sets: for a turn of so many units of work each way is used and
 * the time is taken. The cheaper one is kept for many turns, for more of them with each duel that it wins again; then both
 * are tried anew. They are tried at once when a unit costs a third more or a quarter less than before, because the program
 * does something else. The first half of a turn that may follow one of the other way is a warm-up and is not counted.
 *
 * Calls: nothing.  Locks: the caller's.  Memory: the struct.
 */
#ifndef GHOSTMEM_CORE_DUEL_H
#define GHOSTMEM_CORE_DUEL_H

#include "core/base.h"

struct duel {
    unsigned way;        /* the one to use now: 0 or 1 */
    bool fixed;          /* for good: nothing is timed */
    bool decided;        /* @way has won; else its turn is being timed */
    unsigned winner;     /* of the last duel; 2: there was none */
    unsigned keep_turns; /* it is kept for so many ... */
    unsigned n_kept;     /* ... of which these are over */
    uint64_t turn_units; /* of work */
    uint64_t n_left;     /* of this turn's units */
    uint64_t n_counted;  /* units of this turn that are in @spent_ns */
    uint64_t spent_ns;
    uint64_t last_ns;      /* when work was last done; 0: it is not known */
    uint64_t ps_a_unit[2]; /* what the last duel found: picoseconds */
    uint64_t kept_ps;      /* what a unit cost in the winner's first turn since */
};

/* Both ways are tried first, way 0 before way 1. @turn_units: at least 2. */
void duel_init(struct duel *duel, uint64_t turn_units);

/* No duel: @way for good. */
void duel_fix(struct duel *duel, unsigned way);

/*
 * @n units of work have been done. @now_ns: a monotonic clock. A pause counts as DUEL_LONGEST_NS at most: the program was
 * waiting for something else.
 */
void duel_count(struct duel *duel, uint64_t n, uint64_t now_ns);

#define DUEL_LONGEST_NS ((uint64_t)1000 * 1000)

#endif
