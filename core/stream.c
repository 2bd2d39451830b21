/* stream.c - see stream.h. */
#include "core/stream.h"

#include "platform/thread.h"

#include <stdlib.h>

/* Above this many frames a page is older than any thread's turn before it becomes a victim. */
#define PROTECT_BELOW_PAGES 1024
/* A thread that was not scheduled for so long loses its turn and faults once more. */
#define PROTECT_NS ((uint64_t)20 * 1000 * 1000)
#define STRUGGLE_FAULTS 8

/* A stream that has not gone on for so many faults of its thread has ended: what it could save is little by now. */
#define LIFE_FAULTS 64
/* Runs of full length that must have been used before a thread's streams reach further. */
#define PROOF_RUNS 2

static void thread_begin(struct streams *streams, struct stream_thread *t, uint32_t thread)
{
    for (unsigned i = 0; i < STREAM_EACH; i++)
        streams->n_wasted += t->streams[i].n_ahead;
    *t = (struct stream_thread){.thread = thread, .reach = streams->max_window};
    for (unsigned i = 0; i < STREAM_EACH; i++)
        t->streams[i] = (struct stream){.last = PAGE_NONE, .expected = PAGE_NONE};
    for (unsigned i = 0; i < STREAM_RECENT; i++)
        t->recent[i] = PAGE_NONE;
}

static void follow_limit(struct streams *streams, size_t limit_pages)
{
    /* A sixteenth of the limit, so that read-ahead cannot push out what it serves. */
    streams->max_window = (uint32_t)max_size(1, min_size(STREAM_MAX_WINDOW, limit_pages / 16));
    streams->protecting = limit_pages < PROTECT_BELOW_PAGES;
}

void streams_resize(struct streams *streams, size_t limit_pages)
{
    follow_limit(streams, limit_pages);
    around_resize(&streams->around[0], limit_pages);
    around_resize(&streams->around[1], limit_pages);
    for (size_t i = 0; i < STREAM_THREADS; i++) {
        struct stream_thread *t = &streams->threads[i];

        t->reach = streams->max_window;
        for (unsigned k = 0; k < STREAM_EACH; k++)
            t->streams[k].window = (uint32_t)min_size(t->streams[k].window, streams->max_window);
    }
}

void streams_init(struct streams *streams, size_t limit_pages)
{
    *streams = (struct streams){0};
    follow_limit(streams, limit_pages);
    around_init(&streams->around[0], limit_pages);
    around_init(&streams->around[1], limit_pages);
    for (size_t i = 0; i < STREAM_THREADS; i++)
        thread_begin(streams, &streams->threads[i], 0);
}

/* Threads that share an entry take it from each other: a little less read-ahead, a little less protection. */
static struct stream_thread *thread_of(struct streams *streams, uint32_t thread)
{
    return &streams->threads[thread % STREAM_THREADS];
}

static void remember(struct stream_thread *t, page_number number)
{
    for (unsigned i = 0; i < STREAM_RECENT; i++)
        if (t->recent[i] == number)
            t->n_struggles = STRUGGLE_FAULTS + 1;
    if (t->n_struggles > 0)
        t->n_struggles--;
    t->next_recent = (t->next_recent + 1) % STREAM_RECENT;
    t->recent[t->next_recent] = number;
    t->used_ns = os_now_ns();
}

static int32_t distance(page_number from, page_number to)
{
    return (int32_t)to - (int32_t)from;
}

static page_number page_beyond(page_number number, int32_t step)
{
    int32_t page = (int32_t)number + step;

    return page >= 0 && page < (int32_t)PAGE_NONE ? (page_number)page : PAGE_NONE;
}

/* The last run was used to its end. */
static void grow(const struct streams *streams, struct stream_thread *t, struct stream *s)
{
    uint32_t reach;
    uint32_t most;

    if (s->window >= t->reach && ++s->n_full >= PROOF_RUNS) {
        t->reach = (uint32_t)min_size(2 * (size_t)s->window, streams->max_window);
        s->n_full = 0;
    }
    reach = around_samples(s->start) ? streams->max_window : t->reach; /* as far as it goes, to learn from it */
    most = abs(s->step) == 1 ? reach : (uint32_t)min_size(t->reach, STREAM_MAX_STEP_WINDOW);
    /* One that has proved itself does not suffer for others. */
    s->window = (uint32_t)max_size(s->window, min_size(2 * (size_t)s->window, most));
    s->n_ahead = 0;
    s->is_foretold = false;
}

/* @n pages of the last run came for nothing. */
static void shrink(struct streams *streams, struct stream_thread *t, struct stream *s, uint32_t n)
{
    streams->n_wasted += n;
    if (n > 0)
        t->reach = (uint32_t)max_size(1, min_size(t->reach, s->window / 2));
    s->window = 1;
    s->n_ahead = 0;
    s->n_full = 0;
}

/* @number is a page of the last run: it left again before its turn. How many there are from it on, 0: it is not one. */
static uint32_t rest_of_run(const struct stream *s, page_number number)
{
    int32_t n_pages, nth;

    if (s->n_ahead == 0 || distance(s->last, number) % s->step != 0)
        return 0;
    n_pages = distance(s->last, s->expected) / s->step;
    nth = distance(s->last, number) / s->step;
    return nth >= 1 && nth < n_pages ? (uint32_t)min_size(s->n_ahead, (size_t)(n_pages - nth)) : 0;
}

/* The stream that a fault on @number continues, with the window that it has now. NULL: none. */
static struct stream *go_on(struct streams *streams, struct stream_thread *t, page_number number)
{
    for (unsigned i = 0; i < STREAM_EACH; i++)
        if (t->streams[i].expected == number) {
            grow(streams, t, &t->streams[i]);
            return &t->streams[i];
        }
    for (unsigned i = 0; i < STREAM_EACH; i++) {
        struct stream *s = &t->streams[i];
        uint32_t n_gone = s->last != PAGE_NONE ? rest_of_run(s, number) : 0;

        if (n_gone > 0) {
            shrink(streams, t, s, n_gone);
            return s;
        }
        if (s->last != PAGE_NONE && (s->window == 1 || s->is_foretold) && abs(distance(s->last, number)) == 1) {
            s->step = distance(s->last, number);
            grow(streams, t, s);
            return s;
        }
    }
    return NULL;
}

static uint32_t age_of(const struct stream_thread *t, const struct stream *s)
{
    return s->last == PAGE_NONE ? UINT32_MAX : t->n_faults - s->age;
}

/* The one to replace: that has ended, or the oldest that has nothing at stake, or the oldest. */
static struct stream *oldest(struct stream_thread *t)
{
    struct stream *of_all = &t->streams[0];
    struct stream *of_idle = NULL;

    for (unsigned i = 0; i < STREAM_EACH; i++) {
        struct stream *s = &t->streams[i];

        if (age_of(t, s) > age_of(t, of_all))
            of_all = s;
        if (s->n_ahead == 0 && (of_idle == NULL || age_of(t, s) > age_of(t, of_idle)))
            of_idle = s;
    }
    return of_idle == NULL || age_of(t, of_all) > LIFE_FAULTS ? of_all : of_idle;
}

/* How far @number is from the nearest of the thread's faults, if that may be the step of a stream; or 0. */
static int32_t step_to(const struct stream_thread *t, page_number number)
{
    int32_t step = 0;

    for (unsigned i = 0; i < STREAM_EACH; i++) {
        int32_t from_it = distance(t->streams[i].last, number);

        if (t->streams[i].last != PAGE_NONE && abs(from_it) >= 2 && abs(from_it) <= STREAM_MAX_STEP &&
            (step == 0 || abs(from_it) < abs(step)))
            step = from_it;
    }
    return step;
}

/* The stream is over. */
static void learn_from(struct streams *streams, const struct stream *s)
{
    struct around *around = &streams->around[s->is_first_touch ? 1 : 0];

    if (s->last == PAGE_NONE || !s->samples)
        return;
    if (s->last == s->start)
        around_stream_ended(around, 1, 1);
    else if (abs(s->step) == 1)
        around_stream_ended(around, s->step, (uint32_t)abs(distance(s->start, s->last)) + 1);
}

static struct stream *begin(struct streams *streams, struct stream_thread *t, page_number number, bool first_touch)
{
    struct around *around = &streams->around[first_touch ? 1 : 0];
    struct stream *s = oldest(t);
    int32_t step = step_to(t, number);
    struct ahead start = {.n = 1};

    learn_from(streams, s);
    shrink(streams, t, s, s->n_ahead);
    around_fault(around, number);
    if (!around_samples(number))
        start = around_start(around, number, streams->max_window);
    s->start = number;
    s->samples = start.n == 1;
    s->is_first_touch = first_touch;
    s->is_foretold = start.n > 1;
    s->window = start.n;
    s->step = start.n > 1 ? start.step : step;
    s->expected = s->step != 0 ? page_beyond(number, s->step) : PAGE_NONE; /* see streams_ran() */
    return s;
}

struct ahead streams_fault(struct streams *streams, uint32_t thread, page_number number, bool first_touch)
{
    struct stream_thread *t = thread_of(streams, thread);
    struct stream *s;

    if (t->thread != thread)
        thread_begin(streams, t, thread);
    if (streams->protecting)
        remember(t, number);
    t->n_faults++;
    s = go_on(streams, t, number);
    if (s == NULL)
        s = begin(streams, t, number, first_touch);
    s->last = number;
    s->age = t->n_faults;
    t->current = (uint32_t)(s - t->streams);
    return (struct ahead){.step = s->step, .n = streams->paused ? 1 : s->window};
}

void streams_ran(struct streams *streams, uint32_t thread, page_number number, uint32_t n_ahead, page_number next)
{
    struct stream_thread *t = thread_of(streams, thread);
    struct stream *s = &t->streams[t->current];

    if (t->thread != thread || s->last != number || s->step == 0)
        return;
    s->expected = next;
    s->n_ahead = next != PAGE_NONE && !s->is_foretold ? n_ahead : 0;
    if (next == PAGE_NONE)
        s->window = 1;
}

bool streams_protect(const struct streams *streams, page_number number, uint64_t now_ns)
{
    if (!streams->protecting)
        return false;
    for (unsigned i = 0; i < STREAM_THREADS; i++) {
        const struct stream_thread *t = &streams->threads[i];

        if (t->used_ns + PROTECT_NS < now_ns)
            continue;
        if (t->recent[t->next_recent] == number)
            return true;
        for (unsigned k = 0; t->n_struggles > 0 && k < STREAM_RECENT; k++)
            if (t->recent[k] == number)
                return true;
    }
    return false;
}
