/*
 * unmanaged.h - what of the process's RAM is not managed, and why.
 *
 * Calls: ghost, guard, maps, stats.  Locks: none; one thread at a time, others are told nothing.  Memory: static.
 */
#ifndef GHOSTMEM_INTERPOSE_UNMANAGED_H
#define GHOSTMEM_INTERPOSE_UNMANAGED_H

#include "core/stats.h"

/*
 * Sets the fields unmanaged_*_bytes of @stats: resident bytes that are neither managed nor ours. They stay 0 where /proc does not tell. It
 * takes some milliseconds a GiB.
 * Context: any, also a signal handler.
 */
void unmanaged_collect(struct stats *stats);

#endif
