/*
 * base.h - the few things that every core module uses.
 *
 * Calls: os.  Locks: none.  Memory: none.
 */
#ifndef GHOSTMEM_CORE_BASE_H
#define GHOSTMEM_CORE_BASE_H

#include "platform/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GHOSTMEM_VERSION "0.1.0"

#define PAGE_BYTES OS_PAGE_BYTES
#define PAGE_SHIFT 12
_Static_assert(PAGE_BYTES == (size_t)1 << PAGE_SHIFT, "one page size everywhere");

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)

static inline size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* @unit: a power of two; the caller has made sure that the sum does not overflow. */
static inline size_t round_up(size_t value, size_t unit)
{
    return (value + unit - 1) & ~(unit - 1);
}

/* An invariant of ours is broken: one line with the place, then abort(). */
_Noreturn void base_broken(const char *file, int line, const char *what);

/* Checked in every build: cheap conditions whose failure means that memory may be wrong. */
#define INVARIANT(condition) ((condition) ? (void)0 : base_broken(__FILE__, __LINE__, #condition))

/* Checked in debug builds only. */
#ifdef NDEBUG
#define DEBUG_INVARIANT(condition) ((void)0)
#else
#define DEBUG_INVARIANT(condition) INVARIANT(condition)
#endif

#endif
