/* probe_calls.c - system calls whose buffers, structures, stacks and locks lie in frozen memory. */
#include "tests/preload/probe.h"

#include <alloca.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <linux/futex.h>
#include <ucontext.h>
#include <unistd.h>

extern char **environ;

#define SMALL ((size_t)256 << 10) /* a block that is ghost memory, and that the limit may hold or not */

#if defined(__x86_64__)
static long inline_call3(long number, long a, long b, long c)
{
    long result;

    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}
#else
#define inline_call3 syscall
#endif

static void calls_without_libc(size_t bytes)
{
    char *p = filled(SMALL, 1);
    char *q = filled(SMALL, 2);
    int fd = scratch_file(0);

    push_out(bytes);
    CHECK(inline_call3(SYS_write, fd, (long)(p + 100), (long)(SMALL - 100)) == (long)(SMALL - 100));
    CHECK(syscall(SYS_pwrite64, fd, p, SMALL, 0L) == (long)SMALL);
    push_out(bytes);
    CHECK(syscall(SYS_pread64, fd, q, SMALL, 0L) == (long)SMALL);
    check(q, SMALL, 1);
    push_out(bytes);
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    memset(q, 0, SMALL);
    push_out(bytes);
    CHECK(inline_call3(SYS_read, fd, (long)q, (long)SMALL) == (long)SMALL);
    check(q, SMALL, 1);
    errno = 0;
    CHECK(syscall(SYS_pread64, fd, (void *)8, 100L, 0L) == -1 && errno == EFAULT);
    close(fd);
}

static void vectors_and_messages(size_t bytes)
{
    char *p = filled(SMALL, 1);
    char *q = filled(SMALL, 2);
    struct iovec *vector = malloc(SMALL); /* itself ghost memory */
    struct msghdr *message = (struct msghdr *)(void *)((char *)malloc(SMALL) + PAGE - 16); /* across two pages */
    int fd = scratch_file(0);
    int pair[2];

    for (size_t i = 0; i < 64; i++)
        vector[i] = (struct iovec){p + i * (SMALL / 64), SMALL / 64};
    push_out(bytes);
    CHECK(writev(fd, vector, 64) == (ssize_t)SMALL);
    for (size_t i = 0; i < 64; i++)
        vector[i] = (struct iovec){q + i * (SMALL / 64), SMALL / 64};
    push_out(bytes);
    CHECK(preadv(fd, vector, 64, 0) == (ssize_t)SMALL);
    check(q, SMALL, 1);

    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
    for (int round = 0; round < 4; round++) {
        memset(q, 0, 15 * PAGE);
        vector[0] = (struct iovec){p, 5 * PAGE};
        vector[1] = (struct iovec){p + 5 * PAGE, 10 * PAGE};
        memset(message, 0, sizeof *message);
        message->msg_iov = vector;
        message->msg_iovlen = 2;
        push_out(bytes);
        CHECK(sendmsg(pair[0], message, 0) == (ssize_t)(15 * PAGE));
        vector[0] = (struct iovec){q, 8 * PAGE};
        vector[1] = (struct iovec){q + 8 * PAGE, 8 * PAGE};
        push_out(bytes);
        CHECK(recvmsg(pair[1], message, 0) == (ssize_t)(15 * PAGE));
        CHECK((message->msg_flags & MSG_TRUNC) == 0);
        check(q, 15 * PAGE, 1);
        push_out(bytes);
        CHECK(send(pair[1], p + PAGE, 12 * PAGE, 0) == (ssize_t)(12 * PAGE)); /* a datagram is whole or lost */
        push_out(bytes);
        CHECK(recv(pair[0], q, 13 * PAGE, 0) == (ssize_t)(12 * PAGE));
        CHECK(memcmp(q, p + PAGE, 12 * PAGE) == 0);
    }
    close(fd);
}

static void stdio_with_our_buffer(size_t bytes)
{
    char *buffer = malloc(SMALL);
    char *p = filled(SMALL, 1);
    char *q = filled(SMALL, 2);
    FILE *file = tmpfile();

    CHECK(file != NULL && setvbuf(file, buffer, _IOFBF, SMALL) == 0);
    push_out(bytes);
    for (size_t i = 0; i < 3; i++)
        CHECK(fwrite(p, 1, SMALL, file) == SMALL);
    push_out(bytes);
    CHECK(fflush(file) == 0);
    rewind(file);
    push_out(bytes);
    CHECK(fread(q, 1, SMALL, file) == SMALL);
    check(q, SMALL, 1);
    fclose(file);
}

static void waiting_calls(size_t bytes)
{
    struct pollfd *fds = (struct pollfd *)(void *)((char *)malloc(SMALL) + PAGE - 8);
    struct epoll_event *events = malloc(SMALL);
    fd_set *set = malloc(SMALL);
    struct timeval *timeout = malloc(SMALL);
    socklen_t *length = malloc(SMALL);
    int *value = malloc(SMALL);
    int pair[2];
    int epoll = epoll_create1(0);

    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && write(pair[0], "x", 1) == 1);
    fds[0] = (struct pollfd){.fd = pair[1], .events = POLLIN};
    fds[1] = (struct pollfd){.fd = pair[0], .events = POLLIN};
    push_out(bytes);
    CHECK(poll(fds, 2, 0) == 1 && fds[0].revents == POLLIN && fds[1].revents == 0);
    events[0] = (struct epoll_event){.events = EPOLLIN, .data.u64 = 77};
    push_out(bytes);
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, pair[1], events) == 0);
    push_out(bytes);
    CHECK(epoll_wait(epoll, events, 100, 0) == 1 && events[0].data.u64 == 77);
    FD_ZERO(set);
    FD_SET(pair[1], set);
    *timeout = (struct timeval){0, 0};
    push_out(bytes);
    CHECK(select(pair[1] + 1, set, NULL, NULL, timeout) == 1 && FD_ISSET(pair[1], set));
    *length = sizeof *value;
    push_out(bytes);
    CHECK(getsockopt(pair[0], SOL_SOCKET, SO_TYPE, value, length) == 0 && *value == SOCK_STREAM);
}

static void arguments_of_a_new_program(size_t bytes)
{
    char **argv = malloc(SMALL);
    char *text = malloc(SMALL);
    pid_t pid;
    int status;

    memset(text, 'x', SMALL);
    text[3 * PAGE] = '\0';
    argv[0] = strcpy(text + 4 * PAGE - 3, "/bin/sh");
    argv[1] = strcpy(text + 6 * PAGE, "-c");
    argv[2] = strcpy(text + 8 * PAGE, "test ${#1} = 12288");
    argv[3] = strcpy(text + 10 * PAGE, "sh");
    argv[4] = text;
    argv[5] = NULL;
    for (volatile int way = 0; way < 3; way++) {
        push_out(bytes);
        if (way == 0) {
            CHECK(posix_spawn(&pid, argv[0], NULL, NULL, argv, environ) == 0);
        } else {
            pid = way == 1 ? fork() : vfork();
            if (pid == 0) {
                execv(argv[0], argv);
                _exit(127);
            }
        }
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    }
}

/* ---- locks ---- */

struct shared {
    pthread_mutex_t mutex;
    pthread_cond_t turned;
    pthread_barrier_t barrier;
    sem_t semaphore;
    long turn;
    uint32_t word;
};

static struct shared *shared;
static size_t pushed_bytes;

static void *take_turns(void *arg)
{
    long me = (long)arg;

    for (int i = 0; i < 20; i++) {
        pthread_mutex_lock(&shared->mutex);
        while (shared->turn % 3 != me)
            pthread_cond_wait(&shared->turned, &shared->mutex);
        shared->turn++;
        pthread_cond_broadcast(&shared->turned);
        pthread_mutex_unlock(&shared->mutex);
        if (me == 0)
            push_out(pushed_bytes);
        pthread_barrier_wait(&shared->barrier);
        sem_post(&shared->semaphore);
    }
    return NULL;
}

static void locks_in_frozen_memory(size_t bytes)
{
    pthread_t threads[3];
    struct timespec none = {0, 1000};

    pushed_bytes = bytes;
    shared = malloc(SMALL);
    pthread_mutex_init(&shared->mutex, NULL);
    pthread_cond_init(&shared->turned, NULL);
    pthread_barrier_init(&shared->barrier, NULL, 3);
    sem_init(&shared->semaphore, 0, 0);
    shared->turn = 0;
    for (long i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, take_turns, (void *)i) == 0);
    for (int i = 0; i < 60; i++)
        sem_wait(&shared->semaphore);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    CHECK(shared->turn == 60);
    shared->word = 5;
    push_out(bytes);
    CHECK(syscall(SYS_futex, &shared->word, FUTEX_WAIT, 6, NULL) == -1 && errno == EAGAIN);
    push_out(bytes);
    CHECK(syscall(SYS_futex, &shared->word, FUTEX_WAIT, 5, &none) == -1 && errno == ETIMEDOUT);
}

#define ROBUST_MUTEXES 3

static pthread_mutex_t *robust_mutex(char *block, size_t i)
{
    return (pthread_mutex_t *)(void *)(block + (i * 8 + 1) * PAGE);
}

static void *end_as_owner(void *arg)
{
    for (size_t i = 0; i < ROBUST_MUTEXES; i++)
        CHECK(pthread_mutex_lock(robust_mutex(arg, i)) == 0);
    push_out(pushed_bytes);
    return arg;
}

/* The kernel follows the list of them when the thread ends. */
static void owner_of_frozen_mutexes_ends(size_t bytes)
{
    char *block = malloc(SMALL);
    pthread_mutexattr_t attr;
    struct timespec past = {1, 0};
    pthread_t thread;

    pushed_bytes = bytes;
    pthread_mutexattr_init(&attr);
    CHECK(pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST) == 0);
    for (size_t i = 0; i < ROBUST_MUTEXES; i++)
        CHECK(pthread_mutex_init(robust_mutex(block, i), &attr) == 0);
    push_out(bytes);
    CHECK(pthread_create(&thread, NULL, end_as_owner, block) == 0 && pthread_join(thread, NULL) == 0);
    for (size_t i = 0; i < ROBUST_MUTEXES; i++)
        CHECK(pthread_mutex_timedlock(robust_mutex(block, i), &past) == EOWNERDEAD);
}

/* ---- stacks ---- */

static void *deep(void *arg)
{
    char frame[64 << 10];
    char *p = arg;

    memset(frame, 7, sizeof frame);
    push_out(pushed_bytes);
    for (size_t i = 0; i < sizeof frame; i += 1024)
        CHECK(frame[i] == 7);
    check(p, SMALL, 1);
    return arg;
}

static void thread_stack_in_ghost_memory(size_t bytes)
{
    size_t stack_bytes = (size_t)512 << 10;
    void *stack = aligned_alloc(PAGE, stack_bytes);
    char *p = filled(SMALL, 1);
    pthread_attr_t attr;
    pthread_t thread;
    void *result;

    pushed_bytes = bytes;
    push_out(bytes);
    pthread_attr_init(&attr);
    for (int i = 0; i < 3; i++) {
        CHECK(pthread_attr_setstack(&attr, stack, stack_bytes) == 0);
        push_out(bytes);
        CHECK(pthread_create(&thread, &attr, deep, p) == 0);
        CHECK(pthread_join(thread, &result) == 0 && result == p);
    }
}

static atomic_bool pushing;

static void *push_out_often(void *arg)
{
    while (pushing)
        push_out(pushed_bytes);
    return arg;
}

/* From another place in the stack's page each time; the pages below have left meanwhile. */
static void fork_below(void *arg, int way, size_t depth)
{
    volatile char *room = alloca(depth);
    pid_t child;
    int status;

    room[0] = 1;
    usleep(30000);
    child = way == 0 ? fork() : way == 1 ? _Fork() : (pid_t)syscall(SYS_fork);
    if (child == 0) {
        check(arg, SMALL, 1);
        _exit(0);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0 && room[0] == 1);
}

static void *fork_in_every_way(void *arg)
{
    /* At its upper end the stack holds what libc knows of the thread: that stays. */
    for (size_t depth = (32 << 10) + PAGE / 8; depth <= (32 << 10) + PAGE; depth += PAGE / 8)
        for (int way = 0; way < 3; way++)
            fork_below(arg, way, depth);
    return arg;
}

static void forks_on_a_ghost_stack(size_t bytes)
{
    size_t stack_bytes = (size_t)512 << 10;
    void *stack = aligned_alloc(PAGE, stack_bytes);
    char *p = filled(SMALL, 1);
    pthread_attr_t attr;
    pthread_t thread;
    pthread_t pusher;

    pushed_bytes = bytes;
    push_out(bytes);
    pushing = true;
    CHECK(pthread_create(&pusher, NULL, push_out_often, NULL) == 0);
    pthread_attr_init(&attr);
    CHECK(pthread_attr_setstack(&attr, stack, stack_bytes) == 0);
    CHECK(pthread_create(&thread, &attr, fork_in_every_way, p) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    pushing = false;
    CHECK(pthread_join(pusher, NULL) == 0);
}

static void *start_paging(void *arg)
{
    char *p = filled(pushed_bytes, 3);

    check(p, pushed_bytes, 3);
    free(p);
    return arg;
}

static void paging_starts_on_a_ghost_stack(size_t bytes)
{
    pthread_attr_t attr;
    pthread_t thread;

    pushed_bytes = bytes;
    pthread_attr_init(&attr);
    CHECK(pthread_attr_setstack(&attr, aligned_alloc(PAGE, SMALL / 2), SMALL / 2) == 0);
    CHECK(pthread_create(&thread, &attr, start_paging, NULL) == 0 && pthread_join(thread, NULL) == 0);
}

static ucontext_t main_context;
static ucontext_t coroutines[3];
static int n_yields;

static void coroutine(void)
{
    int me = n_yields % 3;
    volatile char frame[20000];

    for (int i = 0; i < 5; i++) {
        memset((char *)(uintptr_t)frame, me, sizeof frame);
        n_yields++;
        swapcontext(&coroutines[me], &main_context);
        for (size_t k = 0; k < sizeof frame; k += 500)
            CHECK(frame[k] == me);
    }
}

static void coroutines_on_ghost_stacks(size_t bytes)
{
    for (int i = 0; i < 3; i++) {
        getcontext(&coroutines[i]);
        coroutines[i].uc_stack.ss_sp = malloc(SMALL);
        coroutines[i].uc_stack.ss_size = SMALL;
        coroutines[i].uc_link = &main_context;
        makecontext(&coroutines[i], coroutine, 0);
    }
    for (int i = 0; i < 15; i++) {
        push_out(bytes);
        CHECK(swapcontext(&main_context, &coroutines[i % 3]) == 0);
    }
}

/* ---- a device writes ---- */

static _Atomic int stop;

static void *evict_on(void *arg)
{
    while (!stop)
        push_out(pushed_bytes);
    return arg;
}

static void direct_reads_while_others_evict(size_t bytes)
{
    char path[] = "/var/tmp/ghostmem-probe-XXXXXX";
    int fd = mkostemp(path, O_DIRECT);
    char *p = aligned_alloc(PAGE, SMALL);
    char *q = aligned_alloc(PAGE, SMALL);
    pthread_t thread;

    pushed_bytes = bytes;
    if (fd < 0)
        fd = mkstemp(path);
    CHECK(fd >= 0);
    unlink(path);
    fill(p, SMALL, 1);
    CHECK(write(fd, p, SMALL) == (ssize_t)SMALL);
    CHECK(pthread_create(&thread, NULL, evict_on, NULL) == 0);
    for (int i = 0; i < 30; i++) {
        memset(q, 0, SMALL);
        CHECK(pread(fd, q, SMALL, 0) == (ssize_t)SMALL);
        check(q, SMALL, 1);
    }
    stop = 1;
    pthread_join(thread, NULL);
    close(fd);
}

/* Refused or not, system calls go on as they were: with `signal` and `segv` their trap is this dispatch. */
static void dispatch_stays_as_it_was(size_t bytes)
{
    char *p = filled(bytes, 1);

    CHECK(prctl(59 /* PR_SET_SYSCALL_USER_DISPATCH */, 0, 0, 0, 0) == 0 || errno == EINVAL);
    for (size_t i = 0; i < 16; i++) {
        fill(p, bytes, i);
        CHECK(syscall(SYS_getcwd, p + i * PAGE, PAGE) > 0);
        CHECK(p[i * PAGE] == '/');
    }
}

const struct probe probes_calls[] = {
    {"dispatch_stays_as_it_was", dispatch_stays_as_it_was},
    {"calls_without_libc", calls_without_libc},
    {"vectors_and_messages", vectors_and_messages},
    {"stdio_with_our_buffer", stdio_with_our_buffer},
    {"waiting_calls", waiting_calls},
    {"arguments_of_a_new_program", arguments_of_a_new_program},
    {"locks_in_frozen_memory", locks_in_frozen_memory},
    {"owner_of_frozen_mutexes_ends", owner_of_frozen_mutexes_ends},
    {"thread_stack_in_ghost_memory", thread_stack_in_ghost_memory},
    {"forks_on_a_ghost_stack", forks_on_a_ghost_stack},
    {"paging_starts_on_a_ghost_stack", paging_starts_on_a_ghost_stack},
    {"coroutines_on_ghost_stacks", coroutines_on_ghost_stacks},
    {"direct_reads_while_others_evict", direct_reads_while_others_evict},
    {NULL, NULL},
};
