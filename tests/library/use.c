/*
 * use.c - a program that is written for GhostMem, in C: `use CASE LIMIT [PATH]` does what the case's name says, and checks it.
 *
 * `use fuzz LIMIT SEED SECONDS` does the first of these, blocks of all sizes by two threads, from other seeds again and again.
 *
 * It is linked with the library, as a shared one or as an archive, or finds it with dlopen(3). Exit: 0, or 1 and the line that is not so.
 */
#include <ghostmem.h>

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(condition)                                                                   \
    do {                                                                                   \
        if (!(condition)) {                                                                \
            fprintf(stderr, "use.c:%d: not so: %s (errno %d)\n", __LINE__, #condition, errno); \
            exit(1);                                                                       \
        }                                                                                  \
    } while (0)

#define PAGE ((size_t)GHOSTMEM_PAGE_BYTES)
#define N_BLOCKS 300
#define N_THREADS 2

static size_t limit;
static const char *path;

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static struct ghostmem_statistics statistics(void)
{
    struct ghostmem_statistics s;

    CHECK(ghostmem_get_statistics(&s, sizeof s) == sizeof s);
    return s;
}

static void initialize(void)
{
    struct ghostmem_config config = GHOSTMEM_CONFIG_INIT;

    config.max_memory_pages = limit;
    config.use_disk_backing = path != NULL;
    config.disk_file_path = path;
    CHECK(ghostmem_initialize(&config));
}

/* ---- blocks of all sizes, by two threads ---- */

struct block {
    unsigned char *p;
    size_t bytes;
    unsigned char seed;
};

static void fill(const struct block *block)
{
    for (size_t i = 0; i < block->bytes; i++)
        block->p[i] = (unsigned char)(block->seed + i / 64);
}

static void check(const struct block *block, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        CHECK(block->p[i] == (unsigned char)(block->seed + i / 64));
}

static size_t random_size(uint64_t *random)
{
    size_t most = (size_t)16 << random_next(random) % 12; /* up to 32 KiB */

    return 1 + random_next(random) % most;
}

static void renew(struct block *block, uint64_t *random)
{
    size_t bytes = random_size(random);
    size_t alignment = (size_t)1 << random_next(random) % 14;

    *block = (struct block){.bytes = bytes, .seed = (unsigned char)random_next(random)};
    switch (random_next(random) % 3) {
    case 0:
        block->p = ghostmem_allocate(bytes);
        CHECK(((uintptr_t)block->p & 15) == 0 || bytes < 16);
        break;
    case 1:
        block->p = ghostmem_allocate_aligned(alignment, bytes);
        CHECK(((uintptr_t)block->p & (alignment - 1)) == 0);
        break;
    default:
        block->p = ghostmem_allocate_zeroed(bytes, 1);
        for (size_t i = 0; i < bytes; i++)
            CHECK(block->p[i] == 0);
    }
    CHECK(block->p != NULL && ghostmem_owns(block->p) && ghostmem_usable_size(block->p) >= bytes);
    fill(block);
}

static void resize(struct block *block, uint64_t *random)
{
    size_t bytes = random_size(random);

    block->p = ghostmem_resize(block->p, bytes);
    CHECK(block->p != NULL);
    check(block, bytes < block->bytes ? bytes : block->bytes);
    block->bytes = bytes;
    fill(block);
}

/* What one thread has allocated, another one gives back. */
static struct block market[64]; /* guarded by: */
static pthread_mutex_t market_lock = PTHREAD_MUTEX_INITIALIZER;

static void trade(struct block *block, uint64_t *random)
{
    struct block mine = *block;
    struct block *other = &market[random_next(random) % 64];

    pthread_mutex_lock(&market_lock);
    *block = *other;
    *other = mine;
    pthread_mutex_unlock(&market_lock);
}

static void empty_market(void)
{
    for (int i = 0; i < 64; i++) {
        if (market[i].p != NULL)
            check(&market[i], market[i].bytes);
        ghostmem_deallocate(market[i].p, market[i].bytes);
        market[i] = (struct block){.p = NULL};
    }
}

static void *churn(void *arg)
{
    static _Thread_local struct block blocks[N_BLOCKS];
    uint64_t random = (uint64_t)(uintptr_t)arg;

    for (int i = 0; i < 6 * N_BLOCKS; i++) {
        struct block *block = &blocks[random_next(&random) % N_BLOCKS];

        if (block->p == NULL) {
            renew(block, &random);
            continue;
        }
        check(block, block->bytes);
        switch (random_next(&random) % 6) {
        case 0:
            resize(block, &random);
            continue;
        case 1:
            trade(block, &random);
            continue;
        default:
            break;
        }
        ghostmem_deallocate(block->p, block->bytes);
        block->p = NULL;
    }
    for (int i = 0; i < N_BLOCKS; i++) {
        if (blocks[i].p != NULL)
            check(&blocks[i], blocks[i].bytes);
        ghostmem_deallocate(blocks[i].p, blocks[i].bytes);
    }
    return NULL;
}

static void blocks(void)
{
    pthread_t threads[N_THREADS];
    struct ghostmem_statistics s;

    initialize();
    for (uintptr_t i = 0; i < N_THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, churn, (void *)(i * 77 + 1)) == 0);
    for (int i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    empty_market();
    s = statistics();
    CHECK(s.limit_pages == limit && s.resident_pages_peak <= limit + N_THREADS * 4);
    CHECK(s.blocks == 0 || limit > 0);
}

static unsigned seed = 1;
static unsigned seconds = 10;

static void fuzz(void)
{
    time_t end = time(NULL) + (time_t)seconds;

    path = NULL;
    initialize();
    for (; time(NULL) < end; seed++) {
        pthread_t threads[N_THREADS];
        struct ghostmem_statistics s;

        for (uintptr_t i = 0; i < N_THREADS; i++)
            CHECK(pthread_create(&threads[i], NULL, churn, (void *)(seed * 1000003ul + i + 1)) == 0);
        for (int i = 0; i < N_THREADS; i++)
            pthread_join(threads[i], NULL);
        empty_market();
        s = statistics();
        CHECK(s.blocks == 0 && s.live_bytes == 0); /* nothing is lost */
    }
    printf("up to seed %u\n", seed);
}

/* ---- others ---- */

static unsigned char *filled(size_t n_pages)
{
    struct block block = {.p = ghostmem_allocate(n_pages * PAGE), .bytes = n_pages * PAGE, .seed = 3};

    CHECK(block.p != NULL && ((uintptr_t)block.p & (PAGE - 1)) == 0);
    fill(&block);
    return block.p;
}

static uint64_t touch(const unsigned char *p, size_t n_pages)
{
    uint64_t before = statistics().faults;
    unsigned sum = 0;

    for (size_t i = 0; i < n_pages; i++)
        sum += *(const volatile unsigned char *)(p + i * PAGE);
    (void)sum;
    return statistics().faults - before;
}

static void pins(void)
{
    unsigned char *p;
    unsigned char *other;

    initialize();
    p = filled(4 * limit);
    other = filled(4 * limit);
    CHECK(touch(p, limit / 2) > 0);
    CHECK(ghostmem_pin(p + 5, (limit / 2 - 1) * PAGE) == 0);
    touch(other, 4 * limit);
    CHECK(touch(p, limit / 2) == 0);
    CHECK(ghostmem_unpin(p, limit / 2 * PAGE) == 0);
    CHECK(ghostmem_evict(p, limit / 2 * PAGE) == 0);
    touch(other, 4 * limit);
    CHECK(touch(p, limit / 2) > 0);
    CHECK(ghostmem_pin(p, 4 * limit * PAGE) == 0); /* the limit yields */
    CHECK(touch(p, 4 * limit) == 0);
    CHECK(ghostmem_resize(p, 5 * limit * PAGE) != NULL);
    CHECK(ghostmem_pin(&limit, 1) == -1 && errno == EINVAL);
    CHECK(ghostmem_evict(other, 0) == -1 && errno == EINVAL);
}

/* Said before there is any paging, it holds from its beginning; and where there never is any, it does no harm. */
static void pins_before(void)
{
    unsigned char *p;
    unsigned char *other;
    uint64_t faults;

    initialize();
    p = filled(limit / 2);
    CHECK(ghostmem_pin(p, limit / 4 * PAGE) == 0 && ghostmem_evict(p, PAGE) == 0 && ghostmem_prefetch(p, PAGE) == 0);
    CHECK(mlock(p + limit / 4 * PAGE, PAGE) == 0 && munlock(p + limit / 4 * PAGE, PAGE) == 0);
    other = filled(4 * limit);
    touch(other, 4 * limit);
    faults = touch(p, limit / 4);
    CHECK(faults == 0);
    check(&(struct block){.p = p, .seed = 3}, limit / 2 * PAGE);
}

static void hints(void)
{
    unsigned char *p;

    initialize();
    p = filled(4 * limit);
    CHECK(ghostmem_prefetch(p, limit / 4 * PAGE) == 0);
    CHECK(touch(p, limit / 4) == 0);
    CHECK(ghostmem_evict(p, limit / 4 * PAGE) == 0);
    touch(p + 2 * limit * PAGE, 2 * limit);
    CHECK(touch(p, limit / 4) > 0);
    check(&(struct block){.p = p, .seed = 3}, 4 * limit * PAGE);
}

static void limits(void)
{
    unsigned char *p;

    initialize();
    p = filled(2 * limit);
    CHECK(ghostmem_set_limit(4) == -1 && errno == EINVAL);
    CHECK(ghostmem_set_limit(limit / 2) == 0);
    CHECK(statistics().resident_pages <= limit / 2 && statistics().limit_pages == limit / 2);
    CHECK(ghostmem_set_limit(4 * limit) == 0);
    touch(p, 2 * limit);
    CHECK(touch(p, 2 * limit) == 0);
    check(&(struct block){.p = p, .seed = 3}, 2 * limit * PAGE);
}

static void settings(void)
{
    static const char *const good[] = {"POOL=1G", "GHOSTMEM_RECLAIM=direct", NULL};
    static const char *const bad[] = {"POOL=much", NULL};
    struct ghostmem_config config = GHOSTMEM_CONFIG_INIT;
    struct ghostmem_statistics s = {.engaged = 9};
    char json[4096];

    CHECK(ghostmem_get_statistics(&s, sizeof s) == sizeof s && s.limit_pages == 0 && s.engaged == 0);
    CHECK(ghostmem_stats(json, sizeof json) == 0);
    config.settings = bad;
    CHECK(!ghostmem_initialize(&config) && errno == EINVAL);
    config.settings = good;
    config.max_memory_pages = 4;
    CHECK(!ghostmem_initialize(&config) && errno == EINVAL);
    config.max_memory_pages = limit;
    config.use_disk_backing = true;
    config.disk_file_path = "/nowhere/at/all";
    CHECK(!ghostmem_initialize(&config) && errno == ENOENT);
    config.disk_file_path = "/etc/passwd";
    CHECK(!ghostmem_initialize(&config) && errno == EEXIST);
    config.disk_file_path = path;
    config.bytes = 8;
    CHECK(!ghostmem_initialize(&config) && errno == EINVAL);
    config.bytes = sizeof config;
    CHECK(ghostmem_initialize(&config));
    CHECK(!ghostmem_initialize(&config) && errno == EBUSY);
    CHECK(statistics().limit_pages == limit);
    (void)filled(4 * limit);
    CHECK(statistics().engaged == 1);
    CHECK(ghostmem_stats(json, sizeof json) == strlen(json) && strstr(json, "\"limit_pages\"") != NULL);
    CHECK(ghostmem_stats(json, 10) == 0);
}

static void versions(void)
{
    CHECK(strcmp(ghostmem_version(), GHOSTMEM_VERSION_STRING) == 0);
    CHECK(ghostmem_version_major() == GHOSTMEM_VERSION_MAJOR && ghostmem_version_minor() == GHOSTMEM_VERSION_MINOR);
    CHECK(ghostmem_version_patch() == GHOSTMEM_VERSION_PATCH && ghostmem_version_number() == GHOSTMEM_VERSION_NUMBER);
}

static void failures(void)
{
    initialize();
    CHECK(ghostmem_allocate(SIZE_MAX) == NULL && errno == ENOMEM);
    CHECK(ghostmem_allocate(SIZE_MAX / 4) == NULL && errno == ENOMEM);
    CHECK(ghostmem_allocate_zeroed(SIZE_MAX / 2, 3) == NULL && errno == ENOMEM);
    CHECK(ghostmem_allocate_aligned(24, 8) == NULL && errno == EINVAL);
    CHECK(ghostmem_allocate_aligned(0, 8) == NULL && errno == EINVAL);
    CHECK(ghostmem_resize(&limit, 8) == NULL && errno == EINVAL);
    CHECK(ghostmem_resize(ghostmem_allocate(8), SIZE_MAX) == NULL && errno == ENOMEM);
    CHECK(ghostmem_usable_size(NULL) == 0 && ghostmem_usable_size(&limit) == 0);
    CHECK(ghostmem_allocate(0) != NULL && ghostmem_resize(NULL, 0) != NULL);
    ghostmem_deallocate(NULL, 5);
    ghostmem_free(NULL);
}

/* One line each, and the program goes on. */
static void misuse(void)
{
    unsigned char *p;

    initialize();
    p = filled(4);
    errno = 7;
    ghostmem_deallocate(p + PAGE, PAGE);
    ghostmem_deallocate(p, PAGE);
    ghostmem_deallocate(p, 4 * PAGE);
    ghostmem_free(&limit);
    CHECK(errno == 7);
}

/* The same of blocks that share a page. */
static void small_misuse(void)
{
    unsigned char *p;
    unsigned char *aligned;

    initialize();
    p = ghostmem_allocate(100);
    CHECK(ghostmem_allocate(100) != NULL); /* the page stays */
    aligned = ghostmem_allocate_aligned(256, 300);
    CHECK(ghostmem_usable_size(p) == 112 && ghostmem_usable_size(aligned) == 512);
    CHECK(ghostmem_resize(p, 112) == p);
    ghostmem_deallocate(aligned, 300); /* no line */
    errno = 7;
    ghostmem_deallocate(p + 16, 112);
    ghostmem_deallocate(p, 113);
    ghostmem_free(p);
    CHECK(ghostmem_resize(p, 5) == NULL && errno == EINVAL);
    errno = 7;
    ghostmem_free(&limit);
    CHECK(errno == 7);
}

/* Memory that was in use is zero again where that is asked for, and nothing of it need be read to free it. */
static void nodes(void)
{
    enum { N = 20000 };
    static unsigned char *blocks[N];
    uint64_t before;

    initialize();
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < N; i++) {
            blocks[i] = round == 0 ? ghostmem_allocate(72) : ghostmem_allocate_zeroed(8, 9);
            for (int k = 0; k < 72; k++)
                CHECK(round == 0 || blocks[i][k] == 0);
            memset(blocks[i], i, 72);
        }
        CHECK(statistics().live_bytes < N * 72 * 5 / 4);
        /* A walk reads ahead, from page to page. */
        before = statistics().faults;
        for (int i = 0; i < N; i++)
            CHECK(blocks[i][71] == (unsigned char)i);
        CHECK(statistics().faults - before < N * 72 / PAGE / 2);
        before = statistics().faults;
        for (int i = 0; i < N; i++)
            ghostmem_deallocate(blocks[i * 7 % N], 72);
        CHECK(statistics().faults == before);
        CHECK(statistics().blocks == 0);
    }
}

static void children(void)
{
    unsigned char *p;
    int status;
    pid_t child;

    initialize();
    p = filled(4 * limit);
    child = fork();
    CHECK(child >= 0);
    check(&(struct block){.p = p, .seed = 3}, 4 * limit * PAGE);
    memset(p, child == 0 ? 1 : 2, 4 * limit * PAGE);
    p = ghostmem_resize(p, 8 * limit * PAGE);
    for (size_t i = 0; i < 4 * limit * PAGE; i++)
        CHECK(p[i] == (child == 0 ? 1 : 2));
    ghostmem_deallocate(p, 8 * limit * PAGE);
    if (child == 0)
        exit(0);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

/* More than the limit, written by a system call, whether paging is possible or not. */
static void calls(void)
{
    unsigned char *p;
    int ends[2];

    initialize();
    p = filled(4 * limit);
    CHECK(pipe(ends) == 0);
    for (size_t i = 0; i < 4 * limit; i++) {
        unsigned char page[PAGE];

        CHECK(write(ends[1], p + i * PAGE, PAGE) == (ssize_t)PAGE && read(ends[0], page, PAGE) == (ssize_t)PAGE);
        CHECK(memcmp(page, p + i * PAGE, PAGE) == 0);
    }
    ghostmem_deallocate(p, 4 * limit * PAGE);
}

static void whose_malloc(void)
{
    void *p = calloc((size_t)1 << 20, 1);

    printf("%s\n", ghostmem_owns(p) ? "ghost" : "libc");
    free(p);
    p = ghostmem_allocate((size_t)1 << 20);
    CHECK(ghostmem_owns(p));
    ghostmem_free(p);
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    {"blocks", blocks}, {"pins", pins}, {"pins_before", pins_before},
    {"hints", hints}, {"limits", limits}, {"settings", settings}, {"versions", versions},
    {"fuzz", fuzz}, {"failures", failures}, {"misuse", misuse},
    {"small_misuse", small_misuse}, {"nodes", nodes}, {"children", children}, {"calls", calls}, {"malloc", whose_malloc},
};

int main(int argc, char **argv)
{
    CHECK(argc >= 3);
    limit = strtoul(argv[2], NULL, 10);
    path = argc > 3 ? argv[3] : NULL;
    if (argc > 4) {
        seed = (unsigned)strtoul(argv[3], NULL, 10);
        seconds = (unsigned)strtoul(argv[4], NULL, 10);
    }
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (strcmp(cases[i].name, argv[1]) != 0)
            continue;
        cases[i].run();
        return 0;
    }
    fprintf(stderr, "use: no case %s\n", argv[1]);
    return 1;
}
