/* s3fifo.c - S3-FIFO (Yang et al., SOSP 2023): a small FIFO of a tenth, a main one, a history as long as that. A bound. */
#include "bench/simulate/list.h"
#include "bench/simulate/policies.h"

#define MAX_COUNT 3u

struct s3fifo {
    struct list small;
    struct list main;
    struct list ghosts;
};

static void begin(void *state, struct machine *m, const void *setting)
{
    struct s3fifo *s = state;

    (void)m;
    (void)setting;
    list_init(&s->small, 1);
    list_init(&s->main, 2);
    list_init(&s->ghosts, 3);
}

static void hit(void *state, struct machine *m, uint32_t page)
{
    (void)state;
    if (m->nodes[page].mark < MAX_COUNT)
        m->nodes[page].mark++;
}

/* Touched more than once: to the main queue. Else it goes, and is remembered. */
static void leave_small(struct s3fifo *s, struct machine *m)
{
    uint32_t page = list_pop(&s->small, m);

    if (m->nodes[page].mark > 1) {
        m->nodes[page].mark = 0;
        list_push(&s->main, m, page);
        return;
    }
    machine_evict(m, page);
    list_push(&s->ghosts, m, page);
    if (s->ghosts.n > m->limit - m->limit / 10)
        list_pop(&s->ghosts, m);
}

static void leave_main(struct s3fifo *s, struct machine *m)
{
    uint32_t page = list_pop(&s->main, m);

    if (m->nodes[page].mark == 0) {
        machine_evict(m, page);
        return;
    }
    m->nodes[page].mark--;
    list_push(&s->main, m, page);
}

static void miss(void *state, struct machine *m, uint32_t page)
{
    struct s3fifo *s = state;
    bool remembered = list_has(&s->ghosts, m, page);

    if (remembered)
        list_remove(&s->ghosts, m, page);
    while (machine_free_frames(m) == 0) {
        if (s->small.n > m->limit / 10 || s->main.n == 0)
            leave_small(s, m);
        else
            leave_main(s, m);
    }
    machine_enter(m, page);
    m->nodes[page].mark = 0;
    list_push(remembered ? &s->main : &s->small, m, page);
}

const struct policy policy_s3fifo = {
    .name = "S3-FIFO, ideal", .is_ideal = true, .state_bytes = sizeof(struct s3fifo), .begin = begin, .hit = hit, .miss = miss};
