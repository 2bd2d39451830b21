/*
 * sieve.c - SIEVE (Zhang et al., NSDI 2024): a hand goes from old to young; pages touched since it came by last stay where they are.
 *
 * As a bound it sees every access. As a candidate a second hand goes ahead of it and cools what it passes: a page touched
 * before the first hand arrives is in again, and stays where it is.
 */
#include "bench/simulate/list.h"
#include "bench/simulate/policies.h"

struct sieve {
    struct list pages;
    uint32_t hand;
    uint32_t cooling_hand;
    size_t cooled_target;
};

static void begin(void *state, struct machine *m, const void *setting)
{
    struct sieve *s = state;

    list_init(&s->pages, 1);
    s->hand = s->cooling_hand = NO_PAGE;
    if (setting != NULL)
        s->cooled_target = m->limit / *(const unsigned *)setting;
}

static uint32_t place_of(const struct sieve *s, uint32_t hand)
{
    return hand != NO_PAGE ? hand : s->pages.oldest;
}

static void evict(struct sieve *s, struct machine *m, uint32_t page)
{
    uint32_t younger = m->nodes[page].younger;

    if (s->cooling_hand == page)
        s->cooling_hand = younger;
    s->hand = younger;
    list_remove(&s->pages, m, page);
    machine_evict(m, page);
}

static void enter(struct sieve *s, struct machine *m, uint32_t page)
{
    machine_enter(m, page);
    m->nodes[page].mark = 0;
    list_push(&s->pages, m, page);
}

/* ---- the bound ---- */

static void hit(void *state, struct machine *m, uint32_t page)
{
    (void)state;
    m->nodes[page].mark = 1;
}

static void miss(void *state, struct machine *m, uint32_t page)
{
    struct sieve *s = state;

    if (machine_free_frames(m) == 0) {
        uint32_t hand = place_of(s, s->hand);

        while (m->nodes[hand].mark != 0) {
            m->nodes[hand].mark = 0;
            hand = place_of(s, m->nodes[hand].younger);
        }
        evict(s, m, hand);
    }
    enter(s, m, page);
}

/* ---- the candidate ---- */

static void cool_one(struct sieve *s, struct machine *m)
{
    uint32_t hand = place_of(s, s->cooling_hand);

    while (m->seats[hand].place != PLACE_IN)
        hand = place_of(s, m->nodes[hand].younger);
    machine_cool(m, hand);
    s->cooling_hand = m->nodes[hand].younger;
}

static void soft(void *state, struct machine *m, uint32_t page)
{
    (void)state;
    (void)m;
    (void)page;
}

static void miss_cooling(void *state, struct machine *m, uint32_t page)
{
    struct sieve *s = state;

    if (machine_free_frames(m) == 0) {
        uint32_t hand;

        while (m->n_cooled <= s->cooled_target && m->n_in > 0)
            cool_one(s, m);
        hand = place_of(s, s->hand);
        while (m->seats[hand].place != PLACE_COOLED)
            hand = place_of(s, m->nodes[hand].younger);
        evict(s, m, hand);
    }
    enter(s, m, page);
}

static const unsigned an_eighth = 8;

const struct policy policy_sieve = {
    .name = "SIEVE, ideal", .is_ideal = true, .state_bytes = sizeof(struct sieve), .begin = begin, .hit = hit, .miss = miss};
const struct policy policy_sieve_cooling = {.name = "SIEVE, cooled 1/8",
                                            .state_bytes = sizeof(struct sieve),
                                            .setting = &an_eighth,
                                            .begin = begin,
                                            .soft = soft,
                                            .miss = miss_cooling};
