/*
 * calls.c - the workload's phases of single events: one thaw at a time, and system calls beside frozen memory. See workload.h.
 */
#define _GNU_SOURCE
#include "workload.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N_FORKS = 50, READ_BYTES = 1 << 20, N_READS = 64, N_GETPPIDS = 100000, N_ROUND_TRIPS = 20000 };

static int compare_samples(const void *x, const void *y)
{
    uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;

    return (a > b) - (a < b);
}

/* Reads of random pages, each timed alone: their median and their 99th percentile. */
void phase_thaw(struct run *r)
{
    uint32_t *order = map_table(r->n_ops * sizeof *order);
    uint64_t *samples = map_table(r->n_ops * sizeof *samples);
    uint64_t sum_ns = 0;

    draw_uniform(order, r->n_ops, r->n_pages, r->seed + r->n_phases);
    for (size_t i = 0; i < r->n_ops; i++) {
        uint64_t start_ns = now_ns();

        if (!stamp_is_right(r, order[i]))
            note_wrong(r, "thaw", order[i]);
        samples[i] = now_ns() - start_ns;
        sum_ns += samples[i];
    }
    qsort(samples, r->n_ops, sizeof *samples, compare_samples);
    printf("thaw_median %.1f %zu %.6f\n", (double)samples[r->n_ops / 2], r->n_ops, (double)sum_ns * 1e-9);
    printf("thaw_p99 %.1f %zu %.6f\n", (double)samples[r->n_ops / 100 * 99], r->n_ops, (double)sum_ns * 1e-9);
    munmap(samples, r->n_ops * sizeof *samples);
    munmap(order, r->n_ops * sizeof *order);
}

/* read(2) of 1 MiB into memory that was written and not used since: over the limit, it is frozen. */
void phase_readcall(const char *name)
{
    int fd = memfd_create("workload", MFD_CLOEXEC);
    char *buffer = map_table(READ_BYTES);
    char *block = malloc((size_t)N_READS * READ_BYTES);
    uint64_t elapsed_ns = 0;

    memset(buffer, 'r', READ_BYTES);
    if (fd < 0 || block == NULL || write(fd, buffer, READ_BYTES) != READ_BYTES)
        die(EXIT_RESOURCE, "no memory for the read phase");
    for (size_t i = 0; i < (size_t)N_READS * READ_BYTES; i++)
        block[i] = (char)(i % 251);
    for (size_t i = 0; i < N_READS; i++) {
        uint64_t start_ns = now_ns();

        if (lseek(fd, 0, SEEK_SET) != 0 || read(fd, block + i * READ_BYTES, READ_BYTES) != READ_BYTES)
            die(EXIT_WRONG, "a read of 1 MiB was short");
        elapsed_ns += now_ns() - start_ns;
        if (block[i * READ_BYTES] != 'r' || block[(i + 1) * READ_BYTES - 1] != 'r')
            die(EXIT_WRONG, "a read of 1 MiB did not arrive");
    }
    report(name, elapsed_ns, N_READS);
    free(block);
    close(fd);
    munmap(buffer, READ_BYTES);
}

void phase_getppid(const char *name)
{
    pid_t parent = getppid();
    uint64_t start_ns = now_ns();

    for (size_t i = 0; i < N_GETPPIDS; i++)
        if (getppid() != parent)
            die(EXIT_WRONG, "another parent");
    report(name, now_ns() - start_ns, N_GETPPIDS);
}

static int to_echo[2], from_echo[2];

static void *echo(void *arg)
{
    char byte;

    while (read(to_echo[0], &byte, 1) == 1)
        if (write(from_echo[1], &byte, 1) != 1)
            break;
    return arg;
}

/* One byte to another thread and back, through pipes. */
void phase_pingpong(const char *name)
{
    pthread_t thread;
    uint64_t start_ns;
    char byte = 'p';

    if (pipe(to_echo) != 0 || pipe(from_echo) != 0 || pthread_create(&thread, NULL, echo, NULL) != 0)
        die(EXIT_RESOURCE, "cannot create the other end");
    start_ns = now_ns();
    for (size_t i = 0; i < N_ROUND_TRIPS; i++)
        if (write(to_echo[1], &byte, 1) != 1 || read(from_echo[0], &byte, 1) != 1)
            die(EXIT_WRONG, "a byte was lost");
    report(name, now_ns() - start_ns, N_ROUND_TRIPS);
    close(to_echo[1]);
    pthread_join(thread, NULL);
}

/* A small program started by fork and exec, with this one's environment, and waited for. */
void phase_forkexec(const char *name)
{
    uint64_t start_ns = now_ns();

    for (size_t i = 0; i < N_FORKS; i++) {
        pid_t child = fork();
        int status;

        if (child == 0) {
            execl("/bin/true", "true", (char *)NULL);
            _exit(127);
        }
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
            die(EXIT_RESOURCE, "cannot start /bin/true");
    }
    report(name, now_ns() - start_ns, N_FORKS);
}
