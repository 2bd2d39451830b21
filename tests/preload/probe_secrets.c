/*
 * probe_secrets.c - memory that is to go nowhere: locked in RAM, kept from children, left out of core files.
 *
 * The locks are asked for where they may be had; a limit on locked memory is no fault.
 */
#include "tests/preload/probe.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- locks ---- */

static void lift_limit(void)
{
    struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};

    (void)setrlimit(RLIMIT_MEMLOCK, &all);
}

static void *whole_pages(size_t bytes, uint64_t salt)
{
    void *p = aligned_alloc(PAGE, bytes);

    CHECK(p != NULL);
    fill(p, bytes, salt);
    return p;
}

static void expect_in_core(const char *p, size_t bytes)
{
    unsigned char there[1024];

    for (size_t at = 0; at < bytes; at += PAGE) {
        size_t i = at / PAGE % sizeof there;

        if (i == 0)
            CHECK(mincore((void *)(uintptr_t)(p + at), bytes - at < sizeof there * PAGE ? bytes - at : sizeof there * PAGE, there) == 0);
        CHECK((there[i] & 1) != 0);
    }
}

static void stay_locked(int flags, size_t bytes)
{
    char *p = whole_pages(bytes, 1);
    char *q;

    push_out(bytes);
    if (mlockall(flags) != 0) {
        free(p);
        return;
    }
    q = whole_pages(bytes, 2);
    push_out(bytes);
    if ((flags & MCL_CURRENT) != 0) {
        expect_in_core(p, bytes);
        CHECK(madvise(p, PAGE, MADV_DONTNEED) == -1 && errno == EINVAL);
        CHECK(munlock(p, PAGE) == 0 && madvise(p, PAGE, MADV_DONTNEED) == 0 && *p == 0);
        fill(p, PAGE, 1);
    }
    if ((flags & MCL_FUTURE) != 0)
        expect_in_core(q, bytes);
    check(p, bytes, 1);
    p = realloc(p, 2 * bytes);
    CHECK(p != NULL);
    check(p, bytes, 1);
    check(q, bytes, 2);
    CHECK(munlockall() == 0);
    push_out(bytes);
    check(p, bytes, 1);
    check(q, bytes, 2);
    free(p);
    free(q);
}

static void all_is_locked(size_t bytes)
{
    lift_limit();
    bytes /= 2;
    stay_locked(MCL_CURRENT, bytes);
    stay_locked(MCL_FUTURE, bytes);
    stay_locked(MCL_CURRENT | MCL_FUTURE, bytes);
    CHECK(mlockall(0) == -1 && errno == EINVAL);
    CHECK(mlockall(64) == -1 && errno == EINVAL);
}

/* By the system calls alone, which not all may be seen. */
static void all_is_locked_without_libc(size_t bytes)
{
    char *p = filled(bytes, 1);
    char *q;

    lift_limit();
    push_out(bytes);
    (void)syscall(SYS_mlockall, (long)(MCL_CURRENT | MCL_FUTURE));
    q = malloc(bytes);
    if (q != NULL) { /* RLIMIT_MEMLOCK */
        fill(q, bytes, 2);
        push_out(bytes);
        check(q, bytes, 2);
    }
    check(p, bytes, 1);
    CHECK(syscall(SYS_munlockall) == 0);
    free(p);
    free(q);
}

/* ---- what is in the swap file ---- */

#define NEEDLE "a secret that is locked in RAM, "
#define NEEDLE_BYTES (sizeof NEEDLE - 1)

static void write_needles(char *p, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += NEEDLE_BYTES)
        memcpy(p + at, NEEDLE, NEEDLE_BYTES);
    for (size_t i = 0; i < bytes; i += PAGE)
        p[i] = (char)('0' + i / PAGE % 10);
}

static size_t count_in_file(const char *path)
{
    char *data = mmap(NULL, (size_t)1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd = open(path, O_RDONLY);
    size_t n = 0;
    ssize_t got;

    CHECK(data != MAP_FAILED && fd >= 0);
    while ((got = read(fd, data, (size_t)1 << 20)) > 0)
        for (const char *at = data; (at = memmem(at, (size_t)(data + got - at), NEEDLE, NEEDLE_BYTES)) != NULL; at++)
            n++;
    close(fd);
    munmap(data, (size_t)1 << 20);
    return n;
}

static size_t count_in_files_of(const char *task, size_t *n_files)
{
    char path[300];
    char target[300];
    DIR *list;
    size_t n = 0;

    snprintf(path, sizeof path, "/proc/self/task/%s/fd", task);
    list = opendir(path);
    for (struct dirent *entry; list != NULL && (entry = readdir(list)) != NULL;) {
        ssize_t length;

        snprintf(path, sizeof path, "/proc/self/task/%s/fd/%s", task, entry->d_name);
        length = readlink(path, target, sizeof target - 1);
        if (length < 0)
            continue;
        target[length] = '\0';
        if (strstr(target, "(deleted)") == NULL || strncmp(target, "/memfd", 6) == 0)
            continue;
        n += count_in_file(path);
        ++*n_files;
    }
    if (list != NULL)
        closedir(list);
    return n;
}

static void expect_nothing_in_the_swap_file(void)
{
    DIR *tasks = opendir("/proc/self/task");
    size_t n_files = 0;

    CHECK(tasks != NULL);
    for (struct dirent *entry; (entry = readdir(tasks)) != NULL;)
        if (entry->d_name[0] != '.')
            CHECK(count_in_files_of(entry->d_name, &n_files) == 0);
    closedir(tasks);
    CHECK(getenv("GHOSTMEM_SWAP") == NULL || n_files > 0);
}

enum lock_way { LOCK_EACH, LOCK_ON_FAULT, LOCK_ALL };

/* What is not locked is written to the file, so that there is one. */
static void locked_pages_stay_out_of_the_swap_file(size_t bytes)
{
    size_t part = 100 * PAGE;

    lift_limit();
    for (enum lock_way way = LOCK_EACH; way <= LOCK_ALL; way++) {
        char *p = whole_pages(part, 1);
        int result;

        push_out(bytes);
        result = way == LOCK_ALL ? mlockall(MCL_CURRENT) : mlock2(p, part, way == LOCK_ON_FAULT ? MLOCK_ONFAULT : 0);
        if (result != 0)
            return;
        write_needles(p, part);
        push_out(bytes);
        push_out(bytes);
        expect_nothing_in_the_swap_file();
        p = realloc(p, 3 * part); /* it may move */
        CHECK(p != NULL);
        push_out(bytes);
        expect_nothing_in_the_swap_file();
        CHECK(memcmp(p + 1, NEEDLE + 1, NEEDLE_BYTES - 1) == 0);
        memset(p, 1, part);
        CHECK(munlockall() == 0);
        free(p);
    }
}

/* ---- children ---- */

/* Raw calls alone: what is around it is not fit for more. */
static void tell_what_is_seen(const volatile char *p, size_t n_pages, int fd)
{
    int n = 0;

    for (size_t i = 0; i < n_pages; i++)
        n += p[i * PAGE] != 0;
    (void)!write(fd, &n, sizeof n);
    _exit(0);
}

static int seen_by_child(const char *p, size_t n_pages, bool by_libc)
{
    int ends[2];
    int n = -1;
    pid_t child;

    CHECK(pipe(ends) == 0);
    child = by_libc ? fork() : (pid_t)syscall(SYS_clone, (long)SIGCHLD, 0L, 0L, 0L, 0L);
    if (child == 0)
        tell_what_is_seen(p, n_pages, ends[1]);
    CHECK(child > 0 && read(ends[0], &n, sizeof n) == sizeof n);
    expect_success(child);
    close(ends[0]);
    close(ends[1]);
    return n;
}

static void wiped_in_children_however_made(char *p, size_t n_pages)
{
    bool is_libcs = dlsym(RTLD_DEFAULT, "ghostmem_owns") == NULL; /* marks may stay behind in its heap */
    char *moved;

    memset(p, 1, n_pages * PAGE);
    CHECK(madvise(p, n_pages * PAGE, MADV_WIPEONFORK) == 0);
    CHECK(seen_by_child(p, n_pages, true) == 0 && seen_by_child(p, n_pages, false) == 0);
    CHECK(madvise(p + PAGE, PAGE, MADV_KEEPONFORK) == 0);
    CHECK(seen_by_child(p, 2, true) == 1);
    free(p);
    if (is_libcs)
        return;
    moved = malloc(n_pages * PAGE);
    CHECK(moved != NULL);
    memset(moved, 1, n_pages * PAGE);
    CHECK(seen_by_child(moved, n_pages, true) == (int)n_pages);
    free(moved);
}

/* Before there are more blocks than fit, and after. */
static void children_made_in_any_way_find_wiped_pages_empty(size_t bytes)
{
    wiped_in_children_however_made(aligned_alloc(PAGE, 48 * PAGE), 48);
    free(filled(bytes, 1));
    wiped_in_children_however_made(aligned_alloc(PAGE, 48 * PAGE), 48);
    wiped_in_children_however_made(aligned_alloc(PAGE, 400 * PAGE), 400);
}

/* As many ranges as there are pages to be had, and one of them with a hole. */
static void many_ranges_are_wiped(size_t bytes)
{
    size_t n_ranges = 600;
    char *p = aligned_alloc(PAGE, (2 * n_ranges + 64) * PAGE);
    char *last = p + 2 * n_ranges * PAGE;

    CHECK(p != NULL);
    memset(p, 1, (2 * n_ranges + 64) * PAGE);
    for (size_t i = 0; i < n_ranges; i++)
        CHECK(madvise(p + 2 * i * PAGE, PAGE, MADV_WIPEONFORK) == 0);
    CHECK(madvise(last, 64 * PAGE, MADV_WIPEONFORK) == 0);
    CHECK(madvise(last + 10 * PAGE, PAGE, MADV_KEEPONFORK) == 0);
    CHECK(seen_by_child(last, 64, true) == 1);
    CHECK(seen_by_child(p, 2 * n_ranges, true) == (int)n_ranges);
    push_out(bytes);
    CHECK(seen_by_child(p, 2 * n_ranges, true) == (int)n_ranges);
    free(p);
}

const struct probe probes_secrets[] = {
    {"all_is_locked", all_is_locked},
    {"all_is_locked_without_libc", all_is_locked_without_libc},
    {"locked_pages_stay_out_of_the_swap_file", locked_pages_stay_out_of_the_swap_file},
    {"children_made_in_any_way_find_wiped_pages_empty", children_made_in_any_way_find_wiped_pages_empty},
    {"many_ranges_are_wiped", many_ranges_are_wiped},
    {NULL, NULL},
};
