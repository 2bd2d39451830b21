/*
 * doctor.c - ghostmem doctor: what is possible here, why, and what would make it better.
 *
 * Calls: survey, command, jansson.  Locks: none.  Memory: jansson's.
 */
#include "tools/command/command.h"
#include "tools/command/survey.h"

#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_SWAP "/var/tmp"
#define OPTION_JSON 2
#define OPTION_SWAP 3

static const char usage[] =
    "usage: ghostmem doctor [--json] [--swap=PATH]\n"
    "Say what is possible on this machine for this user, why, and what would make it better.\n"
    "\n"
    "  --json         the same for programs\n"
    "  --swap=PATH    where a swap file is to be (" DEFAULT_SWAP ")\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0; 1: GhostMem cannot limit anything here, or not swap to the PATH that is given; 125: bad options.\n";

/* ---- for people ---- */

static void row(const char *label, const char *text)
{
    printf("  %-32s %s\n", label, text);
}

static void show_memory(const struct survey *survey)
{
    char sizes[2][COMMAND_SIZE_BYTES];
    char text[128];

    (void)snprintf(text, sizeof text, "%s, %s available", command_size(sizes[0], survey->ram_bytes),
                   survey->available_bytes > 0 ? command_size(sizes[1], survey->available_bytes) : "?");
    row("RAM", text);
    if (survey->cgroup_version == 0)
        row("control group", "no limit on memory");
    else {
        (void)snprintf(text, sizeof text, "%s (version %u)", command_size(sizes[0], survey->cgroup_limit_bytes), survey->cgroup_version);
        row("control group", text);
    }
    if (survey->address_space_bytes != UINT64_MAX)
        row("address space", command_size(sizes[0], survey->address_space_bytes));
    (void)snprintf(text, sizeof text, "%s, half of what may be used", command_size(sizes[0], survey->default_limit_bytes));
    row("limit where none is given", text);
}

static void show_swap(const struct survey *survey)
{
    const struct swapplace *place = &survey->place;
    char size[COMMAND_SIZE_BYTES];

    printf("  swap file in %-19s ", survey->swap);
    if (place->why_not != NULL)
        printf("no: %s\n", place->why_not);
    else
        printf("%s, %s free%s\n", place->file_system, command_size(size, place->free_bytes),
               place->in_ram         ? "; in RAM: what is written there takes RAM too"
               : place->over_network ? "; over a network, which is slow"
                                     : "");
}

static void show_advice(const struct survey *survey)
{
    char text[SURVEY_ADVICE_BYTES];
    const char *advice;

    for (unsigned i = 0; (advice = survey_advice(survey, i, text)) != NULL; i++)
        printf("%s  %s\n", i == 0 ? "\nBetter:\n" : "", advice);
}

static void show(const struct survey *survey)
{
    static const enum config_faults order[] = {CONFIG_FAULTS_SIGNAL, CONFIG_FAULTS_THREAD, CONFIG_FAULTS_SEGV};
    char text[256];

    printf("GhostMem " GHOSTMEM_VERSION " on %s %s, %s\n\n", survey->system.sysname, survey->system.release, survey->system.machine);
    show_memory(survey);
    (void)snprintf(text, sizeof text, "%u%s", survey->user, survey->has_ptrace ? ", with CAP_SYS_PTRACE" : "");
    row("user id", text);
    row("container or service", survey->container != NULL ? survey->container : "none seen");
    row("seccomp filter", survey->filtered ? "yes" : "none");
    putchar('\n');
    for (int i = 0; i < SURVEY_CHECKS; i++) {
        (void)snprintf(text, sizeof text, "%s%s", survey->checks[i].possible ? "yes" : "no: ", survey->checks[i].why_not);
        row(survey->checks[i].name, text);
    }
    putchar('\n');
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        (void)snprintf(text, sizeof text, "backend %s", survey_backend_names[order[i]]);
        row(text, survey->backend_possible[order[i]] ? "possible" : "not possible");
    }
    (void)snprintf(text, sizeof text, "%s: %s", survey_backend_names[survey->best], survey->best_reason);
    row("auto takes", survey->backend_possible[CONFIG_FAULTS_AUTO] ? text : survey->auto_ends ? "nothing: a seccomp filter ends the "
        "program that tries" : "nothing: programs run without a limit");
    putchar('\n');
    show_swap(survey);
    show_advice(survey);
}

/* ---- for programs ---- */

static json_t *number(uint64_t value)
{
    return value > INT64_MAX ? json_null() : json_integer((json_int_t)value);
}

static json_t *string(const char *text)
{
    return text != NULL ? json_string(text) : json_null();
}

static json_t *checks_json(const struct survey *survey)
{
    json_t *checks = json_object();

    for (int i = 0; i < SURVEY_CHECKS; i++)
        (void)json_object_set_new(checks, survey->checks[i].key,
                                  json_pack("{s:b, s:o}", "possible", survey->checks[i].possible, "why_not",
                                            string(survey->checks[i].possible ? NULL : survey->checks[i].why_not)));
    return checks;
}

static json_t *backends_json(const struct survey *survey)
{
    json_t *backends = json_object();

    for (int i = CONFIG_FAULTS_THREAD; i <= CONFIG_FAULTS_SEGV; i++)
        (void)json_object_set_new(backends, survey_backend_names[i], json_boolean(survey->backend_possible[i]));
    return backends;
}

static json_t *swap_json(const struct survey *survey)
{
    const struct swapplace *place = &survey->place;

    return json_pack("{s:o, s:b, s:o, s:o, s:b, s:b, s:o}", "path", string(survey->swap), "possible", place->why_not == NULL, "why_not",
                     string(place->why_not), "file_system", string(place->file_system), "in_ram", place->in_ram, "over_network",
                     place->over_network, "free_bytes", place->file_system != NULL ? number(place->free_bytes) : json_null());
}

static json_t *advice_json(const struct survey *survey)
{
    json_t *list = json_array();
    char text[SURVEY_ADVICE_BYTES];
    const char *advice;

    for (unsigned i = 0; (advice = survey_advice(survey, i, text)) != NULL; i++)
        (void)json_array_append_new(list, json_string(advice));
    return list;
}

static int show_json(const struct survey *survey)
{
    bool any = survey->backend_possible[CONFIG_FAULTS_AUTO];
    json_t *all = json_pack(
        "{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:b, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "version",
        GHOSTMEM_VERSION, "kernel", survey->system.release, "machine", survey->system.machine, "ram_bytes", number(survey->ram_bytes),
        "available_bytes", number(survey->available_bytes), "usable_bytes", number(survey->usable_bytes), "cgroup_version",
        survey->cgroup_version != 0 ? json_integer((json_int_t)survey->cgroup_version) : json_null(), "cgroup_limit_bytes",
        survey->cgroup_version != 0 ? number(survey->cgroup_limit_bytes) : json_null(), "address_space_bytes",
        number(survey->address_space_bytes), "default_limit_bytes", number(survey->default_limit_bytes), "user", (int)survey->user,
        "cap_sys_ptrace", survey->has_ptrace, "seccomp_filter", survey->filtered, "container", string(survey->container), "checks",
        checks_json(survey), "backends", backends_json(survey), "auto", string(any ? survey_backend_names[survey->best] : NULL),
        "auto_reason", string(any ? survey->best_reason : NULL), "swap", swap_json(survey), "advice", advice_json(survey));
    int error = all != NULL ? json_dumpf(all, stdout, JSON_INDENT(2)) : -1;

    json_decref(all);
    if (error != 0)
        return command_fail(COMMAND_REFUSED, "the answer cannot be written");
    putchar('\n');
    return COMMAND_DONE;
}

int command_doctor(int argc, char **argv)
{
    static const struct option options[] = {
        {.name = "help", .val = COMMAND_HELP},
        {.name = "version", .val = COMMAND_VERSION},
        {.name = "json", .val = OPTION_JSON},
        {.name = "swap", .has_arg = required_argument, .val = OPTION_SWAP},
        {0},
    };
    const char *swap = NULL;
    bool as_json = false;
    struct survey survey;
    int status = COMMAND_DONE;
    int code;

    while ((code = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (code) {
        case COMMAND_HELP: fputs(usage, stdout); return COMMAND_DONE;
        case COMMAND_VERSION: return command_show_version();
        case OPTION_JSON: as_json = true; break;
        case OPTION_SWAP: swap = optarg; break;
        default: return COMMAND_REFUSED; /* getopt_long() has said why */
        }
    }
    if (optind < argc)
        return command_fail(COMMAND_REFUSED, "%s: doctor takes no arguments", argv[optind]);
    survey_make(&survey, swap != NULL ? swap : DEFAULT_SWAP);
    if (as_json)
        status = show_json(&survey);
    else
        show(&survey);
    if (status == COMMAND_DONE && (!survey.backend_possible[CONFIG_FAULTS_AUTO] || (swap != NULL && survey.place.why_not != NULL)))
        status = COMMAND_NOT_POSSIBLE;
    return status;
}
