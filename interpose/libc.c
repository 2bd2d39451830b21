/* libc.c - see libc.h. */
#include "interpose/libc.h"

#include <dlfcn.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* glibc's dlsym() asks for less than a hundred bytes; other loggers and profilers that wrap it for a few KiB. */
#define ARENA_BYTES ((size_t)64 << 10)

static _Alignas(16) unsigned char arena[ARENA_BYTES];
static _Atomic size_t arena_used;

static struct libc next;
enum { UNKNOWN, LOOKING, KNOWN };
static _Atomic int state;

void *arena_allocate(size_t bytes)
{
    size_t whole;
    size_t at;

    if (bytes > ARENA_BYTES / 2)
        return NULL;
    whole = ((bytes + 15) & ~(size_t)15) + 16; /* the size stands in front */
    at = atomic_fetch_add(&arena_used, whole);
    if (at + whole > ARENA_BYTES)
        return NULL;
    memcpy(arena + at, &bytes, sizeof bytes);
    return arena + at + 16;
}

bool arena_owns(const void *p)
{
    return (uintptr_t)p - (uintptr_t)arena < ARENA_BYTES;
}

size_t arena_usable_bytes(const void *p)
{
    size_t bytes;

    memcpy(&bytes, (const unsigned char *)p - 16, sizeof bytes);
    return bytes;
}

#ifdef GHOSTMEM_STATIC

extern pid_t _Fork(void) __attribute__((weak));
extern void _IO_list_lock(void) __attribute__((weak));
extern void _IO_list_unlock(void) __attribute__((weak));
extern void _IO_list_resetlock(void) __attribute__((weak));

/* By their names, which is all that there is in a static binary. */
static void look_up_all(void)
{
    next = (struct libc){
        .malloc = malloc, .free = free, .calloc = calloc, .realloc = realloc, .aligned_alloc = aligned_alloc,
        .posix_memalign = posix_memalign, .memalign = memalign, .valloc = valloc, .pvalloc = pvalloc,
        .malloc_usable_size = malloc_usable_size, .madvise = madvise, .mprotect = mprotect, .sigaction = sigaction, .signal = signal,
        .underscore_fork = _Fork, .lock_streams = _IO_list_lock,
        .unlock_streams = _IO_list_unlock, .reset_streams = _IO_list_resetlock, .read = read, .write = write, .pread = pread,
        .pwrite = pwrite, .recv = recv, .send = send,
    };
}

#else

/* An object pointer from dlsym() becomes a function pointer by copying its bits (Source: dlsym(3), NOTES). */
static void look_up(void *function, const char *name)
{
    void *symbol = dlsym(RTLD_NEXT, name);

    memcpy(function, &symbol, sizeof symbol);
}

static void look_up_all(void)
{
    look_up(&next.malloc, "malloc");
    look_up(&next.free, "free");
    look_up(&next.calloc, "calloc");
    look_up(&next.realloc, "realloc");
    look_up(&next.aligned_alloc, "aligned_alloc");
    look_up(&next.posix_memalign, "posix_memalign");
    look_up(&next.memalign, "memalign");
    look_up(&next.valloc, "valloc");
    look_up(&next.pvalloc, "pvalloc");
    look_up(&next.malloc_usable_size, "malloc_usable_size");
    look_up(&next.dlopen, "dlopen");
    look_up(&next.madvise, "madvise");
    look_up(&next.mprotect, "mprotect");
    look_up(&next.sigaction, "sigaction");
    look_up(&next.signal, "signal");
    look_up(&next.underscore_fork, "_Fork");
    look_up(&next.lock_streams, "_IO_list_lock");
    look_up(&next.unlock_streams, "_IO_list_unlock");
    look_up(&next.reset_streams, "_IO_list_resetlock");
    look_up(&next.read, "read");
    look_up(&next.write, "write");
    look_up(&next.pread, "pread");
    look_up(&next.pwrite, "pwrite");
    look_up(&next.recv, "recv");
    look_up(&next.send, "send");
    look_up(&next.system_call, "syscall");
}

#endif

const struct libc *libc_next(void)
{
    int expected = UNKNOWN;

    if (__builtin_expect(atomic_load_explicit(&state, memory_order_acquire) == KNOWN, 1))
        return &next;
    if (!atomic_compare_exchange_strong(&state, &expected, LOOKING))
        return expected == KNOWN ? &next : NULL;
    look_up_all();
    atomic_store_explicit(&state, KNOWN, memory_order_release);
    return &next;
}
