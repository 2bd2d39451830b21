/* probe_crash.c - programs that crash, or wait for a debugger, with most of their memory frozen. */
#include "tests/preload/crash.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* For debuggers. */
uint64_t *crash_block;

static volatile uint64_t seen;

/* The background thread is done with what it had begun: nothing is in transit. */
#define QUIET_US 300000

static void fill_block(size_t bytes)
{
    crash_block = malloc(bytes);
    CHECK(crash_block != NULL);
    for (size_t i = 0; i < bytes / PAGE; i++)
        for (size_t k = 0; k < CRASH_WORDS; k++)
            crash_block[i * CRASH_WORDS + k] = crash_word(i, k);
    printf("%p\n", (void *)crash_block);
    fflush(stdout);
    usleep(QUIET_US);
}

__attribute__((noinline)) static void write_wildly(void)
{
    *(volatile int *)16 = 1;
}

static void crashes_at_once(size_t bytes)
{
    (void)bytes;
    write_wildly();
}

static void crashes_with_frozen_memory(size_t bytes)
{
    fill_block(bytes);
    write_wildly();
}

/* The highest page that was ever touched is frozen too: next to it lies all that is reserved. */
static void crashes_after_growing(size_t bytes)
{
    fill_block(bytes);
    memset(filled(bytes, 1), 1, bytes);
    for (size_t i = 0; i < bytes / PAGE; i++)
        seen = crash_block[i * CRASH_WORDS];
    usleep(QUIET_US);
    write_wildly();
}

static void *read_for_ever(void *arg)
{
    for (size_t i = (size_t)(uintptr_t)arg;; i = (i * 5 + 1) % ((size_t)1 << 11))
        seen = crash_block[i * CRASH_WORDS];
    return NULL;
}

/* Pages are in transit at that instant. */
static void crashes_at_work(size_t bytes)
{
    pthread_t thread;

    CHECK(bytes >= (size_t)8 << 20);
    fill_block(bytes);
    for (size_t i = 0; i < 3; i++)
        CHECK(pthread_create(&thread, NULL, read_for_ever, (void *)(uintptr_t)(i * 700)) == 0);
    usleep(50000);
    write_wildly();
}

static void aborts_with_frozen_memory(size_t bytes)
{
    fill_block(bytes);
    abort();
}

static void waits_for_a_debugger(size_t bytes)
{
    char byte;

    fill_block(bytes);
    CHECK(read(0, &byte, 1) == 1);
    for (size_t i = 0; i < bytes / PAGE; i++)
        for (size_t k = 0; k < CRASH_WORDS; k++)
            CHECK(crash_block[i * CRASH_WORDS + k] == crash_word(i, k));
}

const struct probe probes_crash[] = {
    {"crashes_at_once", crashes_at_once},
    {"crashes_with_frozen_memory", crashes_with_frozen_memory},
    {"crashes_at_work", crashes_at_work},
    {"crashes_after_growing", crashes_after_growing},
    {"aborts_with_frozen_memory", aborts_with_frozen_memory},
    {"waits_for_a_debugger", waits_for_a_debugger},
    {NULL, NULL},
};
