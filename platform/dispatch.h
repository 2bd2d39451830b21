/*
 * dispatch.h - Syscall User Dispatch: system calls from outside this library become SIGSYS.
 *
 * Calls made from this library's own code go straight to the kernel. A handler lets a trapped call go on by redirecting
 * its thread to a stub, which makes the call with the registers as they are and then jumps to where it came from. What
 * the kernel may clobber in a system call (rcx, r11) is all that the stubs clobber; they use no stack.
 *
 * Calls that return in another thread or process as well (clone, fork, vfork) have stubs of another kind, one for each
 * place that they are made from: there the way back is kept, since the new thread has neither our thread-local storage nor
 * a stack of its parent's. Before it goes back, both sides call os_site_callback.
 *
 * Calls: the kernel (prctl).  Locks: none.  Memory: static.  x86-64 only: elsewhere os_dispatch_arm() says -ENOSYS.
 * Source: Documentation/admin-guide/syscall-user-dispatch.rst, Linux 5.11.
 */
#ifndef GHOSTMEM_PLATFORM_DISPATCH_H
#define GHOSTMEM_PLATFORM_DISPATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define OS_DISPATCH_CODE 2 /* si_code of SIGSYS (Source: asm-generic/siginfo.h, SYS_USER_DISPATCH) */
#define OS_SYSCALL_BYTES 2 /* length of the instruction */

/* What the stub of a thread needs; os_stub_self points to the calling thread's. */
struct os_stub {
    _Atomic uint32_t *active; /* set to 0 when the call is over */
    uintptr_t resume;         /* where it came from: behind the trapped instruction */
    uint64_t args[6];         /* what the registers of its arguments hold afterwards: the call may be made with others */
};
extern __thread struct os_stub *os_stub_self;

/* 0: system calls of the calling thread pass; 1: they trap. Another value kills the process. */
extern __thread volatile char os_dispatch_selector;

/* Would os_dispatch_arm() succeed? */
bool os_dispatch_is_possible(void);

/* From now on the calling thread's system calls obey its selector. 0 or -errno. */
int os_dispatch_arm(void);

/* From now on they pass. */
void os_dispatch_disarm(void);

/* Do the calling thread's system calls trap that are made at @pc? */
bool os_dispatch_traps_at(uintptr_t pc);

/* The stub for ordinary calls. */
uintptr_t os_stub_start(void);

enum os_stub_place {
    OS_STUB_OUTSIDE,
    OS_STUB_BEFORE, /* its call has not been made, or is to be made again */
    OS_STUB_AFTER,  /* its call has just returned */
    OS_STUB_BEHIND,
};

enum os_stub_place os_stub_place(uintptr_t pc);

/*
 * Is @pc within that stub? *@resume: where to go on instead, so that the program sees nothing of it: behind its own system
 * call instruction where the call has been made, at it where not.
 */
bool os_stub_leave(uintptr_t pc, uintptr_t *resume);

/* The stub for a clone or fork that was made at the instruction before @resume; 0: there are no more. */
uintptr_t os_site_for(uintptr_t resume);

/* Is @pc the start of such a stub, its call not made yet? *@resume: the program's own instruction. */
bool os_site_leave(uintptr_t pc, uintptr_t *resume);

/* Called with what the system call returned, and the stack pointer at that time. */
extern void (*os_site_callback)(long result, uintptr_t stack);

#endif
