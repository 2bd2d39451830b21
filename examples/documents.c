/*
 * documents.c - a cache of documents that is larger than its RAM: `documents [PAGES]`.
 *
 * 2,000 documents of 16 KiB, 31 MiB, are made once and looked up by number. Most look-ups are of a few: those stay in RAM, the others are
 * compressed. The limit is 8 MiB, or PAGES pages.
 *
 *     cc documents.c $(pkg-config --cflags --libs ghostmem) && ./a.out
 */
#include <ghostmem.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_DOCUMENTS 2000
#define DOCUMENT_BYTES 16384

static char *documents[N_DOCUMENTS];

static void make_document(int number)
{
    size_t length = 0;

    documents[number] = ghostmem_allocate(DOCUMENT_BYTES);
    if (documents[number] == NULL) {
        perror("ghostmem_allocate");
        exit(1);
    }
    while (length + 64 < DOCUMENT_BYTES) {
        int n = snprintf(documents[number] + length, 64, "document %d, line %zu\n", number, length);

        length += (size_t)n;
    }
}

/* Fifteen of sixteen look-ups are of a hundred documents. */
static int next_number(unsigned *random)
{
    *random = *random * 1103515245u + 12345u;
    return (int)(*random >> 16) % (*random >> 8 & 15 ? 100 : N_DOCUMENTS);
}

int main(int argc, char **argv)
{
    struct ghostmem_config config = GHOSTMEM_CONFIG_INIT;
    struct ghostmem_statistics statistics;
    unsigned random = 1;

    config.max_memory_pages = argc > 1 ? strtoul(argv[1], NULL, 10) : 2048;
    if (!ghostmem_initialize(&config)) {
        perror("ghostmem_initialize");
        return 1;
    }
    for (int i = 0; i < N_DOCUMENTS; i++)
        make_document(i);
    for (int i = 0; i < 20000; i++) {
        int number = next_number(&random);
        char expected[64];

        snprintf(expected, sizeof expected, "document %d, line 0\n", number);
        if (strncmp(documents[number], expected, strlen(expected)) != 0) {
            fprintf(stderr, "document %d is not what it was\n", number);
            return 1;
        }
    }
    ghostmem_get_statistics(&statistics, sizeof statistics);
    printf("%d documents, %zu MiB, in %zu MiB and %zu MiB compressed; %zu of 20000 look-ups waited\n", N_DOCUMENTS,
           (size_t)(statistics.live_bytes >> 20), (size_t)(statistics.limit_pages >> 8), (size_t)(statistics.images_bytes >> 20),
           (size_t)statistics.thaws);
    for (int i = 0; i < N_DOCUMENTS; i++)
        ghostmem_deallocate(documents[i], DOCUMENT_BYTES);
    return 0;
}
