/* stack.c - see stack.h. */
#include "platform/stack.h"

#if defined(__x86_64__)

__asm__(".text\n"
        ".globl os_call_on_stack\n.hidden os_call_on_stack\n.type os_call_on_stack, @function\n"
        "os_call_on_stack:\n"
        "    push %rbp\n"
        "    mov %rsp, %rbp\n"
        "    mov %rdi, %rax\n"
        "    mov %rsi, %rdi\n"
        "    mov %rdx, %rsp\n"
        "    and $-16, %rsp\n"
        "    call *%rax\n"
        "    mov %rbp, %rsp\n"
        "    pop %rbp\n"
        "    ret\n"
        ".size os_call_on_stack, . - os_call_on_stack\n");

#else

void os_call_on_stack(void (*run)(void *arg), void *arg, uintptr_t top)
{
    (void)top;
    run(arg);
}

#endif
