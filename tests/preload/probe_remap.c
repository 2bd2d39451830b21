/* probe_remap.c - mremap(2) and what else is done to mappings of the program's own. For GHOSTMEM_SCOPE=process. */
#include "tests/preload/probe.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

#define PIECE ((size_t)32 * PAGE)

/* Far from where the kernel puts what nobody has a place for: the holes that moves leave stay holes. */
#define BASE ((uintptr_t)0x200000000000)
#define GAP ((size_t)1 << 20)

static char *map(size_t bytes, int protection)
{
    static uintptr_t next = BASE;
    char *p = mmap((void *)next, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

    CHECK(p == (char *)next);
    next += bytes + GAP;
    return p;
}

/* ---- pieces that are one mapping to the program ---- */

static void mapping_in_pieces(size_t bytes)
{
    char *reserve = map(4 * PIECE, PROT_NONE);
    char *p = map(PIECE, PROT_READ | PROT_WRITE);
    char *q;

    fill(p, PIECE, 3);
    push_out(bytes);
    CHECK(syscall(SYS_pkey_mprotect, p + PIECE / 4, PIECE / 4, PROT_READ | PROT_WRITE, 0) == 0);
    q = mremap(p, PIECE, 2 * PIECE, MREMAP_MAYMOVE | MREMAP_FIXED, reserve + PIECE);
    CHECK(q == reserve + PIECE);
    check(q, PIECE, 3);
    fill(q + PIECE, PIECE, 4);
    push_out(bytes);
    check(q, PIECE, 3);
    check(q + PIECE, PIECE, 4);
    q = mremap(q, 2 * PIECE, 2 * PIECE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
    CHECK(q != MAP_FAILED);
    check(q, PIECE, 3);
    check(q + PIECE, PIECE, 4);
    CHECK(reserve[PIECE] == 0 && reserve[3 * PIECE - 1] == 0);
    CHECK(mremap(q, 2 * PIECE, PIECE / 2, MREMAP_MAYMOVE | MREMAP_FIXED, reserve) == reserve);
    check(reserve, PIECE / 2, 3);
    CHECK(mremap(reserve + PIECE, PIECE, 4096 * PIECE, 0) == MAP_FAILED && errno == ENOMEM);
    CHECK(mremap(q, PIECE, 2 * PIECE, MREMAP_MAYMOVE) == MAP_FAILED && errno == EFAULT);
}

/* In a child of a fork the kernel joins hardly anything that was apart. */
static void mapping_in_pieces_after_a_fork(size_t bytes)
{
    pid_t child;

    fill(map(PIECE, PROT_READ | PROT_WRITE), PIECE, 9);
    child = fork();
    if (child == 0) {
        mapping_in_pieces(bytes);
        _exit(0);
    }
    expect_success(child);
}

/* ---- others touch it meanwhile ---- */

static __thread sigjmp_buf *volatile guarded;
static _Atomic bool over;
static char *places[2];
static char *mine;
static _Atomic bool any_bad;

static void on_signal(int number)
{
    if (guarded == NULL)
        _exit(number);
    siglongjmp(*guarded, 1);
}

static void take_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_NODEFER};

    CHECK(sigaction(SIGSEGV, &action, NULL) == 0 && sigaction(SIGBUS, &action, NULL) == 0);
}

/* Is what is there what was written, if it can be read? */
static bool is_right(const volatile char *byte, char wanted)
{
    sigjmp_buf back;

    if (sigsetjmp(back, 0) == 0) {
        char there;

        guarded = &back;
        there = *byte;
        guarded = NULL;
        return there == wanted;
    }
    guarded = NULL;
    return true;
}

static bool can_write(volatile char *byte)
{
    sigjmp_buf back;

    if (sigsetjmp(back, 0) == 0) {
        guarded = &back;
        *byte = 1;
        guarded = NULL;
        return true;
    }
    guarded = NULL;
    return false;
}

static void *read_both_places(void *arg)
{
    (void)arg;
    for (size_t i = 0; !atomic_load(&over); i += 7)
        if (!is_right(places[i / 32 % 2] + i % 32 * PAGE + 8, (char)(i % 32 + 1)))
            atomic_store(&any_bad, true);
    return NULL;
}

static void *read_mine(void *arg)
{
    (void)arg;
    while (!atomic_load(&over))
        for (size_t page = 0; page < 32; page++)
            if (((volatile char *)mine)[page * PAGE + 8] != (char)(page + 1))
                atomic_store(&any_bad, true);
    return NULL;
}

static void number_pages(char *p)
{
    for (size_t page = 0; page < 32; page++)
        p[page * PAGE + 8] = (char)(page + 1);
}

static void expect_numbers(const char *p)
{
    for (size_t page = 0; page < 32; page++)
        CHECK(p[page * PAGE + 8] == (char)(page + 1));
}

static void mapping_moves_while_it_is_read(size_t bytes)
{
    pthread_t reader;
    char *area = map(16 * PIECE, PROT_NONE);

    take_signals();
    places[0] = area + 2 * PIECE;
    places[1] = area + 8 * PIECE;
    CHECK(mprotect(places[0], PIECE, PROT_READ | PROT_WRITE) == 0);
    number_pages(places[0]);
    CHECK(pthread_create(&reader, NULL, read_both_places, NULL) == 0);
    for (size_t i = 0; i < 60; i++) {
        push_out(bytes / 8);
        CHECK(mremap(places[i % 2], PIECE, PIECE, MREMAP_MAYMOVE | MREMAP_FIXED, places[1 - i % 2]) == places[1 - i % 2]);
    }
    atomic_store(&over, true);
    CHECK(pthread_join(reader, NULL) == 0);
    CHECK(!atomic_load(&any_bad));
    expect_numbers(places[0]);
}

/* There is no room for what it would be: it stays where it is, and nobody sees anything of that. */
static void mapping_cannot_move_while_it_is_read(size_t bytes)
{
    struct rlimit limit;
    pthread_t reader;

    mine = map(2 * PIECE, PROT_READ | PROT_WRITE);
    CHECK(mprotect(mine + PIECE, PIECE, PROT_NONE) == 0);
    number_pages(mine);
    CHECK(pthread_create(&reader, NULL, read_mine, NULL) == 0);
    CHECK(getrlimit(RLIMIT_AS, &limit) == 0);
    limit.rlim_cur = (rlim_t)1 << 43;
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    for (size_t i = 0; i < 60; i++) {
        push_out(bytes / 8);
        CHECK(mremap(mine, PIECE, (size_t)1 << 44, MREMAP_MAYMOVE) == MAP_FAILED && errno == ENOMEM);
    }
    atomic_store(&over, true);
    CHECK(pthread_join(reader, NULL) == 0);
    CHECK(!atomic_load(&any_bad));
    expect_numbers(mine);
}

/* ---- what was said of memory before it was accessible ---- */

static void reserve_is_marked_before_it_is_used(size_t bytes)
{
    char *p = map(PIECE, PROT_NONE);
    char *q = map(PIECE, PROT_NONE);
    pid_t child;

    CHECK(madvise(p, PIECE, MADV_DONTFORK) == 0 && madvise(q, PIECE, MADV_WIPEONFORK) == 0);
    CHECK(mprotect(p, PIECE, PROT_READ | PROT_WRITE) == 0 && mprotect(q, PIECE, PROT_READ | PROT_WRITE) == 0);
    fill(p, PIECE, 1);
    fill(q, PIECE, 2);
    push_out(bytes);
    child = fork();
    if (child == 0) {
        CHECK(mprotect(p, PIECE, PROT_READ) == -1 && errno == ENOMEM);
        for (size_t i = 0; i < PIECE; i++)
            CHECK(q[i] == 0);
        _exit(0);
    }
    expect_success(child);
    check(p, PIECE, 1);
    check(q, PIECE, 2);
}

/* A protection that memory got while it was not ours goes with it. */
static void protections_go_with_the_mapping(size_t bytes)
{
    char *p = map(PIECE, PROT_READ | PROT_WRITE);
    char *to = map(PIECE, PROT_NONE);
    void *home;

    take_signals();
    fill(p, PIECE, 5);
    home = p;
    CHECK(mlock(p, PIECE) == 0);
    CHECK(mprotect(p, PIECE, PROT_READ | PROT_EXEC) == 0);
    CHECK(munlock(p, PIECE) == 0);
    CHECK(mprotect(p, PIECE / 2, PROT_READ) == 0);
    push_out(bytes);
    for (size_t i = 0; i < 2; i++) {
        CHECK(mremap(p, PIECE / 2, PIECE / 2, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
        check(to, PIECE / 2, 5);
        CHECK(!can_write(to + PAGE));
        p = to;
        to = home;
        push_out(bytes);
    }
    check(home, PIECE, 5);
}

const struct probe probes_remap[] = {
    {"mapping_in_pieces", mapping_in_pieces},
    {"mapping_in_pieces_after_a_fork", mapping_in_pieces_after_a_fork},
    {"mapping_moves_while_it_is_read", mapping_moves_while_it_is_read},
    {"mapping_cannot_move_while_it_is_read", mapping_cannot_move_while_it_is_read},
    {"reserve_is_marked_before_it_is_used", reserve_is_marked_before_it_is_used},
    {"protections_go_with_the_mapping", protections_go_with_the_mapping},
    {NULL, NULL},
};
