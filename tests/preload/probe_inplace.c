/*
 * probe_inplace.c - memory calls on mappings of the program's own, each with a line of what came of it: GHOSTMEM_SCOPE=process must bring
 * about what plain Linux does.
 */
#include "tests/preload/probe.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

#define PLACE ((char *)0x230000000000) /* of the mappings, each with room behind it */
#define ROOM ((size_t)8 << 20)
#define PAGES 64
#define MOVED 16

static sigjmp_buf back;

static void on_fault(int number)
{
    siglongjmp(back, number);
}

/* 'w': it can be written; 'r': only read; '-': neither. */
static char access_to(volatile char *at)
{
    volatile char access = '-';

    if (sigsetjmp(back, 1) == 0) {
        (void)*at;
        access = 'r';
        *at = *at;
        access = 'w';
    }
    return access;
}

/* The pages' access, each with the first byte that is there. */
static void tell(const char *what, char *at, size_t n_pages)
{
    printf("%s:", what);
    for (size_t i = 0; i < n_pages; i++) {
        char access = access_to(at + i * PAGE);

        printf(" %c%d", access, access == '-' ? 0 : at[i * PAGE]);
    }
    printf("\n");
}

static char *map_at(size_t n, size_t n_pages, int protection)
{
    char *at = PLACE + n * ROOM;

    CHECK(mmap(at, n_pages * PAGE, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at);
    return at;
}

/* With a byte in each page. */
static char *mapped(size_t n)
{
    char *at = map_at(n, PAGES, PROT_READ | PROT_WRITE);

    for (size_t i = 0; i < PAGES; i++)
        at[i * PAGE] = (char)(i + 1);
    return at;
}

static void move(const char *what, char *from, size_t pages, size_t new_pages, int flags, char *to)
{
    void *result = mremap(from, pages * PAGE, new_pages * PAGE, flags, to);

    printf("%s: %d\n", what, result == MAP_FAILED ? errno : 0);
}

static void several_mappings_move(void)
{
    char *at = mapped(1);
    char *to = PLACE + 2 * ROOM;

    CHECK(munmap(at + 20 * PAGE, 4 * PAGE) == 0);
    move("with a hole behind", at + 8 * PAGE, 16, 16, MREMAP_MAYMOVE | MREMAP_FIXED, to);
    tell("old", at + 4 * PAGE, 20);
    tell("new", to, 16);
    CHECK(mprotect(at + 30 * PAGE, 4 * PAGE, PROT_READ) == 0);
    move("with other protections", at + 28 * PAGE, 16, 16, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, to + ROOM);
    tell("old", at + 28 * PAGE, 16);
    tell("new", to + ROOM, 16);
}

static void parts_are_not_one_mapping(void)
{
    char *at = map_at(1, PAGES, PROT_READ | PROT_WRITE);
    char *to = PLACE + 2 * ROOM;

    CHECK(mprotect(at + 16 * PAGE, 16 * PAGE, PROT_READ) == 0);
    CHECK(madvise(at + 40 * PAGE, 8 * PAGE, MADV_SEQUENTIAL) == 0);
    move("grows", at + 8 * PAGE, 16, 32, MREMAP_MAYMOVE | MREMAP_FIXED, to);
    move("grows with other advice", at + 36 * PAGE, 8, 32, MREMAP_MAYMOVE | MREMAP_FIXED, to);
    move("grows where it is", at + 8 * PAGE, 16, 32, 0, NULL);
    move("stays too", at + 8 * PAGE, 16, 16, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
    tell("old", at, PAGES);
    at = map_at(4, PAGES, PROT_WRITE);
    (void)map_at(4, 4, PROT_READ | PROT_WRITE);
    move("only to be written", at, 8, 8, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
    move("sizes that are rounded", at + 8 * PAGE, 8, 8, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
}

static void advice_that_fails_on_its_way(void)
{
    char *at = mapped(1);

    CHECK(mlock(at + 20 * PAGE, 2 * PAGE) == 0);
    printf("discarding: %d\n", madvise(at + 12 * PAGE, 20 * PAGE, MADV_DONTNEED) != 0 ? errno : 0);
    tell("left", at, PAGES);
}

static void locked_memory_changes_its_protection(void)
{
    char *at = mapped(1);

    CHECK(mlock(at + 20 * PAGE, 4 * PAGE) == 0);
    CHECK(mprotect(at + 16 * PAGE, 12 * PAGE, PROT_READ | PROT_EXEC) == 0);
    move("executable", at + 20 * PAGE, 4, 4, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, PLACE + 2 * ROOM);
    CHECK(munlock(at, PAGES * PAGE) == 0);
    tell("old", at, PAGES);
    CHECK(syscall(SYS_pkey_mprotect, at, 8 * PAGE, PROT_NONE, -1) == 0);
    tell("without a key", at, 16);
}

static void child_has_what_it_is_to_have(void)
{
    char *at = mapped(1);
    char *to = PLACE + 2 * ROOM;
    char *reserved = map_at(5, PAGES, PROT_NONE);
    pid_t child;

    CHECK(madvise(reserved + 8 * PAGE, 8 * PAGE, MADV_DONTFORK) == 0);
    CHECK(mprotect(reserved, PAGES * PAGE, PROT_READ | PROT_WRITE) == 0);
    memset(reserved, 5, PAGES * PAGE);
    CHECK(madvise(at, 8 * PAGE, MADV_DONTFORK) == 0 && madvise(at + 8 * PAGE, 8 * PAGE, MADV_WIPEONFORK) == 0);
    move("not for a child", at, 8, 8, MREMAP_MAYMOVE | MREMAP_FIXED, to);
    move("wiped for a child", at + 8 * PAGE, 8, 8, MREMAP_MAYMOVE | MREMAP_FIXED, to + ROOM);
    tell("parent", to, 8);
    tell("parent", to + ROOM, 8);
    fflush(stdout);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        tell("child", to, 8);
        tell("child", to + ROOM, 8);
        tell("child", reserved, 24);
        printf("discarding: %d\n", madvise(reserved, PAGES * PAGE, MADV_DONTNEED) != 0 ? errno : 0);
        tell("child", reserved, 24);
        fflush(stdout);
        _exit(0);
    }
    expect_success(child);
}

static void memory_calls_in_place(size_t bytes)
{
    static char statics[4 << 20];
    struct sigaction action = {.sa_handler = on_fault};

    CHECK(bytes >= sizeof statics);
    for (size_t i = 0; i < sizeof statics; i += PAGE) /* paging starts */
        statics[i] = 1;
    for (int i = 0; i < 64; i++)
        free(filled(100000, 1));
    CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
    several_mappings_move();
    parts_are_not_one_mapping();
    advice_that_fails_on_its_way();
    locked_memory_changes_its_protection();
    child_has_what_it_is_to_have();
}

/*
 * As many mappings as a process may have, and no more, however pages come: each at random, of four times what the limit holds. A page that
 * comes alone into a mapping must not be one for ever.
 */
static void pages_come_one_by_one(size_t bytes)
{
    size_t n = bytes / PAGE;
    char *own = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t dice = 1;
    size_t n_mappings = 0;
    FILE *maps;

    CHECK(own != MAP_FAILED);
    for (size_t i = 0; i < 4 * n; i++) {
        size_t page = (dice = dice * 6364136223846793005u + 1442695040888963407u) >> 33;

        own[page % n * PAGE] = 1;
    }
    for (size_t i = 0; i < n; i += 2) /* each second page has nothing any more */
        CHECK(own[i * PAGE] == 0 || own[i * PAGE] == 1);
    CHECK(madvise(own, bytes, MADV_DONTNEED) == 0);
    maps = fopen("/proc/self/maps", "r");
    CHECK(maps != NULL);
    for (int c; (c = getc(maps)) != EOF;)
        n_mappings += c == '\n';
    fclose(maps);
    printf("%s\n", n_mappings < n / 8 ? "they are joined" : "they stay apart");
}

const struct probe probes_inplace[] = {
    {"memory_calls_in_place", memory_calls_in_place},
    {"pages_come_one_by_one", pages_come_one_by_one},
    {NULL, NULL},
};
