/* contents.c - see contents.h. */
#include "tests/unit/contents.h"

#include "tests/unit/unit.h"

uint64_t word_of(size_t page, size_t word, uint64_t round)
{
    return word % 2 == 0 ? (page * WORDS + word + round) * 0x9e3779b97f4a7c15u : word;
}

void write_page(struct world *w, uint64_t *p, size_t page, uint64_t round)
{
    uint64_t *words = fake_touch(w, p + page * WORDS, 1);

    for (size_t k = 0; k < WORDS; k++)
        words[k] = word_of(page, k, round);
}

void read_page(struct world *w, uint64_t *p, size_t page, uint64_t round)
{
    const uint64_t *words = fake_look(w, p + page * WORDS, 1);

    for (size_t k = 0; k < WORDS; k++)
        cr_assert(words[k] == word_of(page, k, round), "page %zu word %zu", page, k);
}

void write_pages(struct world *w, uint64_t *p, uint64_t round)
{
    for (size_t i = 0; i < N; i++)
        write_page(w, p, i, round);
}

void read_pages(struct world *w, uint64_t *p, uint64_t round)
{
    for (size_t i = 0; i < N; i++)
        read_page(w, p, i, round);
}

uint64_t *pages(struct world *w)
{
    uint64_t *p = heap_allocate(&w->heap, N * PAGE_BYTES, 0);

    cr_assert_not_null(p);
    write_pages(w, p, 1);
    return p;
}

void free_all(struct world *w, uint64_t *p)
{
    heap_free(&w->heap, p, "test");
    cr_assert_eq(w->pager.store.pool.n_images, 0);
    cr_assert_eq(w->pager.reclaim.writeback.kept.n_images, 0);
    cr_assert_eq(w->pager.reclaim.writeback.kept_bytes, 0);
}

void check_protections(struct world *w)
{
    for (page_number i = 0; i < w->pager.table.committed_pages; i++) {
        const struct page *page = page_at(&w->pager.table, i);

        if (page_is_resident(page))
            cr_assert_eq((page->flags & PAGE_FLAG_SHUT) != 0, w->fake.protected_pages[i] == FAKE_READ_ONLY, "page %u", i);
    }
}
