/*
 * random.c - the workload's phases on random pages, in one or more threads. See workload.h.
 */
#define _GNU_SOURCE
#include "workload.h"

#include <pthread.h>
#include <sys/mman.h>

struct share; /* of a random phase: one thread's part */
typedef void work_fn(struct share *s);

struct share {
    struct run *run;
    const char *name;
    const uint32_t *order;
    size_t n_ops;
    work_fn *work;
    pthread_barrier_t *start; /* NULL: the only thread */
    uint64_t start_ns, end_ns; /* set by the thread itself */
};

static void work_read(struct share *s)
{
    for (size_t i = 0; i < s->n_ops; i++)
        if (!stamp_is_right(s->run, s->order[i]))
            note_wrong(s->run, s->name, s->order[i]);
}

static void update_page(struct share *s, size_t page)
{
    struct run *r = s->run;
    uint64_t stamp = pattern_stamp(&r->pattern, page);
    _Atomic uint64_t *tally = (_Atomic uint64_t *)(r->block + page * PAGE_WORDS + TALLY_WORD);
    uint64_t found;
    uint32_t n_before;

    if (s->start == NULL) {
        found = atomic_load_explicit(tally, memory_order_relaxed);
        atomic_store_explicit(tally, found + 1, memory_order_relaxed);
        n_before = atomic_load_explicit(&r->tallies[page], memory_order_relaxed);
        atomic_store_explicit(&r->tallies[page], n_before + 1, memory_order_relaxed);
    } else {
        /* Another thread may stand between the two counts: here only the upper half is checked, the rest by verify. */
        found = atomic_fetch_add_explicit(tally, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&r->tallies[page], 1, memory_order_relaxed);
        n_before = (uint32_t)found;
    }
    if (found != pattern_tally(stamp, n_before))
        note_wrong(r, s->name, page);
}

static void work_update(struct share *s)
{
    for (size_t i = 0; i < s->n_ops; i++)
        update_page(s, s->order[i]);
}

/* Every fifth access is an update. */
static void work_mixed(struct share *s)
{
    for (size_t i = 0; i < s->n_ops; i++) {
        if (i % 5 == 4)
            update_page(s, s->order[i]);
        else if (!stamp_is_right(s->run, s->order[i]))
            note_wrong(s->run, s->name, s->order[i]);
    }
}

static void *share_main(void *arg)
{
    struct share *s = arg;

    if (s->start != NULL)
        pthread_barrier_wait(s->start);
    s->start_ns = now_ns();
    s->work(s);
    s->end_ns = now_ns();
    return NULL;
}

/* Work through order[n_ops] with n_threads; returns the wall time from the first one's start to the last one's end. */
static uint64_t work_in_threads(struct share whole, unsigned n_threads)
{
    struct share shares[MAX_THREADS];
    pthread_t threads[MAX_THREADS];
    pthread_barrier_t start;
    uint64_t first_ns = UINT64_MAX, last_ns = 0;

    if (n_threads == 1) {
        share_main(&whole);
        return whole.end_ns - whole.start_ns;
    }
    pthread_barrier_init(&start, NULL, n_threads);
    for (unsigned t = 0; t < n_threads; t++) {
        size_t from = whole.n_ops * t / n_threads;

        shares[t] = whole;
        shares[t].order += from;
        shares[t].n_ops = whole.n_ops * (t + 1) / n_threads - from;
        shares[t].start = &start;
        if (pthread_create(&threads[t], NULL, share_main, &shares[t]) != 0)
            die(EXIT_RESOURCE, "cannot create a thread");
    }
    for (unsigned t = 0; t < n_threads; t++) {
        pthread_join(threads[t], NULL);
        first_ns = shares[t].start_ns < first_ns ? shares[t].start_ns : first_ns;
        last_ns = shares[t].end_ns > last_ns ? shares[t].end_ns : last_ns;
    }
    pthread_barrier_destroy(&start);
    return last_ns - first_ns;
}

/* The pages to touch are drawn before the clock starts; n_warm_up of them are touched untimed. */
static void random_phase(struct run *r, const char *name, unsigned n_threads, size_t n_warm_up, draw_fn *draw, work_fn *work)
{
    size_t n_drawn = r->n_ops + n_warm_up;
    uint32_t *order = map_table(n_drawn * sizeof *order);
    struct share whole = {.run = r, .name = name, .work = work};

    draw(order, n_drawn, r->n_pages, r->seed + r->n_phases);
    if (n_warm_up > 0) {
        whole.order = order + r->n_ops;
        whole.n_ops = n_warm_up;
        work_in_threads(whole, n_threads);
    }
    whole.order = order;
    whole.n_ops = r->n_ops;
    report(name, work_in_threads(whole, n_threads), r->n_ops);
    munmap(order, n_drawn * sizeof *order);
}

void phase_randread(struct run *r, const char *name, unsigned n_threads, size_t n_warm_up, draw_fn *draw)
{
    random_phase(r, name, n_threads, n_warm_up, draw, work_read);
}

static void need_tallies(struct run *r)
{
    if (r->tallies == NULL)
        r->tallies = map_table(r->n_pages * sizeof *r->tallies);
}

void phase_randupdate(struct run *r, const char *name, unsigned n_threads)
{
    need_tallies(r);
    random_phase(r, name, n_threads, 0, draw_uniform, work_update);
}

void phase_mixed(struct run *r, const char *name, unsigned n_threads)
{
    need_tallies(r);
    random_phase(r, name, n_threads, r->n_ops / 2, draw_zipf, work_mixed);
}

void phase_sequpdate(struct run *r, const char *name)
{
    size_t n_ops = r->n_ops;

    need_tallies(r);
    r->n_ops = r->n_pages;
    random_phase(r, name, 1, 0, draw_in_order, work_update);
    r->n_ops = n_ops;
}
