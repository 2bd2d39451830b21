/* figures.c - see figures.h. */
#include "tools/command/figures.h"

#include "tools/command/command.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static json_t *load(const char *path)
{
    json_error_t error;
    FILE *file = fopen(path, "re");
    json_t *all;

    if (file == NULL) {
        (void)command_fail(0, "%s: %s", path, strerror(errno));
        return NULL;
    }
    errno = 0;
    all = json_loadf(file, JSON_REJECT_DUPLICATES, &error);
    if (all == NULL && ferror(file) != 0)
        (void)command_fail(0, "%s: %s", path, strerror(errno));
    else if (all == NULL)
        (void)command_fail(0, "%s: not JSON: line %d: %s", path, error.line, error.text);
    (void)fclose(file);
    return all;
}

/* Numbers there are of one kind: whole ones that count something. */
static bool is_sound(const char *path, json_t *all)
{
    const char *key;
    json_t *value;

    if (!json_is_object(all) || !json_is_boolean(json_object_get(all, "engaged")) ||
        json_integer_value(json_object_get(all, "page_bytes")) <= 0 || !json_is_integer(json_object_get(all, "limit_pages"))) {
        (void)command_fail(0, "%s: not statistics of GhostMem (GHOSTMEM_STATS=FILE, --stats=FILE)", path);
        return false;
    }
    json_object_foreach(all, key, value) {
        if (!json_is_real(value) && json_integer_value(value) >= 0)
            continue;
        (void)command_fail(0, "%s: %.64s: not a whole number", path, key);
        return false;
    }
    return true;
}

static double number(const struct figures *figures, const char *key)
{
    return (double)json_integer_value(json_object_get(figures->all, key));
}

static double pages(const struct figures *figures, const char *key)
{
    return number(figures, key) * number(figures, "page_bytes");
}

static const char *text(const struct figures *figures, const char *key)
{
    const char *value = json_string_value(json_object_get(figures->all, key));

    return value != NULL ? value : "unknown";
}

int figures_read(const char *path, struct figures *figures)
{
    double page_bytes;
    double made;

    memset(figures, 0, sizeof *figures);
    figures->all = load(path);
    if (figures->all == NULL)
        return -1;
    if (!is_sound(path, figures->all)) {
        json_decref(figures->all);
        return -1;
    }
    page_bytes = number(figures, "page_bytes");
    made = number(figures, "images_made_bytes");
    figures->version = text(figures, "version");
    figures->program = text(figures, "program");
    figures->process = number(figures, "process");
    figures->run_s = number(figures, "run_ms") / 1e3;
    figures->started_s = number(figures, "started_s");
    figures->rss_peak = number(figures, "peak_rss_bytes");
    figures->waited = number(figures, "waited_ns") / 1e9;
    figures->waited_first_touch = number(figures, "waited_first_touch_ns") / 1e9;
    figures->waited_image = number(figures, "waited_image_ns") / 1e9;
    figures->waited_swap = number(figures, "waited_swap_ns") / 1e9;
    figures->waited_cooled = number(figures, "waited_cooled_ns") / 1e9;
    figures->waited_call = number(figures, "waited_call_ns") / 1e9;
    figures->waited_other = number(figures, "waited_other_ns") / 1e9;
    figures->frozen_peak = pages(figures, "frozen_pages_peak");
    figures->backend = text(figures, "backend");
    figures->backend_reason = text(figures, "backend_reason");
    figures->engaged = json_is_true(json_object_get(figures->all, "engaged"));
    figures->limit = pages(figures, "limit_pages");
    figures->resident = pages(figures, "resident_pages");
    figures->resident_peak = pages(figures, "resident_pages_peak");
    figures->exceeded = pages(figures, "limit_exceeded_pages_peak");
    figures->cooled = pages(figures, "cooled_pages");
    figures->frozen = pages(figures, "frozen_pages");
    figures->same_filled = pages(figures, "same_filled_pages");
    figures->swapped = pages(figures, "swapped_pages");
    figures->lost = pages(figures, "lost_pages");
    figures->asked = number(figures, "ghost_bytes_peak");
    figures->asked_pages = figures->asked / page_bytes;
    figures->images_held = number(figures, "pool_held_bytes_peak");
    figures->tables = number(figures, "meta_bytes");
    figures->swap_file = number(figures, "swap_file_bytes");
    figures->first_touches = number(figures, "first_touches");
    figures->thaws = number(figures, "thaws");
    figures->soft_faults = number(figures, "soft_faults");
    figures->write_faults = number(figures, "write_faults");
    figures->read_ahead = number(figures, "read_ahead_pages");
    figures->read_ahead_wasted = number(figures, "read_ahead_wasted");
    figures->images_made = number(figures, "images_made");
    figures->faults = number(figures, "faults");
    figures->ratio = made > 0 ? figures->images_made * page_bytes / made : 0;
    figures->swap_errors = number(figures, "swap_write_errors") + number(figures, "swap_read_errors");
    figures->outside_changes = number(figures, "outside_changes");
    return 0;
}

void figures_free(struct figures *figures)
{
    json_decref(figures->all);
}
