/* small.c - see small.h. */
#include "interpose/small.h"

#include "interpose/control.h"
#include "interpose/guard.h"
#include "interpose/memory.h"

#include "core/slab_records.h"
#include "platform/thread.h"

#include <pthread.h>
#include <string.h>

_Static_assert(sizeof(struct small_cache) <= SLAB_CHUNK_BYTES, "a cache is a chunk of records");

/* At most 16 KiB of each class: a lock is taken for half of it at a time. */
const unsigned char small_most[SLAB_CLASSES] = {
    128, 128, 128, 128, 128, 128, 128, 128, 64, 64, 64, 64, 64, 64, 64, 64, /* up to 256 bytes */
    32,  32,  32,  32,  16,  16,  16,  16,  8,  8,  8,  8,
};

/* Once paging has started: what lies in caches is not seen by who looks for pages that are in RAM. */
#define MOST_WHILE_PAGING 8u

static struct small_cache none;
__thread struct small_cache *small_self = &none;
static __thread bool has_ended; /* or is being given a cache: libc may allocate for that */

static _Atomic(struct small_cache *) caches;
static pthread_key_t key;
static bool has_key;

/* ---- caches ---- */

static void give_all(void *arg)
{
    struct small_cache *cache = arg;

    for (unsigned class = 0; class < SLAB_CLASSES; class++)
        if (cache->rows[class].n > 0)
            slab_give(&ghost.slabs, class, &cache->rows[class], cache->rows[class].n);
}

static void on_thread_end(void *arg)
{
    struct small_cache *cache = arg;

    has_ended = true;
    small_self = &none;
    cache->ready = false;
    guard_ask(give_all, cache);
    atomic_store(&cache->owner, 0);
}

/* One that nobody has; or that a thread with our id had, and did not give back: it ended by a raw exit(2). */
static struct small_cache *used_before(uint32_t id)
{
    for (struct small_cache *cache = atomic_load(&caches); cache != NULL; cache = cache->next) {
        uint32_t nobody = 0;

        if (atomic_load(&cache->owner) == id || atomic_compare_exchange_strong(&cache->owner, &nobody, id))
            return cache;
    }
    return NULL;
}

static struct small_cache *new_cache(uint32_t id)
{
    struct small_cache *cache = slab_chunk_new(&ghost.slabs);
    size_t n_slots = 0;

    if (cache == NULL)
        return NULL;
    for (unsigned class = 0; class < SLAB_CLASSES; class++) {
        cache->rows[class].slots = &cache->slots[n_slots];
        n_slots += small_most[class];
    }
    INVARIANT(n_slots == SMALL_SLOTS);
    cache->owner = id;
    cache->next = atomic_load(&caches);
    while (!atomic_compare_exchange_weak(&caches, &cache->next, cache))
        continue;
    return cache;
}

/* The calling thread's cache; one that is never ready where it can have none. */
static struct small_cache *own_cache(void)
{
    struct small_cache *cache;
    uint32_t id;

    if (small_self != &none || has_ended || !has_key)
        return small_self;
    has_ended = true;
    id = os_thread_id();
    cache = used_before(id);
    if (cache == NULL)
        cache = new_cache(id);
    if (cache != NULL && pthread_setspecific(key, cache) == 0) {
        cache->ready = true;
        small_self = cache;
    } else if (cache != NULL) {
        atomic_store(&cache->owner, 0);
    }
    has_ended = false;
    return small_self;
}

/* ---- allocating ---- */

struct request {
    void *p;
    size_t bytes;
    size_t alignment;
    const char *caller;
    bool always;
    bool dirty;
};

static bool is_near(const void *p)
{
    return pager_is_near(&ghost.pager, space_number(&ghost.pager.space, (uintptr_t)p));
}

/* The youngest slot whose page is in RAM is the youngest of all. False: there is none. */
static bool prefer_near(struct slab_row *row)
{
    for (unsigned i = row->n; i-- > 0;) {
        struct slab_slot slot = row->slots[i];

        if (!is_near(slot.p))
            continue;
        row->slots[i] = row->slots[row->n - 1];
        row->slots[row->n - 1] = slot;
        return true;
    }
    return false;
}

static unsigned most_of(unsigned class)
{
    unsigned most = small_most[class];

    return pager_is_engaged(&ghost.pager) && most > MOST_WHILE_PAGING ? MOST_WHILE_PAGING : most;
}

/* An empty row gets @n slots. */
static void *take(struct slab_row *row, unsigned n, unsigned class, struct request *request)
{
    if (row->n > 0 && !prefer_near(row))
        slab_give(&ghost.slabs, class, row, row->n);
    if (row->n == 0 && slab_take(&ghost.slabs, class, row, n) == 0)
        (void)slab_grow(&ghost.slabs, class, request->always, row, n);
    return row->n > 0 ? small_pop(row, &request->dirty) : NULL;
}

static void do_allocate(void *arg)
{
    struct request *request = arg;
    unsigned class = slab_class_aligned(request->bytes, max_size(request->alignment, 1));
    struct small_cache *cache;

    if (ghost_heap() == NULL)
        return;
    control_look();
    cache = own_cache();
    if (small_enter(cache)) {
        request->p = take(&cache->rows[class], most_of(class) / 2, class, request);
        small_leave(cache);
    } else {
        struct slab_slot slot;
        struct slab_row row = {.n = 0, .slots = &slot};

        request->p = take(&row, 1, class, request);
    }
}

void *small_allocate(size_t bytes, size_t alignment, bool always, bool *dirty)
{
    struct request request = {.bytes = bytes, .alignment = alignment, .always = always};

    guard_ask(do_allocate, &request);
    *dirty = request.dirty;
    return request.p;
}

/* ---- freeing ---- */

static void put(struct slab_row *row, unsigned class, void *p, unsigned char *state)
{
    unsigned most = most_of(class);

    if (row->n >= most)
        slab_give(&ghost.slabs, class, row, row->n - most / 2);
    small_push(row, p, state);
}

static void do_free(void *arg)
{
    struct request *request = arg;
    struct slab *slab = slab_at(&ghost.slabs, request->p);
    unsigned char *state = slab_state(&ghost.slabs, slab, request->p);
    struct small_cache *cache = small_self;
    unsigned class = slab->class;

    if (state == NULL || slab_look(state) != SLOT_OF_PROGRAM) {
        slab_say_pointer(&ghost.slabs, slab, request->p, request->caller);
        return;
    }
    slab_mark(state, SLOT_OF_CACHE);
    if (is_near(request->p) && small_enter(cache)) {
        put(&cache->rows[class], class, request->p, state);
        small_leave(cache);
    } else {
        struct slab_slot slot = {request->p, state};
        struct slab_row row = {.n = 1, .slots = &slot};

        slab_give(&ghost.slabs, class, &row, 1);
    }
    request->p = NULL;
}

bool small_free(void *p, const char *caller)
{
    struct request request = {.p = p, .caller = caller};

    guard_ask(do_free, &request);
    return request.p == NULL;
}

/* ---- questions ---- */

size_t small_look_up(const void *p, const char *caller)
{
    struct slab *slab = slab_at(&ghost.slabs, p);
    const unsigned char *state = slab_state(&ghost.slabs, slab, p);

    if (state != NULL && slab_look(state) == SLOT_OF_PROGRAM)
        return slab_bytes(slab->class);
    slab_say_pointer(&ghost.slabs, slab, p, caller);
    return 0;
}

bool small_may_have(const void *p, size_t bytes)
{
    const struct slab *slab = slab_at(&ghost.slabs, p);
    size_t wanted = max_size(bytes, 1);

    for (size_t alignment = SLAB_ALIGNMENT; wanted <= SMALL_MAX_BYTES && alignment <= SMALL_MAX_BYTES; alignment *= 2)
        if ((uintptr_t)p % alignment == 0 && slab_class_aligned(wanted, alignment) == slab->class)
            return true;
    return false;
}

size_t small_count(const struct slab_counts *counts)
{
    size_t n_taken = counts->n_taken;

    for (const struct small_cache *cache = atomic_load(&caches); cache != NULL; cache = cache->next)
        for (unsigned class = 0; class < SLAB_CLASSES; class++)
            n_taken -= min_size(n_taken, __atomic_load_n(&cache->rows[class].n, __ATOMIC_RELAXED));
    return n_taken;
}

/* ---- begin and fork ---- */

static void *take_pages(size_t bytes, bool always)
{
    void *p = memory_allocate(&ghost.heap, bytes, 0);

    return p == NULL && always ? heap_allocate_always(&ghost.heap, bytes, 0) : p;
}

static void give_pages(void *p)
{
    memory_free(p, "free");
}

void small_start(void)
{
    slabs_init(&ghost.slabs, &ghost.heap, take_pages, give_pages);
    has_key = pthread_key_create(&key, on_thread_end) == 0;
}

void small_fork_child(void)
{
    for (struct small_cache *cache = atomic_load(&caches); cache != NULL; cache = cache->next) {
        if (cache == small_self) {
            atomic_store(&cache->owner, os_thread_id());
            continue;
        }
        give_all(cache);
        atomic_store(&cache->owner, 0);
    }
}
