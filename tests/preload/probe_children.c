/* probe_children.c - children of every kind: see probe.c. */
#include "tests/preload/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- forks ---- */

/* The daemon says how it went, for nobody waits for it: 'k', or nothing. */
static void expect_word(const int ends[2])
{
    char word = 0;

    close(ends[1]);
    CHECK(read(ends[0], &word, 1) == 1 && word == 'k');
    CHECK(read(ends[0], &word, 1) == 0); /* it has ended, whatever it still had to do */
    close(ends[0]);
}

static void say_and_end(const int ends[2])
{
    CHECK(write(ends[1], "k", 1) == 1);
    _exit(0);
}

static void becomes_a_daemon(size_t bytes)
{
    char *p = filled(bytes, 1);

    for (int round = 0; round < 2; round++) {
        int ends[2];
        pid_t child;

        CHECK(pipe(ends) == 0);
        child = fork();
        if (child == 0) {
            close(ends[0]);
            check_page(p, 0, 1 + (uint64_t)round);
            CHECK(daemon(round, round) == 0);
            check(p, bytes, 1 + (uint64_t)round);
            fill(p, bytes, 50);
            check(p, bytes, 50);
            free(p);
            free(filled(bytes, 51));
            say_and_end(ends);
        }
        fill(p, bytes, 2 + (uint64_t)round);
        expect_word(ends);
        expect_success(child);
        check(p, bytes, 2 + (uint64_t)round);
    }
}

/* The child ends before its own child has touched anything. */
static void grandchild_has_it_all(size_t bytes)
{
    char *p = filled(bytes, 1);

    for (uint64_t round = 1; round < 4; round++) {
        int ends[2];
        pid_t child;

        CHECK(pipe(ends) == 0);
        child = fork();
        if (child == 0) {
            if (round == 2)
                fill(p, bytes, round);
            if (fork() != 0)
                _exit(0);
            close(ends[0]);
            while (getppid() == child)
                usleep(100);
            check(p, bytes, round);
            fill(p, bytes, 60);
            check(p, bytes, 60);
            say_and_end(ends);
        }
        fill(p, bytes, round + 1);
        expect_success(child);
        expect_word(ends);
        check(p, bytes, round + 1);
    }
}

static struct {
    char *p;
    size_t bytes;
    volatile sig_atomic_t n;
} handled;

static void fork_here(int number)
{
    pid_t child = fork();

    (void)number;
    if (child == 0) {
        for (size_t i = 0; i < handled.bytes / PAGE; i++)
            check_page(handled.p, i, 3);
        fill(handled.p, handled.bytes, 4);
        check(handled.p, handled.bytes, 4);
        _exit(0);
    }
    expect_success(child);
    handled.n++;
}

/* The signal comes while the same thread faults, in every state of the pages. */
static void forks_in_a_handler(size_t bytes)
{
    struct itimerval soon = {.it_value = {.tv_usec = 500}};

    handled.p = filled(bytes, 3);
    handled.bytes = bytes;
    CHECK(signal(SIGALRM, fork_here) != SIG_ERR);
    for (int round = 0; round < 10; round++) {
        handled.n = 0;
        soon.it_value.tv_usec = 300 + 211 * round;
        CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
        do {
            check(handled.p, bytes, 3);
        } while (handled.n == 0);
    }
    check(handled.p, bytes, 3);
}

static void fork_here_and_again(int number)
{
    struct itimerval soon = {.it_value = {.tv_usec = 200 + handled.n * 37 % 600}};

    fork_here(number);
    CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
}

/* It comes between any two instructions of an allocation. */
static void forks_in_a_handler_while_it_allocates(size_t bytes)
{
    struct itimerval soon = {.it_value = {.tv_usec = 500}};
    const struct itimerval never = {.it_value = {.tv_usec = 0}};

    handled.p = filled(bytes / 8, 3);
    handled.bytes = bytes / 8;
    CHECK(signal(SIGALRM, fork_here_and_again) != SIG_ERR);
    CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
    while (handled.n < 150) {
        char *p = malloc(bytes);

        CHECK(p != NULL);
        p[0] = p[bytes - 1] = 1;
        p = realloc(p, bytes / 2);
        CHECK(p != NULL && p[0] == 1);
        free(p);
    }
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    check(handled.p, handled.bytes, 3);
}

struct share {
    char *p;
    size_t bytes;
    _Atomic bool over;
};

static void *count_for_ever(void *arg)
{
    struct share *share = arg;
    uint64_t random = (uintptr_t)&random;

    while (!atomic_load(&share->over)) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        atomic_fetch_add((_Atomic uint64_t *)(void *)(share->p + (random >> 33) % (share->bytes / PAGE) * PAGE), 1);
    }
    return NULL;
}

static void *fork_again_and_again(void *arg)
{
    struct share *share = arg;
    char *own = filled(share->bytes / 4, 9);

    for (int round = 0; round < 8; round++) {
        pid_t child = fork();

        if (child == 0) {
            uint64_t sum = 0;

            for (int pass = 0; pass < 2; pass++) { /* nobody counts here any more */
                uint64_t now = 0;

                for (size_t i = 0; i < share->bytes; i += PAGE)
                    now += *(uint64_t *)(void *)(share->p + i);
                CHECK(pass == 0 || now == sum);
                sum = now;
            }
            use_and_end(own, share->bytes / 4, 9);
        }
        check(own, share->bytes / 4, 9);
        expect_success(child);
    }
    free(own);
    return NULL;
}

static void forks_from_another_thread(size_t bytes)
{
    struct share share = {.p = calloc(1, bytes), .bytes = bytes};
    pthread_t threads[3];

    for (size_t i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, i == 0 ? fork_again_and_again : count_for_ever, &share) == 0);
    CHECK(pthread_join(threads[0], NULL) == 0);
    atomic_store(&share.over, true);
    for (size_t i = 1; i < 3; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

static size_t value_of_status(const char *key)
{
    FILE *status = fopen("/proc/self/status", "r");
    char line[256];
    size_t value = 0;

    CHECK(status != NULL);
    while (fgets(line, sizeof line, status) != NULL)
        if (strncmp(line, key, strlen(key)) == 0)
            value = strtoul(line + strlen(key), NULL, 10) << 10;
    fclose(status);
    CHECK(value != 0);
    return value;
}

/* Close to what is used: a fork may fail then, and so may whatever the child would like to have; no memory may be lost. */
static void fork_with_little_left(size_t bytes, __rlimit_resource_t resource, const char *key)
{
    char *p = filled(bytes, 1);
    struct rlimit old;

    CHECK(getrlimit(resource, &old) == 0);
    for (uint64_t round = 0; round < 6; round++) {
        struct rlimit low = {.rlim_cur = value_of_status(key) + ((size_t)16 << 20 >> 4 * round), .rlim_max = old.rlim_max};
        pid_t child;

        CHECK(setrlimit(resource, &low) == 0);
        child = fork();
        if (child == 0) {
            check(p, bytes, 1 + round);
            fill(p, bytes, 100);
            check(p, bytes, 100);
            _exit(0);
        }
        check(p, bytes, 1 + round);
        fill(p, bytes, 2 + round);
        if (child != -1)
            expect_success(child);
        check(p, bytes, 2 + round);
        CHECK(setrlimit(resource, &old) == 0);
    }
    free(p);
}

static void forks_with_little_address_space_left(size_t bytes)
{
    fork_with_little_left(bytes, RLIMIT_AS, "VmSize:");
}

static void forks_with_little_data_left(size_t bytes)
{
    fork_with_little_left(bytes, RLIMIT_DATA, "VmData:");
}

static void children_are_killed_at_any_moment(size_t bytes)
{
    char *p = filled(bytes, 1);
    unsigned random = 1;

    for (uint64_t round = 0; round < 30; round++) {
        pid_t child = fork();
        int status;

        if (child == 0)
            for (;;)
                fill(p, bytes, 70);
        random = random * 1103515245u + 12345u;
        if (round % 3 == 0)
            fill(p, bytes, 1 + round); /* meanwhile */
        usleep((random >> 16) % 4000);
        CHECK(child > 0 && kill(child, SIGKILL) == 0);
        if (round % 3 != 0)
            fill(p, bytes, 1 + round);
        CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        check(p, bytes, 1 + round);
    }
}

/* ---- programs ---- */

/* Everything that such a call is given lies in memory that is frozen at that moment. */
static void spawns_from_frozen_memory(size_t bytes)
{
    static const char *const start[] = {"sh", "-c", "test \"$1\" = word && test \"$FROM\" = frozen && exit 4", "sh", "word", NULL};
    char *p = filled(bytes, 1);
    char *paper = malloc(64 * PAGE);
    char **argv = (char **)(void *)paper;
    char **env = (char **)(void *)(paper + PAGE);
    posix_spawn_file_actions_t *actions = (void *)(paper + 2 * PAGE);
    posix_spawnattr_t *attributes = (void *)(paper + 3 * PAGE);
    sigset_t *set = (void *)(paper + 4 * PAGE);
    pid_t *child = (void *)(paper + 5 * PAGE);

    for (size_t i = 0; i < 6; i++)
        argv[i] = start[i] != NULL ? strcpy(paper + (6 + i) * PAGE, start[i]) : NULL;
    env[0] = strcpy(paper + 13 * PAGE, "FROM=frozen");
    env[1] = strcpy(paper + 14 * PAGE, "PATH=/usr/bin:/bin");
    env[2] = NULL;
    CHECK(posix_spawn_file_actions_init(actions) == 0 && posix_spawnattr_init(attributes) == 0);
    strcpy(paper + 15 * PAGE, "/dev/null");
    CHECK(posix_spawn_file_actions_addopen(actions, 0, paper + 15 * PAGE, O_RDONLY, 0) == 0);
    CHECK(sigemptyset(set) == 0 && posix_spawnattr_setsigmask(attributes, set) == 0 &&
          posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK) == 0);
    for (int round = 0; round < 4; round++) {
        int status;

        check(p, bytes, 1); /* pushes the paper out */
        CHECK((round % 2 == 0 ? posix_spawn(child, "/bin/sh", actions, attributes, argv, env)
                              : posix_spawnp(child, "sh", actions, attributes, argv, env)) == 0);
        check(p, bytes, 1);
        CHECK(waitpid(*child, &status, 0) == *child && status == 4 << 8);
    }
    CHECK(posix_spawn(child, "/no/such/program", actions, attributes, argv, env) == ENOENT);
    for (int round = 0; round < 4; round++) {
        pid_t one;
        int status;

        check(p, bytes, 1);
        one = vfork();
        if (one == 0) {
            if (round == 3)
                _exit(9);
            execve("/bin/sh", argv, env);
            _exit(1);
        }
        CHECK(one > 0 && waitpid(one, &status, 0) == one && status == (round == 3 ? 9 << 8 : 4 << 8));
    }
    check(p, bytes, 1);
    fill(p, bytes, 2);
    check(p, bytes, 2);
    posix_spawn_file_actions_destroy(actions);
    free(paper);
}

/* ---- forks while others set handlers ---- */

static _Atomic bool enough;

static void *set_handlers(void *arg)
{
    const struct sigaction action = {.sa_handler = SIG_IGN};

    while (!enough)
        CHECK(sigaction(SIGUSR2, &action, NULL) == 0);
    return arg;
}

static void children_set_handlers_of_their_own(size_t bytes)
{
    char *p = filled(bytes, 1);
    pthread_t others[2];

    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&others[i], NULL, set_handlers, NULL) == 0);
    for (int i = 0; i < 300; i++) {
        const struct sigaction action = {.sa_handler = SIG_DFL};
        pid_t child = fork();

        if (child == 0) {
            CHECK(sigaction(SIGUSR2, &action, NULL) == 0);
            _exit(0);
        }
        expect_success(child);
    }
    enough = true;
    for (int i = 0; i < 2; i++)
        CHECK(pthread_join(others[i], NULL) == 0);
    check(p, bytes, 1);
    free(p);
}

/* ---- forks while streams wait for memory ---- */

enum { READERS = 4, FORKERS = 2, LINE_BYTES = 1 << 20 };

static char line_path[] = "/tmp/ghostmem-probe-XXXXXX";

static void *read_a_long_line(void *arg)
{
    while (!enough) {
        FILE *stream = fopen(line_path, "r");
        char *line = NULL;
        size_t room = 0;

        CHECK(stream != NULL && getline(&line, &room, stream) == LINE_BYTES && line[LINE_BYTES - 2] == 'l');
        free(line);
        fclose(stream);
    }
    return arg;
}

static void *flush_all(void *arg)
{
    while (!enough) {
        fflush(NULL);
        usleep(50); /* libc's locks are not fair: without a pause nobody else might get the one of all streams for long */
    }
    return arg;
}

static void *fork_often(void *arg)
{
    for (int i = 0; i < 100; i++) {
        pid_t child = fork();

        if (child == 0)
            _exit(0);
        expect_success(child);
    }
    return arg;
}

/* fork() takes libc's locks of streams, whose holders may wait for our memory. */
static void forks_while_streams_wait_for_memory(size_t bytes)
{
    char *p = filled(bytes, 1);
    char *line = malloc(LINE_BYTES);
    pthread_t readers[READERS];
    pthread_t forkers[FORKERS];
    pthread_t flusher;
    int fd = mkstemp(line_path);

    CHECK(fd >= 0);
    memset(line, 'l', LINE_BYTES);
    line[LINE_BYTES - 1] = '\n';
    CHECK(write(fd, line, LINE_BYTES) == LINE_BYTES);
    for (int i = 0; i < READERS; i++)
        CHECK(pthread_create(&readers[i], NULL, read_a_long_line, NULL) == 0);
    CHECK(pthread_create(&flusher, NULL, flush_all, NULL) == 0);
    for (int i = 0; i < FORKERS; i++)
        CHECK(pthread_create(&forkers[i], NULL, fork_often, NULL) == 0);
    for (int i = 0; i < FORKERS; i++)
        CHECK(pthread_join(forkers[i], NULL) == 0);
    enough = true;
    for (int i = 0; i < READERS; i++)
        CHECK(pthread_join(readers[i], NULL) == 0);
    CHECK(pthread_join(flusher, NULL) == 0);
    unlink(line_path);
    check(p, bytes, 1);
    free(p);
    free(line);
}

/* ---- forks while blocks outgrow libc ---- */

enum { FIRST_SIZE = 120, LAST_SIZE = FIRST_SIZE << 11 };

/* A copy from libc's memory into ours leaves addresses of ours in registers; then libc frees the old block, and may have to wake. */
static void *outgrow(void *arg)
{
    while (!enough) {
        char *block = NULL;

        for (size_t size = FIRST_SIZE; size <= LAST_SIZE; size *= 2) {
            block = realloc(block, size);
            CHECK(block != NULL && (size == FIRST_SIZE || block[size / 2 - 1] == 'b'));
            block[size - 1] = 'b';
        }
        free(block);
    }
    return arg;
}

/* fork() waits for libc's own locks too, and whoever is to wake it may wait for our memory. */
static void forks_while_blocks_outgrow_libc(size_t bytes)
{
    char *p = filled(bytes, 1);
    pthread_t growers[READERS];
    pthread_t forkers[FORKERS];

    CHECK(mallopt(M_ARENA_MAX, 1) == 1); /* its lock is wanted all the time */

    for (int i = 0; i < READERS; i++)
        CHECK(pthread_create(&growers[i], NULL, outgrow, NULL) == 0);
    for (int i = 0; i < FORKERS; i++)
        CHECK(pthread_create(&forkers[i], NULL, fork_often, NULL) == 0);
    for (int i = 0; i < FORKERS; i++)
        CHECK(pthread_join(forkers[i], NULL) == 0);
    enough = true;
    for (int i = 0; i < READERS; i++)
        CHECK(pthread_join(growers[i], NULL) == 0);
    check(p, bytes, 1);
    free(p);
}

const struct probe probes_children[] = {
    {"children_set_handlers_of_their_own", children_set_handlers_of_their_own},
    {"forks_while_streams_wait_for_memory", forks_while_streams_wait_for_memory},
    {"forks_while_blocks_outgrow_libc", forks_while_blocks_outgrow_libc},
    {"becomes_a_daemon", becomes_a_daemon},
    {"grandchild_has_it_all", grandchild_has_it_all},
    {"forks_in_a_handler", forks_in_a_handler},
    {"forks_in_a_handler_while_it_allocates", forks_in_a_handler_while_it_allocates},
    {"forks_from_another_thread", forks_from_another_thread},
    {"forks_with_little_address_space_left", forks_with_little_address_space_left},
    {"forks_with_little_data_left", forks_with_little_data_left},
    {"children_are_killed_at_any_moment", children_are_killed_at_any_moment},
    {"spawns_from_frozen_memory", spawns_from_frozen_memory},
    {NULL, NULL},
};
