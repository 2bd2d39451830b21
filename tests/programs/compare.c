/*
 * compare.c - see compare.h.
 */
#include "compare.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    CHUNK_BYTES = 1 << 20 /* a multiple of eight */
};

struct pair {
    FILE *left;
    FILE *right;
    char *left_chunk;
    char *right_chunk;
};

/* The chunks are known to differ within their first @length bytes, or one is shorter. */
static size_t first_difference(const struct pair *pair, size_t length)
{
    size_t i = 0;

    while (i < length && pair->left_chunk[i] == pair->right_chunk[i])
        i++;
    return i;
}

static bool streams_equal(const struct pair *pair, size_t *difference_at, bool *shorter)
{
    for (size_t offset = 0;;) {
        size_t n_left = fread(pair->left_chunk, 1, CHUNK_BYTES, pair->left);
        size_t n_right = fread(pair->right_chunk, 1, CHUNK_BYTES, pair->right);
        size_t common = n_left < n_right ? n_left : n_right;

        if (memcmp(pair->left_chunk, pair->right_chunk, common) != 0 || n_left != n_right) {
            size_t at = first_difference(pair, common);

            *difference_at = offset + at;
            *shorter = at == common;
            return false;
        }
        if (n_left == 0)
            return !ferror(pair->left) && !ferror(pair->right);
        offset += n_left;
    }
}

bool files_equal(const char *left, const char *right, char *why, size_t why_bytes)
{
    struct pair pair = {fopen(left, "r"), fopen(right, "r"), malloc(CHUNK_BYTES), malloc(CHUNK_BYTES)};
    size_t at = 0;
    bool shorter = false;
    bool equal = false;

    if (!pair.left || !pair.right || !pair.left_chunk || !pair.right_chunk) {
        (void)snprintf(why, why_bytes, "cannot compare %s and %s: %s", left, right, strerror(errno));
    } else {
        equal = streams_equal(&pair, &at, &shorter);
        if (!equal)
            (void)snprintf(why, why_bytes, "%s and %s differ: %s byte %zu", left, right,
                           shorter ? "one of them ends at" : "first at", at);
    }
    free(pair.right_chunk);
    free(pair.left_chunk);
    if (pair.right)
        (void)fclose(pair.right);
    if (pair.left)
        (void)fclose(pair.left);
    return equal;
}

static bool is_regular(const char *path)
{
    struct stat status;

    return lstat(path, &status) == 0 && S_ISREG(status.st_mode);
}

/* Compares each regular file of @left with its namesake in @right. */
static bool one_way(const char *left, const char *right, size_t *n_files, char *why, size_t why_bytes)
{
    DIR *dir = opendir(left);
    const struct dirent *entry;
    bool equal = dir != NULL;

    if (!dir)
        (void)snprintf(why, why_bytes, "cannot read %s: %s", left, strerror(errno));
    while (equal && (entry = readdir(dir))) {
        char left_path[PATH_MAX];
        char right_path[PATH_MAX];

        (void)snprintf(left_path, sizeof(left_path), "%s/%s", left, entry->d_name);
        (void)snprintf(right_path, sizeof(right_path), "%s/%s", right, entry->d_name);
        if (!is_regular(left_path))
            continue;
        equal = files_equal(left_path, right_path, why, why_bytes);
        ++*n_files;
    }
    if (dir)
        (void)closedir(dir);
    return equal;
}

static size_t count_regular(const char *path)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;
    size_t n = 0;

    while (dir && (entry = readdir(dir))) {
        char full[PATH_MAX];

        (void)snprintf(full, sizeof(full), "%s/%s", path, entry->d_name);
        n += is_regular(full);
    }
    if (dir)
        (void)closedir(dir);
    return n;
}

bool directories_equal(const char *left, const char *right, size_t *n_files, char *why, size_t why_bytes)
{
    size_t n_right = count_regular(right);

    *n_files = 0;
    if (!one_way(left, right, n_files, why, why_bytes))
        return false;
    /* All of the left's are in the right; a file more in the right can only be one that the left lacks. */
    if (n_right != *n_files) {
        (void)snprintf(why, why_bytes, "%s has %zu files, %s has %zu", left, *n_files, right, n_right);
        return false;
    }
    return true;
}

/* Each step can be undone, so that files of which one word differs never have the same sum. */
static uint64_t sum_up(uint64_t sum, const char *chunk, size_t length)
{
    for (size_t at = 0; at < length; at += sizeof(uint64_t)) {
        uint64_t word = 0;

        memcpy(&word, chunk + at, length - at < sizeof(word) ? length - at : sizeof(word));
        sum = (sum ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        sum = sum << 29 | sum >> 35;
    }
    return sum;
}

static bool describe_file(const char *path, const char *name, char *text, size_t text_bytes)
{
    FILE *file = fopen(path, "r");
    char *chunk = malloc(CHUNK_BYTES);
    bool described = false;

    if (file && chunk) {
        size_t used = strlen(text);
        uint64_t sum = 0;
        size_t bytes = 0;
        size_t length;

        while ((length = fread(chunk, 1, CHUNK_BYTES, file)) > 0) {
            sum = sum_up(sum, chunk, length);
            bytes += length;
        }
        described = !ferror(file) && (size_t)snprintf(text + used, text_bytes - used, "%s %zu %016" PRIx64 "\n", name, bytes,
                                                      sum) < text_bytes - used;
    }
    free(chunk);
    if (file)
        (void)fclose(file);
    return described;
}

bool files_describe(const char *path, const char *beside, size_t *n_files, char *text, size_t text_bytes)
{
    struct dirent **entries;
    int n = scandir(path, &entries, NULL, alphasort);
    bool described = n >= 0;

    *n_files = 0;
    text[0] = '\0';
    for (int i = 0; i < n; i++) {
        char full[PATH_MAX];

        (void)snprintf(full, sizeof(full), "%s/%s", path, entries[i]->d_name);
        if (described && is_regular(full)) {
            described = describe_file(full, entries[i]->d_name, text, text_bytes);
            ++*n_files;
        }
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
    return described && describe_file(beside, "/", text, text_bytes);
}

const char *file_excerpt(const char *path, char *text, size_t text_bytes)
{
    FILE *file = fopen(path, "r");
    size_t length = file ? fread(text, 1, text_bytes - 1, file) : 0;

    text[length] = '\0';
    for (size_t i = 0; i < length; i++)
        if (text[i] == '\n')
            text[i] = i + 1 < length ? '|' : '\0';
    if (file)
        (void)fclose(file);
    return text;
}
