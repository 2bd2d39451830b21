/*
 * lock_check.c - test builds: every take of a lock keeps the order of enum os_lock_rank, and functions named _locked have their lock.
 *
 * There is a record for each thread that holds a lock. It is found by the thread pointer, which threads of ours have too; they have no
 * thread-local variables. A lock has one holder, so there are no more records than locks.
 */
#include "platform/lock.h"

#ifdef GHOSTMEM_CHECK
#include "platform/file.h"
#include "platform/sys.h"

#include <string.h>

/* A program has one lock of each rank, a unit test a few. */
#define RECORDS (8u * LOCK_RANKS)

static struct record {
    _Atomic uintptr_t thread; /* 0: free */
    _Atomic(const struct os_lock *) locks[LOCK_RANKS];
} records[RECORDS];

static const char *const names[LOCK_RANKS] = {
    [LOCK_NONE] = "a lock without a rank",
    [LOCK_START] = "LOCK_START",
    [LOCK_MARKS] = "LOCK_MARKS",
    [LOCK_SLABS] = "LOCK_SLABS",
    [LOCK_RECORDS] = "LOCK_RECORDS",
    [LOCK_HEAP] = "LOCK_HEAP",
    [LOCK_APART] = "LOCK_APART",
    [LOCK_JOB] = "LOCK_JOB",
    [LOCK_PAGER] = "LOCK_PAGER",
    [LOCK_POOL] = "LOCK_POOL",
    [LOCK_MAP] = "LOCK_MAP",
    [LOCK_WRITTEN] = "LOCK_WRITTEN",
    [LOCK_ACTIONS] = "LOCK_ACTIONS",
    [LOCK_MESSAGES] = "LOCK_MESSAGES",
};

static uintptr_t this_thread(void)
{
    uintptr_t thread;

#if defined(__x86_64__)
    __asm__("mov %%fs:0, %0" : "=r"(thread)); /* the word at the thread pointer is its own address */
#elif defined(__aarch64__)
    __asm__("mrs %0, tpidr_el0" : "=r"(thread));
#endif
    return thread;
}

static void say(const char *text)
{
    sys_call3(SYS_write, 2, text, strlen(text));
}

static _Noreturn void complain(const char *what, const char *first, const char *between, const char *second)
{
    say("ghostmem: lock order: ");
    say(what);
    say(first);
    say(between);
    say(second);
    say("\n");
    os_abort();
}

/* NULL: the calling thread holds nothing. */
static struct record *own_record(void)
{
    uintptr_t self = this_thread();

    for (unsigned i = 0; i < RECORDS; i++)
        if (atomic_load_explicit(&records[i].thread, memory_order_relaxed) == self)
            return &records[i];
    return NULL;
}

static struct record *new_record(void)
{
    for (unsigned i = 0; i < RECORDS; i++) {
        uintptr_t free = 0;

        if (atomic_compare_exchange_strong(&records[i].thread, &free, this_thread()))
            return &records[i];
    }
    complain("", "more holders than locks", "", "");
}

/* @record lets go of what it has of @rank; one without a lock is free. */
static void forget(struct record *record, uint32_t rank)
{
    atomic_store_explicit(&record->locks[rank], NULL, memory_order_relaxed);
    for (unsigned i = 0; i < LOCK_RANKS; i++)
        if (atomic_load_explicit(&record->locks[i], memory_order_relaxed) != NULL)
            return;
    atomic_store_explicit(&record->thread, 0, memory_order_release);
}

void os_lock_check_order(const struct os_lock *lock)
{
    const struct record *record = own_record();

    if (lock->rank == LOCK_NONE || lock->rank >= LOCK_RANKS)
        complain("", names[LOCK_NONE], " is taken", "");
    for (unsigned rank = lock->rank; record != NULL && rank < LOCK_RANKS; rank++)
        if (atomic_load_explicit(&record->locks[rank], memory_order_relaxed) != NULL)
            complain("", names[lock->rank], " is taken by a thread that holds ", names[rank]);
}

void os_lock_check_taken(const struct os_lock *lock)
{
    struct record *record = own_record();

    if (record == NULL)
        record = new_record();
    atomic_store_explicit(&record->locks[lock->rank], lock, memory_order_relaxed);
}

void os_lock_check_released(const struct os_lock *lock)
{
    struct record *record = own_record();

    if (record == NULL || atomic_load_explicit(&record->locks[lock->rank], memory_order_relaxed) != lock)
        complain("", names[lock->rank], " is released by a thread that does not hold it", "");
    forget(record, lock->rank);
}

void os_lock_check_reset(const struct os_lock *lock)
{
    for (unsigned i = 0; i < RECORDS; i++)
        if (atomic_load_explicit(&records[i].locks[lock->rank], memory_order_relaxed) == lock)
            forget(&records[i], lock->rank);
}

void os_lock_check_held(enum os_lock_rank rank, const char *caller)
{
    const struct record *record = own_record();

    if (record == NULL || atomic_load_explicit(&record->locks[rank], memory_order_relaxed) == NULL)
        complain(caller, "() is called without ", names[rank], "");
}
#else
/* ISO C forbids an empty translation unit. */
typedef int os_lock_check_is_off;
#endif
