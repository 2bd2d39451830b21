/* belady.c - the page that is touched again last goes: no policy has fewer misses (Belady 1966). It knows the future. */
#include "bench/simulate/list.h"
#include "bench/simulate/policies.h"

#include <stdio.h>
#include <stdlib.h>

/* A heap by the time of the next use, the latest on top. Of several entries of a page only the one of its last access counts. */
struct entry {
    uint32_t next_use;
    uint32_t page;
};

struct belady {
    struct entry *heap;
    size_t n;
};

static void begin(void *state, struct machine *m, const void *setting)
{
    struct belady *b = state;

    (void)setting;
    b->heap = malloc((m->trace->n_accesses + 1) * sizeof *b->heap);
    if (b->heap == NULL) {
        fputs("simulate: no memory\n", stderr);
        exit(1);
    }
}

static void end(void *state)
{
    free(((struct belady *)state)->heap);
}

/* The page has just been touched; node.mark is when it will be next. */
static void note(struct belady *b, struct machine *m, uint32_t page)
{
    struct entry entry = {.next_use = m->next_use[m->now], .page = page};
    size_t i = b->n++;

    m->nodes[page].mark = entry.next_use;
    while (i > 0 && b->heap[(i - 1) / 2].next_use < entry.next_use) {
        b->heap[i] = b->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    b->heap[i] = entry;
}

static struct entry take_latest(struct belady *b)
{
    struct entry latest = b->heap[0];
    struct entry last = b->heap[--b->n];
    size_t i = 0;

    for (size_t child = 1; child < b->n; child = 2 * i + 1) {
        if (child + 1 < b->n && b->heap[child + 1].next_use > b->heap[child].next_use)
            child++;
        if (b->heap[child].next_use <= last.next_use)
            break;
        b->heap[i] = b->heap[child];
        i = child;
    }
    b->heap[i] = last;
    return latest;
}

static void hit(void *state, struct machine *m, uint32_t page)
{
    note(state, m, page);
}

static void miss(void *state, struct machine *m, uint32_t page)
{
    while (machine_free_frames(m) == 0) {
        struct entry entry = take_latest(state);

        if (m->seats[entry.page].place == PLACE_IN && m->nodes[entry.page].mark == entry.next_use)
            machine_evict(m, entry.page);
    }
    machine_enter(m, page);
    note(state, m, page);
}

const struct policy policy_belady = {.name = "Belady's optimum",
                                     .is_ideal = true,
                                     .knows_future = true,
                                     .state_bytes = sizeof(struct belady),
                                     .begin = begin,
                                     .hit = hit,
                                     .miss = miss,
                                     .end = end};
