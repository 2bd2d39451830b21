/* probe_table_files.c - calls with names, attributes and contents of files. See probe_table.c. */
#include "tests/preload/probe_table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>

static long paths(char *at)
{
    struct stat status;
    long fd;
    long result;

    strcpy(at, "/proc/self/../self/status");
    fd = CALL(SYS_openat, AT_FDCWD, at, O_RDONLY, 0);
    CHECK(fd >= 0);
    close((int)fd);
    result = CALL(SYS_access, at, R_OK) == 0;
    result += CALL(SYS_newfstatat, AT_FDCWD, at, &status, 0) == 0 && S_ISREG(status.st_mode) ? 2 : 0;
    strcpy(at, "/no/such/file");
    return result * 100 + (CALL(SYS_unlink, at) == -1 && errno == ENOENT);
}

static long names(char *at)
{
    long result = CALL(SYS_getcwd, at, ROOM);

    CHECK(result > 0 && chdir("/usr/bin") == 0);
    result = CALL(SYS_getcwd, at, 100L) * 1000;
    result += CALL(SYS_readlink, "/proc/self/exe", at + 100, 200L);
    return result * 1000 + CALL(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", at + 300, 200L);
}

static long status_of_files(char *at)
{
    long result = CALL(SYS_newfstatat, AT_FDCWD, "/proc/self/exe", at, 0);

    result += CALL(SYS_stat, "/usr", at + 200);
    memset(at + 400, 0, 300);
    result += CALL(SYS_statfs, "/proc", at + 400);
    return result + CALL(SYS_statx, AT_FDCWD, "/usr", 0, STATX_BASIC_STATS, at + 700);
}

static long directory(char *at)
{
    long fd = syscall(SYS_openat, AT_FDCWD, "/proc/self/attr", O_RDONLY | O_DIRECTORY, 0);
    long n = 0;
    long got;

    if (fd < 0)
        return 0;
    while ((got = CALL(SYS_getdents64, fd, at, 200L)) > 0)
        n += got;
    CHECK(lseek((int)fd, 0, SEEK_SET) == 0);
    n *= 10000;
    while ((got = CALL(SYS_getdents, fd, at, 200L)) > 0)
        n += got;
    close((int)fd);
    memset(at, 0, 200);
    return n;
}

static long attributes(char *at)
{
    char path[] = "/var/tmp/ghostmem-probe-XXXXXX";
    int fd = mkstemp(path);
    long result;

    CHECK(fd >= 0);
    memcpy(at, "user.ghost", 11);
    memcpy(at + 100, "value", 5);
    result = CALL(SYS_fsetxattr, fd, at, at + 100, 5L, 0);
    result = result * 10 + CALL(SYS_fgetxattr, fd, at, at + 200, 100L);
    result = result * 10 + CALL(SYS_flistxattr, fd, at + 300, 100L);
    result = result * 10 + CALL(SYS_getxattr, path, at, at + 400, 100L);
    result = result * 10 + CALL(SYS_lgetxattr, path, at, at + 500, 100L);
    result = result * 10 + CALL(SYS_setxattr, path, at, at + 101, 4L, 0);
    result = result * 10 + CALL(SYS_listxattr, path, at + 600, 100L);
    result = result * 10 + CALL(SYS_lsetxattr, path, at, at + 102, 3L, 0);
    result = result * 10 + CALL(SYS_llistxattr, path, at + 700, 100L);
    result = result * 10 + CALL(SYS_fgetxattr, fd, at, at + 800, 100L);
    unlink(path);
    close(fd);
    return result;
}

static long transfers(char *at)
{
    char path[] = "/var/tmp/ghostmem-probe-XXXXXX";
    int fd = mkstemp(path);
    struct iovec *vector = (struct iovec *)(void *)at;
    long result;

    CHECK(fd >= 0 && unlink(path) == 0);
    memset(at + 64, 'w', 300);
    vector[0] = (struct iovec){at + 64, 100};
    vector[1] = (struct iovec){at + 164, 200};
    result = CALL(SYS_pwritev, fd, vector, 2, 0L, 0L);
    vector[0] = (struct iovec){at + 400, 150};
    vector[1] = (struct iovec){at + 550, 150};
    result += CALL(SYS_preadv2, fd, vector, 2, 0L, 0L, 0);
    result += CALL(SYS_pread64, fd, at + 700, 100L, 10L);
    result += CALL(SYS_write, fd, at + 64, 10L);
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    result += CALL(SYS_readv, fd, vector, 1);
    vector[0] = (struct iovec){at + 64, 7};
    vector[1] = (struct iovec){at + 700, 60};
    result = result * 1000 + CALL(SYS_writev, fd, vector, 2);
    result = result * 1000 + CALL(SYS_pwritev2, fd, vector, 2, 20L, 0L, 0);
    vector[0] = (struct iovec){at + 850, 40};
    vector[1] = (struct iovec){at + 890, 40};
    result = result * 1000 + CALL(SYS_preadv, fd, vector, 2, 15L, 0L);
    memset(at, 0, 32); /* the addresses differ */
    close(fd);
    return result;
}

static long offsets(char *at)
{
    int in = open("/proc/self/exe", O_RDONLY);
    int ends[2];
    long result;

    CHECK(in >= 0 && pipe(ends) == 0);
    *(off_t *)(void *)at = 100;
    result = CALL(SYS_sendfile, ends[1], in, at, 200L);
    CHECK(*(off_t *)(void *)at == 300);
    result += CALL(SYS_splice, in, at, ends[1], NULL, 100L, 0);
    *(struct iovec *)(void *)(at + 16) = (struct iovec){at + 64, 50};
    memset(at + 64, 'v', 50);
    result += CALL(SYS_vmsplice, ends[1], at + 16, 1L, 0);
    *(struct iovec *)(void *)(at + 16) = (struct iovec){NULL, 0};
    result += CALL(SYS_ioctl, ends[0], FIONREAD, at + 200);
    close(in);
    close(ends[0]);
    close(ends[1]);
    return result * 1000 + *(int *)(void *)(at + 200);
}

/* A file that is no program is told from one whose arguments cannot be read. */
static long refused_programs(char *at)
{
    char path[] = "/var/tmp/ghostmem-probe-XXXXXX";
    int fd = mkstemp(path);
    char **arguments = (char **)(void *)at;
    char **environment = (char **)(void *)(at + 32);
    char *block = malloc((size_t)256 << 10); /* of its own, and not its first page: nothing else brings it in */
    char *strings = block + 16 * PAGE;
    long result = 0;

    CHECK(block != NULL && fd >= 0 && fchmod(fd, 0700) == 0 && write(fd, "no program", 10) == 10);
    close(fd);
    memset(at, 0, ROOM);
    arguments[0] = path;
    arguments[1] = strcpy(strings, "argument");
    environment[0] = strcpy(strings + 8 * PAGE, "HOME=/");
    for (int i = 0; i < 2; i++) { /* one of the two vectors each time */
        result = result * 1000 + error_or(CALL(SYS_execve, path, i == 0 ? arguments : NULL, i == 0 ? NULL : environment));
        result = result * 1000 + error_or(CALL(SYS_execveat, AT_FDCWD, path, i == 0 ? arguments : NULL, i == 0 ? NULL : environment, 0));
    }
    unlink(path);
    free(block);
    memset(at, 0, 200);
    return result;
}

call_case *const cases_of_files[] = {
    paths,
    names,
    status_of_files,
    directory,
    attributes,
    transfers,
    offsets,
    refused_programs,
    NULL,
};
