/*
 * helper_atomics.c - threads update shared memory; no update may be lost. For test_atomics.c.
 *
 *     helper_atomics THREADS PAGES UPDATES
 *
 * Every thread makes UPDATES atomic additions at random places of PAGES pages of malloc's, and as many plain ones to
 * words that are its own but lie in the same pages: an update is lost when a page is taken away while it is still
 * being written, and a plain store shows that where a locked instruction may not. Afterwards every word is compared
 * with what it must be. Prints the sums; ends with status 1 if a word is wrong.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum {
    PAGE_BYTES = 4096,
    MAX_THREADS = 16,
    PAGE_WORDS = PAGE_BYTES / 8,
    OWN_WORDS = MAX_THREADS, /* the last words of each page: one a thread */
    SHARED_WORDS = PAGE_WORDS - OWN_WORDS
};

struct page {
    _Atomic uint64_t shared[SHARED_WORDS];
    uint64_t own[OWN_WORDS];
};

_Static_assert(sizeof(struct page) == PAGE_BYTES, "a page of words");

struct worker {
    pthread_t thread;
    size_t number;
    size_t n_pages;
    size_t n_updates;
    struct page *pages;
};

/* Where thread @number goes with its update @i: the same for the threads and for the check. */
static uint64_t place(size_t number, size_t i)
{
    uint64_t z = (number * 1000003 + i + 1) * UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    return z ^ (z >> 27);
}

static size_t page_of(uint64_t place_, size_t n_pages)
{
    return (size_t)(place_ >> 32) % n_pages;
}

static size_t word_of(uint64_t place_)
{
    return (size_t)(place_ & 0xffff) % SHARED_WORDS;
}

static void *work(void *argument)
{
    const struct worker *worker = argument;

    for (size_t i = 0; i < worker->n_updates; i++) {
        uint64_t at = place(worker->number, i);
        struct page *page = &worker->pages[page_of(at, worker->n_pages)];

        atomic_fetch_add_explicit(&page->shared[word_of(at)], worker->number + 1, memory_order_relaxed);
        page->own[worker->number] += i;
    }
    return NULL;
}

/* From mmap and not malloc: it must not be under test itself. */
static void *expected_pages(size_t n_pages)
{
    void *memory = mmap(NULL, n_pages * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return memory == MAP_FAILED ? NULL : memory;
}

static size_t compare(const struct page *found, const struct page *expected, size_t n_pages)
{
    size_t n_wrong = 0;

    for (size_t p = 0; p < n_pages; p++) {
        for (size_t w = 0; w < SHARED_WORDS; w++)
            n_wrong += found[p].shared[w] != expected[p].shared[w];
        for (size_t w = 0; w < OWN_WORDS; w++)
            n_wrong += found[p].own[w] != expected[p].own[w];
    }
    return n_wrong;
}

static void print_sums(const struct page *pages, size_t n_pages)
{
    uint64_t shared = 0;
    uint64_t own = 0;

    for (size_t p = 0; p < n_pages; p++) {
        for (size_t w = 0; w < SHARED_WORDS; w++)
            shared += pages[p].shared[w];
        for (size_t w = 0; w < OWN_WORDS; w++)
            own += pages[p].own[w];
    }
    printf("shared %llu own %llu\n", (unsigned long long)shared, (unsigned long long)own);
}

static size_t argument(int argc, char **argv, int i)
{
    return i < argc ? strtoul(argv[i], NULL, 10) : 0;
}

int main(int argc, char **argv)
{
    size_t n_threads = argument(argc, argv, 1);
    size_t n_pages = argument(argc, argv, 2);
    size_t n_updates = argument(argc, argv, 3);
    struct worker workers[MAX_THREADS];
    struct page *pages = n_pages ? calloc(n_pages, PAGE_BYTES) : NULL;
    struct page *expected = n_pages ? expected_pages(n_pages) : NULL;
    size_t n_wrong;

    if (n_threads < 1 || n_threads > MAX_THREADS || !pages || !expected) {
        fprintf(stderr, "usage: helper_atomics THREADS PAGES UPDATES (1 to 16 threads)\n");
        free(pages);
        return 2;
    }
    for (size_t t = 0; t < n_threads; t++) {
        workers[t] = (struct worker){.number = t, .n_pages = n_pages, .n_updates = n_updates, .pages = pages};
        if (pthread_create(&workers[t].thread, NULL, work, &workers[t]) != 0) {
            fprintf(stderr, "helper_atomics: no thread\n");
            exit(2); /* not a return: the others still use the pages */
        }
    }
    for (size_t t = 0; t < n_threads; t++)
        (void)pthread_join(workers[t].thread, NULL);
    for (size_t t = 0; t < n_threads; t++) {
        workers[t].pages = expected;
        (void)work(&workers[t]);
    }
    n_wrong = compare(pages, expected, n_pages);
    print_sums(pages, n_pages);
    if (n_wrong > 0)
        fprintf(stderr, "helper_atomics: %zu words are wrong\n", n_wrong);
    free(pages);
    return n_wrong > 0;
}
