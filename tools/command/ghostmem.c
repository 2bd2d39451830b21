/*
 * ghostmem.c - ghostmem(1): one command for what people do with GhostMem.
 *
 * Calls: the commands.  Locks: none.  Memory: none.
 */
#include "tools/command/command.h"

#include "core/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: ghostmem [run] [OPTION...] [--] PROGRAM [ARGUMENT...]\n"
    "       ghostmem doctor [--json] [--swap=PATH]\n"
    "       ghostmem report [-o PAGE.html] STATS.json\n"
    "       ghostmem set PID [SETTING=VALUE...]\n"
    "       ghostmem top [--once] [--json]\n"
    "       ghostmem --help | --version\n"
    "\n"
    "  run      run PROGRAM, the RAM of its big allocations limited: ghostmem run -m 512M -- sort big.txt\n"
    "  doctor   say what is possible on this machine, and why\n"
    "  report   make an HTML page of the statistics that a run has left (run --stats=STATS.json)\n"
    "  set      set the limit, and more, of a running process: ghostmem set 4711 max-memory=256M\n"
    "  top      show all processes that run under GhostMem, live\n"
    "\n"
    "Without a command the first argument has to be an option: ghostmem -m 512M sort big.txt\n"
    "`ghostmem COMMAND --help` lists the options; the manual page is ghostmem(1).\n";

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"run", command_run},
    {"doctor", command_doctor},
    {"report", command_report},
    {"set", command_set},
    {"top", command_top},
};
#define N_COMMANDS (sizeof commands / sizeof commands[0])

int command_fail(int status, const char *format, ...)
{
    char text[4096];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    for (char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == '\x7f')
            *c = '?'; /* a name may have line feeds, and what a terminal obeys */
    fprintf(stderr, "ghostmem: %s\n", text);
    return status;
}

int command_show_version(void)
{
    puts("ghostmem " GHOSTMEM_VERSION);
    return COMMAND_DONE;
}

const char *command_size(char text[COMMAND_SIZE_BYTES], uint64_t bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double size = (double)bytes;
    size_t unit = 0;

    while (size >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
        size /= 1024;
        unit++;
    }
    if (unit == 0)
        (void)snprintf(text, COMMAND_SIZE_BYTES, "%u bytes", (unsigned)bytes);
    else
        (void)snprintf(text, COMMAND_SIZE_BYTES, "%.1f %s", size, units[unit]);
    return text;
}

static int dispatch(int argc, char **argv)
{
    static char name[] = "ghostmem"; /* what getopt_long() puts in front of its messages */

    if (argc < 2) {
        fputs(usage, stderr);
        return COMMAND_REFUSED;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        fputs(usage, stdout);
        return COMMAND_DONE;
    }
    if (argv[1][0] == '-') {
        argv[0] = name;
        return command_run(argc, argv);
    }
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(argv[1], commands[i].name) != 0)
            continue;
        argv[1] = name;
        return commands[i].run(argc - 1, argv + 1);
    }
    return command_fail(COMMAND_REFUSED, "%s: no such command; to run a program of that name: ghostmem run -- %s", argv[1], argv[1]);
}

int main(int argc, char **argv)
{
    int status = dispatch(argc, argv);

    /* What was asked for has been written, or there is something to say. */
    if (fflush(stdout) != 0 || ferror(stdout) != 0)
        return command_fail(status == COMMAND_DONE ? COMMAND_REFUSED : status, "standard output cannot be written");
    return status;
}
