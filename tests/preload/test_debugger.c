/*
 * test_debugger.c - gdb with doc/ghostmem.gdb: programs that it starts, and processes that it is attached to. And strace,
 * which follows every thread, and debuggers that are themselves run with GhostMem.
 *
 * From the environment: GHOSTMEM_LIB and GHOSTMEM_TEST_BIN; doc/ lies beside the library.
 */
#include "tests/preload/crash.h"
#include "tests/preload/outcome.h"
#include "tests/programs/run.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define GDB_TIMEOUT_S 100
#define MEGABYTES "8"
/* In the middle of what was filled, and long frozen. */
#define FROZEN_PAGE 700
#define LAST_PAGE (((size_t)8 << 20) / PAGE - 1)

TestSuite(debugger, .init = make_dir, .fini = remove_dir);

static const char *const backends[] = {"thread", "signal", "segv"};
#define N_BACKENDS (sizeof backends / sizeof backends[0])

static char text[16384]; /* what gdb and the program said */

#define MAX_COMMANDS 12

static const char *limit = "64";

/* gdb, with our commands first, then these; @of: what to debug, NULL at its end. */
static void run_gdb(const char *backend, const char *const *commands, const char *const *of)
{
    char script[PATH_BYTES];
    char faults[64];
    char pages[64];
    const char *library = required("GHOSTMEM_LIB");
    const char *argv[10 + 2 * MAX_COMMANDS + 8] = {"gdb", "-nx", "-batch", "-x", script, "-ex", "set startup-with-shell off",
                                                "-ex", "set print thread-events off"};
    const char *env[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", "DEBUGINFOD_URLS=", pages, faults, NULL};
    struct run run = {.argv = argv, .env = env, .dir = dir, .output = "out", .errors = "err", .timeout_s = GDB_TIMEOUT_S};
    struct run_result result;
    size_t n = 9;
    size_t length;

    if (!run_can("gdb"))
        cr_skip_test("there is no gdb");
    snprintf(script, sizeof script, "%.*s/doc/ghostmem.gdb", (int)(strrchr(library, '/') - library), library);
    snprintf(faults, sizeof faults, "GHOSTMEM_FAULTS=%s", backend);
    snprintf(pages, sizeof pages, "GHOSTMEM_MAX_PAGES=%s", limit);
    for (; *commands != NULL; commands++) {
        argv[n++] = "-ex";
        argv[n++] = *commands;
    }
    for (; *of != NULL; of++)
        argv[n++] = *of;
    cr_assert_eq(run_program(&run, &result), 0);
    read_file("out", text, sizeof text);
    length = strlen(text);
    read_file("err", text + length, sizeof text - length);
    cr_assert(!result.timed_out, "%s: gdb hangs: %s", backend, text);
    if (strstr(text, "ptrace: Operation not permitted") != NULL)
        cr_skip_test("gdb may not be attached here");
    /* gdb 13 has room for less than a processor with AMX has, and gives back other registers than it took after a call. */
    if (strstr(text, "Couldn't write extended state status: Bad address") != NULL)
        cr_skip_test("this gdb cannot write the registers of this processor");
}

/* The probe from its start, by gdb. */
static void debug(const char *backend, const char *probe, const char *const *more)
{
    char program[PATH_BYTES];
    char preload[PATH_BYTES];
    const char *commands[MAX_COMMANDS] = {preload, "run"};
    const char *of[] = {"--args", program, probe, MEGABYTES, NULL};

    snprintf(program, sizeof program, "%s/probe", required("GHOSTMEM_TEST_BIN"));
    snprintf(preload, sizeof preload, "set environment LD_PRELOAD %s", required("GHOSTMEM_LIB"));
    for (size_t i = 0; more != NULL && more[i] != NULL; i++)
        commands[2 + i] = more[i];
    run_gdb(backend, commands, of);
}

static void expect(const char *backend, const char *what)
{
    cr_assert_not_null(strstr(text, what), "%s: no \"%s\" in: %s", backend, what, text);
}

static void expect_word(const char *backend, unsigned number, uint64_t word)
{
    char line[64];

    snprintf(line, sizeof line, "$%u = %#lx\n", number, (unsigned long)word);
    expect(backend, line);
}

/* ---- started by gdb ---- */

Test(debugger, program_ends_under_gdb_as_it_does_without)
{
    static const char *const some[] = {"realloc_keeps_the_contents", "system_calls_reach_frozen_memory",
                                       "many_threads_come_and_go"};

    for (size_t i = 0; i < N_BACKENDS; i++)
        for (size_t k = 0; k < sizeof some / sizeof some[0]; k++) {
            debug(backends[i], some[k], NULL);
            expect(backends[i], "exited normally]\n");
            expect(backends[i], "ok\n");
            cr_assert_null(strstr(text, "received signal"), "%s, %s: %s", backends[i], some[k], text);
        }
}

/* What follows `run` in these would stop at a signal of ours before. */
static const char *const at_crash[] = {
    "where",
    "ghostmem-thaw &crash_block[700*512]",
    "print/x crash_block[700*512]",
    "ghostmem-thaw crash_block 16*4096",
    "print/x crash_block[15*512+511]",
    "kill",
    NULL,
};

Test(debugger, true_crash_is_found_and_frozen_memory_read_there)
{
    for (size_t i = 0; i < N_BACKENDS; i++) {
        debug(backends[i], "crashes_with_frozen_memory", at_crash);
        expect(backends[i], i == 0 ? "received signal SIGSEGV" : "ghostmem_crash (number=");
        expect(backends[i], " write_wildly () at");
        expect(backends[i], " main (");
        expect_word(backends[i], 1, crash_word(700, 0));
        expect_word(backends[i], 2, crash_word(15, 511));
    }
}

/* Paging has not begun: the file has changed nothing yet. */
Test(debugger, crash_before_paging_is_found_too)
{
    static const char *const commands[] = {"where", "kill", NULL};

    limit = "100000";
    for (size_t i = 0; i < N_BACKENDS; i++) {
        debug(backends[i], "crashes_at_once", commands);
        expect(backends[i], "received signal SIGSEGV");
        expect(backends[i], " write_wildly () at");
    }
}

/* ---- attached ---- */

struct live {
    pid_t process;
    int to;   /* its standard input */
    int from; /* its standard output */
};

static void start(const char *probe, const char *backend, struct live *live)
{
    int in[2];
    int out[2];

    cr_assert_eq(pipe2(in, O_CLOEXEC), 0);
    cr_assert_eq(pipe2(out, O_CLOEXEC), 0);
    live->process = fork();
    cr_assert_geq(live->process, 0);
    if (live->process == 0) {
        char program[PATH_BYTES];
        char preload[PATH_BYTES];
        char faults[64];
        char *env[] = {preload, faults, (char *)(size_t)"GHOSTMEM_MAX_PAGES=64", NULL};

        snprintf(program, sizeof program, "%s/probe", required("GHOSTMEM_TEST_BIN"));
        snprintf(preload, sizeof preload, "LD_PRELOAD=%s", required("GHOSTMEM_LIB"));
        snprintf(faults, sizeof faults, "GHOSTMEM_FAULTS=%s", backend);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(in[0], 0);
        dup2(out[1], 1);
        execle(program, "probe", probe, MEGABYTES, (char *)NULL, env);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    live->to = in[1];
    live->from = out[0];
}

static void expect_line(struct live *live, char line[64])
{
    size_t n = 0;
    struct pollfd ready = {.fd = live->from, .events = POLLIN};

    while (n < 63 && poll(&ready, 1, TIMEOUT_S * 1000) == 1 && read(live->from, &line[n], 1) == 1 && line[n] != '\n')
        n++;
    line[n] = '\0';
}

/* It looks at all of its memory, and ends. */
static void finish(const char *backend, struct live *live)
{
    char line[64];
    int status;

    cr_assert_eq(write(live->to, "!", 1), 1);
    expect_line(live, line);
    cr_assert_str_eq(line, "ok", "%s", backend);
    cr_assert_eq(waitpid(live->process, &status, 0), live->process);
    cr_assert_eq(status, 0, "%s: status %#x", backend, (unsigned)status);
    close(live->to);
    close(live->from);
}

static void attach(const char *backend, const struct live *live, const char *const *commands)
{
    char process[32];
    const char *of[] = {"-p", process, NULL};

    snprintf(process, sizeof process, "%d", (int)live->process);
    run_gdb(backend, commands, of);
}

Test(debugger, attached_gdb_reads_frozen_memory_and_the_program_goes_on)
{
    static const char *const commands[] = {
        "print/x crash_block[2047*512]",
        "x/gx &crash_block[700*512]",
        "ghostmem-thaw &crash_block[700*512]",
        "print/x crash_block[700*512]",
        "ghostmem-thaw &crash_block[17*512] 4*4096",
        "print/x crash_block[20*512+1]",
        "detach",
        NULL,
    };

    for (size_t i = 0; i < N_BACKENDS; i++) {
        struct live live;
        char line[64];

        start("waits_for_a_debugger", backends[i], &live);
        expect_line(&live, line); /* the block's address */
        usleep(500000);
        attach(backends[i], &live, commands);
        expect_word(backends[i], 1, crash_word(LAST_PAGE, 0));
        expect_word(backends[i], 2, crash_word(FROZEN_PAGE, 0));
        expect_word(backends[i], 3, crash_word(20, 1));
        /* /proc/PID/mem reads through a protection, and zeros: doc/limits.md. */
        if (strcmp(backends[i], "segv") != 0)
            expect(backends[i], "Cannot access memory at address");
        finish(backends[i], &live);
    }
}

/* In the middle of a fault too: what is under way when gdb stops the threads ends when it lets go of them. */
Test(debugger, gdb_comes_and_goes_while_the_program_works)
{
    static const char *const commands[] = {"where", "detach", NULL};

    for (size_t i = 0; i < N_BACKENDS; i++) {
        struct live live;
        char line[64];

        start("works_until_told", backends[i], &live);
        expect_line(&live, line);
        cr_assert_str_eq(line, "ready", "%s", backends[i]);
        for (int k = 0; k < 5; k++) {
            attach(backends[i], &live, commands);
            expect(backends[i], " main (");
        }
        finish(backends[i], &live);
    }
}

/* ---- others ---- */

#define OTHER_TIMEOUT_S 60

/* Backends, settings, limit; then the debugger. Its output is in `text`. */
static int run_other(const char *const *argv, const char *const *env)
{
    struct run run = {.argv = argv, .env = env, .dir = dir, .output = "out", .errors = "err", .timeout_s = OTHER_TIMEOUT_S};
    struct run_result result;
    size_t length;

    cr_assert_eq(run_program(&run, &result), 0);
    read_file("out", text, sizeof text);
    length = strlen(text);
    read_file("err", text + length, sizeof text - length);
    cr_assert(!result.timed_out, "%s hangs: %s, %s", argv[0], env[2], text);
    return result.status;
}

/* Our own threads are not its to stop: a thread that it has stopped in a call may need them. */
Test(debugger, strace_follows_every_thread)
{
    char program[PATH_BYTES];
    char preload[PATH_BYTES];
    char faults[64];
    const char *argv[] = {"strace", "-f", "-o", "/dev/null", "-E", preload, "-E", faults, "-E", "GHOSTMEM_MAX_PAGES=64",
                          "-E", "GHOSTMEM_THRESHOLD=4096", program, "calls_read_frozen_names", "1", NULL};
    const char *env[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", faults, NULL};

    if (!run_can("strace"))
        cr_skip_test("there is no strace");
    snprintf(program, sizeof program, "%s/probe", required("GHOSTMEM_TEST_BIN"));
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s", required("GHOSTMEM_LIB"));
    for (size_t i = 0; i < N_BACKENDS; i++) {
        int status;

        snprintf(faults, sizeof faults, "GHOSTMEM_FAULTS=%s", backends[i]);
        status = run_other(argv, env);
        if (strstr(text, "Operation not permitted") != NULL)
            cr_skip_test("strace may not trace here");
        cr_assert_eq(status, 0, "%s: status %#x, %s", backends[i], (unsigned)status, text);
        expect(backends[i], "ok\n");
    }
}

static void run_under_ghostmem(const char *const *argv, const char *end)
{
    static const char *const settings[][2] = {{"GHOSTMEM_MAX_PAGES=64", "X=1"}, {"GHOSTMEM_MAX_PAGES=1024", "GHOSTMEM_THRESHOLD=4096"}};
    char preload[PATH_BYTES];
    char faults[64];

    if (!run_can(argv[0]))
        cr_skip_test("there is no %s", argv[0]);
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s", required("GHOSTMEM_LIB"));
    for (size_t i = 0; i < N_BACKENDS; i++)
        for (size_t k = 0; k < 2; k++) {
            const char *env[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", faults, settings[k][0], settings[k][1], preload,
                                 "DEBUGINFOD_URLS=", NULL};

            snprintf(faults, sizeof faults, "GHOSTMEM_FAULTS=%s", backends[i]);
            (void)run_other(argv, env);
            if (strstr(text, "Operation not permitted") != NULL || strstr(text, "ptrace: ") != NULL)
                cr_skip_test("%s may not trace here", argv[0]);
            expect(backends[i], end);
            cr_assert_null(strstr(text, "received signal"), "%s: %s", backends[i], text);
            cr_assert_null(strstr(text, "Fatal signal"), "%s: %s", backends[i], text);
        }
}

Test(debugger, gdb_itself_is_run_with_a_limit)
{
    static const char *const argv[] = {"gdb", "-q", "-nx", "-batch", "-ex", "unset environment LD_PRELOAD", "-ex", "run",
                                       "/bin/true", NULL};

    run_under_ghostmem(argv, "exited normally]\n");
}

Test(debugger, lldb_itself_is_run_with_a_limit)
{
    static const char *const argv[] = {"lldb", "-x", "-b", "-o", "settings set target.unset-env-vars LD_PRELOAD", "-o", "run",
                                       "--", "/bin/true", NULL};

    run_under_ghostmem(argv, "exited with status = 0");
}
