/*
 * top.c - ghostmem top: all processes under GhostMem, as a table, as JSON, or live (view.h).
 *
 * Calls: watch, view, command, jansson.  Locks: none.  Memory: malloc.
 */
#include "tools/command/command.h"
#include "tools/command/view.h"
#include "tools/command/watch.h"

#include "platform/thread.h"

#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define OPTION_ONCE 2
#define OPTION_JSON 3
#define OPTION_SORT 4
#define OPTION_DELAY 5
#define DELAY_DEFAULT_S 1.0
#define DELAY_ONCE_S 0.25

static const char usage[] =
    "usage: ghostmem top [--once] [--json] [--sort=KEY] [--delay=SECONDS]\n"
    "Show all processes that run under GhostMem: of this user, or of all for root.\n"
    "\n"
    "  --once            a table, then the end; also where standard output is no terminal\n"
    "  --json            the same for programs\n"
    "  --sort=KEY        process, memory, faults, wait, images or limit (memory)\n"
    "  --delay=SECONDS   between two looks (1; 0.25 with --once)\n"
    "  --help, --version\n"
    "\n"
    "Keys: up and down choose, Enter shows one process, Escape goes back, q ends; p m f w i l sort.\n";

static int nap(double seconds)
{
    return nanosleep(&(struct timespec){.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)}, NULL);
}

static void show_table(const struct watch *watch)
{
    printf("%7s %-15s %9s %9s %9s %9s %6s %9s %8s %6s\n", "PID", "PROGRAM", "LIMIT", "RESIDENT", "FROZEN", "IMAGES", "RATIO", "SWAP",
           "FAULTS/S", "WAIT%");
    for (size_t i = 0; i < watch->n; i++) {
        const struct watched *watched = watch->all[i];
        const struct sight *now = &watched->now;
        char text[5][VIEW_SIZE_BYTES];

        if (watched->closed) {
            printf("%7d %-15.15s %s\n", watched->process.id, watched->process.program, watched->why);
            continue;
        }
        printf("%7d %-15.15s %9s %9s %9s %9s %6.2f %9s %8.0f %6.1f\n", watched->process.id, watched->process.program,
               view_size(text[0], now->limit), view_size(text[1], now->resident), view_size(text[2], now->frozen),
               view_size(text[3], now->images), now->ratio, view_size(text[4], now->swap), now->faults_a_second, now->waited_percent);
    }
}

static json_t *json_of(const struct watched *watched)
{
    const struct sight *now = &watched->now;
    json_t *object = json_pack("{s:i, s:s, s:I, s:b}", "process", watched->process.id, "program", watched->process.program, "user",
                               (json_int_t)watched->process.user, "readable", !watched->closed);

    if (watched->closed) {
        (void)json_object_set_new(object, "why_not", json_string(watched->why));
        return object;
    }
    for (unsigned i = 0; i < watched->process.n_gauges; i++)
        (void)json_object_set_new(object, watched->process.gauges[i].name,
                                  watched->process.values[i] > INT64_MAX ? json_null()
                                                                         : json_integer((json_int_t)watched->process.values[i]));
    (void)json_object_set_new(object, "compression", json_real(now->ratio));
    (void)json_object_set_new(object, "faults_a_second", json_real(now->faults_a_second));
    (void)json_object_set_new(object, "waited_percent", json_real(now->waited_percent));
    (void)json_object_set_new(object, "waited_ns", json_integer((json_int_t)watched->waited_ns));
    return object;
}

static int show_json(const struct watch *watch)
{
    json_t *all = json_array();
    int error;

    for (size_t i = 0; i < watch->n; i++)
        (void)json_array_append_new(all, json_of(watch->all[i]));
    error = json_dumpf(all, stdout, JSON_INDENT(2));
    json_decref(all);
    putchar('\n');
    return error == 0 ? COMMAND_DONE : command_fail(COMMAND_REFUSED, "the answer cannot be written");
}

/* Two looks: what happens in a second is known after the second one. */
static int show_once(double delay_s, char key, bool as_json)
{
    struct watch watch = {0};
    int status = COMMAND_DONE;
    int error = watch_look(&watch);

    (void)nap(delay_s);
    if (error == 0)
        error = watch_look(&watch);
    if (error != 0)
        return command_fail(COMMAND_NOT_POSSIBLE, "the processes cannot be looked at: there is no /proc, or no memory");
    (void)watch_sort(&watch, key);
    if (as_json)
        status = show_json(&watch);
    else
        show_table(&watch);
    watch_free(&watch);
    return status;
}

/* The key of a word that it begins, such as "mem"; 0: none. */
static char key_of(const char *word)
{
    static const char *const words[] = {"process", "memory", "faults", "wait", "images", "limit"};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (word[0] != '\0' && strncmp(words[i], word, strlen(word)) == 0)
            return words[i][0];
    return '\0';
}

/* 0: it is no time, or not within an hour. */
static double seconds_of(const char *text)
{
    char *end;
    double value = strtod(text, &end);

    return *text != '\0' && *end == '\0' && value >= 0.05 && value <= 3600 ? value : 0;
}

int command_top(int argc, char **argv)
{
    static const struct option options[] = {
        {.name = "help", .val = COMMAND_HELP},
        {.name = "version", .val = COMMAND_VERSION},
        {.name = "once", .val = OPTION_ONCE},
        {.name = "json", .val = OPTION_JSON},
        {.name = "sort", .has_arg = required_argument, .val = OPTION_SORT},
        {.name = "delay", .has_arg = required_argument, .val = OPTION_DELAY},
        {0},
    };
    const char *delay = NULL;
    char key = 'm';
    bool as_json = false;
    bool once = isatty(STDOUT_FILENO) == 0;
    double delay_s;
    int code;

    while ((code = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (code) {
        case COMMAND_HELP: fputs(usage, stdout); return COMMAND_DONE;
        case COMMAND_VERSION: return command_show_version();
        case OPTION_ONCE: once = true; break;
        case OPTION_JSON: as_json = true; break;
        case OPTION_SORT: key = key_of(optarg); break;
        case OPTION_DELAY: delay = optarg; break;
        default: return COMMAND_REFUSED; /* getopt_long() has said why */
        }
    }
    if (key == '\0')
        return command_fail(COMMAND_REFUSED, "--sort: accepted: process, memory, faults, wait, images or limit");
    once = once || as_json;
    delay_s = delay != NULL ? seconds_of(delay) : once ? DELAY_ONCE_S : DELAY_DEFAULT_S;
    if (delay_s <= 0)
        return command_fail(COMMAND_REFUSED, "--delay=%s: accepted: seconds, from 0.05 to 3600", delay);
    if (optind < argc)
        return command_fail(COMMAND_REFUSED, "%s: top takes no arguments", argv[optind]);
    os_ticks_start();
    return once ? show_once(delay_s, key, as_json) : view_run(delay_s, key);
}
