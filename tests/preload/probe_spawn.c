/* probe_spawn.c - children made in each of the kernel's ways, while memory is frozen: which handlers they have, and which are left here. */
#include "tests/preload/probe.h"

#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef CLONE_CLEAR_SIGHAND
#define CLONE_CLEAR_SIGHAND 0x100000000ull /* Source: include/uapi/linux/sched.h, Linux 5.5 */
#endif

enum { STACK = 256 << 10 };

static char *data;
static size_t data_bytes;
static volatile sig_atomic_t n_calls;

static void count(int number)
{
    (void)number;
    n_calls++;
}

/* As posix_spawn() of current libcs does it: the child has a stack of its own, its maker waits. The registers must be as they were. */
static long clone_on_stack(struct clone_args *args, void (*run)(void))
{
    long result = SYS_clone3;
    size_t bytes = sizeof *args;

#if defined(__x86_64__)
    __asm__ volatile("mov %[run], %%r12\n"
                     "    syscall\n"
                     "    test %%rax, %%rax\n"
                     "    jnz 1f\n"
                     "    xor %%ebp, %%ebp\n"
                     "    call *%%r12\n"
                     "    ud2\n"
                     "1:\n"
                     : "+a"(result)
                     : "D"(args), "S"(bytes), [run] "r"(run)
                     : "rcx", "r11", "r12", "memory");
#else
    (void)run;
    result = -1;
#endif
    return result;
}

static void handler_is(int number, void (*handler)(int))
{
    struct sigaction now;

    CHECK(sigaction(number, NULL, &now) == 0 && now.sa_handler == handler);
}

/* Handlers are gone, what is ignored is ignored; what the child sets is its own. */
static void look_as_cleared_child(void)
{
    handler_is(SIGUSR1, SIG_DFL);
    handler_is(SIGSEGV, SIG_DFL);
    handler_is(SIGBUS, SIG_IGN);
    handler_is(SIGHUP, SIG_IGN);
    check(data, data_bytes, 1);
    CHECK(signal(SIGSEGV, SIG_IGN) == SIG_DFL && signal(SIGUSR1, SIG_IGN) == SIG_DFL && signal(SIGSYS, SIG_IGN) == SIG_DFL);
    handler_is(SIGSEGV, SIG_IGN);
    handler_is(SIGUSR1, SIG_IGN);
    _exit(0);
}

static void look_as_vfork_child(void)
{
    handler_is(SIGUSR1, count);
    handler_is(SIGSEGV, count);
    CHECK(signal(SIGSEGV, SIG_DFL) == count && signal(SIGUSR1, SIG_DFL) == count);
    handler_is(SIGSEGV, SIG_DFL);
    check_page(data, 3, 1);
    _exit(0);
}

static void is_killed_by_what_had_a_handler(void)
{
    check_page(data, 5, 1);
    raise(SIGSEGV);
    _exit(0);
}

static void handlers_are_still_here(void)
{
    n_calls = 0;
    handler_is(SIGHUP, SIG_IGN);
    handler_is(SIGBUS, SIG_IGN);
    handler_is(SIGSYS, SIG_DFL);
    CHECK(raise(SIGUSR1) == 0 && raise(SIGSEGV) == 0 && n_calls == 2);
}

static void expect_signal(pid_t child, int number)
{
    int status;

    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == number);
}

static void on_stack(char *stack, uint64_t flags, void (*run)(void), int killed_by)
{
    struct clone_args args = {.flags = flags, .exit_signal = SIGCHLD, .stack = (uintptr_t)stack, .stack_size = STACK};
    pid_t child = (pid_t)clone_on_stack(&args, run);

    if (killed_by == 0)
        expect_success(child);
    else
        expect_signal(child, killed_by);
    handlers_are_still_here();
}

static void copied(uint64_t flags, void (*run)(void), int killed_by)
{
    struct clone_args args = {.flags = flags, .exit_signal = SIGCHLD};
    pid_t child = (pid_t)syscall(SYS_clone3, &args, sizeof args);

    if (child == 0)
        run();
    if (killed_by == 0)
        expect_success(child);
    else
        expect_signal(child, killed_by);
    handlers_are_still_here();
}

static void children_begin_without_handlers(size_t bytes)
{
    static char own[STACK] __attribute__((aligned(64)));
    char *ghost = malloc(STACK);
    struct clone_args args = {.flags = 0, .exit_signal = SIGCHLD};
    pid_t child = (pid_t)syscall(SYS_clone3, &args, sizeof args);

    if (child == 0)
        _exit(0);
    if (child < 0) /* a sandbox without it: nobody else can use it either */
        return;
    expect_success(child);
    CHECK(signal(SIGUSR1, count) == SIG_DFL && signal(SIGSEGV, count) == SIG_DFL);
    CHECK(signal(SIGBUS, SIG_IGN) == SIG_DFL && signal(SIGHUP, SIG_IGN) == SIG_DFL);
    data_bytes = bytes;
    data = filled(bytes, 1);
    for (int i = 0; i < 2; i++) {
        const uint64_t waits = CLONE_VM | CLONE_VFORK;

        copied(CLONE_CLEAR_SIGHAND, look_as_cleared_child, 0);
        copied(CLONE_CLEAR_SIGHAND, is_killed_by_what_had_a_handler, SIGSEGV);
        on_stack(own, waits | CLONE_CLEAR_SIGHAND, look_as_cleared_child, 0);
        on_stack(ghost, waits | CLONE_CLEAR_SIGHAND, look_as_cleared_child, 0);
        on_stack(own, waits | CLONE_CLEAR_SIGHAND, is_killed_by_what_had_a_handler, SIGSEGV);
        on_stack(own, waits, look_as_vfork_child, 0);
        on_stack(ghost, waits, look_as_vfork_child, 0);
        check(data, bytes, 1);
    }
}

const struct probe probes_spawn[] = {
    {"children_begin_without_handlers", children_begin_without_handlers},
    {NULL, NULL},
};
