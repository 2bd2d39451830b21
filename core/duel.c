/* duel.c - see duel.h. */
#include "core/duel.h"

/* A winner is kept for 16 turns, and for twice as many each time it wins again, up to 128. */
#define KEEP_MIN_TURNS 16
#define KEEP_MAX_TURNS 128
/* Way 1 must be cheaper by a twentieth to win: a draw goes to way 0. */
#define MARGIN 20

static void start_turn(struct duel *duel, unsigned way)
{
    duel->way = way;
    duel->decided = false;
    duel->n_left = duel->turn_units;
    duel->n_counted = 0;
    duel->spent_ns = 0;
    duel->last_ns = 0;
}

void duel_init(struct duel *duel, uint64_t turn_units)
{
    *duel = (struct duel){.turn_units = turn_units, .winner = 2};
    start_turn(duel, 0);
}

void duel_fix(struct duel *duel, unsigned way)
{
    *duel = (struct duel){.way = way, .fixed = true};
}

static void decide(struct duel *duel)
{
    uint64_t first = duel->ps_a_unit[0];
    unsigned winner = duel->ps_a_unit[1] < first - first / MARGIN ? 1 : 0;

    duel->keep_turns = winner == duel->winner ? (unsigned)min_size(2 * (size_t)duel->keep_turns, KEEP_MAX_TURNS) : KEEP_MIN_TURNS;
    duel->winner = winner;
    duel->way = winner;
    duel->decided = true;
    duel->n_left = duel->turn_units * duel->keep_turns;
}

static void end_turn(struct duel *duel)
{
    if (duel->decided) {
        start_turn(duel, 0);
        return;
    }
    duel->ps_a_unit[duel->way] = duel->spent_ns * 1000 / duel->n_counted;
    if (duel->way == 0)
        start_turn(duel, 1);
    else
        decide(duel);
}

void duel_count(struct duel *duel, uint64_t n, uint64_t now_ns)
{
    if (duel->fixed)
        return;
    if (!duel->decided) {
        if (duel->last_ns != 0 && duel->n_left <= duel->turn_units / 2) {
            uint64_t spent_ns = now_ns - duel->last_ns;

            duel->spent_ns += spent_ns < DUEL_LONGEST_NS ? spent_ns : DUEL_LONGEST_NS;
            duel->n_counted += n;
        }
        duel->last_ns = now_ns;
    }
    duel->n_left -= n < duel->n_left ? n : duel->n_left;
    if (duel->n_left == 0 && (duel->decided || duel->n_counted > 0))
        end_turn(duel);
}
