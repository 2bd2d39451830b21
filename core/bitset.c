/* bitset.c - see bitset.h. */
#include "core/bitset.h"

#define WORD_BITS ((size_t)64)
#define PAGE_WORDS (PAGE_BYTES / sizeof(uint64_t))

/* Words of one set. */
static size_t words_for(size_t n)
{
    return (n + WORD_BITS - 1) / WORD_BITS;
}

/* In the reservation the levels follow each other from the single words on: the bits come last, and grow. */
int bitset_init(struct bitset *bits, size_t n)
{
    size_t n_words[BITSET_LEVELS];
    size_t at = 0;

    *bits = (struct bitset){.words = NULL};
    do {
        n = n_words[bits->n_levels++] = words_for(n);
    } while (n > 1);
    for (unsigned level = bits->n_levels; level-- > 0;) {
        bits->first_word[level] = at;
        at += n_words[level] * BITSET_SETS;
    }
    return os_mem_reserve(round_up(at * sizeof bits->words[0], PAGE_BYTES), (void **)&bits->words);
}

static size_t committed_words(const struct bitset *bits, size_t n)
{
    return round_up(bits->first_word[0] + words_for(n) * BITSET_SETS, PAGE_WORDS);
}

int bitset_commit(struct bitset *bits, size_t from, size_t to)
{
    size_t begin = from == 0 ? 0 : committed_words(bits, from);
    size_t end = committed_words(bits, to);

    return end == begin ? 0 : os_mem_commit(bits->words + begin, (end - begin) * sizeof bits->words[0]);
}

static uint64_t *word_of(const struct bitset *bits, unsigned set, unsigned level, size_t index)
{
    return &bits->words[bits->first_word[level] + index * BITSET_SETS + set];
}

static uint64_t bit_of(size_t number)
{
    return (uint64_t)1 << number % WORD_BITS;
}

/* A word is written that was zero: its page is counted, once. */
static void touch(struct bitset *bits, const uint64_t *word)
{
    size_t page = (size_t)(word - bits->words) / PAGE_WORDS;
    uint64_t *touched = &bits->touched[page / WORD_BITS];

    bits->n_touched += (*touched & bit_of(page)) == 0;
    *touched |= bit_of(page);
}

void bitset_prefetch(const struct bitset *bits, size_t number)
{
    __builtin_prefetch(word_of(bits, 0, 0, number / WORD_BITS), 1);
}

void bitset_add(struct bitset *bits, unsigned set, size_t number)
{
    for (unsigned level = 0; level < bits->n_levels; level++, number /= WORD_BITS) {
        uint64_t *word = word_of(bits, set, level, number / WORD_BITS);
        bool was_empty = *word == 0;

        INVARIANT(level > 0 || (*word & bit_of(number)) == 0);
        *word |= bit_of(number);
        if (!was_empty)
            break;
        touch(bits, word);
    }
}

void bitset_remove(struct bitset *bits, unsigned set, size_t number)
{
    for (unsigned level = 0; level < bits->n_levels; level++, number /= WORD_BITS) {
        uint64_t *word = word_of(bits, set, level, number / WORD_BITS);

        INVARIANT((*word & bit_of(number)) != 0);
        *word &= ~bit_of(number);
        if (*word != 0)
            break;
    }
}

size_t bitset_first(const struct bitset *bits, unsigned set)
{
    size_t number = 0;

    if (bits->n_touched == 0) /* and perhaps nothing committed */
        return BITSET_NONE;
    for (unsigned level = bits->n_levels; level-- > 0;) {
        uint64_t word = *word_of(bits, set, level, number);

        if (word == 0)
            return BITSET_NONE;
        number = number * WORD_BITS + (size_t)__builtin_ctzll(word);
    }
    return number;
}
