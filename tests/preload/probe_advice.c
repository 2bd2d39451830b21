/*
 * probe_advice.c - what a program tells and asks the kernel about its memory: every advice of madvise(2), mincore, msync.
 *
 * The block's first pages are frozen, the last ones resident, those between on their way. The output, results and errors
 * among it, must be the same as without GhostMem.
 */
#include "tests/preload/probe.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#undef MADV_POPULATE_READ
#undef MADV_POPULATE_WRITE
#undef MADV_DONTNEED_LOCKED
#undef MADV_COLLAPSE
#undef MADV_GUARD_INSTALL
#undef MADV_GUARD_REMOVE
#define MADV_POPULATE_READ 22 /* Source: include/uapi/asm-generic/mman-common.h */
#define MADV_POPULATE_WRITE 23
#define MADV_DONTNEED_LOCKED 24
#define MADV_COLLAPSE 25
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103

static char *pages_filled(size_t bytes, uint64_t salt)
{
    char *p = aligned_alloc(PAGE, bytes);

    CHECK(p != NULL);
    fill(p, bytes, salt);
    return p;
}

static void show(const char *name, int result)
{
    printf("%s%s%s ", name, result == 0 ? "" : " ", result == 0 ? "" : strerrorname_np(errno));
}

/* For each of these the contents stay. */
static const struct {
    const char *name;
    int advice;
} harmless[] = {
    {"NORMAL", MADV_NORMAL},
    {"RANDOM", MADV_RANDOM},
    {"SEQUENTIAL", MADV_SEQUENTIAL},
    {"WILLNEED", MADV_WILLNEED},
    {"COLD", MADV_COLD},
    {"PAGEOUT", MADV_PAGEOUT},
    {"POPULATE_READ", MADV_POPULATE_READ},
    {"POPULATE_WRITE", MADV_POPULATE_WRITE},
    {"DONTDUMP", MADV_DONTDUMP},
    {"DODUMP", MADV_DODUMP},
    {"HUGEPAGE", MADV_HUGEPAGE},
    {"NOHUGEPAGE", MADV_NOHUGEPAGE},
    {"MERGEABLE", MADV_MERGEABLE},
    {"UNMERGEABLE", MADV_UNMERGEABLE},
    {"REMOVE", MADV_REMOVE},
    {"no such advice", 4711},
};

/* Of all, of a part of each state, with lengths that the kernel rounds up, and by a call past libc. */
static void advice_keeps_the_contents(size_t bytes)
{
    char *p = pages_filled(bytes, 1);
    size_t n_pages = bytes / PAGE;

    for (size_t i = 0; i < sizeof harmless / sizeof harmless[0]; i++) {
        int advice = harmless[i].advice;

        show(harmless[i].name, madvise(p, bytes, advice));
        check(p, bytes, 1 + i);
        show("f", madvise(p, 3 * PAGE, advice));
        show("m", madvise(p + n_pages / 2 * PAGE, 5 * PAGE - 100, advice));
        show("l", madvise(p + (n_pages - 4) * PAGE, 4 * PAGE, advice));
        check(p, bytes, 1 + i);
        show("p", (int)syscall(SYS_madvise, p, bytes, advice));
        show("odd", madvise(p + 8, PAGE, advice));
        show("no", madvise(p, 0, advice));
        fill(p, bytes, 2 + i);
        check(p, bytes, 2 + i);
    }
    free(p);
}

/* The pages are zeros afterwards, or what they were, and what is written to them later stays. */
static void freed_pages_may_be_kept_until_written(size_t bytes)
{
    char *p = pages_filled(bytes, 1);
    size_t n_pages = bytes / PAGE;

    for (uint64_t round = 1; round < 4; round++) {
        show("FREE", madvise(p + PAGE, bytes - 2 * PAGE, MADV_FREE));
        check_page(p, 0, round);
        check_page(p, n_pages - 1, round);
        for (size_t i = 1; i < n_pages - 1; i++)
            if (*(uint64_t *)(void *)(p + i * PAGE + 8) != 0)
                check_page(p, i, round);
            else
                for (size_t k = 0; k < PAGE; k += 8)
                    CHECK(*(uint64_t *)(void *)(p + i * PAGE + k) == 0);
        fill(p, bytes, round + 1);
        check(p, bytes, round + 1);
    }
    for (size_t i = 0; i < n_pages; i += 7)
        CHECK(madvise(p + i * PAGE, PAGE, i % 2 == 0 ? MADV_DONTNEED : MADV_DONTNEED_LOCKED) == 0);
    for (size_t i = 0; i < n_pages; i++)
        if (i % 7 != 0)
            check_page(p, i, 4);
        else
            CHECK(p[i * PAGE] == 0 && memcmp(p + i * PAGE, p + i * PAGE + 1, PAGE - 1) == 0);
    free(p);
}

static void expect_end(pid_t child, int expected)
{
    int status = 0;

    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    if (status != expected)
        fprintf(stderr, "the child ended with wait status %#x instead of %#x\n", (unsigned)status, (unsigned)expected);
    CHECK(status == expected);
}

static void expect_zeros(const char *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 8)
        CHECK(*(const uint64_t *)(const void *)(p + i) == 0);
}

/* Pages that a child is to find empty: random numbers and keys are kept there. */
static void child_finds_wiped_pages_empty(size_t bytes)
{
    char *p = pages_filled(bytes, 1);
    size_t third = bytes / 3 & ~(PAGE - 1);
    pid_t child;

    show("WIPEONFORK", madvise(p + third, third, MADV_WIPEONFORK));
    for (int round = 0; round < 2; round++) {
        child = fork();
        if (child == 0) {
            check(p, third, 1);
            expect_zeros(p + third, third);
            for (size_t i = 2 * third / PAGE; i < bytes / PAGE; i++)
                check_page(p, i, 1);
            fill(p, bytes, 2);
            child = fork(); /* the advice holds for a child's child too */
            if (child == 0) {
                check(p, third, 2);
                expect_zeros(p + third, third);
                _exit(0);
            }
            expect_end(child, 0);
            check(p, bytes, 2);
            _exit(0);
        }
        check(p, bytes, 1);
        expect_end(child, 0);
    }
    show("KEEPONFORK", madvise(p + third, third, MADV_KEEPONFORK));
    child = fork();
    if (child == 0) {
        check(p, bytes, 1);
        _exit(0);
    }
    expect_end(child, 0);
    free(p);
}

/* What was said of a block that is freed does not hold for the next one there. */
static void advice_ends_with_its_block(size_t bytes)
{
    const int advice[] = {MADV_WIPEONFORK, MADV_DONTFORK, MADV_DONTDUMP};

    for (size_t i = 0; i < 3; i++)
        for (int round = 0; round < 3; round++) {
            char *p = pages_filled(bytes, 1);
            pid_t child;

            child = fork();
            if (child == 0) {
                check(p, bytes, 1);
                fill(p, bytes, 2);
                check(p, bytes, 2);
                _exit(0);
            }
            expect_end(child, 0);
            check(p, bytes, 1);
            CHECK(madvise(p, bytes, advice[i]) == 0);
            free(p);
        }
}

static void child_goes_on_without_pages_that_are_not_forked(size_t bytes)
{
    char *p = pages_filled(bytes, 1);
    char *q = pages_filled(bytes, 5);
    size_t third = bytes / 3 & ~(PAGE - 1);
    pid_t child;

    show("DONTFORK", madvise(p + third, third, MADV_DONTFORK));
    for (int round = 0; round < 2; round++) {
        child = fork();
        if (child == 0) {
            check(p, third, 1);
            for (size_t i = 2 * third / PAGE; i < bytes / PAGE; i++)
                check_page(p, i, 1);
            check(q, bytes, 5);
            fill(p, third, 3);
            fill(q, bytes, 6);
            check(p, third, 3);
            check(q, bytes, 6);
            free(q);
            check(p, third, 3);
            _exit(0);
        }
        check(p, bytes, 1);
        expect_end(child, 0);
    }
    child = fork();
    if (child == 0) {
        (void)signal(SIGSEGV, SIG_DFL);
        (void)*(volatile char *)(p + third);
        (void)*(volatile char *)(p + 2 * third - 1);
        _exit(0);
    }
    /* doc/limits.md: with `segv` they read as zeros. */
    expect_end(child, getenv("GHOSTMEM_FAULTS") != NULL && strcmp(getenv("GHOSTMEM_FAULTS"), "segv") == 0 ? 0 : SIGSEGV);
    show("DOFORK", madvise(p + third, third, MADV_DOFORK));
    child = fork();
    if (child == 0) {
        check(p, bytes, 1);
        fill(p, bytes, 2);
        check(p, bytes, 2);
        _exit(0);
    }
    expect_end(child, 0);
    check(p, bytes, 1);
    free(p);
}

/* Linux 6.13 has marks in the page table that are not readable and not writable. */
static void guard_marks_end_with_their_block(size_t bytes)
{
    for (int round = 0; round < 3; round++) {
        char *p = pages_filled(bytes, 1);
        size_t half = bytes / 2 & ~(PAGE - 1);

        if (madvise(p, half, MADV_GUARD_INSTALL) == 0) {
            if (round == 1) {
                CHECK(madvise(p, half, MADV_GUARD_REMOVE) == 0);
                expect_zeros(p, half);
            }
        } else {
            CHECK(errno == EINVAL);
            check(p, bytes, 1);
        }
        for (size_t i = half / PAGE; i < bytes / PAGE; i++)
            check_page(p, i, 1);
        (void)madvise(p + half, bytes - half, MADV_COLLAPSE);
        for (size_t i = half / PAGE; i < bytes / PAGE; i++)
            check_page(p, i, 1);
        free(p);
    }
}

/* What was said of a block goes with it when it is resized. */
static void advice_moves_with_its_block(size_t bytes)
{
    char *p = pages_filled(bytes / 2, 1);
    char *fence;
    pid_t child;

    CHECK(madvise(p + PAGE, 2 * PAGE, MADV_WIPEONFORK) == 0);
    CHECK(madvise(p + bytes / 2 - PAGE, PAGE, MADV_WIPEONFORK) == 0);
    fence = aligned_alloc(PAGE, bytes / 4);
    p = realloc(p, bytes - PAGE);
    CHECK(p != NULL && fence != NULL);
    memset(p + bytes / 2, 7, bytes / 2 - PAGE);
    for (int round = 0; round < 2; round++) {
        check(p, bytes / 4, 1);
        child = fork();
        if (child == 0) {
            if (((uintptr_t)p & (PAGE - 1)) != 0) /* libc's block: the pages are not whole */
                _exit(0);
            check_page(p, 0, 1);
            expect_zeros(p + PAGE, 2 * PAGE);
            for (size_t i = 3; i < bytes / 4 / PAGE; i++)
                check_page(p, i, 1);
            if (round == 0) {
                expect_zeros(p + bytes / 2 - PAGE, PAGE);
                CHECK(p[bytes / 2] == 7);
            }
            _exit(0);
        }
        expect_end(child, 0);
        check(p, bytes / 4, 1);
        p = realloc(p, bytes / 4);
        CHECK(p != NULL);
    }
    p = realloc(p, bytes / 2);
    CHECK(p != NULL);
    fill(p + bytes / 4, bytes / 4, 8);
    child = fork();
    if (child == 0) {
        check(p + bytes / 4, bytes / 4, 8);
        _exit(0);
    }
    expect_end(child, 0);
    free(fence);
    free(p);
}

static void questions_about_pages_are_answered(size_t bytes)
{
    char *p = pages_filled(bytes, 1);
    unsigned char *vector = malloc(1 << 20);

    check(p, bytes, 1);
    show("mincore", mincore(p, bytes, vector));
    show("mincore, odd address", mincore(p + 8, PAGE, vector));
    show("mincore, nothing", mincore(p, 0, vector));
    show("msync", msync(p, bytes, MS_SYNC));
    show("msync", msync(p + PAGE, PAGE, MS_ASYNC | MS_INVALIDATE));
    show("msync, no flags", msync(p, bytes, 0));
    show("msync, both", msync(p, bytes, MS_SYNC | MS_ASYNC));
    show("msync, odd address", msync(p + 8, PAGE, MS_SYNC));
    check(p, bytes, 1);
    fill(p, bytes, 2);
    check(p, bytes, 2);
    free(vector);
    free(p);
}

const struct probe probes_advice[] = {
    {"advice_keeps_the_contents", advice_keeps_the_contents},
    {"freed_pages_may_be_kept_until_written", freed_pages_may_be_kept_until_written},
    {"child_finds_wiped_pages_empty", child_finds_wiped_pages_empty},
    {"advice_ends_with_its_block", advice_ends_with_its_block},
    {"child_goes_on_without_pages_that_are_not_forked", child_goes_on_without_pages_that_are_not_forked},
    {"guard_marks_end_with_their_block", guard_marks_end_with_their_block},
    {"advice_moves_with_its_block", advice_moves_with_its_block},
    {"questions_about_pages_are_answered", questions_about_pages_are_answered},
    {NULL, NULL},
};
