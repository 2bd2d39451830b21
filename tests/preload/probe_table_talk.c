/* probe_table_talk.c - calls by which programs talk and wait. See probe_table.c. */
#include "tests/preload/probe_table.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <mqueue.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>

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

/* One message with a name, a descriptor beside it, and two parts. */
static long descriptors_in_messages(char *at)
{
    struct msghdr *message = (struct msghdr *)(void *)at;
    struct iovec *vector = (struct iovec *)(void *)(at + 64);
    struct sockaddr_un *name = (struct sockaddr_un *)(void *)(at + 128);
    struct cmsghdr *control = (struct cmsghdr *)(void *)(at + 256);
    struct sockaddr_un own = {.sun_family = AF_UNIX};
    int from = socket(AF_UNIX, SOCK_DGRAM, 0);
    int to = socket(AF_UNIX, SOCK_DGRAM, 0);
    int carried;
    long result;

    snprintf(own.sun_path + 1, 21, "ghostmem-letter%05d", (int)(getpid() % 100000));
    CHECK(from >= 0 && to >= 0 && bind(to, (struct sockaddr *)&own, 23) == 0);
    memset(at, 0, ROOM);
    *name = own;
    memset(at + 300, 'n', 80);
    vector[0] = (struct iovec){at + 300, 30};
    vector[1] = (struct iovec){at + 330, 50};
    *control = (struct cmsghdr){CMSG_LEN(sizeof from), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(control), &from, sizeof from);
    *message = (struct msghdr){name, 23, vector, 2, control, CMSG_SPACE(sizeof from), 0};
    result = CALL(SYS_sendmsg, from, message, 0);
    memset(at + 128, 0, 152);
    vector[0] = (struct iovec){at + 400, 30};
    vector[1] = (struct iovec){at + 430, 50};
    *message = (struct msghdr){name, 100, vector, 2, control, CMSG_SPACE(sizeof from), 0};
    result = result * 1000 + CALL(SYS_recvmsg, to, message, 0);
    CHECK(control->cmsg_type == SCM_RIGHTS && message->msg_controllen == CMSG_SPACE(sizeof from));
    memcpy(&carried, CMSG_DATA(control), sizeof carried);
    result = result * 1000 + fcntl(carried, F_GETFD) * 10 + close(carried);
    memset(at, 0, 280);
    close(from);
    close(to);
    return result;
}

/* Structures that say where the rest is. */
static long requests_with_pointers(char *at)
{
    char *block = malloc((size_t)256 << 10); /* of its own, and not its first page: nothing else brings it in */
    char *elsewhere = block + 16 * PAGE;
    char *value = block + 32 * PAGE;
    struct ifconf *interfaces = (struct ifconf *)(void *)at;
    struct sock_fprog *program = (struct sock_fprog *)(void *)at;
    struct sock_filter *filter = (struct sock_filter *)(void *)elsewhere;
    uint32_t *map = (uint32_t *)(void *)at;
    uint64_t *element = (uint64_t *)(void *)at;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    long made;
    long result;

    CHECK(block != NULL && fd >= 0);
    memset(block, 0, (size_t)256 << 10);
    memset(at, 0, ROOM);
    interfaces->ifc_len = 10 * (int)sizeof(struct ifreq);
    interfaces->ifc_req = (struct ifreq *)(void *)elsewhere;
    result = error_or(CALL(SYS_ioctl, fd, SIOCGIFCONF, at));
    result = result * 1000 + interfaces->ifc_len;
    *filter = (struct sock_filter){BPF_RET | BPF_K, 0, 0, 0xffff};
    *program = (struct sock_fprog){1, filter};
    result = result * 100 + error_or(CALL(SYS_setsockopt, fd, SOL_SOCKET, SO_ATTACH_FILTER, at, (long)sizeof *program));
    *filter = (struct sock_filter){BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW};
    CHECK(CALL(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) == 0);
    result = result * 100 + error_or(CALL(SYS_prctl, PR_SET_SECCOMP, (long)SECCOMP_MODE_FILTER, at, 0L, 0L));
    result = result * 100 + error_or(CALL(SYS_seccomp, (long)SECCOMP_SET_MODE_FILTER, 0L, at));
    memset(at, 0, 144);
    map[0] = 2; /* BPF_MAP_TYPE_ARRAY */
    map[1] = 4; /* bytes of a key */
    map[2] = 8; /* of a value */
    map[3] = 1; /* values */
    made = error_or(CALL(SYS_bpf, 0L /* BPF_MAP_CREATE */, at, 64L));
    result = result * 100 + (made >= 0 ? 1 : made);
    memset(at, 0, 144);
    memset(elsewhere, 0, 4);
    element[0] = made >= 0 ? (uint64_t)made : 0;
    element[1] = (uintptr_t)elsewhere;
    element[2] = (uintptr_t)value;
    result = result * 100 + error_or(CALL(SYS_bpf, 1L /* BPF_MAP_LOOKUP_ELEM */, at, 64L));
    if (made >= 0)
        close((int)made);
    memset(at, 0, ROOM);
    close(fd);
    free(block);
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
    result = result * 10 + CALL(SYS_epoll_wait, epoll, at + 440, 10, 0);
    result = result * 10 + CALL(SYS_epoll_pwait2, epoll, at + 600, 10, span, NULL, 8L);
    fds[0].revents = 0;
    result = result * 10 + CALL(SYS_poll, fds, 2L, 0);
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
    *operation = (struct sembuf){0, -1, 0};
    *(struct timespec *)(void *)(at + 320) = (struct timespec){5, 0};
    result = result * 10 + CALL(SYS_semtimedop, semaphores, operation, 1L, at + 320);
    result = result * 10 + semctl(semaphores, 0, GETVAL);
    CHECK(msgctl(queue, IPC_RMID, NULL) == 0 && semctl(semaphores, 0, IPC_RMID) == 0);
    return result;
}

static long posix_queues(char *at)
{
    struct mq_attr *attributes = (struct mq_attr *)(void *)at;
    struct timespec *until = (struct timespec *)(void *)(at + 128);
    char *name = at + 64;
    long queue;
    long result;

    memset(at, 0, ROOM);
    attributes->mq_maxmsg = 4;
    attributes->mq_msgsize = 300;
    *until = (struct timespec){1, 0}; /* long past: it must not come to waiting */
    snprintf(name, 30, "ghostmem-probe-%d", (int)getpid());
    queue = CALL(SYS_mq_open, name, O_RDWR | O_CREAT | O_EXCL, 0600, attributes);
    if (queue < 0) {
        memset(at, 0, 160);
        return -errno;
    }
    memset(at + 160, 'p', 300);
    result = CALL(SYS_mq_timedsend, queue, at + 160, 300L, 3L, until);
    result = result * 1000 + CALL(SYS_mq_timedreceive, queue, at + 500, 300L, at + 480, until);
    result = result * 1000 + CALL(SYS_mq_getsetattr, queue, NULL, attributes);
    result = result * 10 + CALL(SYS_mq_unlink, name);
    memset(at, 0, 160);
    close((int)queue);
    return result;
}

call_case *const cases_of_talk[] = {
    pairs,
    addresses,
    messages,
    descriptors_in_messages,
    waiting,
    timers,
    queues,
    posix_queues,
    requests_with_pointers,
    NULL,
};
