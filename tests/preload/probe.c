/*
 * probe.c - a program with many faces: each does one thing that programs do to their memory, checks what comes back,
 * and prints a line. tests/preload/test_*.c run it with and without GhostMem.
 *
 * probe NAME [MEGABYTES]
 */
#include "tests/preload/probe.h"

#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct probe *const tables[] = {
    probes_limits,
    probes_alloc, probes_process, probes_kernel, probes_swap, probes_calls, probes_signals, probes_stacks,
    probes_table, probes_large, probes_map, probes_crash, probes_children, probes_world, probes_advice,
    probes_confined, probes_faults, probes_share, probes_ahead, probes_trace, probes_rows, probes_rings, probes_secrets, probes_spawn,
    probes_messages, probes_plugin, probes_inplace, probes_remap, probes_cold, probes_small,
};

void die(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: %s does not hold\n", file, line, what);
    _Exit(1);
}

static uint64_t word_of(size_t page, size_t k, uint64_t salt)
{
    return k % 3 == 0 ? 0x4141414141414141u : (page + salt) * (k + 0x9e3779b9u);
}

void fill(void *block, size_t bytes, uint64_t salt)
{
    uint64_t *words = block;

    for (size_t i = 0; i < bytes / PAGE; i++)
        for (size_t k = 0; k < PAGE / sizeof *words; k++)
            words[i * (PAGE / sizeof *words) + k] = word_of(i, k, salt);
}

void check_page(const void *block, size_t page, uint64_t salt)
{
    const uint64_t *words = (const uint64_t *)block + page * (PAGE / sizeof(uint64_t));

    for (size_t k = 0; k < PAGE / sizeof *words; k++)
        if (words[k] != word_of(page, k, salt)) {
            fprintf(stderr, "page %zu word %zu is %#lx\n", page, k, (unsigned long)words[k]);
            _Exit(1);
        }
}

void check(const void *block, size_t bytes, uint64_t salt)
{
    for (size_t i = 0; i < bytes / PAGE; i++)
        check_page(block, i, salt);
}

void *filled(size_t bytes, uint64_t salt)
{
    void *block = malloc(bytes);

    CHECK(block != NULL);
    fill(block, bytes, salt);
    return block;
}

void push_out(size_t bytes)
{
    char *p = filled(bytes, 99);

    check(p, bytes, 99);
    free(p);
}

int scratch_file(int flags)
{
    char path[] = "/var/tmp/ghostmem-probe-XXXXXX";
    int fd = mkostemp(path, flags);

    CHECK(fd >= 0);
    unlink(path);
    return fd;
}

void expect_success(pid_t child)
{
    int status;
    pid_t ended;

    CHECK(child > 0);
    do {
        ended = waitpid(child, &status, 0);
    } while (ended == -1 && errno == EINTR);
    CHECK(ended == child);
    if (status != 0)
        fprintf(stderr, "the child ended with wait status %#x\n", (unsigned)status);
    CHECK(status == 0);
}

void use_and_end(char *p, size_t bytes, uint64_t salt)
{
    check(p, bytes, salt);
    fill(p, bytes, salt + 1000);
    check(p, bytes, salt + 1000);
    free(p);
    free(filled(bytes, 7));
    _exit(0);
}

int main(int argc, char **argv)
{
    size_t bytes = (argc > 2 ? strtoul(argv[2], NULL, 10) : 8) << 20;

    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++)
        for (const struct probe *probe = tables[t]; probe->name != NULL; probe++)
            if (argc > 1 && strcmp(argv[1], probe->name) == 0) {
                probe->run(bytes);
                puts("ok");
                return 0;
            }
    fprintf(stderr, "probe: no such probe\n");
    return 2;
}
