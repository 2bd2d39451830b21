/*
 * guard_summon.c - the threads that exist when paging starts are brought in, each by a signal to itself. See guard.h.
 *
 * The signal is the one by which libc changes the user id of all threads: no thread blocks it for long that libc has made. Where it cannot
 * be sent, SIGSYS is. A thread that cannot take either now is hindered: it waits in the kernel for a child that it has made by vfork(2),
 * or blocks both. Then paging does not start yet, and is tried again: nobody stands still for long.
 */
#include "interpose/guard.h"

#include "core/log.h"
#include "platform/file.h"
#include "platform/sys.h"
#include "platform/thread.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * Signals are blocked for a moment where libc makes a thread, and threads stand in vfork(2) where a child begins by posix_spawn(3): on a
 * busy machine a moment is some time slices. Rounds of 1 ms and a little more, the first time; afterwards one look.
 */
#define HINDERED_ROUNDS 60
/* The same where it has been asked: of signals that come one after the other the lowest is taken first. */
#define ASKED_ROUNDS 100
/* So long no thread has come, of those that could. */
#define PATIENCE_MS 1000
/* When somebody waits for a reason. */
#define SAY_AFTER_MS 1000

/* ---- who has been summoned ---- */

/* What a thread was blocked in when it was summoned: the signal must not be seen by it as EINTR. */
struct summons {
    uint32_t id;
    unsigned attempt; /* the last one that has asked it */
    _Atomic bool has_answered;
    long number; /* -1: none */
    uintptr_t pc;
};

/* Each part is twice as long as the one before, and stays. With so many parts there is room for each id that the kernel has. */
#define PART ((unsigned)(PAGE_BYTES / sizeof(struct summons)))
#define PARTS 16u
static struct summons *_Atomic parts[PARTS];
static _Atomic unsigned n_summoned;
/* What the signal carries. */
#define MARK ((void *)(uintptr_t)parts)

static unsigned part_of(unsigned index, unsigned *offset)
{
    unsigned k = 31 - (unsigned)__builtin_clz(index / PART + 1);

    *offset = index - PART * ((1u << k) - 1);
    return k;
}

/* Of one that is there. */
static struct summons *summons_at(unsigned index)
{
    unsigned offset;
    unsigned k = part_of(index, &offset);

    return &atomic_load(&parts[k])[offset];
}

/* NULL: no memory. */
static struct summons *next_summons(void)
{
    unsigned offset;
    unsigned k = part_of(atomic_load(&n_summoned), &offset);
    void *memory;

    if (k >= PARTS)
        return NULL;
    if (atomic_load(&parts[k]) == NULL) {
        if (os_mem_map(PAGE_BYTES << k, &memory) != 0)
            return NULL;
        atomic_store(&parts[k], memory);
    }
    return &atomic_load(&parts[k])[offset];
}

static struct summons *summons_of(uint32_t id)
{
    for (unsigned i = 0; i < atomic_load(&n_summoned); i++)
        if (summons_at(i)->id == id)
            return summons_at(i);
    return NULL;
}

/* ---- what is known of a task ---- */

/* Source: include/linux/sched.h: threads of the kernel's that share the program's memory, as those of io_uring, run none of its code. */
#define KERNEL_WORKER (0x10ul | 0x4000ul) /* PF_IO_WORKER, PF_USER_WORKER */
/* What follows the flags, up to the signals that are blocked: of the first 31. Source: proc(5), /proc/PID/stat. */
#define BEFORE_FLAGS 5
#define BEFORE_BLOCKED 22

struct task {
    uint32_t listed; /* its id, as /proc has it */
    char state;
    bool is_worker;
    bool blocks_traps; /* SIGSYS */
};

/* False: it has ended. */
static bool read_task(uint32_t listed, struct task *task)
{
    char path[64];
    char text[1024];
    char *at;

    *task = (struct task){.listed = listed};
    (void)log_format(path, sizeof path, 0, "/proc/self/task/%d/stat", (int)listed);
    if (os_file_read(path, text, sizeof text) <= 0)
        return false;
    at = strrchr(text, ')');
    if (at == NULL || at[1] == '\0' || at[2] == '\0')
        return true;
    task->state = at[2];
    at += 3;
    for (unsigned i = 0; i < BEFORE_FLAGS; i++)
        (void)os_number(at, &at, 10);
    task->is_worker = (os_number(at, &at, 10) & KERNEL_WORKER) != 0;
    for (unsigned i = 0; i < BEFORE_BLOCKED; i++)
        (void)os_number(at, &at, 10);
    task->blocks_traps = (os_number(at, &at, 10) & os_signal_bit(SIGSYS)) != 0;
    return task->state != 'Z' && task->state != 'X';
}

/* A number behind a key of its status, in hexadecimal. 0: not known. */
static uint64_t status_word(uint32_t listed, const char *key)
{
    char path[64];
    char text[2048];
    const char *at;

    (void)log_format(path, sizeof path, 0, "/proc/self/task/%d/status", (int)listed);
    if (os_file_read(path, text, sizeof text) <= 0 || (at = strstr(text, key)) == NULL)
        return 0;
    return os_number(at + strlen(key), NULL, 16);
}

/* The call that it waits in. -1: none, or not known. Source: proc(5), /proc/PID/task/TID/syscall: see note_call(). */
static long call_of(uint32_t listed, char *text, size_t bytes, char **end)
{
    char path[64];

    *end = text;
    (void)log_format(path, sizeof path, 0, "/proc/self/task/%d/syscall", (int)listed);
    if (os_file_read(path, text, bytes) <= 0 || text[0] < '0' || text[0] > '9')
        return -1;
    return (long)os_number(text, end, 0);
}

/* Why it cannot take the signal now. NULL: it can, for all that is known. @was_asked: its mask counts too; in a handler it may be full. */
static const char *hindrance(const struct task *task, bool was_asked)
{
    char text[256];
    char *end;

    if (task->state == 'D') {
        long number = call_of(task->listed, text, sizeof text, &end);

        if (number == SYS_vfork || number == SYS_clone || number == SYS_clone3)
            return "waits for a child that it has made by vfork or posix_spawn";
    }
    if (was_asked && task->blocks_traps && (status_word(task->listed, "\nSigBlk:") & os_signal_bit(GUARD_SUMMONS)) != 0)
        return "blocks SIGSYS and the signals of libc";
    return NULL;
}

/* The ids that the task has, from the pid namespace of /proc to its own: the last is ours. Source: proc(5), NSpid. 0: not known. */
static uint32_t id_here(const char *path, bool *differs)
{
    static const char key[] = "\nNSpid:";
    char text[2048];
    char *at = NULL;
    char *end;
    uint32_t id = 0;

    if (os_file_read(path, text, sizeof text) > 0)
        at = strstr(text, key);
    if (at == NULL)
        return 0;
    at += sizeof key - 1;
    for (unsigned n = 0;; n++, at = end) {
        uint32_t next = (uint32_t)os_number(at, &end, 10);

        if (end == at || *at == '\n')
            break;
        id = next;
        *differs |= n > 0;
        if (*end == '\n')
            break;
    }
    return id;
}

/* ---- summoning ---- */

/* Source: proc(5), /proc/PID/task/TID/syscall: number, six arguments, stack pointer, program counter. */
static void note_call(struct summons *summons, uint32_t id, uint32_t listed)
{
    char text[256];
    char *at;

    summons->id = id;
    atomic_store(&summons->has_answered, false);
    summons->number = call_of(listed, text, sizeof text, &at);
    for (unsigned i = 0; summons->number >= 0 && i < 8; i++)
        summons->pc = os_number(at, &at, 0);
}

/* Once in each attempt: another thread may have this id by now. */
static void summon(uint32_t id, uint32_t listed, unsigned attempt)
{
    siginfo_t info = {.si_signo = GUARD_SUMMONS, .si_code = SI_QUEUE};
    struct summons *summons = summons_of(id);
    bool is_new = summons == NULL;
    bool is_open = !is_new && !atomic_load(&summons->has_answered);

    if (is_new)
        summons = next_summons();
    if (summons == NULL || (!is_new && summons->attempt == attempt))
        return;
    summons->attempt = attempt;
    note_call(summons, id, listed);
    if (is_new)
        atomic_fetch_add(&n_summoned, 1);
    info.si_value.sival_ptr = MARK;
    /* The user's queue of signals is full, or a sandbox does not allow it. Not twice: a second answer would be a message. */
    if (os_signal_queue(id, GUARD_SUMMONS, &info) != 0 && !is_open)
        (void)os_signal_thread(id, SIGSYS);
}

struct round {
    unsigned attempt; /* those that are not in are summoned; 0: they are only looked at */
    bool ids_differ;  /* /proc is of another pid namespace */
    long n_missing;
    long n_hindered;  /* of them */
    uint32_t missing; /* one of them, as /proc has it: a hindered one if there is any */
    const char *why;  /* it is hindered */
};

static void look_at_thread(void *arg, const char *name)
{
    struct round *round = arg;
    struct task task;
    uint32_t listed = (uint32_t)os_number(name, NULL, 10);
    uint32_t id = listed;
    char path[64];
    const char *why;

    if (round->ids_differ && listed != 0) {
        (void)log_format(path, sizeof path, 0, "/proc/self/task/%d/status", (int)listed);
        id = id_here(path, &round->ids_differ);
    }
    if (id == 0 || guard_knows(id) || id == os_thread_id() || os_thread_has_id(id) || !read_task(listed, &task) || task.is_worker)
        return;
    why = hindrance(&task, round->attempt != 0);
    round->n_missing++;
    round->n_hindered += why != NULL;
    if (why != NULL || round->why == NULL) {
        round->missing = listed;
        round->why = why;
    }
    if (round->attempt != 0)
        summon(id, listed, round->attempt);
}

/* Returns how many threads are not in yet; or -errno. */
static long look_round(struct round *round)
{
    int error;

    round->n_missing = round->n_hindered = 0;
    round->why = NULL;
    error = os_directory_visit("/proc/self/task", look_at_thread, round);
    return error != 0 ? error : round->n_missing;
}

static int say_unseen(int error)
{
    log_line(LOG_ERROR, "the threads of the process cannot be seen in /proc/self/task: %e", -error);
    return error;
}

/* When this was first so, and whether it has been said. */
static uint64_t hindered_since_ns;
static bool has_said;

static void say_who_is_missing(const struct round *round)
{
    char path[64];
    char name[64];
    char *end;

    (void)log_format(path, sizeof path, 0, "/proc/self/task/%d/comm", (int)round->missing);
    if (os_file_read(path, name, sizeof name) <= 0)
        name[0] = '\0';
    end = strchr(name, '\n');
    if (end != NULL)
        *end = '\0';
    log_line(LOG_ERROR, "paging cannot start yet, and the limit is passed until it can: thread %d (%s) %s", (int)round->missing, name,
             round->why != NULL ? round->why : "does not take the signal by which it is to be watched");
}

/* Paging does not start now. */
static int put_off(const struct round *round)
{
    uint64_t now = os_now_ns();

    if (hindered_since_ns == 0)
        hindered_since_ns = now;
    if (!has_said && now - hindered_since_ns >= (uint64_t)SAY_AFTER_MS * 1000000) {
        has_said = true;
        say_who_is_missing(round);
    }
    return -EAGAIN;
}

int guard_look_who_is_hindered(void)
{
    struct round round = {0};

    (void)id_here("/proc/thread-self/status", &round.ids_differ);
    for (unsigned i = hindered_since_ns == 0 ? 0 : HINDERED_ROUNDS - 1; i < HINDERED_ROUNDS; i++) {
        long n_missing = look_round(&round);

        if (n_missing < 0)
            return say_unseen((int)n_missing);
        if (round.n_hindered == 0)
            return 0;
        os_sleep_ms(1);
    }
    return put_off(&round);
}

int guard_arm_others(void)
{
    uint64_t end_ns = os_now_ns() + (uint64_t)PATIENCE_MS * 1000000;
    static unsigned n_attempts;
    struct round round = {.attempt = ++n_attempts};
    unsigned n_clear = 0;
    unsigned n_hindered = 0;
    long n_fewest = INT32_MAX;

    (void)id_here("/proc/thread-self/status", &round.ids_differ);
    /* A thread made meanwhile by one that was not in yet shows in the second look. */
    while (n_clear < 2) {
        long n_missing = look_round(&round);

        if (n_missing < 0)
            return say_unseen((int)n_missing);
        n_clear = n_missing == 0 ? n_clear + 1 : 0;
        if (n_missing == 0)
            continue;
        if (n_missing < n_fewest) {
            n_fewest = n_missing;
            end_ns = os_now_ns() + (uint64_t)PATIENCE_MS * 1000000;
        }
        n_hindered = round.n_hindered == n_missing ? n_hindered + 1 : 0;
        if (n_hindered > ASKED_ROUNDS || os_now_ns() > end_ns)
            return put_off(&round);
        sys_call0(SYS_sched_yield);
        os_sleep_ms(1);
    }
    return 0;
}

bool guard_is_summons(int number, const siginfo_t *info, ucontext_t *context)
{
#if defined(__x86_64__)
    static const unsigned char syscall_instruction[OS_SYSCALL_BYTES] = {0x0f, 0x05};
    greg_t *r = context->uc_mcontext.gregs;
    struct summons *summons;
    bool may_be_ours;

    if (number == GUARD_SUMMONS)
        may_be_ours = info->si_code == SI_QUEUE && info->si_value.sival_ptr == MARK;
    else /* where the user's queue of signals is full it comes without its siginfo */
        may_be_ours = info->si_code == SI_TKILL ? info->si_pid == os_process_id() : info->si_code == SI_USER && info->si_pid == 0;
    if (!may_be_ours)
        return false;
    summons = summons_of(os_thread_id());
    if (summons == NULL || atomic_exchange(&summons->has_answered, true))
        return number == GUARD_SUMMONS; /* a second one */
    if (summons->number >= 0 && r[REG_RAX] == -EINTR && (uintptr_t)r[REG_RIP] == summons->pc &&
        memcmp((const void *)(summons->pc - OS_SYSCALL_BYTES), syscall_instruction, OS_SYSCALL_BYTES) == 0) {
        r[REG_RAX] = summons->number;
        r[REG_RIP] -= OS_SYSCALL_BYTES;
    }
    return true;
#else
    (void)number;
    (void)info;
    (void)context;
    return false;
#endif
}
