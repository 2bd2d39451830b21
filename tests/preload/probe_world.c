/* probe_world.c - what goes on around the program: descriptors that run out, threads that end, rights that it gives up. */
#include "tests/preload/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/io_uring.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- descriptors ---- */

static void page_without_descriptors(size_t bytes)
{
    char *p = filled(bytes, 1);
    pid_t child;

    check(p, bytes, 1);
    child = fork();
    if (child == 0)
        use_and_end(p, bytes, 1);
    fill(p, bytes, 2);
    expect_success(child);
    check(p, bytes, 2);
    free(p);
    p = calloc(1, bytes);
    for (size_t i = 0; i < bytes; i += 64)
        CHECK(p != NULL && p[i] == 0);
    free(p);
}

static void no_descriptors_before_paging_starts(size_t bytes)
{
    struct rlimit none = {.rlim_cur = 3, .rlim_max = 3};

    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    page_without_descriptors(bytes);
}

static void no_descriptors_once_paging_runs(size_t bytes)
{
    struct rlimit none = {.rlim_cur = 3, .rlim_max = 3};
    char *p = filled(bytes, 8);

    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    page_without_descriptors(bytes);
    check(p, bytes, 8);
}

static void descriptors_are_used_up_before_paging_starts(size_t bytes)
{
    struct rlimit few = {.rlim_cur = 64, .rlim_max = 64};

    CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
    while (open("/dev/null", O_RDONLY) >= 0)
        continue;
    CHECK(errno == EMFILE);
    page_without_descriptors(bytes);
}

static void descriptors_are_used_up_once_paging_runs(size_t bytes)
{
    struct rlimit few = {.rlim_cur = 64, .rlim_max = 64};
    char *p = filled(bytes, 8);

    CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
    while (open("/dev/null", O_RDONLY) >= 0)
        continue;
    CHECK(errno == EMFILE);
    page_without_descriptors(bytes);
    check(p, bytes, 8);
}

/* ---- threads ---- */

struct share {
    char *p;
    size_t bytes;
};

static void *read_for_ever(void *arg)
{
    const struct share *share = arg;
    int old;

    CHECK(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old) == 0);
    for (;;)
        check(share->p, share->bytes, 1);
    return NULL;
}

/* A cancelled thread ends in the middle of a fault, its memory half read. */
static void threads_are_cancelled_while_they_fault(size_t bytes)
{
    struct share share = {.p = filled(bytes, 1), .bytes = bytes};

    for (unsigned round = 0; round < 40; round++) {
        pthread_t threads[2];

        for (size_t i = 0; i < 2; i++)
            CHECK(pthread_create(&threads[i], NULL, read_for_ever, &share) == 0);
        usleep(round * 97 % 3000);
        for (size_t i = 0; i < 2; i++) {
            void *result = NULL;

            CHECK(pthread_cancel(threads[i]) == 0 && pthread_join(threads[i], &result) == 0);
            CHECK(result == PTHREAD_CANCELED);
        }
    }
    check(share.p, bytes, 1);
    fill(share.p, bytes, 2);
    check(share.p, bytes, 2);
}

static pthread_key_t keys[3];
static _Atomic size_t n_destroyed;
static size_t part_bytes;

static void destroy(void *value)
{
    check(value, part_bytes, 6);
    fill(value, part_bytes, 7);
    check(value, part_bytes, 7);
    free(value);
    atomic_fetch_add(&n_destroyed, 1);
}

static void *leave_with_data(void *arg)
{
    for (size_t i = 0; i < 3; i++)
        CHECK(pthread_setspecific(keys[i], filled(part_bytes, 6)) == 0);
    check(arg, 3 * part_bytes, 1); /* pushes them out */
    pthread_exit(arg);
}

static void threads_leave_frozen_data(size_t bytes)
{
    char *p = filled(bytes, 1);

    part_bytes = bytes / 8;
    for (size_t i = 0; i < 3; i++)
        CHECK(pthread_key_create(&keys[i], destroy) == 0);
    for (size_t round = 1; round <= 4; round++) {
        pthread_t threads[2];

        for (size_t i = 0; i < 2; i++)
            CHECK(pthread_create(&threads[i], NULL, leave_with_data, p) == 0);
        for (size_t i = 0; i < 2; i++) {
            void *result;

            CHECK(pthread_join(threads[i], &result) == 0 && result == p);
        }
        CHECK(atomic_load(&n_destroyed) == 6 * round);
    }
    check(p, bytes, 1);
}

/* Down to the last KiB of the stack: there a fault needs as little as without us. */
__attribute__((noinline)) static uint64_t go_down(const struct share *share, const char *floor, size_t page)
{
    volatile char room[192];
    uint64_t sum = 0;

    room[0] = (char)page;
    for (size_t k = 0; k < 3; k++)
        sum += *(const uint64_t *)(const void *)(share->p + (page * 7 + k) % (share->bytes / PAGE) * PAGE);
    if ((const char *)(uintptr_t)&room[0] > floor + 1024)
        sum += go_down(share, floor, page + 1);
    return sum + (uint64_t)room[0] * 0;
}

static void *use_the_stack_up(void *arg)
{
    const struct share *share = arg;
    pthread_attr_t attributes;
    void *floor;
    size_t size;
    uint64_t first;

    CHECK(pthread_getattr_np(pthread_self(), &attributes) == 0 && pthread_attr_getstack(&attributes, &floor, &size) == 0);
    pthread_attr_destroy(&attributes);
    first = go_down(share, floor, 0);
    for (int round = 0; round < 20; round++)
        CHECK(go_down(share, floor, 0) == first);
    return NULL;
}

static void small_stacks_fault_deeply(size_t bytes)
{
    struct share share = {.p = filled(bytes, 1), .bytes = bytes};
    const size_t sizes[] = {(size_t)PTHREAD_STACK_MIN, 32 << 10};

    for (size_t i = 0; i < 2; i++) {
        pthread_attr_t attributes;
        pthread_t threads[4];

        CHECK(pthread_attr_init(&attributes) == 0 && pthread_attr_setstacksize(&attributes, sizes[i]) == 0);
        for (size_t k = 0; k < 4; k++)
            CHECK(pthread_create(&threads[k], &attributes, use_the_stack_up, &share) == 0);
        for (size_t k = 0; k < 4; k++)
            CHECK(pthread_join(threads[k], NULL) == 0);
        pthread_attr_destroy(&attributes);
    }
    check(share.p, bytes, 1);
}

/* ---- threads made by several threads at once ---- */

enum { MAKERS = 4, MADE = 4, ROUNDS = 400 };

static void *end_at_once(void *arg)
{
    pthread_barrier_wait(arg);
    return arg;
}

static void *make_threads(void *arg)
{
    pthread_barrier_t barrier;
    pthread_t made[MADE];

    for (int round = 0; round < ROUNDS; round++) {
        pthread_barrier_init(&barrier, NULL, MADE + 1);
        for (int i = 0; i < MADE; i++)
            CHECK(pthread_create(&made[i], NULL, end_at_once, &barrier) == 0);
        pthread_barrier_wait(&barrier);
        for (int i = 0; i < MADE; i++) {
            void *result = NULL;

            CHECK(pthread_join(made[i], &result) == 0 && result == &barrier);
        }
        pthread_barrier_destroy(&barrier);
    }
    return arg;
}

static void threads_are_made_by_several_at_once(size_t bytes)
{
    char *p = filled(bytes, 1);
    pthread_t makers[MAKERS];

    for (int i = 0; i < MAKERS; i++)
        CHECK(pthread_create(&makers[i], NULL, make_threads, NULL) == 0);
    for (int i = 0; i < MAKERS; i++)
        CHECK(pthread_join(makers[i], NULL) == 0);
    check(p, bytes, 1);
    free(p);
}

/* ---- devices ---- */

/* A device that this program has may have pinned its memory. An ioctl that none of them knows tells of it, once paging runs. */
static void have_device(const char *variable)
{
    const char *path = getenv(variable);
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    CHECK((path == NULL) == (fd < 0));
    if (fd >= 0)
        CHECK(ioctl(fd, 0) != 0);
}

/* By libc's mmap() alone, whatever it says. */
static void map_device(const char *variable)
{
    const char *path = getenv(variable);
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    CHECK((path == NULL) == (fd < 0));
    if (fd >= 0)
        (void)mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
}

/* A ring that was there before. One that is not mapped: the program does not use it. */
static void have_ring(const char *variable)
{
    struct io_uring_params params = {0};

    if (getenv(variable) != NULL && syscall(SYS_io_uring_setup, 4, &params) < 0)
        printf("no ring\n");
}

/* No such socket is needed for it to be seen. Source: Documentation/networking/af_xdp.rst. */
static void register_with_socket(const char *variable)
{
    if (getenv(variable) != NULL)
        CHECK(setsockopt(-1, 283 /* SOL_XDP */, 4 /* XDP_UMEM_REG */, "", 1) != 0);
}

static void device_comes_into_use(size_t bytes)
{
    char *p;

    have_device("PROBE_DEVICE");
    have_ring("PROBE_RING");
    p = filled(bytes, 1);
    fill(p, bytes, 2);
    have_device("PROBE_DEVICE_LATER");
    map_device("PROBE_MAPPED_LATER");
    register_with_socket("PROBE_SOCKET_LATER");
    for (unsigned round = 3; round < 6; round++) {
        check(p, bytes, round - 1);
        fill(p, bytes, round);
    }
    free(p);
}

/* ---- files that take the numbers of those it closes ---- */

static int file_of_its_own(void)
{
    char path[] = "/tmp/ghostmem-probe-XXXXXX";
    int fd = mkstemp(path);

    CHECK(fd >= 0 && unlink(path) == 0 && write(fd, "mine", 4) == 4);
    return fd;
}

static void files_of_its_own_get_no_messages(size_t bytes)
{
    int fds[8];
    char *p;

    for (int fd = 2; fd < 1000; fd++)
        close(fd);
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
        fds[i] = file_of_its_own();
    CHECK(fds[0] == 2 && fds[1] == 3);
    p = filled(bytes, 1);
    check(p, bytes, 1);
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        char text[8];

        CHECK(pread(fds[i], text, sizeof text, 0) == 4 && memcmp(text, "mine", 4) == 0);
    }
    free(p);
}

const struct probe probes_world[] = {
    {"files_of_its_own_get_no_messages", files_of_its_own_get_no_messages},
    {"device_comes_into_use", device_comes_into_use},
    {"threads_are_made_by_several_at_once", threads_are_made_by_several_at_once},
    {"no_descriptors_before_paging_starts", no_descriptors_before_paging_starts},
    {"no_descriptors_once_paging_runs", no_descriptors_once_paging_runs},
    {"descriptors_are_used_up_before_paging_starts", descriptors_are_used_up_before_paging_starts},
    {"descriptors_are_used_up_once_paging_runs", descriptors_are_used_up_once_paging_runs},
    {"threads_are_cancelled_while_they_fault", threads_are_cancelled_while_they_fault},
    {"threads_leave_frozen_data", threads_leave_frozen_data},
    {"small_stacks_fault_deeply", small_stacks_fault_deeply},
    {NULL, NULL},
};
