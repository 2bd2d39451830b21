/* test_cede.c - pages over which the program has mapped something of its own, with the fake backend. */
#include "tests/unit/contents.h"
#include "tests/unit/unit.h"

static long nothing_happens(void *arg)
{
    (void)arg;
    return 0;
}

/* Some are resident on both sides of what is ceded. */
static void discard_leaves_ceded_pages_as_they_are(bool by_protection)
{
    enum { FROM = 10, CEDED = 14, CEDED_END = 16, END = 20 };
    struct world *w = world_new(RANGE, LIMIT, true);
    uint64_t *p = pages(w);
    page_number first = (page_number)(((uintptr_t)p - w->pager.space.near_base) / PAGE_BYTES);

    for (size_t i = FROM; i < END; i++)
        fake_add(w, p + i * WORDS, 0, 1);
    cr_assert_eq(pager_cede(&w->pager, first + CEDED, CEDED_END - CEDED, true, nothing_happens, NULL), 0);
    for (size_t i = CEDED; i < CEDED_END; i++)
        p[i * WORDS] = 77;
    w->fake.contract.by_protection = by_protection;
    cr_assert_eq(pager_discard(&w->pager, first + FROM, END - FROM), 0);
    w->fake.contract.by_protection = false;
    for (page_number i = FROM; i < END; i++) {
        bool ceded = i >= CEDED && i < CEDED_END;

        cr_assert_eq(page_state(page_at(&w->pager.table, first + i)), ceded ? PAGE_CEDED : PAGE_EMPTY);
        cr_assert_eq(fake_is_present(w, p + i * WORDS), ceded, "page %u", i);
        cr_assert_eq(w->fake.protected_pages[first + i], by_protection && !ceded ? FAKE_CLOSED : FAKE_OPEN, "page %u", i);
    }
    for (size_t i = 0; i < N; i++)
        if (i < FROM || i >= END)
            read_page(w, p, i, 1);
        else
            cr_assert_eq(fake_load(w, p + i * WORDS, 1), i >= CEDED && i < CEDED_END ? 77 : 0, "page %zu", i);
    heap_free(&w->heap, p, "test");
}

Test(cede, discard_leaves_ceded_pages_as_they_are)
{
    discard_leaves_ceded_pages_as_they_are(false);
}

Test(cede, discard_does_not_close_ceded_pages)
{
    discard_leaves_ceded_pages_as_they_are(true);
}
