/* probe_signals.c - signals, masks, jumps and forks without libc, while memory is frozen. */
#include "tests/preload/probe.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char *frozen;
static size_t frozen_bytes;
static volatile sig_atomic_t n_calls;
static char *handler_stack;

static void touch(int number)
{
    size_t pages = frozen_bytes / PAGE;
    char here;

    (void)number;
    for (size_t i = 0; i < 8; i++)
        check_page(frozen, ((size_t)n_calls * 37 + i * 11) % pages, 1);
    if (handler_stack != NULL && (size_t)(&here - handler_stack) >= (size_t)SIGSTKSZ * 2)
        _Exit(3);
    n_calls++;
}

static void handler_touches_frozen_memory(size_t bytes)
{
    struct sigaction action = {.sa_handler = touch, .sa_flags = SA_ONSTACK | SA_RESTART};
    struct itimerval often = {{0, 2000}, {0, 2000}};
    stack_t stack = {.ss_size = (size_t)SIGSTKSZ * 2};
    stack_t now;
    double sum = 0;

    handler_stack = stack.ss_sp = malloc(stack.ss_size);
    CHECK(sigaltstack(&stack, NULL) == 0);
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    frozen_bytes = bytes;
    frozen = filled(bytes, 1);
    CHECK(sigaltstack(NULL, &now) == 0 && now.ss_sp == stack.ss_sp && now.ss_size == stack.ss_size);
    CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
    while (n_calls < 200) {
        double x = 1.0;

        for (int i = 1; i < 2000; i++) /* registers that a handler must not change */
            x = x * 1.0001 + (double)i / 3.0;
        sum += x;
        free(malloc(300000));
    }
    often = (struct itimerval){0};
    setitimer(ITIMER_REAL, &often, NULL);
    CHECK(sum > 0);
    check(frozen, bytes, 1);
}

static void nothing(int number)
{
    (void)number;
    n_calls++;
}

static void *interrupt_me(void *arg)
{
    for (int i = 0; i < 5; i++) {
        usleep(20000);
        pthread_kill(*(pthread_t *)arg, SIGUSR1);
        while (n_calls <= i) /* two that are pending together are one */
            usleep(1000);
    }
    usleep(50000);
    CHECK(write(n_calls >= 0 ? *(int *)((char *)arg + 64) : -1, "y", 1) == 1);
    return NULL;
}

static void interrupted_calls_end_as_they_should(size_t bytes)
{
    struct sigaction action = {.sa_handler = nothing};
    char *p = filled(bytes, 1);
    char buffer[128];
    pthread_t self = pthread_self();
    pthread_t thread;
    int ends[2];
    char c;

    CHECK(pipe(ends) == 0);
    memcpy(buffer, &self, sizeof self);
    memcpy(buffer + 64, &ends[1], sizeof ends[1]);
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    CHECK(pthread_create(&thread, NULL, interrupt_me, buffer) == 0);
    errno = 0;
    CHECK(read(ends[0], p, 1) == -1 && errno == EINTR);
    CHECK(syscall(SYS_read, ends[0], p, 1L) == -1 && errno == EINTR);
    action.sa_flags = SA_RESTART;
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    CHECK(read(ends[0], p + 5 * PAGE, 1) == 1);
    CHECK(p[5 * PAGE] == 'y');
    pthread_join(thread, NULL);
    CHECK(n_calls == 5);
    CHECK(usleep(1000) == 0 && (c = p[0], 1));
    (void)c;
}

/* ---- the signals that we need ourselves ---- */

static sigjmp_buf back;

static void jump(int number, siginfo_t *info, void *context)
{
    (void)context;
    siglongjmp(back, number == SIGSEGV && info->si_addr == (void *)16 ? 7 : 8);
}

static void jumps_out_of_a_handler(size_t bytes)
{
    struct sigaction action = {.sa_sigaction = jump, .sa_flags = SA_SIGINFO};
    struct sigaction old;
    char *p = filled(bytes, 1);

    CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
    CHECK(sigaction(SIGSEGV, NULL, &old) == 0 && old.sa_sigaction == jump && (old.sa_flags & SA_SIGINFO) != 0);
    for (int i = 0; i < 50; i++) {
        int way = sigsetjmp(back, 1);

        if (way == 0)
            *(volatile int *)16 = 1;
        CHECK(way == 7);
        check_page(p, (size_t)i % (bytes / PAGE), 1);
    }
    signal(SIGSEGV, SIG_DFL);
    check(p, bytes, 1);
}

static void *work_blocked(void *arg)
{
    sigset_t all;

    sigfillset(&all);
    CHECK(pthread_sigmask(SIG_BLOCK, &all, NULL) == 0);
    check(arg, frozen_bytes, 1);
    return NULL;
}

static void all_signals_blocked(size_t bytes)
{
    sigset_t all;
    sigset_t now;
    pthread_t threads[2];
    char *p;

    sigfillset(&all);
    CHECK(sigprocmask(SIG_BLOCK, &all, NULL) == 0);
    frozen_bytes = bytes;
    p = filled(bytes, 1);
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, work_blocked, p) == 0);
    CHECK(sigprocmask(SIG_SETMASK, &all, NULL) == 0);
    CHECK(sigprocmask(SIG_SETMASK, NULL, &now) == 0 && sigismember(&now, SIGSEGV) && sigismember(&now, SIGTERM));
    check(p, bytes, 1);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

static void sent_signals_arrive(size_t bytes)
{
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGSYS, SIGUSR2};
    char *p = filled(bytes, 1);

    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        struct sigaction action = {.sa_handler = nothing, .sa_flags = (int)SA_RESETHAND};
        struct sigaction now;
        sigset_t set;
        int before = n_calls;

        CHECK(sigaction(numbers[i], &action, NULL) == 0);
        sigemptyset(&set);
        sigaddset(&set, numbers[i]);
        CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
        CHECK(kill(getpid(), numbers[i]) == 0);
        CHECK(n_calls == before && sigpending(&set) == 0 && sigismember(&set, numbers[i]) == 1);
        CHECK(sigismember(&set, SIGTERM) == 0);
        CHECK(sigprocmask(SIG_UNBLOCK, &set, NULL) == 0);
        CHECK(n_calls == before + 1);
        CHECK(sigaction(numbers[i], NULL, &now) == 0 && now.sa_handler == SIG_DFL);
        CHECK(signal(numbers[i], SIG_IGN) != SIG_ERR);
        raise(numbers[i]);
    }
    check(p, bytes, 1);
}

static void signals_as_messages(size_t bytes)
{
    char *p = filled(bytes, 1);
    sigset_t set;
    struct timespec second = {1, 0};
    struct signalfd_siginfo *info = malloc(300000);
    siginfo_t got;
    int fd;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    kill(getpid(), SIGUSR1);
    CHECK(sigtimedwait(&set, &got, &second) == SIGUSR1 && got.si_pid == getpid());
    fd = signalfd(-1, &set, 0);
    kill(getpid(), SIGUSR1);
    check(p, bytes, 1);
    CHECK(read(fd, info, sizeof *info) == sizeof *info && info->ssi_signo == SIGUSR1);
}

/* A child that shares memory until it execs sets its own dispositions, not these. */
static void handlers_survive_a_spawn(size_t bytes)
{
    static const int numbers[] = {SIGHUP, SIGUSR1, SIGSEGV};
    char *p = filled(bytes, 1);
    char command[64];
    FILE *pipe;

    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        CHECK(signal(numbers[i], nothing) == SIG_DFL);
    for (int i = 0; i < 3; i++) {
        snprintf(command, sizeof command, "kill -HUP %d", getpid());
        CHECK(system(command) == 0);
        check_page(p, (size_t)i * 7, 1);
        while (n_calls < 2 * i + 1)
            usleep(100);
        pipe = popen("exit 0", "r");
        CHECK(pipe != NULL && pclose(pipe) == 0);
        CHECK(kill(getpid(), SIGUSR1) == 0);
        CHECK(n_calls == 2 * i + 2);
    }
    CHECK(raise(SIGSEGV) == 0 && n_calls == 7);
    check(p, bytes, 1);
}

/* ---- threads ---- */

static int pipe_ends[2];
static volatile int cleaned;

static void clean(void *arg)
{
    check_page(arg, 3, 1);
    cleaned = 1;
}

static void *wait_for_ever(void *arg)
{
    char *buffer = arg;

    pthread_cleanup_push(clean, arg);
    CHECK(read(pipe_ends[0], buffer + 100 * PAGE, PAGE) == -2);
    pthread_cleanup_pop(0);
    return NULL;
}

static void thread_is_cancelled_in_a_call(size_t bytes)
{
    char *p = filled(bytes, 1);

    CHECK(pipe(pipe_ends) == 0);
    for (int i = 0; i < 5; i++) {
        pthread_t thread;
        void *result;

        cleaned = 0;
        CHECK(pthread_create(&thread, NULL, wait_for_ever, p) == 0);
        usleep(10000);
        CHECK(pthread_cancel(thread) == 0);
        CHECK(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED && cleaned == 1);
        check(p, bytes / 2, 1);
    }
}

static void *short_life(void *arg)
{
    check_page(arg, 1, 1);
    return arg;
}

static void many_threads_come_and_go(size_t bytes)
{
    char *p = filled(bytes, 1);

    for (int i = 0; i < 300; i++) {
        pthread_t threads[4];

        for (int k = 0; k < 4; k++)
            CHECK(pthread_create(&threads[k], NULL, short_life, p) == 0);
        for (int k = 0; k < 4; k++)
            pthread_join(threads[k], NULL);
    }
    check(p, bytes, 1);
}

static void *sleeper(void *arg)
{
    struct timespec span = {0, 300000000};

    *(int *)arg = nanosleep(&span, NULL); /* nobody has sent it a signal */
    return NULL;
}

static void threads_of_before_are_not_disturbed(size_t bytes)
{
    pthread_t threads[4];
    int results[4] = {9, 9, 9, 9};
    char *p;

    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, sleeper, &results[i]) == 0);
    usleep(50000);
    p = filled(bytes, 1);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        CHECK(results[i] == 0);
    }
    check(p, bytes, 1);
}

static void forks_without_libc(size_t bytes)
{
    char *p = filled(bytes, 1);
    int status;

    for (int i = 0; i < 3; i++) {
        pid_t pid = (pid_t)(i == 0 ? syscall(SYS_fork) : syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));

        if (pid == 0) {
            check(p, bytes, 1);
            fill(p, bytes, 2);
            check(p, bytes, 2);
            _exit(0);
        }
        CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
        check(p, bytes, 1);
    }
}

static void fork_without_handlers(size_t bytes)
{
    char *p = filled(bytes, 1);
    int status;

    for (int i = 0; i < 3; i++) {
        pid_t pid = _Fork();

        if (pid == 0) {
            check(p, bytes, 1);
            fill(p, bytes, 2);
            check(p, bytes, 2);
            _exit(0);
        }
        CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
        check(p, bytes, 1);
    }
}

const struct probe probes_signals[] = {
    {"handler_touches_frozen_memory", handler_touches_frozen_memory},
    {"interrupted_calls_end_as_they_should", interrupted_calls_end_as_they_should},
    {"jumps_out_of_a_handler", jumps_out_of_a_handler},
    {"all_signals_blocked", all_signals_blocked},
    {"sent_signals_arrive", sent_signals_arrive},
    {"signals_as_messages", signals_as_messages},
    {"handlers_survive_a_spawn", handlers_survive_a_spawn},
    {"thread_is_cancelled_in_a_call", thread_is_cancelled_in_a_call},
    {"many_threads_come_and_go", many_threads_come_and_go},
    {"threads_of_before_are_not_disturbed", threads_of_before_are_not_disturbed},
    {"fork_without_handlers", fork_without_handlers},
    {"forks_without_libc", forks_without_libc},
    {NULL, NULL},
};
