/*
 * guard_rings.c - io_uring and AIO that the program made before paging started. See guard.h.
 *
 * Once paging has started neither can be made. One that was made before goes on: the kernel takes requests from it and reads and writes
 * their buffers when it likes. What AIO works on is there while it is submitted: it is copied by then, or pinned. What a ring's entries
 * name is held for good, from the time on that it stands in the queue of entries, which is mapped where everybody can read it.
 *
 * Buffers that no entry names cannot be known: those of rings that a thread of the kernel looks at (SQPOLL), with which paging does not
 * start; and those that the program has provided before paging started, of which a line is said.
 */
#include "interpose/guard.h"

#include "core/log.h"
#include "platform/abi.h"
#include "platform/file.h"
#include "platform/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* ---- AIO ---- */

/* Source: io_submit(2). */
void guard_hold_aio(struct hold *hold, uintptr_t at, size_t n)
{
    uintptr_t one;
    struct iocb request;

    for (size_t i = 0; i < n; i++) {
        guard_hold_range(hold, at + i * sizeof one, sizeof one);
        if (guard_copy(&one, (const void *)(at + i * sizeof one), sizeof one) != 0)
            return;
        guard_hold_range(hold, one, sizeof request);
        if (guard_copy(&request, (const void *)one, sizeof request) != 0)
            return;
        if (request.aio_lio_opcode == IOCB_CMD_PREADV || request.aio_lio_opcode == IOCB_CMD_PWRITEV)
            guard_hold_vector(hold, request.aio_buf, request.aio_nbytes);
        else
            guard_hold_range(hold, request.aio_buf, request.aio_nbytes);
    }
}

/* ---- what an entry of a ring names ---- */

/* The queue of entries of one ring, and what of it has been held. */
struct ring {
    uintptr_t entries;
    size_t n;
    struct io_uring_sqe *held;
};

/* Set when paging starts, constant afterwards. */
static struct ring *rings;
static size_t n_rings;

/* How to read the program's memory, and to hold it for good: when paging starts, no fault may come; later it must be served. */
struct way {
    int (*copy)(void *to, const void *from, size_t bytes);
    void (*hold)(uintptr_t start, size_t bytes);
};

static int copy_what_is_there(void *to, const void *from, size_t bytes)
{
    return os_mem_peek(to, from, bytes);
}

static const struct way at_start = {copy_what_is_there, guard_hold_at_start};
static const struct way in_call = {guard_copy, guard_hold_for_good};

#define IOVEC_MAX 1024 /* Source: readv(2), IOV_MAX */
#define UNSAID_BYTES 4096 /* a path, an address, a structure: the longest of an entry that does not say its length */

static void hold_vector(const struct way *way, uintptr_t at, size_t n)
{
    struct iovec item;

    way->hold(at, n <= IOVEC_MAX ? n * sizeof item : 0);
    for (size_t i = 0; i < n && i < IOVEC_MAX && way->copy(&item, (const void *)(at + i * sizeof item), sizeof item) == 0; i++)
        way->hold((uintptr_t)item.iov_base, item.iov_len);
}

static void hold_message(const struct way *way, uintptr_t at)
{
    struct msghdr message;

    way->hold(at, sizeof message);
    if (way->copy(&message, (const void *)at, sizeof message) != 0)
        return;
    way->hold((uintptr_t)message.msg_name, message.msg_namelen);
    way->hold((uintptr_t)message.msg_control, message.msg_controllen);
    hold_vector(way, (uintptr_t)message.msg_iov, message.msg_iovlen);
}

/* Its structure, which the entry leads to, may have changed while the entry has not. */
static bool leads_further(const struct io_uring_sqe *entry)
{
    switch (entry->opcode) {
    case IORING_OP_READV:
    case IORING_OP_WRITEV:
    case IORING_OP_SENDMSG:
    case IORING_OP_RECVMSG:
    case IORING_OP_SENDMSG_ZC:
        return true;
    default:
        return false;
    }
}

/* Source: io_uring_enter(2). */
static void hold_entry(const struct way *way, const struct io_uring_sqe *entry)
{
    switch (entry->opcode) {
    case IORING_OP_NOP:
    case IORING_OP_MADVISE:
        break;
    case IORING_OP_READV:
    case IORING_OP_WRITEV:
        hold_vector(way, entry->addr, entry->len);
        break;
    case IORING_OP_SENDMSG:
    case IORING_OP_RECVMSG:
    case IORING_OP_SENDMSG_ZC:
        hold_message(way, entry->addr);
        break;
    case IORING_OP_READ:
    case IORING_OP_WRITE:
    case IORING_OP_SEND:
    case IORING_OP_RECV:
        way->hold(entry->addr, entry->len);
        break;
    case IORING_OP_PROVIDE_BUFFERS:
        way->hold(entry->addr, (size_t)entry->len * (uint32_t)entry->fd);
        break;
    default: /* also of operations to come */
        way->hold(entry->addr, max_size(entry->len, UNSAID_BYTES));
        way->hold(entry->addr2, UNSAID_BYTES);
        break;
    }
}

static void note_provided(const struct io_uring_sqe *entry)
{
    static _Atomic bool said;

    if ((entry->flags & IOSQE_BUFFER_SELECT) != 0 && !atomic_exchange(&said, true))
        log_line(LOG_ERROR, "io_uring: buffers that were provided before paging started are not known: a request that uses one may end "
                            "with EFAULT; a ring that is used so wants GHOSTMEM_DISABLE=1");
}

static void hold_entries(const struct way *way, const struct ring *ring)
{
    struct io_uring_sqe entry;

    for (size_t i = 0; i < ring->n; i++) {
        if (way->copy(&entry, (const void *)(ring->entries + i * sizeof entry), sizeof entry) != 0)
            return; /* unmapped meanwhile */
        if (memcmp(&entry, &ring->held[i], sizeof entry) == 0 && !leads_further(&entry))
            continue;
        hold_entry(way, &entry);
        note_provided(&entry);
        ring->held[i] = entry; /* not before: another thread may be looking */
    }
}

/* ---- calls ---- */

void guard_hold_ring_call(struct hold *hold, const unsigned long *args)
{
    struct io_uring_getevents_arg wanted;

    for (size_t i = 0; i < n_rings && args[1] != 0; i++)
        hold_entries(&in_call, &rings[i]);
    if ((args[3] & IORING_ENTER_EXT_ARG) == 0) {
        guard_hold_range(hold, args[4], sizeof(os_sigset));
        return;
    }
    guard_hold_range(hold, args[4], sizeof wanted);
    if (guard_copy(&wanted, (const void *)args[4], sizeof wanted) != 0)
        return;
    guard_hold_range(hold, wanted.sigmask, sizeof(os_sigset));
    guard_hold_range(hold, wanted.ts, 16);
}

/* Source: io_uring_register(2). Registered buffers are pinned by the kernel. */
void guard_hold_registration(struct hold *hold, const unsigned long *args)
{
    if (args[1] == IORING_REGISTER_BUFFERS)
        guard_hold_vector(hold, args[2], args[3]);
    guard_hold_room(hold, args[2], max_size((args[3] & UINT32_MAX) * 16, UNSAID_BYTES));
    guard_hold_pointers(hold, args[2], 64);
}

/* ---- paging starts ---- */

static bool note_ring(void *arg, const struct os_mapping *mapping)
{
    struct ring ring = {.entries = mapping->start, .n = (mapping->end - mapping->start) / sizeof(struct io_uring_sqe)};
    void *memory;

    (void)arg;
    if (strstr(mapping->name, "[io_uring]") == NULL || mapping->offset != IORING_OFF_SQES)
        return true;
    /* One more ring: all of them are few, and this happens once. */
    if (os_mem_map(round_up(ring.n * sizeof *ring.held, PAGE_BYTES) , &memory) != 0)
        return true;
    ring.held = memory;
    if (os_mem_map(round_up((n_rings + 1) * sizeof ring, PAGE_BYTES), &memory) != 0)
        return true;
    if (n_rings > 0)
        memcpy(memory, rings, n_rings * sizeof ring);
    rings = memory;
    rings[n_rings++] = ring;
    return true;
}

bool guard_look_for_rings(void)
{
    bool read = guard_visit_maps(note_ring, NULL) == 0;

    for (size_t i = 0; i < n_rings; i++)
        hold_entries(&at_start, &rings[i]);
    if (n_rings > 0)
        log_line(LOG_CHOICE, "io_uring: %z rings were made before paging started; what their entries name stays in RAM for good", n_rings);
    return read;
}

/* Source: io_uring/fdinfo.c: the thread's id, or -1. */
static void look_for_thread(void *arg, const char *name)
{
    bool *found = arg;
    char path[64] = "/proc/self/fdinfo/";
    char text[1024];
    const char *at;

    if (name[0] == '.')
        return;
    strncat(path, name, sizeof path - sizeof "/proc/self/fdinfo/");
    if (os_file_read(path, text, sizeof text) <= 0 || (at = strstr(text, "SqThread:")) == NULL)
        return;
    *found = *found || (long)os_number(at + sizeof "SqThread:" - 1, NULL, 10) > 0;
}

bool guard_is_polled(void)
{
    bool found = false;

    (void)os_directory_visit("/proc/self/fd", look_for_thread, &found);
    if (found)
        log_line(LOG_ERROR, "io_uring: a thread of the kernel reads a ring of the program's at any time (SQPOLL), and its buffers must not "
                            "leave RAM: paging does not start, and there is no limit");
    return found;
}
