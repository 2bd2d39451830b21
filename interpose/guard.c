/* guard.c - the trap, the faults, and how paging starts. See guard.h. */
#include "interpose/guard.h"

#include "interpose/guard_table.h"
#include "interpose/libc.h"
#include "interpose/memory.h"

#include "core/log.h"
#include "core/pager_far.h"
#include "platform/abi.h"
#include "platform/file.h"
#include "platform/sys.h"
#include "platform/thread.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- the program's memory ---- */

#if defined(__x86_64__)

extern const char guard_copy_instruction[] __attribute__((visibility("hidden")));
extern const char guard_copy_failed[] __attribute__((visibility("hidden")));
int guard_copy_bytes(void *to, const void *from, size_t bytes) __attribute__((visibility("hidden")));

__asm__(".text\n"
        ".globl guard_copy_bytes\n.hidden guard_copy_bytes\n.type guard_copy_bytes, @function\n"
        "guard_copy_bytes:\n"
        "    mov %rdx, %rcx\n"
        ".globl guard_copy_instruction\n.hidden guard_copy_instruction\n"
        "guard_copy_instruction:\n"
        "    rep movsb\n"
        "    xor %eax, %eax\n"
        "    ret\n"
        ".globl guard_copy_failed\n.hidden guard_copy_failed\n"
        "guard_copy_failed:\n"
        "    mov $-14, %eax\n" /* -EFAULT */
        "    ret\n"
        ".size guard_copy_bytes, . - guard_copy_bytes\n");

int guard_copy(void *to, const void *from, size_t bytes)
{
    return guard_copy_bytes(to, from, bytes);
}

static bool was_copying(ucontext_t *context)
{
    greg_t *pc = &context->uc_mcontext.gregs[REG_RIP];

    if ((uintptr_t)*pc != (uintptr_t)guard_copy_instruction)
        return false;
    *pc = (greg_t)(uintptr_t)guard_copy_failed;
    return true;
}

static bool wants_to_write(const ucontext_t *context)
{
    return (context->uc_mcontext.gregs[REG_ERR] & 2) != 0; /* Source: arch/x86/include/asm/trap_pf.h, X86_PF_WRITE */
}

void guard_return(const struct guard_call *call, long result)
{
    call->context->uc_mcontext.gregs[REG_RAX] = (greg_t)result;
    call->context->uc_mcontext.gregs[REG_RCX] = 0; /* the call has been made: redo_lost_trap() */
}

/*
 * A trap is lost where a SIGSYS that somebody has sent is pending already: the kernel keeps one. It has put back the registers and left
 * the return address in rcx, which no call does that has been made: neither the stub nor guard_return(). The call is made again.
 */
static void redo_lost_trap(ucontext_t *context)
{
    static const unsigned char syscall_instruction[OS_SYSCALL_BYTES] = {0x0f, 0x05};
    greg_t *r = context->uc_mcontext.gregs;
    unsigned char bytes[OS_SYSCALL_BYTES];
    uintptr_t at = (uintptr_t)r[REG_RIP] - OS_SYSCALL_BYTES;

    if (r[REG_RCX] == r[REG_RIP] && os_dispatch_traps_at(at) && guard_copy(bytes, (const void *)at, sizeof bytes) == 0 &&
        memcmp(bytes, syscall_instruction, sizeof bytes) == 0)
        r[REG_RIP] = (greg_t)at;
}

void guard_go_on(struct guard_thread *self, const struct guard_call *call)
{
    greg_t *r = call->context->uc_mcontext.gregs;

    guard_note_call(self, call->number, call->args);
    self->stub.resume = (uintptr_t)r[REG_RIP];
    r[REG_RIP] = (greg_t)os_stub_start();
}

static void read_call(struct guard_call *call, ucontext_t *context)
{
    const greg_t *r = context->uc_mcontext.gregs;

    *call = (struct guard_call){
        .number = (long)r[REG_RAX],
        .args = {(unsigned long)r[REG_RDI], (unsigned long)r[REG_RSI], (unsigned long)r[REG_RDX],
                 (unsigned long)r[REG_R10], (unsigned long)r[REG_R8], (unsigned long)r[REG_R9]},
        .context = context,
    };
}

static void set_argument(const struct guard_call *call, unsigned index, uintptr_t value)
{
    static const int registers[6] = {REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8, REG_R9};

    call->context->uc_mcontext.gregs[registers[index]] = (greg_t)value;
}

uintptr_t guard_stack_pointer(const ucontext_t *context)
{
    return (uintptr_t)context->uc_mcontext.gregs[REG_RSP];
}

#endif

/* ---- faults ---- */

/* A vfork child has its parent's record: their faults count as one thread's. */
static uint32_t thread_of(const struct guard_thread *self)
{
    return self != NULL ? atomic_load_explicit(&self->id, memory_order_relaxed) : os_thread_id();
}

/* Also while paging is about to start: the pager lets it wait. */
static bool is_ghost_fault(int number, const siginfo_t *info)
{
    if (!ghost_manages(info->si_addr))
        return false;
    if (!ghost.pager.backend->by_protection)
        return number == SIGBUS && info->si_code == BUS_ADRERR;
    return number == SIGSEGV && info->si_code == SEGV_ACCERR &&
           (!heap_owns(&ghost.heap, info->si_addr) ||
            (uintptr_t)info->si_addr - ghost.pager.space.near_base < ghost.pager.table.committed_pages * PAGE_BYTES);
}

/* Another thread may have opened the page before we looked; but not at each of so many faults: the program has protected it. */
#define CHANCES 20

static void forget_chances(struct guard_thread *self)
{
    if (self != NULL)
        self->n_idle = 0;
}

static bool may_be_chance(struct guard_thread *self, uintptr_t addr)
{
    if (self == NULL)
        return true;
    if (self->idle_addr != addr)
        self->n_idle = 0;
    self->idle_addr = addr;
    if (self->n_idle++ < CHANCES)
        return true;
    self->n_idle = 0;
    return false;
}

/* mremap(2) keeps everybody off what it moves: by now it is there, or gone. */
static bool met_a_move(int number, const siginfo_t *info, const ucontext_t *context)
{
    uintptr_t addr = (uintptr_t)info->si_addr;

    return number == SIGSEGV && info->si_code == SEGV_ACCERR && pager_far_may_touch(&ghost.pager, addr, wants_to_write(context)) &&
           may_be_chance(guard_self(), addr);
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    uintptr_t addr = (uintptr_t)info->si_addr;

    if (info->si_code <= 0) { /* somebody has sent it */
        guard_pass_on(number, info, context);
        return;
    }
    guard_end_return(guard_self());
    if (is_ghost_fault(number, info)) {
        enum fault_answer answer = ghost.pager.backend->handle(ghost.pager.backend, addr, thread_of(guard_self()),
                                                               wants_to_write(context));

        if (answer == FAULT_SERVED)
            forget_chances(guard_self());
        if (answer == FAULT_SERVED || (answer == FAULT_WAS_THERE && may_be_chance(guard_self(), addr)))
            return;
        if (answer == FAULT_LOST) {
            number = info->si_signo = SIGBUS;
            info->si_code = BUS_ADRERR;
        }
    }
    if (met_a_move(number, info, context))
        return;
    if (was_copying(context) || guard_trace_fault(guard_self(), info, context))
        return;
    guard_pass_on(number, info, context);
}

/* ---- calls that are seen to here ---- */

/* A mask that the kernel would take for the length of a call, without our signals. */
static void replace_mask(struct guard_thread *self, const struct guard_call *call, unsigned index, bool suspends)
{
    if (call->args[index] == 0 || guard_copy(&self->mask, (const void *)call->args[index], sizeof self->mask) != 0)
        return;
    if (suspends)
        guard_suspend(self, self->mask);
    self->mask &= ~GUARD_HIDDEN;
    set_argument(call, index, (uintptr_t)&self->mask);
}

/* Source: pselect(2), "C library/kernel differences": the sixth argument leads to the mask and its size. */
static void replace_select_mask(struct guard_thread *self, const struct guard_call *call)
{
    if (call->args[5] == 0 || guard_copy(&self->masked, (const void *)call->args[5], sizeof self->masked) != 0)
        return;
    if (self->masked.mask == NULL || guard_copy(&self->mask, self->masked.mask, sizeof self->mask) != 0)
        return;
    guard_suspend(self, self->mask);
    self->mask &= ~GUARD_HIDDEN;
    self->masked.mask = &self->mask;
    set_argument(call, 5, (uintptr_t)&self->masked);
}

/* All but our descriptors. Source: close_range(2). */
static long close_range_around(unsigned first, unsigned last, unsigned flags)
{
    long result = 0;

    while (first <= last && result == 0) {
        int ours = os_file_next_owned((int)(first > INT32_MAX ? INT32_MAX : first));

        if (ours < 0 || (unsigned)ours > last)
            return sys_call3(SYS_close_range, first, last, flags);
        if ((unsigned)ours > first)
            result = sys_call3(SYS_close_range, first, ours - 1, flags);
        first = (unsigned)ours + 1;
    }
    return result;
}

static bool is_ours(unsigned long fd)
{
    return fd <= INT32_MAX && os_file_next_owned((int)fd) == (int)fd;
}

/*
 * Swap files are opened by whoever needs one first and used by every thread, so all need the table that they are in. A
 * child of vfork() has its own anyhow.
 */
static bool needs_one_table(void)
{
    return ghost.config.swap != NULL && os_process_id() == ghost.process;
}

static bool answer(const struct guard_call *call, long result)
{
    guard_return(call, result);
    return true;
}

static bool see_to_mask(struct guard_thread *self, const struct guard_call *call)
{
    ucontext_t *context = call->context;
    os_sigset mask;

    memcpy(&mask, &context->uc_sigmask, sizeof mask);
    guard_return(call, guard_sigprocmask(self, call->args, &mask));
    memcpy(&context->uc_sigmask, &mask, sizeof mask);
    return true;
}

static bool see_to_pending(struct guard_thread *self, const struct guard_call *call)
{
    os_sigset mask;

    memcpy(&mask, &call->context->uc_sigmask, sizeof mask);
    return answer(call, guard_sigpending(self, call->args, mask));
}

static bool see_to_dup2(const struct guard_call *call)
{
    if (is_ours(call->args[0]))
        return answer(call, -EBADF);
    return is_ours(call->args[1]) && answer(call, -EBUSY);
}

/* A range can be watched by one userfaultfd alone. */
static void leave_to_program(uintptr_t at)
{
    struct uffdio_register watch;

    if (guard_copy(&watch, (const void *)at, sizeof watch) == 0)
        memory_far_leave(watch.range.start, watch.range.len);
}

static bool see_to_ioctl(const struct guard_call *call)
{
    if (is_ours(call->args[0]))
        return answer(call, -EBADF);
    guard_note_device((int)call->args[0]);
    if (call->args[1] == UFFDIO_REGISTER)
        leave_to_program(call->args[2]);
    return false;
}

static bool see_to_unshare(struct guard_thread *self, const struct guard_call *call)
{
    if ((call->args[0] & CLONE_FILES) == 0 || !needs_one_table())
        return false;
    if (!guard_is_alone(self))
        return answer(call, -ENOMEM);
    set_argument(call, 0, call->args[0] & ~(unsigned long)CLONE_FILES); /* it shares with threads of ours alone */
    return false;
}

static bool see_to_close_range(struct guard_thread *self, const struct guard_call *call)
{
    if ((call->args[2] & 2) != 0 && needs_one_table() && !guard_is_alone(self))
        return answer(call, -ENOMEM);
    if ((call->args[2] & 2) != 0 && !needs_one_table()) /* CLOSE_RANGE_UNSHARE: the others keep theirs */
        (void)sys_call1(SYS_unshare, CLONE_FILES);
    return answer(call, close_range_around((unsigned)call->args[0], (unsigned)call->args[1], (unsigned)call->args[2] & ~2u));
}

/* The dispatch is ours, and merged pages lose their write-protection: as a kernel without them answers. */
static bool see_to_prctl(const struct guard_call *call)
{
    if (call->args[0] == PR_SET_SECCOMP)
        guard_forbid_extracting();
    if (call->args[0] == PR_SET_TSC && call->args[1] != PR_TSC_ENABLE)
        os_ticks_stop();
    if (call->args[0] == PR_SET_SYSCALL_USER_DISPATCH || (call->args[0] == PR_SET_MEMORY_MERGE && call->args[1] != 0))
        return answer(call, -EINVAL);
    return false;
}

/* True: the call is over, or on its way by other means. */
static bool see_to(struct guard_thread *self, struct guard_call *call)
{
    const struct guard_row *row = guard_row_of(call->number);
    long result;

    if (call->number == SYS_rt_sigtimedwait)
        return guard_wait_for_signal(self, call);
    switch (row->handler) {
    case GUARD_BY_SIGACTION:
        return answer(call, guard_sigaction(self, call->args));
    case GUARD_BY_SIGPROCMASK:
        return see_to_mask(self, call);
    case GUARD_BY_SIGPENDING:
        return see_to_pending(self, call);
    case GUARD_BY_SIGALTSTACK:
        return answer(call, guard_sigaltstack(self, call->args, guard_stack_pointer(call->context)));
    case GUARD_BY_SIGRETURN:
        return guard_sigreturn(self, call->context);
    case GUARD_BY_MASK:
        replace_mask(self, call, row->handler_arg, call->number != SYS_signalfd && call->number != SYS_signalfd4);
        return false;
    case GUARD_BY_SELECT_MASK:
        replace_select_mask(self, call);
        return false;
    case GUARD_BY_CLONE:
        guard_clone(self, call);
        return true;
    case GUARD_BY_EXIT:
        guard_thread_ends(self);
        return false;
    case GUARD_BY_DESCRIPTOR: /* to be closed, or one of the calls by which a program finds out which there are */
        return is_ours(call->args[0]) && answer(call, -EBADF);
    case GUARD_BY_IOCTL:
        return see_to_ioctl(call);
    case GUARD_BY_DUP2:
        return see_to_dup2(call);
    case GUARD_BY_UNSHARE:
        return see_to_unshare(self, call);
    case GUARD_BY_CLOSE_RANGE:
        return see_to_close_range(self, call);
    case GUARD_BY_MADVISE:
        return memory_advise(call->args, &result) && answer(call, result);
    case GUARD_BY_PROCESS_MADVISE:
        return memory_advise_vector(call->args, &result) && answer(call, result);
    case GUARD_BY_BRK:
        return memory_has_far() && answer(call, memory_far_break(call->args));
    case GUARD_BY_MLOCK:
        if (call->number == SYS_mlock)
            call->args[2] = 0;
        return memory_lock(call->args, &result) && answer(call, result);
    case GUARD_BY_MUNLOCK:
        return memory_unlock(call->args, &result) && answer(call, result);
    case GUARD_BY_MLOCKALL:
        return memory_lock_all(call->args, &result) && answer(call, result);
    case GUARD_BY_MUNLOCKALL:
        return memory_unlock_all(call->args, &result) && answer(call, result);
    case GUARD_BY_MPROTECT:
        return memory_protect(call->args, &result) && answer(call, result);
    case GUARD_BY_MMAP:
        if (((int)call->args[3] & MAP_ANONYMOUS) == 0)
            guard_note_device((int)call->args[4]);
        return memory_map(call->args, &result) && answer(call, result);
    case GUARD_BY_MUNMAP:
        return memory_unmap(call->args, &result) && answer(call, result);
    case GUARD_BY_MREMAP:
        return memory_remap(call->args, &result) && answer(call, result);
    case GUARD_BY_PKEY_MPROTECT:
        return memory_protect_by_key(call->args, &result) && answer(call, result);
    case GUARD_BY_SETSOCKOPT:
        if (call->args[1] == SOL_XDP)
            guard_forbid_extracting();
        return false;
    case GUARD_BY_SECCOMP:
        guard_forbid_extracting();
        return false;
    case GUARD_BY_PRCTL:
        return see_to_prctl(call);
    case GUARD_BY_REFUSAL:
        return answer(call, -ENOSYS);
    default:
        return false;
    }
}

static void on_trap(int number, siginfo_t *info, void *context)
{
    struct guard_thread *self = guard_self();
    struct guard_call call;

    if (info->si_code == OS_DISPATCH_CODE) {
        read_call(&call, context);
        guard_settle(self, context);
        if (guard_trace(self, &call) || see_to(self, &call))
            return;
        if (!guard_hold_memory(self, &call) && guard_trace_exec(self, &call))
            guard_go_on(self, &call);
        return;
    }
    redo_lost_trap(context);
    if (guard_is_summons(number, info, context)) {
        (void)guard_bring_in(context);
        return;
    }
    guard_pass_on(number, info, context);
}

/* ---- arming ---- */

static int arm(void)
{
    int error;

    if (guard_is_polled())
        return -EOPNOTSUPP;
    error = guard_look_who_is_hindered();
    if (error != 0)
        return error;
    guard_take_signals(on_trap, on_fault);
    if (guard_self() == NULL && !os_thread_is_ours())
        error = guard_arm_thread(NULL);
    if (error == 0)
        error = guard_arm_others();
    if (error == 0)
        guard_signals_settled();
    return error;
}

static void look_around(void)
{
    guard_look_for_pins();
    if (!guard_look_for_rings())
        log_line(LOG_CHOICE, "/proc/self/maps cannot be read: what rings of io_uring name is not known");
}

const struct fault_guard guard = {.arm = arm, .look_around = look_around};
