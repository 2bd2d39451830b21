/*
 * stats.c - see stats.h.
 */
#include "stats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    REPORT_BYTES = 64 << 10 /* a report is a few KiB */
};

bool json_number(const char *json, const char *key, double *value)
{
    size_t length = strlen(key);

    for (const char *at = strstr(json, key); at; at = strstr(at + 1, key)) {
        const char *rest = at + length;
        char *end;

        if (at == json || at[-1] != '"' || *rest != '"')
            continue;
        rest += 1 + strspn(rest + 1, " \t\r\n");
        /* Without the colon it is a value that happens to read like the key. */
        if (*rest != ':')
            continue;
        rest += 1 + strspn(rest + 1, " \t\r\n");
        if (strncmp(rest, "true", 4) == 0 || strncmp(rest, "false", 5) == 0) {
            *value = *rest == 't';
            return true;
        }
        *value = strtod(rest, &end);
        return end != rest;
    }
    return false;
}

static const char *parse(const char *json, struct stats *stats)
{
    const struct {
        const char *key;
        size_t *to;
    } wanted[] = {
        {"limit_pages", &stats->limit_pages},
        {"resident_pages_peak", &stats->resident_pages_peak},
        {"limit_exceeded_pages_peak", &stats->limit_exceeded_pages_peak},
        {"freezes", &stats->freezes},
        {"thaws", &stats->thaws},
        {"faults", &stats->faults},
        {"pool_held_bytes", &stats->pool_held_bytes},
        {"meta_bytes", &stats->meta_bytes},
        {"ghost_bytes_peak", &stats->ghost_bytes_peak},
        {"managed_pages_blocks", &stats->managed_pages_blocks},
        {"managed_pages_heap", &stats->managed_pages_heap},
        {"managed_pages_mappings", &stats->managed_pages_mappings},
        {"managed_pages_static", &stats->managed_pages_static},
        {"mappings_refused", &stats->mappings_refused},
        {"unmanaged_bytes", &stats->unmanaged_bytes},
        {"unmanaged_stack_bytes", &stats->unmanaged_stack_bytes},
        {"unmanaged_executable_bytes", &stats->unmanaged_executable_bytes},
        {"unmanaged_shared_bytes", &stats->unmanaged_shared_bytes},
        {"unmanaged_locked_bytes", &stats->unmanaged_locked_bytes},
        {"unmanaged_file_bytes", &stats->unmanaged_file_bytes},
        {"unmanaged_small_bytes", &stats->unmanaged_small_bytes},
    };
    double value;

    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        if (!json_number(json, wanted[i].key, &value) || value < 0)
            return wanted[i].key;
        *wanted[i].to = (size_t)value;
    }
    if (!json_number(json, "engaged", &value))
        return "engaged";
    stats->engaged = value != 0;
    return NULL;
}

const char *stats_read(const char *path, struct stats *stats)
{
    FILE *file = fopen(path, "r");
    char *json = calloc(1, REPORT_BYTES);
    const char *wrong = "it cannot be read";

    *stats = (struct stats){0};
    if (file && json) {
        size_t length = fread(json, 1, REPORT_BYTES - 1, file);

        /* The closing brace is written last: without it the process died while it was writing. */
        wrong = length == 0 || !strrchr(json, '}') ? "it is cut short" : parse(json, stats);
    }
    free(json);
    if (file)
        (void)fclose(file);
    return wrong;
}
