/*
 * ghostmem.h - what a program may ask of a GhostMem that it runs under.
 *
 * No program has to. Look the functions up with dlsym(RTLD_DEFAULT, "ghostmem_stats"): they are there exactly when
 * libghostmem.so is loaded.
 */
#ifndef GHOSTMEM_H
#define GHOSTMEM_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* "0.1.0" */
const char *ghostmem_version(void);

/* True when the memory at @p is ghost memory. */
bool ghostmem_owns(const void *p);

/*
 * The statistics as JSON, zero-terminated, as GHOSTMEM_STATS writes them. Returns the length, or 0 when @bytes is too
 * small (32768 is enough) or there was no ghost memory yet.
 */
size_t ghostmem_stats(char *buffer, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif
