/*
 * libc.h - the next object's functions of the names that we interpose.
 *
 * Whole families are taken from the same object: a program's own allocator behind us (jemalloc in redis-server) must
 * see all of its calls. While they are being looked up, dlsym() may itself allocate: it gets memory from a small arena
 * that is never returned.
 *
 * Calls: libdl.  Locks: none (the first call of a process is made by one thread).  Memory: the arena, static.
 */
#ifndef GHOSTMEM_INTERPOSE_LIBC_H
#define GHOSTMEM_INTERPOSE_LIBC_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * The program is bound to libc's functions and not to ours: libghostmem.a has only names of its own. Then system calls are seen
 * by their traps alone, once paging has started.
 */
#ifdef GHOSTMEM_STATIC
#define LIBC_IS_BOUND true
#else
#define LIBC_IS_BOUND false
#endif

struct libc {
    void *(*malloc)(size_t);
    void (*free)(void *);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void *(*aligned_alloc)(size_t, size_t);
    int (*posix_memalign)(void **, size_t, size_t);
    void *(*memalign)(size_t, size_t);
    void *(*valloc)(size_t);
    void *(*pvalloc)(size_t);
    size_t (*malloc_usable_size)(void *);
    void *(*dlopen)(const char *, int);
    int (*madvise)(void *, size_t, int);
    int (*mprotect)(void *, size_t, int);
    int (*sigaction)(int, const struct sigaction *, struct sigaction *);
    void (*(*signal)(int, void (*)(int)))(int);
    pid_t (*underscore_fork)(void); /* NULL before glibc 2.34 */
    void (*lock_streams)(void); /* glibc's: the list of its streams, around fork() */
    void (*unlock_streams)(void);
    void (*reset_streams)(void);
    ssize_t (*read)(int, void *, size_t);
    ssize_t (*write)(int, const void *, size_t);
    ssize_t (*pread)(int, void *, size_t, off_t);
    ssize_t (*pwrite)(int, const void *, size_t, off_t);
    ssize_t (*recv)(int, void *, size_t, int);
    ssize_t (*send)(int, const void *, size_t, int);
    long (*system_call)(long, ...);
};

/* Usable from the first instruction of the process on; NULL only inside the look-up itself. */
const struct libc *libc_next(void);

/* Memory for calls that come while libc_next() is NULL. Zeroed, aligned to 16 bytes; NULL when the arena is used up. */
void *arena_allocate(size_t bytes);
bool arena_owns(const void *p);
size_t arena_usable_bytes(const void *p);

#endif
