/*
 * arc.c - ARC (Megiddo, Modha, FAST 2003): pages touched once and pages touched again, and how much room the first get adapts
 * to what was missed lately.
 *
 * As a bound it sees every access, and both parts are in LRU order. As a candidate they are FIFOs whose oldest pages are
 * cooled, as CAR's clocks (Bansal, Modha, FAST 2004): a page touched while it is cooled was touched again.
 */
#include "bench/simulate/list.h"
#include "bench/simulate/policies.h"

struct arc {
    struct list once;
    struct list again;
    struct list once_gone;
    struct list again_gone;
    struct list cooled; /* node.mark: was it among @again? */
    size_t n_once_cooled;
    size_t once_target;
    size_t cooled_target;
};

static void begin(void *state, struct machine *m, const void *setting)
{
    struct arc *a = state;

    list_init(&a->once, 1);
    list_init(&a->again, 2);
    list_init(&a->once_gone, 3);
    list_init(&a->again_gone, 4);
    list_init(&a->cooled, 5);
    if (setting != NULL)
        a->cooled_target = m->limit / *(const unsigned *)setting;
}

/* A page that was thrown out too early: its part grows, the more so the rarer such pages are. True: it is remembered. */
static bool adapt(struct arc *a, struct machine *m, uint32_t page)
{
    size_t n_once = a->once_gone.n;
    size_t n_again = a->again_gone.n;
    size_t step;

    if (list_has(&a->once_gone, m, page)) {
        step = n_again > n_once ? n_again / n_once : 1;
        a->once_target = a->once_target + step < m->limit ? a->once_target + step : m->limit;
        list_remove(&a->once_gone, m, page);
        return true;
    }
    if (list_has(&a->again_gone, m, page)) {
        step = n_once > n_again ? n_once / n_again : 1;
        a->once_target = a->once_target > step ? a->once_target - step : 0;
        list_remove(&a->again_gone, m, page);
        return true;
    }
    return false;
}

static void forget(struct arc *a, struct machine *m)
{
    size_t n_once = a->once.n + a->n_once_cooled;

    while (a->once_gone.n > 0 && n_once + a->once_gone.n > m->limit)
        list_pop(&a->once_gone, m);
    while (a->again_gone.n > 0 && a->once_gone.n + a->again_gone.n > m->limit)
        list_pop(&a->again_gone, m);
}

static bool once_is_long(const struct arc *a)
{
    return a->once.n > 0 && (a->again.n == 0 || a->once.n + a->n_once_cooled > a->once_target);
}

/* ---- the bound ---- */

static void hit(void *state, struct machine *m, uint32_t page)
{
    struct arc *a = state;

    list_remove(list_has(&a->once, m, page) ? &a->once : &a->again, m, page);
    list_push(&a->again, m, page);
}

static void miss(void *state, struct machine *m, uint32_t page)
{
    struct arc *a = state;
    bool remembered = adapt(a, m, page);

    if (machine_free_frames(m) == 0) {
        bool from_once = once_is_long(a);
        uint32_t victim = list_pop(from_once ? &a->once : &a->again, m);

        machine_evict(m, victim);
        list_push(from_once ? &a->once_gone : &a->again_gone, m, victim);
    }
    machine_enter(m, page);
    list_push(remembered ? &a->again : &a->once, m, page);
    forget(a, m);
}

/* ---- the candidate ---- */

static void cool_one(struct arc *a, struct machine *m)
{
    bool from_once = once_is_long(a);
    uint32_t page = list_pop(from_once ? &a->once : &a->again, m);

    machine_cool(m, page);
    m->nodes[page].mark = !from_once;
    a->n_once_cooled += from_once;
    list_push(&a->cooled, m, page);
}

static void soft(void *state, struct machine *m, uint32_t page)
{
    struct arc *a = state;

    a->n_once_cooled -= m->nodes[page].mark == 0;
    list_remove(&a->cooled, m, page);
    list_push(&a->again, m, page);
}

static void miss_cooling(void *state, struct machine *m, uint32_t page)
{
    struct arc *a = state;
    bool remembered = adapt(a, m, page);

    if (machine_free_frames(m) == 0) {
        uint32_t victim;

        while (a->cooled.n <= a->cooled_target && m->n_in > 0)
            cool_one(a, m);
        victim = list_pop(&a->cooled, m);
        a->n_once_cooled -= m->nodes[victim].mark == 0;
        machine_evict(m, victim);
        list_push(m->nodes[victim].mark == 0 ? &a->once_gone : &a->again_gone, m, victim);
    }
    machine_enter(m, page);
    list_push(remembered ? &a->again : &a->once, m, page);
    forget(a, m);
}

static const unsigned an_eighth = 8;
static const unsigned a_32nd = 32;

const struct policy policy_arc = {
    .name = "ARC, ideal", .is_ideal = true, .state_bytes = sizeof(struct arc), .begin = begin, .hit = hit, .miss = miss};
const struct policy policy_arc_cooling = {.name = "ARC, cooled 1/8",
                                          .state_bytes = sizeof(struct arc),
                                          .setting = &an_eighth,
                                          .begin = begin,
                                          .soft = soft,
                                          .miss = miss_cooling};
const struct policy policy_arc_cooling_few = {.name = "ARC, cooled 1/32",
                                              .state_bytes = sizeof(struct arc),
                                              .setting = &a_32nd,
                                              .begin = begin,
                                              .soft = soft,
                                              .miss = miss_cooling};
