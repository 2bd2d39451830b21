/* probe_messages.c - SIGBUS, SIGSEGV and SIGSYS that somebody sends, while memory is frozen: as signal(7) has it for any signal. */
#include "tests/preload/probe.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

static const int numbers[] = {SIGBUS, SIGSEGV, SIGSYS};
enum { N_NUMBERS = 3 };

static _Atomic int n_got;
static siginfo_t got;
static pthread_t got_by;
static char *data;

static void take(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    got = *info;
    got_by = pthread_self();
    n_got++;
}

static void handle(int number, int flags)
{
    struct sigaction action = {.sa_sigaction = take, .sa_flags = SA_SIGINFO | flags};

    CHECK(sigaction(number, &action, NULL) == 0);
    n_got = 0;
    memset(&got, 0, sizeof got);
}

static void block(int how, int number)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, number);
    CHECK(pthread_sigmask(how, &set, NULL) == 0);
}

static bool is_blocked(int number)
{
    sigset_t now;

    CHECK(pthread_sigmask(SIG_BLOCK, NULL, &now) == 0);
    return sigismember(&now, number);
}

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void wait_until_asleep(pid_t thread)
{
    char path[64];
    char text[512] = "";
    const char *state = NULL;

    snprintf(path, sizeof path, "/proc/%d/stat", thread);
    for (int i = 0; i < 5000 && (state == NULL || state[2] != 'S'); i++) {
        FILE *file = fopen(path, "r");

        CHECK(file != NULL && fgets(text, sizeof text, file) != NULL);
        fclose(file);
        state = strrchr(text, ')');
        usleep(200);
    }
}

/* Another process sends a signal, with a value, once the calling thread sleeps; then it writes a byte, if @fd >= 0. */
static pid_t sender(int number, int value, int fd)
{
    pid_t thread = (pid_t)syscall(SYS_gettid);
    pid_t target = getpid();
    pid_t child = fork();

    if (child != 0)
        return child;
    wait_until_asleep(thread);
    if (value == 0)
        kill(target, number);
    else
        sigqueue(target, number, (union sigval){.sival_int = value});
    if (fd >= 0) {
        usleep(20000);
        wait_until_asleep(thread);
        CHECK(write(fd, "x", 1) == 1);
    }
    _exit(0);
}

/* ---- what comes with them ---- */

static void messages_keep_what_they_carry(size_t bytes)
{
    data = filled(bytes, 1);
    for (int i = 0; i < N_NUMBERS; i++) {
        int number = numbers[i];
        union sigval value = {.sival_int = 4711};
        sigset_t set;
        pid_t child;

        handle(number, 0);
        block(SIG_BLOCK, number);
        CHECK(sigqueue(getpid(), number, value) == 0);
        CHECK(kill(getpid(), number) == 0); /* there is one already */
        CHECK(n_got == 0 && sigpending(&set) == 0 && sigismember(&set, number) == 1);
        child = fork();
        if (child == 0) { /* nothing waits for a child that has just begun */
            CHECK(sigpending(&set) == 0 && sigismember(&set, number) == 0);
            block(SIG_UNBLOCK, number);
            CHECK(n_got == 0);
            check_page(data, 2, 1);
            _exit(0);
        }
        expect_success(child);
        block(SIG_UNBLOCK, number);
        CHECK(n_got == 1 && got.si_code == SI_QUEUE && got.si_value.sival_int == 4711 && got.si_pid == getpid());
        CHECK(pthread_kill(pthread_self(), number) == 0);
        CHECK(n_got == 2 && got.si_code == SI_TKILL && got.si_pid == getpid());
        CHECK(kill(getpid(), number) == 0);
        CHECK(n_got == 3 && got.si_code == SI_USER && got.si_pid == getpid() && got.si_uid == getuid());
    }
    check(data, bytes, 1);
}

/* ---- who gets them ---- */

static pthread_barrier_t barrier;

static void *wait_for_each(void *arg)
{
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < N_NUMBERS; i++) {
        struct timespec long_time = {20, 0};
        siginfo_t info = {0};
        sigset_t all;
        int number;

        sigfillset(&all);
        sigdelset(&all, SIGCHLD);
        number = sigtimedwait(&all, &info, &long_time);
        CHECK(number == numbers[i] && info.si_value.sival_int == (i == 0 ? info.si_value.sival_int : 100 + i));
        CHECK(info.si_pid != 0 && info.si_pid != getpid());
        check_page(data, (size_t)i * 3, 1);
    }
    return arg;
}

static _Atomic bool enough;

static void *sleep_unblocked(void *arg)
{
    struct timespec span = {20, 0};

    block(SIG_UNBLOCK, *(const int *)arg);
    pthread_barrier_wait(&barrier);
    while (!enough)
        if (nanosleep(&span, NULL) == -1)
            CHECK(errno == EINTR && enough);
    return NULL;
}

static void wait_for_got(int n)
{
    for (int i = 0; i < 50000 && n_got < n; i++)
        usleep(100);
    CHECK(n_got == n);
}

static void take_and_end(int number, siginfo_t *info, void *context)
{
    enough = true;
    take(number, info, context);
}

static void messages_reach_who_takes_them(size_t bytes)
{
    pthread_t thread;

    data = filled(bytes, 1);
    CHECK(pthread_barrier_init(&barrier, NULL, 2) == 0);
    for (int i = 0; i < N_NUMBERS; i++)
        block(SIG_BLOCK, numbers[i]);
    CHECK(pthread_create(&thread, NULL, wait_for_each, NULL) == 0);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < N_NUMBERS; i++) {
        pid_t child = fork();

        if (child == 0) {
            if (i == 0)
                kill(getppid(), numbers[i]);
            else
                sigqueue(getppid(), numbers[i], (union sigval){.sival_int = 100 + i});
            _exit(0);
        }
        expect_success(child);
    }
    CHECK(pthread_join(thread, NULL) == 0);
    for (int i = 0; i < N_NUMBERS; i++) {
        struct sigaction action = {.sa_sigaction = take_and_end, .sa_flags = SA_SIGINFO};
        int number = numbers[i];
        pid_t child;

        n_got = 0;
        enough = false;
        CHECK(sigaction(number, &action, NULL) == 0);
        CHECK(pthread_create(&thread, NULL, sleep_unblocked, &number) == 0);
        pthread_barrier_wait(&barrier);
        usleep(2000);
        child = fork();
        if (child == 0)
            _exit(kill(getppid(), number));
        expect_success(child);
        wait_for_got(1);
        CHECK(pthread_equal(got_by, thread) && got.si_code == SI_USER && got.si_pid == child);
        CHECK(pthread_join(thread, NULL) == 0);
    }
    check(data, bytes, 1);
}

/* ---- masks for the length of a call ---- */

static int suspended(int way, const sigset_t *mask)
{
    struct timespec span = {10, 0};
    struct epoll_event event;
    int epoll;
    int result;

    switch (way) {
    case 0:
        return sigsuspend(mask);
    case 1:
        return ppoll(NULL, 0, &span, mask);
    case 2:
        return pselect(0, NULL, NULL, NULL, &span, mask);
    default:
        epoll = epoll_create1(0);
        result = epoll_pwait(epoll, &event, 1, 10000, mask);
        close(epoll);
        return result;
    }
}

static void masks_of_calls_let_messages_in(size_t bytes)
{
    data = filled(bytes, 1);
    for (int way = 0; way < 4; way++)
        for (int i = 0; i < N_NUMBERS; i++) {
            int number = numbers[i];
            sigset_t mask;
            pid_t child;

            sigfillset(&mask);
            sigdelset(&mask, number);
            handle(number, SA_RESTART);
            block(SIG_BLOCK, number);
            CHECK(raise(number) == 0 && n_got == 0);
            errno = 0;
            CHECK(suspended(way, &mask) == -1 && errno == EINTR && n_got == 1 && is_blocked(number));
            child = sender(number, 7, -1);
            errno = 0;
            CHECK(suspended(way, &mask) == -1 && errno == EINTR && n_got == 2 && got.si_value.sival_int == 7);
            CHECK(is_blocked(number) && !is_blocked(SIGUSR1));
            expect_success(child);
            CHECK(raise(number) == 0 && n_got == 2);
            block(SIG_UNBLOCK, number);
            CHECK(n_got == 3);
            check_page(data, 5, 1);
        }
    check(data, bytes, 1);
}

/* ---- calls that they end, and that they do not ---- */

static void reads(int number, int flags, bool is_ended)
{
    int ends[2];
    char *byte = data + 3 * PAGE;
    const char was = *byte;
    pid_t child;

    CHECK(pipe(ends) == 0);
    handle(number, flags);
    child = sender(number, 0, ends[1]);
    errno = 0;
    if (is_ended)
        CHECK(read(ends[0], byte, 1) == -1 && errno == EINTR && n_got == 1);
    CHECK(read(ends[0], byte, 1) == 1 && *byte == 'x' && n_got == 1);
    expect_success(child);
    handle(number, flags);
    child = sender(number, 0, ends[1]);
    errno = 0;
    if (is_ended)
        CHECK(syscall(SYS_read, ends[0], byte, 1L) == -1 && errno == EINTR && n_got == 1);
    CHECK(syscall(SYS_read, ends[0], byte, 1L) == 1 && *byte == 'x' && n_got == 1);
    expect_success(child);
    *byte = was;
    close(ends[0]);
    close(ends[1]);
}

/* A child that sends it every 10 ms. */
static pid_t pest(int number)
{
    pid_t target = getpid();
    pid_t child = fork();

    for (int i = 0; child == 0 && i < 40; i++) {
        usleep(10000);
        kill(target, number);
    }
    if (child == 0)
        _exit(0);
    return child;
}

/* As if nothing had come, and no longer: with its whole time again after each it would be 450 ms. */
static void sleeps(int number)
{
    struct timespec span = {0, 50000000};
    struct epoll_event event;
    int epoll = epoll_create1(0);
    pid_t child = pest(number);
    double begin = seconds();

    CHECK(nanosleep(&span, NULL) == 0);
    CHECK(seconds() - begin >= 0.05 && seconds() - begin < 0.4);
    begin = seconds();
    CHECK(poll(NULL, 0, 50) == 0);
    CHECK(seconds() - begin >= 0.05 && seconds() - begin < 0.4);
    kill(child, SIGKILL);
    CHECK(waitpid(child, NULL, 0) == child);
    child = pest(number);
    begin = seconds();
    CHECK(epoll_wait(epoll, &event, 1, 50) == 0);
    CHECK(seconds() - begin >= 0.05 && seconds() - begin < 0.4);
    kill(child, SIGKILL);
    CHECK(waitpid(child, NULL, 0) == child);
    close(epoll);
}

static void messages_end_calls_as_others_do(size_t bytes)
{
    data = filled(bytes, 1);
    for (int i = 0; i < N_NUMBERS; i++) {
        struct timespec span = {10, 0};
        struct timespec rest = {0};
        int number = numbers[i];
        pid_t child;

        reads(number, 0, true);
        reads(number, SA_RESTART, false);
        handle(number, SA_RESTART);
        child = sender(number, 0, -1);
        errno = 0;
        CHECK(nanosleep(&span, &rest) == -1 && errno == EINTR && n_got == 1 && rest.tv_sec == 9);
        expect_success(child);
        CHECK(signal(number, SIG_IGN) != SIG_ERR);
        sleeps(number);
        CHECK(signal(number, SIG_DFL) == SIG_IGN);
        block(SIG_BLOCK, number);
        sleeps(number);
        check_page(data, 9, 1);
        CHECK(sigtimedwait(&(sigset_t){{1ul << (number - 1)}}, NULL, &span) == number);
        block(SIG_UNBLOCK, number);
    }
    check(data, bytes, 1);
}

/* ---- very many ---- */

static void messages_come_at_any_moment(size_t bytes)
{
    pid_t target = getpid();
    pid_t child;

    data = filled(bytes, 1);
    for (int i = 0; i < N_NUMBERS; i++)
        handle(numbers[i], i == 0 ? SA_NODEFER | SA_RESTART : SA_RESTART);
    child = fork();
    if (child == 0) {
        while (getppid() == target) {
            for (int i = 0; i < N_NUMBERS; i++)
                kill(target, numbers[i]);
            usleep(20);
        }
        _exit(0);
    }
    for (size_t i = 0; i < 1500 || n_got < 100; i++) {
        check_page(data, i * 13 % (bytes / PAGE), 1);
        CHECK(syscall(SYS_getppid) == getppid());
        free(malloc(200000));
        block(i % 2 == 0 ? SIG_BLOCK : SIG_UNBLOCK, numbers[i / 2 % N_NUMBERS]);
    }
    kill(child, SIGKILL);
    CHECK(waitpid(child, NULL, 0) == child);
    check(data, bytes, 1);
}

static void *compute(void *arg)
{
    volatile double x = 1;

    while (!enough)
        x = x * 1.0000001;
    return arg;
}

enum { THREADS = 3 };
static pthread_t computing[THREADS];

static void *signal_them(void *arg)
{
    static const int kinds[] = {SIGUSR1, SIGBUS, SIGSYS, SIGSEGV};

    for (unsigned i = 0; !enough; i++)
        for (int t = 0; t < THREADS; t++)
            pthread_kill(computing[t], kinds[(i + (unsigned)t) % 4]);
    return arg;
}

static void signals_come_before_a_thread_is_in(size_t bytes)
{
    pthread_t signaller;

    for (int i = 0; i < N_NUMBERS; i++)
        handle(numbers[i], SA_RESTART);
    handle(SIGUSR1, SA_RESTART);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&computing[i], NULL, compute, NULL) == 0);
    CHECK(pthread_create(&signaller, NULL, signal_them, NULL) == 0);
    wait_for_got(n_got);
    data = filled(bytes, 1);
    for (int i = 0, before = n_got; i < 5000 && n_got < before + 50; i++)
        usleep(1000);
    enough = true;
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(computing[i], NULL) == 0);
    CHECK(pthread_join(signaller, NULL) == 0 && n_got >= 50);
    check(data, bytes, 1);
}

static void *sleep_often(void *arg)
{
    while (!enough)
        usleep(1000);
    return arg;
}

static void queue_of_signals_is_full(size_t bytes)
{
    struct rlimit none = {0, 0};
    pthread_t threads[THREADS];

    CHECK(setrlimit(RLIMIT_SIGPENDING, &none) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, sleep_often, NULL) == 0);
    usleep(5000);
    data = filled(bytes, 1);
    check(data, bytes, 1);
    handle(SIGBUS, 0);
    block(SIG_BLOCK, SIGBUS);
    CHECK(raise(SIGBUS) == 0 && n_got == 0);
    block(SIG_UNBLOCK, SIGBUS);
    CHECK(n_got == 1);
    enough = true;
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

/* ---- a signal stack that disarms itself ---- */

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1u << 31)
#endif

enum { ALT_BYTES = 64 << 10 };

static ucontext_t in_handler;
static ucontext_t in_coroutine;
static char alternate[ALT_BYTES];
static char coroutine_stack[ALT_BYTES];

static void overwrite(int number)
{
    volatile char much[8192];

    (void)number;
    memset((void *)(uintptr_t)much, 0xee, sizeof much);
    n_got++;
}

static void interrupted_coroutine(void)
{
    raise(SIGUSR2);
    swapcontext(&in_coroutine, &in_handler);
}

static void leave_for_a_coroutine(int number)
{
    volatile unsigned char mine[4096];
    stack_t now;

    (void)number;
    for (size_t i = 0; i < sizeof mine; i++)
        mine[i] = (unsigned char)(i * 7);
    CHECK(sigaltstack(NULL, &now) == 0 && (now.ss_flags & SS_DISABLE) != 0);
    swapcontext(&in_handler, &in_coroutine);
    for (size_t i = 0; i < sizeof mine; i++)
        CHECK(mine[i] == (unsigned char)(i * 7));
    check_page(data, 7, 1);
}

static void signal_stack_disarms_itself(size_t bytes)
{
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate, .ss_flags = (int)SS_AUTODISARM};
    struct sigaction action = {.sa_handler = leave_for_a_coroutine, .sa_flags = SA_ONSTACK};
    stack_t now;

    data = filled(bytes, 1);
    CHECK(sigaltstack(&stack, NULL) == 0 && sigaction(SIGUSR1, &action, NULL) == 0);
    action.sa_handler = overwrite;
    CHECK(sigaction(SIGUSR2, &action, NULL) == 0);
    for (int i = 0; i < 3; i++) {
        n_got = 0;
        CHECK(getcontext(&in_coroutine) == 0);
        in_coroutine.uc_stack.ss_sp = coroutine_stack;
        in_coroutine.uc_stack.ss_size = sizeof coroutine_stack;
        in_coroutine.uc_link = NULL;
        makecontext(&in_coroutine, interrupted_coroutine, 0);
        CHECK(raise(SIGUSR1) == 0 && n_got == 1);
        CHECK(sigaltstack(NULL, &now) == 0 && now.ss_sp == alternate && now.ss_flags == (int)SS_AUTODISARM);
    }
    check(data, bytes, 1);
}

const struct probe probes_messages[] = {
    {"messages_keep_what_they_carry", messages_keep_what_they_carry},
    {"messages_reach_who_takes_them", messages_reach_who_takes_them},
    {"masks_of_calls_let_messages_in", masks_of_calls_let_messages_in},
    {"messages_end_calls_as_others_do", messages_end_calls_as_others_do},
    {"messages_come_at_any_moment", messages_come_at_any_moment},
    {"signals_come_before_a_thread_is_in", signals_come_before_a_thread_is_in},
    {"queue_of_signals_is_full", queue_of_signals_is_full},
    {"signal_stack_disarms_itself", signal_stack_disarms_itself},
    {NULL, NULL},
};
