/* test_pool.c - images in size classes. */
#include "core/pool.h"
#include "core/store.h"
#include "tests/unit/unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static struct pool pool;

#define SPACE (64 * MIB)

static void fill(unsigned char *image, size_t bytes, unsigned seed)
{
    for (size_t i = 0; i < bytes; i++)
        image[i] = (unsigned char)(seed + i * 31);
}

static unsigned kind_of(size_t bytes, unsigned seed)
{
    return bytes == PAGE_BYTES ? 0 : seed % POOL_KINDS;
}

static bool holds(pool_handle handle, size_t bytes, unsigned seed)
{
    unsigned char expected[PAGE_BYTES];
    struct pool_image image = pool_image(&pool, handle);

    fill(expected, bytes, seed);
    return image.bytes == bytes && image.kind == kind_of(bytes, seed) && memcmp(image.data, expected, bytes) == 0;
}

static pool_handle put(size_t bytes, unsigned seed)
{
    unsigned char image[PAGE_BYTES];

    fill(image, bytes, seed);
    return pool_put(&pool, image, bytes, kind_of(bytes, seed));
}

/* Lengths that a page's image can have. */
static size_t length_of(unsigned i)
{
    return i % 17 == 0 ? PAGE_BYTES : 1 + (i * 61) % CODEC_MAX_IMAGE_BYTES;
}

Test(pool, image_of_every_length_round_trips)
{
    cr_assert_eq(pool_init(&pool, SPACE, UINT64_MAX), 0);
    for (size_t bytes = 1; bytes <= CODEC_MAX_IMAGE_BYTES; bytes++) {
        pool_handle handle = put(bytes, (unsigned)bytes);

        cr_assert_neq(handle, 0);
        cr_assert(holds(handle, bytes, (unsigned)bytes), "%zu bytes", bytes);
    }
    cr_assert(holds(put(PAGE_BYTES, 3), PAGE_BYTES, 3));
}

Test(pool, counts_return_to_zero_when_all_images_are_freed)
{
    enum { N = 5000 };
    static pool_handle handles[N];
    uint64_t most;

    cr_assert_eq(pool_init(&pool, SPACE, UINT64_MAX), 0);
    for (unsigned i = 0; i < N; i++)
        handles[i] = put(length_of(i), i);
    cr_assert_eq(pool.n_images, N);
    cr_assert_geq(pool.held_bytes, pool.used_bytes);
    most = pool.held_bytes;
    for (unsigned i = 0; i < N; i++)
        pool_free(&pool, handles[(i * 7) % N]);
    cr_assert_eq(pool.n_images, 0);
    cr_assert_eq(pool.used_bytes, 0);
    cr_assert_eq(pool.held_bytes, 0);
    cr_assert_eq(pool.held_bytes_peak, most);
}

Test(pool, freed_slot_is_used_again_and_neighbours_keep_their_bytes)
{
    pool_handle a;
    pool_handle b;
    pool_handle c;

    cr_assert_eq(pool_init(&pool, SPACE, UINT64_MAX), 0);
    a = put(100, 1);
    b = put(100, 2);
    c = put(100, 3);
    pool_free(&pool, b);
    cr_assert_eq(put(101, 4), b);
    cr_assert(holds(a, 100, 1) && holds(b, 101, 4) && holds(c, 100, 3));
}

Test(pool, bound_is_kept_and_room_comes_back)
{
    static pool_handle handles[10000];
    unsigned n = 0;

    cr_assert_eq(pool_init(&pool, SPACE, 1 * MIB), 0);
    while (n < 10000 && (handles[n] = put(2000, n)) != 0)
        n++;
    cr_assert(n > 400 && n < 600, "%u images of 2,000 bytes in 1 MiB", n);
    cr_assert_leq(pool.held_bytes, 1 * MIB);
    pool_free(&pool, handles[0]);
    cr_assert_neq(put(2000, 1), 0);
    cr_assert_eq(put(2000, 1), 0);
}

Test(pool, address_space_that_is_used_up_is_a_refusal)
{
    unsigned n = 0;

    cr_assert_eq(pool_init(&pool, 1 * MIB, UINT64_MAX), 0);
    while (put(PAGE_BYTES, n) != 0)
        n++;
    cr_assert(n > 230 && n <= 256, "%u plain pages in 1 MiB", n);
}

Test(pool, slack_after_a_fill_is_small)
{
    cr_assert_eq(pool_init(&pool, SPACE, UINT64_MAX), 0);
    for (unsigned i = 0; i < 8000; i++)
        cr_assert_neq(put(1500 + i * 13 % 1500, i), 0);
    cr_assert_lt((pool.held_bytes - pool.used_bytes) * 100, pool.held_bytes * 15);
}

Test(pool, compaction_returns_memory_and_loses_nothing)
{
    enum { N = 16000 };
    static pool_handle handles[N];
    uint64_t before;

    cr_assert_eq(pool_init(&pool, SPACE, UINT64_MAX), 0);
    for (unsigned i = 0; i < N; i++)
        handles[i] = put(1000 + i % 5 * 64, i);
    for (unsigned i = 0; i < N; i++)
        if (i % 4 != 0) {
            pool_free(&pool, handles[i]);
            handles[i] = 0;
        }
    cr_assert(pool_wants_compaction(&pool));
    before = pool.held_bytes;
    cr_assert(pool_compact_begin(&pool));
    for (unsigned i = 0; i < N; i++)
        if (handles[i] != 0)
            handles[i] = pool_relocate(&pool, handles[i]);
    pool_compact_end(&pool);
    cr_assert_lt(pool.held_bytes, before / 2);
    cr_assert(!pool_wants_compaction(&pool), "held %lu used %lu", (unsigned long)pool.held_bytes,
              (unsigned long)pool.used_bytes);
    for (unsigned i = 0; i < N; i += 4) {
        cr_assert(holds(handles[i], 1000 + i % 5 * 64, i));
        pool_free(&pool, handles[i]);
    }
    cr_assert_eq(pool.held_bytes, 0);
}

Test(pool, round_of_compaction_that_finds_no_owner_changes_nothing)
{
    enum { N = 4000 };
    static pool_handle handles[N];

    cr_assert_eq(pool_init(&pool, SPACE, UINT64_MAX), 0);
    for (unsigned i = 0; i < N; i++)
        handles[i] = put(1000, i);
    for (unsigned i = 0; i < N; i++)
        if (i % 4 != 0)
            pool_free(&pool, handles[i]);
    cr_assert(pool_compact_begin(&pool));
    pool_compact_end(&pool);
    for (unsigned i = 0; i < N; i += 4)
        cr_assert(holds(handles[i], 1000, i));
    for (unsigned i = 0; i < N; i += 4)
        pool_free(&pool, handles[i]);
    cr_assert_eq(pool.held_bytes, 0);
    cr_assert_neq(put(1000, 1), 0);
}

Test(pool, random_puts_and_frees_agree_with_a_model)
{
    enum { N = 2000 };
    static pool_handle handles[N];
    static unsigned seeds[N];
    uint64_t random = 88172645463325252u;

    cr_assert_eq(pool_init(&pool, SPACE, UINT64_MAX), 0);
    for (unsigned step = 0; step < 200000; step++) {
        unsigned i;

        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        i = (unsigned)(random % N);
        if (handles[i] != 0) {
            cr_assert(holds(handles[i], length_of(seeds[i]), seeds[i]));
            pool_free(&pool, handles[i]);
            handles[i] = 0;
        } else {
            seeds[i] = step;
            handles[i] = put(length_of(step), step);
            cr_assert_neq(handles[i], 0);
        }
    }
}

/* ---- several threads, as the pager uses it: puts without a lock, owners and relocation under one ---- */

#define N_OWNED 3000
#define N_STEPS 60000

static pthread_mutex_t owner_lock = PTHREAD_MUTEX_INITIALIZER;
static pool_handle owned[N_OWNED];
static unsigned owned_seeds[N_OWNED];
static _Atomic unsigned n_running;

/* Odd seeds are of one class, 64 slots to a slab; even ones of all. */
static size_t mixed_length(unsigned seed)
{
    return seed % 2 == 1 ? 1000 : length_of(seed);
}

static void *put_and_free(void *arg)
{
    uint64_t random = *(unsigned *)arg * 7919u + 1;

    for (unsigned step = 0; step < N_STEPS; step++) {
        unsigned seed;
        unsigned at;
        pool_handle fresh;
        pool_handle old;
        unsigned old_seed;

        random = random * 6364136223846793005u + 1442695040888963407u;
        at = (unsigned)(random >> 33) % N_OWNED;
        seed = (unsigned)(random >> 20);
        /* Waves: fill up, then thin out, so that there is something to compact. */
        fresh = step / 6000 % 2 == 0 || step % 4 == 0 ? put(mixed_length(seed), seed) : 0;
        pthread_mutex_lock(&owner_lock);
        old = owned[at];
        old_seed = owned_seeds[at];
        owned[at] = fresh;
        owned_seeds[at] = seed;
        pthread_mutex_unlock(&owner_lock);
        if (old == 0)
            continue;
        cr_assert(holds(old, mixed_length(old_seed), old_seed));
        pool_free(&pool, old);
    }
    atomic_fetch_sub(&n_running, 1);
    return NULL;
}

static void compact_once(void)
{
    if (!pool_compact_begin(&pool))
        return;
    for (unsigned i = 0; i < N_OWNED; i++) {
        pthread_mutex_lock(&owner_lock);
        if (owned[i] != 0)
            owned[i] = pool_relocate(&pool, owned[i]);
        pthread_mutex_unlock(&owner_lock);
    }
    pool_compact_end(&pool);
}

Test(pool, threads_that_put_free_and_compact_lose_nothing)
{
    pthread_t threads[3];
    unsigned numbers[3] = {1, 2, 3};

    cr_assert_eq(pool_init(&pool, SPACE, UINT64_MAX), 0);
    memset(owned, 0, sizeof owned);
    atomic_store(&n_running, 3);
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, put_and_free, &numbers[i]), 0);
    while (atomic_load(&n_running) > 0)
        compact_once();
    for (unsigned i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < N_OWNED; i++) {
        if (owned[i] == 0)
            continue;
        cr_assert(holds(owned[i], mixed_length(owned_seeds[i]), owned_seeds[i]));
        pool_free(&pool, owned[i]);
    }
    cr_assert_eq(pool.held_bytes, 0);
}
