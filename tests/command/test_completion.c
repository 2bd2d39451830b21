/* test_completion.c - the completions of the shells, as far as a shell is here. */
#include "tests/command/said.h"

#include "tests/programs/run.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct said said;

TestSuite(completion, .init = make_dir, .fini = remove_dir);

/* In doc/, beside the library. */
static void path_of(char path[2 * PATH_BYTES], const char *name)
{
    const char *command = command_path();

    snprintf(path, 2 * PATH_BYTES, "%.*sdoc/completion/%s", (int)(strrchr(command, '/') - command) + 1, command, name);
}

/* Is @word a line of the output? */
static bool offers(const char *word)
{
    size_t length = strlen(word);

    for (const char *at = said.out; (at = strstr(at, word)) != NULL; at++)
        if ((at == said.out || at[-1] == '\n') && (at[length] == '\n' || at[length] == '\t'))
            return true;
    return false;
}

/* @words: as bash splits them, the last one is to be completed. */
static void complete_in_bash(const char *words)
{
    char path[2 * PATH_BYTES];
    char script[4 * PATH_BYTES];

    path_of(path, "ghostmem.bash");
    snprintf(script, sizeof script,
             ". '%s'; COMP_WORDS=(ghostmem %s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _ghostmem; printf '%%s\\n' \"${COMPREPLY[@]}\"",
                 path,
             words);
    RUN_OTHER(&said, "bash", "--norc", "-c", script);
    cr_assert(ended(&said, 0) && said.err[0] == '\0', "%s", said.err);
}

Test(completion, bash_offers_commands_options_and_values)
{
    complete_in_bash("''");
    cr_assert(offers("run") && offers("doctor"));
    complete_in_bash("run --sw");
    cr_assert(offers("--swap=") && offers("--swap-encrypt") && !offers("--stats"), "%s", said.out);
    complete_in_bash("run --faults = s");
    cr_assert(offers("signal") && offers("segv") && !offers("thread"));
    complete_in_bash("-m 5");
    cr_assert(offers("512M") && offers("50%"));
    complete_in_bash("doctor --");
    cr_assert(offers("--json") && !offers("--force"));
    complete_in_bash("set 1 max");
    cr_assert(offers("max-memory=") && offers("max-pages="));
}

Test(completion, bash_leaves_the_program_its_own)
{
    write_text("input", "", 0644);
    complete_in_bash("-m 512M --stats = x sor");
    cr_assert(offers("sort"));
    complete_in_bash("run --swap /tmp -- cat inp");
    cr_assert(offers("input"));
    complete_in_bash("run --stats cat --he");
    cr_assert(!offers("--help"));
}

static void complete_in_fish(const char *line)
{
    char path[2 * PATH_BYTES];
    char script[4 * PATH_BYTES];

    if (!run_can("fish"))
        cr_skip_test("no fish");
    path_of(path, "ghostmem.fish");
    snprintf(script, sizeof script, "set -x HOME .; source '%s'; complete -C '%s'", path, line);
    RUN_OTHER(&said, "fish", "--no-config", "-c", script);
    cr_assert(ended(&said, 0) && said.err[0] == '\0', "%s", said.err);
}

Test(completion, fish_offers_commands_options_and_programs)
{
    complete_in_fish("ghostmem ");
    cr_assert(offers("run") && offers("doctor"), "%s", said.out);
    complete_in_fish("ghostmem run --sw");
    cr_assert(offers("--swap") && offers("--swap-max"), "%s", said.out);
    complete_in_fish("ghostmem run --faults=s");
    cr_assert(offers("--faults=signal") && offers("--faults=segv"), "%s", said.out);
    complete_in_fish("ghostmem -m 1M -- sor");
    cr_assert(offers("sort"), "%s", said.out);
    write_text("input", "", 0644);
    complete_in_fish("ghostmem run -m 1M cat inp");
    cr_assert(offers("input"), "%s", said.out);
}

Test(completion, zsh_reads_its_own)
{
    char path[2 * PATH_BYTES];

    if (!run_can("zsh"))
        cr_skip_test("no zsh");
    path_of(path, "_ghostmem");
    RUN_OTHER(&said, "zsh", "-f", "-n", path);
    cr_assert(ended(&said, 0) && said.err[0] == '\0', "%s", said.err);
}
