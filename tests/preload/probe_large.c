/* probe_large.c - buffers as large as the limit or larger, and structures larger than most: nobody must see them cut. */
#include "tests/preload/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define SMALL ((size_t)256 << 10)

/* Of any child. */
static void expect_any_success(void)
{
    int status;

    CHECK(wait(&status) > 0 && status == 0);
}

/* ---- whole, or not at all ---- */

static void large_transfers(size_t bytes)
{
    char *p = filled(bytes, 1);
    char *q = filled(bytes, 2);
    int fd = scratch_file(0);
    int ends[2];
    int status;
    size_t done = 0;

    CHECK(write(fd, p, bytes) == (ssize_t)bytes);
    CHECK(pread(fd, q, bytes, 0) == (ssize_t)bytes);
    check(q, bytes, 1);
    CHECK(pread(fd, q, bytes, (off_t)(bytes / 2)) == (ssize_t)(bytes / 2));
    check_page(q, 0, 1 + bytes / 2 / PAGE);
    close(fd);

    CHECK(pipe(ends) == 0);
    fflush(stdout);
    if (fork() == 0) {
        close(ends[0]);
        _exit(write(ends[1], p, bytes) == (ssize_t)bytes ? 0 : 1); /* a blocking write is whole */
    }
    close(ends[1]);
    fill(q, bytes, 3);
    while (done < bytes) {
        ssize_t got = read(ends[0], q + done, bytes - done);

        CHECK(got > 0);
        done += (size_t)got;
    }
    check(q, bytes, 1);
    CHECK(wait(&status) > 0 && status == 0);
}


/* A read that is never short, of what is no file. */
static void devices_give_what_is_asked_for(size_t bytes)
{
    static const char *const paths[] = {"/dev/zero", "/dev/urandom"};
    char *p = filled(bytes, 1);

    for (size_t i = 0; i < 2; i++) {
        int fd = open(paths[i], O_RDONLY);

        CHECK(fd >= 0 && read(fd, p, bytes) == (ssize_t)bytes);
        close(fd);
        for (size_t at = 0; at < bytes && i == 0; at += PAGE / 2)
            CHECK(p[at] == 0);
    }
}

#define RECORDS 24
#define READERS 3

static bool is_one_record(const char *p, size_t bytes)
{
    return memcmp(p, p + 1, bytes - 1) == 0;
}

static void read_records(int fd, char *p, size_t bytes, int report)
{
    ssize_t got;

    while ((got = read(fd, p, bytes)) > 0) {
        CHECK(got == (ssize_t)bytes && is_one_record(p, bytes));
        CHECK(write(report, p, 1) == 1);
    }
    _exit(got == 0 ? 0 : 1);
}

/* Each record of a file goes to one of those who read at the position that they share. */
static void one_position_is_shared_by_several(size_t bytes)
{
    size_t record = bytes / 16;
    char *p = filled(bytes, 1);
    char *whole = filled(bytes, 2);
    bool seen[RECORDS] = {false};
    int fd = scratch_file(0);
    int report[2];
    char name;

    for (int i = 0; i < RECORDS; i++) {
        memset(p, 'a' + i, record);
        CHECK(write(fd, p, record) == (ssize_t)record);
    }
    CHECK(lseek(fd, 0, SEEK_CUR) == (off_t)(RECORDS * record) && lseek(fd, 0, SEEK_SET) == 0 && pipe(report) == 0);
    fflush(stdout);
    for (int i = 0; i < READERS; i++)
        if (fork() == 0)
            read_records(fd, p, record, report[1]);
    close(report[1]);
    while (read(report[0], &name, 1) == 1) {
        CHECK(!seen[name - 'a']);
        seen[name - 'a'] = true;
    }
    for (int i = 0; i < READERS; i++)
        expect_any_success();
    for (int i = 0; i < RECORDS; i++)
        CHECK(seen[i]);
    CHECK(lseek(fd, 0, SEEK_CUR) == (off_t)(RECORDS * record));
    /* What is less than asked for brings the position to the end. */
    CHECK(lseek(fd, -100, SEEK_END) > 0 && read(fd, whole, bytes) == 100 && read(fd, whole, bytes) == 0);
    CHECK(lseek(fd, 0, SEEK_CUR) == (off_t)(RECORDS * record));
    close(fd);
    check(whole + PAGE, bytes - PAGE, 2 + 1);
}

/* As long as the limit: longer ones may be mixed (doc/limits.md). */
static void appended_records_are_whole(size_t bytes)
{
    const char *limit = getenv("GHOSTMEM_MAX_PAGES");
    size_t record = (limit != NULL && atoi(limit) < 200 ? (size_t)atoi(limit) : 200) * PAGE - 1;
    char *p = filled(bytes, 1);
    char *q = filled(bytes, 2);
    int fd = scratch_file(O_APPEND);

    fflush(stdout);
    for (int i = 0; i < READERS; i++)
        if (fork() == 0) {
            memset(p, 'a' + i, record);
            for (int k = 0; k < RECORDS / READERS; k++)
                CHECK(write(fd, p, record) == (ssize_t)record);
            _exit(0);
        }
    for (int i = 0; i < READERS; i++)
        expect_any_success();
    for (int i = 0; i < RECORDS; i++) {
        CHECK(pread(fd, q, record, i * (off_t)record) == (ssize_t)record);
        CHECK(is_one_record(q, record));
    }
    CHECK(pread(fd, q, 1, (off_t)(RECORDS * record)) == 0);
    close(fd);
}

/* ---- over the border of two blocks ---- */

#define BLOCKS 16

/* Two blocks of SMALL bytes, one right behind the other: the first one. NULL: there are none. */
static char *find_neighbours(char *const *blocks)
{
    for (size_t i = 0; i < BLOCKS; i++)
        for (size_t k = 0; k < BLOCKS; k++)
            if (blocks[k] == blocks[i] + SMALL)
                return blocks[i];
    return NULL;
}

/* A program that finds two blocks side by side may pass them on as one buffer. */
static void buffers_reach_over_two_blocks(size_t bytes)
{
    const size_t n = 4 * PAGE;
    char *blocks[BLOCKS];
    struct iovec vector;
    int fd = scratch_file(0);
    char *first;
    int pair[2];
    char *at;

    for (size_t i = 0; i < BLOCKS; i++)
        blocks[i] = filled(SMALL, 1);
    first = find_neighbours(blocks);
    if (first == NULL)
        return;
    at = first + SMALL - n / 2;
    vector = (struct iovec){at, n};
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
    memset(at, 'x', n);
    push_out(bytes);
    CHECK(write(fd, at, n) == (ssize_t)n);
    push_out(bytes);
    CHECK(writev(fd, &vector, 1) == (ssize_t)n);
    push_out(bytes);
    CHECK(send(pair[0], at, n, 0) == (ssize_t)n);
    memset(at, 0, n);
    push_out(bytes);
    CHECK(pread(fd, at, n, 0) == (ssize_t)n && at[0] == 'x' && is_one_record(at, n));
    memset(at, 0, n);
    push_out(bytes);
    CHECK(preadv(fd, &vector, 1, (off_t)n) == (ssize_t)n && at[0] == 'x' && is_one_record(at, n));
    memset(at, 0, n);
    push_out(bytes);
    CHECK(recv(pair[1], at, n, 0) == (ssize_t)n && at[0] == 'x' && is_one_record(at, n));
    close(fd);
}

/* ---- structures ---- */

/* All in the kernel's hands, or refused for another reason than where it lies. */
static bool is_answered(long result)
{
    CHECK(result >= 0 || errno != EFAULT);
    return result >= 0;
}

static void many_extents(size_t bytes)
{
    enum { N = 3000 };
    struct fiemap *map = malloc(sizeof *map + N * sizeof map->fm_extents[0]);
    int fd = scratch_file(0);

    for (long i = 0; i < N; i++)
        CHECK(pwrite(fd, "x", 1, i * 2 * (long)PAGE) == 1);
    memset(map, 0, sizeof *map + N * sizeof map->fm_extents[0]);
    *map = (struct fiemap){.fm_length = ~0UL, .fm_flags = FIEMAP_FLAG_SYNC, .fm_extent_count = N};
    push_out(bytes);
    if (is_answered(ioctl(fd, FS_IOC_FIEMAP, map)))
        CHECK(map->fm_mapped_extents > N / 2);
    close(fd);
    free(map);
}

static void many_pages_in_core(size_t bytes)
{
    const size_t n = 200000;
    char *p = mmap(NULL, n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    unsigned char *vector = malloc(n);

    CHECK(p != MAP_FAILED);
    memset(vector, 0x55, n);
    p[(n - 1) * PAGE] = 1;
    push_out(bytes);
    CHECK(mincore(p, n * PAGE, vector) == 0 && (vector[0] & 1) == 0 && (vector[n - 1] & 1) == 1);
    CHECK(munmap(p, n * PAGE) == 0);
    free(vector);
}

static void long_structures_are_all_there(size_t bytes)
{
    many_extents(bytes);
    many_pages_in_core(bytes);
}

const struct probe probes_large[] = {
    {"large_transfers", large_transfers},
    {"devices_give_what_is_asked_for", devices_give_what_is_asked_for},
    {"one_position_is_shared_by_several", one_position_is_shared_by_several},
    {"appended_records_are_whole", appended_records_are_whole},
    {"buffers_reach_over_two_blocks", buffers_reach_over_two_blocks},
    {"long_structures_are_all_there", long_structures_are_all_there},
    {NULL, NULL},
};
