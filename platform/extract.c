/* extract.c - see extract.h. */
#include "platform/extract.h"

#include "platform/file.h"
#include "platform/inject.h"
#include "platform/mem.h"
#include "platform/sys.h"
#include "platform/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/uio.h>

#define RETRY_MS 1

static int own(int fd)
{
    fd = os_file_move_high(fd);
    os_file_own(fd);
    return fd;
}

int extractor_open(struct extractor *extractor)
{
    const long bytes = (long)EXTRACT_MAX_PAGES * OS_PAGE_BYTES;
    int fds[2];
    int error;

    *extractor = (struct extractor){-1, -1};
    OS_MAY_FAIL(EMFILE);
    error = (int)sys_call2(SYS_pipe2, fds, O_CLOEXEC | O_NONBLOCK);
    if (error != 0)
        return error;
    *extractor = (struct extractor){.in = own(fds[1]), .out = own(fds[0])};
    /* A buffer for each page. A user who has too much in pipes gets fewer. Source: pipe(7). */
    if (sys_call3(SYS_fcntl, extractor->in, F_SETPIPE_SZ, bytes) >= bytes)
        return 0;
    extractor_close(extractor);
    return -EPERM;
}

void extractor_close(struct extractor *extractor)
{
    if (extractor->in >= 0) {
        os_file_disown(extractor->in);
        os_file_close(extractor->in);
        os_file_disown(extractor->out);
        os_file_close(extractor->out);
    }
    *extractor = (struct extractor){-1, -1};
}

/* The pipe holds the pages' frames. Returns of how many, or -errno. */
static long hold_frames(const struct extractor *extractor, const uintptr_t *addrs, size_t n)
{
    struct iovec pages[EXTRACT_MAX_PAGES];
    long result;

    OS_IO_MAY_FAIL(OS_INJECT_EXTRACT, n);
    for (size_t i = 0; i < n; i++)
        pages[i] = (struct iovec){(void *)addrs[i], OS_PAGE_BYTES};
    result = sys_call4(SYS_vmsplice, extractor->in, pages, n, 0);
    return result < 0 ? result : result / (long)OS_PAGE_BYTES;
}

/* All that the pipe holds. 0, or -errno: reading is refused. */
static int read_all(const struct extractor *extractor, unsigned char *buffer, size_t bytes)
{
    while (bytes > 0) {
        long result = sys_call3(SYS_read, extractor->out, buffer, bytes);

        if (result == -EPERM || result == -EACCES || result == -ENOSYS || result == -EBADF)
            return (int)result;
        if (result <= 0) { /* the kernel has no memory for the buffer now */
            os_sleep_ms(RETRY_MS);
            continue;
        }
        buffer += result;
        bytes -= (size_t)result;
    }
    return 0;
}

size_t extractor_take(const struct extractor *extractor, void *buffer, const uintptr_t *addrs, size_t n, int *error)
{
    size_t n_gone;
    long n_held;
    int read_error;

    /* What could not be read again must not be discarded: a sandbox may allow the one and not the other. */
    *error = (int)sys_call3(SYS_read, extractor->out, buffer, 1);
    if (*error != -EAGAIN) {
        *error = *error < 0 ? *error : -EBADF;
        return 0;
    }
    n_held = hold_frames(extractor, addrs, n);
    *error = n_held == (long)n ? 0 : n_held < 0 ? (int)n_held : -EFAULT;
    if (n_held <= 0)
        return 0;
    n_gone = os_mem_discard_each(addrs, (size_t)n_held);
    if (n_gone < (size_t)n_held)
        *error = -EINVAL;
    read_error = read_all(extractor, buffer, (size_t)n_held * OS_PAGE_BYTES);
    if (read_error != 0)
        *error = read_error;
    return n_gone;
}
