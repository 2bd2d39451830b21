/* pager_limit.c - the limit of a running process moves. See pager.h. */
#include "core/pager.h"

#include "platform/thread.h"

#include <errno.h>

/* Pages that leave before other jobs of the same worker have their turn: a few milliseconds, if they have to be compressed. */
#define TURN_PAGES 1024
/* Nothing leaves: so often it is tried again, because threads that use pages now (stream.h) will not do so for ever. */
#define N_TRIES 200
#define TRY_MS 1

struct turn {
    struct reclaim *r;
    size_t n_evicted;
    bool done;
};

static size_t excess_locked(const struct reclaim *r)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    return r->charged > r->limit ? r->charged - r->limit : 0;
}

static void take_turn(void *arg, unsigned worker)
{
    struct turn *turn = arg;
    struct reclaim *r = turn->r;

    for (turn->n_evicted = 0; turn->n_evicted < TURN_PAGES;) {
        size_t excess;
        size_t n;

        os_lock_take(&r->lock);
        turn->done = reclaim_grow_limbo_locked(r);
        excess = excess_locked(r);
        os_lock_release(&r->lock);
        if (excess == 0)
            return;
        turn->done = false;
        n = reclaim_evict(r, worker, min_size(excess, RECLAIM_BATCH));
        if (n == 0)
            return;
        turn->n_evicted += n;
    }
}

/* @run: calls take_turn(). */
static int shrink(struct pager *pager, void (*run)(struct pager *pager, struct turn *turn, unsigned worker), unsigned worker)
{
    struct reclaim *r = &pager->reclaim;
    struct turn turn = {.r = r};
    unsigned n_idle = 0;
    bool above;

    if (!pager_is_engaged(pager))
        return 0;
    for (;;) {
        run(pager, &turn, worker);
        if (turn.done || n_idle == N_TRIES)
            break;
        n_idle = turn.n_evicted > 0 ? 0 : n_idle + 1;
        if (turn.n_evicted == 0)
            os_sleep_ms(TRY_MS);
    }
    os_lock_take(&r->lock);
    above = excess_locked(r) > 0;
    os_lock_release(&r->lock);
    return above ? -EBUSY : 0;
}

static void run_here(struct pager *pager, struct turn *turn, unsigned worker)
{
    (void)pager;
    take_turn(turn, worker);
}

static void run_there(struct pager *pager, struct turn *turn, unsigned worker)
{
    struct visit visit;

    (void)worker;
    visit_begin(&pager->visits, &visit);
    pager->backend->run(pager->backend, take_turn, turn, FAULT_JOB);
    visit_end(&visit);
}

int pager_shrink_as(struct pager *pager, unsigned worker)
{
    return shrink(pager, run_here, worker);
}

int pager_shrink(struct pager *pager)
{
    return shrink(pager, run_there, 0);
}

static void lock(struct pager *pager, struct visit *visit)
{
    visit_begin(&pager->visits, visit);
    os_lock_take(&pager->reclaim.lock);
}

static void release(struct pager *pager, const struct visit *visit)
{
    os_lock_release(&pager->reclaim.lock);
    visit_end(visit);
}

void pager_set_reclaim(struct pager *pager, bool fixed, enum reclaim_way way)
{
    struct visit visit;

    pager->reclaim_fixed = fixed;
    pager->reclaim_way = way;
    if (!pager_is_engaged(pager))
        return;
    lock(pager, &visit);
    if (fixed)
        reclaim_fix_way_locked(&pager->reclaim, way);
    else
        reclaim_free_way_locked(&pager->reclaim);
    release(pager, &visit);
}

void pager_set_swap_max(struct pager *pager, uint64_t bytes)
{
    struct visit visit;

    pager->swap.max_bytes = bytes;
    if (!pager_is_engaged(pager))
        return;
    lock(pager, &visit);
    pager->reclaim.writeback.swap.max_bytes = bytes;
    release(pager, &visit);
}

void pager_set_limit(struct pager *pager, size_t limit, uint64_t pool_bound_bytes)
{
    struct reclaim *r = &pager->reclaim;
    struct visit visit;

    atomic_store(&pager->limit, limit);
    pager->pool_bound_bytes = pool_bound_bytes;
    if (!pager->built)
        return;
    lock(pager, &visit);
    reclaim_set_limit_locked(r, limit);
    writeback_resize_locked(&r->writeback, pool_bound_bytes, limit);
    release(pager, &visit);
}
