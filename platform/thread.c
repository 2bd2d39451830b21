/* thread.c - see thread.h. */
#include "platform/thread.h"

#include "platform/inject.h"
#include "platform/lock.h"
#include "platform/mem.h"
#include "platform/sys.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

/* Deepest use seen is the handler's with a PAGEMAP_SCAN buffer, 6 KiB; the rest is never touched. */
#define STACK_BYTES ((size_t)64 << 10)
/*
 * A zeroed stand-in for libc's thread area, so that a stray access relative to the thread pointer (a stack
 * protector's canary in somebody's object file) reads zeros of ours and not another thread's data.
 */
#define TLS_BYTES ((size_t)16 << 10)
#define NAME_BYTES 16 /* Source: prctl(2), PR_SET_NAME */

/* Where the stacks of our threads lie: a thread knows itself by where its local variables are. */
#define MAX_THREADS 64
static _Atomic uintptr_t stacks[MAX_THREADS];
/* Their ids, each with its process above it: a forked child has none of them. 0: it has ended. */
static _Atomic uint64_t ids[MAX_THREADS];

#define OWN_FILES ((uintptr_t)1) /* beside the address */

/* 0: the caller is none of ours. */
static uintptr_t own_stack(void)
{
    char here;

    for (size_t i = 0; i < MAX_THREADS; i++) {
        uintptr_t stack = atomic_load_explicit(&stacks[i], memory_order_relaxed);

        if (stack == 0)
            return 0;
        if ((uintptr_t)&here - (stack & ~OWN_FILES) < STACK_BYTES)
            return stack;
    }
    return 0;
}

bool os_thread_is_ours(void)
{
    return own_stack() != 0;
}

bool os_thread_has_own_files(void)
{
    return (own_stack() & OWN_FILES) != 0;
}

static uint64_t id_in_process(uint32_t id)
{
    return (uint64_t)sys_call0(SYS_getpid) << 32 | id;
}

bool os_thread_has_id(uint32_t id)
{
    for (size_t i = 0; i < MAX_THREADS; i++)
        if (atomic_load(&ids[i]) == id_in_process(id))
            return true;
    return false;
}

/* Returns its place; MAX_THREADS: there is none. */
static size_t remember_stack(uintptr_t stack)
{
    for (size_t i = 0; i < MAX_THREADS; i++) {
        uintptr_t none = 0;

        if (atomic_compare_exchange_strong(&stacks[i], &none, stack))
            return i;
    }
    return MAX_THREADS;
}

struct start {
    os_thread_main *run;
    void *arg;
    char name[NAME_BYTES];
    size_t place; /* in `stacks` */
    bool keeps_capabilities;
    bool is_idle;
    struct os_event ready;
    _Atomic bool is_ready;
};

/* Longer than any start takes: the thread has been killed by a sandbox. */
#define START_MS 1000

/* Without capabilities a thread that outlives the program's own loss of privileges is worth less to an attacker. */
void os_thread_drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};

    sys_call2(SYS_capset, &header, none);
}

static void thread_main(struct start *start)
{
    sys_call2(SYS_prctl, PR_SET_NAME, start->name);
    if (start->place < MAX_THREADS)
        atomic_store(&ids[start->place], id_in_process(os_thread_id()));
    if (start->is_idle)
        sys_call3(SYS_sched_setscheduler, 0, SCHED_IDLE, &(struct sched_param){0});
    if (!start->keeps_capabilities)
        os_thread_drop_capabilities();
    atomic_store(&start->is_ready, true);
    os_event_signal(&start->ready);
    start->run(start->arg);
    if (start->place < MAX_THREADS)
        atomic_store(&ids[start->place], 0);
    for (;;)
        sys_call1(SYS_exit, 0);
}

/*
 * clone(2) for a thread that starts in thread_main(@start) on @stack_top; the parent gets its id.
 * Written out because libc's clone() wrapper keeps books about threads in some versions.
 */
#if defined(__x86_64__)
static long clone_thread(unsigned long flags, void *stack_top, void *tls, struct start *start)
{
    long result;
    register long r10 __asm__("r10") = 0;
    register void *r8 __asm__("r8") = tls;
    register void *r12 __asm__("r12") = (void *)(uintptr_t)thread_main;
    register void *r13 __asm__("r13") = start;

    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "mov %%r13, %%rdi\n\t"
                     "call *%%r12\n\t"
                     "hlt\n"
                     "1:"
                     : "=a"(result)
                     : "a"(SYS_clone), "D"(flags), "S"(stack_top), "d"(0L), "r"(r10), "r"(r8), "r"(r12), "r"(r13)
                     : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
static long clone_thread(unsigned long flags, void *stack_top, void *tls, struct start *start)
{
    register long x8 __asm__("x8") = SYS_clone;
    register long x0 __asm__("x0") = (long)flags;
    register long x1 __asm__("x1") = (long)stack_top;
    register long x2 __asm__("x2") = 0;
    register long x3 __asm__("x3") = (long)tls;
    register long x4 __asm__("x4") = 0;
    register void *x12 __asm__("x12") = (void *)(uintptr_t)thread_main;
    register void *x13 __asm__("x13") = start;

    __asm__ volatile("svc 0\n\t"
                     "cbnz x0, 1f\n\t"
                     "mov x29, xzr\n\t"
                     "mov x0, x13\n\t"
                     "blr x12\n\t"
                     "brk 0\n"
                     "1:"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x12), "r"(x13)
                     : "memory");
    return x0;
}
#endif

static void wait_until_ready(struct start *start)
{
    uint64_t end_ns = os_now_ns() + (uint64_t)START_MS * 1000000;

    for (;;) {
        uint32_t ticket = os_event_ticket(&start->ready);

        if (atomic_load(&start->is_ready) || os_now_ns() > end_ns)
            return;
        os_event_wait(&start->ready, ticket, START_MS);
    }
}

static int start_thread(os_thread_main *run, void *arg, const char *name, bool share_files, bool is_idle)
{
    /* Untraced: a tracer of the program would stop them too, and then wait for a page that they are to bring in. */
    unsigned long flags = CLONE_VM | CLONE_FS | CLONE_SIGHAND | CLONE_THREAD | CLONE_SETTLS | CLONE_UNTRACED;
    uint64_t all_signals = ~(uint64_t)0;
    uint64_t previous;
    struct start *start;
    char *memory;
    char *tls;
    long result;
    int error;

    OS_MAY_FAIL(EAGAIN);
    error = os_mem_map(STACK_BYTES + TLS_BYTES, (void **)&memory);
    if (error != 0)
        return error;
    /* Low to high: stack, zeroed thread area, thread pointer, start record. */
    tls = memory + STACK_BYTES + TLS_BYTES / 2;
    /* cppcheck-suppress pointerSize */
    memcpy(tls, &(void *){tls}, sizeof(void *)); /* x86-64: the word at the thread pointer is its own address */
    start = (struct start *)(void *)(memory + STACK_BYTES + TLS_BYTES - sizeof *start);
    start->run = run;
    start->arg = arg;
    strncpy(start->name, name, NAME_BYTES - 1);
    start->keeps_capabilities = !share_files;
    start->is_idle = is_idle;
    if (share_files)
        flags |= CLONE_FILES;
    start->place = remember_stack((uintptr_t)memory | (!share_files || os_thread_has_own_files() ? OWN_FILES : 0));
    sys_call4(SYS_rt_sigprocmask, SIG_SETMASK, &all_signals, &previous, sizeof all_signals);
    result = clone_thread(flags, memory + STACK_BYTES, tls, start);
    sys_call4(SYS_rt_sigprocmask, SIG_SETMASK, &previous, 0, sizeof previous);
    if (sys_failed(result)) {
        os_mem_unmap(memory, STACK_BYTES + TLS_BYTES);
        return (int)result;
    }
    wait_until_ready(start);
    return 0;
}

int os_thread_start(os_thread_main *run, void *arg, const char *name, bool share_files)
{
    return start_thread(run, arg, name, share_files, false);
}

int os_thread_start_idle(os_thread_main *run, void *arg, const char *name)
{
    return start_thread(run, arg, name, true, true);
}

unsigned os_cpu_count(void)
{
    cpu_set_t set;
    long bytes = sys_call3(SYS_sched_getaffinity, 0, sizeof set, &set);

    if (sys_failed(bytes))
        return 1;
    return (unsigned)CPU_COUNT_S((size_t)bytes, &set);
}

uint32_t os_thread_id(void)
{
    return (uint32_t)sys_call0(SYS_gettid);
}

static uint64_t read_clock(clockid_t clock)
{
    struct timespec now;

    sys_call2(SYS_clock_gettime, clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t os_now_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

/* ---- the cheap clock ---- */

enum tick_source {
    TICKS_STAND_STILL,
    TICKS_OF_KERNEL, /* os_now_ns() */
    TICKS_OF_PROCESSOR,
};

static _Atomic int tick_source;
static uint64_t tick_origin;
static uint64_t tick_origin_ns;

#if defined(__x86_64__)
/* Does it count at one rate, whatever the processor does? Source: AMD64 Architecture Programmer's Manual 3, CPUID 8000_0007h. */
static bool has_steady_counter(void)
{
    unsigned a, b, c, d;

    return __get_cpuid(0x80000007u, &a, &b, &c, &d) != 0 && (d & 1u << 8) != 0;
}

static uint64_t read_counter(void)
{
    return __builtin_ia32_rdtsc();
}
#else
static bool has_steady_counter(void)
{
    return false;
}

static uint64_t read_counter(void)
{
    return 0;
}
#endif

void os_ticks_start(void)
{
    int allowed = PR_TSC_ENABLE;

    (void)sys_call2(SYS_prctl, PR_GET_TSC, &allowed); /* refused: it is not forbidden either */
    tick_origin_ns = os_now_ns();
    if (!has_steady_counter() || allowed != PR_TSC_ENABLE) {
        atomic_store(&tick_source, TICKS_OF_KERNEL);
        return;
    }
    tick_origin = read_counter();
    atomic_store(&tick_source, TICKS_OF_PROCESSOR);
}

void os_ticks_stop(void)
{
    if (atomic_load(&tick_source) == TICKS_OF_PROCESSOR)
        atomic_store(&tick_source, TICKS_STAND_STILL);
}

uint64_t os_ticks(void)
{
    int source = atomic_load_explicit(&tick_source, memory_order_relaxed);

    return source == TICKS_OF_PROCESSOR ? read_counter() : source == TICKS_OF_KERNEL ? os_now_ns() : 0;
}

uint64_t os_ticks_ns(uint64_t ticks)
{
    uint64_t passed;

    if (atomic_load(&tick_source) != TICKS_OF_PROCESSOR)
        return ticks; /* after os_ticks_stop(): a rough figure, of a processor with 1 GHz */
    passed = read_counter() - tick_origin;
    return passed == 0 ? 0 : (uint64_t)((double)ticks * (double)(os_now_ns() - tick_origin_ns) / (double)passed);
}

uint64_t os_wall_clock_s(void)
{
    struct timespec now = {0};

    sys_call2(SYS_clock_gettime, CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec;
}

uint64_t os_thread_cpu_ns(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t os_process_cpu_ns(void)
{
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

void os_sleep_ms(unsigned ms)
{
    struct timespec span = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    sys_call2(SYS_nanosleep, &span, 0);
}

void os_thread_send_bus_error(uint32_t thread, uintptr_t addr)
{
    /* The kernel lets nobody but itself send a code of its own, BUS_ADRERR say, to another thread. */
    siginfo_t info = {.si_signo = SIGBUS, .si_code = SI_QUEUE};

    info.si_value.sival_ptr = (void *)addr;
    sys_call4(SYS_rt_tgsigqueueinfo, sys_call0(SYS_getpid), thread, SIGBUS, &info);
}
