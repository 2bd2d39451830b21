/* probe_process.c - fork, threads, and the ways a process ends. */
#include "tests/preload/probe.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void both_sides_of_a_fork_go_on(size_t bytes)
{
    char *p = filled(bytes, 1);

    for (uint64_t round = 0; round < 4; round++) {
        pid_t child = fork();

        if (child == 0) {
            check(p, bytes, 1 + round);
            fill(p, bytes, 100 + round);
            check(p, bytes, 100 + round);
            free(p);
            free(filled(bytes, 7));
            _exit(0);
        }
        if (round % 2 == 0)
            check(p, bytes, 1 + round);
        fill(p, bytes, 2 + round);
        expect_success(child);
        check(p, bytes, 2 + round);
    }
}

static void fork_chain(size_t bytes)
{
    char *p = filled(bytes, 0);

    for (uint64_t depth = 1; depth <= 12; depth++) {
        pid_t child = fork();

        if (child != 0) {
            expect_success(child);
            check(p, bytes, depth - 1);
            return;
        }
        check(p, bytes, depth - 1);
        fill(p, bytes, depth);
    }
}

static void fork_storm(size_t bytes)
{
    char *p = filled(bytes, 4);
    pid_t children[32];

    for (size_t i = 0; i < 32; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            check(p, bytes, 4);
            fill(p + bytes / 32 * i, bytes / 32, i);
            check(p + bytes / 32 * i, bytes / 32, i);
            check(p, bytes / 32 * i, 4);
            _exit(0);
        }
    }
    for (size_t i = 0; i < 32; i++)
        expect_success(children[i]);
    check(p, bytes, 4);
}

struct share {
    char *p;
    size_t bytes;
    _Atomic int stop;
};

static void *touch_for_ever(void *arg)
{
    struct share *share = arg;
    uint64_t random = 1;

    while (!atomic_load(&share->stop)) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        atomic_fetch_add((_Atomic uint64_t *)(void *)(share->p + (random >> 33) % (share->bytes / PAGE) * PAGE), 1);
    }
    return NULL;
}

/* The child sees one moment: its memory must not change any more, and each counter is at least what it was before. */
static void fork_while_threads_touch(size_t bytes)
{
    struct share share = {.p = calloc(1, bytes), .bytes = bytes};
    pthread_t threads[3];

    for (size_t i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, touch_for_ever, &share) == 0);
    for (int round = 0; round < 5; round++) {
        pid_t child = fork();

        if (child == 0) {
            uint64_t sum = 0;

            for (int pass = 0; pass < 2; pass++) {
                uint64_t now = 0;

                for (size_t i = 0; i < bytes; i += PAGE)
                    now += *(uint64_t *)(void *)(share.p + i);
                CHECK(pass == 0 || now == sum);
                sum = now;
            }
            _exit(0);
        }
        expect_success(child);
    }
    atomic_store(&share.stop, 1);
    for (size_t i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
}

static void *grow_for_ever(void *arg)
{
    struct share *share = arg;
    size_t bytes = share->bytes / 8;

    while (!atomic_load(&share->stop)) {
        char *p = filled(bytes, 5);
        void *fence = malloc(bytes); /* so that it has to move */

        p = realloc(p, 2 * bytes);
        CHECK(p != NULL);
        check(p, bytes, 5);
        free(fence);
        free(p);
    }
    return NULL;
}

/* More threads that fault than a fault in the faulting thread has workers for, while blocks move and the process forks. */
static void forks_while_blocks_move(size_t bytes)
{
    struct share share = {.p = calloc(1, bytes), .bytes = bytes};
    pthread_t threads[9];

    for (size_t i = 0; i < 9; i++)
        CHECK(pthread_create(&threads[i], NULL, i == 0 ? grow_for_ever : touch_for_ever, &share) == 0);
    for (int round = 0; round < 40; round++) {
        pid_t child = fork();

        if (child == 0)
            _exit(0);
        expect_success(child);
    }
    atomic_store(&share.stop, 1);
    for (size_t i = 0; i < 9; i++)
        pthread_join(threads[i], NULL);
}

/* Blocks that grow, move, are freed and come back zeroed. */
static void *resize_for_ever(void *arg)
{
    const struct share *share = arg;
    const size_t small = 256 << 10;

    for (uint64_t salt = 1; !atomic_load(&share->stop); salt++) {
        char *p = filled(small, salt);
        char *fence = malloc(small);
        char *fresh;

        p = realloc(p, 2 * small);
        CHECK(p != NULL && fence != NULL);
        check(p, small, salt);
        free(fence);
        free(p);
        fresh = calloc(2, small);
        for (size_t i = 0; i < 2 * small; i += PAGE)
            CHECK(fresh != NULL && fresh[i] == 0 && fresh[i + PAGE - 1] == 0);
        free(fresh);
    }
    return NULL;
}

/* Each child starts paging at another moment of its threads' calls. */
static void paging_starts_while_blocks_move(size_t bytes)
{
    bytes /= 2; /* still twice the limit */
    for (unsigned round = 0; round < 25; round++) {
        pid_t child = fork();

        if (child == 0) {
            struct share share = {.bytes = bytes};
            pthread_t threads[2];

            for (size_t i = 0; i < 2; i++)
                CHECK(pthread_create(&threads[i], NULL, resize_for_ever, &share) == 0);
            usleep(1000 + round * 59);
            share.p = filled(bytes, 7);
            check(share.p, bytes, 7);
            atomic_store(&share.stop, 1);
            for (size_t i = 0; i < 2; i++)
                pthread_join(threads[i], NULL);
            check(share.p, bytes, 7);
            _exit(0);
        }
        expect_success(child);
    }
}

static void programs_started_from_here_run(size_t bytes)
{
    char *p = filled(bytes, 1);
    FILE *pipe = popen("echo popen", "r");
    char line[32];
    pid_t child;

    CHECK(pipe != NULL && fgets(line, sizeof line, pipe) != NULL && pclose(pipe) == 0);
    CHECK(system("exit 3") == 3 << 8);
    check(p, bytes, 1);
    CHECK(system("ls /proc/self/fd | wc -l") == 0); /* the same as without us */
    child = fork();
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", "ls /proc/self/fd | wc -l", (char *)NULL);
        _exit(1);
    }
    expect_success(child);
    check(p, bytes, 1);
}

/* ---- ends ---- */

static void *exit_here(void *arg)
{
    free(filled(*(size_t *)arg, 1));
    puts("ok");
    exit(0);
}

static void exit_from_a_thread(size_t bytes)
{
    pthread_t thread;

    CHECK(pthread_create(&thread, NULL, exit_here, &bytes) == 0);
    pthread_join(thread, NULL);
    pause();
}

static void *outlive_main(void *arg)
{
    (void)arg;
    usleep(100000);
    free(filled(8 << 20, 1));
    puts("ok");
    return NULL;
}

/* The process ends when the last of the program's own threads does, whatever threads we have. */
static void main_thread_ends_first(size_t bytes)
{
    pthread_t thread;

    free(filled(bytes, 1));
    CHECK(pthread_create(&thread, NULL, outlive_main, NULL) == 0);
    pthread_exit(NULL);
}

static void underscore_exit(size_t bytes)
{
    free(filled(bytes, 1));
    puts("ok");
    fflush(stdout);
    _exit(0);
}

static void killed_by_sigterm(size_t bytes)
{
    free(filled(bytes, 1));
    kill(getpid(), SIGTERM);
    pause();
}

static void dies_of_a_wild_write(size_t bytes)
{
    free(filled(bytes, 1));
    *(volatile int *)16 = 1;
}

/* As redis, postgres and sshd do to show a title in ps(1). */
static void title_is_written_over_the_environment(size_t bytes)
{
    char *p = filled(bytes, 1);

    for (char **variable = environ; *variable != NULL; variable++)
        memset(*variable, 't', strlen(*variable));
    check(p, bytes, 1);
}

static void signal_dispositions_look_untouched(size_t bytes)
{
    struct sigaction action;

    (void)bytes;
    CHECK(sigaction(SIGTERM, NULL, &action) == 0 && action.sa_handler == SIG_DFL);
    CHECK(signal(SIGINT, SIG_IGN) == SIG_DFL);
    CHECK(signal(SIGINT, SIG_DFL) == SIG_IGN);
    CHECK(sigaction(SIGINT, NULL, &action) == 0 && action.sa_handler == SIG_DFL);
}

/* A page that came in to be read may leave without a look at it; but not what a child, which was not there, writes to it. */
static void child_writes_what_its_parent_only_read(size_t bytes)
{
    char *p = filled(bytes, 1);
    size_t n_pages = bytes / PAGE;
    pid_t child;

    check(p, bytes, 1);
    check(p, bytes, 1);
    child = fork();
    if (child == 0) {
        for (size_t page = n_pages; page-- > 0;) /* the youngest first: they are there */
            p[page * PAGE + 7] = 0x5a;
        for (size_t i = 0; i < 3 * n_pages; i++)
            CHECK(p[(n_pages - 1 - i % n_pages) * PAGE + 7] == 0x5a);
        _exit(0);
    }
    expect_success(child);
    check(p, bytes, 1);
}

static void goes_elsewhere(size_t bytes)
{
    CHECK(chdir("/") == 0);
    free(filled(bytes, 1));
}

const struct probe probes_process[] = {
    {"goes_elsewhere", goes_elsewhere},
    {"both_sides_of_a_fork_go_on", both_sides_of_a_fork_go_on},
    {"child_writes_what_its_parent_only_read", child_writes_what_its_parent_only_read},
    {"fork_chain", fork_chain},
    {"fork_storm", fork_storm},
    {"fork_while_threads_touch", fork_while_threads_touch},
    {"forks_while_blocks_move", forks_while_blocks_move},
    {"paging_starts_while_blocks_move", paging_starts_while_blocks_move},
    {"programs_started_from_here_run", programs_started_from_here_run},
    {"exit_from_a_thread", exit_from_a_thread},
    {"main_thread_ends_first", main_thread_ends_first},
    {"underscore_exit", underscore_exit},
    {"killed_by_sigterm", killed_by_sigterm},
    {"dies_of_a_wild_write", dies_of_a_wild_write},
    {"title_is_written_over_the_environment", title_is_written_over_the_environment},
    {"signal_dispositions_look_untouched", signal_dispositions_look_untouched},
    {NULL, NULL},
};
