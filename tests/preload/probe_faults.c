/* probe_faults.c - what becomes of a fault of the program's own: in a handler, while its signal is blocked, and after it. */
#include "tests/preload/probe.h"

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static char *frozen;
static size_t frozen_bytes;
static char *volatile nowhere;
static volatile sig_atomic_t n_calls;
static sigjmp_buf back;

static void install(int number, void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};

    sigemptyset(&action.sa_mask);
    CHECK(sigaction(number, &action, NULL) == 0);
}

static int is_blocked(int number)
{
    sigset_t set;

    CHECK(sigprocmask(SIG_BLOCK, NULL, &set) == 0);
    return sigismember(&set, number);
}

static void look(void)
{
    check_page(frozen, (size_t)n_calls * 7 % (frozen_bytes / PAGE), 1);
    n_calls++;
}

/* ---- handlers ---- */

static void fault_again(int number)
{
    (void)number;
    look();
    *nowhere = 1;
    _exit(1);
}

static void fault_thrice(int number)
{
    (void)number;
    look();
    if (n_calls == 3)
        _exit(5);
    *nowhere = 1;
}

static void jump(int number)
{
    CHECK(is_blocked(number));
    look();
    siglongjmp(back, 1);
}

static void send_again(int number)
{
    look();
    CHECK(is_blocked(number) && !is_blocked(SIGBUS));
    if (n_calls == 1) {
        CHECK(kill(getpid(), number) == 0);
        CHECK(n_calls == 1); /* not before this one has returned */
    }
}

/* ---- what a child does, and how it is to end ---- */

static void faults_in_its_handler(void)
{
    install(SIGSEGV, fault_again, 0);
    *nowhere = 1;
}

static void faults_in_a_handler_that_may(void)
{
    install(SIGSEGV, fault_thrice, SA_NODEFER);
    *nowhere = 1;
}

static void faults_in_another_handler(void)
{
    struct sigaction action = {.sa_handler = fault_again};

    sigfillset(&action.sa_mask);
    install(SIGSEGV, fault_thrice, 0);
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    raise(SIGUSR1);
}

static void faults_while_it_is_blocked(void)
{
    sigset_t set;

    install(SIGSEGV, fault_thrice, 0);
    sigemptyset(&set);
    sigaddset(&set, SIGSEGV);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    check(frozen, frozen_bytes, 1); /* our own go on */
    *nowhere = 1;
}

static void jumps_out_each_time(void)
{
    install(SIGSEGV, jump, 0);
    for (int i = 0; i < 10; i++) {
        if (sigsetjmp(back, 1) == 0) {
            *nowhere = 1;
            _exit(1);
        }
        CHECK(!is_blocked(SIGSEGV));
    }
    _exit(6);
}

static void sends_while_it_handles(void)
{
    stack_t stack = {.ss_sp = malloc((size_t)SIGSTKSZ * 2), .ss_size = (size_t)SIGSTKSZ * 2};
    stack_t now;

    CHECK(sigaltstack(&stack, NULL) == 0);
    install(SIGSEGV, send_again, SA_ONSTACK);
    CHECK(kill(getpid(), SIGSEGV) == 0);
    CHECK(n_calls == 2 && !is_blocked(SIGSEGV));
    CHECK(sigaltstack(NULL, &now) == 0 && now.ss_sp == stack.ss_sp && now.ss_flags == 0);
    n_calls = 0;
    install(SIGUSR1, send_again, SA_ONSTACK);
    CHECK(kill(getpid(), SIGUSR1) == 0 && n_calls == 2);
    CHECK(sigaltstack(NULL, &now) == 0 && now.ss_sp == stack.ss_sp && now.ss_flags == 0);
    check(frozen, frozen_bytes, 1);
    _exit(7);
}

static void faults_of_its_own_end_as_they_should(size_t bytes)
{
    static void (*const children[])(void) = {faults_in_its_handler,      faults_in_a_handler_that_may, faults_in_another_handler,
                                             faults_while_it_is_blocked, jumps_out_each_time,          sends_while_it_handles};
    const struct rlimit none = {0, 0};

    CHECK(setrlimit(RLIMIT_CORE, &none) == 0);
    frozen_bytes = bytes;
    frozen = filled(bytes, 1);
    for (size_t i = 0; i < sizeof children / sizeof children[0]; i++) {
        pid_t child = fork();
        int status;

        if (child == 0) {
            alarm(20);
            children[i]();
            _exit(2);
        }
        CHECK(waitpid(child, &status, 0) == child);
        printf("%zu: status %#x\n", i, (unsigned)status);
    }
    check(frozen, bytes, 1);
    free(frozen);
}

const struct probe probes_faults[] = {
    {"faults_of_its_own_end_as_they_should", faults_of_its_own_end_as_they_should},
    {NULL, NULL},
};
