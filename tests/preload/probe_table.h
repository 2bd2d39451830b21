/* probe_table.h - the cases of every_call_of_the_table: see probe_table.c. */
#ifndef TESTS_PRELOAD_PROBE_TABLE_H
#define TESTS_PRELOAD_PROBE_TABLE_H

#include "tests/preload/probe.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ROOM ((size_t)1024)       /* bytes at @at that a case may use, and that are compared */
#define LARGE_ROOM ((size_t)16384) /* the same for a case of large buffers */

/* What is at @at leaves RAM, in the run where it can. */
extern void (*settle)(void);

/* All go through syscall(2), so that no wrapper of ours or of libc's stands before them. */
#define CALL(...) (settle(), syscall(__VA_ARGS__))

/* -errno for a call that failed; but not because the kernel could not reach the memory. */
static inline long error_or(long result)
{
    if (result != -1)
        return result;
    CHECK(errno != EFAULT);
    return -errno;
}

/* A case: its result, which depends on nothing but the kernel, and what stands at @at afterwards. */
typedef long call_case(char *at);

/* Ended by NULL. */
extern call_case *const cases_of_files[];
extern call_case *const cases_of_talk[];
extern call_case *const cases_of_processes[];
extern call_case *const large_cases_of_processes[];
extern call_case *const cases_of_large_buffers[];

#endif
