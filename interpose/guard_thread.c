/* guard_thread.c - threads: brought in when the core engages, when they are made, and let go. See guard.h. */
#include "interpose/guard.h"
#include "interpose/memory.h"

#include "core/log.h"
#include "platform/file.h"
#include "platform/sys.h"
#include "platform/stack.h"
#include "platform/thread.h"

#include <asm/prctl.h>
#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* Room for nested frames of several KiB (AVX-512, AMX) and our deepest handler; only what is used costs RAM. */
#define STACK_BYTES ((size_t)128 << 10)
#define MAX_THREADS 8192
/* A thread's control block, libc's thread-local variables below it, and the kernel's lists in it. */
#define CONTROL_BELOW ((uintptr_t)16 << 10)
#define CONTROL_ABOVE ((uintptr_t)8 << 10)
#define SUMMON_MS 5000

static struct guard_thread *_Atomic threads[MAX_THREADS];

/* ---- records ---- */

static bool is_gone(uint32_t id)
{
    return sys_call3(SYS_tgkill, sys_call0(SYS_getpid), id, 0) == -ESRCH;
}

#define CLAIMED UINT32_MAX

/*
 * A record as new. Its claim stands meanwhile, because others look for one that is nobody's; and its holds stay in the list that
 * others walk.
 */
static void reset(struct guard_thread *t)
{
    const size_t behind_id = offsetof(struct guard_thread, id) + sizeof t->id;
    unsigned char *stack = t->stack;

    hold_clear(&t->hold);
    hold_clear(&t->lasting);
    memset((unsigned char *)t + behind_id, 0, sizeof *t - behind_id);
    t->stack = stack;
    t->own_stack.ss_flags = SS_DISABLE;
    t->stub = (struct os_stub){.active = &t->hold.active};
}

/* A record that nobody else uses, claimed. NULL: no memory, or too many threads. */
static struct guard_thread *record_new(void)
{
    void *memory;

    for (size_t i = 0; i < MAX_THREADS; i++) {
        struct guard_thread *t = atomic_load(&threads[i]);
        uint32_t id;

        if (t == NULL) {
            if (os_mem_map(STACK_BYTES + round_up(sizeof *t, PAGE_BYTES), &memory) != 0)
                return NULL;
            t = (struct guard_thread *)(void *)((unsigned char *)memory + STACK_BYTES);
            t->stack = memory;
            atomic_store(&t->id, CLAIMED);
            reset(t);
            for (; i < MAX_THREADS; i++) {
                struct guard_thread *none = NULL;

                if (atomic_compare_exchange_strong(&threads[i], &none, t))
                    return t;
            }
            os_mem_unmap(memory, STACK_BYTES + round_up(sizeof *t, PAGE_BYTES));
            return NULL;
        }
        id = atomic_load(&t->id);
        if (id == CLAIMED || (id != 0 && !(atomic_load(&t->ending) && is_gone(id))))
            continue;
        if (atomic_compare_exchange_strong(&t->id, &id, CLAIMED)) {
            reset(t);
            return t;
        }
    }
    return NULL;
}

static void drop(struct guard_thread *t)
{
    if (t == NULL)
        return;
    hold_end(&t->hold);
    hold_end(&t->lasting);
    atomic_store(&t->id, 0);
}

static bool is_known(uint32_t id)
{
    for (size_t i = 0; i < MAX_THREADS; i++) {
        const struct guard_thread *t = atomic_load(&threads[i]);

        if (t == NULL)
            return false;
        if (atomic_load(&t->id) == id)
            return true;
    }
    return false;
}

void guard_each_thread(void (*visit)(void *arg, uintptr_t control, uintptr_t stack), void *arg)
{
    for (size_t i = 0; i < MAX_THREADS; i++) {
        const struct guard_thread *t = atomic_load(&threads[i]);

        if (t == NULL)
            return;
        if (atomic_load(&t->id) != 0 && atomic_load(&t->id) != CLAIMED)
            visit(arg, t->control, t->stack_pointer);
    }
}

bool guard_is_alone(const struct guard_thread *self)
{
    for (size_t i = 0; i < MAX_THREADS; i++) {
        const struct guard_thread *t = atomic_load(&threads[i]);
        uint32_t id;

        if (t == NULL)
            return true;
        id = atomic_load(&t->id);
        if (t != self && id != 0 && (id == CLAIMED || !is_gone(id)))
            return false;
    }
    return true;
}

/* What the kernel reads and writes without a system call: rseq, robust lists, the word that ends a join. */
static void hold_control_block(struct guard_thread *t, uintptr_t block)
{
    guard_hold_range(&t->lasting, block - CONTROL_BELOW, CONTROL_BELOW + CONTROL_ABOVE);
    if (t->lasting.n > 0 && pager_is_engaged(&ghost.pager))
        pager_hold(&ghost.pager, &t->lasting);
    else if (t->lasting.n > 0) /* all of it is there */
        hold_start(&ghost.pager.holds, &t->lasting);
}

static uintptr_t control_block(void)
{
    unsigned long block = 0;

#if defined(__x86_64__)
    sys_call2(SYS_arch_prctl, ARCH_GET_FS, &block);
#endif
    return block;
}

static int adopt(struct guard_thread *t, ucontext_t *context)
{
    stack_t ours = {.ss_sp = t->stack, .ss_size = STACK_BYTES};
    int error;

    os_stub_self = &t->stub;
    os_dispatch_selector = 0;
    (void)os_sigaltstack(&ours, &t->own_stack);
    if (context != NULL) {
        /*
         * Not by this alone: Linux 6.18's rt_sigreturn(2) sets it while the stack pointer is still the handler's, and
         * where that is on the program's own stack it refuses without a word.
         */
        t->own_stack = context->uc_stack;
        context->uc_stack = ours;
    }
    t->own_stack.ss_flags &= ~SS_ONSTACK;
    t->control = control_block();
    t->stack_pointer = (uintptr_t)__builtin_frame_address(0);
    if (t->lasting.n == 0)
        hold_control_block(t, t->control);
    error = os_dispatch_arm();
    if (error != 0) {
        os_stub_self = NULL;
        atomic_store(&t->id, 0);
        return error;
    }
    atomic_store(&t->id, os_thread_id());
    os_dispatch_selector = 1;
    return 0;
}

int guard_arm_thread(ucontext_t *context)
{
    struct guard_thread *t = record_new();

    return t != NULL ? adopt(t, context) : -ENOMEM;
}

/* ---- a stack to stand on ---- */

void guard_run(void (*run)(void *arg), void *arg)
{
    struct guard_thread *self = guard_self();
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    os_sigset mask;

    if (self == NULL || !memory_has_far() || here - (uintptr_t)self->stack < STACK_BYTES ||
        space_far_number(&ghost.pager.space, here) == PAGE_NONE) {
        run(arg);
        return;
    }
    mask = os_signals_defer();
    os_call_on_stack(run, arg, (uintptr_t)self->stack + STACK_BYTES);
    os_signals_restore(mask);
}

/* ---- those that exist ---- */

/* What a thread was blocked in when it was summoned: the signal must not be seen by it as EINTR. */
static struct {
    uint32_t id;
    long number; /* -1: none */
    uintptr_t pc;
} summoned[MAX_THREADS];
static _Atomic unsigned n_summoned;
static _Atomic bool summoning;

/* Source: proc(5), /proc/PID/task/TID/syscall: number, six arguments, stack pointer, program counter. */
static void note_call(unsigned index, uint32_t id)
{
    char path[64];
    char text[256];
    char *at = text;

    summoned[index].id = id;
    summoned[index].number = -1;
    (void)log_format(path, sizeof path, 0, "/proc/self/task/%d/syscall", (int)id);
    if (os_file_read(path, text, sizeof text) <= 0 || text[0] < '0' || text[0] > '9')
        return;
    summoned[index].number = strtol(at, &at, 0);
    for (unsigned i = 0; i < 8; i++)
        summoned[index].pc = strtoul(at, &at, 0);
}

static bool is_dead(uint32_t id)
{
    char path[64];
    char text[256];
    const char *state;

    (void)log_format(path, sizeof path, 0, "/proc/self/task/%d/stat", (int)id);
    if (os_file_read(path, text, sizeof text) <= 0)
        return true;
    state = strrchr(text, ')');
    return state != NULL && (state[2] == 'Z' || state[2] == 'X');
}

static bool was_summoned(uint32_t id)
{
    for (unsigned i = 0; i < atomic_load(&n_summoned); i++)
        if (summoned[i].id == id)
            return true;
    return false;
}

static void summon(uint32_t id)
{
    unsigned index = atomic_load(&n_summoned);

    if (index == MAX_THREADS || was_summoned(id))
        return;
    note_call(index, id);
    atomic_store(&n_summoned, index + 1);
    (void)os_signal_thread(id, SIGSYS);
}

static void look_at_thread(void *arg, const char *name)
{
    long *n_missing = arg;
    uint32_t id = (uint32_t)strtoul(name, NULL, 10);

    if (id == 0 || is_known(id) || is_dead(id))
        return;
    (*n_missing)++;
    summon(id);
}

/* Returns how many threads are not in yet; or -errno. */
static long look_round(void)
{
    long n_missing = 0;
    int error = os_directory_visit("/proc/self/task", look_at_thread, &n_missing);

    return error != 0 ? error : n_missing;
}

int guard_arm_others(void)
{
    uint64_t end_ns = os_now_ns() + (uint64_t)SUMMON_MS * 1000000;
    unsigned n_clear = 0;

    atomic_store(&n_summoned, 0);
    atomic_store(&summoning, true);
    /* A thread made meanwhile by one that was not in yet shows in the second look. */
    while (n_clear < 2) {
        long n_missing = look_round();

        if (n_missing < 0)
            return (int)n_missing;
        n_clear = n_missing == 0 ? n_clear + 1 : 0;
        if (n_missing == 0)
            continue;
        if (os_now_ns() > end_ns) {
            atomic_store(&summoning, false);
            return -EAGAIN;
        }
        sys_call0(SYS_sched_yield);
        os_sleep_ms(1);
    }
    atomic_store(&summoning, false);
    return 0;
}

bool guard_is_summons(const siginfo_t *info, ucontext_t *context)
{
#if defined(__x86_64__)
    static const unsigned char syscall_instruction[OS_SYSCALL_BYTES] = {0x0f, 0x05};
    greg_t *r = context->uc_mcontext.gregs;
    uint32_t id = os_thread_id();

    if (os_stub_self != NULL || info->si_code != SI_TKILL || info->si_pid != os_process_id() || !was_summoned(id))
        return false;
    for (unsigned i = 0; i < atomic_load(&n_summoned); i++)
        if (summoned[i].id == id && summoned[i].number >= 0 && r[REG_RAX] == -EINTR &&
            (uintptr_t)r[REG_RIP] == summoned[i].pc &&
            memcmp((const void *)(summoned[i].pc - OS_SYSCALL_BYTES), syscall_instruction, OS_SYSCALL_BYTES) == 0) {
            r[REG_RAX] = summoned[i].number;
            r[REG_RIP] -= OS_SYSCALL_BYTES;
        }
    return true;
#else
    (void)info;
    (void)context;
    return false;
#endif
}

/* ---- clone and fork ---- */

bool guard_traps_forks(void)
{
    const struct guard_thread *self = guard_self();

    return self != NULL && !self->passing && atomic_load(&self->id) == os_thread_id();
}

#if defined(__x86_64__)

#ifndef CLONE_CLEAR_SIGHAND
#define CLONE_CLEAR_SIGHAND 0x100000000ul /* Source: include/uapi/linux/sched.h, Linux 5.5 */
#endif

struct clone_wish {
    unsigned long flags;
    uintptr_t stack; /* top; 0: the caller's */
    uintptr_t tls;
};

static bool wish_of(const struct guard_call *call, struct clone_wish *wish)
{
    /* Source: clone3(2), struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls. */
    uint64_t args[8];

    switch (call->number) {
    case SYS_clone:
        *wish = (struct clone_wish){(uint32_t)call->args[0], call->args[1], call->args[4]};
        return true;
    case SYS_clone3:
        if (call->args[1] < sizeof args || guard_copy(args, (const void *)call->args[0], sizeof args) != 0)
            return false;
        *wish = (struct clone_wish){args[0], args[5] != 0 ? args[5] + args[6] : 0, args[7]};
        return true;
    case SYS_vfork:
        *wish = (struct clone_wish){CLONE_VM | CLONE_VFORK, 0, 0};
        return true;
    default:
        *wish = (struct clone_wish){0, 0, 0};
        return true;
    }
}

/* In the thread that made the call; in a vfork child too, whose record is its parent's. */
static void after_clone_in_maker(struct guard_thread *self, long result)
{
    uint32_t id = os_thread_id();

    if (self->vforking && atomic_load(&self->id) == id) {
        self->vforking = false;
        drop(self->vfork_child);
        self->vfork_child = NULL;
        self->apart = self->was_apart;
        self->own_stack = self->vfork_stack;
        self->blocked = self->vfork_blocked;
        self->stub.active = &self->hold.active;
        self->tracee = self->tracee == id ? id : 0; /* the child's request is gone with it */
    }
    if (self->forking) {
        self->forking = false;
        ghost_fork_parent();
        os_signals_restore(self->fork_mask);
    }
    hold_end(&self->hold); /* not before: the stack could not come back */
    if (result < 0)
        drop(self->child);
    self->child = NULL;
    self->clearing = false;
}

static void after_clone_in_child(struct guard_thread *self)
{
    os_sigset mask = self->fork_mask;

    if (self->clearing)
        guard_signals_clear(self);
    self->clearing = false;
    if (!self->forking) { /* memory and thread-local storage are the waiting parent's: vfork */
        (void)os_dispatch_arm();
        return;
    }
    self->forking = false;
    ghost_fork_child();
    os_signals_restore(mask);
}

/* The two sides of a trapped clone, each with what the kernel returned to it. */
static void after_clone(long result, uintptr_t stack)
{
    struct guard_thread *self = guard_self();

    if (self != NULL && result != 0) {
        after_clone_in_maker(self, result);
        return;
    }
    if (self != NULL) {
        after_clone_in_child(self);
        return;
    }
    for (size_t i = 0; i < MAX_THREADS; i++) {
        struct guard_thread *t = atomic_load(&threads[i]);

        if (t == NULL)
            break;
        if (atomic_load(&t->id) != CLAIMED || t->born_stack != stack)
            continue;
        t->born_stack = 0;
        if (t->clearing)
            guard_signals_clear(t);
        t->clearing = false;
        if (adopt(t, NULL) != 0)
            break;
        hold_end(&t->hold); /* of its first stack pages: from now on it can fault on them */
        return;
    }
    log_line(LOG_ERROR, "a new thread cannot be watched: the process ends rather than go wrong");
    os_abort();
}

/* What a child finds on its stack before it can fault. */
static void hold_first_stack(struct guard_thread *t, uintptr_t top)
{
    guard_hold_range(&t->hold, top - 8 * PAGE_BYTES, 9 * PAGE_BYTES);
    if (t->hold.n > 0)
        pager_hold(&ghost.pager, &t->hold);
}

/* The first pages of its stack are there until the thread can fault; its control block for its life. */
static bool expect_thread(struct guard_thread *self, const struct clone_wish *wish)
{
    struct guard_thread *t = record_new();

    if (t == NULL)
        return false;
    hold_first_stack(t, wish->stack);
    if ((wish->flags & CLONE_SETTLS) != 0)
        hold_control_block(t, wish->tls);
    if (self->apart || (wish->flags & CLONE_SIGHAND) == 0)
        guard_signals_part(t, self);
    t->clearing = (wish->flags & CLONE_CLEAR_SIGHAND) != 0;
    self->child = t;
    t->born_stack = wish->stack;
    return true;
}

/* The child has this record while it runs; where its stack is another one, a second record holds that. */
static bool expect_vfork_child(struct guard_thread *self, const struct clone_wish *wish)
{
    bool is_elsewhere = wish->stack != 0 && heap_owns(&ghost.heap, (const void *)(wish->stack - 1));

    if (self->vforking && is_elsewhere) /* the caller is such a child itself */
        return false;
    if (is_elsewhere) {
        self->vfork_child = record_new();
        if (self->vfork_child == NULL)
            return false;
        hold_first_stack(self->vfork_child, wish->stack);
    }
    self->clearing = (wish->flags & CLONE_CLEAR_SIGHAND) != 0;
    if (self->vforking)
        return true;
    self->vforking = true;
    self->vfork_stack = self->own_stack;
    self->vfork_blocked = self->blocked;
    self->was_apart = self->apart;
    if (!self->apart && (wish->flags & CLONE_SIGHAND) == 0)
        guard_signals_part(self, self);
    return true;
}

void guard_clone(struct guard_thread *self, struct guard_call *call)
{
    greg_t *r = call->context->uc_mcontext.gregs;
    uintptr_t site = os_site_for((uintptr_t)r[REG_RIP]);
    struct clone_wish wish;
    os_sigset mask;

    os_site_callback = after_clone;
    if (!wish_of(call, &wish) || site == 0) {
        guard_return(call, -EAGAIN);
        return;
    }
    (void)guard_hold_memory(self, call);
    memcpy(&mask, &call->context->uc_sigmask, sizeof mask);
    if ((wish.flags & CLONE_VM) == 0) {
        ghost_fork_prepare();
        self->forking = true;
        self->clearing = (wish.flags & CLONE_CLEAR_SIGHAND) != 0;
        self->fork_mask = mask;
        mask = ~(os_sigset)0; /* until both sides have let our locks go */
        memcpy(&call->context->uc_sigmask, &mask, sizeof mask);
    } else if (!((wish.flags & CLONE_VFORK) != 0 ? expect_vfork_child(self, &wish) : expect_thread(self, &wish))) {
        hold_end(&self->hold);
        guard_return(call, -EAGAIN);
        return;
    }
    r[REG_RIP] = (greg_t)site;
}

#else

void guard_clone(struct guard_thread *self, struct guard_call *call)
{
    (void)self;
    guard_return(call, -ENOSYS);
}

#endif

/* Of the threads only the caller is left. */
void guard_fork_child(void)
{
    struct guard_thread *self = guard_self();

    guard_signals_fork_child(self);
    if (self == NULL)
        return;
    for (size_t i = 0; i < MAX_THREADS; i++) {
        struct guard_thread *t = atomic_load(&threads[i]);

        if (t == NULL)
            break;
        if (t == self)
            continue;
        drop(t);
    }
    self->vforking = false;
    self->vfork_child = NULL;
    hold_end(&self->hold);
    self->stub.active = &self->hold.active;
    self->tracee = 0;
    self->passing = false;
    atomic_store(&self->id, os_thread_id());
    (void)os_dispatch_arm();
    os_dispatch_selector = 1;
}
