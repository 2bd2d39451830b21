/*
 * duel.c - set duelling (Qureshi et al., ISCA 2007): a sixteenth of the pages is replaced in each of some ways, always; the other
 * pages in the way that costs its sixteenth least. Only faults need be seen for that.
 */
#include "bench/simulate/policies.h"
#include "bench/simulate/segments.h"

#include "bench/pattern.h"

#define N_WAYS 3u
#define ONE_IN 16u
/* What a fault costs against a soft one, and how fast the past is forgotten. */
#define MISS_COST 8u
#define SOFT_COST 3u
#define HALVE_EVERY 4096u

static const struct segments_setting ways[N_WAYS] = {
    {.small_percent = 10, .history_percent = 90, .cooled_per_mille = 31},
    {.cooled_per_mille = 250},
    {.small_percent = 2, .small_leaves = true, .admit_every = 32},
};

struct duelling {
    struct segments groups[N_WAYS + 1]; /* the last: all other pages */
    uint64_t costs[N_WAYS];
    unsigned n_events;
    unsigned way;
};

static unsigned group_of(const struct duelling *d, uint32_t page)
{
    unsigned hash = (unsigned)(pattern_mix(page) % ONE_IN);

    return hash < N_WAYS && d->groups[hash].limit > 0 ? hash : N_WAYS;
}

static void begin(void *state, struct machine *m, const void *setting)
{
    struct duelling *d = state;
    size_t share = m->limit / ONE_IN;

    (void)setting;
    for (unsigned i = 0; i < N_WAYS; i++)
        segments_init(&d->groups[i], share, &ways[i], (uint8_t)(1 + i * SEGMENTS_LISTS));
    segments_init(&d->groups[N_WAYS], m->limit - N_WAYS * share, &ways[0], 1 + N_WAYS * SEGMENTS_LISTS);
}

static void note(struct duelling *d, unsigned group, unsigned cost)
{
    unsigned best = d->way;

    if (group == N_WAYS)
        return;
    d->costs[group] += cost;
    if (++d->n_events % HALVE_EVERY != 0)
        return;
    for (unsigned i = 0; i < N_WAYS; i++)
        if (d->costs[i] < d->costs[best] - d->costs[best] / 16)
            best = i;
    if (best != d->way)
        segments_set(&d->groups[N_WAYS], &ways[best]);
    d->way = best;
    for (unsigned i = 0; i < N_WAYS; i++)
        d->costs[i] /= 2;
}

static void soft(void *state, struct machine *m, uint32_t page)
{
    struct duelling *d = state;
    unsigned group = group_of(d, page);

    segments_soft(&d->groups[group], m, page);
    note(d, group, SOFT_COST);
}

static void miss(void *state, struct machine *m, uint32_t page)
{
    struct duelling *d = state;
    unsigned group = group_of(d, page);

    segments_miss(&d->groups[group], m, page);
    note(d, group, MISS_COST);
}

const struct policy policy_duel = {
    .name = "duel of three", .state_bytes = sizeof(struct duelling), .begin = begin, .soft = soft, .miss = miss};
