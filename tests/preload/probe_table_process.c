/* probe_table_process.c - calls about memory, the process and the machine. See probe_table.c. */
#include "tests/preload/probe_table.h"

#include <elf.h>
#include <errno.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/times.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>

static long other_memory(char *at)
{
    struct iovec *here = (struct iovec *)(void *)at;
    struct iovec *there = (struct iovec *)(void *)(at + 32);
    long result;

    memset(at + 64, 'r', 100);
    *here = (struct iovec){at + 200, 100};
    *there = (struct iovec){at + 64, 100};
    result = CALL(SYS_process_vm_readv, (long)getpid(), here, 1L, there, 1L, 0L);
    *here = (struct iovec){at + 200, 50};
    *there = (struct iovec){at + 300, 50};
    result = result * 1000 + CALL(SYS_process_vm_writev, (long)getpid(), here, 1L, there, 1L, 0L);
    memset(at, 0, 64);
    return result;
}

/* They say something about pages; the contents stay. */
static long pages_of_ours(char *at)
{
    struct iovec *range = (struct iovec *)(void *)at;
    void **page = (void **)(void *)(at + 32);
    int *status = (int *)(void *)(at + 48);
    long self = syscall(SYS_pidfd_open, (long)getpid(), 0);
    char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    long result;

    CHECK(p != MAP_FAILED);
    memset(at + 64, 'p', 900);
    *range = (struct iovec){p, PAGE};
    result = CALL(SYS_process_madvise, self, range, 1L, MADV_COLD, 0);
    *page = p;
    result = result * 10 + CALL(SYS_move_pages, 0, 1L, page, NULL, status, 0);
    result = result * 10 + *status;
    result = result * 10 + CALL(SYS_mlock, at + 64, 900L);
    result = result * 10 + CALL(SYS_munlock, at + 64, 900L);
    result = result * 10 + CALL(SYS_mlock2, at + 64, 900L, 0);
    result = result * 10 + CALL(SYS_munlock, at + 64, 900L);
    memset(at, 0, 64);
    if (self >= 0)
        close((int)self);
    CHECK(munmap(p, PAGE) == 0);
    return result;
}

static long mincore_of_ours(char *at)
{
    void *p = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    long result = CALL(SYS_mincore, p, 64 * PAGE, at);

    CHECK(munmap(p, 64 * PAGE) == 0);
    return result;
}

/* What they write differs from call to call; that they write is seen. */
static long clocks_and_counts(char *at)
{
    long result;

    memset(at, 0x55, ROOM);
    result = CALL(SYS_clock_gettime, CLOCK_REALTIME, at) == 0 && memcmp(at, "UUUUUUUU", 8) != 0;
    result += CALL(SYS_gettimeofday, at + 100, NULL) == 0 && memcmp(at + 100, "UUUUUUUU", 8) != 0 ? 2 : 0;
    result += CALL(SYS_getrusage, RUSAGE_SELF, at + 200) == 0 && memcmp(at + 200, "UUUUUUUU", 8) != 0 ? 4 : 0;
    result += CALL(SYS_sysinfo, at + 400) == 0 && memcmp(at + 400, "UUUUUUUU", 8) != 0 ? 8 : 0;
    result += CALL(SYS_times, at + 600) != -1 && memcmp(at + 600, "UUUUUUUU", 8) != 0 ? 16 : 0;
    result += CALL(SYS_getrandom, at + 700, 64L, 0) == 64 && memcmp(at + 700, "UUUUUUUU", 8) != 0 ? 32 : 0;
    memset(at, 0, ROOM);
    return result;
}

static long about_the_process(char *at)
{
    struct rlimit limit = {0, 0};
    long n_groups;
    long result;

    memset(at, 0, ROOM);
    result = CALL(SYS_uname, at);
    result += CALL(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, at + 400);
    memcpy(&limit, at + 400, sizeof limit);
    CHECK(limit.rlim_max >= limit.rlim_cur);
    result += CALL(SYS_sched_getaffinity, 0, 128L, at + 500) > 0;
    result += 10 * CALL(SYS_sched_setaffinity, 0, 128L, at + 500);
    n_groups = syscall(SYS_getgroups, 0, NULL);
    if (n_groups <= 20) {
        result += CALL(SYS_getgroups, n_groups, at + 700) >= 0;
        result += 100 * CALL(SYS_setgroups, n_groups, at + 700);
    }
    result += CALL(SYS_getresuid, at + 800, at + 804, at + 808);
    result += CALL(SYS_prctl, 16 /* PR_GET_NAME */, at + 900);
    return result;
}

/* The kernel's messages come and go, and not everybody may see them. */
static long kernel_messages(char *at)
{
    long result = CALL(SYS_syslog, 3L /* read all */, at, 300L);

    CHECK(result <= 0 || at[0] == '<');
    memset(at, 0, ROOM);
    return result >= 0 ? 1 : -errno;
}

static long keys(char *at)
{
    long key;

    memcpy(at, "user", 5);
    memcpy(at + 10, "ghostmem", 9);
    memset(at + 20, 'k', 200);
    key = CALL(SYS_add_key, at, at + 10, at + 20, 200L, -1L /* KEY_SPEC_THREAD_KEYRING */);
    if (key < 0)
        return -errno;
    return CALL(SYS_keyctl, 11L /* KEYCTL_READ */, key, at + 300, 300L);
}

static long words_to_wait_on(char *at)
{
    uint32_t *word = (uint32_t *)(void *)at;
    struct {
        uint64_t value;
        uint64_t address;
        uint32_t flags;
        uint32_t reserved;
    } *wait = (void *)(at + 64);
    struct timespec *span = (struct timespec *)(void *)(at + 128);
    long result;

    *word = 1;
    *span = (struct timespec){0, 1000};
    result = CALL(SYS_futex, word, FUTEX_WAIT, 1, span) == -1 ? errno : 0;
    result = result * 1000 + (CALL(SYS_futex, word, FUTEX_WAIT, 2, span) == -1 ? errno : 0);
    result = result * 1000 + CALL(SYS_futex, word, FUTEX_WAKE_OP, 1, 1L, word, FUTEX_OP(FUTEX_OP_ADD, 1, FUTEX_OP_CMP_EQ, 1));
    CHECK(*word == 2);
#ifdef SYS_futex_waitv
    wait->value = 1;
    wait->address = (uintptr_t)word;
    wait->flags = 2; /* FUTEX_32 */
    wait->reserved = 0;
    result = result * 1000 + (CALL(SYS_futex_waitv, wait, 1L, 0L, NULL, 0L) == -1 ? errno : 0);
#endif
    memset(at, 0, 160);
    return result;
}

/* By way of a vector that leads to them. */
static long registers_of_another(char *at)
{
    struct iovec *vector = (struct iovec *)(void *)(at + 12000);
    long pid = fork();
    long result = 0;
    int status;

    if (pid == 0)
        for (;;)
            pause();
    if (syscall(SYS_ptrace, PTRACE_SEIZE, pid, NULL, NULL) == 0) { /* else it may not, or there is a tracer already */
        CHECK(syscall(SYS_ptrace, PTRACE_INTERRUPT, pid, NULL, NULL) == 0);
        CHECK(waitpid((pid_t)pid, &status, 0) == pid && WIFSTOPPED(status));
        *vector = (struct iovec){at, sizeof(struct user_regs_struct)};
        result = error_or(CALL(SYS_ptrace, PTRACE_GETREGSET, pid, (long)NT_PRSTATUS, vector));
        result = result * 1000 + (long)vector->iov_len;
        result = result * 1000 + error_or(CALL(SYS_ptrace, PTRACE_SETREGSET, pid, (long)NT_PRSTATUS, vector));
    }
    CHECK(kill((pid_t)pid, SIGKILL) == 0 && waitpid((pid_t)pid, &status, 0) == pid);
    memset(at, 0, LARGE_ROOM);
    return result;
}

static long descriptor_of_a_child(char *at)
{
    struct clone_args *args = (struct clone_args *)(void *)at;
    int *fd = (int *)(void *)(at + 12000);
    long pid;

    *fd = -1;
    *args = (struct clone_args){.flags = CLONE_PIDFD, .pidfd = (uintptr_t)fd, .exit_signal = SIGCHLD};
    pid = CALL(SYS_clone3, args, sizeof *args);
    if (pid == 0)
        _exit(0);
    pid = error_or(pid);
    if (pid > 0) {
        CHECK(*fd >= 0 && close(*fd) == 0);
        expect_success((pid_t)pid);
    }
    memset(at, 0, LARGE_ROOM);
    return pid < 0 ? pid : 0;
}

/* Linux 6.8: include/uapi/linux/mount.h. */
#ifndef SYS_statmount
#define SYS_statmount 457
#define SYS_listmount 458
#endif

static long mounts(char *at)
{
    struct {
        uint32_t size;
        uint32_t spare;
        uint64_t mount;
        uint64_t param;
    } *request = (void *)at;
    uint64_t *numbers = (void *)(at + 32);
    long result;

    request->size = sizeof *request;
    request->mount = ~0UL; /* LSMT_ROOT */
    result = error_or(CALL(SYS_listmount, request, numbers, 1000L, 0));
    request->mount = numbers[0];
    request->param = 2; /* STATMOUNT_MNT_BASIC */
    return result * 1000 + error_or(CALL(SYS_statmount, request, at + 8200, 8000L, 0));
}

/* Nothing that is a module. */
static long module(char *at)
{
    memset(at, 'm', LARGE_ROOM);
    return error_or(CALL(SYS_init_module, at, LARGE_ROOM, ""));
}

call_case *const large_cases_of_processes[] = {
    registers_of_another,
    descriptor_of_a_child,
    mounts,
    module,
    NULL,
};

call_case *const cases_of_processes[] = {
    other_memory,
    pages_of_ours,
    mincore_of_ours,
    clocks_and_counts,
    about_the_process,
    kernel_messages,
    keys,
    words_to_wait_on,
    NULL,
};
