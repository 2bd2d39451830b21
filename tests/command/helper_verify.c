/*
 * helper_verify.c - threads that verify their data until they are told to end: verify THREADS MEGABYTES.
 *
 * "ready" on standard output once all is filled; at the end of standard input "wrong bytes: N".
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE_BYTES 4096

static _Atomic unsigned n_filled;
static _Atomic uint64_t n_wrong;
static _Atomic int ends;
static size_t n_pages;

/* Half of a page compresses. */
static void fill(unsigned char *page, uint64_t seed)
{
    for (size_t i = 0; i < PAGE_BYTES; i += sizeof seed) {
        uint64_t word = i < PAGE_BYTES / 2 ? (seed + i) * 0x9e3779b97f4a7c15u : seed;

        memcpy(page + i, &word, sizeof word);
    }
}

static void *verify(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    unsigned char *block = malloc(n_pages * PAGE_BYTES);
    uint64_t *seeds = calloc(n_pages, sizeof *seeds);
    unsigned char expected[PAGE_BYTES];

    if (block == NULL || seeds == NULL)
        abort();
    for (size_t i = 0; i < n_pages; i++)
        fill(block + i * PAGE_BYTES, seeds[i] = (uint64_t)seed << 32 | i);
    n_filled++;
    while (!ends) {
        size_t i = (size_t)rand_r(&seed) % n_pages;
        unsigned char *page = block + i * PAGE_BYTES;

        fill(expected, seeds[i]);
        for (size_t k = 0; k < PAGE_BYTES; k++)
            n_wrong += page[k] != expected[k];
        if (rand_r(&seed) % 4 == 0)
            fill(page, seeds[i] += 1000003);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    unsigned n_threads = argc > 1 ? (unsigned)atoi(argv[1]) : 1;
    pthread_t threads[64];
    char byte;

    n_pages = (argc > 2 ? (size_t)atoi(argv[2]) << 20 : PAGE_BYTES) / PAGE_BYTES / n_threads;
    for (unsigned i = 0; i < n_threads && i < 64; i++)
        if (pthread_create(&threads[i], NULL, verify, (void *)(uintptr_t)(i + 1)) != 0)
            return 2;
    while (n_filled < n_threads)
        usleep(1000);
    puts("ready");
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
    ends = 1;
    for (unsigned i = 0; i < n_threads && i < 64; i++)
        pthread_join(threads[i], NULL);
    printf("wrong bytes: %llu\n", (unsigned long long)n_wrong);
    return n_wrong != 0;
}
