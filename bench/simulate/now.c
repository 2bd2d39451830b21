/*
 * now.c - what core/reclaim.c does with `signal`, where the threads that fault evict: pages that come in are fresh, those that come back
 * while they are remembered are proven, and nothing is cooled. Runs of sixteen.
 */
#include "bench/simulate/list.h"
#include "bench/simulate/policies.h"

#define DIRECT_BATCH 16u
#define FRESH_SHARE 10u
#define HISTORY_HALVES 3u
#define MIN_LIMIT_FOR_RESERVE 64u

struct now {
    struct list fresh;
    struct list proven;
    size_t n_remembered;
    size_t batch;
    size_t free_target;
};

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void begin(void *state, struct machine *m, const void *setting)
{
    struct now *n = state;

    (void)setting;
    list_init(&n->fresh, 1);
    list_init(&n->proven, 2);
    n->n_remembered = least(m->limit * HISTORY_HALVES / 2, m->trace->n_pages);
    n->batch = m->limit >= DIRECT_BATCH ? least(DIRECT_BATCH, m->limit / 8) : 1;
    if (m->limit >= MIN_LIMIT_FOR_RESERVE)
        n->free_target = least(m->limit / 32, 32);
}

/* core/history.h */
static uint32_t *memo_of(const struct now *n, struct machine *m, uint32_t page)
{
    return &m->nodes[page % n->n_remembered].memo;
}

static void evict(struct now *n, struct machine *m)
{
    for (size_t i = 0; i < n->batch && n->fresh.n + n->proven.n > 0; i++) {
        bool is_fresh = n->fresh.n > m->limit / FRESH_SHARE || n->proven.n == 0;
        uint32_t page = list_pop(is_fresh ? &n->fresh : &n->proven, m);

        if (is_fresh)
            *memo_of(n, m, page) = page + 1;
        machine_evict(m, page);
    }
}

static void soft(void *state, struct machine *m, uint32_t page)
{
    (void)state; /* nothing is ever cooled */
    (void)m;
    (void)page;
}

static void miss(void *state, struct machine *m, uint32_t page)
{
    struct now *n = state;
    uint32_t *memo = memo_of(n, m, page);
    bool remembered = *memo == page + 1;

    *memo = remembered ? 0 : *memo;
    if (machine_free_frames(m) <= n->free_target)
        evict(n, m);
    while (machine_free_frames(m) == 0)
        evict(n, m);
    machine_enter(m, page);
    list_push(remembered ? &n->proven : &n->fresh, m, page);
}

const struct policy policy_now = {
    .name = "GhostMem now", .state_bytes = sizeof(struct now), .begin = begin, .soft = soft, .miss = miss};
