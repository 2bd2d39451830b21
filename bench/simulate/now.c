/*
 * now.c - what core/reclaim_cool.c does with `signal`, where the threads that fault evict: pages that come in are fresh, those that come
 * back while they are remembered are proven, and nothing is cooled. Pages without an image are spared while the room for kept images is
 * taken. Batches of sixteen.
 */
#include "bench/simulate/list.h"
#include "bench/simulate/policies.h"

#define DIRECT_BATCH 16u
#define FRESH_SHARE 10u
#define FRESH_AFTER_FILL 3u
#define HISTORY_HALVES 3u
#define MIN_LIMIT_FOR_RESERVE 64u
#define BARE_LEAVING 32u
#define SPARED_EACH 8u
#define SPARED_TO_TURN 4u
#define LATELY 8192u

struct setting {
    bool spares;
};

struct now {
    const struct setting *setting;
    struct list fresh;
    struct list proven;
    size_t n_remembered;
    size_t batch;
    size_t free_target;
    size_t fresh_target;
    size_t n_bare_met;
    uint64_t n_back[2];
    uint64_t n_forgotten[2];
};

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void begin(void *state, struct machine *m, const void *setting)
{
    struct now *n = state;

    n->setting = setting;
    list_init(&n->fresh, 1);
    list_init(&n->proven, 2);
    n->n_remembered = least(m->limit * HISTORY_HALVES / 2, m->trace->n_pages);
    n->batch = m->limit >= DIRECT_BATCH ? least(DIRECT_BATCH, m->limit / 8) : 1;
    n->fresh_target = m->limit / FRESH_SHARE;
    n->n_back[false] = n->n_back[true] = 1;
    if (m->limit >= MIN_LIMIT_FOR_RESERVE)
        n->free_target = least(m->limit / 32, 32);
}

/* One that came in unprotected and was written has an image that is not its own: nobody knows before it leaves. */
static bool is_bare(const struct machine *m, uint32_t page)
{
    return !m->seats[page].imaged;
}

/* ---- core/history.c ---- */

#define HOW_SHIFT 28
#define PAGE_OF(entry) ((entry) & ((1u << HOW_SHIFT) - 1))
#define FRESH 1u
#define BARE 2u

static uint32_t *memo_of(const struct now *n, struct machine *m, uint32_t page)
{
    return &m->nodes[page % n->n_remembered].memo;
}

static void count(struct now *n, uint32_t memo, bool came_back)
{
    bool bare = (memo >> HOW_SHIFT & BARE) != 0;

    if (memo == 0)
        return;
    ++*(came_back ? &n->n_back[bare] : &n->n_forgotten[bare]);
    if (n->n_back[0] + n->n_back[1] + n->n_forgotten[0] + n->n_forgotten[1] < LATELY)
        return;
    for (unsigned i = 0; i < 2; i++) {
        n->n_back[i] /= 2;
        n->n_forgotten[i] /= 2;
    }
}

static void remember(struct now *n, struct machine *m, uint32_t page, bool is_fresh)
{
    uint32_t *memo = memo_of(n, m, page);

    count(n, *memo, false);
    *memo = (page + 1) | ((is_fresh ? FRESH : 0) | (is_bare(m, page) ? BARE : 0)) << HOW_SHIFT;
}

static bool recall(struct now *n, struct machine *m, uint32_t page)
{
    uint32_t *memo = memo_of(n, m, page);
    bool was_fresh;

    if (PAGE_OF(*memo) != page + 1)
        return false;
    was_fresh = (*memo >> HOW_SHIFT & FRESH) != 0;
    count(n, *memo, true);
    *memo = 0;
    return was_fresh;
}

static bool bare_are_idle(const struct now *n)
{
    return n->n_back[true] * (n->n_back[false] + n->n_forgotten[false]) * 10 <
           n->n_back[false] * (n->n_back[true] + n->n_forgotten[true]) * 9;
}

/* ---- core/reclaim_cool.c ---- */

static void evict(struct now *n, struct machine *m)
{
    size_t n_to_spare = n->setting->spares && machine_kept_is_full(m) && !bare_are_idle(n) ? SPARED_EACH * n->batch : 0;
    bool after_fill = n->fresh.n > FRESH_AFTER_FILL * n->fresh_target;
    size_t n_spared = 0;

    for (size_t i = 0; i < n->batch && n->fresh.n + n->proven.n > 0;) {
        bool in_fresh = n->fresh.n > n->fresh_target && !(after_fill && n_spared >= SPARED_TO_TURN);
        struct list *list = (in_fresh && n->fresh.n > 0) || n->proven.n == 0 ? &n->fresh : &n->proven;
        uint32_t page = list_pop(list, m);

        if (n_to_spare > 0 && is_bare(m, page) && ++n->n_bare_met % BARE_LEAVING != 0) {
            n_to_spare--;
            n_spared++;
            list_push(list, m, page);
            continue;
        }
        n_spared = 0;
        remember(n, m, page, list == &n->fresh);
        machine_evict(m, page);
        i++;
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
    bool remembered = recall(n, m, page);

    if (machine_free_frames(m) <= n->free_target)
        evict(n, m);
    while (machine_free_frames(m) == 0)
        evict(n, m);
    machine_enter(m, page);
    list_push(remembered ? &n->proven : &n->fresh, m, page);
}

static const struct setting now_setting = {.spares = true};
static const struct setting alike_setting = {.spares = false};
const struct policy policy_now = {
    .name = "GhostMem now", .state_bytes = sizeof(struct now), .setting = &now_setting, .begin = begin, .soft = soft, .miss = miss};
const struct policy policy_alike = {
    .name = "GhostMem, none spared", .state_bytes = sizeof(struct now), .setting = &alike_setting,
    .begin = begin, .soft = soft, .miss = miss};
