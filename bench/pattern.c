/*
 * pattern.c - see pattern.h.
 */
#define _GNU_SOURCE
#include "pattern.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Small beside any limit, and in most second-level caches, so that copying from it costs little. */
#define SOURCE_BYTES ((size_t)2 << 20)

/*
 * The language: a text is drawn from N_PHRASES phrases of one to MAX_PHRASE_WORDS words of the N_WORDS words. Phrase and word
 * number are u^PHRASE_SKEW and u^WORD_SKEW of the table, u uniform: few are frequent, as in any prose or log. Chosen so that LZ4
 * brings a 4 KiB page to a ratio of 1.6-2.0 (floor.c prints it).
 */
enum { N_WORDS = 4096, MAX_WORD = 12, N_PHRASES = 1024, MAX_PHRASE_WORDS = 6, LINE_PHRASES = 4 };
enum { WORD_SKEW = 3, PHRASE_SKEW = 8, MAX_PHRASE = MAX_PHRASE_WORDS * (MAX_WORD + 1) };

struct language {
    uint64_t state;
    uint8_t word_length[N_WORDS];
    uint8_t phrase_length[N_PHRASES];
    char word[N_WORDS][MAX_WORD];
    char phrase[N_PHRASES][MAX_PHRASE]; /* each ends in a space */
};

static uint64_t language_next(struct language *l)
{
    l->state++;
    return pattern_mix(l->state);
}

/* A number in [0, n), the more likely the smaller. */
static size_t language_skewed(struct language *l, size_t n, int skew)
{
    double u = (double)(language_next(l) >> 40) * 0x1p-24, share = (double)n;

    for (int i = 0; i < skew; i++)
        share *= u;
    return (size_t)share;
}

static void language_init(struct language *l, uint64_t seed)
{
    /* Letters about as often as in English, one entry a percent. */
    static const char letters[] = "eeeeeeeeeeeetttttttttaaaaaaaaoooooooiiiiiiinnnnnnnsssssshhhhhhrrrrrrddddllllcccuuummmwwffggyyppbbvk";

    l->state = pattern_mix(seed) << 1;
    for (size_t w = 0; w < N_WORDS; w++) {
        /* Frequent words are short. */
        size_t length = 2 + (size_t)pattern_below(language_next(l), w < 64 ? 4 : MAX_WORD - 1);

        for (size_t i = 0; i < length; i++)
            l->word[w][i] = letters[pattern_below(language_next(l), sizeof letters - 1)];
        l->word_length[w] = (uint8_t)length;
    }
    for (size_t p = 0; p < N_PHRASES; p++) {
        size_t length = 0;

        for (size_t n = 1 + pattern_below(language_next(l), MAX_PHRASE_WORDS); n > 0; n--) {
            size_t w = language_skewed(l, N_WORDS, WORD_SKEW);

            memcpy(l->phrase[p] + length, l->word[w], l->word_length[w]);
            length += l->word_length[w];
            l->phrase[p][length++] = ' ';
        }
        l->phrase_length[p] = (uint8_t)length;
    }
}

/* Write one phrase, at times the last of its line, to dst[MAX_PHRASE]; returns the bytes written. */
static size_t language_say(struct language *l, char *dst)
{
    size_t p = language_skewed(l, N_PHRASES, PHRASE_SKEW);
    size_t length = l->phrase_length[p];

    memcpy(dst, l->phrase[p], length);
    if (pattern_below(language_next(l), LINE_PHRASES) == 0)
        dst[length - 1] = '\n';
    return length;
}

static void make_text(uint64_t seed, char *dst)
{
    static struct language l;
    char piece[MAX_PHRASE];

    language_init(&l, seed);
    for (size_t at = 0; at < SOURCE_BYTES;) {
        size_t n = language_say(&l, piece);

        if (n > SOURCE_BYTES - at)
            n = SOURCE_BYTES - at;
        memcpy(dst + at, piece, n);
        at += n;
    }
}

static bool is_same_filled(const uint64_t *page)
{
    return memcmp(page, page + 1, PAGE_BYTES - sizeof *page) == 0;
}

/* Take pages spread evenly over one file, up to quota_bytes; returns the bytes taken. */
static size_t take_from_file(const char *path, char *dst, size_t quota_bytes)
{
    size_t taken_bytes = 0;
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return 0;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size >= 4 * quota_bytes) {
        uint64_t file_pages = (uint64_t)st.st_size / PAGE_BYTES;
        uint64_t step = file_pages / (quota_bytes / PAGE_BYTES);

        for (uint64_t n = 0; n < file_pages && taken_bytes < quota_bytes; n += step) {
            uint64_t page[PAGE_WORDS];

            if (pread(fd, page, PAGE_BYTES, (off_t)(n * PAGE_BYTES)) != PAGE_BYTES)
                break;
            /* A page of padding says nothing about compressing code. */
            if (is_same_filled(page))
                continue;
            memcpy(dst + taken_bytes, page, PAGE_BYTES);
            taken_bytes += PAGE_BYTES;
        }
    }
    close(fd);
    return taken_bytes;
}

static int make_binary(char *dst)
{
    static const char *const wheres[] = {"/usr/lib/gcc/*/*/cc1", "/usr/bin/python3.*", "/usr/bin/gdb", "/usr/bin/perl",
                                         "/usr/lib/*-linux-gnu/*.so.*", "/usr/bin/*"};
    const size_t quota_bytes = SOURCE_BYTES / 16;
    size_t filled_bytes = 0;

    for (size_t w = 0; w < sizeof wheres / sizeof *wheres && filled_bytes < SOURCE_BYTES; w++) {
        glob_t found;

        if (glob(wheres[w], 0, NULL, &found) != 0)
            continue;
        for (size_t i = 0; i < found.gl_pathc && filled_bytes < SOURCE_BYTES; i++) {
            size_t left_bytes = SOURCE_BYTES - filled_bytes;

            filled_bytes += take_from_file(found.gl_pathv[i], dst + filled_bytes, left_bytes < quota_bytes ? left_bytes : quota_bytes);
        }
        globfree(&found);
    }
    return filled_bytes == SOURCE_BYTES ? 0 : -ENODATA;
}

int pattern_init(struct pattern *p, enum pattern_kind kind, uint64_t seed)
{
    void *source = mmap(NULL, SOURCE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (source == MAP_FAILED)
        return -errno;
    *p = (struct pattern){.kind = kind, .seed = pattern_mix(seed), .source = source};
    if (kind == PATTERN_BINARY)
        return make_binary(source);
    make_text(seed, source);
    return 0;
}

int pattern_kind_from_name(const char *name, enum pattern_kind *kind)
{
    static const char *const names[] = {[PATTERN_TEXT] = "text", [PATTERN_BINARY] = "binary", [PATTERN_HALF] = "half",
                                        [PATTERN_SPARSE] = "sparse"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0) {
            *kind = (enum pattern_kind)i;
            return 0;
        }
    }
    return -1;
}

void pattern_fill(const struct pattern *p, uint64_t page, uint64_t *dst)
{
    uint64_t stamp = pattern_stamp(p, page);
    /* A window at any word of the source, so that pages differ in more than their stamps. */
    const uint64_t *window = p->source + pattern_below(pattern_mix(stamp), SOURCE_BYTES / 8 - PAGE_WORDS + 1);

    if (p->kind == PATTERN_HALF) {
        memcpy(dst, window, PAGE_BYTES / 2);
        for (size_t i = PAGE_WORDS / 2; i < PAGE_WORDS; i++)
            dst[i] = pattern_mix(stamp + i);
    } else if (p->kind == PATTERN_SPARSE) {
        memset(dst, 0, PAGE_BYTES);
    } else {
        memcpy(dst, window, PAGE_BYTES);
    }
    dst[pattern_spot(stamp)] = stamp;
    dst[TALLY_WORD] = pattern_tally(stamp, 0);
}

int pattern_emit(uint64_t seed, uint64_t n_bytes, FILE *out)
{
    static struct language l;
    char piece[MAX_PHRASE];

    language_init(&l, seed);
    while (n_bytes > 0) {
        size_t n = language_say(&l, piece);

        if (n > n_bytes) {
            n = (size_t)n_bytes;
            piece[n - 1] = '\n';
        }
        if (fwrite(piece, 1, n, out) != n)
            return -1;
        n_bytes -= n;
    }
    return fflush(out) == 0 ? 0 : -1;
}
