/* probe_limits.c - what must not stand above the limit for ever, and calls that reach memory by unusual ways. See probe.c. */
#include "tests/preload/probe.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define N_GUARDED 100
#define GUARDED_BYTES (40 * PAGE)

static sigjmp_buf fault_back;

static void jump_back(int number)
{
    (void)number;
    siglongjmp(fault_back, 1);
}

static int is_closed(volatile char *p)
{
    if (sigsetjmp(fault_back, 1) != 0)
        return 1;
    *p = *p;
    return 0;
}

/* More blocks with a guard page than the limit has pages: some from before paging, some from after, some used and closed then. */
static void guard_pages_are_not_in_ram(size_t bytes)
{
    struct sigaction action = {.sa_handler = jump_back};
    char *blocks[N_GUARDED];

    CHECK(sigaction(SIGSEGV, &action, NULL) == 0 && sigaction(SIGBUS, &action, NULL) == 0);
    for (size_t i = 0; i < N_GUARDED; i++) {
        blocks[i] = aligned_alloc(PAGE, GUARDED_BYTES);
        CHECK(blocks[i] != NULL && mprotect(blocks[i], PAGE, PROT_NONE) == 0);
        if (i == N_GUARDED / 2)
            push_out(bytes);
        fill(blocks[i] + PAGE, PAGE, i);
    }
    push_out(bytes);
    for (size_t i = 0; i < N_GUARDED; i++) {
        CHECK(is_closed(blocks[i]) && is_closed(blocks[i] + PAGE - 1));
        check(blocks[i] + PAGE, PAGE, i);
        CHECK(mprotect(blocks[i], PAGE, i % 2 == 0 ? PROT_READ | PROT_WRITE : PROT_READ) == 0);
        CHECK(*(volatile char *)blocks[i] == 0);
        CHECK(is_closed(blocks[i]) == (i % 2 != 0));
        CHECK(mprotect(blocks[i], PAGE, PROT_READ | PROT_WRITE) == 0);
        memset(blocks[i], 1, PAGE);
        if (i % 3 == 0)
            CHECK(mprotect(blocks[i] + 2 * PAGE, GUARDED_BYTES - 2 * PAGE, PROT_NONE) == 0);
        if (i % 3 != 1)
            blocks[i] = realloc(blocks[i], 2 * GUARDED_BYTES);
        if (i % 3 == 2)
            memset(blocks[i] + PAGE, 1, 2 * GUARDED_BYTES - PAGE);
        free(blocks[i]);
    }
    push_out(bytes);
}

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#define SYS_process_madvise 440
#endif
#define N_ADVISED 32

/* Every second page of a block, in one call. Older kernels take this advice from nobody. */
static void pages_are_discarded_by_vectors(size_t bytes)
{
    struct iovec parts[N_ADVISED];
    int self = (int)syscall(SYS_pidfd_open, getpid(), 0);
    char *p = aligned_alloc(PAGE, bytes);

    CHECK(self >= 0 && p != NULL);
    for (int round = 0; round < 2; round++) {
        long result;

        fill(p, bytes, 1);
        push_out(bytes);
        for (size_t i = 0; i < N_ADVISED; i++)
            parts[i] = (struct iovec){p + 2 * i * PAGE, PAGE};
        if (round == 0) /* some are there, unchanged, with an image */
            for (size_t i = 0; i < N_ADVISED; i += 3)
                (void)*(volatile char *)parts[i].iov_base;
        result = syscall(SYS_process_madvise, self, parts, N_ADVISED, round == 0 ? MADV_DONTNEED : MADV_COLD, 0);
        CHECK(result == N_ADVISED * (long)PAGE || (result == -1 && errno == EINVAL));
        push_out(bytes);
        for (size_t i = 0; i < 2 * N_ADVISED; i++)
            if (i % 2 == 0 && round == 0 && result > 0)
                CHECK(*(uint64_t *)(void *)(p + i * PAGE) == 0 && *(uint64_t *)(void *)(p + (i + 1) * PAGE - 8) == 0);
            else
                check_page(p, i, 1);
    }
    free(p);
    close(self);
}

#define N_THREADS 40
#define STACK_BYTES (64 * PAGE)

static void *wait_for_the_others(void *barrier)
{
    (void)pthread_barrier_wait(barrier);
    return NULL;
}

/* On stacks in memory of ours, at the same time; the pages that each needs to end are nobody's afterwards. */
static void stacks_of_ended_threads_leave(size_t bytes)
{
    pthread_t threads[N_THREADS];
    void *stacks[N_THREADS];
    pthread_barrier_t barrier;
    unsigned char resident[STACK_BYTES / PAGE + 1];
    size_t n_resident = 0;

    push_out(bytes);
    CHECK(pthread_barrier_init(&barrier, NULL, N_THREADS) == 0);
    for (size_t i = 0; i < N_THREADS; i++) {
        pthread_attr_t attributes;

        stacks[i] = aligned_alloc(PAGE, STACK_BYTES);
        CHECK(stacks[i] != NULL && pthread_attr_init(&attributes) == 0 && pthread_attr_setstack(&attributes, stacks[i], STACK_BYTES) == 0);
        CHECK(pthread_create(&threads[i], &attributes, wait_for_the_others, &barrier) == 0);
    }
    for (size_t i = 0; i < N_THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    push_out(bytes);
    push_out(bytes);
    for (size_t i = 0; getenv("LD_PRELOAD") != NULL && i < N_THREADS; i++) {
        CHECK(mincore(stacks[i], STACK_BYTES, resident) == 0);
        for (size_t k = 0; k < STACK_BYTES / PAGE; k++)
            n_resident += resident[k] & 1;
    }
    CHECK(n_resident < N_THREADS);
    for (size_t i = 0; i < N_THREADS; i++)
        free(stacks[i]);
}

/* What is more than the machine has is refused, at whatever size the kernel refuses it. */
static void too_much_is_refused(size_t bytes)
{
    for (size_t g = 1; g <= 1024; g *= 2) {
        size_t size = g << 30;
        void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        void *p = malloc(size);
        void *q = calloc(1, size);
        char *grown = filled(bytes, g);
        void *fresh;

        if (map != MAP_FAILED)
            munmap(map, size);
        CHECK((p != NULL) == (map != MAP_FAILED) && (q != NULL) == (map != MAP_FAILED));
        free(p);
        free(q);
        fresh = realloc(grown, size + bytes);
        CHECK((fresh != NULL) == (map != MAP_FAILED));
        check(fresh != NULL ? fresh : grown, bytes, g);
        free(fresh != NULL ? fresh : grown);
    }
}

const struct probe probes_limits[] = {
    {"guard_pages_are_not_in_ram", guard_pages_are_not_in_ram},
    {"stacks_of_ended_threads_leave", stacks_of_ended_threads_leave},
    {"pages_are_discarded_by_vectors", pages_are_discarded_by_vectors},
    {"too_much_is_refused", too_much_is_refused},
    {NULL, NULL},
};
