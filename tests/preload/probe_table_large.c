/* probe_table_large.c - calls whose buffers and vectors reach further than a page and the one after it. See probe_table.c. */
#include "tests/preload/probe_table.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <poll.h>
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
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#define LARGE ((size_t)12000) /* bytes: more than two pages, wherever they start */

static char small[64]; /* where many parts of one vector lead to */

/* As many as that, or as the hard limit lets be. */
static long descriptors_up_to(long wanted)
{
    struct rlimit limit;

    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    return (rlim_t)wanted < limit.rlim_max ? wanted : (long)limit.rlim_max;
}

static long random_bytes(char *at)
{
    long result = CALL(SYS_getrandom, at, LARGE, 0);
    size_t n_zero = 0;

    for (size_t i = 0; i < LARGE; i++)
        n_zero += at[i] == 0;
    CHECK(n_zero < LARGE / 16);
    memset(at, 0, LARGE_ROOM);
    return result;
}

static long long_transfers(char *at)
{
    char path[] = "/var/tmp/ghostmem-probe-XXXXXX";
    int fd = mkstemp(path);
    int pair[2];
    long result;

    CHECK(fd >= 0 && unlink(path) == 0 && socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
    memset(at, 'w', LARGE);
    result = error_or(CALL(SYS_write, fd, at, LARGE)) / 1000;
    result = result * 100 + error_or(CALL(SYS_pwrite64, fd, at, LARGE, 5L)) / 1000;
    result = result * 100 + error_or(CALL(SYS_sendto, pair[0], at, LARGE, MSG_DONTWAIT, NULL, 0L)) / 1000;
    memset(at, 0, LARGE);
    result = result * 100 + error_or(CALL(SYS_pread64, fd, at, LARGE, 0L)) / 1000;
    CHECK(at[0] == 'w' && memcmp(at, at + 1, LARGE - 1) == 0);
    memset(at, 0, LARGE);
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    result = result * 100 + error_or(CALL(SYS_read, fd, at, LARGE)) / 1000;
    CHECK(at[0] == 'w' && memcmp(at, at + 1, LARGE - 1) == 0);
    memset(at, 0, LARGE);
    result = result * 100 + error_or(CALL(SYS_recvfrom, pair[1], at, LARGE, MSG_DONTWAIT, NULL, NULL)) / 1000;
    close(fd);
    close(pair[0]);
    close(pair[1]);
    return result;
}

static long long_lists(char *at)
{
    static const long calls[] = {SYS_getdents64, SYS_getdents};
    long fd = open("/usr/bin", O_RDONLY | O_DIRECTORY);
    long result = 0;

    CHECK(fd >= 0);
    for (size_t i = 0; i < 2; i++) {
        CHECK(lseek((int)fd, 0, SEEK_SET) == 0);
        result = result * 100000 + error_or(CALL(calls[i], fd, at, LARGE));
    }
    close((int)fd);
    return result;
}

/* The value is read before anybody asks whether the file system takes so long a one. */
static long long_attributes(char *at)
{
    char path[] = "/var/tmp/ghostmem-probe-XXXXXX";
    int fd = mkstemp(path);
    long result;

    CHECK(fd >= 0);
    memset(at, 'a', LARGE);
    result = error_or(CALL(SYS_setxattr, path, "user.ghost", at, LARGE, 0));
    result = result * 1000 + error_or(CALL(SYS_lsetxattr, path, "user.ghost", at, LARGE, 0));
    result = result * 1000 + error_or(CALL(SYS_fsetxattr, fd, "user.ghost", at, LARGE, 0));
    unlink(path);
    close(fd);
    return result;
}

/* Where they may be that long: root's, on a tmpfs. */
static long long_attributes_in_memory(char *at)
{
    char path[] = "/dev/shm/ghostmem-probe-XXXXXX";
    char name[120];
    int fd = mkstemp(path);
    long result;

    if (fd < 0)
        return -errno;
    memset(at, 'a', LARGE);
    result = fsetxattr(fd, "trusted.ghost", at, LARGE, 0) == 0;
    memset(at, 0, LARGE);
    result = result * 100 + error_or(CALL(SYS_getxattr, path, "trusted.ghost", at, LARGE)) / 1000;
    memset(at, 0, LARGE);
    result = result * 100 + error_or(CALL(SYS_lgetxattr, path, "trusted.ghost", at, LARGE)) / 1000;
    memset(at, 0, LARGE);
    result = result * 100 + error_or(CALL(SYS_fgetxattr, fd, "trusted.ghost", at, LARGE)) / 1000;
    for (int i = 0; i < 100 && result > 0; i++) {
        snprintf(name, sizeof name, "trusted.%0100d", i);
        CHECK(fsetxattr(fd, name, "v", 1, 0) == 0);
    }
    result = result * 100 + error_or(CALL(SYS_listxattr, path, at, LARGE)) / 1000;
    memset(at, 0, LARGE);
    result = result * 100 + error_or(CALL(SYS_llistxattr, path, at, LARGE)) / 1000;
    memset(at, 0, LARGE);
    result = result * 100 + error_or(CALL(SYS_flistxattr, fd, at, LARGE)) / 1000;
    unlink(path);
    close(fd);
    return result;
}

static long many_descriptors(char *at)
{
    struct pollfd *fds = (struct pollfd *)(void *)at;
    long n = descriptors_up_to(1500);
    struct timespec span = {0, 0};
    long result = 0;

    for (size_t i = 0; i < 2; i++) {
        for (long k = 0; k < n; k++)
            fds[k] = (struct pollfd){.fd = -1, .events = POLLIN, .revents = 77};
        result = result * 10 + (i == 0 ? CALL(SYS_poll, fds, n, 0) : CALL(SYS_ppoll, fds, n, &span, NULL, 8L));
    }
    return result;
}

static long many_events(char *at)
{
    static const long calls[] = {SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_pwait2};
    long n = descriptors_up_to(1000) - 50;
    int epoll = epoll_create1(0);
    int ends[2];
    int last = -1;
    long result = 0;

    CHECK(epoll >= 0 && pipe(ends) == 0 && write(ends[1], "x", 1) == 1);
    for (long i = 0; i < n; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)i};

        last = dup(ends[0]);
        CHECK(last >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, last, &event) == 0);
    }
    for (size_t i = 0; i < 3; i++) {
        memset(at, 0x55, LARGE);
        result = result * 10000 + error_or(CALL(calls[i], epoll, at, n, 0, NULL, 8L));
        for (long k = 0; k < n; k++)
            CHECK(at[k * 12] == 1 && at[k * 12 + 1] == 0); /* EPOLLIN */
    }
    memset(at, 0, LARGE_ROOM); /* in what order they come is the kernel's affair */
    close(epoll);
    for (int fd = ends[0]; fd <= last; fd++)
        close(fd);
    return result;
}

static long long_letters(char *at)
{
    int queue = msgget(IPC_PRIVATE, 0600);
    struct mq_attr attributes = {.mq_maxmsg = 2, .mq_msgsize = 8192};
    struct timespec past = {1, 0};
    char name[40];
    long posix;
    long result = 0;

    if (queue >= 0) {
        *(long *)(void *)at = 1;
        memset(at + 8, 'q', 8192);
        result = error_or(CALL(SYS_msgsnd, queue, at, 8192L, 0));
        memset(at, 0, LARGE);
        result = result * 10000 + error_or(CALL(SYS_msgrcv, queue, at, 8192L, 0L, IPC_NOWAIT));
        CHECK(msgctl(queue, IPC_RMID, NULL) == 0);
    }
    snprintf(name, sizeof name, "ghostmem-large-%d", (int)getpid());
    posix = syscall(SYS_mq_open, name, O_RDWR | O_CREAT | O_EXCL, 0600, &attributes);
    if (posix < 0)
        return result;
    memset(at, 'p', 8192);
    result = result * 10000 + error_or(CALL(SYS_mq_timedsend, posix, at, 8192L, 3L, &past));
    memset(at, 0, 8192);
    result = result * 10000 + error_or(CALL(SYS_mq_timedreceive, posix, at, 8192L, NULL, &past));
    CHECK(syscall(SYS_mq_unlink, name) == 0);
    close((int)posix);
    return result;
}

/*
 * All processes of a user share one quota of keys (20,000 bytes), which other probes may be using: a key that is over it is tried
 * again, and a revoked one no longer counts.
 */
static long long_keys(char *at)
{
    long key;
    long result;

    memset(at, 'k', LARGE);
    key = CALL(SYS_add_key, "user", "ghostmem", at, LARGE, -1L /* KEY_SPEC_THREAD_KEYRING */);
    for (int tries = 0; key < 0 && errno == EDQUOT && tries < 2000; tries++) {
        usleep(10000);
        key = CALL(SYS_add_key, "user", "ghostmem", at, LARGE, -1L);
    }
    if (key < 0)
        return -errno;
    memset(at, 0, LARGE);
    result = error_or(CALL(SYS_keyctl, 11L /* KEYCTL_READ */, key, at, LARGE));
    CHECK(syscall(SYS_keyctl, 3L /* KEYCTL_REVOKE */, key) == 0);
    return result;
}

/* A vector that is itself long, of parts that are short. */
static long long_vectors(char *at)
{
    static const long calls[] = {SYS_writev, SYS_pwritev, SYS_pwritev2, SYS_readv, SYS_preadv, SYS_preadv2};
    char path[] = "/var/tmp/ghostmem-probe-XXXXXX";
    int fd = mkstemp(path);
    struct iovec *vector = (struct iovec *)(void *)at;
    const long n = 700;
    int ends[2];
    long result = 0;

    CHECK(fd >= 0 && unlink(path) == 0 && pipe(ends) == 0);
    for (long i = 0; i < n; i++)
        vector[i] = (struct iovec){small, 2};
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        CHECK(lseek(fd, 0, SEEK_SET) == 0);
        result = result * 10 + error_or(CALL(calls[i], fd, vector, n, 0L, 0L, 0)) / 100;
    }
    CHECK(fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0);
    result = result * 10 + (CALL(SYS_vmsplice, ends[1], vector, n, 0) > 0);
    memset(at, 0, LARGE_ROOM);
    close(fd);
    close(ends[0]);
    close(ends[1]);
    return result;
}

static long long_vectors_of_memory(char *at)
{
    struct iovec *vector = (struct iovec *)(void *)at;
    struct iovec other = {small, sizeof small};
    long pid = getpid();
    long self = syscall(SYS_pidfd_open, pid, 0);
    char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    const long n = 700;
    long result;

    CHECK(p != MAP_FAILED);
    for (long i = 0; i < n; i++)
        vector[i] = (struct iovec){p, 1};
    result = error_or(CALL(SYS_process_vm_readv, pid, &other, 1L, vector, n, 0L));
    result = result * 1000 + error_or(CALL(SYS_process_vm_readv, pid, vector, n, &other, 1L, 0L));
    result = result * 1000 + error_or(CALL(SYS_process_vm_writev, pid, &other, 1L, vector, n, 0L));
    result = result * 1000 + error_or(CALL(SYS_process_vm_writev, pid, vector, n, &other, 1L, 0L));
    for (long i = 0; i < n; i++)
        vector[i] = (struct iovec){p, PAGE};
    result = result * 100 + error_or(CALL(SYS_process_madvise, self, vector, n, MADV_COLD, 0)) / (n * (long)PAGE);
    memset(at, 0, LARGE_ROOM);
    if (self >= 0)
        close((int)self);
    CHECK(munmap(p, PAGE) == 0);
    return result;
}

static long many_messages(char *at)
{
    struct mmsghdr *all = (struct mmsghdr *)(void *)at;
    struct iovec part = {small, 1};
    const unsigned n = 180;
    int pair[2];
    long result;

    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
    for (unsigned i = 0; i < n; i++)
        all[i].msg_hdr = (struct msghdr){.msg_iov = &part, .msg_iovlen = 1};
    result = error_or(CALL(SYS_sendmmsg, pair[0], all, n, MSG_DONTWAIT));
    for (unsigned i = 0; i < n; i++)
        all[i].msg_len = 99;
    result = result * 1000 + error_or(CALL(SYS_recvmmsg, pair[1], all, n, MSG_DONTWAIT, NULL));
    for (unsigned i = 0; i < n; i++)
        all[i].msg_hdr = (struct msghdr){0};
    close(pair[0]);
    close(pair[1]);
    return result;
}

static long many_pages(char *at)
{
    const size_t n = LARGE; /* pages */
    char *p = mmap(NULL, n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    static void *own[3000];
    static int numbers[3000];
    long result;

    CHECK(p != MAP_FAILED);
    p[0] = 1;
    memset(at, 0x55, LARGE);
    result = error_or(CALL(SYS_mincore, p, n * PAGE, at));
    memset(at, 0x55, LARGE);
    for (size_t i = 0; i < 1000; i++)
        memcpy(at + i * sizeof p, &p, sizeof p);
    result = result * 100 + error_or(CALL(SYS_move_pages, 0, 1000L, at, NULL, numbers, 0));
    for (size_t i = 0; i < 3000; i++)
        own[i] = p;
    memset(at, 0, LARGE); /* the nodes: all 0 */
    result = result * 100 + error_or(CALL(SYS_move_pages, 0, 3000L, own, at, numbers, 0));
    memset(at, 0x55, LARGE);
    result = result * 100 + error_or(CALL(SYS_move_pages, 0, 3000L, own, NULL, at, 0));
    CHECK(munmap(p, n * PAGE) == 0);
    return result;
}

/* Pages that were locked once stay in the kernel's hands for a while: each call has a block of its own. */
static long locked(char *at)
{
    static const long calls[] = {SYS_mlock, SYS_mlock2};

    (void)at;
    for (size_t i = 0; i < 2; i++) {
        char *block = malloc((size_t)256 << 10);

        CHECK(block != NULL);
        memset(block, 'l', (size_t)256 << 10);
        CHECK(CALL(calls[i], block + PAGE - 8, LARGE, 0) == 0);
        CHECK(CALL(SYS_munlock, block + PAGE - 8, LARGE) == 0);
        for (size_t k = 0; k < (size_t)256 << 10; k++)
            CHECK(block[k] == 'l');
        free(block);
    }
    return 0;
}

static long many_groups(char *at)
{
    static gid_t before[65536];
    gid_t *groups = (gid_t *)(void *)at;
    int n = getgroups(65536, before);
    socklen_t bytes = LARGE;
    int pair[2];
    long result;

    CHECK(n >= 0);
    for (unsigned i = 0; i < 3000; i++)
        groups[i] = i + 1;
    result = error_or(CALL(SYS_setgroups, 3000L, groups));
    memset(at, 0, LARGE);
    result = result * 10000 + error_or(CALL(SYS_getgroups, 3000L, groups));
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    result = result * 10 + error_or(CALL(SYS_getsockopt, pair[0], SOL_SOCKET, 59 /* SO_PEERGROUPS */, at, &bytes));
    close(pair[0]);
    close(pair[1]);
    if (bytes == LARGE)
        CHECK(setgroups((size_t)n, before) == 0);
    return result;
}

static long long_log(char *at)
{
    long result = CALL(SYS_syslog, 3L, at, LARGE);

    memset(at, 0, LARGE_ROOM);
    return result >= 0 ? 1 : -errno;
}

/* All of it is read before anybody finds that it is too much. */
static long long_options(char *at)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    long result;

    CHECK(fd >= 0);
    memset(at, 0, LARGE);
    ((uint32_t *)(void *)at)[3] = 2900; /* imsf_numsrc */
    result = error_or(CALL(SYS_setsockopt, fd, IPPROTO_IP, 41 /* IP_MSFILTER */, at, LARGE));
    close(fd);
    return result;
}

/* Where a file with many holes lies. */
static long extents(char *at)
{
    struct fiemap *map = (struct fiemap *)(void *)at;
    char path[] = "/var/tmp/ghostmem-probe-XXXXXX";
    int fd = mkstemp(path);
    long result;

    CHECK(fd >= 0 && unlink(path) == 0);
    for (long i = 0; i < 200; i++)
        CHECK(pwrite(fd, "x", 1, i * 2 * (long)PAGE) == 1);
    *map = (struct fiemap){.fm_length = ~0UL, .fm_flags = FIEMAP_FLAG_SYNC, .fm_extent_count = 200};
    result = error_or(CALL(SYS_ioctl, fd, FS_IOC_FIEMAP, at));
    if (result == 0)
        result = map->fm_mapped_extents;
    memset(at, 0, LARGE_ROOM); /* elsewhere each time */
    close(fd);
    return result;
}

static long many_semaphores(char *at)
{
    unsigned short *values = (unsigned short *)(void *)at;
    const long n = LARGE / 2;
    long id = semget(IPC_PRIVATE, (int)n, 0600);
    long result;

    if (id < 0)
        return 0; /* the system allows fewer, or none */
    for (long i = 0; i < n; i++)
        values[i] = (unsigned short)(i % 1000);
    result = error_or(CALL(SYS_semctl, id, 0L, (long)SETALL, at));
    memset(at, 0, LARGE);
    result = result * 1000 + error_or(CALL(SYS_semctl, id, 0L, (long)GETALL, at));
    CHECK(semctl((int)id, 0, IPC_RMID) == 0);
    return result;
}

call_case *const cases_of_large_buffers[] = {
    random_bytes,
    long_transfers,
    long_lists,
    long_attributes,
    long_attributes_in_memory,
    many_descriptors,
    many_events,
    long_letters,
    long_keys,
    long_vectors,
    long_vectors_of_memory,
    many_messages,
    many_pages,
    locked,
    many_groups,
    long_options,
    long_log,
    extents,
    many_semaphores,
    NULL,
};
