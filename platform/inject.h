/*
 * inject.h - the n-th fallible os_* call fails on purpose (test builds only).
 *
 * With GHOSTMEM_INJECT defined at compile time every os_* call that can fail starts with OS_MAY_FAIL(errno):
 * when os_inject_countdown reaches 0 the call returns -errno instead of doing its work. Otherwise it is nothing.
 *
 * Calls: nothing.  Locks: none (an atomic).  Memory: one static integer in mem.c.
 */
#ifndef GHOSTMEM_PLATFORM_INJECT_H
#define GHOSTMEM_PLATFORM_INJECT_H

#ifdef GHOSTMEM_INJECT
#include <stdatomic.h>
#include <stdbool.h>

/* Calls left before the failing one; <= 0: no failure is due any more. */
extern atomic_long os_inject_countdown;
bool os_inject_hits(void);

#define OS_MAY_FAIL(error)                                                                                             \
    do {                                                                                                               \
        if (os_inject_hits())                                                                                          \
            return -(error);                                                                                           \
    } while (0)
#else
#define OS_MAY_FAIL(error) ((void)0)
#endif

#endif
