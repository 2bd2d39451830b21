/*
 * helper_allocator.c - a program that brings its own allocator: linked against one, or with malloc in the program itself
 * (OWN_MALLOC). What it gets from where, it gives back to free().
 *
 * helper_allocator... IGNORED NAME MEGABYTES
 */
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition) ((condition) ? (void)0 : die(__LINE__, #condition))
#define N_BLOCKS 64u
#define N_WAYS 8u

static void die(int line, const char *what)
{
    fprintf(stderr, "helper_allocator.c:%d: %s does not hold\n", line, what);
    _Exit(1);
}

#if defined(OWN_MALLOC)

#define HEADER 4096

/* Every block is a mapping; the size stands in front. Declared as in the headers, without their attributes. */
static void *map_block(size_t alignment, size_t bytes)
{
    size_t space = HEADER + alignment + bytes;
    char *start = mmap(NULL, space, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *block;
    size_t *header;

    if (start == MAP_FAILED)
        return NULL;
    block = (char *)(((uintptr_t)start + HEADER + alignment - 1) & ~(uintptr_t)(alignment - 1));
    header = (size_t *)(void *)(block - 32);
    header[0] = (size_t)(block - start);
    header[1] = space;
    header[2] = bytes;
    return block;
}

void *malloc(size_t bytes)
{
    return map_block(16, bytes);
}

void free(void *p)
{
    const size_t *header = (const size_t *)(const void *)((const char *)p - 32);

    if (p != NULL)
        munmap((char *)p - header[0], header[1]);
}

void *calloc(size_t n, size_t bytes)
{
    return map_block(16, n * bytes);
}

size_t malloc_usable_size(void *p)
{
    return p != NULL ? ((const size_t *)(const void *)((const char *)p - 32))[2] : 0;
}

void *realloc(void *p, size_t bytes)
{
    void *fresh = malloc(bytes);

    if (fresh != NULL && p != NULL) {
        memcpy(fresh, p, malloc_usable_size(p) < bytes ? malloc_usable_size(p) : bytes);
        free(p);
    }
    return fresh;
}

int posix_memalign(void **p, size_t alignment, size_t bytes)
{
    *p = map_block(alignment, bytes);
    return *p != NULL ? 0 : 12;
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    return map_block(alignment, bytes);
}

void *memalign(size_t alignment, size_t bytes)
{
    return map_block(alignment, bytes);
}

#endif

/* The allocator's own name for malloc; what it gives may be given to free(). */
#if defined(NAME_OF_ITS_OWN)
extern void *NAME_OF_ITS_OWN(size_t bytes);
#else
#define NAME_OF_ITS_OWN malloc
#endif

static void write_block(uint64_t *block, size_t bytes, uint64_t salt)
{
    for (size_t i = 0; i < bytes / sizeof *block; i++)
        block[i] = i % 5 == 0 ? 7 : i * (salt + 0x9e3779b9u);
}

static void check_block(const uint64_t *block, size_t bytes, uint64_t salt)
{
    for (size_t i = 0; i < bytes / sizeof *block; i++)
        CHECK(block[i] == (i % 5 == 0 ? 7 : i * (salt + 0x9e3779b9u)));
}

static void *get_block(size_t way, size_t bytes)
{
    void *block = NULL;

    switch (way) {
    case 0:
        CHECK(posix_memalign(&block, 4096, bytes) == 0);
        break;
    case 1:
        block = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
        break;
    case 2:
        block = calloc(bytes / 8, 8);
        CHECK(block != NULL && *(uint64_t *)block == 0 && ((uint64_t *)block)[bytes / 8 - 1] == 0);
        break;
    case 3:
        block = NAME_OF_ITS_OWN(bytes);
        break;
    case 4:
        block = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(block != MAP_FAILED);
        break;
    case 5:
        block = realloc(malloc(bytes / 16), bytes);
        break;
    case 6:
        block = realloc(NAME_OF_ITS_OWN(bytes * 2), bytes);
        break;
    default:
        block = malloc(bytes);
    }
    CHECK(block != NULL && (way == 4 || malloc_usable_size(block) >= bytes));
    return block;
}

static void put_block(size_t way, void *block, size_t bytes)
{
    if (way == 4)
        CHECK(munmap(block, bytes) == 0);
    else
        free(block);
}

static void *mix(void *arg)
{
    size_t most = *(const size_t *)arg / N_BLOCKS * 2;
    void *blocks[N_BLOCKS] = {NULL};
    size_t sizes[N_BLOCKS];

    for (size_t step = 0; step < 6 * N_BLOCKS; step++) {
        size_t i = step * 37 % N_BLOCKS;
        size_t way = i % N_WAYS;

        if (blocks[i] != NULL) {
            check_block(blocks[i], sizes[i], i);
            put_block(way, blocks[i], sizes[i]);
        }
        sizes[i] = ((step % 3 == 0 ? 48 + step : most - step * 40) & ~(size_t)7) + 64;
        blocks[i] = get_block(way, sizes[i]);
        write_block(blocks[i], sizes[i], i);
    }
    for (size_t i = 0; i < N_BLOCKS; i++) {
        check_block(blocks[i], sizes[i], i);
        put_block(i % N_WAYS, blocks[i], sizes[i]);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    size_t bytes = (argc > 3 ? strtoul(argv[3], NULL, 10) : 4) << 20;
    uint64_t *whole = malloc(bytes);
    pthread_t threads[2];
    pid_t child;
    int status;

    CHECK(whole != NULL);
    write_block(whole, bytes, 99);
    for (size_t i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, mix, &bytes) == 0);
    for (size_t i = 0; i < 2; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    check_block(whole, bytes, 99);
    child = fork();
    if (child == 0) {
        mix(&bytes);
        check_block(whole, bytes, 99);
        _exit(0);
    }
    mix(&bytes);
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    check_block(whole, bytes, 99);
    free(whole);
    puts("ok");
    return 0;
}
