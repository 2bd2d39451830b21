/*
 * floor.c - what the primitives cost alone, on the workload's own pages: what no pager built on them can go below.
 *
 *     floor [--data text|binary|half] [--seed N]
 *
 * Output, a line a primitive: name, median nanoseconds a page, samples; or name, "n/a", reason. `run16` means one call for 16
 * adjacent pages, divided by 16. `trap_copy` is an access to a missing page that the faulting thread resolves in its own SIGBUS
 * handler with UFFDIO_COPY. `extract32` takes 32 scattered pages and what is in them out of the address space, by a pipe that holds
 * them; `_beside` is the same while a second thread of the process runs on another processor, which each change of a page table
 * interrupts. `first_touch` is the kernel's own fault. `clock` is the cost of measuring, contained in every
 * other figure. lz4_ratio is no time: bytes in, by bytes out.
 * Exit: 0 also when some are n/a; 2 bad usage; 3 no memory or no data.
 *
 * Calls: liblz4.  Locks: none.  Memory: mappings of N_PAGES pages.
 */
#define _GNU_SOURCE
#include "pattern.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <lz4.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_USAGE = 2, EXIT_RESOURCE = 3 };
enum { N_PAGES = 4096, RUN_PAGES = 16, EXTRACT_PAGES = 32, IMAGE_BYTES = LZ4_COMPRESSBOUND(PAGE_BYTES), ALT_STACK_BYTES = 1 << 16 };

/* Linux 6.8, include/uapi/linux/userfaultfd.h; Debian 12's headers are older. */
#ifndef UFFDIO_MOVE
struct uffdio_move {
    __u64 dst, src, len, mode;
    __s64 move;
};
#define UFFDIO_MOVE _IOWR(UFFDIO, 0x05, struct uffdio_move)
#define UFFD_FEATURE_MOVE (1 << 16)
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif
#define PIDFD_SELF_THREAD_GROUP -10001 /* Linux 6.14 */

struct bench {
    uint8_t *pages;   /* N_PAGES of the workload's data, present */
    uint8_t *watched; /* N_PAGES registered with userfaultfd, missing between the measurements */
    uint8_t *images;  /* N_PAGES times IMAGE_BYTES */
    int image_bytes[N_PAGES];
    uint64_t samples[N_PAGES];
    int uffd; /* -1: not permitted here */
    int uffd_errno;
    bool has_move;
    int pipe[2]; /* of EXTRACT_PAGES buffers */
};

static struct bench b; /* the one instance: the signal handler needs it */

static _Noreturn void die(int status, const char *what)
{
    fprintf(stderr, "floor: %s\n", what);
    exit(status);
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int compare_samples(const void *x, const void *y)
{
    uint64_t a = *(const uint64_t *)x, c = *(const uint64_t *)y;

    return (a > c) - (a < c);
}

/* The first n samples are of calls for n_call_pages each. */
static void report(const char *name, size_t n, size_t n_call_pages)
{
    qsort(b.samples, n, sizeof *b.samples, compare_samples);
    printf("%s %.1f %zu\n", name, (double)b.samples[n / 2] / (double)n_call_pages, n);
}

static void report_missing(const char *name, const char *why)
{
    printf("%s n/a %s\n", name, why);
}

static uint8_t *map_pages(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED)
        die(EXIT_RESOURCE, strerror(errno));
    return p;
}

/* ---- the primitives: each acts on n_pages pages from number i on, and fails with errno ---- */

static void *lz4_state;

static bool do_clock(size_t i, size_t n_pages)
{
    (void)i, (void)n_pages;
    return true;
}

static bool do_compress(size_t i, size_t n_pages)
{
    (void)n_pages;
    b.image_bytes[i] = LZ4_compress_fast_extState(lz4_state, (const char *)b.pages + i * PAGE_BYTES,
                                                  (char *)b.images + i * IMAGE_BYTES, PAGE_BYTES, IMAGE_BYTES, 1);
    return b.image_bytes[i] > 0;
}

static bool do_decompress(size_t i, size_t n_pages)
{
    static _Alignas(PAGE_BYTES) char page[PAGE_BYTES];

    (void)n_pages;
    return LZ4_decompress_safe((const char *)b.images + i * IMAGE_BYTES, page, b.image_bytes[i], PAGE_BYTES) == PAGE_BYTES;
}

static bool do_copy(size_t i, size_t n_pages)
{
    struct uffdio_copy copy = {.dst = (uintptr_t)b.watched + i * PAGE_BYTES,
                               .src = (uintptr_t)b.pages + i * PAGE_BYTES,
                               .len = n_pages * PAGE_BYTES};

    return ioctl(b.uffd, UFFDIO_COPY, &copy) == 0;
}

/* Out of the pages, into the watched range, as an eviction takes pages out of the program's. */
static bool do_move(size_t i, size_t n_pages)
{
    struct uffdio_move move = {.dst = (uintptr_t)b.watched + i * PAGE_BYTES,
                               .src = (uintptr_t)b.pages + i * PAGE_BYTES,
                               .len = n_pages * PAGE_BYTES};

    return ioctl(b.uffd, UFFDIO_MOVE, &move) == 0;
}

static bool do_drop(size_t i, size_t n_pages)
{
    return madvise(b.watched + i * PAGE_BYTES, n_pages * PAGE_BYTES, MADV_DONTNEED) == 0;
}

/* Pages as far from each other as may be. What they were overwrites the images, which are not needed any more. */
static bool do_extract(size_t i, size_t n_pages)
{
    struct iovec pages[EXTRACT_PAGES];
    ssize_t bytes = (ssize_t)(n_pages * PAGE_BYTES);

    for (size_t k = 0; k < n_pages; k++)
        pages[k] = (struct iovec){b.pages + (i / n_pages + k * (N_PAGES / n_pages)) * PAGE_BYTES, PAGE_BYTES};
    return vmsplice(b.pipe[1], pages, n_pages, 0) == bytes &&
           syscall(SYS_process_madvise, PIDFD_SELF_THREAD_GROUP, pages, n_pages, MADV_DONTNEED, 0) == bytes &&
           read(b.pipe[0], b.images, (size_t)bytes) == bytes;
}

static bool do_read(size_t i, size_t n_pages)
{
    (void)n_pages;
    (void)*(volatile uint8_t *)(b.watched + i * PAGE_BYTES);
    return true;
}

static bool do_write(size_t i, size_t n_pages)
{
    (void)n_pages;
    *(volatile uint8_t *)(b.watched + i * PAGE_BYTES) = 1;
    return true;
}

/* Time `act` over all pages, n_call_pages a call; in scattered order if a caller meets its pages so. */
static void measure(const char *name, bool (*act)(size_t, size_t), size_t n_call_pages, bool is_scattered)
{
    size_t n_calls = N_PAGES / n_call_pages;

    for (size_t call = 0; call < n_calls; call++) {
        /* An odd factor makes it a permutation: N_PAGES is a power of two. */
        size_t i = is_scattered ? call * 1597 % n_calls : call;
        uint64_t start_ns = now_ns();
        bool is_done = act(i * n_call_pages, n_call_pages);

        b.samples[call] = now_ns() - start_ns;
        if (!is_done) {
            report_missing(name, strerror(errno));
            return;
        }
    }
    report(name, n_calls, n_call_pages);
}

static void on_sigbus(int signal, siginfo_t *info, void *context)
{
    size_t i = ((uintptr_t)info->si_addr - (uintptr_t)b.watched) / PAGE_BYTES;

    (void)context;
    if (i >= N_PAGES || !do_copy(i, 1))
        _exit(128 + signal);
}

static void make_pages(const struct pattern *p)
{
    for (size_t i = 0; i < N_PAGES; i++)
        pattern_fill(p, i, (uint64_t *)(void *)(b.pages + i * PAGE_BYTES));
}

static int open_uffd(uint64_t features)
{
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
    struct uffdio_api api = {.api = UFFD_API, .features = features};
    struct uffdio_register watch = {.range = {.start = (uintptr_t)b.watched, .len = (size_t)N_PAGES * PAGE_BYTES},
                                    .mode = UFFDIO_REGISTER_MODE_MISSING};

    if (fd < 0)
        return -1;
    if (ioctl(fd, UFFDIO_API, &api) != 0 || ioctl(fd, UFFDIO_REGISTER, &watch) != 0) {
        int saved = errno;

        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

static void set_up_faults(void)
{
    static uint8_t alt_stack[ALT_STACK_BYTES];
    stack_t stack = {.ss_sp = alt_stack, .ss_size = sizeof alt_stack};
    struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    b.uffd = open_uffd(UFFD_FEATURE_SIGBUS | UFFD_FEATURE_MOVE);
    b.has_move = b.uffd >= 0;
    if (b.uffd < 0)
        b.uffd = open_uffd(UFFD_FEATURE_SIGBUS);
    b.uffd_errno = errno;
    sigaltstack(&stack, NULL);
    sigaction(SIGBUS, &action, NULL);
}

static void *run_beside(void *arg)
{
    atomic_bool *stop = arg;

    while (!atomic_load(stop))
        ;
    return NULL;
}

static void measure_leaving(const struct pattern *p, const char *move, const char *extract)
{
    make_pages(p);
    if (b.has_move)
        measure(move, do_move, 1, true);
    else
        report_missing(move, "the kernel is older than 6.8");
    madvise(b.watched, (size_t)N_PAGES * PAGE_BYTES, MADV_DONTNEED);
    make_pages(p);
    measure(extract, do_extract, EXTRACT_PAGES, false);
}

static void measure_ways_to_leave(const struct pattern *p)
{
    atomic_bool stop = false;
    pthread_t beside;

    if (pipe(b.pipe) != 0 || fcntl(b.pipe[1], F_SETPIPE_SZ, EXTRACT_PAGES * PAGE_BYTES) < 0)
        die(EXIT_RESOURCE, "cannot make a pipe");
    measure_leaving(p, "move", "extract32");
    if (pthread_create(&beside, NULL, run_beside, &stop) != 0)
        die(EXIT_RESOURCE, "cannot start a thread");
    measure_leaving(p, "move_beside", "extract32_beside");
    atomic_store(&stop, true);
    pthread_join(beside, NULL);
}

static void measure_faults(void)
{
    static const char *const with_uffd[] = {"copy", "copy_run16", "drop", "drop_run16", "trap_copy", "move_run16"};
    uint8_t *unwatched = map_pages((size_t)N_PAGES * PAGE_BYTES);
    uint8_t *watched = b.watched;

    b.watched = unwatched;
    measure("first_touch", do_write, 1, false);
    b.watched = watched;
    if (b.uffd < 0) {
        for (size_t i = 0; i < sizeof with_uffd / sizeof *with_uffd; i++)
            report_missing(with_uffd[i], strerror(b.uffd_errno));
        return;
    }
    measure("copy", do_copy, 1, true);
    measure("drop", do_drop, 1, true);
    measure("copy_run16", do_copy, RUN_PAGES, false);
    measure("drop_run16", do_drop, RUN_PAGES, false);
    measure("trap_copy", do_read, 1, true);
    madvise(b.watched, (size_t)N_PAGES * PAGE_BYTES, MADV_DONTNEED);
    if (!b.has_move) {
        report_missing("move_run16", "the kernel is older than 6.8");
        return;
    }
    measure("move_run16", do_move, RUN_PAGES, false);
    madvise(b.watched, (size_t)N_PAGES * PAGE_BYTES, MADV_DONTNEED);
}

int main(int argc, char **argv)
{
    enum pattern_kind kind = PATTERN_TEXT;
    uint64_t seed = 1, images_bytes = 0;
    struct pattern p;

    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";

        if (strcmp(argv[i], "--seed") == 0)
            seed = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--data") != 0 || pattern_kind_from_name(value, &kind) != 0)
            die(EXIT_USAGE, "usage: floor [--data text|binary|half] [--seed N]");
    }
    if (pattern_init(&p, kind, seed) != 0)
        die(EXIT_RESOURCE, "cannot make the source data");
    b.pages = map_pages((size_t)N_PAGES * PAGE_BYTES);
    b.watched = map_pages((size_t)N_PAGES * PAGE_BYTES);
    b.images = map_pages((size_t)N_PAGES * IMAGE_BYTES);
    lz4_state = map_pages((size_t)LZ4_sizeofState());
    make_pages(&p);
    memset(b.images, 1, (size_t)N_PAGES * IMAGE_BYTES); /* present: their own faults are not measured */

    measure("clock", do_clock, 1, false);
    measure("compress", do_compress, 1, false);
    measure("decompress", do_decompress, 1, true);
    for (size_t i = 0; i < N_PAGES; i++)
        images_bytes += (uint64_t)b.image_bytes[i];
    printf("lz4_ratio %.3f %d\n", (double)N_PAGES * PAGE_BYTES / (double)images_bytes, N_PAGES);

    set_up_faults();
    measure_faults();
    measure_ways_to_leave(&p);
    return 0;
}
