/*
 * probe_trace.c - the program as a debugger: children that ask to be traced, and what their tracer sees of them, which is
 * nothing but what they do themselves. See probe.c.
 */
#include "tests/preload/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define N_WORDS 40
#define WORD_BYTES 3000

/* All that the exec needs, and the block that drives it out. */
struct frozen {
    char *block;
    size_t bytes;
    char *path;
    char **argv;
    char **env;
};

static char *copy_of(const char *text)
{
    char *copy = malloc(5000);

    CHECK(copy != NULL);
    return strcpy(copy, text);
}

static char **vector_of(const char *first, const char *second, const char *third)
{
    char **vector = malloc(4096 + (N_WORDS + 4) * sizeof *vector);
    size_t n = 0;

    CHECK(vector != NULL);
    for (const char *const *at = (const char *const[]){first, second, third, NULL}; *at != NULL; at++)
        vector[n++] = copy_of(*at);
    for (size_t i = 0; i < N_WORDS; i++) {
        vector[n] = copy_of("X=");
        memset(vector[n] + 2, 'a' + (int)(i % 26), WORD_BYTES);
        vector[n++][2 + WORD_BYTES] = '\0';
    }
    vector[n] = NULL;
    return vector;
}

/* The shell counts its arguments and looks at one of them. */
static struct frozen freeze(size_t bytes)
{
    static const char script[] = "test $# = 39 && test ${#39} = 3002 && test ${#X} = 3000 && exit 7";
    struct frozen frozen = {.bytes = bytes, .path = copy_of("/bin/sh")};

    frozen.argv = vector_of("sh", "-c", script);
    frozen.env = vector_of("PATH=/usr/bin:/bin", NULL, NULL);
    frozen.block = filled(bytes, 1);
    return frozen;
}

/* The next stop, or the end. A child that hangs is one of the test's time limit. */
static int next_of(pid_t child)
{
    int status;
    pid_t who;

    do {
        who = waitpid(child, &status, __WALL);
    } while (who == -1 && errno == EINTR);
    CHECK(who == child);
    return status;
}

static bool stopped_at(int status, int number)
{
    return WIFSTOPPED(status) && WSTOPSIG(status) == number;
}

/* Whatever it stops at is suppressed. */
static int let_go_on(pid_t child)
{
    CHECK(ptrace(PTRACE_CONT, child, NULL, NULL) == 0);
    return next_of(child);
}

/* The stop at the exec, then the end: nothing else. */
static void expect_exec(pid_t child, int status)
{
    CHECK(stopped_at(status, SIGTRAP));
    status = let_go_on(child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

static void ask(void)
{
    CHECK(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
}

/* Calls that a debugger's child makes before it execs, with memory that is not there. */
static void prepare_as_debuggers_do(const struct frozen *frozen)
{
    struct sigaction action;
    int fd;

    (void)setpgid(0, 0);
    CHECK(access(frozen->path, X_OK) == 0);
    fd = open("/dev/null", O_WRONLY);
    CHECK(fd >= 0 && write(fd, frozen->block, 100000) == 100000);
    CHECK(close(fd) == 0);
    CHECK(sigaction(SIGUSR1, NULL, &action) == 0);
}

static void traces_an_exec(size_t bytes)
{
    struct frozen frozen = freeze(bytes);

    for (uint64_t round = 0; round < 3; round++) {
        pid_t child = fork();

        CHECK(child >= 0);
        if (child == 0) {
            ask();
            CHECK(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == -1 && errno == EPERM);
            prepare_as_debuggers_do(&frozen);
            fill(frozen.block, bytes, 5);
            (void)execve(frozen.path, frozen.argv, frozen.env);
            _exit(1);
        }
        expect_exec(child, next_of(child));
        check(frozen.block, bytes, 1 + round);
        fill(frozen.block, bytes, 2 + round);
    }
}

/* While its parent waits in vfork() nobody would let it go on. */
static void traces_an_exec_after_vfork(size_t bytes)
{
    struct frozen frozen = freeze(bytes);

    for (uint64_t round = 0; round < 3; round++) {
        pid_t child = vfork();

        CHECK(child >= 0);
        if (child == 0) {
            if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
                _exit(1);
            prepare_as_debuggers_do(&frozen);
            (void)execve("/nonexistent/sh", frozen.argv, frozen.env); /* as execvp() may */
            (void)execve("/", frozen.argv, frozen.env);
            check(frozen.block, bytes, 1 + round);
            (void)execve(frozen.path, frozen.argv, frozen.env);
            _exit(2);
        }
        expect_exec(child, next_of(child));
        check(frozen.block, bytes, 1 + round);
        fill(frozen.block, bytes, 2 + round);
        /* It is still the one that it was: nobody traces it. */
        CHECK(kill(getpid(), 0) == 0 && raise(SIGCONT) == 0);
    }
}

/* No interpreter of its kind: what the check beforehand does not know. */
static void traces_an_exec_that_fails(size_t bytes)
{
    struct frozen frozen = freeze(bytes);
    char name[] = "/tmp/ghostmem-XXXXXX";
    int fd = mkstemp(name);
    int ends[2];

    CHECK(fd >= 0 && write(fd, "\1\2\3\4", 4) == 4 && fchmod(fd, 0755) == 0 && close(fd) == 0);
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    for (int round = 0; round < 2; round++) {
        pid_t child = round == 0 ? fork() : vfork();
        int code = 0;

        CHECK(child >= 0);
        if (child == 0) {
            (void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
            (void)execve(name, frozen.argv, frozen.env);
            code = errno;
            (void)!write(ends[1], &code, sizeof code);
            _exit(3);
        }
        CHECK(read(ends[0], &code, sizeof code) == sizeof code && code == ENOEXEC);
        code = next_of(child);
        CHECK(WIFEXITED(code) && WEXITSTATUS(code) == 3);
        check(frozen.block, bytes, 1);
    }
    CHECK(unlink(name) == 0);
}

/* Stops, with all of its memory in its place: the tracer reads some of it. */
static void traces_a_child_that_stops_itself(size_t bytes)
{
    struct frozen frozen = freeze(bytes);
    const uint64_t *words = (const void *)frozen.block;
    uint64_t there[8];

    for (size_t i = 0; i < 8; i++)
        there[i] = words[(bytes / sizeof *words / 8) * i + 5];
    for (int round = 0; round < 3; round++) {
        pid_t child = fork();
        int status;

        CHECK(child >= 0);
        if (child == 0) {
            if (round > 0)
                fill(frozen.block + bytes / 2, bytes / 2, 9);
            ask();
            CHECK(raise(SIGSTOP) == 0);
            if (round > 0)
                check(frozen.block + bytes / 2, bytes / 2, 9);
            fill(frozen.block, bytes, 3);
            CHECK(kill(getpid(), SIGUSR1) == 0);
            check(frozen.block, bytes, 3);
            free(frozen.block);
            free(filled(bytes, 4));
            (void)execve(frozen.path, frozen.argv, frozen.env);
            _exit(1);
        }
        status = next_of(child);
        CHECK(stopped_at(status, SIGSTOP));
        for (size_t i = 0; i < 4; i++) {
            uint64_t word;

            errno = 0;
            word = (uint64_t)ptrace(PTRACE_PEEKDATA, child, words + (bytes / sizeof *words / 8) * i + 5, NULL);
            CHECK(errno == EIO || word == there[i]); /* with handler threads no debugger reads what is not there */
        }
        CHECK(stopped_at(let_go_on(child), SIGUSR1));
        expect_exec(child, let_go_on(child));
        check(frozen.block, bytes, 1);
    }
}

static volatile sig_atomic_t n_handled;

static void count(int number)
{
    (void)number;
    n_handled++;
}

/* Its handlers and its mask are its own, and its children are not traced. */
static void traced_child_has_its_signals(size_t bytes)
{
    char *p = filled(bytes, 1);
    sigset_t set;
    pid_t child;
    int status;

    CHECK(signal(SIGUSR1, count) != SIG_ERR && signal(SIGSEGV, count) != SIG_ERR);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        pid_t grandchild;

        CHECK(sigemptyset(&set) == 0 && sigaddset(&set, SIGSEGV) == 0 && sigprocmask(SIG_BLOCK, &set, NULL) == 0);
        ask();
        CHECK(raise(SIGUSR1) == 0 && n_handled == 1);
        CHECK(raise(SIGSEGV) == 0 && n_handled == 1); /* blocked */
        CHECK(sigprocmask(SIG_BLOCK, NULL, &set) == 0 && sigismember(&set, SIGSEGV) == 1 && sigismember(&set, SIGUSR1) == 0);
        grandchild = fork();
        if (grandchild == 0)
            use_and_end(p, bytes, 1);
        expect_success(grandchild);
        check(p, bytes, 1);
        CHECK(sigprocmask(SIG_UNBLOCK, &set, NULL) == 0 && n_handled == 2);
        _exit(5);
    }
    for (status = next_of(child); WIFSTOPPED(status); status = next_of(child)) {
        CHECK(WSTOPSIG(status) == SIGUSR1 || WSTOPSIG(status) == SIGSEGV || WSTOPSIG(status) == SIGCHLD);
        CHECK(ptrace(PTRACE_CONT, child, NULL, (void *)(uintptr_t)WSTOPSIG(status)) == 0);
    }
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 5);
    check(p, bytes, 1);
}

/* What it has protected comes back too, and its protection can be changed. */
static void traced_child_keeps_its_protections(size_t bytes)
{
    char *p = aligned_alloc(PAGE, bytes);
    pid_t child;

    CHECK(p != NULL);
    fill(p, bytes, 1);
    CHECK(mprotect(p + bytes / 8, bytes / 8, PROT_READ) == 0 && mprotect(p + bytes / 2, bytes / 8, PROT_NONE) == 0);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        ask();
        CHECK(raise(SIGSTOP) == 0);
        CHECK(mprotect(p + bytes / 2, bytes / 8, PROT_READ) == 0);
        check(p, bytes, 1);
        _exit(6);
    }
    CHECK(stopped_at(next_of(child), SIGSTOP));
    CHECK(WEXITSTATUS(let_go_on(child)) == 6);
}

/* The tracer sees the fault, and that of no page of ours. */
static void traced_child_stops_at_its_own_fault(size_t bytes)
{
    char *p = filled(bytes, 1);
    pid_t child = fork();
    siginfo_t info;

    CHECK(child >= 0);
    if (child == 0) {
        ask();
        check(p, bytes, 1);
        *(volatile int *)(uintptr_t)64 = 1;
        _exit(1);
    }
    CHECK(stopped_at(next_of(child), SIGSEGV));
    CHECK(ptrace(PTRACE_GETSIGINFO, child, NULL, &info) == 0 && info.si_addr == (void *)(uintptr_t)64);
    CHECK(ptrace(PTRACE_KILL, child, NULL, NULL) == 0);
    CHECK(WIFSIGNALED(next_of(child)));
    check(p, bytes, 1);
}

/* Names that are not there, in calls that strace looks at: it reads them before the call does. */
static void calls_read_frozen_names(size_t bytes)
{
    size_t n = bytes / PAGE;
    char **names = malloc(n * sizeof *names);

    CHECK(names != NULL);
    for (size_t i = 0; i < n; i++) {
        names[i] = copy_of("/nonexistent/");
        memset(names[i] + strlen(names[i]), 'a' + (int)(i % 26), 100);
        names[i][113] = '\0';
    }
    for (size_t i = 0; i < n; i++)
        CHECK(access(names[i], F_OK) == -1 && errno == ENOENT);
    for (size_t i = 0; i < n; i++)
        free(names[i]);
    free(names);
}

const struct probe probes_trace[] = {
    {"calls_read_frozen_names", calls_read_frozen_names},
    {"traces_an_exec", traces_an_exec},
    {"traces_an_exec_after_vfork", traces_an_exec_after_vfork},
    {"traces_an_exec_that_fails", traces_an_exec_that_fails},
    {"traces_a_child_that_stops_itself", traces_a_child_that_stops_itself},
    {"traced_child_has_its_signals", traced_child_has_its_signals},
    {"traced_child_keeps_its_protections", traced_child_keeps_its_protections},
    {"traced_child_stops_at_its_own_fault", traced_child_stops_at_its_own_fault},
    {NULL, NULL},
};
