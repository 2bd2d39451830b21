/*
 * now.c - what core/reclaim.c does where the threads that fault evict: a FIFO, cooled pages up to an eighth of the limit, runs of
 * eight. What is known to be unchanged leaves at once, and has no second chance.
 */
#include "bench/simulate/list.h"
#include "bench/simulate/policies.h"

#define RECLAIM_BATCH 32u
#define DIRECT_BATCH 8u
#define MAX_COOLED 4096u
#define COOLED_SHARE 8u
#define MIN_LIMIT_FOR_RESERVE 64u

struct now {
    struct list queue;
    struct list cooled;
    size_t cooled_target;
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
    list_init(&n->queue, 1);
    list_init(&n->cooled, 2);
    n->batch = m->limit >= DIRECT_BATCH ? least(DIRECT_BATCH, m->limit / 8) : 1;
    if (m->limit < MIN_LIMIT_FOR_RESERVE)
        return;
    n->cooled_target = least(m->limit / COOLED_SHARE, MAX_COOLED);
    n->free_target = least(m->limit / 32, RECLAIM_BATCH);
}

/* reclaim_cool(). Returns the frames that became free. */
static size_t cool(struct now *n, struct machine *m, size_t wanted, size_t *n_picked)
{
    size_t n_freed = 0;

    *n_picked = least(least(wanted, RECLAIM_BATCH), n->queue.n);
    for (size_t i = 0; i < *n_picked; i++) {
        uint32_t page = list_pop(&n->queue, m);

        if (machine_knows_unchanged(m, page)) {
            machine_evict(m, page);
            n_freed++;
        } else {
            machine_cool(m, page);
            list_push(&n->cooled, m, page);
        }
    }
    return n_freed;
}

/* reclaim_evict() */
static void evict(struct now *n, struct machine *m)
{
    size_t wanted = n->batch;
    size_t n_left = m->limit;
    size_t n_freed = 0;

    while (n_left > 0 && n_freed < wanted && n->cooled.n < n->cooled_target + wanted) {
        size_t n_picked;

        n_freed += cool(n, m, n->cooled_target + wanted - n->cooled.n, &n_picked);
        if (n_picked == 0)
            break;
        n_left -= least(n_left, n_picked);
    }
    for (size_t left = n_freed < wanted ? wanted - n_freed : n_freed / COOLED_SHARE; left > 0 && n->cooled.n > 0; left--)
        machine_evict(m, list_pop(&n->cooled, m));
}

static void soft(void *state, struct machine *m, uint32_t page)
{
    struct now *n = state;

    list_remove(&n->cooled, m, page);
    list_push(&n->queue, m, page);
}

static void miss(void *state, struct machine *m, uint32_t page)
{
    struct now *n = state;

    if (machine_free_frames(m) <= n->free_target)
        evict(n, m);
    while (machine_free_frames(m) == 0)
        evict(n, m);
    machine_enter(m, page);
    list_push(&n->queue, m, page);
}

const struct policy policy_now = {
    .name = "GhostMem now", .state_bytes = sizeof(struct now), .begin = begin, .soft = soft, .miss = miss};
