/* signal.c - see signal.h. */
#include "platform/signal.h"

#include "platform/sys.h"

#include <errno.h>

os_sigset os_signals_block(void)
{
    os_sigset all = ~(os_sigset)0;
    os_sigset previous;

    sys_call4(SYS_rt_sigprocmask, SIG_SETMASK, &all, &previous, sizeof all);
    return previous;
}

void os_signals_restore(os_sigset mask)
{
    volatile os_sigset set;

    do {
        set = mask;
    } while (sys_call4(SYS_rt_sigprocmask, SIG_SETMASK, &set, 0, sizeof set) == -EFAULT);
}

int os_sigaction(int number, const struct os_sigaction *action, struct os_sigaction *old)
{
    return (int)sys_call4(SYS_rt_sigaction, number, action, old, sizeof(os_sigset));
}

#if defined(__x86_64__)
int os_sigaltstack(const stack_t *stack, stack_t *old)
{
    long result = SYS_sigaltstack;
    uintptr_t pointer = (uintptr_t)stack->ss_sp + stack->ss_size;

    __asm__ volatile("xchg %%rsp, %[pointer]\n"
                     "    syscall\n"
                     "    xchg %%rsp, %[pointer]\n"
                     : "+a"(result), [pointer] "+r"(pointer)
                     : "D"(stack), "S"(old)
                     : "rcx", "r11", "memory");
    return (int)result;
}
#else
int os_sigaltstack(const stack_t *stack, stack_t *old)
{
    return (int)sys_call2(SYS_sigaltstack, stack, old);
}
#endif

int os_signal_queue(uint32_t thread, int number, const siginfo_t *info)
{
    return (int)sys_call4(SYS_rt_tgsigqueueinfo, sys_call0(SYS_getpid), thread, number, info);
}

int os_signal_thread(uint32_t thread, int number)
{
    return (int)sys_call3(SYS_tgkill, sys_call0(SYS_getpid), thread, number);
}

/*
 * Unwinders know a signal frame without unwind tables by these very bytes at the return address (Source: libgcc's
 * x86_64_fallback_frame_state, gdb's amd64-linux-tdep): so this function has neither prologue nor tables. gdb looks at the bytes
 * only where the function has no name, or libc's: signal.h gives it that.
 */
#if defined(__x86_64__)
__asm__(".text\n"
        ".balign 16\n"
        "    nop\n"
        ".globl __restore_rt\n"
        ".hidden __restore_rt\n"
        ".type __restore_rt, @function\n"
        "__restore_rt:\n"
        "    mov $15, %rax\n"
        "    syscall\n"
        ".size __restore_rt, . - __restore_rt\n");
#else
void os_signal_return(void)
{
    sys_call0(SYS_rt_sigreturn);
    __builtin_trap();
}
#endif

os_sigset os_signals_defer(os_sigset but)
{
    const os_sigset deferred = ~(but | os_signal_bit(SIGSYS) | os_signal_bit(SIGSEGV) | os_signal_bit(SIGBUS) |
                                 os_signal_bit(SIGFPE) | os_signal_bit(SIGILL) | os_signal_bit(SIGTRAP));
    volatile os_sigset set;
    volatile os_sigset old;
    long result;

    do { /* the stack may be memory of ours, and leave between a store and the call */
        set = deferred;
        old = 0;
        result = sys_call4(SYS_rt_sigprocmask, SIG_BLOCK, &set, &old, sizeof old);
    } while (result == -EFAULT);
    return old;
}
