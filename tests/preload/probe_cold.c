/* probe_cold.c - memory whose images are squeezed: they stay cold until the statistics say so. */
#include "tests/preload/crash.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOK_US 50000
#define MOST_LOOKS 1200

/* 0 without the library. */
static unsigned long value_of(const char *key)
{
    size_t (*stats)(char *buffer, size_t bytes);
    static char text[65536];
    char quoted[64];
    const char *found;

    *(void **)(void *)&stats = dlsym(RTLD_DEFAULT, "ghostmem_stats");
    if (stats == NULL || stats(text, sizeof text) == 0)
        return 0;
    snprintf(quoted, sizeof quoted, "\"%s\": ", key);
    found = strstr(text, quoted);
    return found != NULL ? strtoul(found + strlen(quoted), NULL, 10) : 0;
}

static void wait_for(const char *key, unsigned long at_least)
{
    if (dlsym(RTLD_DEFAULT, "ghostmem_stats") == NULL)
        return;
    for (unsigned i = 0; i < MOST_LOOKS && value_of(key) < at_least; i++)
        usleep(LOOK_US);
    CHECK(value_of(key) >= at_least);
}

static void child_checks(const uint64_t *p, size_t bytes, uint64_t salt)
{
    pid_t child = fork();
    int status;

    CHECK(child >= 0);
    if (child == 0) {
        check(p, bytes, salt);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

/* While images are gathered, squeezed and put in their places, and while a dictionary is trained, children come and go. */
static void cold_images_survive_forks(size_t bytes)
{
    uint64_t *p = filled(bytes, 3);

    for (unsigned i = 0; i < 20; i++) {
        usleep(LOOK_US);
        child_checks(p, i % 10 == 9 ? bytes : PAGE, 3);
    }
    fill(p, bytes, 3);
    wait_for("cold_images", 1000);
    wait_for("cold_dictionaries", 1);
    child_checks(p, bytes, 3);
    check(p, bytes, 3);
    fill(p, bytes / 2, 3);
    p = realloc(p, 2 * bytes);
    CHECK(p != NULL);
    check(p, bytes, 3);
    free(p);
}

/* Both with a dictionary and without one. */
static void crashes_with_cold_memory(size_t bytes)
{
    uint64_t *p = malloc(bytes);

    CHECK(p != NULL);
    for (unsigned round = 0; round < 2; round++) {
        for (size_t i = 0; i < bytes / PAGE / (1 + round); i++)
            for (size_t k = 0; k < CRASH_WORDS; k++)
                p[i * CRASH_WORDS + k] = crash_word(i, k);
        wait_for("cold_images", 500);
        wait_for("cold_dictionaries", round == 0);
    }
    wait_for("cold_squeezed", 1500 * (bytes >> 20) / 8);
    printf("%p\n", (void *)p);
    fflush(stdout);
    usleep(LOOK_US);
    abort();
}

const struct probe probes_cold[] = {
    {"cold_images_survive_forks", cold_images_survive_forks},
    {"crashes_with_cold_memory", crashes_with_cold_memory},
    {NULL, NULL},
};
