/*
 * plain.c - see plain.h.
 */
#include "tests/programs/plain.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static bool path_of(char path[PATH_MAX], const char *key, const char *end)
{
    const char *dir = getenv("GHOSTMEM_TEST_PLAIN");

    return dir && *dir && snprintf(path, PATH_MAX, "%s/%s%s", dir, key, end) < PATH_MAX;
}

bool plain_load(const char *key, char *text, size_t bytes)
{
    char path[PATH_MAX];
    FILE *file = path_of(path, key, "") ? fopen(path, "r") : NULL;
    size_t length = file ? fread(text, 1, bytes, file) : 0;

    if (length == bytes)
        length = 0;
    text[length] = '\0';
    if (file)
        (void)fclose(file);
    return length > 0;
}

/* Whole, or not at all: the name comes last. */
void plain_keep(const char *key, const char *text)
{
    char path[PATH_MAX];
    char unfinished[PATH_MAX];
    char end[32];
    FILE *file;
    bool written;

    (void)snprintf(end, sizeof(end), ".%ld", (long)getpid());
    if (!path_of(path, key, "") || !path_of(unfinished, key, end))
        return;
    file = fopen(unfinished, "w");
    written = file && fputs(text, file) >= 0;
    if (file && fclose(file) != 0)
        written = false;
    if (!written || rename(unfinished, path) != 0)
        (void)unlink(unfinished);
}
