/* probe_share.c - calls that are under way share the limit, and take no more of it than they need. */
#include "tests/preload/probe.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define SMALL ((size_t)256 << 10)

/* ---- calls of several threads at once ---- */

struct blocked_read {
    pthread_t thread;
    int pipe[2];
    char *buffer;
};

/* Half of the 64 pages that the test allows, and more than a pipe of 64 KiB gives at once. */
#define READ_BYTES ((size_t)128 << 10)

static void *read_all_of_it(void *arg)
{
    const struct blocked_read *job = arg;
    size_t done = 0;

    while (done < READ_BYTES) {
        ssize_t n = read(job->pipe[0], job->buffer + done, READ_BYTES - done);

        CHECK(n > 0);
        done += (size_t)n;
    }
    return arg;
}

static void blocked_reads_leave_room(size_t bytes)
{
    enum { N = 3 };
    char *source = filled(READ_BYTES, 7);
    struct blocked_read jobs[N];

    for (int i = 0; i < N; i++) {
        jobs[i].buffer = aligned_alloc(PAGE, SMALL);
        memset(jobs[i].buffer, i, SMALL);
        CHECK(pipe(jobs[i].pipe) == 0);
    }
    push_out(bytes);
    for (int i = 0; i < N; i++)
        CHECK(pthread_create(&jobs[i].thread, NULL, read_all_of_it, &jobs[i]) == 0);
    usleep(20000);
    push_out(bytes);
    for (int i = 0; i < N; i++) {
        CHECK(write(jobs[i].pipe[1], source, READ_BYTES / 2) == (ssize_t)READ_BYTES / 2);
        push_out(bytes);
        CHECK(write(jobs[i].pipe[1], source + READ_BYTES / 2, READ_BYTES / 2) == (ssize_t)READ_BYTES / 2);
        CHECK(pthread_join(jobs[i].thread, NULL) == 0);
        check(jobs[i].buffer, READ_BYTES, 7);
        CHECK(jobs[i].buffer[READ_BYTES] == i);
        close(jobs[i].pipe[0]);
        close(jobs[i].pipe[1]);
        free(jobs[i].buffer);
    }
}

/* The kernel writes one event; the buffer ends long before the number that is said. */
static void length_says_more_than_there_is(size_t bytes)
{
    struct epoll_event *events = malloc(SMALL);
    char *behind = filled(bytes, 3);
    struct epoll_event wanted = {.events = EPOLLIN, .data.u64 = 42};
    int queue = epoll_create1(0);
    int fd = eventfd(1, 0);
    volatile int said = 1000000;

    CHECK(epoll_ctl(queue, EPOLL_CTL_ADD, fd, &wanted) == 0);
    for (int i = 0; i < 3; i++) {
        push_out(bytes);
        CHECK(epoll_wait(queue, events, said, 0) == 1 && events[0].data.u64 == 42);
    }
    check(behind, bytes, 3);
    free(behind);
    free(events);
}

const struct probe probes_share[] = {
    {"blocked_reads_leave_room", blocked_reads_leave_room},
    {"length_says_more_than_there_is", length_says_more_than_there_is},
    {NULL, NULL},
};
