/* dispatch.c - see dispatch.h. */
#include "platform/dispatch.h"

#include "platform/abi.h"
#include "platform/inject.h"
#include "platform/sys.h"

#include <errno.h>
#include <stddef.h>
#include <sys/prctl.h>

#define DISPATCH_ON 1
#define DISPATCH_OFF 0

__thread struct os_stub *os_stub_self;
__thread volatile char os_dispatch_selector;
void (*os_site_callback)(long result, uintptr_t stack);

#if defined(__x86_64__)

#define N_SITES 32
#define SITE_BYTES 16

#ifdef GHOSTMEM_STATIC
/* In a file with the program, and perhaps with libc: the Makefile gives our code a section of its own. Source: ld(1), __start_SECNAME. */
extern const char __start_ghostmem_text[] __attribute__((visibility("hidden")));
extern const char __stop_ghostmem_text[] __attribute__((visibility("hidden")));
#define CODE_START __start_ghostmem_text
#define CODE_END __stop_ghostmem_text
#else
/* This library's file in memory, from its header to the end of its code. Source: ld(1), PROVIDEd symbols. */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char etext[] __attribute__((visibility("hidden")));
#define CODE_START __ehdr_start
#define CODE_END etext
#endif

extern const char stub_call[] __attribute__((visibility("hidden")));
extern const char stub_call_end[] __attribute__((visibility("hidden")));
extern const char stub_sites[] __attribute__((visibility("hidden")));

static _Atomic uintptr_t site_resumes[N_SITES];

uintptr_t site_after(long result, unsigned site, uintptr_t stack) __attribute__((visibility("hidden"), used));

__asm__(".text\n"
        ".balign 16\n"
        ".globl stub_call\n.hidden stub_call\n"
        "stub_call:\n"
        "    syscall\n"
        "    movq os_stub_self@gottpoff(%rip), %rcx\n"
        "    movq %fs:(%rcx), %rcx\n"
        "    movq (%rcx), %r11\n"
        "    movl $0, (%r11)\n"
        "    movq 16(%rcx), %rdi\n"
        "    movq 24(%rcx), %rsi\n"
        "    movq 32(%rcx), %rdx\n"
        "    movq 40(%rcx), %r10\n"
        "    movq 48(%rcx), %r8\n"
        "    movq 56(%rcx), %r9\n"
        "    jmp *8(%rcx)\n"
        ".globl stub_call_end\n.hidden stub_call_end\n"
        "stub_call_end:\n"
        ".balign 16\n"
        ".globl stub_sites\n.hidden stub_sites\n"
        "stub_sites:\n"
        ".set site, 0\n"
        ".rept 32\n"
        ".balign 16\n"
        "    syscall\n"
        "    lea -128(%rsp), %rsp\n" /* the red zone of whoever called */
        "    pushq $site\n"
        "    jmp stub_site_common\n"
        ".set site, site + 1\n"
        ".endr\n"
        ".balign 16\n"
        "stub_site_common:\n"
        "    push %rbp\n"
        "    mov %rsp, %rbp\n"
        "    push %rax\n"
        "    push %rdx\n"
        "    push %rsi\n"
        "    push %rdi\n"
        "    push %r8\n"
        "    push %r9\n"
        "    push %r10\n"
        "    push %rbx\n"
        "    sub $3136, %rsp\n" /* x87, SSE, AVX and AVX-512 state: what compiled code may touch */
        "    and $-64, %rsp\n"
        "    xor %ecx, %ecx\n"
        "    mov %rcx, 512(%rsp)\n"
        "    mov %rcx, 520(%rsp)\n"
        "    mov %rcx, 528(%rsp)\n"
        "    mov %rcx, 536(%rsp)\n"
        "    mov %rcx, 544(%rsp)\n"
        "    mov %rcx, 552(%rsp)\n"
        "    mov %rcx, 560(%rsp)\n"
        "    mov %rcx, 568(%rsp)\n"
        "    mov %rax, %rdi\n"
        "    mov 8(%rbp), %rsi\n"
        "    lea 144(%rbp), %rdx\n"
        "    mov %rdx, %rbx\n"
        "    mov $0xe7, %eax\n"
        "    xor %edx, %edx\n"
        "    xsave64 (%rsp)\n"
        "    mov %rbx, %rdx\n"
        "    call site_after\n"
        "    mov %rax, %r11\n"
        "    mov $0xe7, %eax\n"
        "    xor %edx, %edx\n"
        "    xrstor64 (%rsp)\n"
        "    lea -64(%rbp), %rsp\n"
        "    pop %rbx\n"
        "    pop %r10\n"
        "    pop %r9\n"
        "    pop %r8\n"
        "    pop %rdi\n"
        "    pop %rsi\n"
        "    pop %rdx\n"
        "    pop %rax\n"
        "    pop %rbp\n"
        "    lea 136(%rsp), %rsp\n"
        "    jmp *%r11\n");
_Static_assert(N_SITES == 32 && SITE_BYTES == 16, "as in the assembly");
_Static_assert(offsetof(struct os_stub, resume) == 8 && offsetof(struct os_stub, args) == 16, "as in the assembly");

uintptr_t site_after(long result, unsigned site, uintptr_t stack)
{
    os_site_callback(result, stack);
    return atomic_load(&site_resumes[site]);
}

int os_dispatch_arm(void)
{
    OS_MAY_FAIL(ENOSYS);
    /* cppcheck-suppress comparePointers ; the two ends of one file in memory */
    return (int)sys_call5(SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, DISPATCH_ON, CODE_START, CODE_END - CODE_START,
                          &os_dispatch_selector);
}

void os_dispatch_disarm(void)
{
    sys_call5(SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, DISPATCH_OFF, 0, 0, 0);
}

bool os_dispatch_is_possible(void)
{
    return os_dispatch_arm() == 0 && sys_call5(SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, DISPATCH_OFF, 0, 0, 0) == 0;
}

bool os_dispatch_traps_at(uintptr_t pc)
{
    return os_dispatch_selector == 1 && (pc < (uintptr_t)CODE_START || pc >= (uintptr_t)CODE_END);
}

uintptr_t os_stub_start(void)
{
    return (uintptr_t)stub_call;
}

enum os_stub_place os_stub_place(uintptr_t pc)
{
    uintptr_t offset = pc - (uintptr_t)stub_call;

    if (offset >= (uintptr_t)stub_call_end - (uintptr_t)stub_call)
        return OS_STUB_OUTSIDE;
    if (offset == 0)
        return OS_STUB_BEFORE;
    return offset == OS_SYSCALL_BYTES ? OS_STUB_AFTER : OS_STUB_BEHIND;
}

bool os_stub_leave(uintptr_t pc, uintptr_t *resume)
{
    if (pc < (uintptr_t)stub_call || pc >= (uintptr_t)stub_call_end)
        return false;
    *resume = pc == (uintptr_t)stub_call ? os_stub_self->resume - OS_SYSCALL_BYTES : os_stub_self->resume;
    return true;
}

uintptr_t os_site_for(uintptr_t resume)
{
    for (unsigned i = 0; i < N_SITES; i++) {
        uintptr_t none = 0;

        if (atomic_compare_exchange_strong(&site_resumes[i], &none, resume) || none == resume)
            return (uintptr_t)stub_sites + i * SITE_BYTES;
    }
    return 0;
}

bool os_site_leave(uintptr_t pc, uintptr_t *resume)
{
    uintptr_t offset = pc - (uintptr_t)stub_sites;

    if (offset >= (uintptr_t)N_SITES * SITE_BYTES || offset % SITE_BYTES != 0)
        return false;
    *resume = atomic_load(&site_resumes[offset / SITE_BYTES]) - OS_SYSCALL_BYTES;
    return true;
}

#else

int os_dispatch_arm(void)
{
    return -ENOSYS;
}

void os_dispatch_disarm(void)
{
}

bool os_dispatch_is_possible(void)
{
    return false;
}

bool os_dispatch_traps_at(uintptr_t pc)
{
    (void)pc;
    return false;
}

uintptr_t os_stub_start(void)
{
    return 0;
}

enum os_stub_place os_stub_place(uintptr_t pc)
{
    (void)pc;
    return OS_STUB_OUTSIDE;
}

bool os_stub_leave(uintptr_t pc, uintptr_t *resume)
{
    (void)pc;
    (void)resume;
    return false;
}

uintptr_t os_site_for(uintptr_t resume)
{
    (void)resume;
    return 0;
}

bool os_site_leave(uintptr_t pc, uintptr_t *resume)
{
    (void)pc;
    (void)resume;
    return false;
}

#endif
