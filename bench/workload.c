/*
 * workload.c - times the phases of one program on one malloc'ed block, and checks every value it reads.
 *
 *     workload [--bytes N] [--data text|binary|half|sparse] [--ops N] [--blocks N] [--threads N] [--seed N] phase[,phase...]
 *     workload --emit N [--seed N]         write N bytes of text to standard output
 *
 * It knows nothing of GhostMem: the same binary runs on plain malloc, under LD_PRELOAD and in a memory cgroup. Numbers take K, M
 * and G. A phase may name its own number of threads: randread:2.
 *
 *   fill         malloc the block (if there is none yet) and write every page in order, a copy of 4 KiB each
 *   seqread      read the stamp of every page in order, once
 *   revread      the same from the last page to the first
 *   strideread   the same in steps of 16 pages, 16 times from another first page: a matrix by columns
 *   randread     --ops reads of the stamp of a uniformly random page (--ops defaults to the number of pages)
 *   sequpdate    increment the tally word of every page in order, once
 *   randupdate   --ops increments of the tally word of a uniformly random page
 *   zipf         --ops reads of stamps, pages drawn by Zipf's law (theta 0.99, hot pages scattered), after half as many untimed
 *   mixed        as zipf, but every fifth access is an increment of the tally word
 *   thaw         --ops reads of the stamp of a random page, each timed alone: lines thaw_median and thaw_p99
 *   scan         add up every word of the block, 8 times
 *   verify       compare every byte with what it must be
 *   bigfree      16 times malloc and free of an untouched 1 GiB block
 *   realloc      realloc of the filled block to twice its size; its contents are verified after the clock has stopped
 *   reallocmove  the same, with another block right behind if the allocator places it there
 *   blocks       malloc --blocks blocks of 4 KiB, exchange ten of them at a time for new ones, then write one word into each; they
 *                stay for the phases that follow: lines blocks_free and blocks_malloc (untouched ones), blocks_touch
 *   readcall     64 reads of 1 MiB into a block of its own that was written before
 *   getppid      100,000 calls of getppid()
 *   pingpong     20,000 times one byte to another thread and back, through pipes
 *   forkexec     50 times a small program started by fork and exec, and waited for
 *
 * Output, a line a phase: name, nanoseconds an access, accesses, seconds. An access is a page (fill, seqread, scan, verify), a read
 * or an update, or a call (bigfree, realloc). With several threads nanoseconds an access is the wall time divided by the accesses
 * of all threads together. bigfree_max is the slowest single one of bigfree. Lines with # are remarks.
 * Exit: 0; 1 a wrong value was read; 2 bad usage; 3 no memory or no data.
 *
 * Memory: all tables are mapped, none malloc'ed: the block is the only big allocation.
 */
#define _GNU_SOURCE
#include "workload.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static const char usage[] =
    "usage: workload [--bytes N] [--data text|binary|half|sparse] [--ops N] [--blocks N] [--threads N] [--seed N] phase[,phase...], "
    "or workload --emit N [--seed N]";

_Noreturn void die(int status, const char *what)
{
    fprintf(stderr, "workload: %s\n", what);
    exit(status);
}

uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void report(const char *phase, uint64_t elapsed_ns, size_t n_accesses)
{
    printf("%s %.1f %zu %.6f\n", phase, (double)elapsed_ns / (double)n_accesses, n_accesses, (double)elapsed_ns * 1e-9);
}

void *map_table(size_t bytes)
{
    void *table = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (table == MAP_FAILED)
        die(EXIT_RESOURCE, strerror(errno));
    return table;
}

void note_wrong(struct run *r, const char *phase, size_t page)
{
    if (atomic_fetch_add(&r->n_wrong, 1) < 8)
        fprintf(stderr, "workload: %s: page %zu does not hold what was written\n", phase, page);
}

static bool phase_is(const char *spec, const char *name)
{
    size_t n = strcspn(spec, ":");

    return strlen(name) == n && strncmp(spec, name, n) == 0;
}

static void do_phase(struct run *r, const char *spec)
{
    const char *colon = strchr(spec, ':');
    unsigned n_threads = colon != NULL ? (unsigned)strtoul(colon + 1, NULL, 10) : r->n_threads;

    if (n_threads < 1 || n_threads > MAX_THREADS)
        die(EXIT_USAGE, "the number of threads must be 1 to 64");
    r->n_phases++;
    if (phase_is(spec, "bigfree")) {
        phase_bigfree(spec);
    } else if (phase_is(spec, "readcall")) {
        phase_readcall(spec);
    } else if (phase_is(spec, "getppid")) {
        phase_getppid(spec);
    } else if (phase_is(spec, "pingpong")) {
        phase_pingpong(spec);
    } else if (phase_is(spec, "blocks")) {
        phase_blocks(r);
    } else if (phase_is(spec, "fill")) {
        phase_fill(r, spec);
    } else if (!r->is_filled) {
        die(EXIT_USAGE, "an unknown phase, or one that needs `fill` before it");
    } else if (phase_is(spec, "seqread")) {
        phase_seqread(r, spec);
    } else if (phase_is(spec, "revread")) {
        phase_revread(r, spec);
    } else if (phase_is(spec, "strideread")) {
        phase_strideread(r, spec);
    } else if (phase_is(spec, "scan")) {
        phase_scan(r, spec);
    } else if (phase_is(spec, "forkexec")) {
        phase_forkexec(spec);
    } else if (phase_is(spec, "verify")) {
        phase_verify(r, spec);
    } else if (phase_is(spec, "randread")) {
        phase_randread(r, spec, n_threads, 0, draw_uniform);
    } else if (phase_is(spec, "thaw")) {
        phase_thaw(r);
    } else if (phase_is(spec, "zipf")) {
        phase_randread(r, spec, n_threads, r->n_ops / 2, draw_zipf);
    } else if (phase_is(spec, "mixed")) {
        phase_mixed(r, spec, n_threads);
    } else if (phase_is(spec, "sequpdate")) {
        phase_sequpdate(r, spec);
    } else if (phase_is(spec, "randupdate")) {
        phase_randupdate(r, spec, n_threads);
    } else if (phase_is(spec, "realloc") || phase_is(spec, "reallocmove")) {
        phase_realloc(r, spec);
    } else {
        die(EXIT_USAGE, "an unknown phase");
    }
    /* So that what is measured is not lost if the kernel kills us for memory. */
    fflush(stdout);
}

/* A number with K, M or G behind it, greater than 0. */
static uint64_t parse_number(const char *text)
{
    char *end;
    uint64_t n;

    errno = 0;
    n = strtoull(text, &end, 10);
    if (*end == 'K' || *end == 'M' || *end == 'G')
        n <<= *end == 'K' ? 10 : *end == 'M' ? 20 : 30, end++;
    if (errno != 0 || end == text || *end != '\0' || n == 0 || n > (uint64_t)1 << 44)
        die(EXIT_USAGE, "a number is expected: digits, and K, M or G");
    return n;
}

/* The most RAM this process ever had, by the kernel's count for its present address space. */
static void report_peak(void)
{
    char line[128];
    unsigned long long peak_kib;
    FILE *status = fopen("/proc/self/status", "re");

    if (status == NULL)
        return;
    while (fgets(line, sizeof line, status) != NULL)
        if (sscanf(line, "VmHWM: %llu kB", &peak_kib) == 1)
            printf("# VmHWM_bytes %llu\n", peak_kib << 10);
    fclose(status);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"bytes", required_argument, NULL, 'b'}, {"data", required_argument, NULL, 'd'}, {"ops", required_argument, NULL, 'o'},
        {"blocks", required_argument, NULL, 'n'}, {"threads", required_argument, NULL, 't'},
        {"seed", required_argument, NULL, 's'}, {"emit", required_argument, NULL, 'e'},
        {NULL, 0, NULL, 0}};
    static struct run r;
    enum pattern_kind kind = PATTERN_TEXT;
    uint64_t bytes = (uint64_t)512 << 20, n_ops = 0, n_emit_bytes = 0;
    int option;

    r.n_threads = 1;
    r.seed = 1;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'b')
            bytes = parse_number(optarg);
        else if (option == 'o')
            n_ops = parse_number(optarg);
        else if (option == 'n')
            r.n_blocks = (size_t)parse_number(optarg);
        else if (option == 't')
            r.n_threads = (unsigned)parse_number(optarg);
        else if (option == 's')
            r.seed = parse_number(optarg);
        else if (option == 'e')
            n_emit_bytes = parse_number(optarg);
        else if (option != 'd' || pattern_kind_from_name(optarg, &kind) != 0)
            die(EXIT_USAGE, usage);
    }
    if (n_emit_bytes > 0)
        return pattern_emit(r.seed, n_emit_bytes, stdout) == 0 ? 0 : EXIT_RESOURCE;
    if (optind != argc - 1)
        die(EXIT_USAGE, usage);

    char *phases = argv[optind];

    r.n_pages = (size_t)(bytes / PAGE_BYTES);
    r.block_bytes = r.n_pages * PAGE_BYTES;
    r.n_ops = n_ops > 0 ? (size_t)n_ops : r.n_pages;
    r.wants_neighbour = strstr(phases, "reallocmove") != NULL;
    if (r.n_pages < 1 || r.n_pages > UINT32_MAX)
        die(EXIT_USAGE, "the block must have 1 to 2^32 - 1 pages");
    if (pattern_init(&r.pattern, kind, r.seed) != 0)
        die(EXIT_RESOURCE, "cannot make the source data");

    for (char *rest = NULL, *spec = strtok_r(phases, ",", &rest); spec != NULL; spec = strtok_r(NULL, ",", &rest))
        do_phase(&r, spec);
    /* The block is not freed: statistics written at exit shall show it. */
    report_peak();
    return atomic_load(&r.n_wrong) == 0 ? 0 : EXIT_WRONG;
}
