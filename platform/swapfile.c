/* swapfile.c - see swapfile.h. */
#include "platform/swapfile.h"

#include "platform/abi.h"
#include "platform/file.h"
#include "platform/inject.h"
#include "platform/sys.h"
#include "platform/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef SYS_faccessat2
#define SYS_faccessat2 439 /* Linux 5.8 */
#endif

#define PATH_BYTES 4096
/* Descriptors stand high: programs that close or reuse descriptors do so from the bottom upwards. */
#define MIN_FD 500

static size_t append(char *path, size_t length, const char *text)
{
    while (*text != '\0' && length < PATH_BYTES - 1)
        path[length++] = *text++;
    path[length] = '\0';
    return length;
}

static size_t append_number(char *path, size_t length, uint64_t number)
{
    char digits[24];
    size_t n = sizeof digits - 1;

    digits[n] = '\0';
    do {
        digits[--n] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return append(path, length, digits + n);
}

static long status_of(const char *path, struct stat *status, int flags)
{
    return sys_call4(SYS_newfstatat, AT_FDCWD, path, status, flags);
}

static bool is_directory(const char *path)
{
    struct stat status;

    return status_of(path, &status, 0) == 0 && S_ISDIR(status.st_mode);
}

/* What stands at @path, if it is no directory. 0: nothing, or an empty file. */
static int check_name(const char *path)
{
    struct stat status;
    long result = status_of(path, &status, AT_SYMLINK_NOFOLLOW);

    if (result == -ENOENT)
        return 0;
    if (sys_failed(result))
        return (int)result;
    if (S_ISLNK(status.st_mode))
        return -ELOOP;
    if (!S_ISREG(status.st_mode))
        return -EINVAL;
    return status.st_size > 0 ? -EEXIST : 0;
}

static void directory_of(const char *path, char *directory)
{
    size_t length = append(directory, 0, path);

    while (length > 0 && directory[length - 1] != '/')
        length--;
    directory[length] = '\0';
    if (length == 0)
        (void)append(directory, 0, ".");
}

/* Created, and gone from the directory at once. */
static int create_named(const char *path)
{
    int fd = (int)sys_call4(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd >= 0)
        sys_call3(SYS_unlinkat, AT_FDCWD, path, 0);
    return fd;
}

static int create_with_a_name(const char *path, bool in_directory)
{
    char name[PATH_BYTES];
    size_t length = append(name, 0, path);
    int fd = -EEXIST;

    if (in_directory)
        length = append(name, length, "/.ghostmem");
    else
        fd = create_named(name);
    if (fd != -EEXIST)
        return fd;
    length = append(name, length, ".");
    (void)append_number(name, length, (uint64_t)os_process_id());
    return create_named(name);
}

/*
 * Every holder's description keeps a shared lock for as long as it is open. One without would not be seen by the others, who would write
 * to the file beside it, with nonces that it uses too: such a one must not be.
 */
static int lock_shared(int fd)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};

    OS_MAY_FAIL(ENOLCK);
    return (int)sys_call3(SYS_fcntl, fd, F_OFD_SETLK, &lock);
}

/* Up in the table if there is room; where it is otherwise. */
static int keep_high(int fd)
{
    long high = sys_call3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, MIN_FD);

    if (sys_failed(high)) {
        os_file_own(fd);
        return fd;
    }
    os_file_close(fd);
    os_file_own((int)high);
    return (int)high;
}

static int locked_or_closed(int fd)
{
    int error = lock_shared(fd);

    if (error == 0)
        return keep_high(fd);
    os_file_close(fd);
    return error;
}

int os_swapfile_check(const char *path)
{
    char directory[PATH_BYTES];
    int error = 0;

    if (is_directory(path)) {
        (void)append(directory, 0, path);
    } else {
        error = check_name(path);
        directory_of(path, directory);
    }
    if (error == 0)
        error = (int)sys_call4(SYS_faccessat2, AT_FDCWD, directory, W_OK | X_OK, AT_EACCESS);
    return error == -ENOSYS || error == -EPERM ? 0 : error; /* an older kernel, a filter: it will be found out */
}

int os_swapfile_create(const char *path)
{
    char directory[PATH_BYTES];
    bool in_directory = is_directory(path);
    int error = in_directory ? 0 : check_name(path);
    int fd;

    OS_MAY_FAIL(EACCES);
    if (error != 0)
        return error;
    if (in_directory)
        (void)append(directory, 0, path);
    else
        directory_of(path, directory);
    fd = (int)sys_call4(SYS_openat, AT_FDCWD, directory, O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600); /* O_EXCL: nor can it be given one */
    if (fd == -EOPNOTSUPP || fd == -EISDIR || fd == -EINVAL)
        fd = create_with_a_name(path, in_directory);
    if (fd < 0)
        return fd;
    return locked_or_closed(fd);
}

int os_swapfile_reopen(uint32_t thread, int fd)
{
    char path[PATH_BYTES];
    size_t length = append(path, 0, "/proc/self/task/");
    int copy;

    OS_MAY_FAIL(EMFILE);
    length = append_number(path, length, thread);
    length = append(path, length, "/fd/");
    (void)append_number(path, length, (uint64_t)fd);
    copy = (int)sys_call4(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (copy < 0)
        return copy;
    return locked_or_closed(copy);
}

bool os_swapfile_is_alone(int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    return sys_call3(SYS_fcntl, fd, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_UNLCK;
}

static long read_some(int fd, void *buffer, size_t bytes, uint64_t offset)
{
    OS_IO_MAY_FAIL(OS_INJECT_READ, bytes);
    return sys_call4(SYS_pread64, fd, buffer, bytes, offset);
}

/* A page of the program's is at stake: so many milliseconds for the system to have memory for it. */
#define MEMORY_ATTEMPTS 10000

int os_swapfile_read(int fd, void *buffer, size_t bytes, uint64_t offset)
{
    char *at = buffer;
    int n_attempts = 0;

    while (bytes > 0) {
        long got = read_some(fd, at, bytes, offset);

        if (got == -EINTR)
            continue;
        /* None for its cache, or to fetch the buffer from the system's own swap. */
        if ((got == -ENOMEM || got == -EFAULT) && ++n_attempts < MEMORY_ATTEMPTS) {
            os_sleep_ms(1);
            continue;
        }
        if (got <= 0)
            return got == 0 ? -ENODATA : (int)got;
        at += got;
        offset += (uint64_t)got;
        bytes -= (size_t)got;
    }
    return 0;
}

/* Sectors of 512 bytes, unless the disk has larger ones. */
#define SECTOR_BYTES 512u

static int read_direct(int direct, unsigned char *buffer, size_t bytes, uint64_t offset, size_t unit, void **data)
{
    uint64_t start = offset & ~(uint64_t)(unit - 1);
    size_t length = (size_t)(offset - start) + bytes;
    long got = sys_call4(SYS_pread64, direct, buffer, (length + unit - 1) & ~(unit - 1), start);

    *data = buffer + (offset - start);
    return got < 0 ? (int)got : got >= (long)length ? 0 : -ENODATA;
}

/*
 * Would a read go without the disk? (A read with RWF_NOWAIT is no way to ask: it starts to fill the page cache.)
 * Yes also where the kernel cannot say: then the page cache is as good as any.
 */
static bool is_cached(int fd, size_t bytes, uint64_t offset)
{
    uint64_t first = offset / OS_SWAPFILE_ALIGN;
    uint64_t end = (offset + bytes + OS_SWAPFILE_ALIGN - 1) / OS_SWAPFILE_ALIGN;
    struct cachestat_range range = {.off = offset, .len = bytes};
    struct cachestat cached = {0};

    return sys_call4(SYS_cachestat, fd, &range, &cached, 0) != 0 || cached.nr_cache >= end - first;
}

int os_swapfile_read_random(int fd, int direct, void *buffer, size_t bytes, uint64_t offset, void **data)
{
    size_t part = bytes;
    int result;

    *data = buffer;
    if (direct < 0 || is_cached(fd, bytes, offset))
        return os_swapfile_read(fd, buffer, bytes, offset);
    OS_IO_MAY_FAIL(OS_INJECT_READ, part);
    if (part < bytes)
        return os_swapfile_read(fd, buffer, bytes, offset);
    result = read_direct(direct, buffer, bytes, offset, SECTOR_BYTES, data);
    if (result == -EINVAL)
        result = read_direct(direct, buffer, bytes, offset, OS_SWAPFILE_ALIGN, data);
    if (result == 0)
        return 0;
    *data = buffer;
    return os_swapfile_read(fd, buffer, bytes, offset);
}

int os_swapfile_open_direct(int fd)
{
    char path[PATH_BYTES];

    OS_MAY_FAIL(EINVAL);
    (void)append_number(path, append(path, 0, "/proc/thread-self/fd/"), (uint64_t)fd);
    fd = (int)sys_call4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_DIRECT | O_CLOEXEC, 0);
    return fd < 0 ? fd : keep_high(fd);
}

/* With the error that a file of such a size gives comes a SIGXFSZ, of which the program would end. Source: setrlimit(2). */
static bool is_beyond_limit(uint64_t end)
{
    struct rlimit limit;

    return sys_call4(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, &limit) == 0 && end > limit.rlim_cur;
}

int os_swapfile_write(int fd, const void *buffer, size_t bytes, uint64_t offset)
{
    const char *at = buffer;

    if (is_beyond_limit(offset + bytes))
        return -EFBIG;
    while (bytes > 0) {
        size_t part = bytes;
        long put;

        OS_IO_MAY_FAIL(OS_INJECT_WRITE, part);
        put = sys_call4(SYS_pwrite64, fd, at, part, offset);

        if (put == -EINTR)
            continue;
        if (put <= 0)
            return put == 0 ? -EIO : (int)put;
        at += put;
        offset += (uint64_t)put;
        bytes -= (size_t)put;
    }
    return 0;
}

int os_swapfile_punch(int fd, uint64_t offset, uint64_t bytes)
{
    OS_IO_MAY_FAIL(OS_INJECT_PUNCH, bytes);
    return (int)sys_call4(SYS_fallocate, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, bytes);
}

int os_swapfile_truncate(int fd, uint64_t bytes)
{
    struct stat status;

    OS_MAY_FAIL(EIO);
    /* The last place may never have been written, or not all of it: then the file would grow. */
    if (is_beyond_limit(bytes) && sys_call2(SYS_fstat, fd, &status) == 0 && (uint64_t)status.st_size <= bytes)
        return 0;
    return (int)sys_call2(SYS_ftruncate, fd, bytes);
}

void os_swapfile_close(int fd)
{
    os_file_disown(fd);
    os_file_close(fd);
}

int os_random(void *buffer, size_t bytes)
{
    long got;

    OS_MAY_FAIL(ENOSYS);
    do {
        got = sys_call3(SYS_getrandom, buffer, bytes, 0);
    } while (got == -EINTR);
    return got == (long)bytes ? 0 : got < 0 ? (int)got : -EIO;
}
