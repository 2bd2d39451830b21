/* probe_swap.c - programs that wait, with most of their data in the swap file, for what the test does to it. */
#include "tests/preload/probe.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static sigjmp_buf lost;

static void jump_away(int signal)
{
    (void)signal;
    siglongjmp(lost, 1);
}

static void say(const char *line)
{
    puts(line);
    fflush(stdout);
}

/* A page at a time: those that cannot be had are counted, those that can must be right. */
static void survives_damage(size_t bytes)
{
    char *p = filled(bytes, 1);
    char *expected = malloc(PAGE);
    char *all = malloc(64 * PAGE);
    volatile size_t n_lost = 0;
    struct sigaction action = {.sa_handler = jump_away};
    char byte;

    CHECK(expected != NULL && all != NULL && sigaction(SIGBUS, &action, NULL) == 0);
    say("ready");
    CHECK(read(0, &byte, 1) == 1);
    for (volatile size_t i = 0; i < bytes / PAGE; i++) {
        if (sigsetjmp(lost, 1) != 0) {
            n_lost++;
            continue;
        }
        check_page(p, i, 1);
    }
    /* Lost memory can be freed, and used again. */
    free(p);
    check(filled(bytes, 2), bytes, 2);
    printf("lost %s\n", n_lost == 0 ? "none" : n_lost < bytes / PAGE ? "some" : "all");
}

static void works_until_told(size_t bytes)
{
    struct pollfd told = {.fd = 0, .events = POLLIN};
    char *p = filled(bytes, 0);
    uint64_t salt = 0;

    say("ready");
    while (poll(&told, 1, 0) == 0) {
        check(p, bytes, salt);
        fill(p, bytes, ++salt);
    }
    check(p, bytes, salt);
}

/* A secret in every page, half of it freed. */
static void keeps_a_secret(size_t bytes)
{
    char *p = malloc(bytes);
    char *q = malloc(bytes);
    char byte;

    CHECK(p != NULL && q != NULL);
    for (size_t i = 0; i < bytes; i += PAGE) {
        fill(p + i, PAGE, i);
        memcpy(p + i + 100, "ghostmem-probe-secret", 21);
        fill(q + i, PAGE, i + 1);
        memcpy(q + i + 100, "ghostmem-probe-secret", 21);
    }
    free(q);
    say("ready");
    CHECK(read(0, &byte, 1) == 1);
    for (size_t i = 0; i < bytes; i += PAGE)
        CHECK(memcmp(p + i + 100, "ghostmem-probe-secret", 21) == 0);
}

/* Once out and back, a tenth of it changed, and once more; a child sees it as it was. */
static void everything_comes_back(size_t bytes)
{
    char *p = filled(bytes, 1);
    int status;
    pid_t child;

    for (size_t i = 0; i < bytes / PAGE; i += 10)
        fill(p + i * PAGE, PAGE, i);
    child = fork();
    if (child > 0)
        p[PAGE]++;
    for (size_t i = child > 0 ? 2 : 0; i < bytes / PAGE; i++)
        if (i % 10 == 0)
            check_page(p + i * PAGE, 0, i);
        else
            check_page(p, i, 1);
    if (child == 0)
        _exit(0);
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
}

/* Source: proc(5), VmSwap. */
static bool kernel_swaps_us(void)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    long kib = 0;

    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, "VmSwap:", strlen("VmSwap:")) == 0)
            kib = strtol(line + strlen("VmSwap:"), NULL, 10);
    fclose(file);
    return kib > 0;
}

/* Run in a memory cgroup that holds less than the limit. */
static void pages_come_back_from_two_swaps(size_t bytes)
{
    char *p = filled(bytes, 1);
    char *neighbour = filled(bytes / 8, 2);
    char *moved;
    pid_t child;

    say(kernel_swaps_us() ? "the kernel swaps" : "the kernel does not swap");
    moved = realloc(p, 2 * bytes);
    CHECK(moved != NULL && moved != p);
    check(moved, bytes, 1);
    child = fork();
    if (child == 0)
        use_and_end(moved, bytes, 1);
    fill(moved, bytes / 2, 3);
    expect_success(child);
    check(moved, bytes / 2, 3);
    for (size_t i = bytes / 2 / PAGE; i < bytes / PAGE; i++)
        check_page(moved, i, 1);
    check(neighbour, bytes / 8, 2);
    free(neighbour);
    free(moved);
}

const struct probe probes_swap[] = {
    {"everything_comes_back", everything_comes_back},
    {"survives_damage", survives_damage},
    {"works_until_told", works_until_told},
    {"keeps_a_secret", keeps_a_secret},
    {"pages_come_back_from_two_swaps", pages_come_back_from_two_swaps},
    {NULL, NULL},
};
