/*
 * probe_table.c - call after call with its buffers in frozen memory, across a page border and at the end of a block: it must
 * give what it gives with plain buffers.
 *
 * All go through syscall(2), so that no wrapper of ours or of libc's stands before them.
 */
#include "tests/preload/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/timerfd.h>
#include <sys/times.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#define ROOM ((size_t)1024) /* bytes at @at that a case may use, and that are compared */

/* What is at @at leaves RAM, in the run where it can. */
static void (*settle)(void);
static size_t pushed_bytes;

static void do_nothing(void)
{
}

/* More pages than the limit has are touched after it. */
static void push_out(void)
{
    char *p = malloc(pushed_bytes);

    CHECK(p != NULL);
    for (size_t i = 0; i < pushed_bytes; i += PAGE)
        p[i + 1] = 1;
    free(p);
}

/* ---- the cases: a result, and what stands at @at afterwards ---- */

#define CALL(...) (settle(), syscall(__VA_ARGS__))

static long paths(char *at)
{
    struct stat status;
    long fd;
    long result;

    strcpy(at, "/proc/self/../self/status");
    fd = CALL(SYS_openat, AT_FDCWD, at, O_RDONLY, 0);
    CHECK(fd >= 0);
    close((int)fd);
    result = CALL(SYS_access, at, R_OK) == 0;
    result += CALL(SYS_newfstatat, AT_FDCWD, at, &status, 0) == 0 && S_ISREG(status.st_mode) ? 2 : 0;
    strcpy(at, "/no/such/file");
    return result * 100 + (CALL(SYS_unlink, at) == -1 && errno == ENOENT);
}

static long names(char *at)
{
    long result = CALL(SYS_getcwd, at, ROOM);

    CHECK(result > 0 && chdir("/usr/bin") == 0);
    result = CALL(SYS_getcwd, at, 100L) * 1000;
    result += CALL(SYS_readlink, "/proc/self/exe", at + 100, 200L);
    return result * 1000 + CALL(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", at + 300, 200L);
}

static long status_of_files(char *at)
{
    long result = CALL(SYS_newfstatat, AT_FDCWD, "/proc/self/exe", at, 0);

    result += CALL(SYS_stat, "/usr", at + 200);
    memset(at + 400, 0, 300);
    result += CALL(SYS_statfs, "/proc", at + 400);
    return result + CALL(SYS_statx, AT_FDCWD, "/usr", 0, STATX_BASIC_STATS, at + 700);
}

static long directory(char *at)
{
    long fd = syscall(SYS_openat, AT_FDCWD, "/proc/self/attr", O_RDONLY | O_DIRECTORY, 0);
    long n = 0;
    long got;

    if (fd < 0)
        return 0;
    while ((got = CALL(SYS_getdents64, fd, at, 200L)) > 0)
        n += got;
    close((int)fd);
    memset(at, 0, 200);
    return n;
}

static long attributes(char *at)
{
    char path[] = "/var/tmp/ghostmem-probe-XXXXXX";
    int fd = mkstemp(path);
    long result;

    CHECK(fd >= 0);
    memcpy(at, "user.ghost", 11);
    memcpy(at + 100, "value", 5);
    result = CALL(SYS_fsetxattr, fd, at, at + 100, 5L, 0);
    result = result * 10 + CALL(SYS_fgetxattr, fd, at, at + 200, 100L);
    result = result * 10 + CALL(SYS_flistxattr, fd, at + 300, 100L);
    result = result * 10 + CALL(SYS_getxattr, path, at, at + 400, 100L);
    unlink(path);
    close(fd);
    return result;
}

static long transfers(char *at)
{
    char path[] = "/var/tmp/ghostmem-probe-XXXXXX";
    int fd = mkstemp(path);
    struct iovec *vector = (struct iovec *)(void *)at;
    long result;

    CHECK(fd >= 0 && unlink(path) == 0);
    memset(at + 64, 'w', 300);
    vector[0] = (struct iovec){at + 64, 100};
    vector[1] = (struct iovec){at + 164, 200};
    result = CALL(SYS_pwritev, fd, vector, 2, 0L, 0L);
    vector[0] = (struct iovec){at + 400, 150};
    vector[1] = (struct iovec){at + 550, 150};
    result += CALL(SYS_preadv2, fd, vector, 2, 0L, 0L, 0);
    result += CALL(SYS_pread64, fd, at + 700, 100L, 10L);
    result += CALL(SYS_write, fd, at + 64, 10L);
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    result += CALL(SYS_readv, fd, vector, 1);
    memset(at, 0, 32); /* the addresses differ */
    close(fd);
    return result;
}

static long offsets(char *at)
{
    int in = open("/proc/self/exe", O_RDONLY);
    int ends[2];
    long result;

    CHECK(in >= 0 && pipe(ends) == 0);
    *(off_t *)(void *)at = 100;
    result = CALL(SYS_sendfile, ends[1], in, at, 200L);
    CHECK(*(off_t *)(void *)at == 300);
    result += CALL(SYS_splice, in, at, ends[1], NULL, 100L, 0);
    *(struct iovec *)(void *)(at + 16) = (struct iovec){at + 64, 50};
    memset(at + 64, 'v', 50);
    result += CALL(SYS_vmsplice, ends[1], at + 16, 1L, 0);
    *(struct iovec *)(void *)(at + 16) = (struct iovec){NULL, 0};
    result += CALL(SYS_ioctl, ends[0], FIONREAD, at + 200);
    close(in);
    close(ends[0]);
    close(ends[1]);
    return result * 1000 + *(int *)(void *)(at + 200);
}

static long other_memory(char *at)
{
    struct iovec *here = (struct iovec *)(void *)at;
    struct iovec *there = (struct iovec *)(void *)(at + 32);
    long result;

    memset(at + 64, 'r', 100);
    *here = (struct iovec){at + 200, 100};
    *there = (struct iovec){at + 64, 100};
    result = CALL(SYS_process_vm_readv, (long)getpid(), here, 1L, there, 1L, 0L);
    memset(at, 0, 64);
    return result;
}

static long pairs(char *at)
{
    int *fds = (int *)(void *)at;
    long result = CALL(SYS_pipe2, at, O_CLOEXEC) == 0 && write(fds[1], "x", 1) == 1;

    close(fds[0]);
    close(fds[1]);
    result += CALL(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, at) == 0 && write(fds[1], "x", 1) == 1;
    close(fds[0]);
    close(fds[1]);
    memset(at, 0, 8);
    return result;
}

static long addresses(char *at)
{
    struct sockaddr_un *name = (struct sockaddr_un *)(void *)at;
    socklen_t *length = (socklen_t *)(void *)(at + 200);
    int server = socket(AF_UNIX, SOCK_STREAM, 0);
    int client = socket(AF_UNIX, SOCK_STREAM, 0);
    long accepted;
    long result;

    memset(at, 0, ROOM);
    name->sun_family = AF_UNIX;
    snprintf(name->sun_path + 1, 21, "ghostmem-probe-%05d", (int)(getpid() % 100000)); /* tests run side by side */
    result = CALL(SYS_bind, server, at, 23L);
    result += CALL(SYS_listen, server, 1);
    result += CALL(SYS_connect, client, at, 23L);
    *length = 100;
    memset(at, 0, 100);
    result += CALL(SYS_getsockname, server, at, length);
    *length = 100;
    accepted = CALL(SYS_accept4, server, at + 100, length, 0);
    CHECK(accepted >= 0);
    *length = 4;
    result += CALL(SYS_getsockopt, client, SOL_SOCKET, SO_TYPE, at + 300, length);
    *(int *)(void *)(at + 304) = 1;
    result += CALL(SYS_setsockopt, client, SOL_SOCKET, SO_KEEPALIVE, at + 304, 4L);
    *length = 100;
    result += CALL(SYS_getpeername, client, at + 400, length);
    close((int)accepted);
    close(client);
    close(server);
    return result;
}

static long messages(char *at)
{
    struct mmsghdr *both = (struct mmsghdr *)(void *)at; /* two: 128 bytes */
    struct iovec *vector = (struct iovec *)(void *)(at + 128);
    int pair[2];
    long result;

    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
    memset(at, 0, ROOM);
    memset(at + 200, 'm', 200);
    for (int i = 0; i < 2; i++) {
        vector[i] = (struct iovec){at + 200 + i * 100, 100};
        both[i].msg_hdr.msg_iov = &vector[i];
        both[i].msg_hdr.msg_iovlen = 1;
    }
    result = CALL(SYS_sendmmsg, pair[0], both, 2, 0);
    vector[0].iov_base = at + 500;
    vector[1].iov_base = at + 600;
    result = result * 10 + CALL(SYS_recvmmsg, pair[1], both, 2, 0, NULL);
    result = result * 1000 + both[0].msg_len + both[1].msg_len;
    result += CALL(SYS_sendto, pair[0], at + 200, 100L, 0, NULL, 0L);
    result += CALL(SYS_recvfrom, pair[1], at + 700, 100L, 0, NULL, NULL);
    memset(at, 0, 160);
    close(pair[0]);
    close(pair[1]);
    return result;
}

static long waiting(char *at)
{
    struct pollfd *fds = (struct pollfd *)(void *)at;
    struct timespec *span = (struct timespec *)(void *)(at + 64);
    struct epoll_event *events = (struct epoll_event *)(void *)(at + 128);
    int ends[2];
    int epoll = epoll_create1(0);
    long result;

    CHECK(epoll >= 0 && pipe(ends) == 0 && write(ends[1], "x", 1) == 1);
    fds[0] = (struct pollfd){.fd = ends[0], .events = POLLIN};
    fds[1] = (struct pollfd){.fd = ends[1], .events = POLLOUT};
    *span = (struct timespec){0, 1000};
    result = CALL(SYS_ppoll, fds, 2L, span, NULL, 8L);
    events[0] = (struct epoll_event){.events = EPOLLIN, .data.u64 = 5};
    result = result * 10 + CALL(SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, ends[0], events);
    result = result * 10 + CALL(SYS_epoll_pwait, epoll, events, 10, 0, NULL, 8L);
    memset(at + 300, 0, 128);
    at[300 + ends[0] / 8] = (char)(1 << ends[0] % 8);
    *span = (struct timespec){0, 0};
    result = result * 10 + CALL(SYS_pselect6, ends[0] + 1, at + 300, NULL, NULL, span, NULL);
    *span = (struct timespec){0, 1000};
    result = result * 10 + CALL(SYS_nanosleep, span, at + 96);
    result = result * 10 + CALL(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, span, at + 96);
    memset(at, 0, 64);
    memset(at + 300, 0, 128);
    close(epoll);
    close(ends[0]);
    close(ends[1]);
    return result;
}

static long timers(char *at)
{
    struct itimerspec *when = (struct itimerspec *)(void *)at;
    int fd = timerfd_create(CLOCK_MONOTONIC, 0);
    sigset_t *set = (sigset_t *)(void *)(at + 100);
    long watcher;
    long result;

    CHECK(fd >= 0);
    *when = (struct itimerspec){.it_value = {0, 1000}};
    result = CALL(SYS_timerfd_settime, fd, 0, when, NULL);
    result += CALL(SYS_read, fd, at + 64, 8L);
    sigemptyset(set);
    sigaddset(set, SIGUSR2);
    watcher = CALL(SYS_signalfd4, -1, set, 8L, 0);
    CHECK(watcher >= 0);
    close((int)watcher);
    close(fd);
    result += CALL(SYS_getitimer, 0, at + 300);
    memset(at, 0, 300);
    return result;
}

/* What they write differs from call to call; that they write is seen. */
static long clocks_and_counts(char *at)
{
    long result;

    memset(at, 0x55, ROOM);
    result = CALL(SYS_clock_gettime, CLOCK_REALTIME, at) == 0 && memcmp(at, "UUUUUUUU", 8) != 0;
    result += CALL(SYS_gettimeofday, at + 100, NULL) == 0 && memcmp(at + 100, "UUUUUUUU", 8) != 0 ? 2 : 0;
    result += CALL(SYS_getrusage, RUSAGE_SELF, at + 200) == 0 && memcmp(at + 200, "UUUUUUUU", 8) != 0 ? 4 : 0;
    result += CALL(SYS_sysinfo, at + 400) == 0 && memcmp(at + 400, "UUUUUUUU", 8) != 0 ? 8 : 0;
    result += CALL(SYS_times, at + 600) != -1 && memcmp(at + 600, "UUUUUUUU", 8) != 0 ? 16 : 0;
    result += CALL(SYS_getrandom, at + 700, 64L, 0) == 64 && memcmp(at + 700, "UUUUUUUU", 8) != 0 ? 32 : 0;
    memset(at, 0, ROOM);
    return result;
}

static long about_the_process(char *at)
{
    struct rlimit limit = {0, 0};
    long result;

    memset(at, 0, ROOM);
    result = CALL(SYS_uname, at);
    result += CALL(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, at + 400);
    memcpy(&limit, at + 400, sizeof limit);
    CHECK(limit.rlim_max >= limit.rlim_cur);
    result += CALL(SYS_sched_getaffinity, 0, 128L, at + 500) > 0;
    result += CALL(SYS_getgroups, 0, at + 700) >= 0;
    result += CALL(SYS_getresuid, at + 800, at + 804, at + 808);
    result += CALL(SYS_prctl, 16 /* PR_GET_NAME */, at + 900);
    return result;
}

static long queues(char *at)
{
    int queue = msgget(IPC_PRIVATE, 0600);
    int semaphores = semget(IPC_PRIVATE, 1, 0600);
    struct sembuf *operation = (struct sembuf *)(void *)(at + 300);
    long result = 0;

    if (queue < 0 || semaphores < 0)
        return 0;
    *(long *)(void *)at = 1;
    memset(at + 8, 'q', 100);
    result += CALL(SYS_msgsnd, queue, at, 100L, 0);
    result += CALL(SYS_msgrcv, queue, at + 150, 100L, 0L, 0);
    *operation = (struct sembuf){0, 1, 0};
    result += CALL(SYS_semop, semaphores, operation, 1L);
    CHECK(msgctl(queue, IPC_RMID, NULL) == 0 && semctl(semaphores, 0, IPC_RMID) == 0);
    return result;
}

static long words_to_wait_on(char *at)
{
    uint32_t *word = (uint32_t *)(void *)at;
    struct {
        uint64_t value;
        uint64_t address;
        uint32_t flags;
        uint32_t reserved;
    } *wait = (void *)(at + 64);
    struct timespec *span = (struct timespec *)(void *)(at + 128);
    long result;

    *word = 1;
    *span = (struct timespec){0, 1000};
    result = CALL(SYS_futex, word, FUTEX_WAIT, 1, span) == -1 ? errno : 0;
    result = result * 1000 + (CALL(SYS_futex, word, FUTEX_WAIT, 2, span) == -1 ? errno : 0);
    result = result * 1000 + CALL(SYS_futex, word, FUTEX_WAKE_OP, 1, 1L, word, FUTEX_OP(FUTEX_OP_ADD, 1, FUTEX_OP_CMP_EQ, 1));
    CHECK(*word == 2);
#ifdef SYS_futex_waitv
    wait->value = 1;
    wait->address = (uintptr_t)word;
    wait->flags = 2; /* FUTEX_32 */
    wait->reserved = 0;
    result = result * 1000 + (CALL(SYS_futex_waitv, wait, 1L, 0L, NULL, 0L) == -1 ? errno : 0);
#endif
    memset(at, 0, 160);
    return result;
}

static long mincore_of_ours(char *at)
{
    void *p = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    long result = CALL(SYS_mincore, p, 64 * PAGE, at);

    CHECK(munmap(p, 64 * PAGE) == 0);
    return result;
}

typedef long call_case(char *at);
static call_case *const cases[] = {
    paths,   names,    status_of_files, directory, attributes,        transfers,         offsets, other_memory, pairs,
    addresses, messages, waiting,       timers,    clocks_and_counts, about_the_process, queues,  words_to_wait_on, mincore_of_ours,
};

static void every_call_of_the_table(size_t bytes)
{
    static char plain[2 * PAGE] __attribute__((aligned(4096)));
    const size_t block_bytes = (size_t)256 << 10;
    char *block = aligned_alloc(PAGE, block_bytes);

    pushed_bytes = bytes / 2;
    CHECK(block != NULL && chdir("/usr/bin") == 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        /* Eight bytes before a page border, so that what lies there stands on both; and at the block's very end. */
        char *const places[] = {block + (i + 1) * PAGE - 8, block + block_bytes - ROOM};
        long expected;

        memset(plain, 0, sizeof plain);
        settle = do_nothing;
        expected = cases[i](plain + PAGE - 8);
        settle = push_out;
        for (size_t k = 0; k < 2; k++) {
            long result;

            memset(places[k], 0, ROOM);
            result = cases[i](places[k]);
            if (result != expected)
                fprintf(stderr, "case %zu, place %zu: %ld instead of %ld\n", i, k, result, expected);
            CHECK(result == expected);
            CHECK(memcmp(places[k], plain + PAGE - 8, ROOM) == 0);
        }
    }
    free(block);
}

const struct probe probes_table[] = {
    {"every_call_of_the_table", every_call_of_the_table},
    {NULL, NULL},
};
