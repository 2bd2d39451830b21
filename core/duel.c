/* duel.c - see duel.h. */
#include "core/duel.h"

/* A winner is kept for 16 turns, and for twice as many each time it wins again, up to 128. */
#define KEEP_MIN_TURNS 16u
#define KEEP_MAX_TURNS 128u
/* Way 1 must be cheaper by a twentieth to win: a draw goes to way 0. */
#define MARGIN 20
/* Another sum: a third more, or a quarter less. */
#define MORE_SHARE 3
#define LESS_SHARE 4

static void start_turn(struct duel *duel)
{
    duel->n_left = duel->turn_units;
    duel->n_counted = 0;
    duel->spent_ns = 0;
}

static void start_duel(struct duel *duel, unsigned way)
{
    duel->way = way;
    duel->decided = false;
    start_turn(duel);
}

void duel_init(struct duel *duel, uint64_t turn_units)
{
    *duel = (struct duel){.turn_units = turn_units, .winner = 2};
    start_duel(duel, 0);
}

void duel_fix(struct duel *duel, unsigned way)
{
    *duel = (struct duel){.way = way, .fixed = true};
}

static void decide(struct duel *duel)
{
    uint64_t first = duel->ps_a_unit[0];
    unsigned winner = duel->ps_a_unit[1] < first - first / MARGIN ? 1 : 0;
    bool again = winner == duel->winner;

    duel->keep_turns = again ? (unsigned)min_size(2 * (size_t)duel->keep_turns, KEEP_MAX_TURNS) : KEEP_MIN_TURNS;
    duel->winner = winner;
    duel->way = winner;
    duel->decided = true;
    duel->n_kept = 0;
    start_turn(duel);
}

/* The winner's turn is over. */
static void look_again(struct duel *duel, uint64_t ps)
{
    uint64_t kept_ps = duel->n_kept == 0 ? duel->ps_a_unit[duel->way] : duel->kept_ps;

    duel->n_kept++;
    if (duel->n_kept == 1)
        duel->kept_ps = ps;
    if (ps > kept_ps + kept_ps / MORE_SHARE || ps < kept_ps - kept_ps / LESS_SHARE)
        duel->winner = 2; /* whoever wins now has not won in this */
    if (duel->n_kept >= duel->keep_turns || duel->winner == 2)
        start_duel(duel, 0);
    else
        start_turn(duel);
}

static void end_turn(struct duel *duel)
{
    uint64_t ps = duel->spent_ns * 1000 / duel->n_counted;

    if (duel->decided) {
        look_again(duel, ps);
        return;
    }
    duel->ps_a_unit[duel->way] = ps;
    if (duel->way == 0)
        start_duel(duel, 1);
    else
        decide(duel);
}

void duel_count(struct duel *duel, uint64_t n, uint64_t now_ns)
{
    if (duel->fixed)
        return;
    if (duel->last_ns != 0 && ((duel->decided && duel->n_kept > 0) || duel->n_left <= duel->turn_units / 2)) {
        uint64_t spent_ns = now_ns - duel->last_ns;

        duel->spent_ns += spent_ns < DUEL_LONGEST_NS ? spent_ns : DUEL_LONGEST_NS;
        duel->n_counted += n;
    }
    duel->last_ns = now_ns;
    duel->n_left -= n < duel->n_left ? n : duel->n_left;
    if (duel->n_left == 0 && duel->n_counted > 0)
        end_turn(duel);
}
