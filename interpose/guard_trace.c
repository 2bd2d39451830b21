/*
 * guard_trace.c - ptrace(PTRACE_TRACEME): whoever traces must see no trap or fault of ours. See guard.h.
 *
 * To the tracer each of them would be a stop, which it may not expect, or, while it waits for its vfork child to exec, not even be
 * able to end. So the request is only remembered. It is made when it is needed: right before an exec, after which there is nothing
 * of ours; or before the thread sends a signal or has a fault of its own, at which it is to stop: then there are no traps and faults of
 * ours from there on, and no limit.
 */
#include "interpose/guard.h"

#include "interpose/guard_table.h"

#include "core/log.h"
#include "platform/abi.h"
#include "platform/file.h"
#include "platform/sys.h"
#include "platform/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <unistd.h>

/* Source: proc(5), /proc/PID/status. */
static bool is_traced(void)
{
    static const char key[] = "\nTracerPid:\t";
    char text[1024];
    const char *at = NULL;

    if (os_file_read("/proc/thread-self/status", text, sizeof text) > 0)
        at = strstr(text, key);
    return at != NULL && strtol(at + sizeof key - 1, NULL, 10) != 0;
}

/* A vfork child has its parent's record, which is as before once the child is gone: so by the kernel's id. */
static bool has_asked(const struct guard_thread *self)
{
    return self->tracee != 0 && self->tracee == os_thread_id();
}

/* ---- before a signal or a fault ---- */

#if defined(__x86_64__)

/* The call is made again, by its own instruction. */
static void call_again(const struct guard_call *call)
{
    call->context->uc_mcontext.gregs[REG_RIP] -= OS_SYSCALL_BYTES;
}

#else

static void call_again(const struct guard_call *call)
{
    (void)call;
}

#endif

/* The thread goes on as if it had never been brought in, but for the kernel's alternate stack, which stays ours. */
static void let_go(struct guard_thread *self, ucontext_t *context)
{
    os_sigset mask;

    heap_give_up(&ghost.heap);
    (void)os_signals_block();
    guard_give_signals_back();
    memcpy(&mask, &context->uc_sigmask, sizeof mask);
    mask |= self->blocked;
    memcpy(&context->uc_sigmask, &mask, sizeof mask);
    guard_send_all_pending(self);
    os_dispatch_disarm();
    os_dispatch_selector = 0;
    os_stub_self = NULL;
}

/* From now on the thread is traced. False: it still has traps and faults. */
static bool begin(struct guard_thread *self, ucontext_t *context)
{
    bool may_go = atomic_load(&self->id) == os_thread_id() && guard_is_alone(self);

    self->tracee = 0;
    if (may_go)
        let_go(self, context);
    (void)sys_call4(SYS_ptrace, PTRACE_TRACEME, 0, 0, 0);
    return may_go;
}

static bool sends_signal(const struct guard_call *call)
{
    unsigned argument = guard_row_of(call->number)->sends;

    return argument != 0 && call->args[argument] != 0;
}

bool guard_trace(struct guard_thread *self, const struct guard_call *call)
{
    if (call->number == SYS_ptrace && call->args[0] == PTRACE_TRACEME) {
        bool refused = has_asked(self) || is_traced();

        guard_return(call, refused ? -EPERM : 0);
        self->tracee = refused ? self->tracee : os_thread_id();
        return true;
    }
    if (!has_asked(self) || !sends_signal(call) || !begin(self, call->context))
        return false;
    call_again(call);
    return true;
}

bool guard_trace_fault(struct guard_thread *self, const siginfo_t *info, ucontext_t *context)
{
    return self != NULL && info->si_code > 0 && has_asked(self) && begin(self, context);
}

/* ---- before an exec ---- */

/* May the file be executed? Once traced there is no way back. 0 or what execve(2) says. */
static long check_exec(int dir, unsigned long path, unsigned long argv, unsigned long env, unsigned long flags)
{
    long error = sys_call5(SYS_execveat, dir, path, argv, env, flags | AT_EXECVE_CHECK);
    struct stat status;

    if (error != -EINVAL && error != -ENOSYS && error != -EPERM) /* a sandbox may know neither call */
        return error;
    if (!sys_failed(sys_call4(SYS_newfstatat, dir, path, &status, flags)) && !S_ISREG(status.st_mode))
        return -EACCES;
    error = sys_call4(SYS_faccessat2, dir, path, X_OK, AT_EACCESS | flags);
    return error == -ENOSYS || error == -EPERM ? 0 : error;
}

/* What the stub clears instead of the hold: should the exec fail all the same, its arguments stay. */
static _Atomic uint32_t cleared;

bool guard_trace_exec(struct guard_thread *self, const struct guard_call *call)
{
    const unsigned long *args = call->args;
    long error;

    if ((call->number != SYS_execve && call->number != SYS_execveat) || !has_asked(self))
        return true;
    if (call->number == SYS_execveat && (args[4] & AT_EXECVE_CHECK) != 0)
        return true;
    error = call->number == SYS_execve ? check_exec(AT_FDCWD, args[0], args[1], args[2], 0)
                                       : check_exec((int)args[0], args[1], args[2], args[3], args[4]);
    if (error == 0)
        error = sys_call4(SYS_ptrace, PTRACE_TRACEME, 0, 0, 0);
    if (error == -EPERM && is_traced()) /* by somebody who has come since it asked */
        error = 0;
    if (error != 0) {
        hold_end(&self->hold);
        guard_return(call, error);
        return false;
    }
    self->tracee = 0;
    self->passing = atomic_load(&self->id) == os_thread_id();
    self->stub.active = &cleared;
    os_dispatch_disarm();
    return true;
}
