/*
 * stack.h - a function on another stack.
 *
 * Calls: nothing.  Locks: none.  Memory: the caller's.
 */
#ifndef GHOSTMEM_PLATFORM_STACK_H
#define GHOSTMEM_PLATFORM_STACK_H

#include <stdint.h>

/* Call @run(@arg) with the stack that ends at @top, and come back. Nothing unwinds through it. */
void os_call_on_stack(void (*run)(void *arg), void *arg, uintptr_t top);

#endif
