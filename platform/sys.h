/*
 * sys.h - system calls made without libc.
 *
 * A raw call returns -errno, never touches errno, and needs no thread-local storage: our own threads have none of
 * libc's, and the fault path must leave the program's errno alone. It also never runs into our own wrappers.
 *
 * Calls: the kernel.  Locks: none.  Memory: none.
 */
#ifndef GHOSTMEM_PLATFORM_SYS_H
#define GHOSTMEM_PLATFORM_SYS_H

#include <stdint.h>
#include <sys/syscall.h>

/* Source: the system call conventions of syscall(2), "Architecture calling conventions". */
#if defined(__x86_64__)
static inline long sys_call6(long number, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
static inline long sys_call6(long number, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;

    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}
#else
#error "GhostMem has no system call convention for this processor"
#endif

#define sys_call5(n, a, b, c, d, e) sys_call6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define sys_call4(n, a, b, c, d) sys_call5(n, a, b, c, d, 0)
#define sys_call3(n, a, b, c) sys_call4(n, a, b, c, 0)
#define sys_call2(n, a, b) sys_call3(n, a, b, 0)
#define sys_call1(n, a) sys_call2(n, a, 0)
#define sys_call0(n) sys_call1(n, 0)

/* A raw result that says "failed": -4095 .. -1 (Source: syscall(2)'s convention for every Linux processor). */
static inline int sys_failed(long result)
{
    return (unsigned long)result > -4096UL;
}

#endif
