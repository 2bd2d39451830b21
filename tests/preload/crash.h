/* crash.h - what the probe that crashes leaves in its memory: see probe_crash.c and test_core.c. */
#ifndef TESTS_PRELOAD_CRASH_H
#define TESTS_PRELOAD_CRASH_H

#include "tests/preload/probe.h"

#define CRASH_WORDS (PAGE / sizeof(uint64_t))
/* Every so many pages: one that is a single word repeated. */
#define CRASH_SAME 8

/* Word @k of page @i: a magic number at its start, and what does not compress to nothing, or not at all. */
static inline uint64_t crash_word(size_t i, size_t k)
{
    if (k == 0 || i % CRASH_SAME == 1)
        return 0x67686f7374000000u + i;
    if (i % CRASH_SAME == 2)
        return (i * CRASH_WORDS + k + 1) * 0x9e3779b97f4a7c15u;
    return k % 3 == 0 ? 0x4141414141414141u : (i + 1) * (k + 0x9e3779b9u);
}

#endif
