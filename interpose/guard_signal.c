/* guard_signal.c - the program's signals: kept, shown to it as it set them, and delivered as the kernel would. See guard.h. */
#include "interpose/guard.h"
#include "interpose/report.h"

#include "platform/file.h"
#include "platform/sys.h"
#include "platform/thread.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

/* What the program has set for each signal, as the kernel would show it. A process that is apart has its own: struct guard_thread. */
static struct os_sigaction actions[OS_SIGNALS + 1];
static struct os_lock actions_lock = {.rank = LOCK_ACTIONS};

/* What the kernel has for the hidden signals, in each process of ours. */
static struct os_sigaction ours_for_traps;
static struct os_sigaction ours_for_faults;

static void on_signal(int number, siginfo_t *info, void *context);

static bool is_hidden(int number)
{
    return number >= 1 && number <= OS_SIGNALS && (os_signal_bit(number) & GUARD_HIDDEN) != 0;
}

static bool is_handler(const struct os_sigaction *action)
{
    return (uintptr_t)action->handler != (uintptr_t)SIG_DFL && (uintptr_t)action->handler != (uintptr_t)SIG_IGN;
}

/* Who is apart is alone at its table, and may be killed at any moment: it holds no lock that others need. */
static struct os_sigaction *table_take(struct guard_thread *self)
{
    if (self != NULL && self->apart)
        return self->apart_actions;
    os_lock_take(&actions_lock);
    return actions;
}

static void table_release(const struct os_sigaction *table)
{
    if (table == actions)
        os_lock_release(&actions_lock);
}

/* For a signal that has come: a hidden one's handler may be for one time only. */
static struct os_sigaction action_of(int number)
{
    struct os_sigaction *table = table_take(guard_self());
    struct os_sigaction action = table[number];

    if (is_hidden(number) && is_handler(&action) && (action.flags & SA_RESETHAND) != 0)
        table[number] = (struct os_sigaction){0};
    table_release(table);
    return action;
}

/* ---- delivering ---- */

/* Source: sigaltstack(2), SS_AUTODISARM. */
#define AUTODISARM ((int)(1u << 31))

/* What the kernel puts on the stack. Source: arch/x86/include/asm/sigframe.h, struct rt_sigframe. */
#define UCONTEXT_BYTES (offsetof(ucontext_t, uc_sigmask) + sizeof(os_sigset))
struct frame {
    uintptr_t restorer;
    unsigned char context[UCONTEXT_BYTES];
    siginfo_t info;
};
#define RED_ZONE 128
/* Source: arch/x86/include/uapi/asm/signal.h, MINSIGSTKSZ; libc's may be larger. */
#define SMALLEST_STACK 2048

#if defined(__x86_64__)

/* Source: arch/x86/include/uapi/asm/sigcontext.h, struct _fpx_sw_bytes, at the end of the FXSAVE area. */
#define FXSAVE_BYTES 512
#define FP_MAGIC_OFFSET 464
#define FP_MAGIC 0x46505853u
#define FP_MAGIC2_BYTES 4
#define XSTATE_HEADER_OFFSET 512
#define MXCSR_OFFSET 24
#define MXCSR_DEFAULT 0x1f80u
#define XSTATE_PKRU ((uint64_t)1 << 9)
#define FLAG_TRAP 0x100
#define FLAG_DIRECTION 0x400

static size_t fp_bytes(const unsigned char *state)
{
    uint32_t magic;
    uint32_t bytes;

    memcpy(&magic, state + FP_MAGIC_OFFSET, sizeof magic);
    memcpy(&bytes, state + FP_MAGIC_OFFSET + sizeof magic, sizeof bytes);
    return magic == FP_MAGIC && bytes >= FXSAVE_BYTES ? bytes : FXSAVE_BYTES;
}

/* A function starts with registers in their initial state. */
static void reset_fp(unsigned char *state)
{
    uint32_t mxcsr = MXCSR_DEFAULT;
    uint64_t present;

    memcpy(state + MXCSR_OFFSET, &mxcsr, sizeof mxcsr);
    if (fp_bytes(state) <= FXSAVE_BYTES)
        return;
    memcpy(&present, state + XSTATE_HEADER_OFFSET, sizeof present);
    present &= XSTATE_PKRU;
    memcpy(state + XSTATE_HEADER_OFFSET, &present, sizeof present);
}

void guard_hold_frame(struct hold *hold, uintptr_t at)
{
    const ucontext_t *frame = (const void *)at;
    unsigned char state[FXSAVE_BYTES];
    fpregset_t fp;

    guard_hold_range(hold, at, UCONTEXT_BYTES);
    if (guard_copy(&fp, &frame->uc_mcontext.fpregs, sizeof fp) == 0 && fp != NULL && guard_copy(state, fp, sizeof state) == 0)
        guard_hold_range(hold, (uintptr_t)fp, fp_bytes(state));
}

/* Of a thread's own frame, into that of the trap. False: it has no room, or the memory is not there. */
static bool restore_fp(ucontext_t *context, const void *saved)
{
    unsigned char *state = (unsigned char *)context->uc_mcontext.fpregs;
    unsigned char start[FXSAVE_BYTES];
    size_t bytes;

    if (saved == NULL || state == NULL || guard_copy(start, saved, sizeof start) != 0)
        return false;
    bytes = fp_bytes(start);
    return bytes <= fp_bytes(state) && guard_copy(state, saved, bytes) == 0;
}

/*
 * What the frame says takes effect when our handler returns: the frame is off the stack before the next signal comes, as many as there may
 * be. It says which of the hidden signals were blocked before, and which stack the program had set; the kernel gets ours. A frame
 * that has our stack has been here before.
 */
bool guard_sigreturn(struct guard_thread *self, ucontext_t *context)
{
    ucontext_t *frame = (void *)(uintptr_t)context->uc_mcontext.gregs[REG_RSP];
    fpregset_t state = context->uc_mcontext.fpregs;
    stack_t ours = context->uc_stack;
    os_sigset visible;
    os_sigset mask;
    ucontext_t copy;

    if (guard_copy(&copy, frame, UCONTEXT_BYTES) != 0)
        return false;
    memcpy(&mask, &copy.uc_sigmask, sizeof mask);
    visible = mask & ~GUARD_HIDDEN;
    if (copy.uc_stack.ss_sp != ours.ss_sp) {
        self->own_stack = copy.uc_stack;
        self->own_stack.ss_flags &= ~SS_ONSTACK;
        self->blocked = mask & GUARD_HIDDEN;
    }
    if (!restore_fp(context, copy.uc_mcontext.fpregs)) {
        (void)guard_copy(&frame->uc_stack, &ours, sizeof ours);
        (void)guard_copy(&frame->uc_sigmask, &visible, sizeof visible);
        return false;
    }
    copy.uc_stack = ours;
    copy.uc_mcontext.fpregs = state;
    memcpy(&copy.uc_sigmask, &visible, sizeof visible);
    memcpy(context, &copy, UCONTEXT_BYTES);
    guard_send_pending(self);
    return true;
}

static bool is_on(const stack_t *stack, uintptr_t pointer)
{
    return (stack->ss_flags & (SS_DISABLE | AUTODISARM)) == 0 && pointer - (uintptr_t)stack->ss_sp < stack->ss_size;
}

/*
 * The hidden signals that are blocked while the handler runs. What was blocked before stands in its frame, and its return brings
 * it back: where there is any, the return must be seen, so it is made by the program's libc. As where the frame lies in our memory,
 * and has to be there when the kernel reads it.
 */
static uintptr_t block_hidden(struct guard_thread *self, int number, const struct os_sigaction *action, bool in_ghost, ucontext_t *frame)
{
    os_sigset blocked = action->mask | ((action->flags & SA_NODEFER) != 0 ? 0 : os_signal_bit(number));
    os_sigset hidden_before = self->suspended ? self->blocked_before : self->blocked;
    bool disarms = (self->own_stack.ss_flags & AUTODISARM) != 0;
    os_sigset before;

    self->suspended = false;
    self->waits = 0;
    blocked = self->blocked | (blocked & GUARD_HIDDEN);
    self->blocked = blocked;
    /* uc_stack stays ours: rt_sigreturn(2) would set the kernel's alternate stack to it. */
    if ((blocked == 0 && hidden_before == 0 && !in_ghost && !disarms) || (action->flags & OS_SA_RESTORER) == 0)
        return (uintptr_t)os_signal_return;
    memcpy(&before, &frame->uc_sigmask, sizeof before);
    before |= hidden_before;
    memcpy(&frame->uc_sigmask, &before, sizeof before);
    frame->uc_stack = self->own_stack;
    if (disarms)
        self->own_stack = (stack_t){.ss_flags = SS_DISABLE};
    return (uintptr_t)action->restorer;
}

static bool is_in_ghost(uintptr_t at)
{
    return ghost_manages((const void *)at);
}

static void deliver(int number, const siginfo_t *info, ucontext_t *context, const struct os_sigaction *action);

/*
 * There is no room on its stack for a handler's frame. The signal is gone, and what comes instead is SIGSEGV, for which there may be a
 * handler with a stack of its own; if that is what had no room, or if it is blocked, the program ends. Source: kernel/signal.c,
 * force_sigsegv().
 */
static void deliver_no_room(int number, ucontext_t *context)
{
    siginfo_t info = {.si_signo = SIGSEGV, .si_code = SI_KERNEL};
    struct os_sigaction action = {0};

    if (number != SIGSEGV && (guard_self()->blocked & os_signal_bit(SIGSEGV)) == 0)
        action = action_of(SIGSEGV);
    if (is_handler(&action)) {
        deliver(SIGSEGV, &info, context, &action);
        return;
    }
    (void)os_sigaction(SIGSEGV, &(struct os_sigaction){0}, NULL);
    (void)os_signal_thread(os_thread_id(), SIGSEGV);
    memset(&context->uc_sigmask, 0, sizeof(os_sigset));
}

/* The program goes on in its handler when ours returns. */
static void deliver(int number, const siginfo_t *info, ucontext_t *context, const struct os_sigaction *action)
{
    struct guard_thread *self = guard_self();
    greg_t *r = context->uc_mcontext.gregs;
    unsigned char *fp = (unsigned char *)context->uc_mcontext.fpregs;
    bool was_suspended = self->suspended;
    uintptr_t top;
    uintptr_t fp_at;
    uintptr_t at;
    struct frame frame;
    stack_t stack;
    os_sigset blocked = was_suspended ? self->blocked_before : self->blocked;
    os_sigset mask;
    ucontext_t copy;

    guard_leave_call(self, number, context, (action->flags & SA_RESTART) != 0);
    top = (uintptr_t)r[REG_RSP] - RED_ZONE;
    if ((action->flags & SA_ONSTACK) != 0 && self->own_stack.ss_size > 0 &&
        (self->own_stack.ss_flags & SS_DISABLE) == 0 && !is_on(&self->own_stack, (uintptr_t)r[REG_RSP]))
        top = (uintptr_t)self->own_stack.ss_sp + self->own_stack.ss_size;
    fp_at = fp != NULL ? (top - fp_bytes(fp)) & ~(uintptr_t)63 : top;
    at = ((fp_at - sizeof frame) & ~(uintptr_t)15) - 8;

    memcpy(&mask, &context->uc_sigmask, sizeof mask);
    memcpy(&copy, context, UCONTEXT_BYTES);
    if (fp != NULL)
        copy.uc_mcontext.fpregs = (fpregset_t)(void *)fp_at;
    stack = self->own_stack;
    frame.restorer = block_hidden(self, number, action, is_in_ghost(at) || is_in_ghost(top - 1), &copy);
    memcpy(frame.context, &copy, UCONTEXT_BYTES);
    frame.info = *info;
    if ((fp != NULL && guard_copy((void *)fp_at, fp, fp_bytes(fp)) != 0) ||
        guard_copy((void *)at, &frame, sizeof frame) != 0) {
        self->blocked = blocked;
        self->own_stack = stack;
        deliver_no_room(number, context);
        return;
    }
    if (fp != NULL)
        reset_fp(fp);
    r[REG_RIP] = (greg_t)(uintptr_t)action->handler;
    r[REG_RSP] = (greg_t)at;
    r[REG_RDI] = number;
    r[REG_RSI] = (greg_t)(at + offsetof(struct frame, info));
    r[REG_RDX] = (greg_t)(at + offsetof(struct frame, context));
    r[REG_RAX] = 0;
    r[REG_EFL] &= ~(greg_t)(FLAG_TRAP | FLAG_DIRECTION);
    if (was_suspended)
        mask = self->mask;
    mask |= action->mask | ((action->flags & SA_NODEFER) != 0 ? 0 : os_signal_bit(number));
    mask &= ~GUARD_HIDDEN;
    memcpy(&context->uc_sigmask, &mask, sizeof mask);
    os_dispatch_selector = 1;
}

#else

static void deliver(int number, const siginfo_t *info, ucontext_t *context, const struct os_sigaction *action)
{
    (void)number;
    (void)info;
    (void)context;
    (void)action;
}

void guard_hold_frame(struct hold *hold, uintptr_t at)
{
    (void)hold;
    (void)at;
}

bool guard_sigreturn(struct guard_thread *self, ucontext_t *context)
{
    (void)self;
    (void)context;
    return false;
}

static bool is_on(const stack_t *stack, uintptr_t pointer)
{
    (void)stack;
    (void)pointer;
    return false;
}

#endif

static int install(int number, const struct os_sigaction *action);

/* The default: the instruction is repeated, or the signal sent again, and the kernel ends the process. */
static void end_by(int number, const siginfo_t *info)
{
    ghostmem_crash(number);
    (void)os_sigaction(number, &(struct os_sigaction){0}, NULL);
    if (info->si_code <= 0 || number != SIGSEGV)
        (void)os_signal_thread(os_thread_id(), number);
}

/* What a thread does itself, and does again. */
static bool recurs(int number, const siginfo_t *info)
{
    return info->si_code > 0 && (number == SIGSEGV || number == SIGBUS || number == SIGFPE || number == SIGILL);
}

/* The thread has not been brought in: its frames are where ours would go. False: there is no way to. */
static bool come_again(int number, siginfo_t *info, ucontext_t *context)
{
    if (!guard_bring_in(context))
        return false;
    if (!recurs(number, info))
        (void)os_signal_queue(os_thread_id(), number, info);
    return true;
}

/* Who is in already has been asked twice: its call goes on. */
static void answer_summons(struct guard_thread *self, ucontext_t *context)
{
    siginfo_t nothing = {.si_signo = SIGSYS, .si_code = GUARD_NUDGE};

    if (guard_is_at_home(self))
        guard_receive(SIGSYS, &nothing, context);
    else
        (void)guard_bring_in(context);
}

static void on_signal(int number, siginfo_t *info, void *context)
{
    struct guard_thread *self = guard_self();
    struct os_sigaction action;

    if (number == GUARD_SUMMONS && guard_is_summons(number, info, context)) {
        answer_summons(self, context);
        return;
    }
    action = action_of(number);
    if (!is_handler(&action))
        return;
    if (guard_is_at_home(self)) {
        guard_settle(self, context);
        deliver(number, info, context, &action);
        return;
    }
    if ((action.flags & SA_RESETHAND) != 0) /* it has not been called yet */
        (void)install(number, &action);
    if (!come_again(number, info, context))
        action.handler(number, info, context);
}

bool guard_has_handler(int number)
{
    struct os_sigaction *table = table_take(guard_self());
    bool has = is_handler(&table[number]);

    table_release(table);
    return has;
}

bool guard_act(struct guard_thread *self, int number, siginfo_t *info, ucontext_t *context)
{
    struct os_sigaction action = action_of(number);

    if (is_handler(&action) && self != NULL)
        deliver(number, info, context, &action);
    else if (is_handler(&action))
        action.handler(number, info, context);
    if (is_handler(&action))
        return true;
    if ((uintptr_t)action.handler == (uintptr_t)SIG_IGN && info->si_code <= 0)
        return false;
    end_by(number, info);
    return true;
}

/* Of a thread that is not in yet: the signal comes once that has ended. */
static void interrupts_a_handler(int number, siginfo_t *info, ucontext_t *context)
{
    os_sigset mask;

    memcpy(&mask, &context->uc_sigmask, sizeof mask);
    mask |= os_signal_bit(number);
    memcpy(&context->uc_sigmask, &mask, sizeof mask);
    (void)os_signals_block();
    (void)os_signal_queue(os_thread_id(), number, info);
}

void guard_pass_on(int number, siginfo_t *info, ucontext_t *context)
{
    struct guard_thread *self = guard_self();
    bool is_sent = info->si_code <= 0 || info->si_code == GUARD_NUDGE;

    if (is_sent && self == NULL && guard_is_handler(context)) {
        interrupts_a_handler(number, info, context);
        return;
    }
    if (!guard_is_at_home(self) && !guard_is_handler(context) && come_again(number, info, context))
        return;
    if (is_sent) {
        if (self != NULL)
            guard_receive(number, info, context);
        else
            (void)guard_act(self, number, info, context);
        return;
    }
    if (self != NULL)
        guard_settle(self, context);
    /* What a thread does itself cannot be put off: the kernel ends the program. */
    if (self != NULL && (self->blocked & os_signal_bit(number)) != 0)
        end_by(number, info);
    else
        (void)guard_act(self, number, info, context);
}

/* Another thread may have been at the table. */
void guard_signals_fork_child(struct guard_thread *self)
{
    os_lock_reset(&actions_lock);
    if (self == NULL || !self->apart)
        return;
    memcpy(actions, self->apart_actions, sizeof actions);
    self->apart = false;
}

void guard_signals_part(struct guard_thread *t, struct guard_thread *maker)
{
    struct os_sigaction *table = table_take(maker);

    memcpy(t->apart_actions, table, sizeof t->apart_actions);
    table_release(table);
    t->apart = true;
}

/* ---- what the program asks for ---- */

static int install(int number, const struct os_sigaction *action)
{
    struct os_sigaction ours = *action;

    if (is_handler(action)) {
        ours.handler = on_signal;
        ours.flags = (action->flags & ~(unsigned long)SA_NODEFER) | SA_SIGINFO | SA_ONSTACK | OS_SA_RESTORER;
        ours.restorer = os_signal_return;
        ours.mask = ~(os_signal_bit(SIGSEGV) | os_signal_bit(SIGBUS));
    }
    return os_sigaction(number, &ours, NULL);
}

long guard_sigaction(struct guard_thread *self, const unsigned long *args)
{
    int number = (int)args[0];
    struct os_sigaction *table;
    struct os_sigaction action;
    struct os_sigaction old;
    struct os_sigaction now;
    long result = 0;

    if (number < 1 || number > OS_SIGNALS || number == SIGKILL || number == SIGSTOP || args[3] != sizeof(os_sigset))
        return sys_call4(SYS_rt_sigaction, args[0], args[1], args[2], args[3]);
    if (args[1] != 0 && guard_copy(&action, (const void *)args[1], sizeof action) != 0)
        return -EFAULT;
    table = table_take(self);
    old = table[number];
    /* A handler that was for one time only is gone. */
    if (!is_hidden(number) && os_sigaction(number, NULL, &now) == 0 && now.handler != on_signal)
        old = now;
    if (args[1] != 0) {
        table[number] = action;
        if (!is_hidden(number))
            result = install(number, &action);
    }
    table_release(table);
    if (result == 0 && args[2] != 0 && guard_copy((void *)args[2], &old, sizeof old) != 0)
        return -EFAULT;
    return result;
}

long guard_sigprocmask(struct guard_thread *self, const unsigned long *args, os_sigset *mask)
{
    os_sigset set = 0;
    os_sigset old = (*mask & ~GUARD_HIDDEN) | self->blocked;
    os_sigset now = old;

    if (args[3] != sizeof(os_sigset))
        return -EINVAL;
    if (args[1] != 0 && guard_copy(&set, (const void *)args[1], sizeof set) != 0)
        return -EFAULT;
    if (args[1] != 0) {
        set &= ~(os_signal_bit(SIGKILL) | os_signal_bit(SIGSTOP));
        switch ((int)args[0]) {
        case SIG_BLOCK:
            now = old | set;
            break;
        case SIG_UNBLOCK:
            now = old & ~set;
            break;
        case SIG_SETMASK:
            now = set;
            break;
        default:
            return -EINVAL;
        }
    }
    if (args[2] != 0 && guard_copy((void *)args[2], &old, sizeof old) != 0)
        return -EFAULT;
    *mask = now & ~GUARD_HIDDEN;
    self->blocked = now & GUARD_HIDDEN;
    guard_send_pending(self);
    return 0;
}

long guard_sigpending(struct guard_thread *self, const unsigned long *args, os_sigset mask)
{
    os_sigset set = 0;
    long result = sys_call2(SYS_rt_sigpending, &set, args[1]);

    if (sys_failed(result))
        return result;
    set = (set & mask) | (guard_messages(self) & self->blocked); /* in our handler all are blocked */
    return guard_copy((void *)args[0], &set, min_size(args[1], sizeof set));
}

long guard_sigaltstack(struct guard_thread *self, const unsigned long *args, uintptr_t stack_pointer)
{
    stack_t stack;
    stack_t old = self->own_stack;

    if (is_on(&old, stack_pointer))
        old.ss_flags |= SS_ONSTACK;
    if (args[0] != 0) {
        if (guard_copy(&stack, (const void *)args[0], sizeof stack) != 0)
            return -EFAULT;
        if ((old.ss_flags & SS_ONSTACK) != 0)
            return -EPERM;
        if ((stack.ss_flags & ~(SS_DISABLE | SS_ONSTACK | AUTODISARM)) != 0)
            return -EINVAL;
        if ((stack.ss_flags & SS_DISABLE) != 0) {
            stack.ss_sp = NULL;
            stack.ss_size = 0;
        } else if (stack.ss_size < SMALLEST_STACK) {
            return -ENOMEM;
        }
    }
    if (args[1] != 0 && guard_copy((void *)args[1], &old, sizeof old) != 0)
        return -EFAULT;
    if (args[0] != 0) {
        stack.ss_flags &= ~SS_ONSTACK;
        self->own_stack = stack;
    }
    return 0;
}

/* ---- taking over ---- */

static bool is_ours(int number, const struct os_sigaction *action)
{
    if (number == SIGSYS)
        return action->handler == ours_for_traps.handler;
    return is_hidden(number) ? action->handler == ours_for_faults.handler : action->handler == on_signal;
}

static void take_hidden_signals(void)
{
    (void)os_sigaction(SIGSYS, &ours_for_traps, NULL);
    (void)os_sigaction(SIGSEGV, &ours_for_faults, NULL);
    (void)os_sigaction(SIGBUS, &ours_for_faults, NULL);
}

/* Threads that are not in yet may be in calls of which nobody knows: while they are brought in, the kernel restarts what it can. */
void guard_signals_settled(void)
{
    ours_for_traps.flags &= ~(unsigned long)SA_RESTART;
    ours_for_faults.flags &= ~(unsigned long)SA_RESTART;
    take_hidden_signals();
    os_lock_take(&actions_lock);
    (void)install(GUARD_SUMMONS, &actions[GUARD_SUMMONS]);
    os_lock_release(&actions_lock);
}

void guard_take_signals(void (*trap)(int, siginfo_t *, void *), void (*fault)(int, siginfo_t *, void *))
{
    const struct os_sigaction summons = {.handler = on_signal, .flags = SA_RESTART};
    struct os_sigaction now;

    ours_for_traps = (struct os_sigaction){
        .handler = trap,
        /* Copying to and from the program's memory may fault: guard_copy(). */
        .mask = ~(os_signal_bit(SIGSEGV) | os_signal_bit(SIGBUS)),
        .flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART | OS_SA_RESTORER | SA_NODEFER,
        .restorer = os_signal_return,
    };
    ours_for_faults = ours_for_traps;
    ours_for_faults.handler = fault;
    os_lock_take(&actions_lock);
    for (int number = 1; number <= OS_SIGNALS; number++) {
        if (number == SIGKILL || number == SIGSTOP || os_sigaction(number, NULL, &now) != 0 || is_ours(number, &now))
            continue;
        actions[number] = now;
        if (!is_hidden(number) && is_handler(&now))
            (void)install(number, &now);
    }
    (void)install(GUARD_SUMMONS, &summons);
    take_hidden_signals();
    os_lock_release(&actions_lock);
}

/* Source: kernel/signal.c, flush_signal_handlers(). */
void guard_signals_clear(struct guard_thread *self)
{
    struct os_sigaction *table = self->apart ? self->apart_actions : actions;

    for (int number = 1; number <= OS_SIGNALS; number++)
        table[number] = (struct os_sigaction){.handler = is_handler(&table[number]) ? NULL : table[number].handler};
    take_hidden_signals();
}

void guard_give_signals_back(void)
{
    struct os_sigaction *table = table_take(guard_self());
    struct os_sigaction now;

    for (int number = 1; number <= OS_SIGNALS; number++)
        if (is_hidden(number) || (os_sigaction(number, NULL, &now) == 0 && now.handler == on_signal))
            (void)os_sigaction(number, &table[number], NULL);
    table_release(table);
}
