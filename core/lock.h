/*
 * lock.h - the ranks of our locks.
 *
 * A thread takes locks in ascending rank only. fork() takes all of them in this order and releases them in the
 * opposite one. A fault may arrive while its thread holds any lock of the program and none of ours.
 *
 *   1  heap.lock    spans and blocks
 *   2  pager.lock   page states, queues, the budget
 *   3  pool.lock    slabs and slots
 *
 * platform/ has leaves of its own (the job of a backend), never held while one of these is taken by the same thread.
 *
 * Calls: nothing.  Locks: names them.  Memory: none.
 */
#ifndef GHOSTMEM_CORE_LOCK_H
#define GHOSTMEM_CORE_LOCK_H

#include "platform/lock.h"

#endif
