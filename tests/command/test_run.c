/* test_run.c - ghostmem run: the settings as options, what it refuses, and that it becomes the program. */
#include "tests/command/said.h"

#include "core/config.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <elf.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

static struct said said;

TestSuite(run, .init = make_dir, .fini = remove_dir);

#define NOBODY "--reuid=65534"
/* What the program sees of GhostMem. */
#define SHOW "/bin/sh", "-c", "env | grep -E '^(GHOSTMEM_|LD_PRELOAD)' | sort"

/* ---- the program ---- */

Test(run, program_has_the_library_and_the_limit)
{
    char expected[2 * PATH_BYTES];

    RUN(&said, "run", "-m", "512M", "--", SHOW);
    snprintf(expected, sizeof expected, "GHOSTMEM_MAX_MEMORY=512M\nLD_PRELOAD=%s\n", getenv("GHOSTMEM_LIB"));
    cr_assert_str_eq(said.out, expected);
    cr_assert_str_eq(said.err, "");
}

Test(run, command_may_be_left_out_before_an_option)
{
    RUN(&said, "-m", "512M", SHOW);
    cr_assert_not_null(strstr(said.out, "GHOSTMEM_MAX_MEMORY=512M\n"));
    RUN(&said, "--", SHOW);
    cr_assert_not_null(strstr(said.out, "LD_PRELOAD="));
}

Test(run, limit_holds_in_the_program)
{
    RUN(&said, "-m", "1M", "--stats=stats.json", of_ours("probe"), "realloc_keeps_the_contents", "8");
    cr_assert(ended(&said, 0), "%s%s", said.out, said.err);
    RUN_OTHER(&said, "/bin/cat", "stats.json");
    cr_assert_not_null(strstr(said.out, "\"engaged\": true"));
    cr_assert_not_null(strstr(said.out, "\"resident_pages_peak\": 256,"));
}

Test(run, every_setting_is_an_option)
{
    static const char *const values[] = {"64", "64K", "auto", "blocks", "1", "lz4", "warn"};
    const char *accepted;
    const char *name;

    for (size_t i = 0; (name = config_setting_name(i, &accepted)) != NULL; i++) {
        char option[64];
        char variable[64];
        size_t v = 0;
        size_t n = (size_t)snprintf(option, sizeof option, "--%s=", name);

        for (char *c = option; *c != '\0'; c++)
            *c = *c == '_' ? '-' : (char)tolower((unsigned char)*c);
        while (v < sizeof values / sizeof values[0] && !config_setting_takes(i, values[v]))
            v++;
        cr_assert(v < sizeof values / sizeof values[0], "GHOSTMEM_%s takes none of the values of this test", name);
        strcpy(option + n, values[v]);
        snprintf(variable, sizeof variable, "GHOSTMEM_%s=%s\n", name, option + n);
        RUN(&said, "run", option, "--", "/bin/sh", "-c", "printenv | grep GHOSTMEM_ || :");
        cr_assert(ended(&said, 0), "%s: %s", option, said.err);
        cr_assert_not_null(strstr(said.out, variable), "%s: %s", option, said.out);
    }
}

Test(run, switch_without_a_value_is_on)
{
    RUN(&said, "--swap-encrypt", "--stats=0", "-v", SHOW);
    cr_assert_not_null(strstr(said.out, "GHOSTMEM_SWAP_ENCRYPT=1\n"));
    cr_assert_not_null(strstr(said.out, "GHOSTMEM_VERBOSE=1\n"));
    RUN(&said, "--stats", "true");
    cr_assert_not_null(strstr(said.err, "not engaged"));
}

Test(run, options_of_the_program_are_its_own)
{
    RUN(&said, "-m", "64K", "/bin/echo", "--stats", "-m", "--help");
    cr_assert_str_eq(said.out, "--stats -m --help\n");
}

Test(run, becomes_the_program)
{
    RUN_OTHER(&said, "/bin/sh", "-c", "echo $$; exec \"$0\" -m 64K -- sh -c 'echo $$; exit 7'", command_path());
    cr_assert(ended(&said, 7));
    cr_assert(strncmp(said.out, strchr(said.out, '\n') + 1, (size_t)(strchr(said.out, '\n') - said.out)) == 0, "%s", said.out);
}

Test(run, signal_that_ends_the_program_is_its_end)
{
    RUN(&said, "-m", "64K", "--", "/bin/sh", "-c", "kill -TERM $$");
    cr_assert(WIFSIGNALED(said.status) && WTERMSIG(said.status) == SIGTERM);
}

Test(run, script_without_an_interpreter_is_the_shells)
{
    write_text("script", "echo $1; exit 9\n", 0755);
    RUN(&said, "-m", "64K", "./script", "word");
    cr_assert(ended(&said, 9));
    cr_assert_str_eq(said.out, "word\n");
}

/* ---- around it ---- */

Test(run, other_preloaded_libraries_stay_behind_ours)
{
    static const char *const settings[] = {"LD_PRELOAD=libm.so.6 /nowhere/libghostmem.so:libdl.so.2", NULL};
    char expected[2 * PATH_BYTES];

    with_settings = settings;
    RUN(&said, "-m", "64K", SHOW);
    snprintf(expected, sizeof expected, "LD_PRELOAD=%s:libm.so.6:libdl.so.2\n", getenv("GHOSTMEM_LIB"));
    cr_assert_not_null(strstr(said.out, expected), "%s", said.out);
}

Test(run, environment_counts_where_no_option_is_given)
{
    static const char *const settings[] = {"GHOSTMEM_MAX_PAGES=77", "GHOSTMEM_RECLAIM=direct", NULL};

    with_settings = settings;
    RUN(&said, "--reclaim=background", "--", SHOW);
    cr_assert_not_null(strstr(said.out, "GHOSTMEM_MAX_PAGES=77\nGHOSTMEM_RECLAIM=background\n"), "%s", said.out);
}

Test(run, nested_run_has_the_inner_limit_and_one_library)
{
    RUN(&said, "--max-pages=100", "--stats=0", command_path(), "-m", "25%", SHOW);
    cr_assert(ended(&said, 0), "%s", said.err);
    cr_assert_null(strstr(said.out, "MAX_PAGES"), "%s", said.out);
    cr_assert_not_null(strstr(said.out, "GHOSTMEM_MAX_MEMORY=25%\nGHOSTMEM_STATS=0\n"));
    cr_assert_null(strchr(strstr(said.out, "LD_PRELOAD"), ':'));
}

Test(run, library_is_found_where_both_are_installed)
{
    char expected[PATH_BYTES];

    cr_assert(mkdir(in_dir("bin"), 0755) == 0 && mkdir(in_dir("lib"), 0755) == 0);
    copy_file(command_path(), "bin/ghostmem", 0755);
    RUN_OTHER(&said, "bin/ghostmem", "-m", "64K", "true");
    cr_assert(refused(&said, 125, "libghostmem.so is neither"), "%s", said.err);
    copy_file(getenv("GHOSTMEM_LIB"), "lib/libghostmem.so", 0644);
    RUN_OTHER(&said, "bin/ghostmem", "-m", "64K", SHOW);
    snprintf(expected, sizeof expected, "LD_PRELOAD=%s/lib/libghostmem.so\n", dir);
    cr_assert_not_null(strstr(said.out, expected), "%s%s", said.out, said.err);
}

Test(run, place_that_cannot_stand_in_ld_preload_is_said)
{
    cr_assert_eq(mkdir(in_dir("a b"), 0755), 0);
    copy_file(command_path(), "a b/ghostmem", 0755);
    copy_file(getenv("GHOSTMEM_LIB"), "a b/libghostmem.so", 0644);
    RUN_OTHER(&said, "a b/ghostmem", "-m", "64K", "true");
    cr_assert(refused(&said, 125, "cannot stand in LD_PRELOAD"), "%s", said.err);
}

/* ---- what is wrong with the command line ---- */

Test(run, bad_options_and_values_are_one_line)
{
    static const char *const wrong[][2] = {
        {"--frobnicate", "--frobnicate"}, {"-x", "'x'"},           {"--max-memory=12Q", "--max-memory=12Q: accepted: a size"},
        {"-m101%", "a share from 1%"},    {"-m0%", "a share"},     {"-m-5", "a size"},
        {"-m1", "at least 20K"},          {"-m", "argument"},      {"--max-pages=4", "at least 5"},
        {"--faults=magic", "signal"},     {"--verbose=3", "0, 1"}, {"--compress=2", "0 or 1"},
        {"--swap-max=99999999999999999999", "a size"},             {"--pool=", "a size"},
        {"--ma=1M", "ambiguous"},         {"--stats\n\x1b", "unrecognized"},
    };

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        RUN(&said, "run", wrong[i][0]);
        cr_assert(ended(&said, 125) && strstr(said.err, wrong[i][1]) != NULL, "%s: %s", wrong[i][0], said.err);
    }
}

Test(run, missing_program_or_command_is_one_line)
{
    RUN(&said, "run", "-m", "1M");
    cr_assert(refused(&said, 125, "no program"));
    RUN(&said, "frobnicate");
    cr_assert(refused(&said, 125, "no such command"));
}

Test(run, statuses_are_those_of_env)
{
    write_text("plain", "no program\n", 0644);
    RUN(&said, "-m", "1M", "no-such-program");
    cr_assert(refused(&said, 127, "no-such-program: No such file"));
    RUN(&said, "-m", "1M", "./nothing");
    cr_assert(refused(&said, 127, "./nothing: No such file"));
    RUN(&said, "-m", "1M", "");
    cr_assert(refused(&said, 127, "No such file"));
    RUN(&said, "-m", "1M", "/usr");
    cr_assert(refused(&said, 126, "a directory"));
    RUN(&said, "-m", "1M", "./plain");
    cr_assert(refused(&said, 126, "Permission denied"));
    RUN(&said, "-m", "1M", "/etc/passwd/program");
    cr_assert(refused(&said, 126, "Not a directory"));
}

Test(run, name_with_line_feeds_is_one_line)
{
    RUN(&said, "-m", "1M", "no\nsuch\x1b[31mprogram");
    cr_assert(refused(&said, 127, "no?such?[31mprogram"), "%s", said.err);
}

Test(run, help_and_version_are_for_standard_output)
{
    RUN(&said, "--help");
    cr_assert(ended(&said, 0) && strstr(said.out, "run PROGRAM") != NULL && said.err[0] == '\0');
    RUN(&said, "run", "--help");
    cr_assert(ended(&said, 0) && strstr(said.out, "--swap-encrypt[=VALUE]") != NULL && said.err[0] == '\0');
    RUN(&said, "--version");
    cr_assert(ended(&said, 0) && strcmp(said.out, "ghostmem " GHOSTMEM_VERSION "\n") == 0);
    RUN_OTHER(&said, "/bin/sh", "-c", "\"$0\" --help >/dev/full", command_path());
    cr_assert(refused(&said, 125, "cannot be written"));
    RUN_OTHER(&said, command_path());
    cr_assert(ended(&said, 125) && strstr(said.err, "usage:") != NULL);
}

/* ---- the look before the leap ---- */

Test(run, static_binary_is_refused_and_forced)
{
    RUN(&said, "-m", "1M", of_ours("helper_loaderless"));
    cr_assert(refused(&said, 125, "helper_loaderless: a static binary"), "%s", said.err);
    RUN(&said, "-m", "1M", "--force", of_ours("helper_loaderless"));
    cr_assert(ended(&said, 3) && strstr(said.err, "a static binary") != NULL, "%s", said.err);
}

Test(run, interpreter_of_a_script_counts)
{
    char text[2 * PATH_BYTES];

    snprintf(text, sizeof text, "#!%s -x\n", of_ours("helper_loaderless"));
    write_text("inner", text, 0755);
    snprintf(text, sizeof text, "#! %s/inner\n", dir);
    write_text("outer", text, 0755);
    RUN(&said, "-m", "1M", "./outer");
    cr_assert(refused(&said, 125, "its interpreter"), "%s", said.err);
    cr_assert_not_null(strstr(said.err, "a static binary"));

    snprintf(text, sizeof text, "#!/usr/bin/env -S %s -x\n", of_ours("helper_loaderless"));
    write_text("by_env", text, 0755);
    RUN(&said, "-m", "1M", "./by_env");
    cr_assert(refused(&said, 125, "a static binary"), "%s", said.err);

    write_text("dynamic", "#!/bin/sh\necho $GHOSTMEM_MAX_MEMORY\n", 0755);
    RUN(&said, "-m", "1M", "./dynamic");
    cr_assert(ended(&said, 0) && strcmp(said.out, "1M\n") == 0);

    write_text("missing", "#!/nowhere/interpreter\n", 0755);
    RUN(&said, "-m", "1M", "./missing");
    cr_assert(refused(&said, 127, "its interpreter /nowhere/interpreter: No such file"), "%s", said.err);

    snprintf(text, sizeof text, "#!%s/itself\n", dir);
    write_text("itself", text, 0755);
    RUN(&said, "-m", "1M", "./itself");
    cr_assert(ended(&said, 126), "%s", said.err);
}

static unsigned char program[1 << 20];

/* A copy of a small program, for bytes to be changed in it. */
static size_t read_program(void)
{
    FILE *file = fopen("/bin/true", "r");
    size_t n;

    cr_assert_not_null(file);
    n = fread(program, 1, sizeof program, file);
    fclose(file);
    cr_assert(n > sizeof(Elf64_Ehdr) && n < sizeof program);
    return n;
}

Test(run, other_architecture_is_refused)
{
    size_t n = read_program();

    program[offsetof(Elf64_Ehdr, e_machine)] = EM_RISCV;
    write_file("riscv", program, n, 0755);
    RUN(&said, "-m", "1M", "./riscv");
    cr_assert(refused(&said, 125, "another architecture (RISC-V, 64 bits)"), "%s", said.err);
    program[offsetof(Elf64_Ehdr, e_machine)] = EM_386;
    program[EI_CLASS] = ELFCLASS32;
    write_file("x86", program, n, 0755);
    RUN(&said, "-m", "1M", "./x86");
    cr_assert(refused(&said, 125, "another architecture (x86, 32 bits)"), "%s", said.err);
}

Test(run, loader_of_another_libc_is_refused)
{
    size_t n = read_program();
    unsigned char *loader = memmem(program, n, "/ld-linux", strlen("/ld-linux"));

    cr_assert_not_null(loader);
    memcpy(loader, "/ld-musl-", strlen("/ld-musl-"));
    write_file("musl", program, n, 0755);
    RUN(&said, "-m", "1M", "./musl");
    cr_assert(refused(&said, 125, "another C library"), "%s", said.err);
}

/* Whatever is in its headers: a line, or an end that is the program's own. */
Test(run, damaged_headers_are_no_harm)
{
    size_t n = read_program();
    Elf64_Ehdr header;

    memcpy(&header, program, sizeof header);
    as_user = getuid() == 0 ? NOBODY : NULL;
    for (size_t i = 0; i < 96; i++) {
        size_t at = i < 64 ? i : header.e_shoff + i * 2654435761u % (n - header.e_shoff);
        unsigned char old = program[at];

        program[at] ^= (unsigned char)(1u << i % 8 | 0x80);
        write_file("damaged", program, i % 8 == 7 ? n * i / 96 : n, 0755);
        program[at] = old;
        RUN(&said, "-m", "1M", "./damaged");
        cr_assert(said.err[0] == '\0' || refused(&said, 125, "./damaged: ") || refused(&said, 126, "Exec format error") ||
                      strncmp(said.err, "ghostmem: ", strlen("ghostmem: ")) != 0, "byte %zu: %s", at, said.err);
    }
}

Test(run, allocator_of_its_own_is_refused)
{
    RUN(&said, "-m", "1M", of_ours("helper_with_its_own"));
    cr_assert(refused(&said, 125, "an allocator of its own"), "%s", said.err);
    RUN(&said, "-m", "64M", "--scope=process", of_ours("helper_with_its_own"));
    cr_assert(!ended(&said, 125), "%s", said.err);
    /* One in a library is reached. */
    RUN(&said, "-m", "1M", of_ours("helper_with_jemalloc"));
    cr_assert(!ended(&said, 125), "%s", said.err);
}

Test(run, set_user_id_program_is_refused)
{
    struct statvfs system;

    if (getuid() != 0 || statvfs(dir, &system) != 0 || (system.f_flag & ST_NOSUID) != 0)
        cr_skip_test("needs root, and a file system with set-user-ID");
    copy_file("/bin/true", "privileged", 04755);
    as_user = NOBODY;
    RUN(&said, "-m", "1M", "./privileged");
    cr_assert(refused(&said, 125, "set-user-ID"), "%s", said.err);
    /* It gets no other rights than these: an ordinary program. */
    as_user = NULL;
    RUN(&said, "-m", "1M", "./privileged");
    cr_assert(ended(&said, 0) && said.err[0] == '\0', "%s", said.err);
}

Test(run, program_that_may_not_be_read_is_left_to_the_kernel)
{
    if (getuid() != 0)
        cr_skip_test("needs root");
    copy_file("/bin/true", "secret", 0711);
    as_user = NOBODY;
    RUN(&said, "-m", "1M", "./secret");
    cr_assert(ended(&said, 0) && said.err[0] == '\0', "%s", said.err);
}

Test(run, limit_larger_than_the_machine_is_refused)
{
    RUN(&said, "-m", "64T", "true");
    cr_assert(refused(&said, 125, "a limit of 64.0 TiB is more than"), "%s", said.err);
    RUN(&said, "--max-pages=99999999999", "true");
    cr_assert(refused(&said, 125, "is more than"), "%s", said.err);
    RUN(&said, "-m", "100%", "true");
    cr_assert(ended(&said, 0) && said.err[0] == '\0');
    RUN(&said, "-m", "64T", "--force", "true");
    cr_assert(ended(&said, 0) && said.err[0] != '\0');
}

Test(run, backend_that_is_not_possible_is_refused)
{
    if (getuid() != 0)
        cr_skip_test("needs root");
    as_user = NOBODY;
    RUN(&said, "--faults=thread", "true");
    if (ended(&said, 0))
        cr_skip_test("anybody may have `thread` here");
    cr_assert(refused(&said, 125, "--faults=thread is not possible here"), "%s", said.err);
}

Test(run, swap_place_is_looked_at)
{
    write_text("full", "something", 0644);
    write_text("empty", "", 0644);
    cr_assert_eq(symlink("empty", in_dir("link")), 0);
    RUN(&said, "--swap=full", "true");
    cr_assert(refused(&said, 125, "--swap=full: a file that is not empty"), "%s", said.err);
    RUN(&said, "--swap=link", "true");
    cr_assert(refused(&said, 125, "a symbolic link"));
    RUN(&said, "--swap=no/such", "true");
    cr_assert(refused(&said, 125, "no such directory"));
    RUN(&said, "--swap=full/file", "true");
    cr_assert(refused(&said, 125, "Not a directory"), "%s", said.err);
    RUN(&said, "--swap=/dev/null", "true");
    cr_assert(refused(&said, 125, "neither a directory nor a file"));
    RUN(&said, "--swap=new", "true");
    cr_assert(ended(&said, 0));
    RUN(&said, "--swap=empty", "true");
    cr_assert(ended(&said, 0));
    as_user = getuid() == 0 ? NOBODY : NULL;
    RUN(&said, "--swap=/usr", "true");
    cr_assert(refused(&said, 125, "may not write") || refused(&said, 125, "read only"), "%s", said.err);
}

Test(run, disabled_by_the_settings_runs_whatever_it_is)
{
    RUN(&said, "--disable", "--", of_ours("helper_loaderless"));
    cr_assert(ended(&said, 3) && said.err[0] == '\0');
}
