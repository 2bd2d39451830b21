/* stats.c - see stats.h. */
#include "core/stats.h"

#include "core/log.h"

#include <stddef.h>

struct number {
    const char *name;
    size_t offset;
};

#define NUMBER(field) {#field, offsetof(struct stats, field)}

static const struct number numbers[] = {
    NUMBER(limit_pages),
    NUMBER(resident_pages),
    NUMBER(resident_pages_peak),
    NUMBER(cooled_pages),
    NUMBER(frozen_pages),
    NUMBER(same_filled_pages),
    NUMBER(images_made),
    NUMBER(images_made_bytes),
    NUMBER(pool_images),
    NUMBER(pool_used_bytes),
    NUMBER(pool_held_bytes),
    NUMBER(pool_held_bytes_peak),
    NUMBER(swap_used_bytes),
    NUMBER(swap_file_bytes),
    NUMBER(swapped_pages),
    NUMBER(lost_pages),
    NUMBER(swap_writes),
    NUMBER(swap_written_bytes),
    NUMBER(swap_cleaned_bytes),
    NUMBER(swap_read_bytes),
    NUMBER(swap_write_errors),
    NUMBER(swap_read_errors),
    NUMBER(meta_bytes),
    NUMBER(faults),
    NUMBER(soft_faults),
    NUMBER(first_touches),
    NUMBER(thaws),
    NUMBER(freezes),
    NUMBER(freezes_in_place),
    NUMBER(extracted_pages),
    NUMBER(clean_drops),
    NUMBER(write_faults),
    NUMBER(kept_images),
    NUMBER(kept_bytes),
    NUMBER(read_ahead_pages),
    NUMBER(read_ahead_wasted),
    NUMBER(busy_pages),
    NUMBER(pool_full),
    NUMBER(compactions),
    NUMBER(outside_changes),
    NUMBER(reclaimed_direct),
    NUMBER(reclaimed_background),
    NUMBER(limit_exceeded_pages_peak),
    NUMBER(ghost_blocks),
    NUMBER(ghost_bytes_live),
    NUMBER(ghost_bytes_peak),
    NUMBER(managed_pages_blocks),
    NUMBER(managed_pages_heap),
    NUMBER(managed_pages_mappings),
    NUMBER(managed_pages_static),
    NUMBER(mappings_followed),
    NUMBER(mappings_refused),
    NUMBER(unmanaged_bytes),
    NUMBER(unmanaged_stack_bytes),
    NUMBER(unmanaged_executable_bytes),
    NUMBER(unmanaged_shared_bytes),
    NUMBER(unmanaged_locked_bytes),
    NUMBER(unmanaged_file_bytes),
    NUMBER(unmanaged_small_bytes),
};

static uint64_t value_of(const struct stats *stats, const struct number *number)
{
    return *(const uint64_t *)(const void *)((const char *)stats + number->offset);
}

size_t stats_json(const struct stats *stats, char *buffer, size_t bytes)
{
    size_t n = log_format(buffer, bytes, 0,
                          "{\n  \"version\": \"%s\",\n  \"backend\": \"%s\",\n  \"backend_reason\": \"%s\",\n"
                          "  \"engaged\": %s,\n  \"page_bytes\": %z",
                          GHOSTMEM_VERSION, stats->backend, stats->backend_reason, stats->engaged ? "true" : "false",
                          PAGE_BYTES);

    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        n = log_format(buffer, bytes, n, ",\n  \"%s\": %l", numbers[i].name, value_of(stats, &numbers[i]));
    n = log_format(buffer, bytes, n, "\n}\n");
    return n + 1 < bytes ? n : 0;
}

/* "12.3 MiB": one decimal is as much as anybody reads. */
static size_t put_size(char *buffer, size_t bytes, size_t n, uint64_t size)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    unsigned unit = 0;
    uint64_t tenths = size * 10;

    while (tenths >= 10240 && unit + 1 < sizeof units / sizeof units[0]) {
        tenths /= 1024;
        unit++;
    }
    if (unit == 0)
        return log_format(buffer, bytes, n, "%l %s", size, units[0]);
    return log_format(buffer, bytes, n, "%l.%l %s", tenths / 10, tenths % 10, units[unit]);
}

static size_t put_row(char *buffer, size_t bytes, size_t n, const char *label, uint64_t size)
{
    n = log_format(buffer, bytes, n, "ghostmem:   %s ", label);
    n = put_size(buffer, bytes, n, size);
    return log_format(buffer, bytes, n, "\n");
}

size_t stats_report(const struct stats *stats, char *buffer, size_t bytes)
{
    uint64_t stored = stats->frozen_pages * PAGE_BYTES;
    uint64_t made = stats->images_made * PAGE_BYTES;
    uint64_t hundredths = stats->images_made_bytes > 0 ? made * 100 / stats->images_made_bytes : 0;
    size_t n = log_format(buffer, bytes, 0, "ghostmem: %s, %s, backend %s (%s)\n", GHOSTMEM_VERSION,
                          stats->engaged ? "engaged" : "not engaged: the program fits", stats->backend,
                          stats->backend_reason);

    n = put_row(buffer, bytes, n, "limit               ", stats->limit_pages * PAGE_BYTES);
    n = put_row(buffer, bytes, n, "largest blocks sum  ", stats->ghost_bytes_peak);
    n = put_row(buffer, bytes, n, "resident at most    ", stats->resident_pages_peak * PAGE_BYTES);
    n = put_row(buffer, bytes, n, "over the limit      ", stats->limit_exceeded_pages_peak * PAGE_BYTES);
    n = put_row(buffer, bytes, n, "frozen at the end   ", stored + stats->same_filled_pages * PAGE_BYTES);
    n = put_row(buffer, bytes, n, "their images        ", stats->pool_used_bytes);
    n = put_row(buffer, bytes, n, "held for images     ", stats->pool_held_bytes);
    n = put_row(buffer, bytes, n, "tables              ", stats->meta_bytes);
    n = put_row(buffer, bytes, n, "not managed         ", stats->unmanaged_bytes);
    n = log_format(buffer, bytes, n, "ghostmem:   compression          %l.%l%l\n", hundredths / 100,
                   hundredths / 10 % 10, hundredths % 10);
    n = log_format(buffer, bytes, n,
                   "ghostmem:   faults %l, soft %l; pages frozen %l, thawed %l, read ahead %l, busy %l\n", stats->faults,
                   stats->soft_faults, stats->freezes, stats->thaws, stats->read_ahead_pages, stats->busy_pages);
    return n + 1 < bytes ? n : 0;
}
