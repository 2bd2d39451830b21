/*
 * guard_call.c - what a call does with the program's memory, as its row of the table says. See guard.h and guard_table.h.
 *
 * Structures are read here before the kernel reads them: what they lead to is held as well. What is in no managed memory costs a
 * comparison.
 */
#include "interpose/guard.h"

#include "interpose/guard_table.h"

#include "core/log.h"
#include "platform/abi.h"
#include "platform/sys.h"

#include <errno.h>
#include <linux/keyctl.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ipc.h>
#include <sys/ptrace.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define FUTEX_WAITV_MAX 128 /* Source: futex_waitv's page in Documentation/userspace-api/futex2.rst */
#define IOVEC_MAX 1024 /* Source: readv(2), IOV_MAX */
#define STRING_MAX ((size_t)128 << 10) /* Source: execve(2), MAX_ARG_STRLEN */
#define SEGMENTS_MAX 16 /* Source: include/uapi/linux/kexec.h, KEXEC_SEGMENT_MAX */

static bool peek(void *to, uintptr_t from, size_t bytes)
{
    return from != 0 && guard_copy(to, (const void *)from, bytes) == 0;
}

/* ---- structures of many calls ---- */

static void hold_answer(struct hold *hold, uintptr_t at, uintptr_t length)
{
    uint32_t bytes;

    guard_hold_range(hold, length, sizeof bytes);
    if (at != 0 && peek(&bytes, length, sizeof bytes))
        guard_hold_room(hold, at, bytes);
}

static void hold_self(struct hold *hold, uintptr_t at, size_t offset)
{
    uint32_t bytes = 0;

    guard_hold_range(hold, at, offset + sizeof bytes);
    if (peek(&bytes, at + offset, sizeof bytes))
        guard_hold_room(hold, at, max_size(bytes, 64)); /* 64: where nothing is said, the first version's */
}

void guard_hold_vector(struct hold *hold, uintptr_t at, size_t n)
{
    struct iovec item;

    if (n > IOVEC_MAX)
        return; /* EINVAL */
    guard_hold_range(hold, at, n * sizeof item);
    for (size_t i = 0; i < n && peek(&item, at + i * sizeof item, sizeof item); i++)
        guard_hold_range(hold, (uintptr_t)item.iov_base, item.iov_len);
}

void guard_hold_message(struct hold *hold, uintptr_t at)
{
    struct msghdr message;

    guard_hold_range(hold, at, sizeof message);
    if (!peek(&message, at, sizeof message))
        return;
    guard_hold_range(hold, (uintptr_t)message.msg_name, message.msg_namelen);
    guard_hold_range(hold, (uintptr_t)message.msg_control, message.msg_controllen);
    guard_hold_vector(hold, (uintptr_t)message.msg_iov, message.msg_iovlen);
}

static void hold_messages(struct hold *hold, uintptr_t at, uint32_t n)
{
    for (size_t i = 0; i < n && i < IOVEC_MAX; i++) {
        guard_hold_range(hold, at + i * sizeof(struct mmsghdr), sizeof(struct mmsghdr));
        guard_hold_message(hold, at + i * sizeof(struct mmsghdr));
    }
}

static void hold_strings(struct hold *hold, uintptr_t at)
{
    uintptr_t string;

    for (;; at += sizeof string) {
        guard_hold_range(hold, at, sizeof string);
        if (!peek(&string, at, sizeof string) || string == 0)
            return;
        guard_hold_string(hold, string, STRING_MAX);
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
    for (uint32_t i = 0; i < n && peek(&waiter, at + i * sizeof waiter, sizeof waiter); i++)
        guard_hold_range(hold, waiter.address, sizeof waiter.value);
}

/* ---- a thread ends ---- */

#define ROBUST_MAX 2048 /* Source: include/linux/futex.h, ROBUST_LIST_LIMIT */

/* A lock's entry and the word that says whose it is: the kernel marks it when its owner ends. Its next entry, or 0. */
static uintptr_t hold_robust_lock(struct hold *hold, uintptr_t entry, long offset)
{
    uintptr_t next = 0;

    entry &= ~(uintptr_t)1; /* set for one with priority inheritance */
    guard_hold_range(hold, entry, sizeof next);
    guard_hold_range(hold, entry + (uintptr_t)offset, sizeof(uint32_t));
    return peek(&next, entry, sizeof next) ? next : 0;
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

    if (sys_failed(sys_call3(SYS_get_robust_list, 0, &at, &bytes)) || !peek(&head, at, sizeof head))
        return;
    guard_hold_range(hold, at, sizeof head);
    for (size_t i = 0; i < ROBUST_MAX && head.first != 0 && (head.first & ~(uintptr_t)1) != at; i++)
        head.first = hold_robust_lock(hold, head.first, head.offset);
    if (head.pending != 0)
        (void)hold_robust_lock(hold, head.pending, head.offset);
}

/* The word of set_tid_address(2) is cleared, and who waits for it woken. */
static void hold_end_of_thread(struct hold *hold)
{
    uintptr_t word = 0;

    hold_robust_list(hold);
    if (!sys_failed(sys_call2(SYS_prctl, PR_GET_TID_ADDRESS, &word)))
        guard_hold_range(hold, word, sizeof(uint32_t));
}

/* ---- calls with commands ---- */

/* Source: prctl(2), and the man page of each operation. */
static void hold_prctl(struct hold *hold, const unsigned long *args)
{
    struct {
        uint16_t n;
        uintptr_t filter;
    } program;
    struct prctl_mm_map map;

    switch (args[0]) {
    case PR_SET_SECCOMP:
        guard_hold_range(hold, args[2], sizeof program);
        if (peek(&program, args[2], sizeof program))
            guard_hold_range(hold, program.filter, program.n * (size_t)8);
        break;
    case PR_SET_MM:
        guard_hold_room(hold, args[2], max_size(args[3], sizeof(uint32_t)));
        if (args[1] == PR_SET_MM_MAP && args[3] >= sizeof map && peek(&map, args[2], sizeof map))
            guard_hold_range(hold, (uintptr_t)map.auxv, map.auxv_size);
        break;
    case PR_GET_AUXV:
        guard_hold_room(hold, args[1], args[2]);
        break;
    case PR_SET_VMA:
        guard_hold_string(hold, args[4], 80);
        break;
    default:
        guard_hold_range(hold, args[1], 16); /* the longest is a name */
        guard_hold_range(hold, args[4], 8);
        break;
    }
}

/* Source: seccomp(2). */
static void hold_seccomp(struct hold *hold, const unsigned long *args)
{
    const unsigned long as_prctl[5] = {PR_SET_SECCOMP, 0, args[2], 0, 0};

    if (args[0] == 1) /* SECCOMP_SET_MODE_FILTER */
        hold_prctl(hold, as_prctl);
    else
        guard_hold_range(hold, args[2], 8);
}

/* Source: keyctl(2), and keyctl(3) with its companions. */
static void hold_keyctl(struct hold *hold, const unsigned long *args)
{
    uint32_t lengths[3];
    uintptr_t derivation[3];

    switch (args[0]) {
    case KEYCTL_JOIN_SESSION_KEYRING:
        guard_hold_string(hold, args[1], PAGE_BYTES);
        break;
    case KEYCTL_UPDATE:
    case KEYCTL_DESCRIBE:
    case KEYCTL_INSTANTIATE:
    case KEYCTL_READ:
    case KEYCTL_GET_SECURITY:
        guard_hold_range(hold, args[2], args[3]);
        break;
    case KEYCTL_SEARCH:
    case 29: /* KEYCTL_RESTRICT_KEYRING */
        guard_hold_string(hold, args[2], PAGE_BYTES);
        guard_hold_string(hold, args[3], PAGE_BYTES);
        break;
    case KEYCTL_INSTANTIATE_IOV:
        guard_hold_vector(hold, args[2], args[3]);
        break;
    case KEYCTL_DH_COMPUTE:
        guard_hold_range(hold, args[1], sizeof lengths);
        guard_hold_range(hold, args[2], args[3]);
        guard_hold_range(hold, args[4], sizeof derivation);
        if (!peek(derivation, args[4], sizeof derivation))
            break;
        guard_hold_string(hold, derivation[0], PAGE_BYTES);
        guard_hold_range(hold, derivation[1], (uint32_t)derivation[2]);
        break;
    case KEYCTL_PKEY_QUERY:
        guard_hold_string(hold, args[3], PAGE_BYTES);
        guard_hold_range(hold, args[4], 64);
        break;
    case KEYCTL_PKEY_ENCRYPT:
    case KEYCTL_PKEY_DECRYPT:
    case KEYCTL_PKEY_SIGN:
    case KEYCTL_PKEY_VERIFY:
        guard_hold_range(hold, args[1], 40);
        guard_hold_string(hold, args[2], PAGE_BYTES);
        if (!peek(lengths, args[1], sizeof lengths)) /* the key, of what goes in, of what comes out */
            break;
        guard_hold_range(hold, args[3], lengths[1]);
        guard_hold_range(hold, args[4], lengths[2]);
        break;
    case KEYCTL_CAPABILITIES:
        guard_hold_range(hold, args[1], args[2]);
        break;
    default:
        break;
    }
}

/* Source: semctl(2). As many values as the set has semaphores. */
static void hold_semaphores(struct hold *hold, const unsigned long *args)
{
    struct semid_ds set = {.sem_nsems = 0};
    int command = (int)args[2] & ~0x100; /* IPC_64 */

    if (command != GETALL && command != SETALL) {
        guard_hold_range(hold, args[3], 112);
        return;
    }
    if (guard_is_managed(args[3]) && sys_failed(sys_call4(SYS_semctl, args[0], 0, IPC_STAT, &set)))
        set.sem_nsems = GUARD_INNER_BYTES / sizeof(uint16_t); /* it may not be known; then it goes to the block's end */
    guard_hold_room(hold, args[3], set.sem_nsems * sizeof(uint16_t));
}

/* Source: ptrace(2). The second of two arguments leads to memory of the tracee, or is a length. */
static void hold_ptrace(struct hold *hold, const unsigned long *args)
{
    struct {
        uint64_t offset;
        uint32_t flags;
        int32_t n;
    } wanted;

    switch (args[0]) {
    case PTRACE_GETREGSET:
    case PTRACE_SETREGSET:
        guard_hold_vector(hold, args[3], 1);
        break;
    case PTRACE_PEEKSIGINFO:
        guard_hold_range(hold, args[2], sizeof wanted);
        if (peek(&wanted, args[2], sizeof wanted) && wanted.n > 0)
            guard_hold_room(hold, args[3], (size_t)wanted.n * sizeof(siginfo_t));
        break;
    case PTRACE_SECCOMP_GET_FILTER:
        guard_hold_room(hold, args[3], (size_t)4096 * 8); /* BPF_MAXINSNS */
        break;
    case PTRACE_POKETEXT:
    case PTRACE_POKEDATA:
    case PTRACE_POKEUSER:
        break;
    default: /* the longest: floating point registers */
        guard_hold_room(hold, args[3], 512);
        break;
    }
}

/* Sources: socket(7); net/ipv4/netfilter/ip_tables.c and its kin, whose counters are elsewhere. */
static void hold_option_to_set(struct hold *hold, const unsigned long *args)
{
    /* The number of counters and where they go, in struct ipt_replace and ip6t_replace, arpt_replace, ebt_replace. */
    static const struct {
        uint8_t name, n, at;
    } tables[] = {{64, 84, 88}, {96, 68, 72}, {128, 96, 104}};
    uintptr_t value = args[3];
    struct {
        uint16_t n;
        uintptr_t filter;
    } program;

    if (args[1] == SOL_SOCKET) {
        if ((args[2] == SO_ATTACH_FILTER || args[2] == SO_ATTACH_REUSEPORT_CBPF) && peek(&program, value, sizeof program))
            guard_hold_range(hold, program.filter, program.n * (size_t)8);
        return;
    }
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        uint32_t n;
        uintptr_t counters;

        if (args[2] == tables[i].name && args[4] >= 96 && peek(&n, value + tables[i].n, sizeof n) &&
            peek(&counters, value + tables[i].at, sizeof counters))
            guard_hold_range(hold, counters, n * (size_t)16);
    }
    guard_hold_pointers(hold, value, min_size(args[4], 128));
}

/* Source: socket(7): the length of SO_GET_FILTER counts instructions. */
static void hold_option_to_get(struct hold *hold, const unsigned long *args)
{
    uint32_t n;

    if (!peek(&n, args[4], sizeof n))
        return;
    if (args[1] == SOL_SOCKET && args[2] == SO_GET_FILTER)
        guard_hold_room(hold, args[3], n * (size_t)8);
    else if (args[1] != SOL_SOCKET)
        guard_hold_pointers(hold, args[3], min_size(n, 128));
}

/* Source: fsconfig(2): what the value is depends on the command. */
static void hold_filesystem(struct hold *hold, const unsigned long *args)
{
    if (args[1] == FSCONFIG_SET_BINARY)
        guard_hold_range(hold, args[3], args[4]);
    else
        guard_hold_string(hold, args[3], PAGE_BYTES);
}

/* Source: include/uapi/linux/xattr.h, struct xattr_args. */
static void hold_attribute(struct hold *hold, const unsigned long *args)
{
    struct {
        uint64_t value;
        uint32_t bytes;
        uint32_t flags;
    } attribute;

    if (args[5] >= sizeof attribute && peek(&attribute, args[4], sizeof attribute))
        guard_hold_range(hold, attribute.value, attribute.bytes);
}

/* Source: open_by_handle_at(2). */
static void hold_file_handle(struct hold *hold, uintptr_t at)
{
    uint32_t bytes = 0;

    if (peek(&bytes, at, sizeof bytes))
        guard_hold_room(hold, at, 2 * sizeof bytes + bytes);
}

/* Source: mq_notify(3), "C library/kernel differences"; ipc/mqueue.c: 32 bytes of a cookie. */
static void hold_notification(struct hold *hold, uintptr_t at)
{
    struct sigevent event;

    if (peek(&event, at, sizeof event) && event.sigev_notify == SIGEV_THREAD)
        guard_hold_range(hold, (uintptr_t)event.sigev_value.sival_ptr, 32);
}

/* Source: kexec_load(2). */
static void hold_segments(struct hold *hold, uintptr_t at, size_t n)
{
    struct {
        uintptr_t buffer;
        size_t bytes;
        uintptr_t target;
        size_t target_bytes;
    } segment;

    for (size_t i = 0; i < n && i < SEGMENTS_MAX && peek(&segment, at + i * sizeof segment, sizeof segment); i++)
        guard_hold_range(hold, segment.buffer, segment.bytes);
}

/* Of another process the addresses say nothing here. Source: process_vm_readv(2). */
static void hold_other_process(struct hold *hold, const unsigned long *args)
{
    bool is_ours = sys_call3(SYS_tgkill, sys_call0(SYS_getpid), args[0], 0) == 0;

    if (is_ours)
        guard_hold_vector(hold, args[3], args[4]);
    else if (args[4] <= IOVEC_MAX)
        guard_hold_range(hold, args[3], args[4] * sizeof(struct iovec));
}

/* Source: clone3(2). */
static void hold_clone(struct hold *hold, const unsigned long *args)
{
    struct clone_args wish = {.flags = 0};

    if (args[1] < CLONE_ARGS_SIZE_VER0 || !peek(&wish, args[0], min_size(args[1], sizeof wish)))
        return;
    guard_hold_range(hold, wish.pidfd, sizeof(int));
    guard_hold_range(hold, wish.child_tid, sizeof(int));
    guard_hold_range(hold, wish.parent_tid, sizeof(int));
    if (wish.set_tid_size <= 32) /* MAX_PID_NS_LEVEL */
        guard_hold_range(hold, wish.set_tid, wish.set_tid_size * sizeof(int));
}

/* Source: io_pgetevents(2): the sixth argument leads to the mask and its size. */
static void hold_indirect_mask(struct hold *hold, uintptr_t at)
{
    uintptr_t mask;

    guard_hold_range(hold, at, 16);
    if (peek(&mask, at, sizeof mask))
        guard_hold_range(hold, mask, sizeof(os_sigset));
}

/* ---- calls that nobody knows ---- */

static void hold_anything(struct hold *hold, const struct guard_call *call)
{
    static uint64_t n_met;

    log_sparsely(LOG_CHOICE, &n_met, "system call %d is not known here: what its arguments lead to is brought in, up to %z bytes each",
                 (int)call->number, (size_t)GUARD_INNER_BYTES);
    for (unsigned i = 0; i < 6; i++)
        if (guard_is_managed(call->args[i]))
            guard_hold_room(hold, call->args[i], GUARD_INNER_BYTES);
}

/* ---- the table ---- */

static void follow_special(struct hold *hold, enum guard_special what, const struct guard_call *call)
{
    const unsigned long *args = call->args;

    switch (what) {
    case GUARD_IOCTL:
        guard_hold_request(hold, (unsigned)args[1], args[2]);
        break;
    case GUARD_BPF:
        guard_hold_bpf(hold, (unsigned)args[0], args[1], args[2]);
        break;
    case GUARD_KEYCTL:
        hold_keyctl(hold, args);
        break;
    case GUARD_PRCTL:
        hold_prctl(hold, args);
        break;
    case GUARD_SECCOMP:
        hold_seccomp(hold, args);
        break;
    case GUARD_PTRACE:
        hold_ptrace(hold, args);
        break;
    case GUARD_SEMAPHORES:
        hold_semaphores(hold, args);
        break;
    case GUARD_SET_OPTION:
        hold_option_to_set(hold, args);
        break;
    case GUARD_GET_OPTION:
        hold_option_to_get(hold, args);
        break;
    case GUARD_FILESYSTEM:
        hold_filesystem(hold, args);
        break;
    case GUARD_ATTRIBUTE:
        hold_attribute(hold, args);
        break;
    case GUARD_FILE_HANDLE:
        hold_file_handle(hold, call->number == SYS_name_to_handle_at ? args[2] : args[1]);
        break;
    case GUARD_NOTIFY:
        hold_notification(hold, args[1]);
        break;
    case GUARD_SEGMENTS:
        hold_segments(hold, args[2], args[1]);
        break;
    case GUARD_OTHER_PROCESS:
        hold_other_process(hold, args);
        break;
    case GUARD_CLONE3:
        hold_clone(hold, args);
        break;
    case GUARD_FRAME:
        guard_hold_frame(hold, guard_stack_pointer(call->context));
        break;
    case GUARD_ROBUST:
        hold_end_of_thread(hold);
        break;
    case GUARD_STACK:
        guard_hold_stack(hold, guard_stack_pointer(call->context));
        break;
    case GUARD_AIO_SUBMIT:
        guard_hold_aio(hold, args[2], args[1]);
        break;
    case GUARD_AIO_MASK:
        hold_indirect_mask(hold, args[5]);
        break;
    case GUARD_RING_ENTER:
        guard_hold_ring_call(hold, args);
        break;
    case GUARD_RING_REGISTER:
        guard_hold_registration(hold, args);
        break;
    case GUARD_ANYTHING:
        hold_anything(hold, call);
        break;
    }
}

static void follow(struct hold *hold, const struct guard_rule *rule, const struct guard_call *call)
{
    uintptr_t at = call->args[rule->arg];
    size_t n = call->args[rule->by];
    size_t items = (size_t)(uint32_t)n * rule->size;
    size_t bytes;

    if (rule->kind == GUARD_SPECIAL)
        follow_special(hold, (enum guard_special)rule->size, call);
    else if (at != 0)
        switch (rule->kind) {
        case GUARD_STRUCT:
            guard_hold_range(hold, at, rule->size);
            break;
        case GUARD_SIZED:
            guard_hold_room(hold, at, rule->size);
            break;
        case GUARD_STRING:
            guard_hold_string(hold, at, rule->size);
            break;
        case GUARD_BYTES:
            if (!__builtin_add_overflow(n, (size_t)rule->size, &bytes))
                guard_hold_range(hold, at, bytes);
            break;
        case GUARD_ITEMS:
            guard_hold_range(hold, at, items);
            break;
        case GUARD_ROOM:
            guard_hold_room(hold, at, items);
            break;
        case GUARD_PAGES:
            guard_hold_range(hold, at, n / PAGE_BYTES + 1);
            break;
        case GUARD_BITS:
            guard_hold_room(hold, at, round_up((uint32_t)n, 64) / 8);
            break;
        case GUARD_ANSWER:
            hold_answer(hold, at, n);
            break;
        case GUARD_SELF:
            hold_self(hold, at, rule->size);
            break;
        case GUARD_VECTOR:
            guard_hold_vector(hold, at, n);
            break;
        case GUARD_MESSAGE:
            guard_hold_message(hold, at);
            break;
        case GUARD_MESSAGES:
            hold_messages(hold, at, (uint32_t)n);
            break;
        case GUARD_STRINGS:
            hold_strings(hold, at);
            break;
        case GUARD_WAITERS:
            hold_waiters(hold, at, rule->size != 0 ? rule->size : (uint32_t)n);
            break;
        case GUARD_LASTING:
            guard_hold_for_thread(at, rule->size);
            break;
        default:
            break;
        }
}

static void collect(struct hold *hold, const struct guard_call *call)
{
    const struct guard_row *row = guard_row_of(call->number);

    for (unsigned i = 0; i < GUARD_MAX_RULES && row->rules[i].kind != GUARD_NO_MORE; i++)
        follow(hold, &row->rules[i], call);
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
