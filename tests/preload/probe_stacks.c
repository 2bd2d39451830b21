/* probe_stacks.c - the stacks that a signal's handler runs on: one of its own, or what is left of the thread's. */
#include "tests/preload/probe.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

/* Threads with a signal stack of their own when paging starts. */
#define STACK_OF_OWN ((size_t)64 << 10)
#define SIGNALS ((size_t)20)
static _Thread_local char *own_stack;
static char *own_block;
static atomic_size_t own_ready;
static atomic_size_t own_handled;
static atomic_bool own_over;
static atomic_bool own_waits;

static void on_own_stack(int number)
{
    char here = 0;
    size_t before = atomic_load(&own_handled);

    CHECK(&here > own_stack && &here < own_stack + STACK_OF_OWN);
    if (number == SIGUSR2) { /* is here when paging starts */
        atomic_fetch_add(&own_ready, 1);
        while (atomic_load(&own_waits))
            sched_yield();
        return;
    }
    check_page(own_block, before, 1);
    CHECK(getppid() > 0); /* a call is trapped on another stack than this one */
    atomic_fetch_add(&own_handled, 1);
}

static void set_own_stack(void)
{
    stack_t stack = {.ss_size = STACK_OF_OWN};
    struct sigaction action = {.sa_handler = on_own_stack, .sa_flags = SA_ONSTACK};

    own_stack = mmap(NULL, STACK_OF_OWN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(own_stack != MAP_FAILED);
    stack.ss_sp = own_stack;
    CHECK(sigaltstack(&stack, NULL) == 0);
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0 && sigaction(SIGUSR2, &action, NULL) == 0);
}

static void *spin_with_own_stack(void *in_handler)
{
    stack_t stack;

    set_own_stack();
    if (in_handler != NULL)
        CHECK(pthread_kill(pthread_self(), SIGUSR2) == 0);
    else
        atomic_fetch_add(&own_ready, 1);
    while (!atomic_load(&own_over))
        continue;
    CHECK(sigaltstack(NULL, &stack) == 0 && stack.ss_sp == own_stack && stack.ss_flags == 0);
    return NULL;
}

static void signal_stacks_of_before_are_kept(size_t bytes)
{
    pthread_t threads[2];

    atomic_store(&own_waits, true);
    for (size_t i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, spin_with_own_stack, i == 0 ? NULL : &own_waits) == 0);
    while (atomic_load(&own_ready) < 2)
        sched_yield();
    own_block = filled(bytes, 1);
    atomic_store(&own_waits, false);
    for (size_t i = 0; i < SIGNALS; i++) {
        CHECK(pthread_kill(threads[i % 2], SIGUSR1) == 0);
        while (atomic_load(&own_handled) == i)
            sched_yield();
    }
    atomic_store(&own_over, true);
    for (size_t i = 0; i < 2; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(atomic_load(&own_handled) == SIGNALS);
}

static size_t bytes_for_handler;

static void fill_on_own_stack(int number)
{
    (void)number;
    own_block = filled(bytes_for_handler, 1);
}

static void paging_starts_in_a_handler_on_its_stack(size_t bytes)
{
    struct sigaction action = {.sa_handler = fill_on_own_stack, .sa_flags = SA_ONSTACK};

    set_own_stack();
    bytes_for_handler = bytes;
    CHECK(sigaction(SIGTERM, &action, NULL) == 0 && raise(SIGTERM) == 0 && own_block != NULL);
    for (size_t i = 0; i < SIGNALS; i++)
        CHECK(raise(SIGUSR1) == 0 && atomic_load(&own_handled) == i + 1);
}

/* A stack that ends where nobody may write: a signal's frame would reach beyond. */
#define ROOM_BYTES ((size_t)16 * PAGE)
#define ROOM_LEFT 600
static _Alignas(4096) char room[ROOM_BYTES];
static sigjmp_buf out_of_room;
static volatile sig_atomic_t n_without_room;

static void without_room(int number, siginfo_t *info, void *context)
{
    (void)context;
    CHECK(number == SIGSEGV && info->si_code == SI_KERNEL);
    n_without_room++;
    siglongjmp(out_of_room, 1);
}

static void never(int number)
{
    (void)number;
    _exit(4);
}

static void signal_at_the_end_of_the_stack(void)
{
    char here;
    size_t left = (size_t)(&here - room) - ROOM_BYTES / 2;
    long thread = syscall(SYS_gettid); /* the dynamic linker has to look for syscall() here, where there is room */
    long process = getpid();
    volatile char *filler = __builtin_alloca(left - ROOM_LEFT);

    *filler = 1;
    (void)syscall(SYS_tgkill, process, thread, SIGUSR1);
    _exit(5);
}

static void send_a_signal_without_room(void)
{
    ucontext_t there;
    ucontext_t here;

    CHECK(getcontext(&there) == 0);
    there.uc_stack = (stack_t){.ss_sp = room, .ss_size = ROOM_BYTES};
    there.uc_link = NULL;
    makecontext(&there, signal_at_the_end_of_the_stack, 0);
    CHECK(swapcontext(&here, &there) == 0);
}

/* What comes instead of a signal for whose frame there is no room is SIGSEGV, with a handler if it has a stack of its own. */
static void signals_without_room(size_t bytes)
{
    struct sigaction action = {.sa_handler = never};
    struct sigaction last = {.sa_sigaction = without_room, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    char *p = filled(bytes, 1);
    int status;
    pid_t pid;

    set_own_stack();
    CHECK(mprotect(room, ROOM_BYTES / 2, PROT_NONE) == 0);
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0 && sigaction(SIGSEGV, &last, NULL) == 0);
    for (volatile sig_atomic_t i = 0; i < 10; i++) {
        if (sigsetjmp(out_of_room, 1) == 0)
            send_a_signal_without_room();
        CHECK(n_without_room == i + 1);
        check_page(p, (size_t)i, 1);
    }
    pid = fork();
    if (pid == 0) {
        CHECK(signal(SIGSEGV, SIG_IGN) != SIG_ERR); /* it cannot be ignored then */
        send_a_signal_without_room();
    }
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    check(p, bytes, 1);
}

/* ---- frames in ghost memory ---- */

static char *handler_data;
static size_t handler_pages;
static size_t n_handled;

/* Reads more than the limit lets be there: what it stands on leaves too, up to the frame that it returns to. */
static void read_much(int number)
{
    (void)number;
    for (size_t i = 0; i < 100; i++)
        check_page(handler_data, i * 7 % handler_pages, 1);
    n_handled++;
}

static void signal_at_depth(unsigned depth)
{
    volatile char filler[300];

    filler[depth % 300] = (char)depth;
    if (depth > 0)
        signal_at_depth(depth - 1);
    else
        CHECK(raise(SIGUSR1) == 0);
    CHECK(filler[depth % 300] == (char)depth);
}

static void *signal_at_depths(void *unused)
{
    for (unsigned i = 0; i < 40; i++)
        signal_at_depth(i * 7);
    return unused;
}

/* On a signal stack whose top is nowhere in particular, and on a thread's own, whether or not the return is ours to see. */
static void handlers_return_to_frames_in_ghost_memory(size_t bytes)
{
    const size_t stack_bytes = (size_t)1 << 20;
    char *stack = aligned_alloc(PAGE, stack_bytes);
    struct sigaction action = {.sa_handler = read_much, .sa_flags = SA_ONSTACK};
    pthread_attr_t attributes;
    pthread_t thread;

    handler_data = filled(bytes, 1);
    handler_pages = bytes / PAGE;
    for (size_t cut = 0; cut < PAGE; cut += 400) {
        stack_t where = {.ss_sp = stack, .ss_size = stack_bytes / 2 - cut};

        CHECK(sigaltstack(&where, NULL) == 0 && sigaction(SIGUSR1, &action, NULL) == 0 && raise(SIGUSR1) == 0);
    }
    CHECK(n_handled == (PAGE + 399) / 400);
    action.sa_flags = 0;
    CHECK(pthread_attr_init(&attributes) == 0 && pthread_attr_setstack(&attributes, stack, stack_bytes) == 0);
    for (unsigned i = 0; i < 2; i++) {
        if (i == 1)
            CHECK(sigaddset(&action.sa_mask, SIGSEGV) == 0);
        CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
        CHECK(pthread_create(&thread, &attributes, signal_at_depths, NULL) == 0 && pthread_join(thread, NULL) == 0);
    }
    check(handler_data, bytes, 1);
}

const struct probe probes_stacks[] = {
    {"handlers_return_to_frames_in_ghost_memory", handlers_return_to_frames_in_ghost_memory},
    {"signal_stacks_of_before_are_kept", signal_stacks_of_before_are_kept},
    {"paging_starts_in_a_handler_on_its_stack", paging_starts_in_a_handler_on_its_stack},
    {"signals_without_room", signals_without_room},
    {NULL, NULL},
};
