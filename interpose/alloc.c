/*
 * alloc.c - malloc and its family.
 *
 * Small requests are libc's, large ones the ghost heap's; whose a pointer is, its address alone decides. Where the threshold is below
 * a page, the heap's slabs have the smaller ones: small.h. errno is what the C standard, POSIX and glibc's manual ("Replacing malloc")
 * say: ENOMEM on failure, untouched by free().
 *
 * Calls: ghost, heap, memory, small, libc.  Locks: none of its own.  Memory: none of its own.
 */
#include "interpose/control.h"
#include "interpose/deepbind.h"
#include "interpose/ghost.h"
#include "interpose/guard.h"
#include "interpose/libc.h"
#include "interpose/memory.h"
#include "interpose/pressure.h"
#include "interpose/small.h"

#include "platform/file.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

/* The headers call some of these `nonnull` or attach other attributes; ours must look the same. */
EXPORT void *malloc(size_t bytes);
EXPORT void free(void *p);
EXPORT void *calloc(size_t n, size_t bytes);
EXPORT void *realloc(void *p, size_t bytes);
EXPORT void *reallocarray(void *p, size_t n, size_t bytes);
EXPORT void *aligned_alloc(size_t alignment, size_t bytes);
EXPORT int posix_memalign(void **p, size_t alignment, size_t bytes);
EXPORT void *memalign(size_t alignment, size_t bytes);
EXPORT void *valloc(size_t bytes);
EXPORT void *pvalloc(size_t bytes);
EXPORT size_t malloc_usable_size(void *p);
EXPORT void free_sized(void *p, size_t bytes);
EXPORT void free_aligned_sized(void *p, size_t alignment, size_t bytes);

static size_t threshold(void)
{
    size_t bytes = atomic_load_explicit(&ghost_threshold_bytes, memory_order_relaxed);

    if (__builtin_expect(bytes == 0, 0)) {
        ghost_configure();
        bytes = atomic_load_explicit(&ghost_threshold_bytes, memory_order_relaxed);
        if (bytes == 0)
            bytes = SIZE_MAX; /* too early for settings: libc serves */
    }
    return bytes;
}

/* What is asked of the ghost heap, on a stack on which that can be done. */
struct request {
    void *p;
    size_t bytes;
    size_t alignment;
    const char *caller;
};

static void do_allocate(void *arg)
{
    struct request *request = arg;

    struct heap *heap = ghost_heap();

    control_look();
    request->p = heap != NULL ? memory_allocate(heap, request->bytes, request->alignment) : NULL;
}

/* Less than that is refused nowhere: nothing is asked. */
#define REASON_BYTES ((size_t)1 << 30)

/*
 * Programs find out with malloc how much there is: what the kernel would refuse to libc is libc's to be refused. A swap file is
 * more room than the kernel knows of.
 */
static bool is_within_reason(size_t bytes)
{
    uint64_t file_bytes = min_size(ghost.config.swap_max_bytes, (uint64_t)SWAP_MAX_SEGMENTS * SWAP_SEGMENT_BYTES);

    if (bytes < REASON_BYTES || (ghost.config.swap != NULL && bytes <= file_bytes))
        return true;
    return !os_mem_is_beyond_reason(bytes);
}

/* A ghost block, or NULL: it is libc's turn. *@dirty: it need not read as zeros. */
static void *ghost_allocate(size_t bytes, size_t alignment, bool *dirty)
{
    struct request request = {.bytes = bytes, .alignment = alignment};

    *dirty = false;
    if (__builtin_expect(bytes < threshold(), 1))
        return NULL;
    if (__builtin_expect(atomic_load_explicit(&deepbind_pending, memory_order_relaxed), 0))
        deepbind_turn();
    if (bytes <= SMALL_MAX_BYTES && alignment <= SMALL_MAX_BYTES)
        request.p = small_allocate(bytes, alignment, false, dirty);
    if (request.p == NULL && __builtin_expect(is_within_reason(bytes), 1))
        guard_ask(do_allocate, &request);
    return request.p;
}

/* The same of what a thread has at hand. */
static inline void *small_at_hand(size_t bytes, bool *dirty)
{
    if (bytes > SMALL_MAX_BYTES || bytes < atomic_load_explicit(&ghost_threshold_bytes, memory_order_relaxed) ||
        __builtin_expect(atomic_load_explicit(&deepbind_pending, memory_order_relaxed), 0))
        return NULL;
    return small_take(bytes, dirty);
}

static void do_free(void *arg)
{
    const struct request *request = arg;

    memory_free(request->p, request->caller);
}

static void ghost_free(void *p, const char *caller)
{
    if (!small_owns(p))
        guard_ask(do_free, &(struct request){.p = p, .caller = caller});
    else if (!small_free(p, caller))
        os_abort();
}

static void do_resize(void *arg)
{
    struct request *request = arg;

    request->p = memory_resize(request->p, request->bytes, request->caller);
}

static void *ghost_resize(void *p, size_t bytes, const char *caller)
{
    struct request request = {.p = p, .bytes = bytes, .caller = caller};

    guard_ask(do_resize, &request);
    return request.p;
}

static size_t small_usable_bytes(const void *p, const char *caller)
{
    size_t bytes = small_look_up(p, caller);

    if (bytes == 0)
        os_abort();
    return bytes;
}

/* The pager is not asked. */
static size_t ghost_usable_bytes(const void *p, const char *caller)
{
    struct ghost_quiet quiet;
    size_t bytes;

    if (small_owns(p))
        return small_usable_bytes(p, caller);
    quiet = ghost_quiet_begin();
    bytes = heap_usable_bytes(&ghost.heap, p, caller);
    ghost_quiet_end(quiet);
    return bytes;
}

static bool is_ghost(const void *p)
{
    return heap_owns(&ghost.heap, p);
}

static bool is_power_of_two(size_t n)
{
    return n != 0 && (n & (n - 1)) == 0;
}

static void *out_of_memory(void)
{
    errno = ENOMEM;
    return NULL;
}

EXPORT void *malloc(size_t bytes)
{
    bool dirty;
    void *p = small_at_hand(bytes, &dirty);
    const struct libc *libc;

    if (p != NULL)
        return p;
    libc = libc_next();
    if (__builtin_expect(libc == NULL, 0))
        return arena_allocate(bytes);
    p = ghost_allocate(bytes, 0, &dirty);
    if (p != NULL)
        return p;
    pressure_note(bytes);
    return libc->malloc(bytes);
}

EXPORT void free(void *p)
{
    const struct libc *libc;

    if (small_put(p))
        return;
    if (is_ghost(p)) {
        ghost_free(p, "free");
        return;
    }
    if (p == NULL || arena_owns(p))
        return;
    libc = libc_next();
    if (libc != NULL)
        libc->free(p);
}

EXPORT void *calloc(size_t n, size_t bytes)
{
    const struct libc *libc = libc_next();
    bool dirty;
    size_t total;
    void *p;

    if (__builtin_mul_overflow(n, bytes, &total))
        return out_of_memory();
    if (__builtin_expect(libc == NULL, 0))
        return arena_allocate(total);
    p = small_at_hand(total, &dirty);
    if (p == NULL)
        p = ghost_allocate(total, 0, &dirty);
    if (p != NULL) /* fresh ghost pages read as zeros */
        return dirty ? memset(p, 0, total) : p;
    pressure_note(total);
    return libc->calloc(n, bytes);
}

/* From one allocator into another: the only resize that copies bytes. */
static void *resize_across(void *p, size_t old_bytes, void *fresh, size_t bytes)
{
    if (fresh == NULL)
        return NULL;
    memcpy(fresh, p, min_size(old_bytes, bytes));
    free(p);
    return fresh;
}

/* In place within the class. Where there is no other block, one that is to shrink stays. */
static void *resize_small(void *p, size_t bytes)
{
    size_t old_bytes = small_usable_bytes(p, "realloc");
    void *fresh;

    if (bytes <= SMALL_MAX_BYTES && slab_bytes(slab_class(bytes)) == old_bytes)
        return p;
    fresh = malloc(bytes);
    return fresh == NULL && bytes <= old_bytes ? p : resize_across(p, old_bytes, fresh, bytes);
}

static void *resize_ghost(const struct libc *libc, void *p, size_t bytes)
{
    void *fresh = NULL;
    bool dirty;

    if (bytes == 0) {
        ghost_free(p, "realloc");
        return NULL;
    }
    if (small_owns(p))
        return resize_small(p, bytes);
    if (bytes <= SMALL_MAX_BYTES && bytes >= threshold())
        fresh = small_allocate(bytes, 0, false, &dirty);
    if (fresh != NULL)
        return resize_across(p, ghost_usable_bytes(p, "realloc"), fresh, bytes);
    if (bytes >= REASON_BYTES && !is_within_reason(bytes - min_size(bytes, ghost_usable_bytes(p, "realloc"))))
        return out_of_memory();
    fresh = ghost_resize(p, bytes, "realloc");
    if (fresh != NULL)
        return fresh;
    return resize_across(p, ghost_usable_bytes(p, "realloc"), libc->malloc(bytes), bytes);
}

EXPORT void *realloc(void *p, size_t bytes)
{
    const struct libc *libc = libc_next();
    bool dirty;
    void *fresh;

    if (p == NULL)
        return malloc(bytes);
    if (arena_owns(p))
        return resize_across(p, arena_usable_bytes(p), malloc(bytes), bytes);
    if (is_ghost(p))
        return resize_ghost(libc, p, bytes);
    if (__builtin_expect(libc == NULL, 0))
        return out_of_memory();
    pressure_note(bytes);
    if (bytes < threshold())
        return libc->realloc(p, bytes);
    fresh = ghost_allocate(bytes, 0, &dirty);
    if (fresh == NULL)
        return libc->realloc(p, bytes);
    return resize_across(p, libc->malloc_usable_size(p), fresh, bytes);
}

EXPORT void *reallocarray(void *p, size_t n, size_t bytes)
{
    size_t total;

    if (__builtin_mul_overflow(n, bytes, &total))
        return out_of_memory();
    return realloc(p, total);
}

/* Odd alignments are left to libc's own rules, which differ from version to version. */
static void *allocate_aligned(size_t alignment, size_t bytes)
{
    bool dirty;

    return is_power_of_two(alignment) ? ghost_allocate(bytes, alignment, &dirty) : NULL;
}

EXPORT void *aligned_alloc(size_t alignment, size_t bytes)
{
    const struct libc *libc = libc_next();
    void *p = libc != NULL ? allocate_aligned(alignment, bytes) : NULL;

    if (p != NULL)
        return p;
    pressure_note(bytes);
    return libc != NULL ? libc->aligned_alloc(alignment, bytes) : out_of_memory();
}

EXPORT void *memalign(size_t alignment, size_t bytes)
{
    const struct libc *libc = libc_next();
    void *p = libc != NULL ? allocate_aligned(alignment, bytes) : NULL;

    if (p != NULL)
        return p;
    pressure_note(bytes);
    return libc != NULL ? libc->memalign(alignment, bytes) : out_of_memory();
}

EXPORT int posix_memalign(void **result, size_t alignment, size_t bytes)
{
    const struct libc *libc = libc_next();
    bool dirty;
    void *p;

    if (!is_power_of_two(alignment) || alignment % sizeof(void *) != 0)
        return EINVAL;
    if (libc == NULL)
        return ENOMEM;
    p = ghost_allocate(bytes, alignment, &dirty);
    if (p == NULL) {
        pressure_note(bytes);
        return libc->posix_memalign(result, alignment, bytes);
    }
    *result = p;
    return 0;
}

EXPORT void *valloc(size_t bytes)
{
    return memalign(PAGE_BYTES, bytes);
}

EXPORT void *pvalloc(size_t bytes)
{
    size_t rounded;

    if (__builtin_add_overflow(bytes, PAGE_BYTES - 1, &rounded))
        return out_of_memory();
    return memalign(PAGE_BYTES, rounded & ~(PAGE_BYTES - 1));
}

EXPORT size_t malloc_usable_size(void *p)
{
    const struct libc *libc;

    if (p == NULL)
        return 0;
    if (is_ghost(p))
        return ghost_usable_bytes(p, "malloc_usable_size");
    if (arena_owns(p))
        return arena_usable_bytes(p);
    libc = libc_next();
    return libc != NULL ? libc->malloc_usable_size(p) : 0;
}

EXPORT void free_sized(void *p, size_t bytes)
{
    (void)bytes;
    free(p);
}

EXPORT void free_aligned_sized(void *p, size_t alignment, size_t bytes)
{
    (void)alignment;
    (void)bytes;
    free(p);
}
