/*
 * probe_rows.c - each row of the guard's table of system calls: the call is made with its buffers frozen, and gives what it gives with
 * buffers that are there. What a call does not get far enough for, because it would do harm or needs rights, ends as it does otherwise.
 *
 * A case says what the call's arguments are, independently of the table. A row without a case fails.
 */
#include "tests/preload/probe.h"

#include "interpose/guard_table.h"
#include "platform/abi.h"

#include <asm/ldt.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <linux/keyctl.h>
#include <linux/mempolicy.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- how a case is written ---- */

enum argument_kind {
    NUMBER,
    DESCRIPTOR, /* one of `descriptors` */
    SIZE,       /* bytes of the large buffer, divided by `value` */
    IN,
    OUT,
    UNSTEADY, /* written, and otherwise each time */
    LARGE_IN,
    LARGE_OUT,
    LARGE_UNSTEADY,
};

struct argument {
    enum argument_kind kind;
    long value;
    const void *data;
    size_t bytes;
};

#define N(number) {.kind = NUMBER, .value = (long)(number)}
#define F(which) {.kind = DESCRIPTOR, .value = (which)}
#define S(text) {.kind = IN, .data = (text), .bytes = sizeof(text)}
#define I(type, ...) {.kind = IN, .data = &(const type){__VA_ARGS__}, .bytes = sizeof(type)}
#define O(n) {.kind = OUT, .bytes = (n)}
#define U(n) {.kind = UNSTEADY, .bytes = (n)}
#define Z(n) {.kind = UNSTEADY, .value = 1, .bytes = (n)} /* zeros before */
#define SZ(unit) {.kind = SIZE, .value = (unit)}
#define LI {.kind = LARGE_IN}
#define LO {.kind = LARGE_OUT}
#define LU {.kind = LARGE_UNSTEADY}

#define N_SLOTS 9 /* six arguments, and what they lead to */

/* The word at @offset of slot @from leads to slot @to, and the word behind it says how long that is if @says_length. */
struct link {
    uint8_t from;
    uint8_t offset;
    uint8_t to;
    bool says_length;
};

enum {
    ALIGNED = 1,    /* the call wants words where words stand */
    ANY_RESULT = 2, /* only whether it fails, and how, is compared */
    CLOSES = 4,     /* the result is a descriptor */
};

struct row_case {
    long number;
    struct argument slots[N_SLOTS];
    struct link links[5];
    unsigned flags;
    bool elsewhere; /* another probe has it */
};

#define A(...) .slots = {__VA_ARGS__}
#define LINKS(...) .links = {__VA_ARGS__}
#define C(call, ...) {.number = SYS_##call, __VA_ARGS__}
#define ELSEWHERE(call) {.number = SYS_##call, .elsewhere = true}

enum { NOTHING, ZEROS, CONTENTS, DIRECTORY, ENDS, ENDS_IN, TALK, LISTENS, EPOLL, TIMER, HERE, N_DESCRIPTORS };
static int descriptors[N_DESCRIPTORS];

#define SPAN 0, 1000 /* seconds, nanoseconds */
#define NO_FILE "/no/such/file"
#define XATTR "user.ghost"

struct attribute {
    uint64_t value;
    uint32_t bytes;
    uint32_t flags;
};

struct request_of_mounts {
    uint32_t bytes;
    uint32_t spare;
    uint64_t mount;
    uint64_t param;
};

struct waiter {
    uint64_t value;
    uint64_t address;
    uint32_t flags;
    uint32_t reserved;
};

struct words {
    uint64_t words[8];
};

struct bits {
    unsigned char bytes[16384];
};

static const struct row_case cases[] = {
    C(read, A(F(ZEROS), LO, SZ(1))),
    C(write, A(F(CONTENTS), LI, SZ(1))),
    C(open, A(S("/usr/bin"), N(O_RDONLY)), .flags = CLOSES),
    C(stat, A(S("/usr/bin"), O(144))),
    C(fstat, A(F(DIRECTORY), O(144))),
    C(lstat, A(S("/usr/bin"), O(144))),
    C(poll, A(I(struct pollfd, .fd = -1, .revents = 7), N(1), N(0))),
    C(rt_sigaction, A(N(SIGUSR1), N(0), O(32), N(8))),
    C(rt_sigprocmask, A(N(SIG_BLOCK), I(struct words, {0}), O(8), N(8))),
    ELSEWHERE(rt_sigreturn),
    C(ioctl, A(F(ENDS), N(0x541b /* FIONREAD */), O(4))),
    C(pread64, A(F(ZEROS), LO, SZ(1), N(0))),
    C(pwrite64, A(F(CONTENTS), LI, SZ(1), N(0))),
    C(readv, A(F(ZEROS), I(struct iovec, 0), N(1), [6] = LO), LINKS({1, 0, 6, true})),
    C(writev, A(F(CONTENTS), I(struct iovec, 0), N(1), [6] = LI), LINKS({1, 0, 6, true})),
    C(access, A(S("/usr/bin"), N(R_OK))),
    C(pipe, A(U(8))),
    C(select, A(N(1), I(struct words, {1}), O(8), O(8), Z(16))),
    C(mincore, A(N(0), SZ(1), U(64))),
    C(shmctl, A(N(0), N(14 /* SHM_INFO */), U(112)), .flags = ANY_RESULT),
    C(nanosleep, A(I(struct timespec, SPAN), O(16))),
    C(getitimer, A(N(0), O(32))),
    C(setitimer, A(N(0), I(struct words, {0}), O(32))),
    C(sendfile, A(F(ENDS_IN), F(CONTENTS), I(struct words, {8}), N(10))),
    C(connect, A(F(TALK), I(struct sockaddr_un, AF_UNIX, "no such thing"), N(16))),
    C(accept, A(F(LISTENS), U(110), I(socklen_t, 110))),
    C(sendto, A(F(TALK), I(struct words, {1}), N(64), N(MSG_DONTWAIT), I(struct sockaddr_un, AF_UNIX, "nobody"), N(10))),
    C(recvfrom, A(F(TALK), O(64), N(64), N(MSG_DONTWAIT), O(110), I(socklen_t, 110))),
    C(sendmsg, A(F(TALK), I(struct msghdr, .msg_iovlen = 1), N(MSG_DONTWAIT), [6] = I(struct iovec, 0), [7] = I(struct words, {1})),
      LINKS({1, 16, 6, false}, {6, 0, 7, true})),
    C(recvmsg, A(F(TALK), I(struct msghdr, .msg_iovlen = 1), N(MSG_DONTWAIT), [6] = I(struct iovec, 0), [7] = O(64), [8] = O(100)),
      LINKS({1, 16, 6, false}, {6, 0, 7, true}, {1, 32, 8, true})),
    C(bind, A(F(TALK), I(struct sockaddr_un, AF_UNIX, NO_FILE), N(20))),
    C(getsockname, A(F(TALK), O(110), I(socklen_t, 110))),
    C(getpeername, A(F(TALK), O(110), I(socklen_t, 110))),
    C(socketpair, A(N(AF_UNIX), N(SOCK_STREAM), N(0), U(8))),
    C(setsockopt, A(F(TALK), N(SOL_SOCKET), N(SO_KEEPALIVE), I(int, 1), N(4))),
    C(getsockopt, A(F(TALK), N(SOL_SOCKET), N(SO_TYPE), O(4), I(socklen_t, 4))),
    ELSEWHERE(clone), /* probe_children.c */
    ELSEWHERE(fork),
    ELSEWHERE(execve), /* probe_table_files.c */
    ELSEWHERE(exit),   /* probe_faults.c */
    ELSEWHERE(exit_group),
    C(wait4, A(N(-1), O(4), N(WNOHANG), O(144))),
    C(uname, A(O(390))),
    C(semop, A(N(-1), I(struct words, {0}), N(1))),
    C(semctl, A(N(0), N(0), N(19 /* SEM_INFO */), U(112)), .flags = ANY_RESULT),
    C(msgsnd, A(N(-1), LI, N(8), N(04000 /* IPC_NOWAIT */))),
    C(msgrcv, A(N(-1), LO, N(8), N(0), N(04000 /* IPC_NOWAIT */))),
    C(msgctl, A(N(0), N(12 /* MSG_INFO */), U(120)), .flags = ANY_RESULT),
    C(fcntl, A(F(CONTENTS), N(F_GETLK), I(struct flock, .l_type = F_WRLCK))),
    C(truncate, A(S(NO_FILE), N(0))),
    C(getdents, A(F(DIRECTORY), LU, SZ(1)), .flags = ANY_RESULT),
    C(getcwd, A(LO, SZ(1))),
    C(chdir, A(S("/usr/bin"))),
    C(rename, A(S(NO_FILE), S(NO_FILE))),
    C(mkdir, A(S("/usr/bin"), N(0700))),
    C(rmdir, A(S(NO_FILE))),
    C(creat, A(S(NO_FILE), N(0600))),
    C(link, A(S(NO_FILE), S(NO_FILE))),
    C(unlink, A(S(NO_FILE))),
    C(symlink, A(S(NO_FILE), S(NO_FILE))),
    C(readlink, A(S("/proc/self/exe"), O(200), N(200))),
    C(chmod, A(S(NO_FILE), N(0))),
    C(chown, A(S(NO_FILE), N(-1), N(-1))),
    C(lchown, A(S(NO_FILE), N(-1), N(-1))),
    C(gettimeofday, A(U(16), O(8))),
    C(getrlimit, A(N(7), O(16))),
    C(getrusage, A(N(0), U(144))),
    C(sysinfo, A(U(112))),
    C(times, A(U(32)), .flags = ANY_RESULT),
    C(ptrace, A(N(PTRACE_PEEKUSER), N(-1), N(0), O(8))),
    C(syslog, A(N(3), LU, SZ(1)), .flags = ANY_RESULT),
    C(getgroups, A(N(65536), LU), .flags = ANY_RESULT),
    ELSEWHERE(setgroups), /* probe_table_large.c */
    C(getresuid, A(O(4), O(4), O(4))),
    C(getresgid, A(O(4), O(4), O(4))),
    C(capget, A(I(struct __user_cap_header_struct, _LINUX_CAPABILITY_VERSION_3, 0), O(24))),
    C(capset, A(I(struct __user_cap_header_struct, 77, 0), O(24))),
    C(rt_sigpending, A(O(8), N(8))),
    C(rt_sigtimedwait, A(I(struct words, {1UL << (SIGUSR2 - 1)}), O(128), I(struct timespec, SPAN), N(8))),
    C(rt_sigqueueinfo, A(N(0x7ffffffe), N(SIGUSR1), I(siginfo_t, .si_code = SI_QUEUE))),
    ELSEWHERE(rt_sigsuspend), /* probe_signals.c: it waits */
    C(sigaltstack, A(N(0), U(24))),
    C(utime, A(S(NO_FILE), I(struct words, {1, 1}))),
    C(mknod, A(S(NO_FILE), N(0), N(0))),
    C(uselib, A(S(NO_FILE))),
    C(ustat, A(N(0), O(32))),
    C(statfs, A(S("/proc"), O(120))),
    C(fstatfs, A(F(DIRECTORY), U(120))),
    C(sysfs, A(N(1), S("proc"), N(0)), .flags = ANY_RESULT),
    C(sched_setparam, A(N(0), I(int, 0))),
    C(sched_getparam, A(N(0), O(4))),
    C(sched_setscheduler, A(N(0), N(SCHED_OTHER), I(int, 0))),
    C(sched_rr_get_interval, A(N(0), U(16))),
    ELSEWHERE(mlock), /* probe_table_large.c */
    ELSEWHERE(mlock2),
    C(modify_ldt, A(N(0), LU, N(65536))),
    C(pivot_root, A(S(NO_FILE), S(NO_FILE))),
    C(prctl, A(N(PR_GET_NAME), O(16))),
    C(arch_prctl, A(N(0x1003 /* ARCH_GET_FS */), O(8)), .flags = ALIGNED),
    C(adjtimex, A(Z(208)), .flags = ANY_RESULT),
    C(setrlimit, A(N(99), I(struct words, {1, 1}))),
    C(chroot, A(S(NO_FILE))),
    C(acct, A(S(NO_FILE))),
    C(settimeofday, A(I(struct words, {0, 2000000}), N(0))),
    C(mount, A(S("none"), S(NO_FILE), S("tmpfs"), N(0), S("size=1"))),
    C(umount2, A(S(NO_FILE), N(0))),
    C(swapon, A(S(NO_FILE), N(0))),
    C(swapoff, A(S(NO_FILE))),
    C(reboot, A(N(1), N(1), N(0), S("again"))), /* not its magic numbers */
    C(sethostname, A(S("name"), N(-1))),
    C(setdomainname, A(S("name"), N(-1))),
    C(init_module, A(LI, SZ(1), S(""))),
    C(delete_module, A(S("no_such_module"), N(O_NONBLOCK))),
    C(quotactl, A(N(0x80000700 /* Q_GETFMT */), S(NO_FILE), N(0), O(4))),
    C(setxattr, A(S(NO_FILE), S(XATTR), LI, SZ(1), N(0))),
    C(lsetxattr, A(S(NO_FILE), S(XATTR), LI, SZ(1), N(0))),
    C(fsetxattr, A(F(HERE), S(XATTR), S("value"), N(5), N(0))),
    C(getxattr, A(S(NO_FILE), S(XATTR), O(100), N(100))),
    C(lgetxattr, A(S(NO_FILE), S(XATTR), O(100), N(100))),
    C(fgetxattr, A(F(HERE), S(XATTR), LO, SZ(1))),
    C(listxattr, A(S(NO_FILE), O(100), N(100))),
    C(llistxattr, A(S(NO_FILE), O(100), N(100))),
    C(flistxattr, A(F(HERE), LO, SZ(1))),
    C(removexattr, A(S(NO_FILE), S(XATTR))),
    C(lremovexattr, A(S(NO_FILE), S(XATTR))),
    C(fremovexattr, A(F(HERE), S("user.other"))),
    C(time, A(U(8)), .flags = ANY_RESULT),
    C(futex, A(I(int, 1), N(FUTEX_WAIT), N(1), I(struct timespec, SPAN)), .flags = ALIGNED),
    C(sched_setaffinity, A(N(0), N(128), I(struct bits, {0})), .flags = ALIGNED),
    C(sched_getaffinity, A(N(0), N(128), O(128)), .flags = ALIGNED),
    C(io_setup, A(N(1), O(8))),
    C(io_getevents, A(N(1), N(0), N(1), O(32), I(struct timespec, SPAN))),
    C(io_submit, A(N(1), N(1), I(struct words, {0}), [6] = I(struct words, {0})), LINKS({2, 0, 6, false})),
    C(io_cancel, A(N(1), I(struct words, {0}), O(32))),
    C(lookup_dcookie, A(N(0), LO, SZ(1))),
    C(getdents64, A(F(DIRECTORY), LU, SZ(1)), .flags = ANY_RESULT),
    C(semtimedop, A(N(-1), I(struct words, {0}), N(1), I(struct timespec, SPAN))),
    C(timer_create, A(N(CLOCK_MONOTONIC), I(struct sigevent, .sigev_notify = SIGEV_NONE), U(4))),
    C(timer_settime, A(N(99999), N(0), I(struct words, {0}), O(32))),
    C(timer_gettime, A(N(99999), O(32))),
    C(clock_settime, A(N(CLOCK_REALTIME), I(struct timespec, 0, -1))),
    C(clock_gettime, A(N(CLOCK_REALTIME), U(16))),
    C(clock_getres, A(N(CLOCK_REALTIME), O(16))),
    C(clock_nanosleep, A(N(CLOCK_MONOTONIC), N(0), I(struct timespec, SPAN), O(16))),
    C(epoll_wait, A(F(EPOLL), LO, N(1000), N(0))),
    C(epoll_ctl, A(F(EPOLL), N(EPOLL_CTL_MOD), F(ENDS), I(struct epoll_event, .events = EPOLLIN))),
    C(utimes, A(S(NO_FILE), I(struct words, {1, 1, 1, 1}))),
    C(mbind, A(N(0), N(4096), N(MPOL_BIND), I(struct bits, {0}), N(64), N(0))),
    C(set_mempolicy, A(N(MPOL_BIND), I(struct bits, {0}), N(64))),
    C(get_mempolicy, A(O(4), O(1024), N(1024), N(0), N(0))),
    C(mq_open, A(S("no_such_queue"), N(O_RDWR), N(0), I(struct words, {0, 1, 1}))),
    C(mq_unlink, A(S("no_such_queue"))),
    C(mq_timedsend, A(F(CONTENTS), LI, N(8), N(0), I(struct timespec, SPAN))),
    C(mq_timedreceive, A(F(CONTENTS), LO, SZ(1), O(4), I(struct timespec, SPAN))),
    C(mq_notify, A(F(CONTENTS), I(struct sigevent, .sigev_notify = SIGEV_NONE))),
    C(mq_getsetattr, A(F(CONTENTS), I(struct words, {0}), O(64))),
    C(kexec_load, A(N(0), N(17), LI, N(0))), /* more segments than there may be */
    C(waitid, A(N(P_ALL), N(-1), O(128), N(WEXITED | WNOHANG), O(144))),
    C(add_key, A(S("no such type"), S("ghost"), LI, N(100), N(KEY_SPEC_PROCESS_KEYRING))),
    C(request_key, A(S("user"), S("no such key of ghost"), N(0), N(0))),
    ELSEWHERE(keyctl), /* probe_table_large.c */
    C(inotify_add_watch, A(F(CONTENTS), S("/usr/bin"), N(1))),
    C(migrate_pages, A(N(0), N(64), O(8), O(8))),
    C(openat, A(N(AT_FDCWD), S("/usr/bin"), N(O_RDONLY)), .flags = CLOSES),
    C(mkdirat, A(N(AT_FDCWD), S("/usr/bin"), N(0700))),
    C(mknodat, A(N(AT_FDCWD), S(NO_FILE), N(0), N(0))),
    C(fchownat, A(N(AT_FDCWD), S(NO_FILE), N(-1), N(-1), N(0))),
    C(futimesat, A(N(AT_FDCWD), S(NO_FILE), I(struct words, {1, 1, 1, 1}))),
    C(newfstatat, A(N(AT_FDCWD), S("/usr/bin"), O(144), N(0))),
    C(unlinkat, A(N(AT_FDCWD), S(NO_FILE), N(0))),
    C(renameat, A(N(AT_FDCWD), S(NO_FILE), N(AT_FDCWD), S(NO_FILE))),
    C(linkat, A(N(AT_FDCWD), S(NO_FILE), N(AT_FDCWD), S(NO_FILE), N(0))),
    C(symlinkat, A(S(NO_FILE), N(AT_FDCWD), S(NO_FILE))),
    C(readlinkat, A(N(AT_FDCWD), S("/proc/self/exe"), O(200), N(200))),
    C(fchmodat, A(N(AT_FDCWD), S(NO_FILE), N(0))),
    C(faccessat, A(N(AT_FDCWD), S("/usr/bin"), N(R_OK))),
    C(pselect6, A(N(1), I(struct words, {1}), O(8), O(8), Z(16), I(struct words, {0, 8}))),
    C(ppoll, A(I(struct pollfd, .fd = -1, .revents = 7), N(1), I(struct timespec, SPAN), I(struct words, {0}), N(8))),
    C(get_robust_list, A(N(0), U(8), O(8)), .flags = ALIGNED),
    C(splice, A(F(CONTENTS), I(struct words, {8}), F(ENDS_IN), N(0), N(10), N(0))),
    ELSEWHERE(vmsplice), /* probe_table_files.c */
    C(move_pages, A(N(0), N(1), I(struct words, {4096}), N(0), O(4), N(0))),
    C(utimensat, A(N(AT_FDCWD), S(NO_FILE), I(struct words, {1, 1, 1, 1}), N(0))),
    C(epoll_pwait, A(F(EPOLL), O(120), N(10), N(0), I(struct words, {0}), N(8))),
    C(signalfd, A(N(-1), I(struct words, {1UL << (SIGUSR2 - 1)}), N(8)), .flags = CLOSES),
    C(timerfd_settime, A(F(TIMER), N(0), I(struct words, {0}), O(32))),
    C(timerfd_gettime, A(F(TIMER), O(32))),
    C(accept4, A(F(LISTENS), U(110), I(socklen_t, 110), N(0))),
    C(signalfd4, A(N(-1), I(struct words, {1UL << (SIGUSR2 - 1)}), N(8), N(0)), .flags = CLOSES),
    C(pipe2, A(U(8), N(O_CLOEXEC))),
    C(preadv, A(F(ZEROS), I(struct iovec, 0), N(1), N(0), [6] = LO), LINKS({1, 0, 6, true})),
    C(pwritev, A(F(CONTENTS), I(struct iovec, 0), N(1), N(0), [6] = LI), LINKS({1, 0, 6, true})),
    C(rt_tgsigqueueinfo, A(N(0x7ffffffe), N(0x7ffffffe), N(SIGUSR1), I(siginfo_t, .si_code = SI_QUEUE))),
    C(perf_event_open, A(I(struct perf_event_attr, .type = 99, .size = sizeof(struct perf_event_attr)), N(0), N(-1), N(-1), N(0)),
      .flags = ANY_RESULT),
    C(recvmmsg, A(F(TALK), I(struct mmsghdr, .msg_hdr.msg_iovlen = 1), N(1), N(MSG_DONTWAIT), Z(16),
                  [6] = I(struct iovec, 0), [7] = O(64)),
      LINKS({1, 16, 6, false}, {6, 0, 7, true})),
    C(fanotify_mark, A(F(CONTENTS), N(1), N(1), N(AT_FDCWD), S("/usr/bin"))),
    C(prlimit64, A(N(0), N(7), N(0), O(16))),
    C(name_to_handle_at, A(N(AT_FDCWD), S("/usr/bin"), I(struct words, {100}), U(4), N(0), [6] = O(1))),
    C(open_by_handle_at, A(N(AT_FDCWD), I(struct words, {8}), N(O_RDONLY))),
    C(clock_adjtime, A(N(CLOCK_REALTIME), Z(208)), .flags = ANY_RESULT),
    C(sendmmsg, A(F(TALK), I(struct mmsghdr, .msg_hdr.msg_iovlen = 1), N(1), N(MSG_DONTWAIT), [6] = I(struct iovec, 0),
                  [7] = I(struct words, {1})),
      LINKS({1, 16, 6, false}, {6, 0, 7, true})),
    C(getcpu, A(U(4), U(4), N(0))),
    ELSEWHERE(process_vm_readv), /* probe_table_process.c */
    ELSEWHERE(process_vm_writev),
    C(kcmp, A(N(0x7ffffffe), N(0x7ffffffe), N(7 /* KCMP_EPOLL_TFD */), N(0), I(struct words, {0}))),
    C(finit_module, A(F(CONTENTS), S(""), N(0))),
    C(sched_setattr, A(N(0), I(struct words, {48}), N(0))),
    C(sched_getattr, A(N(0), O(48), N(48), N(0))),
    C(renameat2, A(N(AT_FDCWD), S(NO_FILE), N(AT_FDCWD), S(NO_FILE), N(0))),
    C(seccomp, A(N(2 /* SECCOMP_GET_ACTION_AVAIL */), N(0), I(unsigned, 0x7fff0000 /* SECCOMP_RET_ALLOW */))),
    C(getrandom, A(LU, SZ(1), N(0))),
    C(memfd_create, A(S("ghost"), N(0)), .flags = CLOSES),
    C(kexec_file_load, A(F(CONTENTS), F(CONTENTS), N(6), S("quiet"), N(0))),
    C(bpf, A(N(5 /* BPF_PROG_LOAD */), I(struct bits, {1, 0, 0, 0, 2}), N(120), [6] = LI, [7] = S("GPL")),
      LINKS({1, 8, 6, false}, {1, 16, 7, false})),
    ELSEWHERE(execveat),
    C(copy_file_range, A(F(CONTENTS), I(struct words, {0}), F(CONTENTS), I(struct words, {1UL << 30}), N(10), N(0))),
    C(preadv2, A(F(ZEROS), I(struct iovec, 0), N(1), N(0), N(0), N(0), LO), LINKS({1, 0, 6, true})),
    C(pwritev2, A(F(CONTENTS), I(struct iovec, 0), N(1), N(0), N(0), N(0), LI), LINKS({1, 0, 6, true})),
    C(statx, A(N(AT_FDCWD), S("/usr/bin"), N(0), N(STATX_BASIC_STATS), O(256))),
    C(io_pgetevents, A(N(1), N(0), N(1), O(32), I(struct timespec, SPAN), I(struct words, {0, 8}))),
    C(rseq, A(O(32), N(32), N(1 << 5 /* no such flag */), N(0))),
    C(pidfd_send_signal, A(F(CONTENTS), N(0), I(siginfo_t, 0), N(0))),
    C(io_uring_setup, A(N(0 /* the end of a ring interrupts later calls */), I(struct bits, {0}))),
    C(io_uring_enter, A(F(CONTENTS), N(0), N(0), N(0), I(struct words, {0}), N(8))),
    C(io_uring_register, A(F(CONTENTS), N(0), I(struct iovec, 0), N(1))),
    C(open_tree, A(N(AT_FDCWD), S("/usr/bin"), N(0)), .flags = CLOSES),
    C(move_mount, A(N(AT_FDCWD), S(NO_FILE), N(AT_FDCWD), S(NO_FILE), N(0))),
    C(fsopen, A(S("no_such_type"), N(0))),
    C(fsconfig, A(F(CONTENTS), N(FSCONFIG_SET_STRING), S("key"), S("value"), N(0))),
    C(fspick, A(N(AT_FDCWD), S(NO_FILE), N(0))),
    ELSEWHERE(clone3), /* probe_table_process.c */
    C(openat2, A(N(AT_FDCWD), S("/usr/bin"), I(struct open_how, .flags = O_RDONLY), N(sizeof(struct open_how))), .flags = CLOSES),
    C(faccessat2, A(N(AT_FDCWD), S("/usr/bin"), N(R_OK), N(0))),
    ELSEWHERE(process_madvise), /* probe_table_process.c */
    C(epoll_pwait2, A(F(EPOLL), O(120), N(10), I(struct timespec, 0), I(struct words, {0}), N(8))),
    C(mount_setattr, A(N(AT_FDCWD), S(NO_FILE), N(0), I(struct words, {1}), N(32))),
    C(quotactl_fd, A(F(CONTENTS), N(0x80000700), N(0), O(4))),
    C(landlock_create_ruleset, A(I(struct words, {1}), N(8), N(0)), .flags = CLOSES),
    C(landlock_add_rule, A(F(CONTENTS), N(1), I(struct words, {1}), N(0))),
    C(futex_waitv, A(I(struct waiter, 1, 0, 2, 0), N(1), N(0), I(struct timespec, 1, 0), N(CLOCK_MONOTONIC), [6] = I(int, 1)),
      LINKS({0, 8, 6, false}), .flags = ALIGNED),
    C(cachestat, A(F(CONTENTS), I(struct words, {0, 4096}), U(40), N(0))),
    C(fchmodat2, A(N(AT_FDCWD), S(NO_FILE), N(0), N(0))),
    C(futex_wake, A(I(int, 1), N(~0U), N(1), N(2)), .flags = ALIGNED),
    C(futex_wait, A(I(int, 1), N(1), N(~0U), N(2), I(struct timespec, 1, 0), N(CLOCK_MONOTONIC)), .flags = ALIGNED),
    C(futex_requeue, A({.kind = IN, .data = (const struct waiter[]){{1, 0, 2, 0}, {1, 0, 2, 0}}, .bytes = 2 * sizeof(struct waiter)}, N(0),
                       N(1), N(1), [6] = I(int, 1), [7] = I(int, 1)),
      LINKS({0, 8, 6, false}, {0, 32, 7, false}), .flags = ALIGNED),
    C(statmount, A(I(struct request_of_mounts, 24, 0, ~0UL, 0), O(1000), N(1000), N(0))),
    C(listmount, A(I(struct request_of_mounts, 24, 0, ~0UL, 0), LO, N(2000), N(0))),
    C(lsm_get_self_attr, A(N(100), O(200), I(unsigned, 200), N(0))),
    C(lsm_set_self_attr, A(N(100), I(struct words, {0}), N(64), N(0))),
    C(lsm_list_modules, A(O(200), I(unsigned, 200), N(0))),
    C(setxattrat, A(F(HERE), S(""), N(AT_EMPTY_PATH), S("user.at"), I(struct attribute, 0, 5, 0), N(16), [6] = S("value")),
      LINKS({4, 0, 6, false})),
    C(getxattrat, A(F(HERE), S(""), N(AT_EMPTY_PATH), S(XATTR), I(struct attribute, 0, 100, 0), N(16), [6] = O(100)),
      LINKS({4, 0, 6, false})),
    C(listxattrat, A(F(HERE), S(""), N(AT_EMPTY_PATH), LO, SZ(1))),
    C(removexattrat, A(F(HERE), S(""), N(AT_EMPTY_PATH), S("user.other"))),
    C(open_tree_attr, A(N(AT_FDCWD), S(NO_FILE), N(0), I(struct words, {1}), N(32))),
    C(file_getattr, A(N(AT_FDCWD), S("/usr/bin"), U(24), N(24), N(0))),
    C(file_setattr, A(N(AT_FDCWD), S(NO_FILE), I(struct words, {0}), N(24), N(0))),
    C(listns, A(I(struct words, {32}), LU, N(100), N(0)), .flags = ANY_RESULT),
};
#define N_CASES (sizeof cases / sizeof cases[0])

/* ---- how it is run ---- */

struct places {
    char *plain;     /* for all slots of one case at a time */
    size_t room;     /* bytes of one slot of it */
    size_t large;    /* bytes of a large buffer */
    bool at_end;     /* of its block; else across a page border, at an odd address */
};

static bool is_pointer(const struct argument *argument)
{
    return argument->kind >= IN;
}

static bool is_large(const struct argument *argument)
{
    return argument->kind >= LARGE_IN;
}

static size_t bytes_of(const struct argument *argument, const struct places *places)
{
    return is_large(argument) ? places->large : argument->bytes;
}

static void set_up(const struct row_case *c, const struct places *places, char *const *slots)
{
    for (size_t i = 0; i < N_SLOTS; i++) {
        const struct argument *argument = &c->slots[i];
        size_t bytes = bytes_of(argument, places);

        if (!is_pointer(argument))
            continue;
        if (argument->kind == IN)
            memcpy(slots[i], argument->data, bytes);
        else
            memset(slots[i], argument->kind == LARGE_IN ? 'a' : argument->value == 1 ? 0 : 0x5a, bytes);
    }
    for (size_t i = 0; i < 5 && (c->links[i].to != 0 || c->links[i].from != 0); i++) {
        const struct link *link = &c->links[i];
        char *word = slots[link->from] + link->offset;
        size_t bytes = bytes_of(&c->slots[link->to], places);

        memcpy(word, &slots[link->to], sizeof slots[link->to]);
        if (link->says_length)
            memcpy(word + 8, &bytes, sizeof bytes);
    }
}

/* A block for each slot, so that no neighbour brings it in. */
static void place(const struct row_case *c, const struct places *places, char **blocks, char **slots)
{
    for (size_t i = 0; i < N_SLOTS; i++) {
        size_t bytes = bytes_of(&c->slots[i], places);
        size_t block_bytes = ((size_t)128 << 10) + 8 * PAGE + bytes / PAGE * PAGE;
        size_t step = (c->flags & ALIGNED) != 0 ? 8 : 1;

        if (!is_pointer(&c->slots[i]))
            continue;
        blocks[i] = aligned_alloc(PAGE, block_bytes);
        CHECK(blocks[i] != NULL);
        slots[i] = places->at_end ? blocks[i] + (block_bytes - bytes) / step * step : blocks[i] + 3 * PAGE - (step == 8 ? 8 : 3);
    }
}

static void use_plain_places(const struct row_case *c, const struct places *places, char **slots)
{
    for (size_t i = 0; i < N_SLOTS; i++)
        slots[i] = is_pointer(&c->slots[i]) ? places->plain + i * places->room : NULL;
}

/* The descriptors are as they were: positions, and one message to be had. */
static void reset_descriptors(void)
{
    static char message[64];
    char sink[256];

    CHECK(lseek(descriptors[DIRECTORY], 0, SEEK_SET) == 0 && lseek(descriptors[CONTENTS], 0, SEEK_SET) == 0);
    while (recv(descriptors[TALK], sink, sizeof sink, MSG_DONTWAIT) >= 0)
        continue;
    CHECK(send(descriptors[TALK], message, sizeof message, MSG_DONTWAIT) == (ssize_t)sizeof message);
    while (read(descriptors[ENDS], sink, sizeof sink) > 0)
        continue;
}

static long make(const struct row_case *c, const struct places *places, char *const *slots)
{
    unsigned long args[6];
    long result;

    reset_descriptors();
    for (size_t i = 0; i < 6; i++) {
        const struct argument *argument = &c->slots[i];

        args[i] = is_pointer(argument)             ? (unsigned long)slots[i]
                  : argument->kind == DESCRIPTOR ? (unsigned long)descriptors[argument->value]
                  : argument->kind == SIZE       ? places->large / (unsigned long)argument->value
                                                 : (unsigned long)argument->value;
    }
    result = syscall(c->number, args[0], args[1], args[2], args[3], args[4], args[5]);
    if (result == -1)
        return -errno;
    if ((c->flags & CLOSES) != 0)
        CHECK(close((int)result) == 0);
    return (c->flags & (ANY_RESULT | CLOSES)) != 0 ? 0 : result;
}

static bool is_same(const struct row_case *c, const struct places *places, char *const *plain, char *const *ghost)
{
    for (size_t i = 0; i < 5 && (c->links[i].to != 0 || c->links[i].from != 0); i++) {
        memset(plain[c->links[i].from] + c->links[i].offset, 0, 8);
        memset(ghost[c->links[i].from] + c->links[i].offset, 0, 8);
    }
    for (size_t i = 0; i < N_SLOTS; i++) {
        const struct argument *argument = &c->slots[i];

        if (is_pointer(argument) && argument->kind != UNSTEADY && argument->kind != LARGE_UNSTEADY &&
            memcmp(plain[i], ghost[i], bytes_of(argument, places)) != 0)
            return false;
    }
    return true;
}

static void compare(const struct row_case *c, const struct places *places, char *const *ghost)
{
    const char *name = guard_row_of(c->number)->name;
    char *plain[N_SLOTS];
    long expected;
    long result;

    use_plain_places(c, places, plain);
    set_up(c, places, plain);
    expected = make(c, places, plain);
    result = make(c, places, ghost);
    if (result != expected || !is_same(c, places, plain, ghost)) {
        fprintf(stderr, "%s, %s: %ld instead of %ld, or other contents\n", name, places->at_end ? "at an end" : "across a border", result,
                expected);
        _Exit(1);
    }
}

static void run_all(const struct places *places, size_t pushed_bytes)
{
    static char *blocks[N_CASES][N_SLOTS];
    static char *slots[N_CASES][N_SLOTS];

    for (size_t i = 0; i < N_CASES; i++) {
        place(&cases[i], places, blocks[i], slots[i]);
        set_up(&cases[i], places, slots[i]);
    }
    push_out(pushed_bytes);
    for (size_t i = 0; i < N_CASES; i++)
        if (!cases[i].elsewhere)
            compare(&cases[i], places, slots[i]);
    for (size_t i = 0; i < N_CASES; i++)
        for (size_t k = 0; k < N_SLOTS; k++)
            if (is_pointer(&cases[i].slots[k]))
                free(blocks[i][k]);
}

static void open_descriptors(void)
{
    int ends[2];
    int pair[2];
    struct sockaddr_un own = {.sun_family = AF_UNIX};
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 5};

    descriptors[ZEROS] = open("/dev/zero", O_RDONLY);
    descriptors[CONTENTS] = memfd_create("contents", 0);
    descriptors[DIRECTORY] = open("/usr/bin", O_RDONLY | O_DIRECTORY);
    descriptors[HERE] = scratch_file(0);
    CHECK(pipe2(ends, O_NONBLOCK) == 0 && socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair) == 0);
    descriptors[ENDS] = ends[0];
    descriptors[ENDS_IN] = ends[1];
    close(pair[0]);
    close(pair[1]);
    descriptors[TALK] = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0); /* with itself */
    snprintf(own.sun_path + 1, 24, "ghostmem-rows-%d", (int)getpid());
    CHECK(bind(descriptors[TALK], (struct sockaddr *)&own, 26) == 0 && connect(descriptors[TALK], (struct sockaddr *)&own, 26) == 0);
    descriptors[LISTENS] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    own.sun_path[1] = 'G';
    CHECK(bind(descriptors[LISTENS], (struct sockaddr *)&own, 26) == 0 && listen(descriptors[LISTENS], 1) == 0);
    descriptors[EPOLL] = epoll_create1(0);
    CHECK(epoll_ctl(descriptors[EPOLL], EPOLL_CTL_ADD, ends[0], &event) == 0);
    descriptors[TIMER] = (int)syscall(SYS_timerfd_create, CLOCK_MONOTONIC, 0);
    for (size_t i = 1; i < N_DESCRIPTORS; i++)
        CHECK(descriptors[i] >= 0);
    (void)syscall(SYS_fsetxattr, descriptors[HERE], XATTR, "value", 5L, 0L);
    CHECK(chdir("/usr/bin") == 0);
}

static void every_row_of_the_table(size_t bytes)
{
    struct places places = {.room = bytes / 8 + 70000};

    places.plain = mmap(NULL, N_SLOTS * places.room, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(places.plain != MAP_FAILED);
    open_descriptors();
    places.at_end = true;
    places.large = 70000;
    run_all(&places, bytes / 2);
    places.at_end = false;
    places.large = bytes / 8 + 77; /* more than the limit has, where that is small */
    run_all(&places, bytes / 2);
    CHECK(munmap(places.plain, N_SLOTS * places.room) == 0);
}

/* ---- the table itself ---- */

static bool has_case(long number)
{
    for (size_t i = 0; i < N_CASES; i++)
        if (cases[i].number == number)
            return true;
    return false;
}

/* Numbers that no kernel has. Source: syscall_64.tbl: up to 423 they are left out, so that all processors have the same from there on. */
#define GAP_FIRST 337
#define GAP_END 424
#define LAST 470

static void table_knows_every_call(size_t bytes)
{
    (void)bytes;
    CHECK(guard_table_end == LAST + 1);
    for (long number = 0; number < LAST + 1; number++) {
        const struct guard_row *row = guard_row_of(number);
        bool is_gap = number >= GAP_FIRST && number < GAP_END;
        bool touches = row->rules[0].kind != GUARD_NO_MORE;

        if ((row->name == NULL) != is_gap || (row->name != NULL && touches != has_case(number)))
            fprintf(stderr, "call %ld: its row is %s, it has %s case\n", number, row->name != NULL ? row->name : "missing",
                    has_case(number) ? "a" : "no");
        CHECK((row->name == NULL) == is_gap);
        CHECK(row->name == NULL || touches == has_case(number));
    }
    CHECK(guard_row_of(-1)->name == NULL && guard_row_of(LAST + 1)->name == NULL && guard_row_of(0x40000000L)->name == NULL);
}

/* ---- holds ---- */

#define N_PARTS 1024

static void scattered_vector(size_t bytes)
{
    struct iovec *vector = malloc((size_t)256 << 10);
    char *block = filled(bytes, 1);
    int fd = scratch_file(0);
    char written[N_PARTS];

    CHECK(vector != NULL);
    for (size_t i = 0; i < N_PARTS; i++)
        vector[i] = (struct iovec){block + i * (bytes / N_PARTS), 1};
    CHECK(writev(fd, vector, N_PARTS) == N_PARTS);
    CHECK(pread(fd, written, N_PARTS, 0) == N_PARTS);
    for (size_t i = 0; i < N_PARTS; i++)
        CHECK(written[i] == block[i * (bytes / N_PARTS)]);
    free(block);
    free(vector);
}

static void call_of_the_future(size_t bytes)
{
    char *block = filled(bytes, 1);

    push_out(bytes);
    CHECK(syscall(4000L, block, block + PAGE) == -1 && errno == ENOSYS);
    check(block, bytes, 1);
    free(block);
}

const struct probe probes_rows[] = {
    {"scattered_vector", scattered_vector},
    {"call_of_the_future", call_of_the_future},
    {"every_row_of_the_table", every_row_of_the_table},
    {"table_knows_every_call", table_knows_every_call},
    {NULL, NULL},
};
