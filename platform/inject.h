/*
 * inject.h - the n-th fallible os_* call fails on purpose (test builds only).
 *
 * With GHOSTMEM_INJECT defined at compile time every os_* call that can fail starts with OS_MAY_FAIL(errno):
 * when os_inject_countdown reaches 0 the call returns -errno instead of doing its work. Otherwise it is nothing.
 *
 * The swap file's reads, writes and punches can fail as a disk does: a stretch of them, each with an errno, or short.
 *
 * Calls: nothing.  Locks: none (atomics).  Memory: static integers in inject.c.
 */
#ifndef GHOSTMEM_PLATFORM_INJECT_H
#define GHOSTMEM_PLATFORM_INJECT_H

#ifdef GHOSTMEM_INJECT
#include <stdatomic.h>
#include <stdbool.h>

/* Calls left before the failing one; <= 0: no failure is due any more. */
extern atomic_long os_inject_countdown;
bool os_inject_hits(void);

/* Calls [first, first + n) of one kind fail; they count from 1. */
struct os_inject_io {
    atomic_long n_calls;
    atomic_long first;
    atomic_long n;
    atomic_int error; /* a positive errno; 0: the call does half of its work, and is called again */
};
enum os_inject_kind {
    OS_INJECT_WRITE,
    OS_INJECT_READ,
    OS_INJECT_PUNCH,
    OS_INJECT_POISON, /* UFFDIO_POISON: an older kernel */
    OS_INJECT_MOVE,   /* UFFDIO_MOVE does its work and says that it failed */
    OS_INJECT_REFUSE, /* UFFDIO_MOVE does not do its work: an older kernel */
    OS_INJECT_FILL,   /* the same of a write to /proc/self/mem */
    OS_INJECT_EXTRACT, /* vmsplice */
    OS_INJECT_KINDS,
};
extern struct os_inject_io os_inject_io[OS_INJECT_KINDS];

/* The error that this call is to end with, 0 for a short one, -1 for none. */
int os_inject_io_error(enum os_inject_kind kind);

/* In a function with `bytes`: fail, or do the half this time. */
#define OS_IO_MAY_FAIL(kind, part)                                                                                     \
    do {                                                                                                               \
        int injected_error = os_inject_io_error(kind);                                                                 \
                                                                                                                       \
        if (injected_error > 0)                                                                                        \
            return -injected_error;                                                                                    \
        if (injected_error == 0)                                                                                       \
            (part) = ((part) + 1) / 2;                                                                                 \
    } while (0)

/* A call that has succeeded says that it failed. */
#define OS_MAY_LIE(kind, result, answer)                                                                               \
    do {                                                                                                               \
        int injected_error = (result) == 0 ? os_inject_io_error(kind) : -1;                                            \
                                                                                                                       \
        if (injected_error > 0)                                                                                        \
            (result) = (answer) = -injected_error;                                                                     \
    } while (0)

#define OS_MAY_FAIL(error)                                                                                             \
    do {                                                                                                               \
        if (os_inject_hits())                                                                                          \
            return -(error);                                                                                           \
    } while (0)

/* In a function that returns how far it got: it gets half as far. */
#define OS_MAY_STOP(n)                                                                                                 \
    do {                                                                                                               \
        if (os_inject_hits())                                                                                          \
            (n) /= 2;                                                                                                  \
    } while (0)
#else
#define OS_MAY_FAIL(error) ((void)0)
#define OS_MAY_STOP(n) ((void)0)
#define OS_IO_MAY_FAIL(kind, part) ((void)0)
#define OS_MAY_LIE(kind, result, answer) ((void)0)
#endif

#endif
