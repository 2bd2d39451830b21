/*
 * memory_raw.c - memory calls that come by other ways: process_madvise(2) on the process itself, and libc's syscall(). See memory.h.
 *
 * Allocators on top of ours give pages back so. With `signal` and `segv` every system call is trapped once paging has started; with
 * `thread`, and before, syscall() is where such a call can be seen.
 */
#include "interpose/memory.h"

#include "interpose/ghost.h"
#include "interpose/guard.h"
#include "interpose/libc.h"

#include "core/log.h"
#include "platform/file.h"
#include "platform/sys.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

#define EXPORT __attribute__((visibility("default")))

/* Source: include/uapi/linux/pidfd.h, Linux 6.14 */
#define SELF_THREAD (-10000)
#define SELF_PROCESS (-10001)

/* Source: proc(5), /proc/PID/fdinfo of a pidfd: NSpid ends with the id in the innermost namespace. */
static bool is_this_process(int fd)
{
    static const char key[] = "\nPid:";
    char path[64];
    char text[512];
    const char *at = NULL;

    if (fd == SELF_THREAD || fd == SELF_PROCESS)
        return true;
    (void)log_format(path, sizeof path, 0, "/proc/self/fdinfo/%d", fd);
    if (fd >= 0 && os_file_read(path, text, sizeof text) > 0)
        at = strstr(text, key);
    return at != NULL && strtol(at + sizeof key - 1, NULL, 10) == ghost.process;
}

/* Where the memory may be missing to the kernel, this thread has to touch it. */
static bool read_vector(struct iovec *to, uintptr_t from)
{
    struct iovec local = {to, sizeof *to};
    struct iovec remote = {(void *)from, sizeof *to};

    if (guard_self() != NULL)
        return guard_copy(to, (const void *)from, sizeof *to) == 0;
    return sys_call6(SYS_process_vm_readv, os_process_id(), (long)&local, 1, (long)&remote, 1, 0) == (long)sizeof *to;
}

bool memory_advise_vector(const unsigned long *args, long *result)
{
    size_t n = args[2];
    size_t n_bytes = 0;

    /* Whether the kernel would have it at all, found out with a vector of nothing. */
    *result = sys_call5(SYS_process_madvise, args[0], 0, 0, args[3], args[4]);
    if (n > IOV_MAX || *result != 0 || !is_this_process((int)args[0]))
        return false;
    for (size_t i = 0; i < n; i++) {
        struct iovec part;
        unsigned long its_args[3];

        *result = -EFAULT;
        if (read_vector(&part, args[1] + i * sizeof part)) {
            its_args[0] = (uintptr_t)part.iov_base;
            its_args[1] = part.iov_len;
            its_args[2] = args[3];
            if (!memory_advise(its_args, result))
                *result = sys_call3(SYS_madvise, its_args[0], its_args[1], its_args[2]);
        }
        if (*result < 0)
            break;
        n_bytes += part.iov_len;
    }
    if (n_bytes > 0 || n == 0)
        *result = (long)n_bytes;
    return true;
}

static bool is_memory_call(long number)
{
    static const long numbers[] = {SYS_madvise, SYS_process_madvise, SYS_mprotect, SYS_pkey_mprotect, SYS_mmap, SYS_munmap, SYS_mremap,
                                   SYS_mlock, SYS_mlock2, SYS_munlock, SYS_mlockall, SYS_munlockall};

    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (numbers[i] == number)
            return true;
    return false;
}

static bool by_number(long number, const unsigned long *args, long *result)
{
    unsigned long its_args[3] = {args[0], args[1], args[2]};

    switch (number) {
    case SYS_madvise:
        return memory_quietly(memory_advise, args, result);
    case SYS_process_madvise:
        return memory_always_quietly(memory_advise_vector, args, result);
    case SYS_mprotect:
        return memory_quietly(memory_protect, args, result);
    case SYS_pkey_mprotect:
        return memory_quietly(memory_protect_by_key, args, result);
    case SYS_mmap:
        return memory_quietly(memory_map, args, result);
    case SYS_munmap:
        return memory_quietly(memory_unmap, args, result);
    case SYS_mremap:
        return memory_quietly(memory_remap, args, result);
    case SYS_mlock:
        its_args[2] = 0;
        return memory_quietly(memory_lock, its_args, result);
    case SYS_mlock2:
        return memory_quietly(memory_lock, args, result);
    case SYS_munlock:
        return memory_quietly(memory_unlock, args, result);
    case SYS_mlockall:
        return memory_always_quietly(memory_lock_all, args, result);
    case SYS_munlockall:
        return memory_always_quietly(memory_unlock_all, args, result);
    default:
        return false;
    }
}

long ghost_syscall(long number, long a, long b, long c, long d, long e, long f) __asm__("syscall");

static __attribute__((noinline)) long make_memory_call(long number, long a, long b, long c, long d, long e, long f)
{
    const unsigned long args[] = {(unsigned long)a, (unsigned long)b, (unsigned long)c,
                                  (unsigned long)d, (unsigned long)e, (unsigned long)f};
    long result;

    if (!by_number(number, args, &result))
        result = sys_call6(number, a, b, c, d, e, f);
    return memory_answer(result);
}

/* syscall(3), which is variadic: with all that a call may have. What it has no memory of ours for ends with a jump, as SYS_vfork wants. */
EXPORT long ghost_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    if (libc_next() == NULL)
        return memory_answer(sys_call6(number, a, b, c, d, e, f));
    if (ghost.heap.bytes != 0 && guard_self() == NULL && is_memory_call(number))
        return make_memory_call(number, a, b, c, d, e, f);
    return libc_next()->system_call(number, a, b, c, d, e, f);
}

EXPORT ssize_t process_madvise(int fd, const struct iovec *vector, size_t n, int advice, unsigned flags)
{
    const unsigned long args[] = {(unsigned long)fd, (uintptr_t)vector, n, (unsigned long)advice, flags};
    long result;

    if (ghost.heap.bytes == 0 || !memory_always_quietly(memory_advise_vector, args, &result))
        result = sys_call5(SYS_process_madvise, args[0], args[1], args[2], args[3], args[4]);
    return memory_answer(result);
}
