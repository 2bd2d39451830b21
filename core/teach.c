/* teach.c - see teach.h. */
#include "core/teach.h"

#define ZDICT_STATIC_LINKING_ONLY /* a training with given parameters; libzstd is linked statically */
#include <string.h>
#include <zdict.h>

#define ALIGNMENT ((size_t)64)
/* Of fastCover: bytes of a piece that is taken over, of what is compared, and the table's entries as a power of two. */
#define PIECE_BYTES 256
#define COMPARED_BYTES 8
#define TABLE_LOG 16

/* Where ZDICT's memory comes from: it has no argument for that. One training at a time, in one thread. */
static struct {
    unsigned char *next;
    size_t left;
} arena;

/* The names that the Makefile gives to malloc(), calloc(), free() and stderr in our copy of libzstd. Nothing is printed. */
extern void *teach_stderr;
void *teach_stderr;
void *teach_malloc(size_t bytes);
void *teach_calloc(size_t n, size_t bytes);
void teach_free(void *p);

void *teach_malloc(size_t bytes)
{
    unsigned char *p = arena.next;

    bytes = round_up(bytes, ALIGNMENT);
    if (bytes > arena.left)
        return NULL;
    arena.next += bytes;
    arena.left -= bytes;
    return p;
}

/* The arena was zeroed, and nothing of it is handed out twice. */
void *teach_calloc(size_t n, size_t bytes)
{
    return bytes == 0 || n <= SIZE_MAX / bytes ? teach_malloc(n * bytes) : NULL;
}

void teach_free(void *p)
{
    (void)p;
}

size_t teach(void *dictionary, size_t capacity, const void *pages, size_t n_pages, int level, void *memory, size_t memory_bytes)
{
    ZDICT_fastCover_params_t parameters = {
        .k = PIECE_BYTES,
        .d = COMPARED_BYTES,
        .f = TABLE_LOG,
        .splitPoint = 1.0,
        .accel = 1,
        .zParams = {.compressionLevel = level, .dictID = 1},
    };
    size_t *sizes;
    size_t bytes;

    arena.next = memory;
    arena.left = memory_bytes;
    sizes = teach_malloc(n_pages * sizeof *sizes);
    if (sizes == NULL)
        return 0;
    for (size_t i = 0; i < n_pages; i++)
        sizes[i] = PAGE_BYTES;
    bytes = ZDICT_trainFromBuffer_fastCover(dictionary, capacity, pages, sizes, (unsigned)n_pages, parameters);
    arena.left = 0;
    return ZDICT_isError(bytes) ? 0 : bytes;
}
