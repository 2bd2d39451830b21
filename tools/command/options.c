/* options.c - see options.h. */
#include "tools/command/options.h"

#include "core/config.h"
#include "tools/command/command.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_BYTES 64

static char names[OPTIONS_MAX][NAME_BYTES];

static const char *option_name(const char *setting, char name[NAME_BYTES])
{
    size_t n = 0;

    for (; setting[n] != '\0' && n + 1 < NAME_BYTES; n++)
        name[n] = setting[n] == '_' ? '-' : (char)tolower((unsigned char)setting[n]);
    name[n] = '\0';
    return name;
}

/* "0 or 1", "0, 1 or a path": 1 is on. Others take a 1 as a number. */
static bool is_switch(const char *accepted)
{
    return accepted[0] == '0' && (accepted[1] == ' ' || accepted[1] == ',');
}

void options_append(struct option options[OPTIONS_MAX], size_t n)
{
    const char *accepted;
    const char *name;

    for (size_t i = 0; n + 1 < OPTIONS_MAX && (name = config_setting_name(i, &accepted)) != NULL; i++)
        options[n++] = (struct option){
            .name = option_name(name, names[i]),
            .has_arg = is_switch(accepted) ? optional_argument : required_argument,
            .val = OPTIONS_FIRST + (int)i,
        };
    options[n] = (struct option){0};
}

int options_named(const char *wanted)
{
    const char *accepted;
    const char *name;
    size_t i = 0;

    while ((name = config_setting_name(i, &accepted)) != NULL && strcmp(name, wanted) != 0)
        i++;
    return OPTIONS_FIRST + (int)i;
}

/* The limit has two settings: the one that is given counts. */
static void forget_other(const char *name)
{
    if (strcmp(name, "MAX_MEMORY") == 0)
        (void)unsetenv("GHOSTMEM_MAX_PAGES");
    if (strcmp(name, "MAX_PAGES") == 0)
        (void)unsetenv("GHOSTMEM_MAX_MEMORY");
}

int options_take(int code, const char *value)
{
    size_t number = (size_t)(code - OPTIONS_FIRST);
    const char *accepted;
    const char *name = config_setting_name(number, &accepted);
    char variable[NAME_BYTES + 16];
    char option[NAME_BYTES];

    if (value == NULL)
        value = "1";
    if (!config_setting_takes(number, value)) {
        (void)command_fail(0, "--%s=%s: accepted: %s", option_name(name, option), value, accepted);
        return -1;
    }
    (void)snprintf(variable, sizeof variable, "GHOSTMEM_%s", name);
    forget_other(name);
    if (setenv(variable, value, 1) == 0)
        return 0;
    (void)command_fail(0, "no memory");
    return -1;
}

void options_list(void)
{
    const char *accepted;
    const char *name;

    for (size_t i = 0; (name = config_setting_name(i, &accepted)) != NULL; i++) {
        char option[NAME_BYTES];
        char left[2 * NAME_BYTES];

        (void)snprintf(left, sizeof left, "--%s%s", option_name(name, option), is_switch(accepted) ? "[=VALUE]" : "=VALUE");
        printf("  %-24s %s\n", left, accepted);
    }
}
