/* probe_spawn.c - children made in each of the kernel's ways, while memory is frozen: which handlers they have, and which are left here. */
#include "tests/preload/probe.h"

#include <dlfcn.h>
#include <linux/io_uring.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
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

/* ---- paging starts beside tasks that are not as others ---- */

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void start_paging(size_t bytes)
{
    double begin = seconds();
    char *p = filled(bytes, 1);

    check(p, bytes, 1);
    CHECK(seconds() - begin < 3);
    free(p);
}

/* A ring made before paging: a thread of the kernel's waits for what comes by a pipe. */
static void paging_starts_beside_a_kernel_worker(size_t bytes)
{
    struct io_uring_params params = {0};
    static char small[16];
    int ends[2];
    int ring = (int)syscall(SYS_io_uring_setup, 8, &params); /* where it is refused there is no worker */

    if (ring >= 0) {
        char *sq = mmap(NULL, params.sq_off.array + params.sq_entries * sizeof(uint32_t), PROT_READ | PROT_WRITE, MAP_SHARED, ring,
                        IORING_OFF_SQ_RING);
        struct io_uring_sqe *entry = mmap(NULL, params.sq_entries * sizeof *entry, PROT_READ | PROT_WRITE, MAP_SHARED, ring,
                                          IORING_OFF_SQES);
        const uint32_t one = 1;

        CHECK(pipe(ends) == 0 && sq != MAP_FAILED && entry != MAP_FAILED);
        *entry = (struct io_uring_sqe){.opcode = IORING_OP_READ, .flags = IOSQE_ASYNC, .fd = ends[0],
                                       .addr = (uintptr_t)small, .len = sizeof small};
        memset(sq + params.sq_off.array, 0, sizeof one);
        memcpy(sq + params.sq_off.tail, &one, sizeof one);
        CHECK(syscall(SYS_io_uring_enter, ring, 1, 0, 0, NULL, 0) == 1);
        usleep(20000);
    }
    start_paging(bytes);
}

static void *sleep_long(void *arg)
{
    usleep(300000);
    return arg;
}

/* /proc is that of another namespace, which has other ids for these threads. */
static void paging_starts_in_a_pid_namespace(size_t bytes)
{
    pid_t child;

    if (unshare(CLONE_NEWPID) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWPID) == 0) {
        child = fork();
        if (child == 0) {
            pthread_t thread;

            CHECK(getpid() == 1 && pthread_create(&thread, NULL, sleep_long, NULL) == 0);
            start_paging(bytes);
            CHECK(pthread_join(thread, NULL) == 0);
            _exit(0);
        }
        expect_success(child);
    }
    start_paging(bytes);
}

/* Where there is a limit, paging has started within a time. */
static void await_paging(void)
{
    void *symbol = dlsym(RTLD_DEFAULT, "ghostmem_stats");
    size_t (*stats)(char *, size_t);
    char text[8192] = "";

    memcpy(&stats, &symbol, sizeof symbol);
    for (unsigned i = 0; symbol != NULL && strstr(text, "\"engaged\": true") == NULL; i++) {
        CHECK(i < 1000);
        usleep(10000);
        (void)stats(text, sizeof text);
    }
}

enum hindrance { VFORK, RAW_MASK };

struct hindered {
    enum hindrance by;
    int go[2];
    int ready[2];
};

/* A thread that cannot be brought in until it is told to go on. */
static void *stay_hindered(void *arg)
{
    const struct hindered *h = arg;
    uint64_t all = ~UINT64_C(0);
    uint64_t before;
    pid_t child;
    char c;

    if (h->by == RAW_MASK) {
        CHECK(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all) == 0 && write(h->ready[1], "x", 1) == 1);
        CHECK(read(h->go[0], &c, 1) == 1);
        CHECK(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof all) == 0);
        return arg;
    }
    child = vfork();
    if (child == 0)
        _exit(write(h->ready[1], "x", 1) == 1 && read(h->go[0], &c, 1) == 1 ? 0 : 1);
    expect_success(child);
    return arg;
}

/* Nobody stands still for it; and the limit holds once it can. */
static void hindered_thread(enum hindrance by, size_t bytes, useconds_t pause)
{
    struct hindered h = {.by = by};
    double begin = seconds();
    pthread_t thread;
    char c;
    char *p;

    CHECK(pipe(h.go) == 0 && pipe(h.ready) == 0 && pthread_create(&thread, NULL, stay_hindered, &h) == 0);
    CHECK(read(h.ready[0], &c, 1) == 1);
    p = filled(bytes, 1);
    check(p, bytes, 1);
    CHECK(seconds() - begin < 3);
    usleep(pause);
    CHECK(write(h.go[1], "x", 1) == 1 && pthread_join(thread, NULL) == 0);
    await_paging();
    check(p, bytes, 1);
    free(p);
}

static void paging_starts_after_a_vfork(size_t bytes)
{
    hindered_thread(VFORK, bytes, 0);
}

static void paging_starts_once_signals_are_unblocked(size_t bytes)
{
    hindered_thread(RAW_MASK, bytes, 0);
}

static void paging_starts_after_a_long_vfork(size_t bytes)
{
    hindered_thread(VFORK, bytes, 2500000);
}

static void mask_is_full(void)
{
    sigset_t now;

    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &now) == 0 && sigismember(&now, SIGSYS) == 1 && sigismember(&now, SIGSEGV) == 1 &&
          sigismember(&now, SIGBUS) == 1 && sigismember(&now, SIGUSR1) == 1);
}

/* As a thread that a library makes for signals: what it waits for does not come. */
static void *wait_for_a_signal(void *arg)
{
    sigset_t set;
    int number;

    CHECK(sigemptyset(&set) == 0 && sigaddset(&set, SIGUSR1) == 0 && sigaddset(&set, SIGSYS) == 0 && sigaddset(&set, SIGSEGV) == 0);
    CHECK(sigwait(&set, &number) == 0 && number == SIGUSR1);
    mask_is_full();
    return arg;
}

/* Every thread blocks every signal that libc lets it block, before the first allocation. */
static void paging_starts_where_signals_are_blocked(size_t bytes)
{
    pthread_t thread;
    sigset_t all;

    CHECK(sigfillset(&all) == 0 && pthread_sigmask(SIG_BLOCK, &all, NULL) == 0);
    CHECK(pthread_create(&thread, NULL, wait_for_a_signal, NULL) == 0);
    usleep(20000);
    start_paging(bytes);
    mask_is_full();
    CHECK(pthread_kill(thread, SIGUSR1) == 0 && pthread_join(thread, NULL) == 0);
}

static void on_a_signal(int number)
{
    (void)number;
}

/* Two of four fork as well. */
static void *allocate_and_fork(void *arg)
{
    size_t me = (uintptr_t)arg % 4;
    size_t bytes = (size_t)1 << 20;

    for (uint64_t round = 0; round < 12; round++) {
        char *p = filled(bytes, round * 8 + me);

        if (me < 2 && round % 4 == 1) {
            pid_t child = fork();

            if (child == 0)
                _exit(0);
            expect_success(child);
        }
        check(p, bytes, round * 8 + me);
        free(p);
    }
    return NULL;
}

/* The program has handlers, so signals are deferred in threads that wait for memory: for the one that waits for them all to be in. */
static void paging_starts_where_threads_wait_for_memory(size_t bytes)
{
    enum { N = 8 };
    pthread_t threads[N];
    pid_t child;
    char *p;

    CHECK(signal(SIGUSR1, on_a_signal) != SIG_ERR);
    for (size_t i = 0; i < N; i++)
        CHECK(pthread_create(&threads[i], NULL, allocate_and_fork, (void *)(uintptr_t)i) == 0);
    child = fork();
    if (child == 0)
        _exit(0);
    expect_success(child);
    p = filled(bytes, 1);
    for (size_t i = 0; i < N; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    check(p, bytes, 1);
    free(p);
}

const struct probe probes_spawn[] = {
    {"paging_starts_where_threads_wait_for_memory", paging_starts_where_threads_wait_for_memory},
    {"paging_starts_after_a_vfork", paging_starts_after_a_vfork},
    {"paging_starts_after_a_long_vfork", paging_starts_after_a_long_vfork},
    {"paging_starts_once_signals_are_unblocked", paging_starts_once_signals_are_unblocked},
    {"paging_starts_where_signals_are_blocked", paging_starts_where_signals_are_blocked},
    {"paging_starts_beside_a_kernel_worker", paging_starts_beside_a_kernel_worker},
    {"paging_starts_in_a_pid_namespace", paging_starts_in_a_pid_namespace},
    {"children_begin_without_handlers", children_begin_without_handlers},
    {NULL, NULL},
};
