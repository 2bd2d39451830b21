/*
 * blocks.c - what allocator benchmarks do, with every byte checked: blocks of random sizes on both sides of the ghost
 * threshold that live for a while, travel between threads, and are freed by somebody else.
 *
 *     blocks MODE THREADS SECONDS MEBIBYTES
 *
 * larson:  threads replace random blocks of a table and leave it to others, who free what they did not allocate
 * xmalloc: all but one allocate, one frees
 * scratch: each starts with a block of the main thread's, frees it, and writes small ones that lie side by side
 * sh:      batches, freed in order, backwards, or half of them later; some grow or shrink meanwhile
 *
 * One or two times MEBIBYTES are live. Prints "ok"; a wrong byte is one line and status 1.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    MAX_THREADS = 16,
    LEAST_BYTES = 16,
    DOUBLINGS = 12, /* sizes from 16 bytes to 64 KiB, each power of two as likely: eight of twelve are below a page */
    MEAN_BYTES = (LEAST_BYTES << DOUBLINGS) / DOUBLINGS,
    OPS_A_LIFE = 2000, /* then a thread of larson's ends, and another has its table */
    QUEUE_BLOCKS = 256,
    BATCH_MAX = 512
};

struct block {
    uint32_t bytes; /* of all, these eight included */
    uint32_t salt;
    unsigned char data[];
};

struct worker {
    pthread_t thread;
    uint64_t random;
    size_t n_slots;
    struct block **slots; /* NULL where none is */
};

static struct worker workers[MAX_THREADS];
static size_t n_threads;
static struct timespec end;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct block *blocks[QUEUE_BLOCKS];
    size_t n;
    size_t n_producers;
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static bool is_over(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec > end.tv_sec || (now.tv_sec == end.tv_sec && now.tv_nsec >= end.tv_nsec);
}

static unsigned char byte_of(const struct block *block, size_t i)
{
    return (unsigned char)(i % 3 ? block->salt >> (i & 3) * 8 : i * block->salt >> 7);
}

static void check_from(const struct block *block, size_t first, size_t bytes)
{
    for (size_t i = first; i < bytes - sizeof(*block); i++)
        if (block->data[i] != byte_of(block, i)) {
            fprintf(stderr, "blocks: byte %zu of a block of %u is %#x\n", i, block->bytes, block->data[i]);
            _Exit(1);
        }
}

static void fill_from(struct block *block, size_t first)
{
    for (size_t i = first; i < block->bytes - sizeof(*block); i++)
        block->data[i] = byte_of(block, i);
}

static size_t random_bytes(uint64_t *random)
{
    size_t least = (size_t)LEAST_BYTES << next_random(random) % DOUBLINGS;

    return least + next_random(random) % least;
}

static struct block *make(uint64_t *random)
{
    size_t bytes = random_bytes(random);
    struct block *block = malloc(bytes);

    if (!block) {
        fprintf(stderr, "blocks: no memory\n");
        _Exit(1);
    }
    block->bytes = (uint32_t)bytes;
    block->salt = (uint32_t)next_random(random);
    fill_from(block, 0);
    return block;
}

static void drop(struct block *block)
{
    if (block)
        check_from(block, 0, block->bytes);
    free(block);
}

static struct block *resize(struct block *block, uint64_t *random)
{
    size_t old = block->bytes;
    size_t bytes = random_bytes(random);
    struct block *moved = realloc(block, bytes);

    if (!moved) {
        fprintf(stderr, "blocks: no memory\n");
        _Exit(1);
    }
    check_from(moved, 0, bytes < old ? bytes : old);
    moved->bytes = (uint32_t)bytes;
    if (bytes > old)
        fill_from(moved, old - sizeof(*moved));
    return moved;
}

static void start(struct worker *worker, void *(*work)(void *))
{
    if (pthread_create(&worker->thread, NULL, work, worker) != 0) {
        fprintf(stderr, "blocks: no thread\n");
        _Exit(1);
    }
}

static void *larson(void *of)
{
    struct worker *worker = of;

    for (size_t i = 0; i < OPS_A_LIFE; i++) {
        struct block **slot = &worker->slots[next_random(&worker->random) % worker->n_slots];

        drop(*slot);
        *slot = make(&worker->random);
        if (i % 64 == 0 && is_over())
            break;
    }
    return NULL;
}

static void produce(struct worker *worker)
{
    while (!is_over()) {
        struct block *block = make(&worker->random);

        (void)pthread_mutex_lock(&queue.lock);
        while (queue.n == QUEUE_BLOCKS)
            (void)pthread_cond_wait(&queue.changed, &queue.lock);
        queue.blocks[queue.n++] = block;
        (void)pthread_cond_broadcast(&queue.changed);
        (void)pthread_mutex_unlock(&queue.lock);
    }
    (void)pthread_mutex_lock(&queue.lock);
    queue.n_producers--;
    (void)pthread_cond_broadcast(&queue.changed);
    (void)pthread_mutex_unlock(&queue.lock);
}

/* Keeps a table beside what travels, so that there is more than fits. */
static void consume(struct worker *worker)
{
    for (;;) {
        struct block **slot = &worker->slots[next_random(&worker->random) % worker->n_slots];
        struct block *block;

        (void)pthread_mutex_lock(&queue.lock);
        while (queue.n == 0 && queue.n_producers > 0)
            (void)pthread_cond_wait(&queue.changed, &queue.lock);
        block = queue.n > 0 ? queue.blocks[--queue.n] : NULL;
        (void)pthread_cond_broadcast(&queue.changed);
        (void)pthread_mutex_unlock(&queue.lock);
        if (!block)
            return;
        drop(*slot);
        *slot = block;
    }
}

static void *xmalloc(void *of)
{
    struct worker *worker = of;

    if (worker == workers)
        consume(worker);
    else
        produce(worker);
    return NULL;
}

static void *scratch(void *of)
{
    struct worker *worker = of;

    for (size_t i = 0; i < worker->n_slots; i++)
        drop(worker->slots[i]);
    for (size_t i = 0; i < worker->n_slots; i++)
        worker->slots[i] = make(&worker->random);
    while (!is_over())
        for (size_t k = 0; k < 64; k++) {
            struct block *block = worker->slots[next_random(&worker->random) % worker->n_slots];

            check_from(block, 0, block->bytes);
            block->salt++;
            fill_from(block, 0);
        }
    return NULL;
}

static void *sh(void *of)
{
    struct worker *worker = of;
    size_t first = 0;

    while (!is_over()) {
        size_t n = 1 + next_random(&worker->random) % (worker->n_slots < BATCH_MAX ? worker->n_slots : BATCH_MAX);
        size_t way = next_random(&worker->random) % 3;

        for (size_t i = 0; i < n; i++) {
            struct block **slot = &worker->slots[(first + i) % worker->n_slots];

            drop(*slot); /* what an earlier batch left */
            *slot = make(&worker->random);
            if (next_random(&worker->random) % 4 == 0)
                *slot = resize(*slot, &worker->random);
        }
        for (size_t i = 0; i < n; i++) {
            size_t at = (first + (way == 1 ? n - 1 - i : i)) % worker->n_slots;

            if (way == 2 && i % 2)
                continue;
            drop(worker->slots[at]);
            worker->slots[at] = NULL;
        }
        first = (first + n / 2 + 1) % worker->n_slots;
    }
    return NULL;
}

static void *(*mode_of(const char *name))(void *)
{
    static const struct {
        const char *name;
        void *(*work)(void *);
    } modes[] = {{"larson", larson}, {"xmalloc", xmalloc}, {"scratch", scratch}, {"sh", sh}};

    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
        if (strcmp(name, modes[i].name) == 0)
            return modes[i].work;
    return NULL;
}

/* Everybody goes on with the table of his neighbour. */
static void rotate(void)
{
    struct block **first = workers[0].slots;

    for (size_t t = 0; t + 1 < n_threads; t++)
        workers[t].slots = workers[t + 1].slots;
    workers[n_threads - 1].slots = first;
}

int main(int argc, char **argv)
{
    void *(*work)(void *) = argc == 5 ? mode_of(argv[1]) : NULL;
    size_t n_slots;

    n_threads = argc == 5 ? strtoul(argv[2], NULL, 10) : 0;
    if (!work || n_threads < 1 || n_threads > MAX_THREADS) {
        fprintf(stderr, "usage: blocks larson|xmalloc|scratch|sh THREADS SECONDS MEBIBYTES (1 to 16 threads)\n");
        return 2;
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += strtol(argv[3], NULL, 10);
    n_slots = (strtoul(argv[4], NULL, 10) << 20) / MEAN_BYTES / n_threads;
    queue.n_producers = n_threads - 1;
    for (size_t t = 0; t < n_threads; t++) {
        workers[t].random = (t + 1) * UINT64_C(0x9e3779b97f4a7c15);
        workers[t].n_slots = n_slots;
        workers[t].slots = calloc(n_slots, sizeof(*workers[t].slots));
        for (size_t i = 0; work == scratch && i < n_slots; i++)
            workers[t].slots[i] = make(&workers[t].random);
    }
    do {
        for (size_t t = 0; t < n_threads; t++)
            start(&workers[t], work);
        for (size_t t = 0; t < n_threads; t++)
            (void)pthread_join(workers[t].thread, NULL);
        rotate();
    } while (!is_over());
    for (size_t t = 0; t < n_threads; t++)
        for (size_t i = 0; i < n_slots; i++)
            drop(workers[t].slots[i]);
    while (queue.n > 0)
        drop(queue.blocks[--queue.n]);
    puts("ok");
    return 0;
}
