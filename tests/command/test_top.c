/* test_top.c - ghostmem top: the table, the JSON, and the view on a terminal (tmux). */
#include "tests/command/running.h"
#include "tests/command/said.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct said said;
static struct running running;

#define OPTIONS(...) (const char *const[]){__VA_ARGS__, NULL}

static void init(void)
{
    make_dir();
    start_running(&running, OPTIONS("-m", "3M"), "2", "8");
}

static void fini(void)
{
    end_running(&running);
    remove_dir();
}

TestSuite(top, .init = init, .fini = fini, .timeout = 60);

static void sleep_ms(unsigned ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

/* The line of @text that begins with the running process's number, zero-terminated; NULL: there is none. */
static char *line_of(char *text)
{
    char id[16];

    snprintf(id, sizeof id, "%7d ", running.id);
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"))
        if (strncmp(line, id, strlen(id)) == 0)
            return line;
    return NULL;
}

Test(top, table_has_the_process)
{
    char *line;
    char name[32], limit[16], resident[16], frozen[16], images[16];
    double ratio, faults, waited;
    int id;

    RUN(&said, "top", "--once", "--sort=process");
    cr_assert(ended(&said, 0) && said.err[0] == '\0', "%s", said.err);
    cr_assert_not_null(strstr(said.out,
                              "    PID PROGRAM             LIMIT  RESIDENT    FROZEN    IMAGES  RATIO      SWAP FAULTS/S  WAIT%\n"));
    line = line_of(said.out);
    cr_assert_not_null(line);
    cr_assert_eq(sscanf(line, "%d %31s %15s %15s %15s %15s %lf %*s %lf %lf", &id, name, limit, resident, frozen, images, &ratio, &faults,
                        &waited), 9, "%s", line);
    cr_assert_str_eq(name, "helper_verify");
    cr_assert_str_eq(limit, "3.0M");
    cr_assert(atof(resident) <= 3.0 && atof(frozen) >= 4 && ratio > 1.5 && faults > 0 && waited > 0, "%s", line);
}

Test(top, json_has_what_the_process_counts)
{
    char id[32];
    const char *ours;

    RUN(&said, "top", "--json");
    cr_assert(ended(&said, 0) && said.out[0] == '[', "%s", said.err);
    snprintf(id, sizeof id, "\"process\": %d,", running.id);
    ours = strstr(said.out, id);
    cr_assert_not_null(ours, "%s", said.out);
    cr_assert_not_null(strstr(ours, "\"limit_pages\": 768,"));
    cr_assert_not_null(strstr(ours, "\"waited_percent\": "));
    cr_assert_not_null(strstr(ours, "\"swap_max_bytes\": null,"));
}

Test(top, other_users_processes_are_not_seen)
{
    if (geteuid() != 0)
        cr_skip_test("needs root to become another user");
    as_user = "--reuid=65534";
    RUN(&said, "top", "--once");
    as_user = NULL;
    cr_assert(ended(&said, 0), "%s", said.err);
    cr_assert_null(line_of(said.out));
}

Test(top, bad_options_are_one_line)
{
    RUN(&said, "top", "--sort=colour");
    cr_assert(refused(&said, 125, "--sort: accepted: process"), "%s", said.err);
    RUN(&said, "top", "--delay=0");
    cr_assert(refused(&said, 125, "--delay=0: accepted"));
    RUN(&said, "top", "--delay=x");
    cr_assert(refused(&said, 125, "--delay=x: accepted"));
    RUN(&said, "top", "more");
    cr_assert(refused(&said, 125, "top takes no arguments"));
    RUN(&said, "top", "-x");
    cr_assert(refused(&said, 125, "'x'"));
    RUN(&said, "top", "--help");
    cr_assert(ended(&said, 0) && strstr(said.out, "usage: ghostmem top") != NULL);
    RUN_OTHER(&said, "/bin/sh", "-c", "\"$0\" top --once >/dev/full", command_path());
    cr_assert(refused(&said, 125, "cannot be written"), "%s", said.err);
}

/* ---- on a terminal ---- */

static bool has_tmux(void)
{
    return access("/usr/bin/tmux", X_OK) == 0;
}

/* @words of tmux's server for this test. */
#define TMUX(...) RUN_OTHER(&said, "/usr/bin/tmux", "-f", "/dev/null", "-S", in_dir("tmux"), __VA_ARGS__)

static void start_view(const char *width, const char *height)
{
    char script[2 * PATH_BYTES];

    if (!has_tmux())
        cr_skip_test("no tmux");
    snprintf(script, sizeof script, "LC_ALL=C.UTF-8 '%s' top --delay=0.1 2>err; echo $? >end; sleep 30", command_path());
    TMUX("-u", "new-session", "-d", "-x", width, "-y", height, script);
    cr_assert(ended(&said, 0), "%s", said.err);
}

/* The screen has @text on it, soon. */
static bool shows(const char *text)
{
    for (unsigned i = 0; i < 100; i++) {
        TMUX("capture-pane", "-p");
        if (strstr(said.out, text) != NULL)
            return true;
        sleep_ms(30);
    }
    return false;
}

static void end_view(void)
{
    TMUX("send-keys", "q");
    for (unsigned i = 0; i < 100 && access(in_dir("end"), R_OK) != 0; i++)
        sleep_ms(30);
    sleep_ms(30);
    RUN_OTHER(&said, "/bin/cat", "end", "err");
    cr_assert_str_eq(said.out, "0\n");
    TMUX("kill-server");
}

static void see(const char *width, const char *height)
{
    char row[32];

    start_view(width, height);
    snprintf(row, sizeof row, "%7d helper_verify", running.id);
    cr_assert(shows("PID PROGRAM"), "%s", said.out);
    cr_assert(shows(row), "%s", said.out);
    /* Down to the end of the table and up again, then one process: ours, or another that runs here. */
    TMUX("send-keys", "p", "Down", "Up", "NPage", "PPage", "Enter");
    cr_assert(shows("Escape back"), "%s", said.out);
    cr_assert(strstr(said.out, "\nresident   ") != NULL || strstr(said.out, "\nclosed     ") != NULL, "%s", said.out);
    TMUX("send-keys", "Escape");
    cr_assert(shows("Enter one"), "%s", said.out);
    end_view();
}

Test(top, view_fits_a_window_of_forty_by_ten)
{
    see("40", "10");
}

Test(top, view_uses_a_large_window)
{
    see("120", "30");
}

Test(top, view_survives_tiny_windows_and_changes_of_size)
{
    start_view("40", "10");
    cr_assert(shows("PID PROGRAM"));
    TMUX("resize-window", "-x", "3", "-y", "2");
    sleep_ms(200);
    TMUX("send-keys", "Enter");
    TMUX("resize-window", "-x", "1", "-y", "1");
    sleep_ms(200);
    TMUX("send-keys", "Escape");
    TMUX("resize-window", "-x", "90", "-y", "12");
    cr_assert(shows("LIMIT"), "%s", said.out);
    end_view();
}

Test(top, view_ends_when_the_terminal_vanishes)
{
    char path[PATH_BYTES];
    char command[3 * PATH_BYTES];

    start_view("40", "10");
    cr_assert(shows("PID PROGRAM"));
    TMUX("kill-server");
    /* Also who ignores the signal that says so. */
    snprintf(command, sizeof command,
             "trap '' HUP; LC_ALL=C.UTF-8 '%s' top --delay=0.1 2>err & echo $! >id; wait $!; echo $? >end", command_path());
    TMUX("new-session", "-d", "-x", "40", "-y", "10", "bash", "-i", "-c", command);
    sleep_ms(500);
    TMUX("kill-server");
    snprintf(path, sizeof path, "%s", in_dir("id"));
    for (unsigned i = 0; i < 100; i++) {
        RUN_OTHER(&said, "/bin/sh", "-c", "kill -0 $(cat id) 2>/dev/null && echo runs", path);
        if (said.out[0] == '\0')
            break;
        sleep_ms(30);
    }
    cr_assert_str_eq(said.out, "");
}

Test(top, unknown_terminal_is_one_line)
{
    char script[2 * PATH_BYTES];

    snprintf(script, sizeof script, "TERM=no-such-terminal '%s' top 2>err; echo $? >end", command_path());
    RUN_OTHER(&said, "/usr/bin/script", "-qec", script, "/dev/null");
    RUN_OTHER(&said, "/bin/cat", "end", "err");
    cr_assert_str_eq(said.out, "1\nghostmem: the terminal (TERM=no-such-terminal) is not known; ghostmem top --once\n");
}
