/*
 * set.c - ghostmem set: settings of a running process.
 *
 * Calls: process, config, command.  Locks: none.  Memory: none.
 */
#include "tools/command/command.h"
#include "tools/command/process.h"

#include "core/config.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define OPTION_TIMEOUT 2
#define TIMEOUT_DEFAULT_S 10
#define POLL_MS 2

static const char usage[] =
    "usage: ghostmem set [--timeout=SECONDS] PID [SETTING=VALUE...]\n"
    "Set what can be set in a running process, and wait until it is in force; without a SETTING show what can be set.\n"
    "\n"
    "  max-memory=SIZE       the limit: 512M, 2G; it moves up at once, down as fast as pages are compressed\n"
    "  max-pages=NUMBER      the same in pages of 4096 bytes\n"
    "  swap-max=SIZE         largest size of the swap file\n"
    "  reclaim=WHO           auto, direct or background\n"
    "  verbose=LEVEL         0, 1 or 2\n"
    "  --timeout=SECONDS     how long to wait (10)\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0; 1: it is not in force, and a line says why; 125: bad options.\n";

struct wish {
    const char *name; /* as the process has it */
    const char *text; /* as it was given */
    uint64_t value;
};

static uint64_t limit_of(const struct config *config)
{
    return config->limit_pages;
}

static uint64_t swap_max_of(const struct config *config)
{
    return config->swap_max_bytes;
}

static uint64_t reclaim_of(const struct config *config)
{
    return config->reclaim;
}

static uint64_t verbose_of(const struct config *config)
{
    return config->verbose;
}

/* What people call it, what a process calls it, and how its value becomes a number there. */
static const struct {
    const char *option;
    const char *knob;
    uint64_t (*value)(const struct config *config);
} settable[] = {
    {"max-memory", "MAX_MEMORY", limit_of}, {"max-pages", "MAX_MEMORY", limit_of}, {"swap-max", "SWAP_MAX", swap_max_of},
    {"reclaim", "RECLAIM", reclaim_of},     {"verbose", "VERBOSE", verbose_of},
};
#define N_SETTABLE (sizeof settable / sizeof settable[0])

/* Does the library take the text as it is? *@accepted: what it takes; NULL: there is no such setting. */
static bool parse(const char *text, struct config *config, const char **accepted)
{
    char variable[256] = "GHOSTMEM_";
    char *environment[] = {variable, NULL};
    size_t n = strlen(variable);
    size_t name_length = strcspn(text, "=");
    const char *name;

    *accepted = NULL;
    if (strlen(text) + n >= sizeof variable)
        return false;
    for (size_t i = 0; text[i] != '\0'; i++)
        variable[n + i] = i >= name_length ? text[i] : text[i] == '-' ? '_' : (char)toupper((unsigned char)text[i]);
    variable[n + strlen(text)] = '\0';
    for (size_t i = 0; (name = config_setting_name(i, accepted)) != NULL; i++)
        if (strlen(name) == name_length && strncmp(name, variable + n, name_length) == 0)
            break;
    if (name == NULL)
        *accepted = NULL;
    config_read(config, environment);
    return config->n_errors == 0;
}

/* 0; -1: one line has said why not. */
static int read_wish(const char *text, struct wish *wish)
{
    size_t name_length = strcspn(text, "=");
    const char *accepted;
    struct config config;
    size_t i = 0;

    if (text[name_length] == '\0')
        return command_fail(-1, "%s: SETTING=VALUE is wanted; ghostmem set --help", text);
    while (i < N_SETTABLE && (strlen(settable[i].option) != name_length || strncmp(settable[i].option, text, name_length) != 0))
        i++;
    if (i == N_SETTABLE) {
        (void)parse(text, &config, &accepted);
        return command_fail(-1, "%.*s: %s; ghostmem set --help", (int)name_length, text,
                            accepted != NULL ? "cannot be set in a running process" : "no such setting");
    }
    if (!parse(text, &config, &accepted))
        return command_fail(-1, "%s: accepted: %s", text, accepted != NULL ? accepted : "less");
    if (config.limit_percent > 0)
        return command_fail(-1, "%s: a size such as 512M is wanted: the share is of what the process may use", text);
    *wish = (struct wish){.name = settable[i].knob, .text = text, .value = settable[i].value(&config)};
    if (wish->value == 0 && strcmp(wish->name, "MAX_MEMORY") == 0)
        return command_fail(-1, "%s: at least 5 pages, 20K", text);
    return 0;
}

static int show(struct process *process)
{
    static const char *const ways[] = {"auto", "direct", "background"};
    uint64_t reclaim = process_value(process, "reclaim");
    uint64_t swap_max = process_value(process, "swap_max_bytes");
    char text[2][COMMAND_SIZE_BYTES];

    printf("process %d (%s)\n", process->id, process->program);
    printf("  max-memory  %s, %s resident\n", command_size(text[0], process_value(process, "limit_pages") * 4096),
           process_value(process, "engaged") != 0 ? command_size(text[1], process_value(process, "resident_pages") * 4096)
                                                  : "all that it uses is");
    printf("  swap-max    %s\n", swap_max == 0 || swap_max == UINT64_MAX ? "no bound" : command_size(text[0], swap_max));
    printf("  reclaim     %s\n", reclaim < 3 ? ways[reclaim] : "?");
    printf("  verbose     %" PRIu64 "\n", process_value(process, "verbose"));
    return COMMAND_DONE;
}

static uint64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* 0 when all wishes are in force. */
static int wait_for(struct process *process, const struct wish *wishes, int n, unsigned timeout_s)
{
    uint64_t end_ms = now_ms() + timeout_s * (uint64_t)1000;
    int status = COMMAND_DONE;

    for (int i = 0; i < n; i++) {
        int answer;

        while ((answer = process_answered(process, wishes[i].name)) == -EINPROGRESS && now_ms() < end_ms)
            (void)nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000}, NULL);
        if (answer == 0)
            continue;
        status = COMMAND_NOT_POSSIBLE;
        if (answer == -EINPROGRESS)
            (void)command_fail(0, "%s: noted; process %d does it when it next asks for a large block%s", wishes[i].text, process->id,
                               process_read(process) && process_value(process, "engaged") != 0 ? ", or is not busy with it any more" : "");
        else if (answer == -EBUSY)
            (void)command_fail(0, "%s: in force, and exceeded for now: pages that are locked, or held by system calls, cannot leave",
                               wishes[i].text);
        else if (answer == -EPERM)
            (void)command_fail(0, "%s: process %d cannot page: its own line says why (--log)", wishes[i].text, process->id);
        else
            (void)command_fail(0, "%s: %s", wishes[i].text, answer == -ESRCH ? "the process has ended" : strerror(-answer));
    }
    return status;
}

static int set(struct process *process, const struct wish *wishes, int n, unsigned timeout_s)
{
    for (int i = 0; i < n; i++) {
        int error = process_ask(process, wishes[i].name, wishes[i].value);

        if (error != 0)
            return command_fail(COMMAND_NOT_POSSIBLE, "%s: %s", wishes[i].text,
                                error == -ENOENT ? "cannot be set in that version of GhostMem" : strerror(-error));
    }
    (void)process_wake(process);
    return wait_for(process, wishes, n, timeout_s);
}

/* 1 .. INT_MAX; 0: it is no number. */
static int number_of(const char *text)
{
    char *end;
    long value;

    errno = 0;
    value = strtol(text, &end, 10);
    return *text != '\0' && *end == '\0' && errno == 0 && isdigit((unsigned char)text[0]) && value > 0 && value <= INT32_MAX ? (int)value
                                                                                                                          : 0;
}

static int look_and_set(int id, const struct wish *wishes, int n, unsigned timeout_s)
{
    static struct process process;
    char why[PROCESS_WHY_BYTES];
    int status;

    switch (process_open(&process, id, n > 0, why)) {
    case PROCESS_GONE:
        status = command_fail(COMMAND_NOT_POSSIBLE, "process %d: there is none", id);
        break;
    case PROCESS_PLAIN:
        status = command_fail(COMMAND_NOT_POSSIBLE, "process %d (%s) runs without GhostMem", id, process.program);
        break;
    case PROCESS_CLOSED:
        status = command_fail(COMMAND_NOT_POSSIBLE, "process %d (%s): %s", id, process.program, why);
        break;
    default:
        if (n > 0)
            status = set(&process, wishes, n, timeout_s);
        else
            status = process_read(&process) ? show(&process) : command_fail(COMMAND_NOT_POSSIBLE, "process %d: has ended", id);
        break;
    }
    process_close(&process);
    return status;
}

int command_set(int argc, char **argv)
{
    static const struct option options[] = {
        {.name = "help", .val = COMMAND_HELP},
        {.name = "version", .val = COMMAND_VERSION},
        {.name = "timeout", .has_arg = required_argument, .val = OPTION_TIMEOUT},
        {0},
    };
    struct wish wishes[16];
    int timeout_s = TIMEOUT_DEFAULT_S;
    int n = 0;
    int id;
    int code;

    while ((code = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (code) {
        case COMMAND_HELP: fputs(usage, stdout); return COMMAND_DONE;
        case COMMAND_VERSION: return command_show_version();
        case OPTION_TIMEOUT: timeout_s = number_of(optarg); break;
        default: return COMMAND_REFUSED; /* getopt_long() has said why */
        }
    }
    if (timeout_s == 0)
        return command_fail(COMMAND_REFUSED, "--timeout: a number of seconds is wanted");
    if (optind >= argc || (id = number_of(argv[optind])) == 0)
        return command_fail(COMMAND_REFUSED, "set takes the number of a process, and settings; ghostmem set --help");
    for (int i = optind + 1; i < argc; i++) {
        if (n == sizeof wishes / sizeof wishes[0])
            return command_fail(COMMAND_REFUSED, "too many settings");
        if (read_wish(argv[i], &wishes[n++]) != 0)
            return COMMAND_REFUSED;
    }
    return look_and_set(id, wishes, n, (unsigned)timeout_s);
}
