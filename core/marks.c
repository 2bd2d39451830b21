/* marks.c - see marks.h. */
#include "core/marks.h"

#define WORD_BITS 64u

int marks_reserve(struct marks *marks, size_t n_pages)
{
    size_t bytes = round_up((n_pages + WORD_BITS - 1) / WORD_BITS * sizeof marks->words[0], PAGE_BYTES);
    void *words;
    int error;

    if (marks->words != NULL)
        return 0;
    error = os_mem_reserve(bytes, &words);
    if (error != 0)
        return error;
    error = os_mem_commit(words, bytes);
    if (error != 0) {
        os_mem_unmap(words, bytes);
        return error;
    }
    marks->n_pages = n_pages;
    marks->words = words;
    return 0;
}

/* The bits of the word of @first that belong to [@first, @end). */
static uint64_t mask_of(page_number first, page_number end)
{
    uint64_t from = ~(uint64_t)0 << first % WORD_BITS;
    page_number behind = first / WORD_BITS * WORD_BITS + WORD_BITS;

    return end >= behind ? from : from & ~(~(uint64_t)0 << end % WORD_BITS);
}

static page_number next_word(page_number number)
{
    return number / WORD_BITS * WORD_BITS + WORD_BITS;
}

static size_t count(uint64_t word)
{
    return (size_t)__builtin_popcountll(word);
}

void marks_add(struct marks *marks, page_number first, page_number end)
{
    INVARIANT(marks->words != NULL && end <= marks->n_pages);
    for (; first < end; first = next_word(first)) {
        uint64_t *word = &marks->words[first / WORD_BITS];
        uint64_t mask = mask_of(first, end);

        atomic_fetch_add(&marks->n, count(mask & ~*word));
        *word |= mask;
    }
}

void marks_remove(struct marks *marks, page_number first, page_number end)
{
    struct marks_range range;

    while (marks_next(marks, first, end, &range))
        for (first = range.first; first < range.end; first = (page_number)min_size(range.end, next_word(first))) {
            uint64_t *word = &marks->words[first / WORD_BITS];
            uint64_t mask = mask_of(first, range.end);

            atomic_fetch_sub(&marks->n, count(mask & *word));
            *word &= ~mask; /* a word that is zero is not written: its page may never have been touched */
        }
}

void marks_move(struct marks *marks, page_number first, page_number end, page_number to)
{
    struct marks_range range;

    while (marks_next(marks, first, end, &range)) {
        marks_add(marks, to + (range.first - first), to + (range.end - first));
        marks_remove(marks, range.first, range.end);
        to += range.end - first;
        first = range.end;
    }
}

/* The first page from @first on, below @end, whose bit is @set; @end: there is none. */
static page_number find(const struct marks *marks, page_number first, page_number end, bool set)
{
    for (; first < end; first = next_word(first)) {
        uint64_t word = marks->words[first / WORD_BITS];
        uint64_t found = (set ? word : ~word) & mask_of(first, end);

        if (found != 0)
            return first / WORD_BITS * WORD_BITS + (page_number)__builtin_ctzll(found);
    }
    return end;
}

bool marks_next(const struct marks *marks, page_number first, page_number end, struct marks_range *range)
{
    if (!marks_any(marks) || first >= end)
        return false;
    end = (page_number)min_size(end, marks->n_pages);
    range->first = find(marks, first, end, true);
    range->end = find(marks, range->first, end, false);
    return range->first < end;
}

bool marks_meet(const struct marks *marks, page_number first, page_number end)
{
    struct marks_range range;

    return marks_next(marks, first, end, &range);
}
