/*
 * guard_message.c - SIGBUS, SIGSEGV and SIGSYS that somebody sends: they wait where they are blocked, go to whom they may, and end system
 * calls as others do. See guard.h.
 *
 * The kernel never has them blocked, so they come at any time, also in our handlers and while the thread is busy in this library: then
 * they are kept in the thread's record, and a nudge, a SIGSYS of ours, follows. SIGSYS is blocked in our handlers: it comes when the
 * program goes on. Those that the thread blocks are kept too; one that was sent to the process goes to a thread that does not block
 * it, or that waits for it, and else waits for one.
 */
#include "interpose/guard.h"

#include "platform/lock.h"
#include "platform/sys.h"
#include "platform/thread.h"

#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

/* What was sent to the process while every thread blocked it. */
static struct {
    struct os_lock lock; /* guards the infos; never held while memory of the program's is touched */
    _Atomic os_sigset pending;
    siginfo_t infos[GUARD_N_HIDDEN];
} common = {.lock = {.rank = LOCK_MESSAGES}};

/* Longer than it takes to send a signal. */
#define POKE_MS 100

/* In the order in which the kernel would take them. */
static const int by_rank[GUARD_N_HIDDEN] = {SIGBUS, SIGSEGV, SIGSYS};

static unsigned slot_of(int number)
{
    return number == SIGBUS ? 0 : number == SIGSEGV ? 1 : 2;
}

/* ---- keeping ---- */

/* A second one is none, as the kernel has it. */
static void keep(struct guard_thread *self, int number, const siginfo_t *info)
{
    if ((self->pending & os_signal_bit(number)) != 0)
        return;
    self->sent[slot_of(number)] = *info;
    atomic_fetch_or(&self->pending, os_signal_bit(number));
}

static bool withdraw(int number, siginfo_t *info)
{
    bool was_there;

    os_lock_take(&common.lock);
    was_there = (common.pending & os_signal_bit(number)) != 0;
    if (was_there)
        *info = common.infos[slot_of(number)];
    atomic_fetch_and(&common.pending, ~os_signal_bit(number));
    os_lock_release(&common.lock);
    return was_there;
}

/*
 * Who waits for the signal gets it from the kernel. Source: rt_sigqueueinfo(2): no other thread may be sent SI_USER, so it is told
 * SI_QUEUE; sender and value are as they were.
 */
static void forward(uint32_t id, int number, siginfo_t *info)
{
    if (info->si_code == SI_USER)
        info->si_code = SI_QUEUE;
    (void)os_signal_queue(id, number, info);
}

/* The other thread looks for what waits. */
static void poke(struct guard_thread *t, uint32_t id)
{
    siginfo_t info = {.si_signo = SIGSYS, .si_code = SI_QUEUE};

    info.si_value.sival_ptr = &common;
    if (!atomic_exchange(&t->poked, true))
        (void)os_signal_queue(id, SIGSYS, &info);
}

/* Where the user's queue of signals is full a signal comes without its siginfo. */
static bool is_poke(struct guard_thread *self, int number, const siginfo_t *info)
{
    bool may_be = number == SIGSYS && ((info->si_code == SI_QUEUE && info->si_value.sival_ptr == (void *)&common) ||
                                       (info->si_code == SI_USER && info->si_pid == 0));

    return may_be && atomic_exchange(&self->poked, false);
}

/* It is there before anybody looks for a thread that takes it, so that a thread that begins to take it meanwhile finds it. */
static void share(const struct guard_thread *self, int number, const siginfo_t *info)
{
    struct guard_thread *taker;
    siginfo_t taken;
    bool waits;
    uint32_t id;

    os_lock_take(&common.lock);
    if ((common.pending & os_signal_bit(number)) == 0)
        common.infos[slot_of(number)] = *info;
    atomic_fetch_or(&common.pending, os_signal_bit(number));
    os_lock_release(&common.lock);
    taker = guard_taker(self, os_signal_bit(number), &id, &waits);
    if (taker != NULL && !waits)
        poke(taker, id);
    else if (taker != NULL && withdraw(number, &taken))
        forward(id, number, &taken);
}

/* Of those in @which. 0: none. */
static int take(struct guard_thread *self, os_sigset which, siginfo_t *info)
{
    for (unsigned i = 0; i < GUARD_N_HIDDEN; i++) {
        os_sigset bit = os_signal_bit(by_rank[i]);

        if ((self->pending & which & bit) != 0) {
            *info = self->sent[i];
            atomic_fetch_and(&self->pending, ~bit);
            return by_rank[i];
        }
        if ((common.pending & which & bit) != 0 && withdraw(by_rank[i], info))
            return by_rank[i];
    }
    return 0;
}

os_sigset guard_messages(const struct guard_thread *self)
{
    return self->pending | common.pending;
}

void guard_messages_fork_child(struct guard_thread *self)
{
    os_lock_reset(&common.lock);
    common.pending = 0;
    if (self != NULL)
        self->pending = 0;
}

void guard_send_pending(struct guard_thread *self)
{
    if ((guard_messages(self) & ~self->blocked) != 0)
        guard_nudge();
}

void guard_nudge(void)
{
    siginfo_t info = {.si_signo = SIGSYS, .si_code = GUARD_NUDGE};

    (void)os_signal_queue(os_thread_id(), SIGSYS, &info);
}

void guard_send_all_pending(struct guard_thread *self)
{
    siginfo_t info;
    int number;

    while ((number = take(self, ~(os_sigset)0, &info)) != 0)
        (void)os_signal_queue(os_thread_id(), number, &info);
}

/* ---- the call under way ---- */

/* Calls with a time that counts from their begin, and which argument that is. */
enum time_form {
    NO_TIME,
    MILLISECONDS,
    TIMESPEC,
};

static enum time_form time_form_of(long number, const uint64_t *args, unsigned *index)
{
    switch (number) {
    case SYS_nanosleep:
        *index = 0;
        return TIMESPEC;
    case SYS_clock_nanosleep:
        *index = 2;
        return (args[1] & TIMER_ABSTIME) != 0 ? NO_TIME : TIMESPEC;
    case SYS_poll:
        *index = 2;
        return MILLISECONDS;
    case SYS_epoll_wait:
    case SYS_epoll_pwait:
        *index = 3;
        return MILLISECONDS;
    case SYS_epoll_pwait2:
    case SYS_semtimedop:
        *index = 3;
        return TIMESPEC;
    case SYS_rt_sigtimedwait:
        *index = 2;
        return TIMESPEC;
    case SYS_futex:
        *index = 3;
        return ((int)args[1] & FUTEX_CMD_MASK) == FUTEX_WAIT ? TIMESPEC : NO_TIME;
    case SYS_io_getevents:
    case SYS_io_pgetevents:
        *index = 4;
        return TIMESPEC;
    default:
        return NO_TIME;
    }
}

void guard_note_call(struct guard_thread *self, long number, const unsigned long *args)
{
    struct timespec span = {0};
    unsigned index;

    self->number = number;
    self->again = false;
    self->end_ns = 0;
    memcpy(self->stub.args, args, sizeof self->stub.args);
    switch (time_form_of(number, self->stub.args, &index)) {
    case MILLISECONDS:
        if ((int)args[index] > 0)
            self->end_ns = os_now_ns() + (uint64_t)args[index] * 1000000;
        break;
    case TIMESPEC:
        if (args[index] != 0 && guard_copy(&span, (const void *)args[index], sizeof span) == 0 && span.tv_sec >= 0 &&
            span.tv_sec < INT32_MAX)
            self->end_ns = os_now_ns() + (uint64_t)span.tv_sec * 1000000000u + (uint64_t)span.tv_nsec;
        break;
    default:
        break;
    }
}

#if defined(__x86_64__)

static const int argument_registers[6] = {REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8, REG_R9};

/* It is made again with the rest of its time. */
static void leave_rest_of_time(struct guard_thread *self, greg_t *r)
{
    uint64_t now = os_now_ns();
    uint64_t rest = self->end_ns > now ? self->end_ns - now : 0;
    unsigned index = 0;

    if (self->end_ns == 0)
        return;
    if (time_form_of(self->number, self->stub.args, &index) == MILLISECONDS) {
        r[argument_registers[index]] = (greg_t)((rest + 999999) / 1000000);
        return;
    }
    self->rest = (struct timespec){.tv_sec = (time_t)(rest / 1000000000u), .tv_nsec = (long)(rest % 1000000000u)};
    r[argument_registers[index]] = (greg_t)(uintptr_t)&self->rest;
}

/* One of guard_often.c's, which libc makes. */
static bool is_often(const struct guard_thread *self, const greg_t *r)
{
    static const unsigned char syscall_instruction[OS_SYSCALL_BYTES] = {0x0f, 0x05};
    unsigned char bytes[OS_SYSCALL_BYTES];

    return self->often >= 0 && r[REG_RAX] == -EINTR &&
           guard_copy(bytes, (const void *)((uintptr_t)r[REG_RIP] - OS_SYSCALL_BYTES), sizeof bytes) == 0 &&
           memcmp(bytes, syscall_instruction, sizeof bytes) == 0;
}

static bool has_socket_timeout(int fd, int option)
{
    struct timeval span = {0};
    socklen_t bytes = sizeof span;

    return !sys_failed(sys_call5(SYS_getsockopt, fd, SOL_SOCKET, option, &span, &bytes)) && (span.tv_sec != 0 || span.tv_usec != 0);
}

/* Does SA_RESTART make the call again? Source: signal(7), "Interruption of system calls". */
static bool is_restarted(long number, const greg_t *r)
{
    switch (number) {
    case SYS_pause:
    case SYS_rt_sigsuspend:
    case SYS_rt_sigtimedwait:
    case SYS_poll:
    case SYS_ppoll:
    case SYS_select:
    case SYS_pselect6:
    case SYS_epoll_wait:
    case SYS_epoll_pwait:
    case SYS_epoll_pwait2:
    case SYS_nanosleep:
    case SYS_clock_nanosleep:
    case SYS_msgrcv:
    case SYS_msgsnd:
    case SYS_semop:
    case SYS_semtimedop:
    case SYS_io_getevents:
    case SYS_io_pgetevents:
    case SYS_close:
        return false;
    case SYS_futex:
        return r[REG_R10] == 0;
    case SYS_read:
    case SYS_readv:
    case SYS_recvfrom:
    case SYS_recvmsg:
    case SYS_accept:
    case SYS_accept4:
        return !has_socket_timeout((int)r[REG_RDI], SO_RCVTIMEO);
    case SYS_write:
    case SYS_writev:
    case SYS_sendto:
    case SYS_sendmsg:
    case SYS_connect:
        return !has_socket_timeout((int)r[REG_RDI], SO_SNDTIMEO);
    default:
        return true;
    }
}

/* The program's registers are as at its own instruction, or behind it. */
static void leave_stub(struct guard_thread *self, greg_t *r, bool makes_it_again)
{
    r[REG_RIP] = (greg_t)(self->stub.resume - (makes_it_again ? OS_SYSCALL_BYTES : 0));
    for (unsigned i = 0; i < 6; i++)
        r[argument_registers[i]] = (greg_t)self->stub.args[i];
    hold_end(&self->hold);
}

void guard_leave_call(struct guard_thread *self, int number, ucontext_t *context, bool may_restart)
{
    greg_t *r = context->uc_mcontext.gregs;
    uintptr_t pc = (uintptr_t)r[REG_RIP];
    bool is_hidden = (os_signal_bit(number) & GUARD_HIDDEN) != 0;
    bool was_interrupted;

    switch (os_stub_place(pc)) {
    case OS_STUB_BEFORE:
        was_interrupted = self->again || (self->suspended && is_hidden);
        if (was_interrupted && !(may_restart && is_restarted(self->number, r))) {
            r[REG_RAX] = -EINTR;
            leave_stub(self, r, false);
        } else {
            leave_stub(self, r, true);
        }
        break;
    case OS_STUB_AFTER:
        if (r[REG_RAX] == -EINTR && may_restart && is_restarted(self->number, r)) {
            r[REG_RAX] = self->number;
            leave_stub(self, r, true);
            break;
        } /* fall through */
    case OS_STUB_BEHIND:
        leave_stub(self, r, false);
        break;
    default:
        if (os_site_leave(pc, &pc)) {
            r[REG_RIP] = (greg_t)pc;
            guard_clone_undo(self);
        } else if (may_restart && is_often(self, r) && is_restarted(self->often, r)) {
            r[REG_RAX] = self->often;
            r[REG_RIP] -= OS_SYSCALL_BYTES;
        }
        if (self->often >= 0 && r[REG_RCX] == r[REG_RIP])
            r[REG_RCX] = 0; /* it has been made, though its calls trap from now on */
        self->often = -1;
        break;
    }
}

/* A signal that has a handler comes next: the call ends, or is made again, as that one wants. */
static bool another_comes(const ucontext_t *context)
{
    os_sigset mask;
    os_sigset set = 0;

    memcpy(&mask, &context->uc_sigmask, sizeof mask);
    (void)sys_call2(SYS_rt_sigpending, &set, sizeof set);
    set &= ~(mask | GUARD_HIDDEN);
    for (int number = 1; set != 0 && number <= OS_SIGNALS; number++)
        if ((set & os_signal_bit(number)) != 0 && guard_has_handler(number))
            return true;
    return false;
}

/* The call under way goes on as if nothing had come. */
static void undisturb(struct guard_thread *self, ucontext_t *context)
{
    greg_t *r = context->uc_mcontext.gregs;

    if (r[REG_RAX] != -EINTR)
        return;
    if (os_stub_place((uintptr_t)r[REG_RIP]) == OS_STUB_AFTER && !another_comes(context)) {
        r[REG_RAX] = self->number;
        r[REG_RIP] = (greg_t)os_stub_start();
        self->again = true;
        leave_rest_of_time(self, r);
    } else if (is_often(self, r) && !another_comes(context)) {
        r[REG_RAX] = self->often;
        r[REG_RIP] -= OS_SYSCALL_BYTES;
    }
}

/* What it waits for has been kept since: the call traps again, and finds it. */
static void stop_waiting(struct guard_thread *self, ucontext_t *context)
{
    greg_t *r = context->uc_mcontext.gregs;

    if ((guard_messages(self) & self->waits) == 0 || os_stub_place((uintptr_t)r[REG_RIP]) != OS_STUB_BEFORE)
        return;
    self->waits = 0;
    leave_stub(self, r, true);
}

void guard_settle(struct guard_thread *self, const ucontext_t *context)
{
    const greg_t *r = context->uc_mcontext.gregs;
    enum os_stub_place place;

    if (!self->suspended && self->waits == 0)
        return;
    place = os_stub_place((uintptr_t)r[REG_RIP]);
    if (place == OS_STUB_BEFORE || (place == OS_STUB_AFTER && r[REG_RAX] == -EINTR))
        return;
    if (self->suspended)
        self->blocked = self->blocked_before;
    self->suspended = false;
    self->waits = 0;
}

/* Is the thread in our code, where no handler of the program's may begin? */
static bool is_inside(const struct guard_thread *self, const ucontext_t *context)
{
    return guard_is_handler(context) || self->busy || ghost_quiet_depth > 0;
}

#else

static void undisturb(struct guard_thread *self, ucontext_t *context)
{
    (void)self;
    (void)context;
}

static void stop_waiting(struct guard_thread *self, ucontext_t *context)
{
    (void)self;
    (void)context;
}

void guard_settle(struct guard_thread *self, const ucontext_t *context)
{
    (void)self;
    (void)context;
}

void guard_leave_call(struct guard_thread *self, int number, ucontext_t *context, bool may_restart)
{
    (void)self;
    (void)number;
    (void)context;
    (void)may_restart;
}

static bool is_inside(const struct guard_thread *self, const ucontext_t *context)
{
    (void)self;
    (void)context;
    return true;
}

#endif

/* ---- calls that wait for them ---- */

void guard_suspend(struct guard_thread *self, os_sigset mask)
{
    self->blocked_before = self->blocked;
    self->suspended = true;
    self->blocked = mask & GUARD_HIDDEN;
    guard_send_pending(self); /* it ends the call that has not begun: guard_leave_call() */
}

/* A poke that is under way must not be what the call takes: it is awaited, with SIGSYS blocked, and what else comes is kept. */
static void absorb_poke(struct guard_thread *self)
{
    const os_sigset set = os_signal_bit(SIGSYS);
    uint64_t end_ns = os_now_ns() + (uint64_t)POKE_MS * 1000000;
    siginfo_t info;

    while (self->poked && os_now_ns() < end_ns)
        if (sys_call4(SYS_rt_sigtimedwait, &set, &info, &(struct timespec){0}, sizeof set) == SIGSYS &&
            info.si_code != GUARD_NUDGE && !is_poke(self, SIGSYS, &info))
            keep(self, SIGSYS, &info);
}

bool guard_wait_for_signal(struct guard_thread *self, const struct guard_call *call)
{
    os_sigset set;
    siginfo_t info;
    int number;

    if (call->args[3] != sizeof set || guard_copy(&set, (const void *)call->args[0], sizeof set) != 0)
        return false;
    set &= GUARD_HIDDEN;
    if ((set & os_signal_bit(SIGSYS)) != 0)
        absorb_poke(self);
    self->waits = set; /* before it looks: share() */
    number = set != 0 ? take(self, set, &info) : 0;
    if (number == 0)
        return false;
    self->waits = 0;
    guard_return(call, call->args[1] != 0 && guard_copy((void *)call->args[1], &info, sizeof info) != 0 ? -EFAULT : number);
    return true;
}

/* ---- coming ---- */

/*
 * Is it for this thread alone? pthread_kill() says so; kill() and others mean the process. Where nobody knows, as it came without its
 * siginfo or from another pid namespace, only who waits for it gets it instead.
 */
static bool is_for(const struct guard_thread *self, int number, const siginfo_t *info)
{
    bool waits;
    uint32_t id;

    if (info->si_code == SI_USER && info->si_pid == 0)
        return guard_taker(self, os_signal_bit(number), &id, &waits) == NULL || !waits;
    return info->si_code == SI_TKILL || self->apart;
}

static void receive(struct guard_thread *self, int number, siginfo_t *info, ucontext_t *context)
{
    if ((self->blocked & os_signal_bit(number)) == 0) {
        if (!guard_act(self, number, info, context))
            undisturb(self, context);
        return;
    }
    if (is_for(self, number, info))
        keep(self, number, info);
    else
        share(self, number, info);
    undisturb(self, context);
}

/* What came while the thread was inside may be for others. */
static void put_off_kept(struct guard_thread *self)
{
    for (unsigned i = 0; i < GUARD_N_HIDDEN; i++) {
        os_sigset bit = os_signal_bit(by_rank[i]);
        siginfo_t info = self->sent[i];

        if ((self->pending & self->blocked & bit) == 0 || is_for(self, by_rank[i], &info))
            continue;
        atomic_fetch_and(&self->pending, ~bit);
        share(self, by_rank[i], &info);
    }
}

void guard_receive(int number, siginfo_t *info, ucontext_t *context)
{
    struct guard_thread *self = guard_self();
    bool is_nudge = info->si_code == GUARD_NUDGE || is_poke(self, number, info);
    siginfo_t kept;

    if (is_inside(self, context)) {
        if (!is_nudge)
            keep(self, number, info);
        if (ghost_quiet_depth > 0) /* a nudge would come at once */
            ghost_quiet_missed = true;
        else if (!is_nudge)
            guard_nudge();
        return;
    }
    guard_settle(self, context);
    if (is_nudge)
        undisturb(self, context);
    else
        receive(self, number, info, context);
    while ((number = take(self, ~self->blocked, &kept)) != 0)
        if (!guard_act(self, number, &kept, context))
            undisturb(self, context);
    put_off_kept(self);
    stop_waiting(self, context);
}
