/* probe_ahead.c - walks that read-ahead recognises: up, down and in steps, by several threads in one block. */
#include "tests/preload/probe.h"

#include <pthread.h>
#include <stdlib.h>

enum { N_THREADS = 4, N_ROUNDS = 3 };

struct walk {
    uint64_t *block;
    size_t n_pages;
    int step;
    size_t word; /* of each page: the thread's own */
    pthread_t thread;
};

static const int steps[N_THREADS] = {-1, 16, -7, 1};

static void walk_once(const struct walk *walk)
{
    size_t stride = (size_t)abs(walk->step);

    for (size_t first = 0; first < stride; first++)
        for (size_t i = first; i < walk->n_pages; i += stride) {
            size_t page = walk->step > 0 ? i : walk->n_pages - 1 - i;

            walk->block[page * PAGE / sizeof(uint64_t) + walk->word]++;
        }
}

/* A block of its own goes as soon as its last page was looked at, which is while more may be on their way in. */
static void look_and_free(int step, uint64_t salt)
{
    const size_t n_pages = 128;
    char *p = filled(n_pages * PAGE, salt);
    size_t stride = (size_t)abs(step);

    for (size_t i = 0; i < n_pages / 2; i += stride)
        check_page(p, step > 0 ? i : n_pages - 1 - i, salt);
    free(p);
}

static void *walk_and_free(void *arg)
{
    const struct walk *walk = arg;

    for (int round = 0; round < N_ROUNDS; round++) {
        walk_once(walk);
        for (uint64_t salt = 1; salt < 10; salt++)
            look_and_free(walk->step, salt);
    }
    return NULL;
}

static void threads_walk_in_all_directions(size_t bytes)
{
    struct walk walks[N_THREADS];
    uint64_t *block = calloc(1, bytes);
    size_t n_pages = bytes / PAGE;

    CHECK(block != NULL);
    for (size_t i = 0; i < N_THREADS; i++) {
        walks[i] = (struct walk){.block = block, .n_pages = n_pages, .step = steps[i], .word = 100 * (i + 1)};
        CHECK(pthread_create(&walks[i].thread, NULL, walk_and_free, &walks[i]) == 0);
    }
    for (size_t i = 0; i < N_THREADS; i++)
        CHECK(pthread_join(walks[i].thread, NULL) == 0);
    for (size_t word = 0; word < bytes / sizeof *block; word++) {
        size_t in_page = word % (PAGE / sizeof *block);
        CHECK(block[word] == (in_page > 0 && in_page % 100 == 0 && in_page <= 100 * N_THREADS ? N_ROUNDS : 0));
    }
    free(block);
}

const struct probe probes_ahead[] = {
    {"threads_walk_in_all_directions", threads_walk_in_all_directions},
    {NULL, NULL},
};
