/* said.c - see said.h. */
#define _XOPEN_SOURCE 700
#include "tests/command/said.h"

#include "tests/programs/run.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMEOUT_S 60

char dir[] = "/tmp/ghostmem-test-XXXXXX";
const char *as_user;
const char *const *with_settings;

void make_dir(void)
{
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(chmod(dir, 0777), 0); /* some run as another user */
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

void remove_dir(void)
{
    (void)nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static const char *required(const char *name)
{
    const char *value = getenv(name);

    cr_assert_not_null(value, "%s is not set: run make check", name);
    return value;
}

static const char *join(const char *directory, const char *name)
{
    static char paths[4][PATH_MAX];
    static unsigned next;
    char *path = paths[next++ % 4];

    (void)snprintf(path, PATH_MAX, "%s/%s", directory, name);
    return path;
}

const char *command_path(void)
{
    static char path[PATH_MAX];
    const char *library = required("GHOSTMEM_LIB");

    (void)snprintf(path, sizeof path, "%.*s/ghostmem", (int)(strrchr(library, '/') - library), library);
    return path;
}

const char *in_dir(const char *name)
{
    return join(dir, name);
}

const char *of_ours(const char *name)
{
    return join(required("GHOSTMEM_TEST_BIN"), name);
}

static void read_file(const char *name, char *text, size_t bytes)
{
    FILE *file = fopen(in_dir(name), "r");
    size_t n = 0;

    if (file != NULL) {
        n = fread(text, 1, bytes - 1, file);
        fclose(file);
    }
    text[n] = '\0';
}

void run_words(struct said *said, const char *const *words)
{
    const char *argv[32] = {NULL};
    const char *env[16] = {"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL=C"};
    struct run run = {.argv = argv, .env = env, .dir = dir, .output = ".out", .errors = ".err", .timeout_s = TIMEOUT_S};
    struct run_result result;
    size_t n = 0;

    if (as_user != NULL) {
        argv[n++] = "/usr/bin/setpriv";
        argv[n++] = as_user;
        argv[n++] = "--regid=65534";
        argv[n++] = "--clear-groups";
    }
    while (*words != NULL && n + 1 < sizeof argv / sizeof argv[0])
        argv[n++] = *words++;
    for (size_t i = 0; with_settings != NULL && with_settings[i] != NULL; i++)
        env[2 + i] = with_settings[i];
    cr_assert_eq(run_program(&run, &result), 0);
    cr_assert(!result.timed_out, "no end after %d s", TIMEOUT_S);
    said->status = result.status;
    read_file(".out", said->out, sizeof said->out);
    read_file(".err", said->err, sizeof said->err);
}

bool ended(const struct said *said, int status)
{
    return WIFEXITED(said->status) && WEXITSTATUS(said->status) == status;
}

bool refused(const struct said *said, int status, const char *text)
{
    const char *end = strchr(said->err, '\n');

    return ended(said, status) && said->out[0] == '\0' && strncmp(said->err, "ghostmem: ", strlen("ghostmem: ")) == 0 &&
           strstr(said->err, text) != NULL && end != NULL && end[1] == '\0';
}

void write_file(const char *name, const void *data, size_t bytes, unsigned mode)
{
    const char *path = in_dir(name);
    FILE *file = fopen(path, "w");

    cr_assert_not_null(file);
    cr_assert_eq(fwrite(data, 1, bytes, file), bytes);
    cr_assert_eq(fclose(file), 0);
    cr_assert_eq(chmod(path, (mode_t)mode), 0);
}

void write_text(const char *name, const char *text, unsigned mode)
{
    write_file(name, text, strlen(text), mode);
}

void copy_file(const char *from, const char *name, unsigned mode)
{
    FILE *file = fopen(from, "r");
    struct stat status;
    char *data;

    cr_assert(file != NULL && fstat(fileno(file), &status) == 0, "%s", from);
    data = malloc((size_t)status.st_size);
    cr_assert_not_null(data);
    cr_assert_eq(fread(data, 1, (size_t)status.st_size, file), (size_t)status.st_size);
    fclose(file);
    write_file(name, data, (size_t)status.st_size, mode);
    free(data);
}
