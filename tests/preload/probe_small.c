/* probe_small.c - blocks below a page, where the threshold makes them ghost memory. */
#include "tests/preload/probe.h"

#include "interpose/ghostmem.h"

#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- a model: what each block must have in it ---- */

#define N_BLOCKS 600
#define N_MARKET 64

struct block {
    unsigned char *p;
    size_t bytes;
    unsigned char seed;
};

static struct block market[N_MARKET]; /* guarded by: */
static pthread_mutex_t market_lock = PTHREAD_MUTEX_INITIALIZER;

static uint64_t random_next(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 24;
}

static void paint(const struct block *block)
{
    for (size_t i = 0; i < block->bytes; i++)
        block->p[i] = (unsigned char)(block->seed + i / 16);
}

static void check_paint(const struct block *block, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        CHECK(block->p[i] == (unsigned char)(block->seed + i / 16));
}

static void renew(struct block *block, uint64_t *random)
{
    size_t bytes = 1 + random_next(random) % ((size_t)16 << random_next(random) % 9);
    size_t alignment = (size_t)16 << random_next(random) % 8;

    *block = (struct block){.bytes = bytes, .seed = (unsigned char)random_next(random)};
    switch (random_next(random) % 4) {
    case 0:
        block->p = aligned_alloc(alignment, bytes);
        CHECK(((uintptr_t)block->p & (alignment - 1)) == 0);
        break;
    case 1:
        block->p = calloc(bytes, 1);
        for (size_t i = 0; i < bytes; i++)
            CHECK(block->p[i] == 0);
        break;
    default:
        block->p = malloc(bytes);
    }
    CHECK(block->p != NULL && ((uintptr_t)block->p & 15) == 0 && malloc_usable_size(block->p) >= bytes);
    paint(block);
}

static void resize(struct block *block, uint64_t *random)
{
    size_t bytes = 1 + random_next(random) % 3000;

    block->p = realloc(block->p, bytes);
    CHECK(block->p != NULL);
    check_paint(block, bytes < block->bytes ? bytes : block->bytes);
    block->bytes = bytes;
    paint(block);
}

static void trade(struct block *block, uint64_t *random)
{
    struct block *other = &market[random_next(random) % N_MARKET];
    struct block mine = *block;

    pthread_mutex_lock(&market_lock);
    *block = *other;
    *other = mine;
    pthread_mutex_unlock(&market_lock);
}

static void step(struct block *block, uint64_t *random)
{
    uint64_t dice = random_next(random) % 8;

    if (block->p == NULL) {
        renew(block, random);
        return;
    }
    check_paint(block, block->bytes);
    if (dice == 0) {
        resize(block, random);
    } else if (dice < 3) {
        trade(block, random);
    } else if (dice < 6) {
        free(block->p);
        *block = (struct block){.p = NULL};
    }
}

static void live_for(int n_steps, uint64_t random)
{
    struct block *blocks = calloc(N_BLOCKS, sizeof *blocks);

    for (int i = 0; i < n_steps; i++)
        step(&blocks[random_next(&random) % N_BLOCKS], &random);
    for (int i = 0; i < N_BLOCKS; i++) {
        if (blocks[i].p != NULL)
            check_paint(&blocks[i], blocks[i].bytes);
        free(blocks[i].p);
    }
    free(blocks);
}

static void *live(void *arg)
{
    live_for(3000, (uintptr_t)arg);
    return NULL;
}

static void live_in_threads(unsigned n, uint64_t seed)
{
    pthread_t threads[8];

    for (unsigned i = 0; i < n; i++)
        CHECK(pthread_create(&threads[i], NULL, live, (void *)(uintptr_t)(seed * 1000003u + i)) == 0);
    for (unsigned i = 0; i < n; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

/* SMALL_SECONDS in the environment: for as long, from other seeds again and again. */
static void small_blocks_go_from_thread_to_thread(size_t bytes)
{
    const char *wanted = getenv("SMALL_SECONDS");
    time_t end = time(NULL) + (wanted != NULL ? atoi(wanted) : 0);
    uint64_t seed = wanted != NULL ? (uint64_t)getpid() : 7;

    (void)bytes;
    do
        live_in_threads(3, seed++);
    while (time(NULL) < end);
    if (wanted != NULL)
        fprintf(stderr, "up to seed %lu\n", (unsigned long)seed);
}

/* ---- threads come and go: what lay in their caches comes back ---- */

static void *fill_a_cache(void *arg)
{
    enum { N = 200 };
    char *blocks[N];

    (void)arg;
    for (size_t bytes = 16; bytes <= 2048; bytes *= 2) {
        for (int i = 0; i < N; i++) {
            blocks[i] = malloc(bytes);
            CHECK(blocks[i] != NULL);
            blocks[i][bytes - 1] = 1;
        }
        for (int i = 0; i < N; i++)
            free(blocks[i]);
    }
    return NULL;
}

/* Of the heap's pages. Under the library alone. */
static size_t live_kib(void)
{
    size_t (*look)(struct ghostmem_statistics *, size_t);
    struct ghostmem_statistics statistics;

    *(void **)&look = dlsym(RTLD_DEFAULT, "ghostmem_get_statistics");
    CHECK(look != NULL && look(&statistics, sizeof statistics) == sizeof statistics);
    return (size_t)statistics.live_bytes / 1024;
}

/* Were they lost, it would be 60 KiB a thread, and much more before paging starts. */
static void small_blocks_of_ended_threads_come_back(size_t bytes)
{
    size_t before = 0;

    (void)bytes;
    for (int i = 0; i < 60; i++) {
        pthread_t thread;

        CHECK(pthread_create(&thread, NULL, fill_a_cache, NULL) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
        if (i == 10)
            before = live_kib();
    }
    CHECK(live_kib() < before + 512);
}

static pthread_barrier_t filled_it;

static void *fill_a_cache_and_stay(void *arg)
{
    fill_a_cache(arg);
    pthread_barrier_wait(&filled_it);
    for (;;)
        pause();
    return NULL;
}

/* Each child leaves a thread behind, and its child has the thread's blocks. */
static void small_blocks_of_threads_left_behind_come_back(size_t bytes)
{
    size_t before = 0;

    (void)bytes;
    for (int i = 0; i < 30; i++) {
        pthread_t thread;
        pid_t child;

        CHECK(pthread_barrier_init(&filled_it, NULL, 2) == 0);
        CHECK(pthread_create(&thread, NULL, fill_a_cache_and_stay, NULL) == 0);
        pthread_barrier_wait(&filled_it);
        child = fork();
        CHECK(child >= 0);
        if (child > 0 && i == 0) {
            expect_success(child);
            return;
        }
        if (child > 0) {
            expect_success(child);
            _exit(0);
        }
        if (i == 5)
            before = live_kib();
    }
    CHECK(live_kib() < before + 512);
    _exit(0);
}

/* ---- forks: other threads allocate meanwhile, and the child has their blocks no more ---- */

static _Atomic bool stop;

static void *allocate_on(void *arg)
{
    uint64_t random = (uintptr_t)arg;
    static _Thread_local struct block blocks[64];

    while (!stop)
        step(&blocks[random_next(&random) % 64], &random);
    for (int i = 0; i < 64; i++)
        free(blocks[i].p);
    return NULL;
}

static void small_blocks_are_whole_after_a_fork(size_t bytes)
{
    enum { N = 200 };
    static struct block blocks[N];
    pthread_t threads[2];
    uint64_t random = 3;

    (void)bytes;
    for (int i = 0; i < N; i++)
        renew(&blocks[i], &random);
    for (uintptr_t i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, allocate_on, (void *)(i + 1)) == 0);
    for (int round = 0; round < 6; round++) {
        pid_t child = fork();

        CHECK(child >= 0);
        for (int i = 0; i < N; i++) {
            check_paint(&blocks[i], blocks[i].bytes);
            if (random_next(&random) % 2 == 0)
                continue;
            free(blocks[i].p);
            renew(&blocks[i], &random);
        }
        if (child == 0) {
            market_lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER; /* a thread of the parent's may have had it */
            memset(market, 0, sizeof market);
            live_for(1000, random);
            _exit(0);
        }
        expect_success(child);
    }
    stop = true;
    for (size_t i = 0; i < 2; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

/* ---- handlers that allocate, and some that do not return: nobody may do that, and nothing is lost ---- */

static struct block of_handler;
static uint64_t handler_random = 99;
static sigjmp_buf back;
static volatile sig_atomic_t may_jump;

static void on_alarm(int number)
{
    (void)number;
    step(&of_handler, &handler_random);
    if (may_jump)
        siglongjmp(back, 1);
}

static void small_blocks_in_a_handler(size_t bytes)
{
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    struct itimerval timer = {.it_interval = {.tv_usec = 200}, .it_value = {.tv_usec = 200}};
    static struct block blocks[N_BLOCKS];
    uint64_t random = 5;

    (void)bytes;
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
    for (int i = 0; i < 10000; i++) {
        struct block *block = &blocks[random_next(&random) % N_BLOCKS];

        if (block->p == NULL) {
            renew(block, &random);
            continue;
        }
        check_paint(block, block->bytes);
        free(block->p);
        block->p = NULL;
    }
    for (volatile int i = 0; i < 100; i++) {
        if (sigsetjmp(back, 1) != 0)
            continue;
        may_jump = 1;
        for (;;) {
            void *p = malloc(1 + random_next(&random) % 100);

            *(volatile char *)p = 1;
            free(p);
        }
    }
    may_jump = 0;
    timer = (struct itimerval){{0, 0}, {0, 0}};
    CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
    for (int i = 0; i < N_BLOCKS; i++) {
        if (blocks[i].p != NULL)
            check_paint(&blocks[i], blocks[i].bytes);
        free(blocks[i].p);
    }
}

/* ---- misuse ---- */

static void small_double_free(size_t bytes)
{
    char *p = malloc(40);
    char *volatile again = p;

    (void)bytes;
    free(p);
    free(again);
}

static void small_free_inside_a_block(size_t bytes)
{
    char *volatile p = malloc(100);

    (void)bytes;
    free(p + 32);
}

static void small_realloc_of_a_freed_block(size_t bytes)
{
    char *p = malloc(40);
    char *volatile again = p;

    (void)bytes;
    free(p);
    CHECK(realloc(again, 50) == NULL);
}

/* Its page has left. */
static void small_free_long_after(size_t bytes)
{
    enum { N = 20000 };
    static char *blocks[N];
    char *volatile first;

    (void)bytes;
    for (int i = 0; i < N; i++)
        blocks[i] = malloc(1500);
    first = blocks[N / 2];
    for (int i = 0; i < N; i++)
        free(blocks[i]);
    free(first);
}

const struct probe probes_small[] = {
    {"small_blocks_go_from_thread_to_thread", small_blocks_go_from_thread_to_thread},
    {"small_blocks_of_ended_threads_come_back", small_blocks_of_ended_threads_come_back},
    {"small_blocks_of_threads_left_behind_come_back", small_blocks_of_threads_left_behind_come_back},
    {"small_blocks_are_whole_after_a_fork", small_blocks_are_whole_after_a_fork},
    {"small_blocks_in_a_handler", small_blocks_in_a_handler},
    {"small_double_free", small_double_free},
    {"small_free_inside_a_block", small_free_inside_a_block},
    {"small_realloc_of_a_freed_block", small_realloc_of_a_freed_block},
    {"small_free_long_after", small_free_long_after},
    {NULL, NULL},
};
