/*
 * record.c - writes what core/trace.h tells to a file: PAGE_TRACE in the environment names it. Linked only into the library
 * built for tracing.
 *
 * The file must not exist yet: of a tree of processes the first one is recorded, and of it no forked child. 32-bit words: the
 * number of accesses, then each as page << 1 | is a write. A full file ends the program with status 0: there is nothing more to learn.
 *
 * Calls: core/trace.h.  Locks: none.  Memory: the mapped file, so that the fault path allocates nothing.
 */
#include "core/trace.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAX_ACCESSES ((uint32_t)4 << 20)

static _Atomic uint32_t *words;

static void forget(void)
{
    words = NULL;
}

__attribute__((constructor(101))) static void begin(void)
{
    const char *path = getenv("PAGE_TRACE");
    size_t bytes = (MAX_ACCESSES + 1) * sizeof *words;
    void *mapped;
    int fd;

    if (path == NULL)
        return;
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return;
    mapped = ftruncate(fd, (off_t)bytes) == 0 ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    close(fd);
    if (mapped == MAP_FAILED || pthread_atfork(NULL, NULL, forget) != 0)
        return;
    words = mapped;
}

void trace_access(uint32_t page, bool write)
{
    uint32_t i;

    if (words == NULL)
        return;
    i = atomic_fetch_add(words, 1);
    if (i >= MAX_ACCESSES) {
        atomic_store(words, MAX_ACCESSES);
        _exit(0);
    }
    atomic_store(words + 1 + i, page << 1 | write);
}
