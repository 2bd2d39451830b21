/* guard_thread.c - threads: their records, how they are made, and let go. guard_summon.c brings in those that exist. See guard.h. */
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

#define MAX_THREADS 8192
/* A thread's control block, libc's thread-local variables below it, and the kernel's lists in it. */
#define CONTROL_BELOW ((uintptr_t)16 << 10)
#define CONTROL_ABOVE ((uintptr_t)8 << 10)

static struct guard_thread *_Atomic threads[MAX_THREADS];
static _Atomic uint32_t n_ending; /* records whose thread is on its way out, or gone */

/* ---- records ---- */

static bool is_gone(uint32_t id)
{
    return sys_call3(SYS_tgkill, sys_call0(SYS_getpid), id, 0) == -ESRCH;
}

#define CLAIMED UINT32_MAX

void guard_thread_ends(struct guard_thread *self)
{
    if (atomic_load(&self->id) == os_thread_id() && !atomic_exchange(&self->ending, true))
        atomic_fetch_add(&n_ending, 1);
}

/* Its record is claimed by who found out. */
static void note_end(struct guard_thread *t)
{
    if (atomic_exchange(&t->ending, false))
        atomic_fetch_sub(&n_ending, 1);
}

/* The kernel writes to a thread's control block until the thread is gone: nobody of that thread can end the hold. */
static void end_holds_of_the_gone(void)
{
    if (atomic_load(&n_ending) == 0)
        return;
    for (size_t i = 0; i < MAX_THREADS; i++) {
        struct guard_thread *t = atomic_load(&threads[i]);
        uint32_t id;

        if (t == NULL)
            return;
        id = atomic_load(&t->id);
        if (id == 0 || id == CLAIMED || !atomic_load(&t->ending) || !is_gone(id) || !atomic_compare_exchange_strong(&t->id, &id, CLAIMED))
            continue;
        note_end(t);
        hold_end(&t->hold);
        hold_end(&t->lasting);
        atomic_store(&t->id, 0);
    }
}

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
    t->often = -1;
}

/* A record that nobody else uses, claimed. NULL: no memory, or too many threads. */
static struct guard_thread *record_new(void)
{
    void *memory;

    for (size_t i = 0; i < MAX_THREADS; i++) {
        struct guard_thread *t = atomic_load(&threads[i]);
        uint32_t id;

        if (t == NULL) {
            if (os_mem_map(GUARD_STACK_BYTES + round_up(sizeof *t, PAGE_BYTES), &memory) != 0)
                return NULL;
            t = (struct guard_thread *)(void *)((unsigned char *)memory + GUARD_STACK_BYTES);
            t->stack = memory;
            atomic_store(&t->id, CLAIMED);
            reset(t);
            for (; i < MAX_THREADS; i++) {
                struct guard_thread *none = NULL;

                if (atomic_compare_exchange_strong(&threads[i], &none, t))
                    return t;
            }
            os_mem_unmap(memory, GUARD_STACK_BYTES + round_up(sizeof *t, PAGE_BYTES));
            return NULL;
        }
        id = atomic_load(&t->id);
        if (id == CLAIMED || (id != 0 && !(atomic_load(&t->ending) && is_gone(id))))
            continue;
        if (atomic_compare_exchange_strong(&t->id, &id, CLAIMED)) {
            note_end(t);
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
    note_end(t);
    hold_end(&t->hold);
    hold_end(&t->lasting);
    atomic_store(&t->id, 0);
}

bool guard_knows(uint32_t id)
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

static uintptr_t control_block(void)
{
    unsigned long block = 0;

#if defined(__x86_64__)
    sys_call2(SYS_arch_prctl, ARCH_GET_FS, &block);
#endif
    return block;
}

/* Our own variables stand where the program's, of whatever size, leave them; the distance is the same in every thread. */
uintptr_t guard_control_below(void)
{
    uintptr_t ours = ((uintptr_t)&os_dispatch_selector & ~(PAGE_BYTES - 1)) - PAGE_BYTES;
    uintptr_t below = control_block() - ours;

    return below > CONTROL_BELOW ? below : CONTROL_BELOW;
}

/* What the kernel reads and writes without a system call: rseq, robust lists, the word that ends a join. */
static void hold_control_block(struct guard_thread *t, uintptr_t block)
{
    uintptr_t below = guard_control_below();

    guard_hold_range(&t->lasting, block - below, below + CONTROL_ABOVE);
    if (t->lasting.n > 0 && pager_is_engaged(&ghost.pager))
        pager_hold(&ghost.pager, &t->lasting);
    else if (t->lasting.n > 0) /* all of it is there */
        hold_start(&ghost.pager.holds, &t->lasting);
}

static int adopt(struct guard_thread *t, ucontext_t *context)
{
    stack_t ours = {.ss_sp = t->stack, .ss_size = GUARD_STACK_BYTES};
    int error;

    t->busy = true;
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
    t->busy = false;
    if (t->pending != 0)
        guard_nudge();
    return 0;
}

/* The mask that the thread will have: that of @context, or else the kernel's now. Returns what the program has blocked of ours. */
static os_sigset unblock_hidden(ucontext_t *context)
{
    os_sigset visible;
    os_sigset mask;

    if (context == NULL) {
        mask = os_signals_block();
        os_signals_restore(mask & ~GUARD_HIDDEN);
        return mask & GUARD_HIDDEN;
    }
    memcpy(&mask, &context->uc_sigmask, sizeof mask);
    visible = mask & ~GUARD_HIDDEN;
    memcpy(&context->uc_sigmask, &visible, sizeof visible);
    return mask & GUARD_HIDDEN;
}

int guard_arm_thread(ucontext_t *context)
{
    struct guard_thread *t = record_new();

    if (t == NULL)
        return -ENOMEM;
    ghost.pager.holds.tidy = end_holds_of_the_gone;
    t->blocked = unblock_hidden(context);
    return adopt(t, context);
}

/* ---- a stack to stand on ---- */

void guard_run(void (*run)(void *arg), void *arg)
{
    struct guard_thread *self = guard_self();
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    os_sigset mask;

    if (self == NULL || !memory_has_far() || here - (uintptr_t)self->stack < GUARD_STACK_BYTES ||
        space_far_number(&ghost.pager.space, here) == PAGE_NONE) {
        run(arg);
        return;
    }
    mask = os_signals_defer(0);
    ghost_quiet_depth++;
    os_call_on_stack(run, arg, (uintptr_t)self->stack + GUARD_STACK_BYTES);
    ghost_quiet_depth--;
    os_signals_restore(mask);
    if (ghost_quiet_missed)
        ghost_quiet_make_good();
}

bool guard_bring_in(ucontext_t *context)
{
    struct guard_thread *self = guard_self();

    if (os_process_id() != ghost.process)
        return false;
    if (self == NULL)
        return guard_arm_thread(context) == 0;
    /* By a handler that has interrupted this one. */
    context->uc_stack = (stack_t){.ss_sp = self->stack, .ss_size = GUARD_STACK_BYTES};
    (void)unblock_hidden(context);
    return true;
}

struct guard_thread *guard_taker(const struct guard_thread *self, os_sigset signal, uint32_t *id, bool *waits)
{
    struct guard_thread *taker = NULL;

    *waits = false;
    for (size_t i = 0; i < MAX_THREADS && !*waits; i++) {
        struct guard_thread *t = atomic_load(&threads[i]);
        uint32_t its_id;
        bool it_waits;

        if (t == NULL)
            break;
        its_id = atomic_load(&t->id);
        it_waits = (t->waits & signal) != 0;
        if (t == self || its_id == 0 || its_id == CLAIMED || atomic_load(&t->ending) || t->vforking || t->apart)
            continue;
        if ((!it_waits && ((signal & t->blocked) != 0 || taker != NULL)) || is_gone(its_id))
            continue;
        taker = t;
        *id = its_id;
        *waits = it_waits;
    }
    return taker;
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
        self->pending = self->vfork_pending;
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

void guard_clone_undo(struct guard_thread *self)
{
    after_clone_in_maker(self, -EINTR);
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
    t->blocked = (os_sigset)self->blocked;
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
    self->vfork_pending = atomic_exchange(&self->pending, 0);
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

void guard_clone_undo(struct guard_thread *self)
{
    (void)self;
}

#endif

/* Of the threads only the caller is left. */
void guard_fork_child(void)
{
    struct guard_thread *self = guard_self();

    guard_signals_fork_child(self);
    guard_messages_fork_child(self);
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
    self->poked = false;
    atomic_store(&self->id, os_thread_id());
    (void)os_dispatch_arm();
    os_dispatch_selector = 1;
}
