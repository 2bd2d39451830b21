/*
 * test_core.c - core files: what ghostmem-core puts back, page by page, and what it says where it cannot.
 *
 * The kernel's own core files, in the working directory of the program: where it is set up otherwise
 * (/proc/sys/kernel/core_pattern), these tests are skipped. From the environment: GHOSTMEM_LIB and GHOSTMEM_TEST_BIN;
 * ghostmem-core lies beside the library.
 */
#include "tests/preload/crash.h"
#include "tests/preload/outcome.h"
#include "tests/programs/run.h"

#include "core/corefile.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MEGABYTES 8
#define N_PAGES (((size_t)MEGABYTES << 20) / PAGE)
#define LIMIT 64
#define NOTHING_SAID ""
/* What is written of it, holes not counted: a core file of all that is reserved must not fill the disk. */
#define LARGEST_CORE ((rlim_t)256 << 20)

static char core[2 * PATH_BYTES];
static char restored[2 * PATH_BYTES];

static void begin(void)
{
    make_dir();
    snprintf(core, sizeof core, "%s/core", dir);
    snprintf(restored, sizeof restored, "%s/core.restored", dir);
}

static void end(void)
{
    DIR *names = opendir(dir);
    struct dirent *name;
    char path[2 * PATH_BYTES];

    while (names != NULL && (name = readdir(names)) != NULL) {
        snprintf(path, sizeof path, "%s/%s", dir, name->d_name);
        (void)unlink(path);
    }
    if (names != NULL)
        closedir(names);
    (void)rmdir(dir);
}

TestSuite(core, .init = begin, .fini = end);

/* ---- getting one ---- */

static void skip_without_core_files(void)
{
    struct rlimit limit;
    char pattern[256] = "";
    FILE *file = fopen("/proc/sys/kernel/core_pattern", "r");

    if (file != NULL && fgets(pattern, sizeof pattern, file) == NULL)
        pattern[0] = '\0';
    if (file != NULL)
        fclose(file);
    if (pattern[0] == '\0' || pattern[0] == '|' || strchr(pattern, '/') != NULL || strncmp(pattern, "core", 4) != 0)
        cr_skip_test("core files of this machine go elsewhere: /proc/sys/kernel/core_pattern");
    cr_assert_eq(getrlimit(RLIMIT_CORE, &limit), 0);
    if (limit.rlim_max < LARGEST_CORE)
        cr_skip_test("core files are limited here: ulimit -H -c");
    limit.rlim_cur = LARGEST_CORE;
    cr_assert_eq(setrlimit(RLIMIT_CORE, &limit), 0);
}

/* It may have the process's number behind its name. */
static void name_core(void)
{
    DIR *names = opendir(dir);
    struct dirent *name;
    char path[2 * PATH_BYTES];

    cr_assert_not_null(names);
    while ((name = readdir(names)) != NULL)
        if (strncmp(name->d_name, "core", 4) == 0) {
            snprintf(path, sizeof path, "%s/%s", dir, name->d_name);
            cr_assert_eq(rename(path, core), 0);
            closedir(names);
            return;
        }
    cr_assert_fail("there is no core file");
}

/* Run the probe until it crashes. Returns where its block was; @more: up to four settings, NULL: without the library. */
static uint64_t crash(const char *probe, const char *const more[4], const struct rlimit *limit, char errors[4096])
{
    char program[PATH_BYTES];
    char preload[PATH_BYTES];
    char pages[64];
    char output[256];
    const char *argv[] = {program, probe, "8", NULL};
    const char *env[8] = {"LC_ALL=C", preload, pages};
    struct run run = {.argv = argv, .env = env, .dir = dir, .output = "out", .errors = "err", .timeout_s = TIMEOUT_S,
                      .may_dump_core = true};
    struct run_result result;

    skip_without_core_files();
    if (limit != NULL)
        cr_assert_eq(setrlimit(RLIMIT_CORE, limit), 0);
    snprintf(program, sizeof program, "%s/probe", required("GHOSTMEM_TEST_BIN"));
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s", more != NULL ? required("GHOSTMEM_LIB") : "");
    snprintf(pages, sizeof pages, "GHOSTMEM_MAX_PAGES=%d", LIMIT);
    for (size_t i = 0; more != NULL && i < 4 && more[i] != NULL; i++)
        env[3 + i] = more[i];
    cr_assert_eq(run_program(&run, &result), 0);
    cr_assert(!result.timed_out && WIFSIGNALED(result.status), "status %#x", (unsigned)result.status);
    read_file("out", output, sizeof output);
    read_file("err", errors, 4096);
    return strtoull(output, NULL, 16);
}

/* ---- the tool ---- */

/* Its exit status; what it said on stderr in @errors. */
static int restore(const char *from, char errors[4096])
{
    char tool[PATH_BYTES];
    const char *library = required("GHOSTMEM_LIB");
    const char *slash = strrchr(library, '/');
    const char *argv[] = {tool, from, restored, NULL};
    const char *env[] = {"LC_ALL=C", NULL};
    struct run run = {.argv = argv, .env = env, .dir = dir, .output = "tool-out", .errors = "tool-err", .timeout_s = TIMEOUT_S};
    struct run_result result;

    snprintf(tool, sizeof tool, "%.*s/ghostmem-core", (int)(slash - library), library);
    cr_assert_eq(run_program(&run, &result), 0);
    read_file("tool-err", errors, 4096);
    cr_assert(!result.timed_out && WIFEXITED(result.status), "status %#x, %s", (unsigned)result.status, errors);
    return WEXITSTATUS(result.status);
}

static void expect_refusal(const char *from, const char *what)
{
    char errors[4096];
    int status = restore(from, errors);

    cr_assert_eq(status, 2, "status %d, %s", status, errors);
    cr_assert_not_null(strstr(errors, what), "%s", errors);
    cr_assert(strncmp(errors, "ghostmem-core: ", 15) == 0 && strchr(errors, '\n') == errors + strlen(errors) - 1, "%s", errors);
    cr_assert_eq(access(restored, F_OK), -1, "a file is left");
}

/* ---- reading the result, by code of our own ---- */

/* A page of the process's memory. False: it is not in the file. */
static bool read_page(int fd, uint64_t address, void *page)
{
    Elf64_Ehdr header;

    cr_assert_eq(pread(fd, &header, sizeof header, 0), (ssize_t)sizeof header);
    for (size_t i = 0; i < header.e_phnum; i++) {
        Elf64_Phdr segment;

        cr_assert_eq(pread(fd, &segment, sizeof segment, (off_t)(header.e_phoff + i * sizeof segment)), (ssize_t)sizeof segment);
        if (segment.p_type == PT_LOAD && address - segment.p_vaddr < segment.p_filesz)
            return pread(fd, page, PAGE, (off_t)(segment.p_offset + (address - segment.p_vaddr))) == (ssize_t)PAGE;
    }
    return false;
}

struct tally {
    size_t n_right;
    size_t n_zero; /* or not there */
    size_t n_wrong;
};

static struct tally compare(const char *path, uint64_t block)
{
    struct tally tally = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    cr_assert_geq(fd, 0, "%s", path);
    for (size_t i = 0; i < N_PAGES; i++) {
        static const uint64_t zeros[CRASH_WORDS];
        uint64_t words[CRASH_WORDS] = {0};
        bool right = true;

        (void)read_page(fd, block + i * PAGE, words);
        for (size_t k = 0; k < CRASH_WORDS; k++)
            right = right && words[k] == crash_word(i, k);
        if (right)
            tally.n_right++;
        else if (memcmp(words, zeros, sizeof zeros) == 0)
            tally.n_zero++;
        else
            tally.n_wrong++;
    }
    close(fd);
    return tally;
}

/* ---- the tests ---- */

static const char *const backends[] = {"GHOSTMEM_FAULTS=thread", "GHOSTMEM_FAULTS=signal", "GHOSTMEM_FAULTS=segv"};
#define N_BACKENDS (sizeof backends / sizeof backends[0])

static void crash_and_restore(const char *probe, const char *faults)
{
    const char *settings[4] = {faults};
    char errors[4096];
    uint64_t block = crash(probe, settings, NULL, errors);
    struct tally tally;
    int status;

    name_core();
    tally = compare(core, block);
    cr_assert_gt(tally.n_zero, N_PAGES / 2, "%s: without the tool %zu pages are zeros", faults, tally.n_zero);
    cr_assert_eq(tally.n_wrong, 0, "%s", faults);
    status = restore(core, errors);
    cr_assert_eq(status, 0, "%s: status %d, %s", faults, status, errors);
    cr_assert_str_eq(errors, NOTHING_SAID);
    tally = compare(restored, block);
    cr_assert_eq(tally.n_right, N_PAGES, "%s: %zu right, %zu zeros, %zu wrong", faults, tally.n_right, tally.n_zero, tally.n_wrong);
}

Test(core, every_page_of_a_program_that_writes_wildly_is_restored)
{
    for (size_t i = 0; i < N_BACKENDS; i++) {
        crash_and_restore("crashes_with_frozen_memory", backends[i]);
        end();
        cr_assert_eq(mkdir(dir, 0777), 0);
    }
}

Test(core, every_page_of_a_program_that_aborts_is_restored)
{
    for (size_t i = 0; i < N_BACKENDS; i++) {
        crash_and_restore("aborts_with_frozen_memory", backends[i]);
        end();
        cr_assert_eq(mkdir(dir, 0777), 0);
    }
}

/* Not of all that is reserved: looking at each page of a terabyte takes the kernel minutes. */
Test(core, program_whose_heap_has_grown_leaves_a_file_of_its_size, .timeout = 60)
{
    for (size_t i = 0; i < N_BACKENDS; i++) {
        struct stat status;

        crash_and_restore("crashes_after_growing", backends[i]);
        cr_assert_eq(stat(core, &status), 0);
        cr_assert_lt(status.st_size, (off_t)4 << 30, "%s: %ld MiB", backends[i], (long)(status.st_size >> 20));
        end();
        cr_assert_eq(mkdir(dir, 0777), 0);
    }
}

Test(core, debugger_shows_restored_pages)
{
    const char *settings[4] = {"GHOSTMEM_FAULTS=signal"};
    char probe[PATH_BYTES];
    char text[4096];
    char expected[64];
    const char *argv[] = {"gdb", "-nx", "-batch", "-ex", "print/x crash_block[700 * 512]", "-ex", "where", probe, restored, NULL};
    const char *env[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", "DEBUGINFOD_URLS=", NULL};
    struct run run = {.argv = argv, .env = env, .dir = dir, .output = "out", .errors = "err", .timeout_s = TIMEOUT_S};
    struct run_result result;

    (void)crash("crashes_with_frozen_memory", settings, NULL, text);
    name_core();
    cr_assert_eq(restore(core, text), 0, "%s", text);
    snprintf(probe, sizeof probe, "%s/probe", required("GHOSTMEM_TEST_BIN"));
    cr_assert_eq(run_program(&run, &result), 0);
    read_file("out", text, sizeof text);
    snprintf(expected, sizeof expected, "$1 = %#lx\n", (unsigned long)crash_word(700, 0));
    cr_assert_not_null(strstr(text, expected), "%s", text);
    cr_assert_not_null(strstr(text, "write_wildly"), "%s", text);
}

Test(core, images_that_were_squeezed_are_restored_with_their_dictionary, .timeout = 60)
{
    crash_and_restore("crashes_with_cold_memory", "GHOSTMEM_FAULTS=signal");
}

Test(core, images_in_a_swap_file_are_counted_and_their_pages_left)
{
    char swap[PATH_BYTES];
    const char *settings[4] = {"GHOSTMEM_FAULTS=signal", swap, "GHOSTMEM_POOL=1M"};
    char errors[4096];
    uint64_t block;
    struct tally tally;
    size_t n_missing = 0;
    size_t n_swapped = 0;

    snprintf(swap, sizeof swap, "GHOSTMEM_SWAP=%s", dir);
    block = crash("crashes_with_frozen_memory", settings, NULL, errors);
    name_core();
    cr_assert_eq(restore(core, errors), 1, "%s", errors);
    cr_assert_eq(sscanf(errors, "ghostmem-core: %zu pages could not be restored and are as in the core file: %zu in a swap file",
                        &n_missing, &n_swapped), 2, "%s", errors);
    cr_assert(n_swapped > 0 && n_missing == n_swapped, "%s", errors);
    tally = compare(restored, block);
    cr_assert_eq(tally.n_wrong, 0);
    cr_assert_eq(tally.n_zero, n_swapped, "%zu zeros, %s", tally.n_zero, errors);
}

/* Whatever is restored is right, and whatever is not is counted. */
Test(core, pages_in_transit_are_counted)
{
    for (size_t i = 0; i < 3 * N_BACKENDS; i++) {
        const char *settings[4] = {backends[i % N_BACKENDS]};
        char errors[4096];
        uint64_t block = crash("crashes_at_work", settings, NULL, errors);
        struct tally tally;
        size_t n_missing = 0;
        int status;

        name_core();
        status = restore(core, errors);
        (void)sscanf(errors, "ghostmem-core: %zu pages", &n_missing);
        cr_assert_eq(status, n_missing > 0, "%s: status %d, %s", settings[0], status, errors);
        tally = compare(restored, block);
        cr_assert_eq(tally.n_wrong, 0, "%s", settings[0]);
        cr_assert_leq(tally.n_zero, n_missing, "%s: %zu zeros, %s", settings[0], tally.n_zero, errors);
        end();
        cr_assert_eq(mkdir(dir, 0777), 0);
    }
}

/* As a kernel leaves it that does not dump what was never written: the segment moves. */
Test(core, segment_without_room_for_its_pages_gets_it)
{
    const char *settings[4] = {"GHOSTMEM_FAULTS=signal"};
    char errors[4096];
    uint64_t block = crash("crashes_with_frozen_memory", settings, NULL, errors);
    Elf64_Ehdr header;
    struct tally tally;
    bool found = false;
    int fd;

    name_core();
    fd = open(core, O_RDWR | O_CLOEXEC);
    cr_assert_eq(pread(fd, &header, sizeof header, 0), (ssize_t)sizeof header);
    for (size_t i = 0; i < header.e_phnum; i++) {
        Elf64_Phdr segment;
        off_t at = (off_t)(header.e_phoff + i * sizeof segment);

        cr_assert_eq(pread(fd, &segment, sizeof segment, at), (ssize_t)sizeof segment);
        if (segment.p_type != PT_LOAD || block - segment.p_vaddr >= segment.p_memsz)
            continue;
        segment.p_filesz = block - segment.p_vaddr + PAGE;
        cr_assert_eq(pwrite(fd, &segment, sizeof segment, at), (ssize_t)sizeof segment);
        found = true;
    }
    close(fd);
    cr_assert(found);
    cr_assert_eq(restore(core, errors), 0, "%s", errors);
    tally = compare(restored, block);
    cr_assert_eq(tally.n_wrong, 0);
    cr_assert_leq(tally.n_zero, LIMIT, "%zu zeros; only resident pages were cut off", tally.n_zero);
}

/* ---- what is refused ---- */

/* The core file's marker, mapped; NULL where there is none. */
static struct corefile *marker_of(unsigned char *data, size_t bytes)
{
    for (size_t at = 0; at + sizeof(struct corefile) <= bytes; at += sizeof(uint64_t)) {
        struct corefile *marker = (struct corefile *)(void *)(data + at);

        if (marker->magic[0] == COREFILE_MAGIC_1 && marker->magic[1] == COREFILE_MAGIC_2)
            return marker;
    }
    return NULL;
}

Test(core, what_is_not_a_whole_core_file_of_this_version_is_refused)
{
    const char *settings[4] = {"GHOSTMEM_FAULTS=signal"};
    char errors[4096];
    struct corefile *marker;
    struct stat status;
    unsigned char *data;
    int fd;

    (void)crash("crashes_with_frozen_memory", settings, NULL, errors);
    name_core();
    cr_assert_eq(restore(core, errors), 0, "%s", errors);
    cr_assert_eq(unlink(restored), 0);
    cr_assert_eq(stat(core, &status), 0);
    fd = open(core, O_RDWR | O_CLOEXEC);
    data = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    cr_assert_neq(data, MAP_FAILED);
    marker = marker_of(data, (size_t)status.st_size);
    cr_assert_not_null(marker);

    marker->version[0]++;
    expect_refusal(core, "written by GhostMem");
    marker->version[0]--;
    marker->layout++;
    expect_refusal(core, "written by GhostMem");
    marker->layout--;
    marker->n_pages = UINT64_MAX;
    expect_refusal(core, "damaged");
    marker->self++;
    expect_refusal(core, "no GhostMem in it");
    data[EI_CLASS] = ELFCLASS32;
    expect_refusal(core, "32-bit");
    data[EI_CLASS] = ELFCLASS64;
    cr_assert_eq(munmap(data, (size_t)status.st_size), 0);
    cr_assert_eq(ftruncate(fd, status.st_size / 2), 0);
    expect_refusal(core, "truncated");
    cr_assert_eq(ftruncate(fd, 100), 0);
    expect_refusal(core, "truncated");
    cr_assert_eq(ftruncate(fd, 20), 0);
    expect_refusal(core, "truncated");
    cr_assert_eq(ftruncate(fd, 3), 0);
    expect_refusal(core, "not a core file");
    cr_assert_eq(ftruncate(fd, 0), 0);
    expect_refusal(core, "not a core file");
    close(fd);
    expect_refusal(required("GHOSTMEM_LIB"), "not a core file");
    expect_refusal(dir, "not a file");
    expect_refusal("/nonexistent", "No such file");
}

Test(core, program_without_the_library_has_nothing_to_restore)
{
    char errors[4096];

    (void)crash("crashes_with_frozen_memory", NULL, NULL, errors);
    name_core();
    expect_refusal(core, "no GhostMem in it");
}

Test(core, output_that_exists_is_not_overwritten)
{
    const char *settings[4] = {"GHOSTMEM_FAULTS=signal"};
    char text[4096];
    FILE *file;

    (void)crash("crashes_with_frozen_memory", settings, NULL, text);
    name_core();
    file = fopen(restored, "w");
    cr_assert_not_null(file);
    fputs("mine", file);
    fclose(file);
    cr_assert_eq(restore(core, text), 2, "%s", text);
    cr_assert_not_null(strstr(text, "File exists"), "%s", text);
    read_file("core.restored", text, sizeof text);
    cr_assert_str_eq(text, "mine");
}

/* ---- the line of the program that crashes ---- */

#define LINE "pages are not in place: a core file shows zeros there until ghostmem-core(1) has restored it\n"

Test(core, crash_that_leaves_a_core_file_says_what_it_lacks)
{
    char stats[PATH_BYTES];
    static const struct {
        const char *probe;
        const char *faults;
        bool reports; /* `thread` has a handler for the report alone */
    } cases[] = {
        {"crashes_with_frozen_memory", "GHOSTMEM_FAULTS=signal", false},
        {"crashes_with_frozen_memory", "GHOSTMEM_FAULTS=segv", false},
        {"crashes_with_frozen_memory", "GHOSTMEM_FAULTS=signal", true},
        {"crashes_with_frozen_memory", "GHOSTMEM_FAULTS=thread", true},
        {"aborts_with_frozen_memory", "GHOSTMEM_FAULTS=segv", true},
    };

    snprintf(stats, sizeof stats, "GHOSTMEM_STATS=%s/stats", dir);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *settings[4] = {cases[i].faults, cases[i].reports ? stats : NULL};
        char errors[4096];
        char *line;

        (void)crash(cases[i].probe, settings, NULL, errors);
        line = strstr(errors, LINE);
        cr_assert(line != NULL && strtoul(errors + strlen("ghostmem: "), NULL, 10) > N_PAGES / 2, "case %zu: %s", i, errors);
        cr_assert_str_eq(line, LINE, "once");
    }
}

Test(core, crash_without_core_files_says_nothing)
{
    const struct rlimit none = {0, 0};
    const char *settings[4] = {"GHOSTMEM_FAULTS=signal"};
    char errors[4096];

    (void)crash("crashes_with_frozen_memory", settings, &none, errors);
    cr_assert_str_eq(errors, NOTHING_SAID);
}
