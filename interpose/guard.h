/*
 * guard.h - what makes faults in the faulting thread as correct as handler threads: signals and system calls.
 *
 * Once guard.arm() has returned, in every thread of the program:
 *   - SIGBUS, SIGSEGV and SIGSYS are ours. What the program does with them is kept and given back when asked for; it is
 *     called for those that are not our faults.
 *   - Every handler of the program starts by way of ours, which builds the signal frame that the kernel would have built
 *     on the stack that the program asked for. Ours run on an alternate stack of their own.
 *   - System calls trap (dispatch.h). Those that concern signals, threads, forks and our descriptors are seen to here;
 *     of all others the memory that the kernel will touch is brought in and held until the call is over.
 *
 * guard.c has the trap and the wrappers for signals, guard_often.c those of the usual calls, guard_table.c what is known of each call.
 * guard_call.c, guard_ioctl.c and guard_rings.c find what the kernel touches, guard_hold.c what of it is managed memory.
 * guard_large.c has calls with more of it than the limit has, guard_signal.c the signals, guard_message.c those that
 * somebody sends, guard_thread.c the threads,
 * guard_summon.c those that exist when paging starts, guard_pins.c who else may have its memory, guard_trace.c those that ask to be traced.
 *
 * Calls: ghost, pager, dispatch, signal.  Locks: guard_signal.c has one, a leaf, taken with signals blocked.
 * Memory: a mapping for each thread.
 */
#ifndef GHOSTMEM_INTERPOSE_GUARD_H
#define GHOSTMEM_INTERPOSE_GUARD_H

#include "interpose/ghost.h"

#include "core/hold.h"
#include "platform/dispatch.h"
#include "platform/maps.h"
#include "platform/signal.h"

#include <string.h>
#include <time.h>
#include <ucontext.h>

/* Room for nested frames of several KiB (AVX-512, AMX) and our deepest handler; only what is used costs RAM. */
#define GUARD_STACK_BYTES ((size_t)128 << 10)

/* The signals that are ours alone. */
#define GUARD_HIDDEN GHOST_HIDDEN
#define GUARD_N_HIDDEN 3
#define GUARD_SUMMONS GHOST_SUMMONS

struct guard_thread {
    struct os_stub stub; /* first: os_stub_self leads here */
    struct hold hold;    /* for the system call under way */
    struct hold lasting; /* what the kernel touches at any time: the thread's control block */
    _Atomic uint32_t id; /* kernel's; 0: the record is free */
    _Atomic bool ending;
    uintptr_t born_stack; /* of a thread that is being made: its first stack pointer */
    unsigned char *stack; /* the alternate stack */
    stack_t own_stack;    /* what the program has set */
    _Atomic os_sigset blocked; /* of the hidden signals, what the program has blocked */
    _Atomic os_sigset pending; /* and what was sent to this thread and waits */
    siginfo_t sent[GUARD_N_HIDDEN];
    _Atomic bool poked;   /* another thread has left something for it */
    bool busy;            /* in our code on the program's stack */
    bool suspended;       /* `blocked` is for the length of a call; afterwards it is: */
    os_sigset blocked_before;
    _Atomic os_sigset waits; /* of the hidden signals, those for which the call under way waits */
    long number;          /* of the call that the stub makes */
    bool again;           /* that has been interrupted for nothing and is made again, */
    uint64_t end_ns;      /* until then; 0: its time does not count from its begin */
    struct timespec rest;
    long often;           /* number of the call that one of the wrappers makes; -1: none */
    struct guard_thread *child; /* that is being made */
    uintptr_t control;   /* its thread pointer, and where its stack was when it came in */
    uintptr_t stack_pointer;
    uintptr_t idle_addr; /* faults at this address found nothing to do, so often in a row */
    unsigned n_idle;
    bool returning; /* from a handler: `hold` was for its frame, and nobody has ended it */
    bool forking;
    bool clearing;           /* a child that is being made has none of the program's handlers: CLONE_CLEAR_SIGHAND */
    bool vforking;           /* what the child changes in this record is put right when it is gone */
    stack_t vfork_stack;
    os_sigset vfork_blocked;
    os_sigset vfork_pending;
    bool was_apart;
    struct guard_thread *vfork_child; /* holds its stack */
    os_sigset fork_mask;
    uint32_t tracee;      /* who has asked to be traced and is not yet: kernel's id */
    bool passing;         /* its calls do not trap any more */
    os_sigset mask;       /* given to the kernel instead of the program's */
    struct {
        const os_sigset *mask;
        size_t bytes;
    } masked;             /* the same for pselect(2) */
    bool apart;           /* its process shares the program's memory, but has signal handlers of its own: these */
    struct os_sigaction apart_actions[OS_SIGNALS + 1];
};

/* Code of a SIGSYS that a thread of ours sends itself: of no signal that the kernel or a program makes. Above SI_KERNEL. */
#define GUARD_NUDGE 0x6e7564

/* A trapped call's registers. */
struct guard_call {
    long number;
    unsigned long args[6];
    ucontext_t *context;
};

static inline struct guard_thread *guard_self(void)
{
    return (struct guard_thread *)(void *)os_stub_self;
}

/* ---- guard.c ---- */

extern const struct fault_guard guard;

/* Copy between memory of ours and what a pointer of the program's leads to. 0 or -EFAULT. In our handlers only. */
int guard_copy(void *to, const void *from, size_t bytes);

/* A trapped call is over, with this result. */
void guard_return(const struct guard_call *call, long result);

/* Let a trapped call go on with its registers as they are now. */
void guard_go_on(struct guard_thread *self, const struct guard_call *call);

/* The program's stack pointer where it was interrupted. */
uintptr_t guard_stack_pointer(const ucontext_t *context);

/* ---- guard_call.c ---- */

/* The thread is back from a handler: its frame may go. */
static inline void guard_end_return(struct guard_thread *self)
{
    if (self == NULL || !self->returning)
        return;
    self->returning = false;
    hold_end(&self->hold);
}

/* Bring in what the call touches, and hold it. True: the call has been made already. */
bool guard_hold_memory(struct guard_thread *self, const struct guard_call *call);

/* ---- guard_hold.c: of a hold that is not active, what of these bytes is managed memory ---- */

bool guard_is_managed(uintptr_t addr);

/* All of them; the program may take blocks that follow one another for one. */
void guard_hold_range(struct hold *hold, uintptr_t start, size_t bytes);

/* The same for a structure, where @bytes may be too large: no structure reaches beyond its block. */
void guard_hold_room(struct hold *hold, uintptr_t start, size_t bytes);

/* A string with its zero, @bytes at the most. */
void guard_hold_string(struct hold *hold, uintptr_t start, size_t bytes);

/* What our code needs of the stack that @pointer points into. */
void guard_hold_stack(struct hold *hold, uintptr_t pointer);

/* Bring the bytes in and hold them for the rest of the process. In a trap's handler. */
void guard_hold_for_good(uintptr_t start, size_t bytes);
/* The same until the calling thread has ended. */
void guard_hold_for_thread(uintptr_t start, size_t bytes);

/* The same while paging starts, when all of it is in RAM. The caller holds pager.lock. */
void guard_hold_at_start(uintptr_t start, size_t bytes);

/* ---- guard_ioctl.c: what a structure leads to whose form depends on a request ---- */

void guard_hold_request(struct hold *hold, unsigned request, uintptr_t at);
void guard_hold_bpf(struct hold *hold, unsigned command, uintptr_t at, size_t bytes);

/* Whatever any word of these bytes leads to, as far as its block goes, GUARD_INNER_BYTES at the most. */
#define GUARD_INNER_BYTES MIB
void guard_hold_pointers(struct hold *hold, uintptr_t at, size_t bytes);

/* ---- guard_call.c: structures that lead to others ---- */

void guard_hold_vector(struct hold *hold, uintptr_t at, size_t n);
void guard_hold_message(struct hold *hold, uintptr_t at);

/* ---- guard_rings.c: io_uring and AIO that the program made before paging started ---- */

void guard_hold_aio(struct hold *hold, uintptr_t at, size_t n);
void guard_hold_ring_call(struct hold *hold, const unsigned long *args);
void guard_hold_registration(struct hold *hold, const unsigned long *args);

/* Is there a ring with which paging must not start? If so, a line has been written. Context: paging starts. */
bool guard_is_polled(void);

/* Once all threads are in: hold what the rings name. False: it is not known which rings there are. Context: paging starts. */
bool guard_look_for_rings(void);

/* ---- guard_large.c ---- */

/* May the thread's hold, which is filled in and not active, be started as it is? Its pages are claimed meanwhile. */
bool guard_may_hold(struct guard_thread *self);

/* After guard_may_hold() has said no. True: the call has been made, in parts. False: make it with the hold as it is now. */
bool guard_make_in_parts(struct guard_thread *self, const struct guard_call *call);

/* ---- guard_signal.c ---- */

/* Our handlers take the place of all of the program's. @trap: for SIGSYS; @fault: for SIGBUS and SIGSEGV. */
void guard_take_signals(void (*trap)(int, siginfo_t *, void *), void (*fault)(int, siginfo_t *, void *));

/* In the child of a fork. */
void guard_signals_fork_child(struct guard_thread *self);

/* The process of @t, which @maker is about to make, will share memory and not handlers. A vfork child has its maker's record. */
void guard_signals_part(struct guard_thread *t, struct guard_thread *maker);

/* In a child whose handlers the kernel has cleared, ours among them. Before it can fault. */
void guard_signals_clear(struct guard_thread *self);

/* A hidden signal that the kernel itself has made, and that is not ours to deal with. */
void guard_pass_on(int number, siginfo_t *info, ucontext_t *context);

/* Was it a handler of ours that was interrupted? They have SIGSYS blocked, and the program never has. */
static inline bool guard_is_handler(const ucontext_t *context)
{
    os_sigset mask;

    memcpy(&mask, &context->uc_sigmask, sizeof mask);
    return (mask & os_signal_bit(SIGSYS)) != 0;
}

/* Does the calling handler run on the stack that the thread has for them? Not where the thread was not in when the signal came. */
static inline bool guard_is_at_home(const struct guard_thread *self)
{
    return self != NULL && (uintptr_t)__builtin_frame_address(0) - (uintptr_t)self->stack < GUARD_STACK_BYTES;
}

/* What the program wants done about a hidden signal. False: nothing. */
bool guard_act(struct guard_thread *self, int number, siginfo_t *info, ucontext_t *context);

bool guard_has_handler(int number);

/* All threads are in. */
void guard_signals_settled(void);

/*
 * Back from a handler, whose frame @context's stack pointer leads to. True: the program goes on from there. False: the kernel
 * is to be asked, the frame being as it should see it.
 */
bool guard_sigreturn(struct guard_thread *self, ucontext_t *context);

/* What the kernel reads when a handler returns whose frame is at @at, of the program's making or of ours. */
void guard_hold_frame(struct hold *hold, uintptr_t at);


/* The kernel's handlers are those of the program again. */
void guard_give_signals_back(void);

/* rt_sigaction(2), rt_sigprocmask(2), rt_sigpending(2), sigaltstack(2) of the program. Results or -errno. */
long guard_sigaction(struct guard_thread *self, const unsigned long *args);
long guard_sigprocmask(struct guard_thread *self, const unsigned long *args, os_sigset *mask);
long guard_sigpending(struct guard_thread *self, const unsigned long *args, os_sigset mask);
long guard_sigaltstack(struct guard_thread *self, const unsigned long *args, uintptr_t stack_pointer);

/* ---- guard_message.c ---- */

/* A hidden signal that somebody has sent, or a nudge. */
void guard_receive(int number, siginfo_t *info, ucontext_t *context);

/* The thread looks for what waits for it as soon as it is in the program again. */
void guard_nudge(void);

/* The same, if there is anything. */
void guard_send_pending(struct guard_thread *self);

/* All that waits is sent again, whether blocked or not. With every signal blocked. */
void guard_send_all_pending(struct guard_thread *self);

/* What waits for this thread or for any. */
os_sigset guard_messages(const struct guard_thread *self);

void guard_messages_fork_child(struct guard_thread *self);

/* The stub is going to make this call. */
void guard_note_call(struct guard_thread *self, long number, const unsigned long *args);

/* A handler of the program's is going to be called for this signal. @may_restart: it has SA_RESTART. */
void guard_leave_call(struct guard_thread *self, int number, ucontext_t *context, bool may_restart);

/* In a handler, first: what holds for the length of a call may be over. */
void guard_settle(struct guard_thread *self, const ucontext_t *context);

/* A call is about to be made for whose length this is the program's mask. */
void guard_suspend(struct guard_thread *self, os_sigset mask);

/* rt_sigtimedwait(2). True: it is over. */
bool guard_wait_for_signal(struct guard_thread *self, const struct guard_call *call);

/* ---- guard_pins.c ---- */

/* Once all threads are in: may the program's memory be pinned already? Then it is moved (fault.h). Context: paging starts. */
void guard_look_for_pins(void);

/* os_maps_each() with a buffer of ours. Context: paging starts. */
int guard_visit_maps(os_maps_visit *visit, void *arg);

/* The program uses this descriptor for what may pin memory: if it is a device, memory is moved from now on. */
void guard_note_device(int fd);

/*
 * From now on pages are moved, not extracted. For a program that is about to have memory pinned, or to forbid itself system calls:
 * moving needs fewer kinds of them.
 */
void guard_forbid_extracting(void);

/* ---- guard_trace.c ---- */

/* For ptrace(PTRACE_TRACEME), and signals that are sent after it. True: the call is over, or will be made again without a trap. */
bool guard_trace(struct guard_thread *self, const struct guard_call *call);

/* A fault that is not ours. True: it will come again, when no handler of ours is there any more. */
bool guard_trace_fault(struct guard_thread *self, const siginfo_t *info, ucontext_t *context);

/* The call is about to be made, its memory is held. False: the call is over already. */
bool guard_trace_exec(struct guard_thread *self, const struct guard_call *call);

/* ---- guard_summon.c ---- */

/*
 * Can all threads of the program be brought in now? Nothing is changed. 0; -EAGAIN: one cannot, which has been said if it lasts; or
 * another -errno. Context: paging starts.
 */
int guard_look_who_is_hindered(void);

/* Bring all others in. 0; -EAGAIN: one did not come in time, and it is to be tried again. Context: paging starts. */
int guard_arm_others(void);

/* A SIGSYS or GUARD_SUMMONS that was sent: is it the one by which a thread is brought in? */
bool guard_is_summons(int number, const siginfo_t *info, ucontext_t *context);

/* ---- guard_thread.c ---- */

/*
 * Call @run(@arg), which may enter the pager. Where the caller's stack is managed memory outside of the ghost range, a coroutine's say,
 * that is on a stack of ours: no fault could be served with the pager's lock held. No handler of the program's runs meanwhile.
 */
void guard_run(void (*run)(void *arg), void *arg);

/* The same for whoever asks something of the heap or the pager, without handlers of the program meanwhile. */
static inline void guard_ask(void (*what)(void *arg), void *arg)
{
    struct ghost_quiet quiet = ghost_quiet_begin();

    guard_run(what, arg);
    ghost_quiet_end(quiet);
}

/* Bring the calling thread in. @context: of the handler it runs in; NULL: it runs in none. 0 or -errno. */
int guard_arm_thread(ucontext_t *context);

/* Is @id the kernel's of a thread that is in? */
bool guard_knows(uint32_t id);

/* The calling thread is about to end by exit(2). Its record is another's once the thread is gone. */
void guard_thread_ends(struct guard_thread *self);

/*
 * The calling thread has not been brought in, and a signal has come. It is brought in, and the signal comes again. False: that
 * cannot be, or must not: it shares the program's memory, and is another process.
 */
bool guard_bring_in(ucontext_t *context);

/* A thread but @self that takes the signal, rather one that waits for it than one that does not block it. NULL: none. */
struct guard_thread *guard_taker(const struct guard_thread *self, os_sigset signal, uint32_t *id, bool *waits);

/* The clone that is under way is not made, but begun again later. */
void guard_clone_undo(struct guard_thread *self);

/*
 * Bytes below a thread pointer that have to be in RAM at any time: libc's thread-local variables, and ours, which the kernel reads at each
 * system call. At least 16 KiB.
 */
uintptr_t guard_control_below(void);

/* Call @visit(@arg, thread pointer, a stack pointer of it) for each thread that is in. */
void guard_each_thread(void (*visit)(void *arg, uintptr_t control, uintptr_t stack), void *arg);

/* Is it the only thread of the program? */
bool guard_is_alone(const struct guard_thread *self);

/* Do the calling thread's forks come to guard_clone()? Not those of a vfork child, which has its parent's record. */
bool guard_traps_forks(void);

/* clone(2) and the like. */
void guard_clone(struct guard_thread *self, struct guard_call *call);

/* In the child of a fork. */
void guard_fork_child(void);

#endif
