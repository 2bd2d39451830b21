/* outcome.c - see outcome.h. */
#include "tests/preload/outcome.h"
#include "tests/programs/run.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *run_by;
char dir[] = "/tmp/ghostmem-test-XXXXXX";

void make_dir(void)
{
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(chmod(dir, 0777), 0); /* some probes run as another user */
}

void remove_dir(void)
{
    static const char *const names[] = {"out", "err", "stats.json", "log"};
    char path[PATH_BYTES];

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(dir);
}

const char *required(const char *name)
{
    const char *value = getenv(name);

    cr_assert_not_null(value, "%s is not set: run make check", name);
    return value;
}

void read_file(const char *name, char *text, size_t bytes)
{
    char path[PATH_BYTES];
    FILE *file;
    size_t n = 0;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    file = fopen(path, "r");
    if (file != NULL) {
        n = fread(text, 1, bytes - 1, file);
        fclose(file);
    }
    text[n] = '\0';
}

static bool sets_backend(const char *const settings[6])
{
    for (size_t i = 0; settings != NULL && i < 6 && settings[i] != NULL; i++)
        if (strncmp(settings[i], "GHOSTMEM_FAULTS=", strlen("GHOSTMEM_FAULTS=")) == 0)
            return true;
    return false;
}

/* GHOSTMEM_TEST_FAULTS: the backend, where a test does not say. */
void run_probe(const char *name, const char *megabytes, const char *user, const char *const settings[6],
               const char *library, struct outcome *outcome)
{
    char probe[PATH_BYTES];
    char by[PATH_BYTES];
    char preload[PATH_BYTES];
    char stats[PATH_BYTES];
    char backend[64];
    const char *faults = getenv("GHOSTMEM_TEST_FAULTS");
    const char *env[12] = {"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL=C"};
    const char *argv[10] = {NULL};
    size_t n_env = 2;
    size_t n_argv = 0;
    struct run run = {.argv = argv, .env = env, .dir = dir, .output = "out", .errors = "err", .timeout_s = TIMEOUT_S};
    struct run_result result;

    snprintf(probe, sizeof probe, "%s/probe", required("GHOSTMEM_TEST_BIN"));
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s", library != NULL ? library : "");
    snprintf(stats, sizeof stats, "GHOSTMEM_STATS=%s/stats.json", dir);
    if (user != NULL) {
        argv[n_argv++] = "/usr/bin/setpriv";
        argv[n_argv++] = user;
        argv[n_argv++] = "--regid=65534";
        argv[n_argv++] = "--clear-groups";
    }
    if (run_by != NULL) {
        snprintf(by, sizeof by, "%s/%s", required("GHOSTMEM_TEST_BIN"), run_by);
        argv[n_argv++] = by;
    }
    argv[n_argv++] = probe;
    argv[n_argv++] = name;
    argv[n_argv++] = megabytes;
    if (library != NULL) {
        env[n_env++] = preload;
        env[n_env++] = stats;
        for (size_t i = 0; i < 6 && settings[i] != NULL; i++)
            env[n_env++] = settings[i];
        if (faults != NULL && !sets_backend(settings)) {
            snprintf(backend, sizeof backend, "GHOSTMEM_FAULTS=%s", faults);
            env[n_env++] = backend;
        }
    }
    cr_assert_eq(run_program(&run, &result), 0);
    cr_assert(!result.timed_out, "%s: no end after %d s", name, TIMEOUT_S);
    outcome->status = result.status;
    read_file("out", outcome->output, sizeof outcome->output);
    read_file("err", outcome->errors, sizeof outcome->errors);
    read_file("stats.json", outcome->stats, sizeof outcome->stats);
}

void run_at_limit(const char *name, const char *megabytes, const char *limit, struct outcome *outcome)
{
    run_at_limit_as(name, megabytes, limit, NULL, outcome);
}

void run_at_limit_as(const char *name, const char *megabytes, const char *limit, const char *user,
                     struct outcome *outcome)
{
    char setting[64];
    const char *settings[6] = {setting};

    snprintf(setting, sizeof setting, "GHOSTMEM_MAX_PAGES=%s", limit);
    run_probe(name, megabytes, user, settings, required("GHOSTMEM_LIB"), outcome);
}

void run_with_swap(const char *name, const char *megabytes, const char *limit, bool encrypts, const char *user,
                   struct outcome *outcome)
{
    char pages[64];
    char swap[PATH_BYTES];
    const char *settings[6] = {pages, swap, encrypts ? "GHOSTMEM_SWAP_ENCRYPT=1" : "GHOSTMEM_SWAP_ENCRYPT=0"};

    snprintf(pages, sizeof pages, "GHOSTMEM_MAX_PAGES=%s", limit);
    snprintf(swap, sizeof swap, "GHOSTMEM_SWAP=%s/swap", dir);
    run_probe(name, megabytes, user, settings, required("GHOSTMEM_LIB"), outcome);
}

bool says(const char *json, const char *key, const char *value)
{
    char text[128];

    snprintf(text, sizeof text, "\"%s\": %s", key, value);
    return strstr(json, text) != NULL;
}
