/*
 * visit.h - a thread of the program inside the pager: no handler of its own runs meanwhile, and the stack that it stands
 * on does not leave.
 *
 * A handler could touch a page that its own thread has in transit. And where the stack itself is ghost memory, a missing
 * page of it could not be served under pager.lock, nor with the fault's signal blocked: so the pages that our code may
 * need are held, and touched, before.
 *
 * Calls: hold, pagetable, os (signal, thread).  Locks: none.  Memory: the struct.
 */
#ifndef GHOSTMEM_CORE_VISIT_H
#define GHOSTMEM_CORE_VISIT_H

#include "core/hold.h"
#include "platform/signal.h"

/* What our code needs of a stack: twice what the deepest way, freezing in place of a fault, needs ... */
#define VISIT_PAGES_BELOW 8u
/* ... and libc's frames around fork(), which go on without a fault handler in the child. */
#define VISIT_PAGES_ABOVE 2u

/* Threads that are in here at the same time on stacks of ghost memory; more than that wait. */
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

/* Before paging starts: what our code needs of a stack in ghost memory is in RAM. */
void visit_touch_stack(const struct space *space);

/* What our code may need of the stack in ghost memory that @pointer points into: [*@first, *@end). */
void visit_stack_pages(const struct visits *visits, uintptr_t pointer, page_number *first, page_number *end);

/* Context: a thread of the program that holds no lock of ours but heap.lock. The table is there. */
void visit_begin(struct visits *visits, struct visit *visit);
void visit_end(const struct visit *visit);

/* In a forked child: nobody else is in here any more. */
void visits_fork_child(struct visits *visits, const struct visit *visit);

#endif
