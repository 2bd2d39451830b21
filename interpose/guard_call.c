/*
 * guard_call.c - what each system call does with the program's memory. See guard.h.
 *
 * Of every call each argument that points into ghost memory has its page and the next one held. What reaches further, or is
 * reached through pointers in memory, stands in the table.
 */
#include "interpose/guard.h"

#include "platform/sys.h"

#include <errno.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/sched.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449 /* Source: arch/x86/entry/syscalls/syscall_64.tbl */
#endif
#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif
#ifndef SYS_seccomp
#define SYS_seccomp 317
#endif
#ifndef SYS_statmount
#define SYS_statmount 457
#endif
#ifndef SYS_listmount
#define SYS_listmount 458
#endif
#ifndef SYS_bpf
#define SYS_bpf 321
#endif

enum kind {
    NO_MORE,
    BYTES,  /* args[arg], as many bytes as args[by] says, and `size` more */
    ITEMS,  /* args[arg], args[by] items of `size` bytes */
    ROOM,   /* the same at the most: events that there may be */
    BITS,   /* args[arg], a byte for each page of args[by] bytes */
    SIZED,  /* args[arg], `size` bytes at the most */
    ANSWER, /* args[arg], as many bytes as the socklen_t at args[by] says */
    VECTOR, /* args[arg], args[by] struct iovec, and what they lead to */
    MESSAGE,  /* args[arg], a struct msghdr, and what it leads to */
    MESSAGES, /* args[arg], args[by] struct mmsghdr */
    STRINGS,  /* args[arg], pointers to strings, ended by NULL */
    WAITERS,  /* args[arg], args[by] struct futex_waitv, and the words that they lead to */
    EXTENTS,  /* args[arg], a struct fiemap, if args[by] is the request for it */
    POINTERS, /* args[arg], `size` bytes of a structure that depends on the request, and whatever any word of it leads to */
};

struct rule {
    uint8_t kind;
    uint8_t arg;
    uint8_t by;
    uint16_t size;
};

#define MAX_RULES 3
#define LARGE 65535 /* bytes: of a length that only the kernel knows */
#define FUTEX_WAITV_MAX 128 /* Source: futex_waitv's page in Documentation/userspace-api/futex2.rst */
#define IOVEC_MAX 1024 /* Source: readv(2), IOV_MAX */

/* Source: the man page of each, section 2. Indexed by number. */
static const struct rule rules[][MAX_RULES] = {
    [SYS_read] = {{BYTES, 1, 2, 0}},
    [SYS_write] = {{BYTES, 1, 2, 0}},
    [SYS_pread64] = {{BYTES, 1, 2, 0}},
    [SYS_pwrite64] = {{BYTES, 1, 2, 0}},
    [SYS_readv] = {{VECTOR, 1, 2, 0}},
    [SYS_writev] = {{VECTOR, 1, 2, 0}},
    [SYS_preadv] = {{VECTOR, 1, 2, 0}},
    [SYS_pwritev] = {{VECTOR, 1, 2, 0}},
    [SYS_preadv2] = {{VECTOR, 1, 2, 0}},
    [SYS_pwritev2] = {{VECTOR, 1, 2, 0}},
    [SYS_vmsplice] = {{VECTOR, 1, 2, 0}},
    [SYS_process_vm_readv] = {{VECTOR, 1, 2, 0}, {VECTOR, 3, 4, 0}},
    [SYS_process_vm_writev] = {{VECTOR, 1, 2, 0}, {VECTOR, 3, 4, 0}},
    [SYS_process_madvise] = {{VECTOR, 1, 2, 0}},
    [SYS_recvfrom] = {{BYTES, 1, 2, 0}},
    [SYS_sendto] = {{BYTES, 1, 2, 0}},
    [SYS_recvmsg] = {{MESSAGE, 1, 0, 0}},
    [SYS_sendmsg] = {{MESSAGE, 1, 0, 0}},
    [SYS_recvmmsg] = {{MESSAGES, 1, 2, 0}},
    [SYS_sendmmsg] = {{MESSAGES, 1, 2, 0}},
    [SYS_setsockopt] = {{BYTES, 3, 4, 0}, {POINTERS, 3, 0, 64}},
    [SYS_getsockopt] = {{ANSWER, 3, 4, 0}},
    [SYS_poll] = {{ITEMS, 0, 1, sizeof(struct pollfd)}},
    [SYS_ppoll] = {{ITEMS, 0, 1, sizeof(struct pollfd)}},
    [SYS_epoll_wait] = {{ROOM, 1, 2, sizeof(struct epoll_event)}},
    [SYS_epoll_pwait] = {{ROOM, 1, 2, sizeof(struct epoll_event)}},
    [SYS_epoll_pwait2] = {{ROOM, 1, 2, sizeof(struct epoll_event)}},
    [SYS_getdents] = {{BYTES, 1, 2, 0}},
    [SYS_getdents64] = {{BYTES, 1, 2, 0}},
    [SYS_getxattr] = {{BYTES, 2, 3, 0}},
    [SYS_lgetxattr] = {{BYTES, 2, 3, 0}},
    [SYS_fgetxattr] = {{BYTES, 2, 3, 0}},
    [SYS_setxattr] = {{BYTES, 2, 3, 0}},
    [SYS_lsetxattr] = {{BYTES, 2, 3, 0}},
    [SYS_fsetxattr] = {{BYTES, 2, 3, 0}},
    [SYS_listxattr] = {{BYTES, 1, 2, 0}},
    [SYS_llistxattr] = {{BYTES, 1, 2, 0}},
    [SYS_flistxattr] = {{BYTES, 1, 2, 0}},
    [SYS_getrandom] = {{BYTES, 0, 1, 0}},
    [SYS_mincore] = {{BITS, 2, 1, 0}},
    [SYS_getgroups] = {{ITEMS, 1, 0, sizeof(gid_t)}},
    [SYS_setgroups] = {{ITEMS, 1, 0, sizeof(gid_t)}},
    [SYS_mq_timedsend] = {{BYTES, 1, 2, 0}},
    [SYS_mq_timedreceive] = {{BYTES, 1, 2, 0}},
    [SYS_msgsnd] = {{BYTES, 1, 2, sizeof(long)}},
    [SYS_msgrcv] = {{BYTES, 1, 2, sizeof(long)}},
    [SYS_syslog] = {{BYTES, 1, 2, 0}},
    [SYS_add_key] = {{BYTES, 2, 3, 0}},
    [SYS_keyctl] = {{SIZED, 2, 0, LARGE}, {POINTERS, 2, 0, 256}},
    [SYS_ptrace] = {{POINTERS, 3, 0, sizeof(struct iovec)}},
    [SYS_semctl] = {{SIZED, 3, 0, LARGE}},
    [SYS_init_module] = {{BYTES, 0, 1, 0}},
    [SYS_statmount] = {{BYTES, 1, 2, 0}},
    [SYS_listmount] = {{ITEMS, 1, 2, sizeof(uint64_t)}},
    [SYS_ioctl] = {{SIZED, 2, 0, LARGE}, {POINTERS, 2, 0, 256}, {EXTENTS, 2, 1, 0}},
    [SYS_clone3] = {{POINTERS, 0, 0, sizeof(struct clone_args)}},
    [SYS_prctl] = {{POINTERS, 2, 0, 16}},
    [SYS_seccomp] = {{POINTERS, 2, 0, 16}},
    [SYS_bpf] = {{POINTERS, 1, 0, 144}},
    [SYS_move_pages] = {{ITEMS, 2, 1, 8}, {ITEMS, 3, 1, 4}, {ITEMS, 4, 1, 4}},
    [SYS_execve] = {{STRINGS, 1, 0, 0}, {STRINGS, 2, 0, 0}},
    [SYS_execveat] = {{STRINGS, 2, 0, 0}, {STRINGS, 3, 0, 0}},
    [SYS_futex_waitv] = {{WAITERS, 0, 1, 0}},
    [SYS_mlock] = {{BYTES, 0, 1, 0}},
    [SYS_mlock2] = {{BYTES, 0, 1, 0}},
};
#define N_RULED (sizeof rules / sizeof rules[0])

static page_number end_of_block(page_number first, page_number end)
{
    const struct pagetable *table = &ghost.pager.table;

    for (page_number number = first; number + 1 < end && pager_is_engaged(&ghost.pager); number++)
        if ((page_at(table, number)->flags & PAGE_FLAG_LAST) != 0)
            return number + 1;
    return end;
}

/* Blocks may stand one right behind the other, and a program may take them for one. What is in no block is no memory. */
static page_number end_of_blocks(page_number first, page_number end)
{
    page_number at = end_of_block(first, end);

    while (at < end && heap_begins_block(&ghost.heap, at))
        at = end_of_block(at, end);
    return at;
}

static void hold_near(struct hold *hold, page_number first, size_t n_pages, page_number (*end_of)(page_number first, page_number end))
{
    page_number end = (page_number)min_size(first + n_pages, ghost.heap.committed);

    if (first < end)
        hold_add(hold, first, end_of(first, end));
}

static void hold_up_to(struct hold *hold, uintptr_t start, size_t bytes, page_number (*end_of)(page_number first, page_number end))
{
    const struct space *space = &ghost.pager.space;
    page_number first;
    uintptr_t end;
    size_t n;

    if (bytes == 0 || __builtin_add_overflow(start, bytes, &end) || ghost.heap.bytes == 0)
        return;
    while (space_run(space, &start, end, &first, &n)) {
        if (space_is_near(space, first))
            hold_near(hold, first, n, end_of);
        else
            hold_add(hold, first, (page_number)(first + n));
    }
}

void guard_hold_range(struct hold *hold, uintptr_t start, size_t bytes)
{
    hold_up_to(hold, start, bytes, end_of_blocks);
}

/* The length may say more than there is: no structure reaches beyond its block. */
static void hold_room(struct hold *hold, uintptr_t start, size_t bytes)
{
    hold_up_to(hold, start, bytes, end_of_block);
}

static void hold_answer(struct hold *hold, uintptr_t at, uintptr_t length)
{
    socklen_t bytes;

    if (guard_copy(&bytes, (const void *)length, sizeof bytes) == 0)
        hold_room(hold, at, bytes);
}

static void hold_vector(struct hold *hold, uintptr_t at, size_t n)
{
    struct iovec item;

    if (n > IOVEC_MAX)
        return; /* EINVAL */
    guard_hold_range(hold, at, n * sizeof item);
    for (size_t i = 0; i < n && guard_copy(&item, (const void *)(at + i * sizeof item), sizeof item) == 0; i++)
        guard_hold_range(hold, (uintptr_t)item.iov_base, item.iov_len);
}

static void hold_message(struct hold *hold, uintptr_t at)
{
    struct msghdr message;

    guard_hold_range(hold, at, sizeof message);
    if (guard_copy(&message, (const void *)at, sizeof message) != 0)
        return;
    guard_hold_range(hold, (uintptr_t)message.msg_name, message.msg_namelen);
    guard_hold_range(hold, (uintptr_t)message.msg_control, message.msg_controllen);
    hold_vector(hold, (uintptr_t)message.msg_iov, message.msg_iovlen);
}

static void hold_strings(struct hold *hold, uintptr_t at)
{
    uintptr_t string;

    for (;; at += sizeof string) {
        uintptr_t end;
        char c = 1;

        guard_hold_range(hold, at, sizeof string);
        if (guard_copy(&string, (const void *)at, sizeof string) != 0 || string == 0)
            return;
        if (!ghost_manages((const void *)string))
            continue;
        for (end = string; c != 0 && guard_copy(&c, (const void *)end, 1) == 0; end++)
            continue;
        guard_hold_range(hold, string, end - string);
    }
}

static void hold_waiters(struct hold *hold, uintptr_t at, uint32_t n)
{
    struct { /* Source: include/uapi/linux/futex.h, struct futex_waitv */
        uint64_t value;
        uint64_t address;
        uint32_t flags;
        uint32_t reserved;
    } waiter;

    if (n > FUTEX_WAITV_MAX)
        return; /* EINVAL */
    guard_hold_range(hold, at, n * sizeof waiter);
    for (uint32_t i = 0; i < n && guard_copy(&waiter, (const void *)(at + i * sizeof waiter), sizeof waiter) == 0; i++)
        guard_hold_range(hold, waiter.address, sizeof waiter.value);
}

/* Source: Documentation/filesystems/fiemap.rst. */
static void hold_extents(struct hold *hold, uintptr_t at)
{
    struct fiemap map;

    if (guard_copy(&map, (const void *)at, sizeof map) == 0)
        hold_room(hold, at, sizeof map + map.fm_extent_count * sizeof map.fm_extents[0]);
}

/* Sources: netdevice(7), SIOCGIFCONF; socket(7), SO_ATTACH_FILTER; seccomp(2); bpf(2). */
static void hold_pointers(struct hold *hold, uintptr_t at, size_t bytes)
{
    uintptr_t word;

    if (at % sizeof word != 0)
        return;
    for (uintptr_t end = at + bytes; at < end && guard_copy(&word, (const void *)at, sizeof word) == 0; at += sizeof word)
        if (ghost_manages((const void *)word))
            hold_room(hold, word, LARGE);
}

#define ROBUST_MAX 2048 /* Source: include/linux/futex.h, ROBUST_LIST_LIMIT */

/* A lock's entry and the word that says whose it is: the kernel marks it when its owner ends. Its next entry, or 0. */
static uintptr_t hold_robust_lock(struct hold *hold, uintptr_t entry, long offset)
{
    uintptr_t next = 0;

    entry &= ~(uintptr_t)1; /* set for one with priority inheritance */
    guard_hold_range(hold, entry, sizeof next);
    guard_hold_range(hold, entry + (uintptr_t)offset, sizeof(uint32_t));
    return guard_copy(&next, (const void *)entry, sizeof next) == 0 ? next : 0;
}

/* Source: get_robust_list(2); Documentation/locking/robust-futex-ABI.rst. */
static void hold_robust_list(struct hold *hold)
{
    struct {
        uintptr_t first;
        long offset;
        uintptr_t pending;
    } head;
    uintptr_t at = 0;
    size_t bytes;

    if (sys_failed(sys_call3(SYS_get_robust_list, 0, &at, &bytes)) || at == 0 ||
        guard_copy(&head, (const void *)at, sizeof head) != 0)
        return;
    for (size_t i = 0; i < ROBUST_MAX && head.first != 0 && (head.first & ~(uintptr_t)1) != at; i++)
        head.first = hold_robust_lock(hold, head.first, head.offset);
    if (head.pending != 0)
        (void)hold_robust_lock(hold, head.pending, head.offset);
}

static void follow(struct hold *hold, const struct rule *rule, const unsigned long *args)
{
    uintptr_t at = args[rule->arg];
    size_t n = args[rule->by];
    size_t bytes;

    if (at == 0)
        return;
    switch (rule->kind) {
    case BYTES:
        if (!__builtin_add_overflow(n, (size_t)rule->size, &bytes))
            guard_hold_range(hold, at, bytes);
        break;
    case ITEMS:
        if (!__builtin_mul_overflow((size_t)(uint32_t)n, (size_t)rule->size, &bytes))
            guard_hold_range(hold, at, bytes);
        break;
    case ROOM:
        if (!__builtin_mul_overflow((size_t)(uint32_t)n, (size_t)rule->size, &bytes))
            hold_room(hold, at, bytes);
        break;
    case BITS:
        guard_hold_range(hold, at, n / PAGE_BYTES + 1);
        break;
    case SIZED:
        hold_room(hold, at, rule->size);
        break;
    case ANSWER:
        hold_answer(hold, at, n);
        break;
    case VECTOR:
        hold_vector(hold, at, n);
        break;
    case MESSAGE:
        hold_message(hold, at);
        break;
    case MESSAGES:
        for (size_t i = 0; i < (uint32_t)n && i < IOVEC_MAX; i++) {
            guard_hold_range(hold, at + i * sizeof(struct mmsghdr), sizeof(struct mmsghdr));
            hold_message(hold, at + i * sizeof(struct mmsghdr));
        }
        break;
    case STRINGS:
        hold_strings(hold, at);
        break;
    case WAITERS:
        hold_waiters(hold, at, (uint32_t)n);
        break;
    case EXTENTS:
        if (n == FS_IOC_FIEMAP)
            hold_extents(hold, at);
        break;
    case POINTERS:
        hold_pointers(hold, at, rule->size);
        break;
    default:
        break;
    }
}

/* The two sides of a fork go on below the caller's frame, where with every signal blocked no fault can be served. */
static void hold_stack(struct hold *hold, uintptr_t pointer)
{
    page_number first;
    page_number end;

    if (!ghost_manages((const void *)pointer) || !pager_is_engaged(&ghost.pager))
        return;
    if (!heap_owns(&ghost.heap, (const void *)pointer)) {
        guard_hold_range(hold, pointer - VISIT_PAGES_BELOW * PAGE_BYTES, (VISIT_PAGES_BELOW + 1 + VISIT_PAGES_ABOVE) * PAGE_BYTES);
        return;
    }
    visit_stack_pages(&ghost.pager.visits, pointer, &first, &end);
    guard_hold_range(hold, space_address(&ghost.pager.space, first), (size_t)(end - first) * PAGE_BYTES);
}

static void collect(struct hold *hold, const struct guard_call *call)
{
    for (unsigned i = 0; i < 6; i++)
        if (ghost_manages((const void *)call->args[i]))
            hold_room(hold, call->args[i] & ~(PAGE_BYTES - 1), 2 * PAGE_BYTES);
    if (call->number == SYS_exit)
        hold_robust_list(hold);
    if (call->number == SYS_rt_sigreturn)
        guard_hold_frame(hold, (uintptr_t)call->context->uc_mcontext.gregs[REG_RSP]);
    if (call->number == SYS_fork || call->number == SYS_clone || call->number == SYS_clone3)
        hold_stack(hold, (uintptr_t)call->context->uc_mcontext.gregs[REG_RSP]);
    if (call->number < 0 || (unsigned long)call->number >= N_RULED)
        return;
    for (unsigned i = 0; i < MAX_RULES && rules[call->number][i].kind != NO_MORE; i++)
        follow(hold, &rules[call->number][i], call->args);
}

bool guard_hold_memory(struct guard_thread *self, const struct guard_call *call)
{
    self->returning = false;
    hold_clear(&self->hold);
    collect(&self->hold, call);
    if (self->hold.n == 0)
        return false;
    if (!guard_may_hold(self) && guard_make_in_parts(self, call))
        return true;
    self->returning = call->number == SYS_rt_sigreturn;
    pager_hold(&ghost.pager, &self->hold);
    return false;
}
