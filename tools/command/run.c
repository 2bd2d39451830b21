/*
 * run.c - ghostmem run: a program with GhostMem in it.
 *
 * It becomes the program (execve): process id, exit status, signals and descriptors are the program's own. Before, it
 * looks whether GhostMem will do anything there, and says in one line why not.
 *
 * Calls: options, program, library, survey, swapplace, config.  Locks: none.  Memory: the environment.
 */
#include "tools/command/command.h"
#include "tools/command/library.h"
#include "tools/command/options.h"
#include "tools/command/program.h"
#include "tools/command/survey.h"
#include "tools/command/swapplace.h"

#include "core/config.h"
#include "platform/host.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OPTION_FORCE 2

static const char usage[] =
    "usage: ghostmem [run] [OPTION...] [--] PROGRAM [ARGUMENT...]\n"
    "Run PROGRAM with the RAM of its big allocations limited.\n"
    "\n"
    "  -m SIZE                  as --max-memory=SIZE: 512M, 2G, 25%\n"
    "  -v                       as --verbose\n"
    "  --force                  run it also where GhostMem will not do anything, with a line that says why\n"
    "  --help, --version\n"
    "\n"
    "All settings of libghostmem(7); one that is not given is as the environment has it (GHOSTMEM_MAX_MEMORY, ...):\n";

/* A reason not to run: the end, or with --force a line. */
static int object(bool force, const char *why)
{
    return force ? command_fail(COMMAND_DONE, "%s; run all the same", why)
                 : command_fail(COMMAND_REFUSED, "%s; --force runs it all the same", why);
}

static int judge_limit(const struct config *config, bool force)
{
    uint64_t limit = config_limit_pages(config) * PAGE_BYTES;
    uint64_t usable = os_usable_ram_bytes();
    char text[2][COMMAND_SIZE_BYTES];
    char why[256];

    if (limit <= usable)
        return 0;
    (void)snprintf(why, sizeof why, "a limit of %s is more than %s, %s, and would never be reached", command_size(text[0], limit),
                   usable < os_ram_bytes() ? "what the control group allows" : "this machine has", command_size(text[1], usable));
    return object(force, why);
}

static int judge_backend(const struct config *config, bool force)
{
    enum survey_answer answer = survey_try_backend(config->faults, NULL, NULL);
    char why[160];

    if (answer == SURVEY_POSSIBLE)
        return 0;
    (void)snprintf(why, sizeof why, "--faults=%s %s: `ghostmem doctor` says why", survey_backend_names[config->faults],
                   answer == SURVEY_ENDS ? "would end the program here" : "is not possible here");
    return object(force, why);
}

static int judge_swap(const struct config *config, bool force)
{
    struct swapplace place;
    char why[PROGRAM_WHY_BYTES];

    if (config->swap == NULL)
        return 0;
    swapplace_look(config->swap, &place);
    if (place.in_ram && place.why_not == NULL)
        (void)command_fail(0, "--swap=%s: a file system in RAM (%s): what is written there takes RAM too", config->swap, place.file_system);
    if (place.why_not == NULL)
        return 0;
    (void)snprintf(why, sizeof why, "--swap=%.*s: %s", PATH_MAX, config->swap, place.why_not);
    return object(force, why);
}

/* Look before the leap. 0, or what to end with. */
static int judge(const char *path, const char *library, bool force)
{
    char why[PROGRAM_WHY_BYTES];
    struct config config;
    int status;

    config_read(&config, environ);
    if (config.disable)
        return 0;
    status = program_judge(path, library, config.scope == CONFIG_SCOPE_PROCESS, why);
    if (status != 0 && status != COMMAND_REFUSED)
        return command_fail(status, "%s", why);
    if (status != 0)
        status = object(force, why);
    if (status == 0)
        status = judge_limit(&config, force);
    if (status == 0)
        status = judge_backend(&config, force);
    if (status == 0)
        status = judge_swap(&config, force);
    return status;
}

/* Returns a status when that fails. A file that is neither a program nor a script is the shell's, as with execvp(3). */
static int leap(char *path, char **argv)
{
    int error;

    (void)execve(path, argv, environ);
    error = errno;
    if (error == ENOEXEC) {
        size_t n = 0;
        char **with_shell;

        while (argv[n] != NULL)
            n++;
        with_shell = calloc(n + 2, sizeof *with_shell);
        if (with_shell != NULL) {
            static char shell[] = "/bin/sh";

            memcpy(with_shell + 1, argv, n * sizeof *argv);
            with_shell[0] = shell;
            with_shell[1] = path;
            (void)execve(shell, with_shell, environ);
            free(with_shell);
        }
    }
    return command_fail(error == ENOENT ? COMMAND_NO_PROGRAM : COMMAND_NO_EXEC, "%s: %s", path, strerror(error));
}

static int show_help(void)
{
    fputs(usage, stdout);
    options_list();
    puts("\nExit status: PROGRAM's own; 125: ghostmem fails or refuses; 126: PROGRAM cannot be run; 127: it is not there.");
    return COMMAND_DONE;
}

int command_run(int argc, char **argv)
{
    struct option options[OPTIONS_MAX] = {
        {.name = "help", .val = COMMAND_HELP},
        {.name = "version", .val = COMMAND_VERSION},
        {.name = "force", .val = OPTION_FORCE},
    };
    char library[PATH_MAX];
    char path[PATH_MAX];
    char why[PROGRAM_WHY_BYTES];
    bool force = false;
    int status;
    int code;

    options_append(options, 3);
    while ((code = getopt_long(argc, argv, "+m:vh", options, NULL)) != -1) {
        if (code == COMMAND_HELP)
            return show_help();
        if (code == COMMAND_VERSION)
            return command_show_version();
        if (code == '?')
            return COMMAND_REFUSED; /* getopt_long() has said why */
        if (code == OPTION_FORCE) {
            force = true;
            continue;
        }
        if (code == 'm')
            code = options_named("MAX_MEMORY");
        if (code == 'v')
            code = options_named("VERBOSE");
        if (options_take(code, optarg) != 0)
            return COMMAND_REFUSED;
    }
    if (optind >= argc)
        return command_fail(COMMAND_REFUSED, "no program to run is given; ghostmem run --help");
    status = program_find(argv[optind], path, why);
    if (status != 0)
        return command_fail(status, "%s", why);
    if (library_find(library) != 0)
        return COMMAND_REFUSED;
    status = judge(path, library, force);
    if (status != 0)
        return status;
    if (library_preload(library) != 0)
        return command_fail(COMMAND_REFUSED, "no memory");
    return leap(path, argv + optind);
}
