/* file.c - see file.h. */
#include "platform/file.h"

#include "platform/abi.h"
#include "platform/inject.h"
#include "platform/sys.h"
#include "platform/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/auxv.h>
#include <sys/stat.h>

/* High in the table: programs that close or reuse descriptors do so from the bottom upwards. */
#define DUPLICATE_MIN_FD 500


long os_file_read(const char *path, char *buffer, size_t bytes)
{
    size_t length = 0;
    long got;
    int fd;

    OS_MAY_FAIL(EACCES);
    fd = (int)sys_call4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    do {
        got = sys_call3(SYS_read, fd, buffer + length, bytes - 1 - length);
        if (got > 0)
            length += (size_t)got;
    } while (got > 0 || got == -EINTR);
    sys_call1(SYS_close, fd);
    if (got < 0)
        return got;
    buffer[length] = '\0';
    return (long)length;
}

/* Source: getdents64(2). */
struct entry {
    uint64_t inode;
    int64_t next;
    unsigned short bytes;
    unsigned char type;
    char name[];
};

int os_directory_visit(const char *path, void (*visit)(void *arg, const char *name), void *arg)
{
    _Alignas(8) char buffer[2048];
    long fd = sys_call4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    long bytes;

    if (fd < 0)
        return (int)fd;
    while ((bytes = sys_call3(SYS_getdents64, fd, buffer, sizeof buffer)) > 0)
        for (long at = 0; at < bytes;) {
            const struct entry *entry = (const struct entry *)(const void *)(buffer + at);

            at += entry->bytes;
            visit(arg, entry->name);
        }
    sys_call1(SYS_close, fd);
    return (int)bytes;
}

int os_file_write(int fd, const char *data, size_t bytes)
{
    while (bytes > 0) {
        long put = sys_call3(SYS_write, fd, data, bytes);

        if (put == -EINTR)
            continue;
        if (put <= 0)
            return put == 0 ? -EIO : (int)put;
        data += put;
        bytes -= (size_t)put;
    }
    return 0;
}

/* What messages go to. */
static struct {
    bool known;
    bool open;
    dev_t device;
    ino_t inode;
} message_file;

void os_message_file(int fd)
{
    struct stat status;

    message_file.known = true;
    message_file.open = !sys_failed(sys_call2(SYS_fstat, fd, &status));
    message_file.device = status.st_dev;
    message_file.inode = status.st_ino;
}

static bool is_terminal(int fd)
{
    unsigned char settings[64]; /* the kernel's struct termios has 36 bytes */

    return !sys_failed(sys_call3(SYS_ioctl, fd, TCGETS, settings));
}

/* Else the program has closed that, and opened something of its own under the same number. A terminal cannot suffer. */
static bool is_for_messages(int fd)
{
    struct stat status;

    if (sys_failed(sys_call2(SYS_fstat, fd, &status)))
        return false;
    return !message_file.known || is_terminal(fd) ||
           (message_file.open && status.st_dev == message_file.device && status.st_ino == message_file.inode);
}

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438 /* Linux 5.6 */
#endif

/* Of the program's table, which its first thread has. Source: pidfd_getfd(2): threads of one process may. */
static int fetch_descriptor(int fd)
{
    int process = (int)sys_call2(SYS_pidfd_open, sys_call0(SYS_getpid), 0);
    int copy;

    if (process < 0)
        return process;
    copy = (int)sys_call3(SYS_pidfd_getfd, process, fd, 0);
    os_file_close(process);
    return copy;
}

/* The same by opening it again, which not all can be: no socket, and no file of another user. */
static int reopen_descriptor(int fd, int flags)
{
    char path[] = "/proc/self/fd/\0\0\0\0\0\0\0\0\0\0";
    char *end = path + sizeof "/proc/self/fd/" - 1;

    for (int scale = 1000000000; scale > 0; scale /= 10)
        if (fd >= scale || scale == 1)
            *end++ = (char)('0' + fd / scale % 10);
    return (int)sys_call4(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | flags, 0);
}

int os_message_write(int fd, const char *data, size_t bytes)
{
    int error;
    int copy;

    if (!os_thread_has_own_files())
        return is_for_messages(fd) ? os_file_write(fd, data, bytes) : -EBADF;
    copy = fetch_descriptor(fd);
    if (copy < 0)
        copy = reopen_descriptor(fd, O_APPEND);
    if (copy < 0)
        return copy;
    error = is_for_messages(copy) ? os_file_write(copy, data, bytes) : -EBADF;
    os_file_close(copy);
    return error;
}

/* ---- files that the user names ---- */

static bool is_name(const char *path, const char *name)
{
    while (*path == *name && *name != '\0') {
        path++;
        name++;
    }
    return *path == *name;
}

/* Links to what the process has open. */
static int open_stream(const char *path)
{
    int fd = is_name(path, "/dev/stderr") ? 2 : is_name(path, "/dev/stdout") ? 1 : -1;

    return fd < 0 ? -ENOENT : (int)sys_call3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 3);
}

/* Where everybody may put a file of that name, it must be ours. */
static bool everybody_may_write_beside(const char *path)
{
    char directory[4096];
    struct stat status;
    size_t length = 0;

    for (size_t i = 0; i < sizeof directory - 2 && path[i] != '\0'; i++) {
        directory[i] = path[i];
        if (path[i] == '/')
            length = i + 1;
    }
    if (length == 0)
        directory[length++] = '.';
    directory[length] = '\0';
    return sys_failed(sys_call4(SYS_newfstatat, AT_FDCWD, directory, &status, 0)) || (status.st_mode & S_IWOTH) != 0;
}

static bool is_null(const struct stat *status)
{
    return S_ISCHR(status->st_mode) && status->st_rdev == 0x103; /* Source: null(4): 1, 3 */
}

/* Mostly the user that the program started as: a sandbox need not allow the question. */
static bool is_of_this_user(uid_t owner)
{
    return owner == (uid_t)getauxval(AT_EUID) || owner == (uid_t)sys_call0(SYS_geteuid);
}

/* What is in it goes. By opening it again, which a sandbox allows that lets us open it at all; or, without /proc, by the call for it. */
static int empty(int fd)
{
    int again = reopen_descriptor(fd, O_TRUNC);

    if (again < 0)
        return (int)sys_call2(SYS_ftruncate, fd, 0);
    os_file_close(again);
    return 0;
}

static int check_named(int fd, const char *path, int append)
{
    struct stat status;
    long result = sys_call2(SYS_fstat, fd, &status);

    if (sys_failed(result))
        return (int)result;
    if (is_null(&status) || (S_ISCHR(status.st_mode) && is_terminal(fd)))
        return (int)sys_call3(SYS_fcntl, fd, F_SETFL, append ? O_APPEND : 0);
    if (!S_ISREG(status.st_mode))
        return -ENXIO;
    if (status.st_nlink > 1 || (!is_of_this_user(status.st_uid) && everybody_may_write_beside(path)))
        return -EPERM;
    return append || status.st_size == 0 ? 0 : empty(fd);
}

int os_file_open(const char *path, int append)
{
    const int flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK;
    int error;
    int fd;

    OS_MAY_FAIL(EACCES);
    fd = open_stream(path);
    if (fd != -ENOENT)
        return fd;
    fd = (int)sys_call4(SYS_openat, AT_FDCWD, path, flags | (append ? O_APPEND : 0), 0600);
    if (fd < 0)
        return fd;
    error = check_named(fd, path, append);
    if (error == 0)
        return fd;
    os_file_close(fd);
    return error;
}

void os_file_close(int fd)
{
    sys_call1(SYS_close, fd);
}

int os_file_duplicate(int fd)
{
    long copy;

    OS_MAY_FAIL(EMFILE);
    copy = sys_call3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, DUPLICATE_MIN_FD);
    if (copy == -EINVAL || copy == -EMFILE) /* RLIMIT_NOFILE is lower than that */
        copy = sys_call3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 3);
    return (int)copy;
}

int os_file_move_high(int fd)
{
    int high = os_file_duplicate(fd);

    if (high < 0)
        return fd;
    sys_call1(SYS_close, fd);
    return high;
}

/* Each holds a descriptor + 1; 0: free. */
static _Atomic int owned[127];
#define N_OWNED (sizeof owned / sizeof owned[0])

void os_file_own(int fd)
{
    for (size_t i = 0; i < N_OWNED; i++) {
        int none = 0;

        if (atomic_compare_exchange_strong(&owned[i], &none, fd + 1))
            return;
    }
}

void os_file_disown(int fd)
{
    for (size_t i = 0; i < N_OWNED; i++) {
        int ours = fd + 1;

        if (atomic_compare_exchange_strong(&owned[i], &ours, 0))
            return;
    }
}

int os_file_next_owned(int fd)
{
    int next = -1;

    for (size_t i = 0; i < N_OWNED; i++) {
        int ours = atomic_load_explicit(&owned[i], memory_order_relaxed) - 1;

        if (ours >= fd && ours >= 0 && (next < 0 || ours < next))
            next = ours;
    }
    return next;
}

int os_files_close_all_but(const int *keep, unsigned n)
{
    unsigned from = 0;
    long result = 0;

    for (unsigned i = 0; i < n && result == 0; i++) {
        if ((unsigned)keep[i] > from)
            result = sys_call3(SYS_close_range, from, keep[i] - 1, 0);
        from = (unsigned)keep[i] + 1;
    }
    return result != 0 ? (int)result : (int)sys_call3(SYS_close_range, from, ~0u, 0);
}

int os_working_directory(char *path, size_t bytes)
{
    long length = sys_call2(SYS_getcwd, path, bytes);

    return length < 0 ? (int)length : 0;
}

int os_process_id(void)
{
    return (int)sys_call0(SYS_getpid);
}

/* abort(3)'s steps by raw calls, because a thread of ours may be the one that finds the fault. */
_Noreturn void os_abort(void)
{
    uint64_t abort_signal = (uint64_t)1 << (SIGABRT - 1);
    unsigned long default_action[8] = {0}; /* at least the kernel's struct sigaction: all zeros are SIG_DFL */
    long process = sys_call0(SYS_getpid);
    long thread = sys_call0(SYS_gettid);

    sys_call4(SYS_rt_sigprocmask, SIG_UNBLOCK, &abort_signal, 0, sizeof abort_signal);
    sys_call3(SYS_tgkill, process, thread, SIGABRT);
    sys_call4(SYS_rt_sigaction, SIGABRT, default_action, 0, sizeof abort_signal);
    sys_call3(SYS_tgkill, process, thread, SIGABRT);
    os_exit(128 + SIGABRT);
}

_Noreturn void os_exit(int status)
{
    for (;;)
        sys_call1(SYS_exit_group, status);
}

static unsigned digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    if (c >= 'a' && c <= 'f')
        return (unsigned)(c - 'a') + 10;
    return c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10 : UINT32_MAX;
}

unsigned long os_number(const char *text, char **end, unsigned base)
{
    const char *at = text;
    const char *first;
    bool is_negative;
    unsigned long number = 0;

    while (*at == ' ' || *at == '\t' || *at == '\n')
        at++;
    is_negative = *at == '-';
    at += is_negative;
    if (base != 10 && at[0] == '0' && at[1] == 'x') {
        base = 16;
        at += 2;
    }
    if (base == 0)
        base = 10;
    for (first = at; digit_of(*at) < base; at++)
        number = number * base + digit_of(*at);
    if (end != NULL)
        *end = (char *)(uintptr_t)(at > first ? at : text);
    return is_negative ? -number : number;
}
