/* machine.c - see machine.h. */
#include "bench/simulate/machine.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * Nanoseconds, from bench/floor and the table of primitives of a machine with two cores and Linux 6.18. A trap with its way back 1,400,
 * UFFDIO_COPY 1,600 alone and 1,430 in a run, LZ4 out 1,350, the hash 250, UFFDIO_MOVE 1,000 alone and 190 in a run.
 */
static const double FIRST_TOUCH = 3000;
static const double THAW = 1400 + 1600 + 1350 + 250 + 400; /* and the pager's own part */
static const double THAW_AHEAD = 1430 + 1350 + 250;
static const double SOFT_FAULT = 1400 + 1000 + 200;
static const double SOFT_AHEAD = 250;
static const double WRITE_FAULT = 1400 + 810;
static const double COOLING = 700;
static const double DROP = 500;
static const double HASHED_DROP = 250 + 500;
static const double FREEZING = 6500 + 500;

/* As core/kept.c and core/writeback_kept.c; an image is this share of its page. */
#define CREDIT_MAX 64u
#define PROTECTED_WRITTEN 12u
#define PROTECTING_SAMPLE 64u
#define KEPT_PERMILLE 150
#define KEPT_FULL_PERMILLE 131
#define IMAGE_PERCENT 55
/* As core/stream.c. */
#define MAX_WINDOW 32u

static void *zeros(size_t n, size_t bytes)
{
    void *memory = calloc(n + 1, bytes);

    if (memory == NULL) {
        fputs("simulate: no memory\n", stderr);
        exit(1);
    }
    return memory;
}

/* ---- places ---- */

static bool kept_is_beyond(const struct machine *m, unsigned permille)
{
    return m->n_kept * IMAGE_PERCENT * 1000 >= (m->limit * 100 + (m->n_frozen + m->n_kept) * IMAGE_PERCENT) * permille;
}

bool machine_kept_is_full(const struct machine *m)
{
    return kept_is_beyond(m, KEPT_FULL_PERMILLE);
}

static bool protecting_pays(struct machine *m)
{
    return m->protect_credit > 0 || m->n_protect_asked++ % PROTECTING_SAMPLE == 0;
}

static void note_protected(struct machine *m, bool unchanged)
{
    if (!unchanged)
        m->protect_credit -= m->protect_credit < PROTECTED_WRITTEN ? m->protect_credit : PROTECTED_WRITTEN;
    else if (m->protect_credit < CREDIT_MAX)
        m->protect_credit++;
}

void machine_enter(struct machine *m, uint32_t page)
{
    struct seat *seat = &m->seats[page];
    bool writes = access_page(m->trace->accesses[m->now]) == page && access_writes(m->trace->accesses[m->now]);

    assert(seat->place == PLACE_OUT && machine_free_frames(m) > 0);
    seat->place = PLACE_IN;
    seat->imaged = seat->shut = false;
    if (seat->exists) {
        seat->imaged = !kept_is_beyond(m, KEPT_PERMILLE);
        m->n_frozen--;
        m->n_kept += seat->imaged;
        seat->shut = seat->imaged && !writes && protecting_pays(m);
        m->bill.thaws++;
    } else {
        m->bill.first_touches++;
    }
    seat->exists = true;
    seat->written = writes;
    m->n_in++;
}

void machine_cool(struct machine *m, uint32_t page)
{
    assert(m->seats[page].place == PLACE_IN);
    m->seats[page].place = PLACE_COOLED;
    m->n_in--;
    m->n_cooled++;
    m->bill.coolings++;
}

void machine_evict(struct machine *m, uint32_t page)
{
    struct seat *seat = &m->seats[page];

    if (seat->place == PLACE_IN && !seat->shut)
        machine_cool(m, page);
    if (seat->place == PLACE_IN)
        m->n_in--;
    else
        m->n_cooled--;
    if (seat->shut)
        note_protected(m, true);
    if (seat->shut)
        m->bill.drops++;
    else if (seat->imaged && !seat->written)
        m->bill.hashed_drops++;
    else
        m->bill.freezes++;
    m->n_kept -= seat->imaged;
    m->n_frozen++;
    seat->place = PLACE_OUT;
}

static void write_to(struct machine *m, struct seat *seat)
{
    seat->written = true;
    if (!seat->shut)
        return;
    seat->shut = seat->imaged = false;
    m->n_kept--;
    m->bill.write_faults++;
    note_protected(m, false);
}

/* ---- one access after the other ---- */

struct stream {
    uint32_t expected;
    uint32_t window;
};

static void give_back(struct machine *m, const struct policy *policy, void *state, uint32_t page)
{
    assert(m->seats[page].place == PLACE_COOLED);
    m->seats[page].place = PLACE_IN;
    m->n_cooled--;
    m->n_in++;
    m->bill.soft_faults++;
    policy->soft(state, m, page);
}

/* The fault on @page has been served; what is expected next follows, as far as it is of the same kind. */
static void follow(struct machine *m, const struct policy *policy, void *state, struct stream *stream, uint32_t page, bool cooled)
{
    uint32_t max_window = m->limit / 16 < MAX_WINDOW ? (uint32_t)(m->limit / 16) : MAX_WINDOW;
    uint32_t next = page + 1;

    stream->window = page == stream->expected ? stream->window * 2 : 1;
    if (stream->window > max_window)
        stream->window = max_window;
    while (next < page + stream->window && next < m->trace->n_pages &&
           m->seats[next].place == (cooled ? PLACE_COOLED : PLACE_OUT)) {
        if (cooled) {
            give_back(m, policy, state, next);
            m->bill.soft_ahead++;
        } else {
            m->bill.thaws_ahead += m->seats[next].exists;
            policy->miss(state, m, next);
        }
        next++;
    }
    stream->expected = next;
}

static void serve(struct machine *m, const struct policy *policy, void *state, struct stream *stream)
{
    uint32_t page = access_page(m->trace->accesses[m->now]);
    struct seat *seat = &m->seats[page];
    enum place place = (enum place)seat->place;

    m->bill.accesses++;
    if (place == PLACE_OUT)
        policy->miss(state, m, page);
    else if (place == PLACE_COOLED)
        give_back(m, policy, state, page);
    else if (policy->hit != NULL)
        policy->hit(state, m, page);
    assert(seat->place == PLACE_IN);
    if (access_writes(m->trace->accesses[m->now]))
        write_to(m, seat);
    if (stream != NULL && place != PLACE_IN)
        follow(m, policy, state, stream, page, place == PLACE_COOLED);
}

static uint32_t *find_next_uses(const struct trace *trace)
{
    uint32_t *next_use = zeros(trace->n_accesses, sizeof *next_use);
    uint32_t *seen = zeros(trace->n_pages, sizeof *seen);

    for (uint32_t page = 0; page < trace->n_pages; page++)
        seen[page] = UINT32_MAX;
    for (size_t i = trace->n_accesses; i-- > 0;) {
        uint32_t page = access_page(trace->accesses[i]);

        next_use[i] = seen[page];
        seen[page] = (uint32_t)i;
    }
    free(seen);
    return next_use;
}

struct bill simulate(const struct trace *trace, const struct policy *policy, size_t limit, bool read_ahead)
{
    struct machine m = {
        .trace = trace,
        .limit = limit,
        .protect_credit = CREDIT_MAX,
        .seats = zeros(trace->n_pages, sizeof *m.seats),
        .nodes = zeros(trace->n_pages, sizeof *m.nodes),
        .next_use = policy->knows_future ? find_next_uses(trace) : NULL,
    };
    struct stream stream = {.expected = UINT32_MAX};
    void *state = zeros(1, policy->state_bytes);

    policy->begin(state, &m, policy->setting);
    for (m.now = 0; m.now < trace->n_accesses; m.now++) {
        if (m.now == trace->n_unbilled)
            m.bill = (struct bill){.accesses = 0};
        serve(&m, policy, state, read_ahead && !policy->is_ideal ? &stream : NULL);
    }
    if (policy->end != NULL)
        policy->end(state);
    free(state);
    free(m.next_use);
    free(m.nodes);
    free(m.seats);
    return m.bill;
}

double bill_ns(const struct bill *bill)
{
    double ns = FIRST_TOUCH * (double)bill->first_touches + THAW * (double)(bill->thaws - bill->thaws_ahead) +
                THAW_AHEAD * (double)bill->thaws_ahead + SOFT_FAULT * (double)(bill->soft_faults - bill->soft_ahead) +
                SOFT_AHEAD * (double)bill->soft_ahead + WRITE_FAULT * (double)bill->write_faults + COOLING * (double)bill->coolings +
                DROP * (double)bill->drops + HASHED_DROP * (double)bill->hashed_drops + FREEZING * (double)bill->freezes;

    return bill->accesses > 0 ? ns / (double)bill->accesses : 0;
}
