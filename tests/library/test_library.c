/*
 * test_library.c - programs that are written for GhostMem, in C and C++, as an ordinary user with each backend.
 *
 * From the environment: GHOSTMEM_TEST_LIBRARY, where they are, and the library that they are linked with.
 */
#include "tests/programs/run.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMEOUT_S 60
#define PATH_BYTES 512

static char dir[] = "/tmp/ghostmem-library.XXXXXX";
static char output[4096];
static char errors[4096];

static void make_dir(void)
{
    cr_assert_not_null(mkdtemp(dir));
    cr_assert(chmod(dir, 0777) == 0);
}

static void remove_dir(void)
{
    char command[sizeof dir + 16];

    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    cr_assert(system(command) == 0);
}

TestSuite(library, .init = make_dir, .fini = remove_dir);

static void read_text(const char *name, char *text, size_t bytes)
{
    char path[PATH_BYTES];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    file = fopen(path, "r");
    cr_assert_not_null(file);
    text[fread(text, 1, bytes - 1, file)] = '\0';
    fclose(file);
}

/* `PROGRAM A B C` with one setting more, as nobody where we are root and @backend is not `thread`. Returns its status. */
static int run(const char *program, const char *backend, const char *const args[3], const char *setting)
{
    static const char *const nobody[] = {"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"};
    char path[PATH_BYTES];
    char faults[64];
    const char *argv[12];
    const char *env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", faults, setting, NULL};
    const char *where = getenv("GHOSTMEM_TEST_LIBRARY");
    struct run_result result;
    size_t n = 0;

    cr_assert_not_null(where, "GHOSTMEM_TEST_LIBRARY is not set: see the Makefile");
    snprintf(path, sizeof path, "%s/%s", where, program);
    snprintf(faults, sizeof faults, "GHOSTMEM_FAULTS=%s", backend);
    for (size_t i = 0; geteuid() == 0 && strcmp(backend, "thread") != 0 && i < sizeof nobody / sizeof nobody[0]; i++)
        argv[n++] = nobody[i];
    argv[n++] = path;
    for (size_t i = 0; i < 3 && args[i] != NULL; i++)
        argv[n++] = args[i];
    argv[n] = NULL;
    cr_assert(run_program(&(struct run){.argv = argv, .env = env, .dir = dir, .output = "output", .errors = "errors",
                                        .timeout_s = TIMEOUT_S}, &result) == 0);
    cr_assert(!result.timed_out, "%s %s with %s hangs", program, args[0], backend);
    read_text("output", output, sizeof output);
    read_text("errors", errors, sizeof errors);
    return result.status;
}

static void must_end_well(const char *program, const char *backend, const char *name, const char *limit, const char *path)
{
    int status = run(program, backend, (const char *[]){name, limit, path}, NULL);

    cr_assert(status == 0, "%s %s %s with %s: status %x: %s", program, name, limit, backend, (unsigned)status, errors);
}

/* Without the preload; `thread` needs a privilege. */
static const char *const backends[] = {"signal", "segv", "thread"};

static size_t n_backends(void)
{
    return geteuid() == 0 ? 3 : 2;
}

static void must_end_well_everywhere(const char *name, const char *least)
{
    static const char *const programs[] = {"use", "use_archive", "use_static"};

    for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++)
        for (size_t k = 0; k < n_backends(); k++)
            must_end_well(programs[i], backends[k], name, i == 0 ? least : "64", NULL);
    must_end_well("use", "signal", name, "4096", NULL);
}

Test(library, blocks_of_all_sizes_keep_their_contents)
{
    must_end_well_everywhere("blocks", "5");
    must_end_well("use", "signal", "blocks", "64", dir);
    must_end_well("use", "segv", "blocks", "5", dir);
}

Test(library, what_is_pinned_stays)
{
    must_end_well_everywhere("pins", "64");
}

Test(library, what_is_pinned_before_paging_stays)
{
    must_end_well_everywhere("pins_before", "64");
    cr_assert(run("use", "signal", (const char *[]){"pins_before", "64", NULL}, "GHOSTMEM_DISABLE=1") == 0);
}

Test(library, what_is_wanted_comes_and_what_is_not_leaves)
{
    must_end_well_everywhere("hints", "64");
}

Test(library, limits_move)
{
    must_end_well_everywhere("limits", "64");
}

Test(library, settings_are_taken_once_and_as_a_whole)
{
    must_end_well_everywhere("settings", "5");
}

Test(library, versions_agree)
{
    must_end_well("use", "signal", "versions", "5", NULL);
}

Test(library, failures_say_why)
{
    must_end_well_everywhere("failures", "5");
}

Test(library, both_sides_of_a_fork_go_on)
{
    must_end_well_everywhere("children", "5");
}

Test(library, system_calls_reach_frozen_memory)
{
    must_end_well_everywhere("calls", "5");
}

Test(library, blocks_are_had_where_no_limit_can_be_kept)
{
    if (geteuid() == 0)
        cr_assert(run("use", "signal", (const char *[]){"calls", "64", NULL}, "GHOSTMEM_DISABLE=1") == 0);
    cr_assert(run("use", "signal", (const char *[]){"children", "64", NULL}, "GHOSTMEM_PROGRAMS=another") == 0);
}

Test(library, misuse_is_said_and_ignored)
{
    const char *at = errors;

    must_end_well("use", "signal", "misuse", "64", NULL);
    cr_assert_not_null(at = strstr(at, "invalid pointer: 4096 bytes inside the block"));
    cr_assert_not_null(at = strstr(at, "wrong size: the block has 16384 bytes"));
    cr_assert_not_null(at = strstr(at, "double free"));
    cr_assert_not_null(at = strstr(at, "foreign pointer"));
}

Test(library, misuse_of_small_blocks_is_one_line_each_and_the_program_goes_on)
{
    const char *at = errors;
    size_t n_lines = 0;

    must_end_well("use", "signal", "small_misuse", "64", NULL);
    cr_assert_not_null(at = strstr(at, "invalid pointer: 16 bytes inside the block"));
    cr_assert_not_null(at = strstr(at, "ghostmem_deallocate(0x"));
    cr_assert_not_null(at = strstr(at, "wrong size: the block has 112 bytes"));
    cr_assert_not_null(at = strstr(at, "ghostmem_free(0x"));
    cr_assert_not_null(at = strstr(at, "double free"));
    cr_assert_not_null(at = strstr(at, "ghostmem_resize(0x"));
    cr_assert_not_null(at = strstr(at, "double free"));
    cr_assert_not_null(at = strstr(at, "foreign pointer"));
    for (at = errors; (at = strchr(at, '\n')) != NULL; at++)
        n_lines++;
    cr_assert(n_lines == 5, "%s", errors);
}

Test(library, small_blocks_share_pages_and_are_freed_untouched)
{
    must_end_well_everywhere("nodes", "64");
}

Test(library, misuse_ends_the_program_where_it_is_to)
{
    int status = run("use", "signal", (const char *[]){"misuse", "64", NULL}, "GHOSTMEM_MISUSE=abort");

    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    cr_assert_not_null(strstr(errors, "invalid pointer"));
    cr_assert_null(strstr(errors, "wrong size"));
}

static void malloc_is(const char *program, const char *whose, const char *setting)
{
    cr_assert(run(program, "signal", (const char *[]){"malloc", "64", NULL}, setting) == 0, "%s: %s", program, errors);
    cr_assert(strcmp(output, whose) == 0, "%s: %s with %s", program, output, setting);
}

Test(library, malloc_is_libcs_unless_somebody_asks)
{
    char preload[PATH_BYTES];

    malloc_is("use", "libc\n", NULL);
    malloc_is("use", "ghost\n", "GHOSTMEM_INTERPOSE=1");
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s/libghostmem.so", getenv("GHOSTMEM_TEST_LIBRARY"));
    malloc_is("use", "ghost\n", preload);
    malloc_is("use_archive", "libc\n", NULL);
    malloc_is("use_static", "libc\n", NULL);
}

Test(library, plug_ins_may_bring_it)
{
    char path[PATH_BYTES];

    snprintf(path, sizeof path, "%s/libghostmem.so", getenv("GHOSTMEM_TEST_LIBRARY"));
    for (size_t i = 0; i < n_backends(); i++) {
        int status = run("use_dlopen", backends[i], (const char *[]){path, NULL, NULL}, NULL);

        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 7, "%s: status %x: %s", backends[i], (unsigned)status, errors);
    }
}

/* ---- C++ ---- */

static void cpp(const char *name)
{
    static const char *const programs[] = {"use_cpp17", "use_cpp20"};

    for (size_t i = 0; i < 2; i++)
        for (size_t k = 0; k < n_backends(); k++)
            must_end_well(programs[i], backends[k], name, NULL, NULL);
}

Test(library, containers_hold_what_they_should)
{
    cpp("containers");
}

Test(library, memory_resources_serve_containers)
{
    cpp("resources");
}

Test(library, pins_and_limits_end_with_their_scope)
{
    cpp("scopes");
}

Test(library, the_manager_is_as_specified)
{
    cpp("manager");
    cpp("manager_alone");
    cpp("manager_with_disk");
}

Test(library, the_specifications_examples_run)
{
    cpp("allocator");
    cpp("version");
}

/* ---- examples ---- */

Test(library, examples_run)
{
    for (size_t k = 0; k < n_backends(); k++) {
        must_end_well("documents", backends[k], "1024", NULL, NULL);
        cr_assert_not_null(strstr(output, "2000 documents, 31 MiB, in 4 MiB"), "%s", output);
        must_end_well("pmr_map", backends[k], NULL, NULL, NULL);
    }
}
