/*
 * ballast.c - a library preloaded beside libghostmem.so: memory beyond the limit in a program that has none of its own.
 *
 * Most stress programs take their memory from mmap, or need little: GhostMem would stay dormant under them. With
 * BALLAST_PAGES pages more from malloc it pages from before main() on, and its handlers and guards stand while the
 * program does what it is made for. Each forked child reads some of the pages, each that ends through exit() all of
 * them; what is wrong is a line in the file BALLAST_COMPLAINTS, because the status of a grandchild is seen by nobody.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    PAGE_BYTES = 4096,
    PAGE_WORDS = PAGE_BYTES / sizeof(uint64_t),
    N_SAMPLES = 64 /* pages that a forked child reads: a few hundred microseconds */
};

static uint64_t *ballast;
static size_t n_pages;

/* Half of a page is noise: it shrinks, and no two pages are alike. */
static uint64_t word_of(size_t page, size_t i)
{
    return i % 2 ? page : (page + 1) * (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

static void complain(size_t page, size_t i, uint64_t found)
{
    const char *path = getenv("BALLAST_COMPLAINTS");
    char line[128];
    int length = snprintf(line, sizeof(line), "ballast: process %d: page %zu word %zu is %#llx\n", (int)getpid(), page, i,
                          (unsigned long long)found);
    int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : STDERR_FILENO;

    if (write(fd, line, (size_t)length) != length)
        abort();
    if (fd != STDERR_FILENO)
        (void)close(fd);
}

static void check(size_t step)
{
    for (size_t page = 0; page < n_pages; page += step)
        for (size_t i = 0; i < PAGE_WORDS; i++) {
            uint64_t found = ballast[page * PAGE_WORDS + i];

            if (found != word_of(page, i)) {
                complain(page, i, found);
                break;
            }
        }
}

static void check_some(void)
{
    check(n_pages / N_SAMPLES + 1);
}

__attribute__((constructor)) static void take_on(void)
{
    const char *pages = getenv("BALLAST_PAGES");

    n_pages = pages ? strtoul(pages, NULL, 10) : 0;
    ballast = n_pages ? malloc(n_pages * PAGE_BYTES) : NULL;
    if (!ballast) {
        n_pages = 0;
        return;
    }
    for (size_t i = 0; i < n_pages * PAGE_WORDS; i++)
        ballast[i] = word_of(i / PAGE_WORDS, i % PAGE_WORDS);
    (void)pthread_atfork(NULL, NULL, check_some);
}

__attribute__((destructor)) static void look_again(void)
{
    check(1);
}
