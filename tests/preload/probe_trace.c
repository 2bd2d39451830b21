/* probe_trace.c - the program and who traces it. See probe.c. */
#include "tests/preload/probe.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *copy_of(const char *text)
{
    char *copy = malloc(5000);

    CHECK(copy != NULL);
    return strcpy(copy, text);
}

/* Names that are not there, in calls that strace looks at: it reads them before the call does. */
static void calls_read_frozen_names(size_t bytes)
{
    size_t n = bytes / PAGE;
    char **names = malloc(n * sizeof *names);

    CHECK(names != NULL);
    for (size_t i = 0; i < n; i++) {
        names[i] = copy_of("/nonexistent/");
        memset(names[i] + strlen(names[i]), 'a' + (int)(i % 26), 100);
        names[i][113] = '\0';
    }
    for (size_t i = 0; i < n; i++)
        CHECK(access(names[i], F_OK) == -1 && errno == ENOENT);
    for (size_t i = 0; i < n; i++)
        free(names[i]);
    free(names);
}

const struct probe probes_trace[] = {
    {"calls_read_frozen_names", calls_read_frozen_names},
    {NULL, NULL},
};
