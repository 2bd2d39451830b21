/*
 * visit.h - a thread of the program inside the pager: no handler of its own runs meanwhile, and the stack that it stands
 * on does not leave.
 *
 * A handler could touch a page that its own thread has in transit: so signals are blocked. Where the stack is ghost memory, a missing
 * page of the stack could be served neither under pager.lock nor with the fault's signal blocked: so the pages of it that our code may need
 * are held, and touched, before.
 *
 * Calls: hold, pagetable, os (signal, thread).  Locks: none.  Memory: the struct.
 */
#ifndef GHOSTMEM_CORE_VISIT_H
#define GHOSTMEM_CORE_VISIT_H

#include "core/hold.h"
#include "platform/signal.h"

/* Pages that our code needs below the stack pointer: twice what its deepest way needs, a fault that freezes in place ... */
#define VISIT_PAGES_BELOW 8u
/* ... and pages above it, with libc's frames around fork(): these run in the child before faults are served there. */
#define VISIT_PAGES_ABOVE 2u

/* Threads that are in the pager at the same time on stacks of ghost memory. More than these wait. */
#define VISIT_STACKS 64u

struct visit_stack {
    _Atomic uint32_t thread; /* kernel's id of who stands on it; 0: free */
    struct hold hold;
};

struct visits {
    /* Set by visits_init(), constant afterwards. */
    const struct space *space;
    const struct pagetable *table;
    struct holds *holds;

    struct visit_stack stacks[VISIT_STACKS];
};

struct visit {
    os_sigset mask;
    struct visit_stack *stack; /* NULL: it is not in ghost memory */
};

void visits_init(struct visits *visits, const struct space *space, const struct pagetable *table, struct holds *holds);

/* Before paging starts: bring into RAM what our code needs of the caller's stack, if that is ghost memory. */
void visit_touch_stack(const struct space *space);

/* What our code may need of the stack in ghost memory that @pointer points into: [*@first, *@end). */
void visit_stack_pages(const struct visits *visits, uintptr_t pointer, page_number *first, page_number *end);

/* Context: a thread of the program that holds no lock of ours below heap.lock. The table is there. */
void visit_begin(struct visits *visits, struct visit *visit);
void visit_end(const struct visit *visit);

/* In a forked child: nobody else is in here any more. */
void visits_fork_child(struct visits *visits, const struct visit *visit);

#endif
