/*
 * input.c - generators of the input files; see input.h.
 */
#include "input.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    BUFFER_BYTES = 1 << 20, /* stdio's own buffer of 4 KiB makes 200 MB slow */
    WORD_BYTES = 16,
    KEY_BYTES = 17, /* 16 hex digits and a space */
    MIN_LINE = 24,
    MAX_WORDS = 4096,
    MAX_PIECE = 4096 /* longest piece that input_echo() repeats */
};

struct vocabulary {
    size_t n_words;
    size_t length[MAX_WORDS]; /* bytes */
    char word[MAX_WORDS][WORD_BYTES];
};

uint64_t rng_next(struct rng *rng)
{
    uint64_t z = (rng->state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

size_t rng_below(struct rng *rng, size_t bound)
{
    return (size_t)(rng_next(rng) % bound);
}

FILE *input_create(const char *path)
{
    FILE *file = fopen(path, "w");

    cr_assert_not_null(file, "cannot create the input %s: %s", path, strerror(errno));
    (void)setvbuf(file, NULL, _IOFBF, BUFFER_BYTES);
    return file;
}

void input_finish(FILE *file, const char *path)
{
    int failed = ferror(file);

    failed |= fclose(file);
    cr_assert(!failed, "cannot write the input %s: %s", path, strerror(errno));
}

static void vocabulary_fill(struct vocabulary *words, size_t n_words, struct rng *rng)
{
    words->n_words = n_words < MAX_WORDS ? n_words : MAX_WORDS;
    for (size_t i = 0; i < words->n_words; i++) {
        /* Two to eleven letters: the mean of English. */
        words->length[i] = 2 + rng_below(rng, 10);
        for (size_t k = 0; k < words->length[i]; k++)
            words->word[i][k] = (char)('a' + rng_below(rng, 26));
    }
}

/* Short words of low rank come up most, as in any language: the lesser of two draws is enough of a slope. */
static size_t vocabulary_pick(const struct vocabulary *words, struct rng *rng)
{
    size_t a = rng_below(rng, words->n_words);
    size_t b = rng_below(rng, words->n_words);

    return a < b ? a : b;
}

/* Fills @length bytes at @to with words and spaces. */
static void fill_words(char *to, size_t length, const struct vocabulary *words, struct rng *rng)
{
    size_t used = 0;

    while (used < length) {
        size_t pick = vocabulary_pick(words, rng);
        size_t part = words->length[pick] < length - used ? words->length[pick] : length - used;

        memcpy(to + used, words->word[pick], part);
        used += part;
        if (used < length)
            to[used++] = ' ';
    }
}

static void *allocate(size_t bytes)
{
    void *memory = malloc(bytes);

    cr_assert_not_null(memory, "no memory for an input of %zu bytes", bytes);
    return memory;
}

void input_text(const char *path, size_t bytes, size_t mean_line, size_t n_words, uint64_t seed)
{
    struct vocabulary *words = allocate(sizeof(*words));
    char *line = allocate(2 * mean_line + MIN_LINE);
    struct rng rng = {seed};
    FILE *file = input_create(path);

    vocabulary_fill(words, n_words, &rng);
    for (size_t written = 0; written < bytes;) {
        size_t length = mean_line / 2 + rng_below(&rng, mean_line + 1);

        if (length < MIN_LINE)
            length = MIN_LINE;
        (void)snprintf(line, KEY_BYTES + 1, "%016" PRIx64 " ", rng_next(&rng));
        fill_words(line + KEY_BYTES, length - KEY_BYTES - 1, words, &rng);
        line[length - 1] = '\n';
        (void)fwrite(line, 1, length, file);
        written += length;
    }
    input_finish(file, path);
    free(line);
    free(words);
}

/* Fills @length bytes at @to with letters that no compressor shortens by more than a quarter, and LZ4 not at all. */
static void fill_letters(char *to, size_t length, struct rng *rng)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < length;) {
        uint64_t bits = rng_next(rng);

        for (size_t k = 0; k < 10 && i < length; k++, bits >>= 6)
            to[i++] = letters[bits & 63];
    }
}

void input_echo(const char *path, size_t bytes, uint64_t seed)
{
    size_t fresh = bytes / 6;
    size_t echo = bytes - fresh;
    char *text = allocate(bytes);
    struct rng rng = {seed};
    FILE *file = input_create(path);

    fill_letters(text, fresh, &rng);
    for (size_t used = fresh; used < echo; used += MAX_PIECE)
        memset(text + used, (int)('a' + rng_below(&rng, 26)), used + MAX_PIECE < echo ? MAX_PIECE : echo - used);
    for (size_t used = echo; used < bytes;) {
        size_t piece = 1 + rng_below(&rng, MAX_PIECE);

        if (piece > bytes - used)
            piece = bytes - used;
        memcpy(text + used, text + rng_below(&rng, fresh - piece + 1), piece);
        used += piece;
    }
    (void)fwrite(text, 1, bytes, file);
    input_finish(file, path);
    free(text);
}

void input_c_source(const char *path, size_t n_functions, size_t n_statements)
{
    static const char operators[] = "+-*^|&";
    struct rng rng = {n_functions};
    FILE *file = input_create(path);

    for (size_t f = 0; f < n_functions; f++) {
        fprintf(file, "unsigned f%zu(unsigned *v, unsigned n)\n{\n", f);
        for (size_t i = 0; i < 8; i++)
            fprintf(file, "    unsigned a%zu = v[%zu];\n", i, i);
        for (size_t s = 0; s < n_statements; s++) {
            size_t to = rng_below(&rng, 8);
            size_t from = rng_below(&rng, 8);
            char op = operators[rng_below(&rng, sizeof(operators) - 1)];

            if (s % 5 == 4)
                fprintf(file, "    if (a%zu > %zu)\n        v[%zu] = a%zu;\n", to, rng_below(&rng, 1000), s % 64, from);
            fprintf(file, "    a%zu = (a%zu %c a%zu) + n * %zuu;\n", to, to, op, from, rng_below(&rng, 100000));
        }
        fprintf(file, "    return a0 ^ a1 ^ a2 ^ a3 ^ a4 ^ a5 ^ a6 ^ a7;\n}\n\n");
    }
    input_finish(file, path);
}

/* Overwrites a few places of the file's text, as an editor would. */
static void edit_text(char *text, size_t bytes, const struct vocabulary *words, struct rng *rng)
{
    size_t n_edits = 1 + bytes / 16384;

    for (size_t i = 0; i < n_edits; i++) {
        size_t length = 8 + rng_below(rng, 64);

        if (length < bytes)
            fill_words(text + rng_below(rng, bytes - length), length, words, rng);
    }
}

void input_git_stream(const char *path, size_t n_commits, size_t n_files, size_t file_bytes)
{
    struct vocabulary *words = allocate(sizeof(*words));
    char *text = allocate(n_files * file_bytes);
    struct rng rng = {n_commits};
    FILE *file = input_create(path);

    vocabulary_fill(words, MAX_WORDS, &rng);
    fill_words(text, n_files * file_bytes, words, &rng);
    /* Line ends, or it would all be one line to git. */
    for (size_t i = 79; i < n_files * file_bytes; i += 80)
        text[i] = '\n';
    for (size_t c = 0; c < n_commits; c++) {
        size_t which = c % n_files;
        char *part = text + which * file_bytes;

        edit_text(part, file_bytes, words, &rng);
        /* A fixed date and author: the commits' names are then the same in every run. */
        fprintf(file, "commit refs/heads/main\ncommitter A <a@example.org> %zu +0000\n", 1700000000 + c);
        fprintf(file, "data <<END\ncommit %zu\nEND\nM 100644 inline file%zu\ndata %zu\n", c, which, file_bytes);
        (void)fwrite(part, 1, file_bytes, file);
        fprintf(file, "\n");
    }
    fprintf(file, "done\n");
    input_finish(file, path);
    free(text);
    free(words);
}
