/*
 * memory_remap.h - mremap(2) of memory that is managed in place, where the kernel watches it (not by_protection).
 *
 * The kernel moves one mapping at a time and stops watching what it moves. What is one mapping without us may be several with us: parts
 * that are watched and parts that are not, and parts whose pages came by faults of their own. memory_far.c has the calls.
 *
 * Calls: pager_far, os (maps, mem).  Locks: pager.lock is held.  Memory: a static buffer.
 */
#ifndef GHOSTMEM_INTERPOSE_MEMORY_REMAP_H
#define GHOSTMEM_INTERPOSE_MEMORY_REMAP_H

#include <stdint.h>

/*
 * One mapping, by the arguments of mremap(2) with MREMAP_MAYMOVE, some of it watched. Between its old place and the tables' knowledge of
 * the new one nobody can touch it: who tries waits in the handler of faults (pager_far_may_touch()). The call's result.
 */
long memory_remap_one_locked(const unsigned long *args);

/*
 * Several mappings, for which the kernel says EFAULT: those that differ in nothing but what we make of them go as one, all or none.
 * @args: in order, as mremap(2) has it, and what shrinks stays where it is. The call's result; -EFAULT: they do differ.
 */
long memory_remap_pieces_locked(const unsigned long *args);

/* Of memory_far.c: one mapping, whatever it is, and the tables follow. */
long memory_far_remap_locked(const unsigned long *args);

/* Of memory_far.c: what the kernel did, the tables do too. @value: of the area that the mapping is, or 0. */
void memory_far_follow_remap_locked(uintptr_t from, uintptr_t from_end, uintptr_t to, uintptr_t to_end, int flags, uint32_t value);

#endif
