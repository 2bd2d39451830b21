/*
 * trace.h - accesses of pages in the order in which a program made them: drawn here, or read from a file.
 *
 * An access is a page number and whether it was a write. Runs of accesses to one page count as one, a write if any of them was.
 *
 * Locks: none.  Memory: malloc, freed by trace_free().
 */
#ifndef BENCH_SIMULATE_TRACE_H
#define BENCH_SIMULATE_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct trace {
    uint32_t *accesses; /* page << 1 | is a write */
    size_t n_accesses;
    size_t n_unbilled; /* of which the first so many only fill the memory */
    size_t n_allocated;
    uint32_t n_pages;  /* page numbers are below this */
};

static inline uint32_t access_page(uint32_t access)
{
    return access >> 1;
}

static inline bool access_writes(uint32_t access)
{
    return (access & 1) != 0;
}

/* One more access. Ends the program when there is no memory. */
void trace_add(struct trace *trace, uint32_t page, bool writes);

/*
 * The file that a library built for tracing writes: 32-bit words, of which the first is the number of accesses that follow. Pages are
 * renumbered from 0 on, in the order of their addresses. 0 or -errno.
 */
int trace_read(struct trace *trace, const char *path);

void trace_free(struct trace *trace);

/* What can be drawn. */
struct generator {
    const char *name;
    void (*draw)(struct trace *trace, uint32_t n_pages, size_t n_accesses, size_t limit);
};
extern const struct generator generators[];
extern const size_t n_generators;

#endif
