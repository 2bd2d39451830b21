/* twoq.c - 2Q (Johnson, Shasha, VLDB 1994): a FIFO of a quarter, a history of half, the rest in LRU order. A bound. */
#include "bench/simulate/list.h"
#include "bench/simulate/policies.h"

struct twoq {
    struct list in;   /* A1in */
    struct list out;  /* A1out: pages that have left */
    struct list main; /* Am */
};

static void begin(void *state, struct machine *m, const void *setting)
{
    struct twoq *q = state;

    (void)m;
    (void)setting;
    list_init(&q->in, 1);
    list_init(&q->out, 2);
    list_init(&q->main, 3);
}

static void hit(void *state, struct machine *m, uint32_t page)
{
    struct twoq *q = state;

    if (!list_has(&q->main, m, page))
        return;
    list_remove(&q->main, m, page);
    list_push(&q->main, m, page);
}

static void make_room(struct twoq *q, struct machine *m)
{
    if (machine_free_frames(m) > 0)
        return;
    if (q->in.n > m->limit / 4 || q->main.n == 0) {
        uint32_t page = list_pop(&q->in, m);

        machine_evict(m, page);
        list_push(&q->out, m, page);
        if (q->out.n > m->limit / 2)
            list_pop(&q->out, m);
    } else {
        machine_evict(m, list_pop(&q->main, m));
    }
}

static void miss(void *state, struct machine *m, uint32_t page)
{
    struct twoq *q = state;
    bool remembered = list_has(&q->out, m, page);

    if (remembered)
        list_remove(&q->out, m, page);
    make_room(q, m);
    machine_enter(m, page);
    list_push(remembered ? &q->main : &q->in, m, page);
}

const struct policy policy_twoq = {
    .name = "2Q, ideal", .is_ideal = true, .state_bytes = sizeof(struct twoq), .begin = begin, .hit = hit, .miss = miss};
