/* segments.c - see segments.h. */
#include "bench/simulate/segments.h"
#include "bench/simulate/policies.h"

void segments_set(struct segments *s, const struct segments_setting *setting)
{
    s->setting = setting;
    s->cooled_target = s->limit * setting->cooled_per_mille / 1000;
}

void segments_init(struct segments *s, size_t limit, const struct segments_setting *setting, uint8_t first_list)
{
    *s = (struct segments){.limit = limit};
    list_init(&s->small, first_list);
    list_init(&s->main, (uint8_t)(first_list + 1));
    list_init(&s->cooled, (uint8_t)(first_list + 2));
    list_init(&s->history, (uint8_t)(first_list + 3));
    segments_set(s, setting);
}

static bool is_full(const struct segments *s)
{
    return s->small.n + s->main.n + s->cooled.n >= s->limit;
}

/* ---- what has left ---- */

static uint32_t *memo_of(const struct segments *s, struct machine *m, uint32_t page)
{
    size_t n = s->limit * s->setting->history_percent / 100;

    return &m->nodes[page % (n < m->trace->n_pages ? n : m->trace->n_pages)].memo;
}

static void remember(struct segments *s, struct machine *m, uint32_t page)
{
    if (s->setting->history_is_table) {
        *memo_of(s, m, page) = page + 1;
        return;
    }
    list_push(&s->history, m, page);
    while (s->history.n > s->limit * s->setting->history_percent / 100)
        list_pop(&s->history, m);
}

/* Has the page left lately? Then it is forgotten. */
static bool recall(struct segments *s, struct machine *m, uint32_t page)
{
    bool remembered;

    if (s->setting->history_is_table) {
        uint32_t *memo = memo_of(s, m, page);

        remembered = *memo == page + 1;
        *memo = remembered ? 0 : *memo;
        return remembered;
    }
    remembered = list_has(&s->history, m, page);
    if (remembered)
        list_remove(&s->history, m, page);
    return remembered;
}

/* ---- coming and going ---- */

static void evict(struct segments *s, struct machine *m, uint32_t page, bool from_small)
{
    machine_evict(m, page);
    if (from_small || s->setting->adapts)
        remember(s, m, page);
}

/* The oldest page of small or main goes its way. False: both are empty. */
static bool age(struct segments *s, struct machine *m)
{
    bool from_small = s->small.n > 0 && (s->main.n == 0 || s->small.n > s->limit * s->setting->small_percent / 100);
    struct list *list = from_small ? &s->small : &s->main;
    uint32_t page;

    if (list->n == 0)
        return false;
    page = list_pop(list, m);
    if ((from_small && s->setting->small_leaves) || (s->setting->unchanged_leave && machine_knows_unchanged(m, page))) {
        evict(s, m, page, from_small);
        return true;
    }
    machine_cool(m, page);
    m->nodes[page].mark = from_small;
    list_push(&s->cooled, m, page);
    return true;
}

static void make_room(struct segments *s, struct machine *m)
{
    while (is_full(s)) {
        s->was_full = true;
        if (s->cooled.n <= s->cooled_target && age(s, m))
            continue;
        if (s->cooled.n > 0) {
            uint32_t page = list_pop(&s->cooled, m);

            evict(s, m, page, m->nodes[page].mark != 0);
        }
    }
}

void segments_soft(struct segments *s, struct machine *m, uint32_t page)
{
    list_remove(&s->cooled, m, page);
    list_push(&s->main, m, page);
    if (s->setting->adapts && s->cooled_target > s->limit / 64)
        s->cooled_target--;
}

static bool goes_to_main(struct segments *s, bool remembered)
{
    unsigned every = s->setting->admit_every;

    if ((remembered && !s->setting->adapts) || s->setting->small_percent == 0)
        return true;
    return every != 0 && (!s->was_full || s->n_admitted++ % every == 0);
}

void segments_miss(struct segments *s, struct machine *m, uint32_t page)
{
    bool remembered = recall(s, m, page);

    if (remembered && s->setting->adapts) {
        s->cooled_target += s->setting->gain;
        if (s->cooled_target > s->limit / 2)
            s->cooled_target = s->limit / 2;
    }
    make_room(s, m);
    machine_enter(m, page);
    list_push(goes_to_main(s, remembered) ? &s->main : &s->small, m, page);
}

/* ---- as policies ---- */

static void begin(void *state, struct machine *m, const void *setting)
{
    segments_init(state, m->limit, setting, 1);
}

static void soft(void *state, struct machine *m, uint32_t page)
{
    segments_soft(state, m, page);
}

static void miss(void *state, struct machine *m, uint32_t page)
{
    segments_miss(state, m, page);
}

#define SEGMENTS(identifier, name_, ...)                                                                               \
    static const struct segments_setting identifier##_setting = {__VA_ARGS__};                                        \
    const struct policy policy_##identifier = {.name = name_,                                                         \
                                               .state_bytes = sizeof(struct segments),                                \
                                               .setting = &identifier##_setting,                                      \
                                               .begin = begin,                                                        \
                                               .soft = soft,                                                          \
                                               .miss = miss};

SEGMENTS(fifo, "FIFO", .cooled_per_mille = 0)
SEGMENTS(sfifo_32, "second chance 1/32", .cooled_per_mille = 31)
SEGMENTS(sfifo_8, "second chance 1/8", .cooled_per_mille = 125)
SEGMENTS(sfifo_4, "second chance 1/4", .cooled_per_mille = 250)
SEGMENTS(sfifo_2, "second chance 1/2", .cooled_per_mille = 500)
SEGMENTS(sfifo_adaptive, "second chance, adaptive", .cooled_per_mille = 125, .adapts = true, .gain = 2, .history_percent = 25)
SEGMENTS(twoq_fifo, "2Q, cooled none", .small_percent = 25, .small_leaves = true, .history_percent = 50)
SEGMENTS(twoq_8, "2Q, cooled 1/8", .small_percent = 25, .small_leaves = true, .history_percent = 50, .cooled_per_mille = 125)
SEGMENTS(s3_0, "S3-FIFO, cooled none", .small_percent = 10, .history_percent = 90, .cooled_per_mille = 0)
SEGMENTS(s3_32, "S3-FIFO, cooled 1/32", .small_percent = 10, .history_percent = 90, .cooled_per_mille = 31)
SEGMENTS(s3_8, "S3-FIFO, cooled 1/8", .small_percent = 10, .history_percent = 90, .cooled_per_mille = 125)
SEGMENTS(s3_now, "S3-FIFO, cooled 1/8, unchanged leave", .small_percent = 10, .history_percent = 90, .cooled_per_mille = 125,
         .unchanged_leave = true)
SEGMENTS(sfifo_now, "second chance 1/8, unchanged leave", .cooled_per_mille = 125, .unchanged_leave = true)
SEGMENTS(proposed, "2Q proposed", .small_percent = 10, .small_leaves = true, .unchanged_leave = true, .cooled_per_mille = 62,
         .history_percent = 150, .history_is_table = true)
SEGMENTS(keep, "keep most", .small_percent = 2, .small_leaves = true, .admit_every = 32)
