/* collect.c - see ghost.h: everything that is counted, in one place. */
#include "interpose/ghost.h"
#include "interpose/identity.h"
#include "interpose/small.h"
#include "interpose/unmanaged.h"

#include "platform/thread.h"

static uint64_t look(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static void collect_swap(struct stats *stats)
{
    const struct writeback *wb = &ghost.pager.reclaim.writeback;

    stats->swap_used_bytes = swap_used_bytes(&wb->swap);
    stats->swap_file_bytes = swap_file_bytes(&wb->swap);
    stats->swapped_pages = ghost.pager.table.n_swapped;
    stats->lost_pages = ghost.pager.table.n_lost;
    stats->swap_writes = wb->n_written;
    stats->swap_written_bytes = look(&wb->swap.written_bytes);
    stats->swap_cleaned_bytes = look(&wb->swap.cleaned_bytes);
    stats->swap_read_bytes = look(&wb->swap.read_bytes);
    stats->swap_write_errors = look(&wb->swap.write_errors);
    stats->swap_read_errors = look(&wb->swap.read_errors);
}

static void collect_waiting(struct stats *stats)
{
    uint64_t *const sums[N_WAITS] = {
        [WAIT_FIRST_TOUCH] = &stats->waited_first_touch_ns, [WAIT_IMAGE] = &stats->waited_image_ns,
        [WAIT_SWAP] = &stats->waited_swap_ns,               [WAIT_COOLED] = &stats->waited_cooled_ns,
        [WAIT_CALL] = &stats->waited_call_ns,               [WAIT_OTHER] = &stats->waited_other_ns,
    };

    for (unsigned kind = 0; kind < N_WAITS; kind++) {
        uint64_t ticks = 0;

        for (unsigned i = 0; i < FAULT_MAX_WORKERS; i++)
            ticks += atomic_load_explicit(&ghost.pager.reclaim.waited[i].ticks[kind], memory_order_relaxed);
        *sums[kind] = os_ticks_ns(ticks);
        stats->waited_ns += *sums[kind];
    }
}

static void collect_cold(struct stats *stats)
{
    const struct cold *cold = &ghost.pager.reclaim.writeback.cold;
    const struct pool *pool = &ghost.pager.store.pool;

    for (unsigned kind = IMAGE_FAST + 1; kind < POOL_KINDS; kind++) {
        stats->cold_images += pool->n_of_kind[kind];
        stats->cold_bytes += pool->bytes_of_kind[kind];
    }
    for (unsigned i = 0; i < SQUEEZE_DICTIONARIES; i++)
        stats->cold_dictionaries += __atomic_load_n(&cold->serials[i], __ATOMIC_RELAXED) != 0;
    stats->cold_squeezed = look(&cold->counters.squeezed);
    stats->cold_squeezed_from_bytes = look(&cold->counters.squeezed_from_bytes);
    stats->cold_squeezed_bytes = look(&cold->counters.squeezed_bytes);
    stats->cold_refused = look(&cold->counters.refused);
    stats->cold_thaws = look(&cold->counters.thaws);
    stats->cold_failures = look(&cold->counters.failures);
    stats->cold_pauses = look(&cold->counters.pauses);
    stats->cold_dictionaries_made = look(&cold->counters.dictionaries);
    stats->cold_dictionaries_refused = look(&cold->counters.dictionaries_refused);
    stats->cold_cpu_us = look(&cold->counters.cpu_ns) / 1000;
}

static void collect_paging(struct stats *stats)
{
    struct reclaim *r = &ghost.pager.reclaim;
    const struct pool *pool = &ghost.pager.store.pool;

    stats->backend = ghost.pager.backend->name;
    stats->backend_reason = ghost.backend_reason;
    stats->resident_pages = r->charged;
    stats->resident_pages_peak = r->charged_peak;
    stats->cooled_pages = r->limbo.n_resting;
    stats->frozen_pages = ghost.pager.table.n_frozen;
    stats->frozen_pages_peak = ghost.pager.table.n_away_peak;
    stats->same_filled_pages = ghost.pager.table.n_same;
    stats->images_made = pool->n_images_made;
    stats->images_made_bytes = pool->made_bytes;
    stats->pool_images = pool->n_images;
    stats->pool_used_bytes = pool->used_bytes;
    stats->pool_used_bytes_peak = pool->used_bytes_peak;
    stats->pool_held_bytes = pool->held_bytes;
    stats->pool_held_bytes_peak = pool->held_bytes_peak;
    stats->faults = look(&r->counters.faults);
    stats->soft_faults = look(&r->counters.soft_faults);
    stats->first_touches = look(&r->counters.first_touches);
    stats->clean_drops = look(&r->counters.clean_drops);
    stats->write_faults = look(&r->counters.write_faults);
    stats->kept_images = r->writeback.kept.n_images;
    stats->kept_bytes = r->writeback.kept_bytes;
    stats->thaws = look(&r->counters.thaws);
    stats->freezes = look(&r->counters.freezes);
    stats->freezes_in_place = look(&r->counters.freezes_in_place);
    stats->extracted_pages = look(&r->counters.extracted);
    stats->read_ahead_pages = look(&r->counters.read_ahead_pages);
    stats->read_ahead_wasted = look(&r->streams.n_wasted);
    stats->busy_pages = look(&r->counters.busy_pages);
    stats->pool_full = look(&r->counters.pool_full);
    stats->compactions = look(&r->counters.compactions);
    stats->outside_changes = look(&r->counters.outside_changes);
    stats->reclaimed_direct = look(&r->counters.reclaimed_direct);
    stats->reclaimed_background = look(&r->counters.reclaimed_background);
    stats->limit_exceeded_pages_peak = r->exceeded_peak;
}

static void collect_managed(struct stats *stats)
{
    const struct pager *pager = &ghost.pager;

    stats->managed_pages_blocks = ghost.heap.live_pages;
    stats->managed_pages_heap = space_watched_pages(&pager->space, AREA_HEAP);
    stats->managed_pages_mappings = space_watched_pages(&pager->space, AREA_MAPPING);
    stats->managed_pages_static = space_watched_pages(&pager->space, AREA_STATIC);
    stats->mappings_followed = look(&pager->n_changes);
    stats->mappings_refused = pager->n_unwatched;
}

/* Slabs are blocks of the heap. What they hold are blocks of the program. */
static void collect_small(struct stats *stats)
{
    struct slab_counts counts = slabs_count(&ghost.slabs);

    stats->small_blocks = small_count(&counts);
    stats->small_pages = counts.n_pages - min_size(counts.n_empty_pages, counts.n_pages);
    stats->ghost_blocks += stats->small_blocks - min_size(counts.n_slabs, stats->ghost_blocks);
    stats->ghost_bytes_live -= min_size(counts.n_empty_pages * PAGE_BYTES, stats->ghost_bytes_live);
}

void ghost_collect(struct stats *stats)
{
    const struct heap *heap = &ghost.heap;

    *stats = (struct stats){
        .backend = "none",
        .backend_reason = ghost.heap.closed           ? "paging could not begin, or was given up"
                          : ghost.pager.was_put_off ? "a thread kept paging from starting"
                                                    : "all blocks fit within the limit",
        .engaged = pager_is_engaged(&ghost.pager),
        .limit_pages = atomic_load(&ghost.pager.limit),
        .ghost_blocks = heap->n_blocks,
        .ghost_bytes_live = (uint64_t)heap->live_pages * PAGE_BYTES,
        .ghost_bytes_peak = (uint64_t)heap->live_pages_peak * PAGE_BYTES,
    };
    if (stats->engaged) {
        collect_paging(stats);
        collect_waiting(stats);
        collect_swap(stats);
        collect_cold(stats);
        collect_managed(stats);
        unmanaged_collect(stats);
    }
    collect_small(stats);
    identity_collect(stats);
    stats->meta_bytes = heap_meta_bytes(heap) + slabs_meta_bytes(&ghost.slabs) + pager_meta_bytes(&ghost.pager);
}
