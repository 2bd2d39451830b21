/* stats.c - see stats.h. */
#include "core/stats.h"

#include "core/log.h"

#include <stddef.h>
#include <string.h>

struct number {
    const char *name;
    size_t offset;
};

#define NUMBER(field) {#field, offsetof(struct stats, field)}

static const struct number numbers[] = {
    NUMBER(process),
    NUMBER(started_s),
    NUMBER(run_ms),
    NUMBER(peak_rss_bytes),
    NUMBER(limit_pages),
    NUMBER(resident_pages),
    NUMBER(resident_pages_peak),
    NUMBER(cooled_pages),
    NUMBER(frozen_pages),
    NUMBER(frozen_pages_peak),
    NUMBER(same_filled_pages),
    NUMBER(images_made),
    NUMBER(images_made_bytes),
    NUMBER(pool_images),
    NUMBER(pool_used_bytes),
    NUMBER(pool_used_bytes_peak),
    NUMBER(pool_held_bytes),
    NUMBER(pool_held_bytes_peak),
    NUMBER(cold_images),
    NUMBER(cold_bytes),
    NUMBER(cold_squeezed),
    NUMBER(cold_squeezed_from_bytes),
    NUMBER(cold_squeezed_bytes),
    NUMBER(cold_refused),
    NUMBER(cold_thaws),
    NUMBER(cold_failures),
    NUMBER(cold_pauses),
    NUMBER(cold_dictionaries),
    NUMBER(cold_dictionaries_made),
    NUMBER(cold_dictionaries_refused),
    NUMBER(cold_cpu_us),
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
    NUMBER(waited_ns),
    NUMBER(waited_first_touch_ns),
    NUMBER(waited_image_ns),
    NUMBER(waited_swap_ns),
    NUMBER(waited_cooled_ns),
    NUMBER(waited_call_ns),
    NUMBER(waited_other_ns),
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
    NUMBER(small_blocks),
    NUMBER(small_pages),
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

/* Bytes of the UTF-8 sequence at @text, at most @most; 0: it is none. Source: RFC 3629, 4. */
static size_t sequence_length(const unsigned char *text, size_t most)
{
    size_t n = text[0] < 0x80                         ? 1
               : text[0] >= 0xc2 && text[0] < 0xe0 ? 2
               : (text[0] & 0xf0) == 0xe0            ? 3
               : text[0] >= 0xf0 && text[0] < 0xf5 ? 4
                                                       : 0;

    if (n == 0 || n > most)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    if (n == 3 && ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] >= 0xa0)))
        return 0;
    if (n == 4 && ((text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] >= 0x90)))
        return 0;
    return n;
}

/* A string of JSON; bytes that are no UTF-8 become U+FFFD. */
static size_t put_quoted(char *buffer, size_t bytes, size_t n, const char *text, size_t length)
{
    n = log_format(buffer, bytes, n, "\"");
    for (size_t i = 0; i < length;) {
        const unsigned char *c = (const unsigned char *)text + i;
        size_t n_bytes = sequence_length(c, length - i);

        if (n_bytes == 0)
            n = log_format(buffer, bytes, n, "\\ufffd");
        else if (*c == '"' || *c == '\\')
            n = log_format(buffer, bytes, n, "\\%s", *c == '"' ? "\"" : "\\");
        else if (*c < ' ')
            n = log_format(buffer, bytes, n, "\\u00%s%s", *c < 16 ? "0" : "1",
                           (const char[]){"0123456789abcdef"[*c % 16], '\0'});
        else
            for (size_t k = 0; k < n_bytes; k++)
                n = log_format(buffer, bytes, n, "%s", (const char[]){(char)c[k], '\0'});
        i += n_bytes > 0 ? n_bytes : 1;
    }
    return log_format(buffer, bytes, n, "\"");
}

static size_t put_program(char *buffer, size_t bytes, size_t n, const struct stats *stats)
{
    const char *separator = "";

    if (stats->program == NULL)
        return n;
    n = log_format(buffer, bytes, n, ",\n  \"program\": ");
    n = put_quoted(buffer, bytes, n, stats->program, strlen(stats->program));
    n = log_format(buffer, bytes, n, ",\n  \"arguments\": [");
    for (size_t i = 0; i < stats->arguments_bytes; separator = ", ") {
        size_t length = strnlen(stats->arguments + i, stats->arguments_bytes - i);

        n = log_format(buffer, bytes, n, "%s", separator);
        n = put_quoted(buffer, bytes, n, stats->arguments + i, length);
        i += length + 1;
    }
    return log_format(buffer, bytes, n, "]");
}

size_t stats_json(const struct stats *stats, char *buffer, size_t bytes)
{
    size_t n = log_format(buffer, bytes, 0,
                          "{\n  \"version\": \"%s\",\n  \"backend\": \"%s\",\n  \"backend_reason\": \"%s\",\n"
                          "  \"engaged\": %s,\n  \"page_bytes\": %z",
                          GHOSTMEM_VERSION, stats->backend, stats->backend_reason, stats->engaged ? "true" : "false",
                          PAGE_BYTES);

    n = put_program(buffer, bytes, n, stats);
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

/* "12.345 s" */
static size_t put_seconds(char *buffer, size_t bytes, size_t n, const char *label, uint64_t ms)
{
    return log_format(buffer, bytes, n, "%s%l.%l%l%l s", label, ms / 1000, ms / 100 % 10, ms / 10 % 10, ms % 10);
}

static size_t put_waited(char *buffer, size_t bytes, size_t n, const struct stats *stats)
{
    const struct {
        const char *name;
        uint64_t ns;
    } kinds[] = {
        {"first touches ", stats->waited_first_touch_ns}, {"images ", stats->waited_image_ns}, {"swap file ", stats->waited_swap_ns},
        {"on their way out ", stats->waited_cooled_ns},   {"calls ", stats->waited_call_ns},   {"other ", stats->waited_other_ns},
    };
    const char *separator = " (";

    n = put_seconds(buffer, bytes, n, "ghostmem:   waited for memory    ", stats->waited_ns / 1000000);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (kinds[i].ns < 1000000)
            continue;
        n = log_format(buffer, bytes, n, "%s", separator);
        n = put_seconds(buffer, bytes, n, kinds[i].name, kinds[i].ns / 1000000);
        separator = ", ";
    }
    return log_format(buffer, bytes, n, separator[0] == ' ' ? "\n" : ")\n");
}

size_t stats_report(const struct stats *stats, char *buffer, size_t bytes)
{
    uint64_t stored = stats->frozen_pages * PAGE_BYTES;
    uint64_t made = stats->images_made * PAGE_BYTES;
    uint64_t hundredths = stats->images_made_bytes > 0 ? made * 100 / stats->images_made_bytes : 0;
    size_t n = log_format(buffer, bytes, 0, "ghostmem: %s, %s, backend %s (%s)\n", GHOSTMEM_VERSION,
                          stats->engaged ? "engaged" : "not engaged", stats->backend,
                          stats->backend_reason);

    if (stats->program != NULL) {
        n = log_format(buffer, bytes, n, "ghostmem:   program              %s, process %l, ", stats->program, stats->process);
        n = put_seconds(buffer, bytes, n, "ran ", stats->run_ms);
        n = log_format(buffer, bytes, n, "\n");
        n = put_row(buffer, bytes, n, "RAM at most, in all ", stats->peak_rss_bytes);
    }
    n = put_row(buffer, bytes, n, "limit               ", stats->limit_pages * PAGE_BYTES);
    n = put_row(buffer, bytes, n, "largest blocks sum  ", stats->ghost_bytes_peak);
    n = put_row(buffer, bytes, n, "resident at most    ", stats->resident_pages_peak * PAGE_BYTES);
    n = put_row(buffer, bytes, n, "over the limit      ", stats->limit_exceeded_pages_peak * PAGE_BYTES);
    n = put_row(buffer, bytes, n, "frozen at most      ", stats->frozen_pages_peak * PAGE_BYTES);
    n = put_row(buffer, bytes, n, "images at most      ", stats->pool_used_bytes_peak);
    n = put_row(buffer, bytes, n, "frozen at the end   ", stored + stats->same_filled_pages * PAGE_BYTES);
    n = put_row(buffer, bytes, n, "their images        ", stats->pool_used_bytes);
    n = put_row(buffer, bytes, n, "held for images     ", stats->pool_held_bytes);
    n = put_row(buffer, bytes, n, "tables              ", stats->meta_bytes);
    n = put_row(buffer, bytes, n, "not managed         ", stats->unmanaged_bytes);
    n = log_format(buffer, bytes, n, "ghostmem:   compression          %l.%l%l\n", hundredths / 100,
                   hundredths / 10 % 10, hundredths % 10);
    n = put_waited(buffer, bytes, n, stats);
    n = log_format(buffer, bytes, n,
                   "ghostmem:   faults %l, soft %l; pages frozen %l, thawed %l, read ahead %l, busy %l\n", stats->faults,
                   stats->soft_faults, stats->freezes, stats->thaws, stats->read_ahead_pages, stats->busy_pages);
    return n + 1 < bytes ? n : 0;
}
