/*
 * api.c - the library's own functions: ghostmem.h.
 *
 * They are for the ghost heap what alloc.c is, without libc behind them: where the limit cannot be kept, blocks are
 * ghost memory all the same. A pointer of the program's is looked up before anything is done to it.
 *
 * Calls: ghost, heap, memory, small, pager.  Locks: none of its own.  Memory: none of its own.
 */
#include "interpose/ghost.h"
#include "interpose/ghostmem.h"
#include "interpose/guard.h"
#include "interpose/memory.h"
#include "interpose/small.h"

#include "core/log.h"
#include "platform/file.h"

#include <errno.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

_Static_assert(GHOSTMEM_PAGE_BYTES == PAGE_BYTES, "one page size everywhere");

static void *fail(int error)
{
    errno = error;
    return NULL;
}

static int answer(long result)
{
    return (int)memory_answer(result);
}

/* ---- version ---- */

EXPORT const char *ghostmem_version(void)
{
    return GHOSTMEM_VERSION;
}

EXPORT int ghostmem_version_major(void)
{
    return GHOSTMEM_VERSION_MAJOR;
}

EXPORT int ghostmem_version_minor(void)
{
    return GHOSTMEM_VERSION_MINOR;
}

EXPORT int ghostmem_version_patch(void)
{
    return GHOSTMEM_VERSION_PATCH;
}

EXPORT int ghostmem_version_number(void)
{
    return GHOSTMEM_VERSION_NUMBER;
}

/* ---- settings ---- */

/* What of @wanted is not as GHOSTMEM_CONFIG_INIT has it. Context: ghost_initialize(). */
static int change(struct config *config, void *arg)
{
    const struct ghostmem_config *wanted = arg;

    if (wanted->max_memory_pages != 0) {
        config->limit_pages = wanted->max_memory_pages;
        config->limit_percent = 0;
    }
    if (wanted->use_disk_backing)
        config->swap = wanted->disk_file_path != NULL ? wanted->disk_file_path : "ghostmem.swap";
    if (!wanted->compress_before_disk)
        config->compress = false;
    if (wanted->encrypt_disk_pages)
        config->swap_encrypt = true;
    if (wanted->enable_verbose_logging && config->verbose == 0)
        config->verbose = 1;
    if (wanted->abort_on_misuse)
        config->misuse_aborts = true;
    for (const char *const *setting = wanted->settings; setting != NULL && *setting != NULL; setting++)
        if (!config_take(config, *setting))
            return -EINVAL;
    if (config->limit_pages != 0 && (config->limit_pages < CONFIG_MIN_LIMIT_PAGES || config->limit_pages > SIZE_MAX >> PAGE_SHIFT))
        return -EINVAL;
    return 0;
}

EXPORT bool ghostmem_initialize(const struct ghostmem_config *config)
{
    struct ghostmem_config known = GHOSTMEM_CONFIG_INIT;
    int error;

    if (config != NULL) {
        /* The first version ends with `settings`; what a later one has besides is not for us. */
        if (config->bytes < offsetof(struct ghostmem_config, settings) + sizeof config->settings) {
            errno = EINVAL;
            return false;
        }
        memcpy(&known, config, min_size(config->bytes, sizeof known));
    }
    error = ghost_initialize(change, &known);
    if (error != 0)
        errno = -error;
    return error == 0;
}

EXPORT int ghostmem_set_limit(size_t pages)
{
    if (pages < CONFIG_MIN_LIMIT_PAGES || pages > SIZE_MAX >> PAGE_SHIFT)
        return answer(-EINVAL);
    ghost_configure();
    return ghost_is_off() ? 0 : answer(ghost_set_limit(pages));
}

/* ---- blocks ---- */

struct request {
    void *p;
    size_t bytes;
    size_t alignment;
    const char *caller;
    bool sized; /* `bytes` is what the block is said to have */
    int error;
};

static void do_allocate(void *arg)
{
    struct request *request = arg;
    struct heap *heap = ghost_heap();

    if (heap != NULL)
        request->p = memory_allocate(heap, request->bytes, request->alignment);
    if (heap != NULL && request->p == NULL)
        request->p = heap_allocate_always(heap, request->bytes, request->alignment);
}

/* *@dirty: it need not read as zeros. */
static void *allocate(size_t bytes, size_t alignment, bool *dirty)
{
    struct request request = {.bytes = max_size(bytes, 1), .alignment = alignment};

    *dirty = false;
    if (request.bytes <= SMALL_MAX_BYTES && alignment <= SLAB_ALIGNMENT)
        request.p = small_take(request.bytes, dirty);
    if (__builtin_expect(request.p != NULL, 1))
        return request.p;
    ghost_configure();
    if (bytes > SIZE_MAX / 2)
        return fail(ENOMEM);
    if (request.bytes <= SMALL_MAX_BYTES && alignment <= SMALL_MAX_BYTES)
        request.p = small_allocate(request.bytes, alignment, true, dirty);
    if (request.p == NULL)
        guard_ask(do_allocate, &request);
    return request.p != NULL ? request.p : fail(ENOMEM);
}

static void misused(void)
{
    if (ghost.config.misuse_aborts)
        os_abort();
}

/* Bytes of the live block at @p. 0: there is none, one line has said so, and the program goes on. */
static size_t look_up(const void *p, const char *caller)
{
    size_t bytes = 0;

    if (!heap_owns(&ghost.heap, p))
        log_line(LOG_ERROR, "%s(%p): foreign pointer: no ghost memory at this address", caller, p);
    else if (small_owns(p))
        bytes = small_look_up(p, caller);
    else
        bytes = heap_look_up(&ghost.heap, p, caller);
    if (bytes == 0)
        misused();
    return bytes;
}

static void check_size(const struct request *request, size_t block_bytes)
{
    size_t bytes = min_size(max_size(request->bytes, 1), SIZE_MAX / 2);

    if (!request->sized ||
        (small_owns(request->p) ? small_may_have(request->p, bytes) : round_up(bytes, PAGE_BYTES) == block_bytes))
        return;
    log_line(LOG_ERROR, "%s(%p, %z): wrong size: the block has %z bytes", request->caller, request->p, request->bytes, block_bytes);
    misused();
}

static void do_deallocate(void *arg)
{
    const struct request *request = arg;
    size_t bytes = look_up(request->p, request->caller);

    if (bytes == 0)
        return;
    check_size(request, bytes);
    if (small_owns(request->p))
        (void)small_free(request->p, request->caller);
    else
        memory_free(request->p, request->caller);
}

static void do_resize(void *arg)
{
    struct request *request = arg;
    size_t old_bytes = look_up(request->p, request->caller);
    void *p = request->p;

    request->p = NULL;
    request->error = old_bytes == 0 ? EINVAL : ENOMEM;
    if (old_bytes == 0)
        return;
    if (small_owns(p))
        request->p = small_may_have(p, request->bytes) ? p : NULL;
    else if (request->bytes > SMALL_MAX_BYTES)
        request->p = memory_resize(p, request->bytes, request->caller);
    if (request->p == NULL)
        request->bytes = old_bytes; /* to be copied, if the program has another block */
}

static void do_look_up(void *arg)
{
    struct request *request = arg;

    request->bytes = look_up(request->p, request->caller);
}

EXPORT void *ghostmem_allocate(size_t bytes)
{
    bool dirty;

    return allocate(bytes, 0, &dirty);
}

EXPORT void *ghostmem_allocate_zeroed(size_t n, size_t bytes)
{
    bool dirty;
    size_t total;
    void *p;

    if (__builtin_mul_overflow(n, bytes, &total))
        return fail(ENOMEM);
    p = allocate(total, 0, &dirty);
    return p != NULL && dirty ? memset(p, 0, total) : p; /* fresh ghost pages read as zeros */
}

EXPORT void *ghostmem_allocate_aligned(size_t alignment, size_t bytes)
{
    bool dirty;

    if (alignment == 0 || (alignment & (alignment - 1)) != 0)
        return fail(EINVAL);
    return allocate(bytes, alignment, &dirty);
}

/* The usual case: a live small block of these bytes, whose thread has a cache with room. */
static bool put_at_hand(void *p, size_t bytes)
{
    const struct slab *slab = slab_at(&ghost.slabs, p);

    return slab != NULL && bytes - 1 < SMALL_MAX_BYTES && slab_class(bytes) == slab->class && small_put(p);
}

EXPORT void ghostmem_deallocate(void *p, size_t bytes)
{
    int saved_errno;

    if (__builtin_expect(put_at_hand(p, bytes), 1))
        return;
    saved_errno = errno;
    if (p != NULL)
        guard_ask(do_deallocate, &(struct request){.p = p, .bytes = bytes, .sized = true, .caller = "ghostmem_deallocate"});
    errno = saved_errno;
}

EXPORT void ghostmem_free(void *p)
{
    int saved_errno;

    if (small_put(p))
        return;
    saved_errno = errno;
    if (p != NULL)
        guard_ask(do_deallocate, &(struct request){.p = p, .caller = "ghostmem_free"});
    errno = saved_errno;
}

EXPORT void *ghostmem_resize(void *p, size_t bytes)
{
    struct request request = {.p = p, .bytes = max_size(bytes, 1), .caller = "ghostmem_resize"};
    bool dirty;
    void *fresh;

    if (p == NULL)
        return allocate(bytes, 0, &dirty);
    if (bytes > SIZE_MAX / 2)
        return fail(ENOMEM);
    guard_ask(do_resize, &request);
    if (request.p != NULL || request.error == EINVAL)
        return request.p != NULL ? request.p : fail(EINVAL);
    fresh = allocate(bytes, 0, &dirty); /* from or to a small one, or where the limit cannot be kept */
    if (fresh == NULL)
        return NULL;
    memcpy(fresh, p, min_size(request.bytes, bytes));
    ghostmem_free(p);
    return fresh;
}

EXPORT bool ghostmem_owns(const void *p)
{
    return heap_owns(&ghost.heap, p);
}

EXPORT size_t ghostmem_usable_size(const void *p)
{
    struct request request = {.caller = "ghostmem_usable_size"};

    if (p == NULL)
        return 0;
    memcpy(&request.p, &p, sizeof p);
    guard_ask(do_look_up, &request);
    return request.bytes;
}

/* ---- what is to be in RAM ---- */

struct range_request {
    int (*act)(page_number first, size_t n_pages);
    page_number first;
    size_t n_pages;
    int error;
};

static void do_act(void *arg)
{
    struct range_request *request = arg;

    request->error = request->first + request->n_pages > ghost.heap.top ? -EINVAL : request->act(request->first, request->n_pages);
}

static int act_on(const void *p, size_t bytes, int (*act)(page_number first, size_t n_pages))
{
    struct range_request request = {.act = act};
    uintptr_t start = (uintptr_t)p & ~(PAGE_BYTES - 1);

    if (bytes > ghost.heap.bytes || !memory_is_ghost(start, bytes == 0 ? 0 : bytes + ((uintptr_t)p - start), &request.first,
                                                     &request.n_pages))
        return answer(-EINVAL);
    guard_ask(do_act, &request);
    return answer(request.error);
}

static int pin(page_number first, size_t n_pages)
{
    int error;

    memory_take_lock();
    error = pager_pin(&ghost.pager, first, n_pages);
    memory_release_lock();
    return error;
}

static int unpin(page_number first, size_t n_pages)
{
    memory_take_lock();
    pager_unlock(&ghost.pager, first, n_pages);
    memory_release_lock();
    return 0;
}

static int want(page_number first, size_t n_pages)
{
    pager_want(&ghost.pager, first, n_pages);
    return 0;
}

static int spurn(page_number first, size_t n_pages)
{
    pager_spurn(&ghost.pager, first, n_pages);
    return 0;
}

EXPORT int ghostmem_pin(const void *p, size_t bytes)
{
    return act_on(p, bytes, pin);
}

EXPORT int ghostmem_unpin(const void *p, size_t bytes)
{
    return act_on(p, bytes, unpin);
}

EXPORT int ghostmem_prefetch(const void *p, size_t bytes)
{
    return act_on(p, bytes, want);
}

EXPORT int ghostmem_evict(const void *p, size_t bytes)
{
    return act_on(p, bytes, spurn);
}

/* ---- statistics ---- */

EXPORT size_t ghostmem_get_statistics(struct ghostmem_statistics *statistics, size_t bytes)
{
    struct ghostmem_statistics known = {0};
    struct stats stats;

    if (ghost.heap.bytes != 0) {
        ghost_collect(&stats);
        known = (struct ghostmem_statistics){
            .limit_pages = stats.limit_pages,
            .resident_pages = stats.resident_pages,
            .resident_pages_peak = stats.resident_pages_peak,
            .frozen_pages = stats.frozen_pages + stats.same_filled_pages,
            .swapped_pages = stats.swapped_pages,
            .images_bytes = stats.pool_held_bytes,
            .file_bytes = stats.swap_file_bytes,
            .tables_bytes = stats.meta_bytes,
            .faults = stats.faults,
            .thaws = stats.thaws,
            .freezes = stats.freezes,
            .blocks = stats.ghost_blocks,
            .live_bytes = stats.ghost_bytes_live,
            .live_bytes_peak = stats.ghost_bytes_peak,
            .engaged = stats.engaged,
        };
    }
    bytes = min_size(bytes, sizeof known);
    memcpy(statistics, &known, bytes);
    return bytes;
}

EXPORT size_t ghostmem_stats(char *buffer, size_t bytes)
{
    struct stats stats;

    if (ghost.heap.bytes == 0)
        return 0;
    ghost_collect(&stats);
    return stats_json(&stats, buffer, bytes);
}
