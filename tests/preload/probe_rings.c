/*
 * probe_rings.c - io_uring and AIO that a program makes when it starts, and uses when its memory no longer fits. Below
 * a limit of 3 MiB paging starts before main(), for what probe_alloc.c allocates: then there is neither.
 */
#include "tests/preload/probe.h"

#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define ENTRIES 8
#define PART ((size_t)64 << 10)

struct ring {
    int fd;
    struct io_uring_params params;
    char *queue;
    char *results;
    struct io_uring_sqe *entries;
};

static void *map(int fd, size_t bytes, off_t what)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, what);

    CHECK(p != MAP_FAILED);
    return p;
}

static _Atomic unsigned *word(char *base, unsigned offset)
{
    return (_Atomic unsigned *)(void *)(base + offset);
}

/* False: there is no io_uring here. */
static int ring_make(struct ring *ring)
{
    memset(ring, 0, sizeof *ring);
    ring->fd = (int)syscall(SYS_io_uring_setup, ENTRIES, &ring->params);
    if (ring->fd < 0)
        return 0;
    ring->queue = map(ring->fd, ring->params.sq_off.array + ring->params.sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
    ring->results = map(ring->fd, ring->params.cq_off.cqes + ring->params.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
    ring->entries = map(ring->fd, ring->params.sq_entries * sizeof(struct io_uring_sqe), (off_t)IORING_OFF_SQES);
    return 1;
}

/* What the request came to. */
static int ring_do(struct ring *ring, const struct io_uring_sqe *wish)
{
    unsigned mask = *word(ring->queue, ring->params.sq_off.ring_mask);
    unsigned tail = *word(ring->queue, ring->params.sq_off.tail);
    unsigned head = *word(ring->results, ring->params.cq_off.head);
    const struct io_uring_cqe *result;
    int answer;

    ring->entries[tail & mask] = *wish;
    *word(ring->queue, ring->params.sq_off.array + (unsigned)sizeof(unsigned) * (tail & mask)) = tail & mask;
    *word(ring->queue, ring->params.sq_off.tail) = tail + 1;
    CHECK(syscall(SYS_io_uring_enter, ring->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0L) == 1);
    CHECK(*word(ring->results, ring->params.cq_off.tail) == head + 1);
    result = (const struct io_uring_cqe *)(void *)(ring->results + ring->params.cq_off.cqes) +
             (head & *word(ring->results, ring->params.cq_off.ring_mask));
    answer = result->res;
    *word(ring->results, ring->params.cq_off.head) = head + 1;
    return answer;
}

static void ring_of_before_paging(size_t bytes)
{
    size_t used = 4 * PART;
    int fd = scratch_file(0);
    struct iovec *vector;
    struct ring ring;
    char *block;

    if (!ring_make(&ring)) /* before there is any memory to page */
        return;
    block = malloc(used);
    vector = malloc((size_t)256 << 10);
    CHECK(block != NULL && vector != NULL);
    fill(block, used, 3);
    CHECK(write(fd, block, used) == (ssize_t)used);
    memset(block, 0, used);
    push_out(bytes);
    for (size_t at = 0; at < used; at += PART) {
        struct io_uring_sqe wish = {.fd = fd, .off = at};

        if (at / PART % 2 == 0) {
            wish.opcode = IORING_OP_READ;
            wish.addr = (uintptr_t)(block + at);
            wish.len = PART;
        } else { /* by way of a vector that is elsewhere each time */
            vector[at / PART * 1024] = (struct iovec){block + at, PART};
            push_out(bytes);
            wish.opcode = IORING_OP_READV;
            wish.addr = (uintptr_t)&vector[at / PART * 1024];
            wish.len = 1;
        }
        CHECK(ring_do(&ring, &wish) == (int)PART);
    }
    check(block, used, 3);
    push_out(bytes);
    check(block, used, 3);
    close(ring.fd);
    close(fd);
    free(block);
    free(vector);
}

static void aio_of_before_paging(size_t bytes)
{
    aio_context_t context = 0;
    int fd = scratch_file(0);
    struct iocb *request;
    struct iocb **list;
    struct io_event *event;
    char *block;
    char *queue;

    if (syscall(SYS_io_setup, 4, &context) != 0)
        return;
    block = malloc(2 * PART);
    queue = malloc((size_t)256 << 10);
    CHECK(block != NULL && queue != NULL);
    request = (struct iocb *)(void *)(queue + 8 * PAGE);
    list = (struct iocb **)(void *)(queue + 16 * PAGE);
    event = (struct io_event *)(void *)(queue + 24 * PAGE);
    fill(block, 2 * PART, 4);
    CHECK(write(fd, block, 2 * PART) == (ssize_t)(2 * PART));
    memset(block, 0, 2 * PART);
    *request = (struct iocb){.aio_lio_opcode = IOCB_CMD_PREAD, .aio_fildes = (uint32_t)fd, .aio_buf = (uintptr_t)block,
                             .aio_nbytes = 2 * PART};
    *list = request;
    event->res = 0;
    push_out(bytes);
    CHECK(syscall(SYS_io_submit, context, 1L, list) == 1);
    CHECK(syscall(SYS_io_getevents, context, 1L, 1L, event, NULL) == 1);
    CHECK(event->res == (int64_t)(2 * PART));
    check(block, 2 * PART, 4);
    CHECK(syscall(SYS_io_destroy, context) == 0);
    close(fd);
    free(block);
    free(queue);
}

const struct probe probes_rings[] = {
    {"ring_of_before_paging", ring_of_before_paging},
    {"aio_of_before_paging", aio_of_before_paging},
    {NULL, NULL},
};
