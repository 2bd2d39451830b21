/*
 * trace.h - which pages a program touches, recorded. Only in a library built for that (make build/trace/libghostmem.so).
 *
 * With a limit of a few pages nearly every access of another page is a fault, or a page closed to writing that is written:
 * what is left out is only what no policy of replacement could tell apart. bench/trace/record.c is the other side.
 *
 * Calls: nothing.  Locks: none.  Memory: none.
 */
#ifndef GHOSTMEM_CORE_TRACE_H
#define GHOSTMEM_CORE_TRACE_H

#include "core/base.h"

#ifdef GHOSTMEM_TRACE
/* Pages come in closed to writing whether it pays or not: so every first write is seen. */
#define TRACE_IS_ON true

/* Context: fault path. */
void trace_access(uint32_t page, bool write);
#else
#define TRACE_IS_ON false

static inline void trace_access(uint32_t page, bool write)
{
    (void)page;
    (void)write;
}
#endif

#endif
