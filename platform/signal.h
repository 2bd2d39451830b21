/*
 * signal.h - signals as the kernel has them: masks, actions and frames, without libc.
 *
 * Calls: the kernel.  Locks: none.  Memory: none.
 * Source: rt_sigaction(2), rt_sigprocmask(2), sigaltstack(2); the layouts of Linux's arch/x86/include/uapi/asm/sigcontext.h
 * and asm/ucontext.h.
 */
#ifndef GHOSTMEM_PLATFORM_SIGNAL_H
#define GHOSTMEM_PLATFORM_SIGNAL_H

#include <signal.h>
#include <stdint.h>

#define OS_SIGNALS 64

/* Bit n - 1 is signal n. */
typedef uint64_t os_sigset;

static inline os_sigset os_signal_bit(int number)
{
    return (os_sigset)1 << (number - 1);
}

/* As the kernel has it, not libc. */
struct os_sigaction {
    void (*handler)(int, siginfo_t *, void *);
    unsigned long flags;
    void (*restorer)(void);
    os_sigset mask;
};

#define OS_SA_RESTORER 0x04000000ul

/* Block every signal for the calling thread; returns what was blocked, for os_signals_restore(). */
os_sigset os_signals_block(void);
void os_signals_restore(os_sigset mask);

/* The same, but SIGSYS, the signals of faults and those of @but stay unblocked. For as long as a lock is held. */
os_sigset os_signals_defer(os_sigset but);

/* 0 or -errno. */
int os_sigaction(int number, const struct os_sigaction *action, struct os_sigaction *old);
/*
 * sigaltstack(2) for a caller who may be on the old one: the kernel refuses that by the stack pointer (EPERM), so the
 * pointer is at the top of the new stack, which nobody uses yet, for the length of the call.
 */
int os_sigaltstack(const stack_t *stack, stack_t *old);

/* A signal for one thread of this process. 0 or -errno. */
int os_signal_thread(uint32_t thread, int number);

/* The same with what comes with it. With a positive code it does so even where the user's queue of signals is full. */
int os_signal_queue(uint32_t thread, int number, const siginfo_t *info);

/* Where a handler that we installed returns to. It looks to an unwinder as libc's own does, and has its name. */
#if defined(__x86_64__)
void os_signal_return(void) __asm__("__restore_rt");
#else
void os_signal_return(void);
#endif

#endif
