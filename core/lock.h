/*
 * lock.h - the ranks of our locks.
 *
 * A thread takes locks in ascending rank only. fork() takes all of them in this order and releases them in the
 * opposite one. A fault may arrive while its thread holds any lock of the program and none of ours.
 *
 *   1  heap.lock    spans and blocks
 *   2  pager.lock   page states, queues, the budget; the field is `lock` of struct reclaim
 *   3  pool.lock    slabs and slots
 *
 * interpose/ has two that are taken before these (init.c, memory.c) and a leaf, platform/ has four: doc/map.md lists all in order.
 *
 * Calls: nothing.  Locks: names them.  Memory: none.
 */
#ifndef GHOSTMEM_CORE_LOCK_H
#define GHOSTMEM_CORE_LOCK_H

#include "platform/lock.h"

#endif
