/* test_doctor.c - ghostmem doctor: what it says is what the library does. */
#include "tests/command/said.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define NOBODY "--reuid=65534"

static struct said said;

TestSuite(doctor, .init = make_dir, .fini = remove_dir);

static json_t *parse(void)
{
    json_error_t error;
    json_t *all = json_loads(said.out, 0, &error);

    cr_assert_not_null(all, "%s: %s%s", error.text, said.out, said.err);
    return all;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "";
}

static bool can(const json_t *all, const char *check)
{
    return json_is_true(json_object_get(json_object_get(json_object_get(all, "checks"), check), "possible"));
}

/* Whether a line of the advice has this in it. */
static bool advises(const json_t *all, const char *what)
{
    const json_t *list = json_object_get(all, "advice");

    for (size_t i = 0; i < json_array_size(list); i++)
        if (strstr(json_string_value(json_array_get(list, i)), what) != NULL)
            return true;
    return false;
}

/* What the library takes there, by its statistics. "none": nothing was possible. */
static void backend_of_library(char *name, size_t bytes, const char *forbidden)
{
    json_t *stats;

    (void)unlink(in_dir("stats.json"));
    if (forbidden == NULL)
        RUN(&said, "-m", "1M", "--force", "--stats=stats.json", of_ours("probe"), "realloc_keeps_the_contents", "8");
    else
        RUN_OTHER(&said, of_ours("helper_forbid"), forbidden, command_path(), "-m", "1M", "--force", "--stats=stats.json", of_ours("probe"),
                  "realloc_keeps_the_contents", "8");
    cr_assert(ended(&said, 0), "%s%s", said.out, said.err);
    RUN_OTHER(&said, "/bin/cat", "stats.json");
    stats = parse();
    (void)snprintf(name, bytes, "%s", text_of(stats, "backend"));
    json_decref(stats);
}

static json_t *ask(const char *forbidden)
{
    if (forbidden == NULL)
        RUN(&said, "doctor", "--json");
    else
        RUN_OTHER(&said, of_ours("helper_forbid"), forbidden, command_path(), "doctor", "--json");
    cr_assert_str_eq(said.err, "");
    return parse();
}

static void compare(const char *forbidden)
{
    char taken[32];
    json_t *all = ask(forbidden);
    const char *expected = json_is_null(json_object_get(all, "auto")) ? "none" : text_of(all, "auto");

    cr_assert(ended(&said, strcmp(expected, "none") == 0 ? 1 : 0));
    backend_of_library(taken, sizeof taken, forbidden);
    cr_assert_str_eq(taken, expected);
    json_decref(all);
}

Test(doctor, backend_is_what_the_library_takes)
{
    compare(NULL);
    compare("userfaultfd");
    compare("dispatch");
    as_user = getuid() == 0 ? NOBODY : NULL;
    compare(NULL);
    compare("userfaultfd");
    compare("dispatch");
    compare("both");
}

Test(doctor, says_what_a_filter_forbids)
{
    json_t *all;

    as_user = getuid() == 0 ? NOBODY : NULL;
    all = ask("userfaultfd");
    cr_assert(json_is_true(json_object_get(all, "seccomp_filter")));
    cr_assert(!can(all, "userfaultfd") && !can(all, "userfaultfd_user_mode") && !can(all, "uffdio_move"));
    cr_assert(can(all, "proc_self_mem"));
    cr_assert(advises(all, "userfaultfd"), "%s", said.out);
    json_decref(all);

    all = ask("dispatch");
    cr_assert(!can(all, "syscall_user_dispatch"));
    cr_assert(advises(all, "prctl"), "%s", said.out);
    json_decref(all);
}

Test(doctor, advice_is_for_the_place_where_it_runs)
{
    static const char *const service[] = {"INVOCATION_ID=1", NULL};
    static const char *const kubernetes[] = {"KUBERNETES_SERVICE_HOST=10.0.0.1", NULL};
    json_t *all;

    as_user = getuid() == 0 ? NOBODY : NULL;
    with_settings = kubernetes;
    all = ask("userfaultfd");
    cr_assert(advises(all, "seccompProfile"), "%s", said.out);
    json_decref(all);
    if (access("/.dockerenv", F_OK) == 0 || access("/run/.containerenv", F_OK) == 0 || access("/run/systemd/container", F_OK) == 0)
        return; /* which counts more than what follows */
    with_settings = service;
    all = ask("userfaultfd");
    cr_assert(advises(all, "SystemCallFilter=userfaultfd"), "%s", said.out);
    json_decref(all);
}

Test(doctor, nothing_is_said_to_run_where_nothing_can)
{
    as_user = getuid() == 0 ? NOBODY : NULL;
    RUN_OTHER(&said, of_ours("helper_forbid"), "both", command_path(), "-m", "1M", "true");
    cr_assert(refused(&said, 125, "--faults=auto is not possible here: `ghostmem doctor` says why"), "%s", said.err);
    RUN_OTHER(&said, of_ours("helper_forbid"), "both", command_path(), "doctor");
    cr_assert(ended(&said, 1));
    cr_assert_not_null(strstr(said.out, "nothing: programs run without a limit"));
}

Test(doctor, filter_that_kills_is_told_of)
{
    json_t *all;

    as_user = getuid() == 0 ? NOBODY : NULL;
    all = ask("userfaultfd!");
    cr_assert(ended(&said, 1));
    cr_assert(!can(all, "userfaultfd_user_mode") && can(all, "syscall_user_dispatch") && json_is_null(json_object_get(all, "auto")));
    cr_assert_not_null(strstr(said.out, "a seccomp filter ends the program that tries it"));
    cr_assert(advises(all, "--faults=segv"));
    json_decref(all);
    RUN_OTHER(&said, of_ours("helper_forbid"), "userfaultfd!", command_path(), "-m", "1M", "true");
    cr_assert(refused(&said, 125, "--faults=auto would end the program here"), "%s", said.err);
    RUN_OTHER(&said, of_ours("helper_forbid"), "userfaultfd!", command_path(), "-m", "1M", "--faults=segv", "true");
    cr_assert(ended(&said, 0) && said.err[0] == '\0', "%s", said.err);
}

Test(doctor, text_has_every_check)
{
    static const char *const labels[] = {"RAM", "control group", "limit where none", "seccomp filter", "userfaultfd(2), all faults",
                                         "/dev/userfaultfd", "user mode alone", "UFFDIO_MOVE", "Syscall User Dispatch",
                                         "/proc/self/mem", "backend signal", "backend thread", "backend segv", "auto takes",
                                         "swap file in /var/tmp"};

    RUN(&said, "doctor");
    cr_assert_str_eq(said.err, "");
    for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++)
        cr_assert_not_null(strstr(said.out, labels[i]), "%s: %s", labels[i], said.out);
}

Test(doctor, swap_place_is_described)
{
    struct statfs system;
    json_t *all;
    const json_t *swap;

    RUN(&said, "doctor", "--json", "--swap=.");
    all = parse();
    swap = json_object_get(all, "swap");
    cr_assert(ended(&said, 0) && json_is_true(json_object_get(swap, "possible")));
    cr_assert_eq(statfs(dir, &system), 0);
    cr_assert(json_integer_value(json_object_get(swap, "free_bytes")) > 0 || system.f_bavail == 0);
    json_decref(all);

    RUN(&said, "doctor", "--json", "--swap=/no/such/place");
    all = parse();
    swap = json_object_get(all, "swap");
    cr_assert(ended(&said, 1) && json_is_false(json_object_get(swap, "possible")));
    cr_assert_str_eq(text_of(swap, "why_not"), "no such directory");
    json_decref(all);
}

Test(doctor, swap_in_ram_is_warned_of)
{
    struct statfs system;
    json_t *all;

    if (statfs("/dev/shm", &system) != 0 || system.f_type != 0x01021994 || access("/dev/shm", W_OK) != 0)
        cr_skip_test("no tmpfs in /dev/shm");
    RUN(&said, "doctor", "--json", "--swap=/dev/shm");
    all = parse();
    cr_assert(json_is_true(json_object_get(json_object_get(all, "swap"), "in_ram")));
    cr_assert(advises(all, "a directory on a disk"));
    json_decref(all);
    RUN(&said, "--swap=/dev/shm", "true");
    cr_assert(refused(&said, 0, "a file system in RAM (tmpfs)"), "%s", said.err);
}

Test(doctor, limit_of_the_control_group_counts)
{
    static const struct {
        const char *mount;
        const char *file;
        int version;
    } groups[] = {{"/sys/fs/cgroup/memory", "memory.limit_in_bytes", 1}, {"/sys/fs/cgroup", "memory.max", 2}};
    char group[PATH_BYTES] = "";
    char script[2 * PATH_BYTES];
    json_t *all = NULL;
    int i = 0;

    for (; i < 2 && all == NULL; i++) {
        FILE *limit;

        snprintf(group, sizeof group, "%s/ghostmem-test-%d", groups[i].mount, (int)getpid());
        snprintf(script, sizeof script, "%s/%s", group, groups[i].file);
        if (mkdir(group, 0755) != 0)
            continue;
        limit = fopen(script, "r+");
        if (limit == NULL || fputs("268435456", limit) < 0 || fclose(limit) != 0) {
            (void)rmdir(group);
            continue;
        }
        snprintf(script, sizeof script, "echo $$ >%s/cgroup.procs && exec \"$0\" doctor --json", group);
        RUN_OTHER(&said, "/bin/sh", "-c", script, command_path());
        all = parse();
        snprintf(script, sizeof script, "echo $$ >%s/cgroup.procs && exec \"$0\" -m 512M true", group);
        RUN_OTHER(&said, "/bin/sh", "-c", script, command_path());
        (void)rmdir(group);
    }
    if (all == NULL)
        cr_skip_test("no control group can be made");
    cr_assert_eq(json_integer_value(json_object_get(all, "cgroup_limit_bytes")), 268435456);
    cr_assert_eq(json_integer_value(json_object_get(all, "cgroup_version")), groups[i - 1].version);
    cr_assert_eq(json_integer_value(json_object_get(all, "default_limit_bytes")), 134217728);
    cr_assert(refused(&said, 125, "a limit of 512.0 MiB is more than what the control group allows, 256.0 MiB"), "%s", said.err);
    json_decref(all);
}

Test(doctor, bad_options_are_one_line)
{
    RUN(&said, "doctor", "--frobnicate");
    cr_assert(refused(&said, 125, "--frobnicate"));
    RUN(&said, "doctor", "everything");
    cr_assert(refused(&said, 125, "doctor takes no arguments"));
    RUN_OTHER(&said, "/bin/sh", "-c", "\"$0\" doctor >/dev/full", command_path());
    cr_assert(refused(&said, 125, "cannot be written"), "%s", said.err);
    RUN_OTHER(&said, "/bin/sh", "-c", "\"$0\" doctor --json >/dev/full", command_path());
    cr_assert(refused(&said, 125, "cannot be written"), "%s", said.err);
    RUN(&said, "doctor", "--help");
    cr_assert(ended(&said, 0) && strstr(said.out, "usage: ghostmem doctor") != NULL);
}
