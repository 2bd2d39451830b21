/*
 * stats.h - what is counted, and how it is shown.
 *
 * Calls: log (formatting), os (file).  Locks: none: it formats a copy.  Memory: the caller's buffer.
 */
#ifndef GHOSTMEM_CORE_STATS_H
#define GHOSTMEM_CORE_STATS_H

#include "core/base.h"

#define STATS_TEXT_BYTES 32768

struct stats {
    const char *program; /* NULL: not known */
    const char *arguments; /* a zero behind each */
    size_t arguments_bytes;
    uint64_t process;
    uint64_t started_s; /* since 1970 */
    uint64_t run_ms;
    uint64_t peak_rss_bytes;
    const char *backend; /* "none" until engaged */
    const char *backend_reason;
    bool engaged;
    uint64_t limit_pages;
    uint64_t resident_pages;
    uint64_t resident_pages_peak;
    uint64_t cooled_pages;
    uint64_t frozen_pages; /* with an image */
    uint64_t frozen_pages_peak; /* and those with a repeated word, and those in the swap file */
    uint64_t same_filled_pages;
    uint64_t images_made; /* since the start */
    uint64_t images_made_bytes;
    uint64_t pool_images;
    uint64_t pool_used_bytes;
    uint64_t pool_used_bytes_peak;
    uint64_t pool_held_bytes;
    uint64_t pool_held_bytes_peak;
    uint64_t cold_images; /* in the pool, squeezed */
    uint64_t cold_bytes;
    uint64_t cold_squeezed; /* since the start */
    uint64_t cold_squeezed_from_bytes;
    uint64_t cold_squeezed_bytes;
    uint64_t cold_refused;
    uint64_t cold_thaws;
    uint64_t cold_failures;
    uint64_t cold_pauses;
    uint64_t cold_dictionaries; /* in use */
    uint64_t cold_dictionaries_made;
    uint64_t cold_dictionaries_refused;
    uint64_t cold_cpu_us;
    uint64_t swap_used_bytes;
    uint64_t swap_file_bytes;
    uint64_t swapped_pages;
    uint64_t lost_pages;
    uint64_t swap_writes; /* pages written, since the start */
    uint64_t swap_written_bytes;
    uint64_t swap_cleaned_bytes;
    uint64_t swap_read_bytes;
    uint64_t swap_write_errors;
    uint64_t swap_read_errors;
    uint64_t meta_bytes;
    uint64_t waited_ns; /* for memory, all threads together */
    uint64_t waited_first_touch_ns;
    uint64_t waited_image_ns;
    uint64_t waited_swap_ns;
    uint64_t waited_cooled_ns;
    uint64_t waited_call_ns;
    uint64_t waited_other_ns;
    uint64_t faults;
    uint64_t soft_faults;
    uint64_t first_touches;
    uint64_t thaws;
    uint64_t freezes;
    uint64_t freezes_in_place;
    uint64_t extracted_pages;
    uint64_t clean_drops;
    uint64_t write_faults;
    uint64_t kept_images; /* of resident pages */
    uint64_t kept_bytes;  /* of those, in the pool */
    uint64_t read_ahead_pages;
    uint64_t read_ahead_wasted;
    uint64_t busy_pages;
    uint64_t pool_full;
    uint64_t compactions;
    uint64_t outside_changes;
    uint64_t reclaimed_direct;
    uint64_t reclaimed_background;
    uint64_t limit_exceeded_pages_peak;
    uint64_t ghost_blocks;
    uint64_t small_blocks; /* of these */
    uint64_t small_pages; /* that have these */
    uint64_t ghost_bytes_live;
    uint64_t ghost_bytes_peak;
    uint64_t managed_pages_blocks; /* now, resident or not */
    uint64_t managed_pages_heap;
    uint64_t managed_pages_mappings;
    uint64_t managed_pages_static;
    uint64_t mappings_followed; /* memory calls, since the start */
    uint64_t mappings_refused;
    uint64_t unmanaged_bytes; /* resident, neither managed nor ours; the sum of: */
    uint64_t unmanaged_stack_bytes;
    uint64_t unmanaged_executable_bytes;
    uint64_t unmanaged_shared_bytes;
    uint64_t unmanaged_locked_bytes;
    uint64_t unmanaged_file_bytes;
    uint64_t unmanaged_small_bytes;
};

/* One JSON object with a newline. Returns its length; 0 when @bytes is too small (STATS_TEXT_BYTES is enough). */
size_t stats_json(const struct stats *stats, char *buffer, size_t bytes);

/* The same for people, a few lines. */
size_t stats_report(const struct stats *stats, char *buffer, size_t bytes);

#endif
