/*
 * probe_confined.c - the program gives up rights, or never had them: a sandbox of seccomp, a small address space, another
 * root directory.
 *
 * What is special about a run is in the environment: see tests/preload/test_world.c.
 */
#include "tests/preload/probe.h"

#include <errno.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Memory of before, of now, freed, and had again as zeros. */
static void use_memory(char *before, size_t bytes)
{
    char *p = filled(bytes, 2);

    check(before, bytes, 1);
    check(p, bytes, 2);
    fill(before, bytes, 3);
    check(before, bytes, 3);
    free(p);
    p = calloc(1, bytes);
    for (size_t i = 0; i < bytes; i += 64)
        CHECK(p != NULL && p[i] == 0);
    check(before, bytes, 3);
    free(p);
    fill(before, bytes, 1);
}

/* ---- seccomp ---- */

/* What a program with plain malloc needs to work and to end. */
static const unsigned allowed[] = {
    SYS_read, SYS_write, SYS_close, SYS_fstat, SYS_newfstatat, SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise,
    SYS_brk, SYS_futex, SYS_rt_sigreturn, SYS_exit, SYS_exit_group,
};
#define N_ALLOWED (sizeof allowed / sizeof allowed[0])

/* What paging needs once it runs, and the report at the end: doc/limits.md. */
static const unsigned for_paging[] = {
    SYS_ioctl, SYS_rt_sigprocmask, SYS_clock_gettime, SYS_sched_yield, SYS_nanosleep, SYS_getpid, SYS_gettid, SYS_pread64,
    SYS_pwrite64, SYS_openat, SYS_get_robust_list, SYS_process_vm_readv, SYS_process_madvise, SYS_prctl,
};
/* And to start it. */
static const unsigned for_the_start[] = {
    SYS_userfaultfd, SYS_pipe2, SYS_vmsplice, SYS_fcntl, SYS_getdents64, SYS_rt_sigaction, SYS_sigaltstack, SYS_tgkill,
    SYS_arch_prctl, SYS_clone, SYS_capset, SYS_unshare, SYS_close_range, SYS_poll, SYS_getrandom, SYS_sched_getaffinity,
    SYS_sched_setscheduler,
};

static void allow(struct sock_filter *filter, unsigned short *n, const unsigned *calls, size_t n_calls)
{
    for (size_t i = 0; i < n_calls; i++) {
        filter[(*n)++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i], 0, 1);
        filter[(*n)++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
}

static void enter(unsigned other, const char *wish)
{
    struct sock_filter filter[128] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, nr)),
    };
    struct sock_fprog program = {.len = 1, .filter = filter};
    unsigned flags = strstr(wish, "all") != NULL ? SECCOMP_FILTER_FLAG_TSYNC : 0;

    allow(filter, &program.len, allowed, N_ALLOWED);
    if (strstr(wish, "paging") != NULL)
        allow(filter, &program.len, for_paging, sizeof for_paging / sizeof for_paging[0]);
    if (strstr(wish, "start") != NULL)
        allow(filter, &program.len, for_the_start, sizeof for_the_start / sizeof for_the_start[0]);
    filter[program.len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, other);
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program) == 0);
}

static unsigned answer_of(const char *wish)
{
    if (strstr(wish, "trap") != NULL)
        return SECCOMP_RET_TRAP;
    if (strstr(wish, "kill") != NULL)
        return SECCOMP_RET_KILL_PROCESS;
    return SECCOMP_RET_ERRNO | (strstr(wish, "enosys") != NULL ? ENOSYS : EPERM);
}

/* PROBE_SANDBOX: what other calls get; whether paging is to run "before"; whether "all" threads enter; what is allowed besides. */
static void enters_a_sandbox(size_t bytes)
{
    const char *wish = getenv("PROBE_SANDBOX");
    char *before = malloc(bytes / 32);

    if (wish == NULL)
        wish = "eperm";
    CHECK(before != NULL);
    free(malloc(1)); /* libc's first allocation asks for random bytes */
    if (strstr(wish, "before") != NULL) {
        before = filled(bytes, 1);
        enter(answer_of(wish), wish);
    } else {
        enter(answer_of(wish), wish);
        before = filled(bytes, 1);
    }
    for (int round = 0; round < 3; round++)
        use_memory(before, bytes);
}

/* ---- from the start of the program ---- */

static int is_the_first_run(void)
{
    return getenv("PROBE_RUNS_AGAIN") == NULL;
}

static void run_again(const char *name, size_t bytes)
{
    char megabytes[24];

    snprintf(megabytes, sizeof megabytes, "%zu", bytes >> 20);
    execl("/proc/self/exe", "probe", name, megabytes, (char *)NULL);
    CHECK(0);
}

/* @option: of the shell's ulimit. The limit is set in a process that does not page: what pages could have no more from then on. */
static void live_in(const char *name, char option, size_t room, size_t bytes)
{
    char *p;
    pid_t child;

    if (is_the_first_run()) {
        char command[64];
        char self[PATH_MAX];
        char megabytes[24];

        CHECK(setenv("PROBE_RUNS_AGAIN", "1", 1) == 0);
        CHECK(realpath("/proc/self/exe", self) != NULL);
        snprintf(command, sizeof command, "ulimit -%c %zu && exec \"$0\" \"$@\"", option, room >> 10);
        snprintf(megabytes, sizeof megabytes, "%zu", bytes >> 20);
        execl("/bin/sh", "sh", "-c", command, self, name, megabytes, (char *)NULL);
        CHECK(0);
    }
    p = filled(bytes, 1);
    use_memory(p, bytes);
    child = fork();
    if (child == 0) {
        use_memory(p, bytes);
        _exit(0);
    }
    use_memory(p, bytes);
    expect_success(child);
    check(p, bytes, 1);
    free(p);
}

#define GIB ((size_t)1 << 30)

static void lives_in_4_gib_of_address_space(size_t bytes)
{
    live_in("lives_in_4_gib_of_address_space", 'v', 4 * GIB, bytes);
}

static void lives_in_1_gib_of_address_space(size_t bytes)
{
    live_in("lives_in_1_gib_of_address_space", 'v', GIB, bytes);
}

static void lives_in_256_mib_of_address_space(size_t bytes)
{
    live_in("lives_in_256_mib_of_address_space", 'v', GIB / 4, bytes);
}

static void lives_in_1_gib_of_data(size_t bytes)
{
    live_in("lives_in_1_gib_of_data", 'd', GIB, bytes);
}

static void lives_in_256_mib_of_data(size_t bytes)
{
    live_in("lives_in_256_mib_of_data", 'd', GIB / 4, bytes);
}

/* The library and its settings go on to the programs that it starts. */
static void runs_itself_again(size_t bytes)
{
    char *p = filled(bytes, 1);
    pid_t child;

    if (!is_the_first_run()) {
        check(p, bytes, 1);
        return;
    }
    child = fork();
    if (child == 0) {
        check(p, bytes, 1);
        CHECK(setenv("PROBE_RUNS_AGAIN", "1", 1) == 0);
        run_again("runs_itself_again", bytes);
    }
    expect_success(child);
    check(p, bytes, 1);
    CHECK(setenv("PROBE_RUNS_AGAIN", "1", 1) == 0);
    run_again("runs_itself_again", bytes);
}

/* ---- other rights ---- */

static void both_sides_go_on(char *p, size_t bytes)
{
    pid_t child;

    use_memory(p, bytes);
    child = fork();
    if (child == 0) {
        use_memory(p, bytes);
        _exit(0);
    }
    use_memory(p, bytes);
    expect_success(child);
    check(p, bytes, 1);
}

static void process_may_not_be_looked_at(size_t bytes)
{
    char *p = filled(bytes, 1);

    CHECK(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0);
    both_sides_go_on(p, bytes);
}

static void process_was_never_to_be_looked_at(size_t bytes)
{
    CHECK(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0);
    both_sides_go_on(filled(bytes, 1), bytes);
}

/* What every user may. */
/* Neither has semaphores: nothing to undo, which is the same. Threads have a list in common from the start. */
static bool semaphores_are_alike(void)
{
    pid_t child = fork();
    long result;

    if (child == 0)
        for (;;)
            pause();
    result = syscall(SYS_kcmp, getpid(), child, 6 /* KCMP_SYSVSEM */, 0, 0);
    CHECK(child > 0 && kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
    return result <= 0; /* or it may not be asked */
}

static void process_shares_less(size_t bytes)
{
    char *p = filled(bytes, 1);

    CHECK(semaphores_are_alike());
    CHECK(unshare(CLONE_FS) == 0);
    CHECK(unshare(CLONE_FILES) == 0);
    CHECK(unshare(CLONE_SYSVSEM) == 0);
    both_sides_go_on(p, bytes);
    CHECK(syscall(SYS_close_range, 900, 901, 2 /* CLOSE_RANGE_UNSHARE */) == 0);
    both_sides_go_on(p, bytes);
}

/* Nothing is to be found there: no /proc, no /dev. Root alone may. */
static void root_directory_is_empty(size_t bytes)
{
    char path[] = "/tmp/ghostmem-probe-XXXXXX";
    char *p = filled(bytes, 1);

    CHECK(mkdtemp(path) != NULL);
    CHECK(chroot(path) == 0 && chdir("/") == 0);
    both_sides_go_on(p, bytes);
    /* The way back, to remove it. */
    CHECK(mkdir("/way", 0700) == 0 && chroot("/way") == 0);
    for (int i = 0; i < 64; i++)
        CHECK(chdir("..") == 0);
    CHECK(chroot(".") == 0);
    {
        char way[64];

        snprintf(way, sizeof way, "%s/way", path);
        CHECK(rmdir(way) == 0 && rmdir(path) == 0);
    }
}

static void user_changes(size_t bytes)
{
    char *p = filled(bytes, 1);

    if (getuid() == 0)
        CHECK(setgid(65534) == 0 && setuid(65534) == 0);
    both_sides_go_on(p, bytes);
}

const struct probe probes_confined[] = {
    {"enters_a_sandbox", enters_a_sandbox},
    {"lives_in_4_gib_of_address_space", lives_in_4_gib_of_address_space},
    {"lives_in_1_gib_of_address_space", lives_in_1_gib_of_address_space},
    {"lives_in_256_mib_of_address_space", lives_in_256_mib_of_address_space},
    {"lives_in_1_gib_of_data", lives_in_1_gib_of_data},
    {"lives_in_256_mib_of_data", lives_in_256_mib_of_data},
    {"runs_itself_again", runs_itself_again},
    {"process_may_not_be_looked_at", process_may_not_be_looked_at},
    {"process_was_never_to_be_looked_at", process_was_never_to_be_looked_at},
    {"process_shares_less", process_shares_less},
    {"root_directory_is_empty", root_directory_is_empty},
    {"user_changes", user_changes},
    {NULL, NULL},
};
