/*
 * test_swap.c - whole processes with a swap file: what is on the disk, what damage does, what a full disk does.
 *
 * A probe that waits is started with pipes, so that the test can look at it, and at its files, while it lives.
 */
#include "tests/preload/outcome.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a suite leaves behind when a test fails must not stay mounted. */
static void remove_all(void)
{
    char path[PATH_BYTES];

    snprintf(path, sizeof path, "%s/disk", dir);
    (void)umount2(path, MNT_DETACH);
    (void)rmdir(path);
    snprintf(path, sizeof path, "%s/swap", dir);
    (void)unlink(path);
    remove_dir();
}

TestSuite(swap, .init = make_dir, .fini = remove_all);

struct live {
    pid_t process;
    int to;   /* its standard input */
    int from; /* its standard output */
};

static const char *backend = "auto";

/* @library: the name of the variable that has its path. */
static void start_with(const char *library, const char *probe, const char *megabytes, const char *limit,
                       const char *swap, const char *more, struct live *live)
{
    int in[2];
    int out[2];

    cr_assert_eq(pipe2(in, O_CLOEXEC), 0);
    cr_assert_eq(pipe2(out, O_CLOEXEC), 0);
    live->process = fork();
    cr_assert_geq(live->process, 0);
    if (live->process == 0) {
        char program[PATH_BYTES];
        char preload[PATH_BYTES];
        char pages[64];
        char path[PATH_BYTES];
        char errors[PATH_BYTES];
        char faults[64];
        char *env[] = {preload, pages, path, faults, (char *)(size_t)more, NULL};
        int fd;

        snprintf(program, sizeof program, "%s/probe", required("GHOSTMEM_TEST_BIN"));
        snprintf(preload, sizeof preload, "LD_PRELOAD=%s", required(library));
        snprintf(pages, sizeof pages, "GHOSTMEM_MAX_PAGES=%s", limit);
        snprintf(path, sizeof path, "GHOSTMEM_SWAP=%s", swap);
        snprintf(faults, sizeof faults, "GHOSTMEM_FAULTS=%s", backend);
        snprintf(errors, sizeof errors, "%s/err", dir);
        fd = open(errors, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        dup2(in[0], 0);
        dup2(out[1], 1);
        dup2(fd, 2);
        execle(program, "probe", probe, megabytes, (char *)NULL, env);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    live->to = in[1];
    live->from = out[0];
}

static void start(const char *probe, const char *megabytes, const char *limit, const char *swap, const char *more,
                  struct live *live)
{
    start_with("GHOSTMEM_LIB", probe, megabytes, limit, swap, more, live);
}

/* A line of the probe's, without its end. */
static void expect_line(struct live *live, const char *line)
{
    char text[64];
    size_t n = 0;
    struct pollfd ready = {.fd = live->from, .events = POLLIN};

    while (n < sizeof text - 1 && poll(&ready, 1, TIMEOUT_S * 1000) == 1 && read(live->from, &text[n], 1) == 1 &&
           text[n] != '\n')
        n++;
    text[n] = '\0';
    cr_assert_str_eq(text, line);
}

static void expect_end(struct live *live)
{
    int status;

    cr_assert_eq(waitpid(live->process, &status, 0), live->process);
    cr_assert_eq(status, 0);
    close(live->to);
    close(live->from);
}

static void tell(struct live *live)
{
    cr_assert_eq(write(live->to, "!", 1), 1);
}

/* The swap file, opened through the thread that has it. */
static int open_swap_of(pid_t process)
{
    char tasks[64];
    DIR *threads;
    struct dirent *thread;
    int found = -1;

    snprintf(tasks, sizeof tasks, "/proc/%d/task", (int)process);
    threads = opendir(tasks);
    cr_assert_not_null(threads);
    while (found < 0 && (thread = readdir(threads)) != NULL) {
        char files[128];
        DIR *descriptors;
        struct dirent *fd;

        snprintf(files, sizeof files, "%s/%.16s/fd", tasks, thread->d_name);
        descriptors = opendir(files);
        while (descriptors != NULL && found < 0 && (fd = readdir(descriptors)) != NULL) {
            char path[256];
            char target[PATH_BYTES];
            ssize_t length;

            snprintf(path, sizeof path, "%s/%.16s", files, fd->d_name);
            length = readlink(path, target, sizeof target - 1);
            if (length > 0 && strncmp(target, dir, strlen(dir)) == 0 && memmem(target, (size_t)length, "(deleted)", 9))
                found = open(path, O_RDWR | O_CLOEXEC);
        }
        if (descriptors != NULL)
            closedir(descriptors);
    }
    closedir(threads);
    return found;
}

static size_t count_files(const char *path)
{
    DIR *entries = opendir(path);
    size_t n = 0;

    cr_assert_not_null(entries);
    while (readdir(entries) != NULL)
        n++;
    closedir(entries);
    return n - 2;
}

static void errors_say(const char *text)
{
    char errors[4096];

    read_file("err", errors, sizeof errors);
    cr_assert_not_null(strstr(errors, text), "%s", errors);
}

/* ---- damage ---- */

static void damage_one(const char *library, const char *more, const char *lost, void (*harm)(int fd, off_t size))
{
    struct live live;
    struct stat status;
    int fd;

    start_with(library, "survives_damage", "8", "64", dir, more, &live);
    expect_line(&live, "ready");
    fd = open_swap_of(live.process);
    cr_assert_geq(fd, 0, "no swap file");
    cr_assert_eq(fstat(fd, &status), 0);
    cr_assert_gt(status.st_size, 1 << 20);
    cr_assert_eq(status.st_mode & 0777, 0600);
    harm(fd, status.st_size);
    close(fd);
    tell(&live);
    expect_line(&live, lost);
    expect_end(&live);
}

static void damage(const char *library, const char *more, const char *lost, void (*harm)(int fd, off_t size))
{
    static const char *const backends[] = {"thread", "signal", "segv"};

    for (size_t i = 0; i < sizeof backends / sizeof backends[0]; i++) {
        backend = backends[i];
        damage_one(library, more, lost, harm);
    }
}

static void leave(int fd, off_t size)
{
    (void)fd;
    (void)size;
}

static void cut_in_half(int fd, off_t size)
{
    cr_assert_eq(ftruncate(fd, size / 2), 0);
}

static void flip_bits(int fd, off_t size)
{
    for (off_t at = 1000; at < size; at += 50000) {
        unsigned char byte;

        cr_assert_eq(pread(fd, &byte, 1, at), 1);
        byte ^= 0x10;
        cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
    }
}

Test(swap, file_that_nobody_touches_gives_everything_back)
{
    damage("GHOSTMEM_LIB", "GHOSTMEM_VERBOSE=0", "lost none", leave);
}

Test(swap, truncated_file_is_a_bus_error_and_never_a_wrong_byte)
{
    damage("GHOSTMEM_LIB", "GHOSTMEM_VERBOSE=0", "lost some", cut_in_half);
    errors_say("is lost, its reader gets SIGBUS");
}

Test(swap, flipped_bit_is_a_bus_error_and_never_a_wrong_byte)
{
    damage("GHOSTMEM_LIB", "GHOSTMEM_VERBOSE=0", "lost some", flip_bits);
    errors_say("is damaged");
}

Test(swap, flipped_bit_in_an_encrypted_file_is_a_bus_error)
{
    damage("GHOSTMEM_LIB", "GHOSTMEM_SWAP_ENCRYPT=1", "lost some", flip_bits);
    errors_say("is damaged");
}

/* Before Linux 6.6 `thread` sends the signal to who waits for the page. */
Test(swap, lost_page_is_a_bus_error_where_the_kernel_cannot_poison_pages)
{
    backend = "thread";
    damage_one("GHOSTMEM_INJECT_LIB", "OS_INJECT_POISON=1:1000000:22", "lost some", flip_bits);
    errors_say("is damaged");
}

/* ---- privacy ---- */

static bool file_contains(int fd, const char *secret)
{
    static char text[32 << 20];
    ssize_t length = pread(fd, text, sizeof text, 0);

    cr_assert_gt(length, 1 << 20);
    return memmem(text, (size_t)length, secret, strlen(secret)) != NULL;
}

static void look_for_secret(const char *more, bool readable)
{
    struct live live;
    int fd;

    start("keeps_a_secret", "4", "64", dir, more, &live);
    expect_line(&live, "ready");
    fd = open_swap_of(live.process);
    cr_assert_geq(fd, 0);
    cr_assert_eq(file_contains(fd, "ghostmem-probe-secret"), readable);
    close(fd);
    tell(&live);
    expect_line(&live, "ok");
    expect_end(&live);
    cr_assert_eq(count_files(dir), 1, "all that is left is the file of messages");
}

Test(swap, encrypted_file_shows_nothing)
{
    look_for_secret("GHOSTMEM_SWAP_ENCRYPT=1", false);
}

/* Which proves that the test above would find it. */
/* Whichever way it is locked; the probe looks into its own file. */
static void locked_pages_stay_out(const char *faults)
{
    char swap[PATH_BYTES];
    const char *settings[6] = {"GHOSTMEM_MAX_PAGES=64", "GHOSTMEM_POOL=1M", "GHOSTMEM_COMPRESS=0", swap, faults};
    struct outcome outcome;

    snprintf(swap, sizeof swap, "GHOSTMEM_SWAP=%s", dir);
    run_probe("locked_pages_stay_out_of_the_swap_file", "8", NULL, settings, required("GHOSTMEM_LIB"), &outcome);
    cr_assert_str_eq(outcome.errors, "");
    cr_assert_str_eq(outcome.output, "ok\n");
}

Test(swap, locked_pages_stay_out_with_signal)
{
    locked_pages_stay_out("GHOSTMEM_FAULTS=signal");
}

Test(swap, locked_pages_stay_out_with_segv)
{
    locked_pages_stay_out("GHOSTMEM_FAULTS=segv");
}

Test(swap, locked_pages_stay_out_with_thread)
{
    locked_pages_stay_out("GHOSTMEM_FAULTS=thread");
}

Test(swap, plain_file_shows_what_is_in_it)
{
    look_for_secret("GHOSTMEM_COMPRESS=0", true);
}

Test(swap, killed_at_any_moment_it_leaves_no_file)
{
    for (unsigned i = 0; i < 30; i++) {
        struct live live;
        char path[PATH_BYTES];
        int status;

        snprintf(path, sizeof path, "%s/swap", dir);
        start("works_until_told", "8", "64", i % 2 == 0 ? path : dir, "GHOSTMEM_VERBOSE=0", &live);
        usleep(i * 3000);
        kill(live.process, SIGKILL);
        waitpid(live.process, &status, 0);
        close(live.to);
        close(live.from);
        cr_assert_leq(count_files(dir), 1, "round %u: more than the file of messages", i);
    }
}

Test(swap, two_processes_with_one_path_each_have_a_file)
{
    struct live first;
    struct live second;
    char path[PATH_BYTES];

    snprintf(path, sizeof path, "%s/swap", dir);
    start("works_until_told", "8", "64", path, "GHOSTMEM_VERBOSE=0", &first);
    start("works_until_told", "8", "64", path, "GHOSTMEM_VERBOSE=0", &second);
    expect_line(&first, "ready");
    expect_line(&second, "ready");
    usleep(200000);
    tell(&first);
    tell(&second);
    expect_line(&first, "ok");
    expect_line(&second, "ok");
    expect_end(&first);
    expect_end(&second);
}

/* ---- the path ---- */

static void refuses(const char *swap, const char *line)
{
    char setting[PATH_BYTES];
    const char *settings[6] = {"GHOSTMEM_MAX_PAGES=64", setting};
    struct outcome outcome;

    snprintf(setting, sizeof setting, "GHOSTMEM_SWAP=%s", swap);
    run_probe("realloc_keeps_the_contents", "4", NULL, settings, required("GHOSTMEM_LIB"), &outcome);
    cr_assert_eq(outcome.status, 0);
    cr_assert_str_eq(outcome.output, "ok\n");
    cr_assert_str_eq(outcome.errors, line);
}

Test(swap, path_that_will_not_do_is_one_line_and_images_stay_in_ram)
{
    char path[PATH_BYTES];
    char line[2 * PATH_BYTES];
    char text[32];
    FILE *file;

    snprintf(path, sizeof path, "%s/swap", dir);
    file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs("precious", file);
    fclose(file);
    snprintf(line, sizeof line, "ghostmem: swap file %s: exists and is not empty: it is left alone, and images stay in RAM\n",
             path);
    refuses(path, line);
    read_file("swap", text, sizeof text);
    cr_assert_str_eq(text, "precious");
    refuses("/nonexistent/swap", "ghostmem: swap file /nonexistent/swap: cannot be created: ENOENT (2); images stay in RAM\n");
    refuses("/dev/null", "ghostmem: swap file /dev/null: cannot be created: EINVAL (22); images stay in RAM\n");
    refuses("/etc/passwd/swap", "ghostmem: swap file /etc/passwd/swap: cannot be created: ENOTDIR (20); images stay in RAM\n");
}

/* Before anything is to be written. */
Test(swap, path_that_will_not_do_is_told_at_once)
{
    const char *settings[6] = {"GHOSTMEM_MAX_PAGES=100000", "GHOSTMEM_SWAP=/nonexistent/swap"};
    struct outcome outcome;

    run_probe("small_blocks_are_libcs", "1", NULL, settings, required("GHOSTMEM_LIB"), &outcome);
    cr_assert_eq(outcome.status, 0);
    cr_assert_str_eq(outcome.errors, "ghostmem: swap file /nonexistent/swap: cannot be created: ENOENT (2); images stay in RAM\n");
}

/* ---- messages of our own threads ---- */

/* Which cannot open a socket again. */
static void socket_gets_their_lines(const char *faults)
{
    int ends[2];
    char text[1024];
    size_t n = 0;
    ssize_t got;
    pid_t child;

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        char probe[PATH_BYTES];
        char library[PATH_BYTES];

        snprintf(probe, sizeof probe, "%s/probe", required("GHOSTMEM_TEST_BIN"));
        snprintf(library, sizeof library, "%s", required("GHOSTMEM_LIB"));
        clearenv(); /* the tests' own settings are none of the library's */
        dup2(ends[1], STDERR_FILENO);
        dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
        setenv("GHOSTMEM_MAX_PAGES", "64", 1);
        setenv("GHOSTMEM_SWAP", dir, 1);
        setenv("GHOSTMEM_SWAP_MAX", "256K", 1);
        setenv("GHOSTMEM_POOL", "1M", 1);
        setenv("GHOSTMEM_FAULTS", faults, 1);
        setenv("GHOSTMEM_RECLAIM", "background", 1);
        setenv("LD_PRELOAD", library, 1);
        execl(probe, probe, "calloc_is_zero_also_after_use", "8", NULL);
        _exit(127);
    }
    close(ends[1]);
    while ((got = read(ends[0], text + n, sizeof text - 1 - n)) > 0)
        n += (size_t)got;
    text[n] = '\0';
    close(ends[0]);
    cr_assert_eq(waitpid(child, NULL, 0), child);
    cr_assert_not_null(strstr(text, "is as large as GHOSTMEM_SWAP_MAX lets it be: ENOSPC (28)"), "%s: %s", faults, text);
}

Test(swap, lines_of_our_threads_reach_a_socket)
{
    socket_gets_their_lines("signal");
    socket_gets_their_lines("segv");
    if (geteuid() == 0)
        socket_gets_their_lines("thread");
}

/* ---- a disk that fills up ---- */

Test(swap, full_disk_loses_nothing_and_is_used_again_when_it_has_room)
{
    struct live live;
    char disk[PATH_BYTES];
    struct statvfs space;
    uint64_t used = 0;

    if (geteuid() != 0)
        cr_skip_test("needs root to mount a small disk");
    snprintf(disk, sizeof disk, "%s/disk", dir);
    cr_assert_eq(mkdir(disk, 0700), 0);
    cr_assert_eq(mount("none", disk, "tmpfs", 0, "size=16m"), 0);
    start("works_until_told", "64", "1024", disk, "GHOSTMEM_VERBOSE=0", &live);
    expect_line(&live, "ready");
    errors_say("cannot be written: ENOSPC (28); images stay in RAM meanwhile");
    cr_assert_eq(mount("none", disk, "tmpfs", MS_REMOUNT, "size=256m"), 0);
    for (int i = 0; i < TIMEOUT_S * 10 && used <= 20 << 20; i++) {
        usleep(100000);
        cr_assert_eq(statvfs(disk, &space), 0);
        used = (uint64_t)(space.f_blocks - space.f_bfree) * space.f_bsize;
    }
    cr_assert_gt(used, 20 << 20);
    tell(&live);
    expect_line(&live, "ok");
    expect_end(&live);
    cr_assert_eq(umount(disk), 0);
}

/* With a signal, of which a thread of the program would end. */
Test(swap, size_limit_of_the_process_is_as_a_full_disk)
{
    struct live live;
    struct rlimit old;
    struct rlimit small;
    struct stat status = {0};
    int fd;

    backend = "signal";
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){5 << 20, old.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    start("works_until_told", "32", "1024", dir, "GHOSTMEM_RECLAIM=direct", &live);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
    expect_line(&live, "ready");
    errors_say("cannot be written: EFBIG (27); images stay in RAM meanwhile");
    usleep(1500000); /* its own threads try it too */
    fd = open_swap_of(live.process);
    cr_assert_geq(fd, 0);
    for (int i = 0; i < TIMEOUT_S * 10 && status.st_size == 0; i++) { /* it shrinks as pages come back, until more is written */
        cr_assert_eq(fstat(fd, &status), 0);
        cr_assert_leq(status.st_size, 5 << 20);
        usleep(100000);
    }
    cr_assert_gt(status.st_size, 0, "there is something in it");
    cr_assert_eq(prlimit(live.process, RLIMIT_FSIZE, &old, NULL), 0);
    for (int i = 0; i < TIMEOUT_S * 10 && status.st_size <= 6 << 20; i++) {
        usleep(100000);
        cr_assert_eq(fstat(fd, &status), 0);
    }
    cr_assert_gt(status.st_size, 6 << 20);
    close(fd);
    tell(&live);
    expect_line(&live, "ok");
    expect_end(&live);
}

/* ---- small limits, failing disks, and forks that cannot take the file along ---- */

/* Five hundred times the limit; with GHOSTMEM_TEST_WAYS=all (`make check-all`) half a GiB. */
Test(swap, hundreds_of_times_the_limit_come_back)
{
    const char *ways = getenv("GHOSTMEM_TEST_WAYS");
    const char *megabytes = ways != NULL && strcmp(ways, "all") == 0 ? "512" : "128";
    struct outcome outcome;

    run_with_swap("everything_comes_back", megabytes, "64", false, NULL, &outcome);
    cr_assert_eq(outcome.status, 0, "%s", outcome.errors);
    cr_assert_str_eq(outcome.output, "ok\n");
    cr_assert_str_eq(outcome.errors, "");
}

/* @step: 1 for every call; the unit tests have every errno at every call. */
static void every_failing_io(const char *kind, int error, int step, bool lines)
{
    size_t n_lines = 0;

    for (int n = 1; n <= 12; n += step) {
        char inject[64];
        char swap[PATH_BYTES];
        const char *settings[6] = {"GHOSTMEM_MAX_PAGES=64", inject, swap};
        struct outcome outcome;

        snprintf(inject, sizeof inject, "OS_INJECT_%s=%d:2:%d", kind, n, error);
        snprintf(swap, sizeof swap, "GHOSTMEM_SWAP=%s", dir);
        run_probe("both_sides_of_a_fork_go_on", "2", NULL, settings, required("GHOSTMEM_INJECT_LIB"), &outcome);
        cr_assert_eq(outcome.status, 0, "call %d: status %#x, %s", n, (unsigned)outcome.status, outcome.errors);
        cr_assert_str_eq(outcome.output, "ok\n", "call %d: %s", n, outcome.errors);
        n_lines += outcome.errors[0] != '\0';
    }
    cr_assert_eq(n_lines > 2, lines);
}

Test(swap, failing_writes_around_forks_lose_nothing)
{
    every_failing_io("WRITE", 28, 1, true);
    every_failing_io("WRITE", 122, 3, true);
    every_failing_io("WRITE", 5, 3, true);
}

Test(swap, short_reads_and_writes_around_forks_lose_nothing)
{
    every_failing_io("WRITE", 0, 3, false);
    every_failing_io("READ", 0, 3, false);
}

Test(swap, every_failing_call_on_the_way_to_swapping_leaves_the_program_right)
{
    for (int n = 1; n <= 90; n++) {
        char inject[32];
        char swap[PATH_BYTES];
        const char *settings[6] = {"GHOSTMEM_MAX_PAGES=64", inject, swap};
        struct outcome outcome;

        snprintf(inject, sizeof inject, "OS_INJECT=%d", n);
        snprintf(swap, sizeof swap, "GHOSTMEM_SWAP=%s", dir);
        run_probe("both_sides_of_a_fork_go_on", "1", NULL, settings, required("GHOSTMEM_INJECT_LIB"), &outcome);
        cr_assert_eq(outcome.status, 0, "call %d: status %#x, %s", n, (unsigned)outcome.status, outcome.errors);
        cr_assert_str_eq(outcome.output, "ok\n", "call %d: %s", n, outcome.errors);
    }
}
