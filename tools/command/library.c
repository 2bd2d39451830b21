/* library.c - see library.h. */
#include "tools/command/library.h"

#include "tools/command/command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIBRARY "libghostmem.so"
#define SEPARATORS ": " /* Source: ld.so(8), LD_PRELOAD */

/* Beside the command first: in the build tree ../lib would be somebody else's. */
static const char *const places[] = {"", "../lib/", "../lib64/", "../lib/x86_64-linux-gnu/", "../lib/aarch64-linux-gnu/"};
#define N_PLACES (sizeof places / sizeof places[0])

int library_find(char path[PATH_MAX])
{
    char self[PATH_MAX];
    char candidate[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    size_t directory;

    if (length < 0)
        return command_fail(-1, "/proc/self/exe cannot be read, which says where " LIBRARY " is: is /proc there?");
    self[length] = '\0';
    directory = (size_t)(strrchr(self, '/') - self) + 1;
    for (size_t i = 0; i < N_PLACES; i++) {
        if (snprintf(candidate, sizeof candidate, "%.*s%s" LIBRARY, (int)directory, self, places[i]) >= (int)sizeof candidate ||
            realpath(candidate, path) == NULL || access(path, R_OK) != 0)
            continue;
        if (strpbrk(path, SEPARATORS "$") == NULL)
            return 0;
        return command_fail(-1, "%s: a path with a space, a colon or a dollar cannot stand in LD_PRELOAD", path);
    }
    return command_fail(-1, LIBRARY " is neither in %.*s nor in lib beside it", (int)directory, self);
}

static int is_library(const char *entry, size_t length)
{
    const size_t n = sizeof LIBRARY - 1;

    return length >= n && memcmp(entry + length - n, LIBRARY, n) == 0 && (length == n || entry[length - n - 1] == '/');
}

int library_preload(const char *path)
{
    const char *old = getenv("LD_PRELOAD");
    char *list = malloc(strlen(path) + 1 + (old != NULL ? strlen(old) : 0) + 1);
    int error;

    if (list == NULL)
        return -1;
    strcpy(list, path);
    while (old != NULL && *old != '\0') {
        size_t length = strcspn(old, SEPARATORS);

        if (length > 0 && !is_library(old, length)) {
            strcat(list, ":");
            strncat(list, old, length);
        }
        old += length + strspn(old + length, SEPARATORS);
    }
    error = setenv("LD_PRELOAD", list, 1);
    free(list);
    return error;
}
