/* lru.c - the least recently touched page goes. A bound: it sees every access. */
#include "bench/simulate/list.h"
#include "bench/simulate/policies.h"

struct lru {
    struct list pages;
};

static void begin(void *state, struct machine *m, const void *setting)
{
    struct lru *lru = state;

    (void)m;
    (void)setting;
    list_init(&lru->pages, 1);
}

static void hit(void *state, struct machine *m, uint32_t page)
{
    struct lru *lru = state;

    list_remove(&lru->pages, m, page);
    list_push(&lru->pages, m, page);
}

static void miss(void *state, struct machine *m, uint32_t page)
{
    struct lru *lru = state;

    if (machine_free_frames(m) == 0)
        machine_evict(m, list_pop(&lru->pages, m));
    machine_enter(m, page);
    list_push(&lru->pages, m, page);
}

const struct policy policy_lru = {
    .name = "LRU, ideal", .is_ideal = true, .state_bytes = sizeof(struct lru), .begin = begin, .hit = hit, .miss = miss};
