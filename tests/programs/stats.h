/*
 * stats.h - the JSON report that GhostMem writes at a program's end (GHOSTMEM_STATS), as far as the tests read it.
 */
#ifndef TESTS_PROGRAMS_STATS_H
#define TESTS_PROGRAMS_STATS_H

#include <stdbool.h>
#include <stddef.h>

/* One process's report; the names are the report's keys. */
struct stats {
    bool engaged;
    size_t limit_pages;
    size_t resident_pages_peak;
    size_t limit_exceeded_pages_peak;
    size_t freezes;
    size_t thaws;
    size_t faults;
    size_t pool_held_bytes;
    size_t meta_bytes;
    size_t ghost_bytes_peak;
    size_t managed_pages_blocks;
    size_t managed_pages_heap;
    size_t managed_pages_mappings;
    size_t managed_pages_static;
    size_t mappings_refused;
    size_t unmanaged_bytes;
    size_t unmanaged_stack_bytes;
    size_t unmanaged_executable_bytes;
    size_t unmanaged_shared_bytes;
    size_t unmanaged_locked_bytes;
    size_t unmanaged_file_bytes;
    size_t unmanaged_small_bytes;
};

/*
 * Look up a number of a flat JSON object; true and false count as 1 and 0.
 * Returns whether @key is there with such a value.
 */
bool json_number(const char *json, const char *key, double *value);

/*
 * Read one report.
 * Returns NULL, or what is wrong with it: a literal, or the key that is missing.
 */
const char *stats_read(const char *path, struct stats *stats);

#endif
