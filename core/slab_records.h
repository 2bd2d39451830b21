/*
 * slab_records.h - memory for what is known of slabs: records of a class's size, in chunks of 32 KiB.
 *
 * A chunk in which no record is used any more gives its RAM back and may become another class's.
 *
 * Calls: bitset, os.  Locks: records of a class: its lock; chunks, and the table of slabs: slabs->records_lock.
 * Memory: two reservations, committed as slabs come.
 */
#ifndef GHOSTMEM_CORE_SLAB_RECORDS_H
#define GHOSTMEM_CORE_SLAB_RECORDS_H

#include "core/slab.h"

#define SLAB_CHUNK_BYTES (32 * KIB)

/* The pages up to @end can be looked up from now on. 0 or -ENOMEM. Takes records_lock. */
int slab_records_reach(struct slabs *slabs, page_number end);

/* 32 KiB of zeros, aligned so. NULL: no memory. Takes records_lock. */
void *slab_chunk_new(struct slabs *slabs);
void slab_chunk_free(struct slabs *slabs, void *chunk);

/* A zeroed record of @class. NULL: no memory. */
struct slab *slab_record_new_locked(struct slabs *slabs, unsigned class);
void slab_record_free_locked(struct slabs *slabs, struct slab *slab);

#endif
