/* uffd.c - see uffd.h. */
#include "platform/uffd.h"

#include "platform/abi.h"
#include "platform/inject.h"
#include "platform/mem.h"
#include "platform/sys.h"

#include <errno.h>
#include <fcntl.h>

static int open_fd(bool user_mode_only)
{
    long fd = sys_call1(SYS_userfaultfd, O_CLOEXEC | (user_mode_only ? UFFD_USER_MODE_ONLY : 0));
    long device;

    if (fd != -EPERM || user_mode_only)
        return (int)fd;
    device = sys_call4(SYS_openat, AT_FDCWD, "/dev/userfaultfd", O_RDWR | O_CLOEXEC, 0);
    if (device < 0)
        return -EPERM;
    fd = sys_call3(SYS_ioctl, device, USERFAULTFD_IOC_NEW, O_CLOEXEC);
    sys_call1(SYS_close, device);
    return (int)fd;
}

/* The handshake can be made once a descriptor, so what the kernel has is asked with another one. */
static int query_features(bool user_mode_only, uint64_t *features)
{
    struct uffdio_api api = {.api = UFFD_API};
    int fd = open_fd(user_mode_only);
    long result;

    if (fd < 0)
        return fd;
    result = sys_call3(SYS_ioctl, fd, UFFDIO_API, &api);
    sys_call1(SYS_close, fd);
    *features = api.features;
    return (int)result;
}

bool uffd_is_refusal(int error)
{
    return error == -EPERM || error == -EACCES || error == -ENOSYS;
}

int uffd_open(struct uffd *uffd, bool user_mode_only)
{
    const uint64_t wanted = UFFD_FEATURE_THREAD_ID | UFFD_FEATURE_MOVE | UFFD_FEATURE_PAGEFAULT_FLAG_WP |
                            UFFD_FEATURE_POISON | (user_mode_only ? UFFD_FEATURE_SIGBUS : 0);
    struct uffdio_api api = {.api = UFFD_API};
    uint64_t features = 0;
    int error;

    OS_MAY_FAIL(EPERM);
    error = query_features(user_mode_only, &features);
    if (error != 0)
        return error;
    uffd->fd = open_fd(user_mode_only);
    if (uffd->fd < 0)
        return uffd->fd;
    api.features = features & wanted;
    error = (int)sys_call3(SYS_ioctl, uffd->fd, UFFDIO_API, &api);
    if (error != 0) {
        uffd_close(uffd);
        return error;
    }
    if (user_mode_only && (api.features & UFFD_FEATURE_SIGBUS) == 0) {
        uffd_close(uffd);
        return -ENOSYS;
    }
    uffd->can_move = (api.features & UFFD_FEATURE_MOVE) != 0;
    uffd->can_protect = (api.features & UFFD_FEATURE_PAGEFAULT_FLAG_WP) != 0;
    uffd->knows_threads = (api.features & UFFD_FEATURE_THREAD_ID) != 0;
    return 0;
}

void uffd_close(struct uffd *uffd)
{
    sys_call1(SYS_close, uffd->fd);
    uffd->fd = -1;
}

int uffd_watch(const struct uffd *uffd, uintptr_t start, size_t bytes)
{
    struct uffdio_register watch = {
        .range = {.start = start, .len = bytes},
        .mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP,
    };

    OS_MAY_FAIL(ENOMEM);
    return (int)sys_call3(SYS_ioctl, uffd->fd, UFFDIO_REGISTER, &watch);
}

int uffd_unwatch(const struct uffd *uffd, uintptr_t start, size_t bytes)
{
    struct uffdio_range range = {.start = start, .len = bytes};

    OS_MAY_FAIL(ENOMEM);
    return (int)sys_call3(SYS_ioctl, uffd->fd, UFFDIO_UNREGISTER, &range);
}

int uffd_watch_all(const struct uffd *uffd, const struct fault_setup *setup)
{
    struct fault_range part = {.start = setup->ranges[0].start};
    int error = uffd_watch(uffd, setup->ranges[1].start, setup->ranges[1].bytes);

    while (error == 0 && setup->next_part(setup->arg, &part))
        error = uffd_watch(uffd, part.start, part.bytes);
    return error;
}

/*
 * One answer for the kernel's several ways to say how far a run got. @moved: bytes done, or -errno of the first page.
 * -EAGAIN means that the address space was changing at that moment: 1 says "go on from there".
 */
static int progress(long result, int64_t moved, size_t *n_done)
{
    if (!sys_failed(result))
        return 0;
    if (moved > 0)
        *n_done += (size_t)moved / OS_PAGE_BYTES;
    if (result == -EAGAIN)
        return 1;
    return result == -ESRCH ? -ENOENT : (int)result;
}

/* Read by the kernel only, as the source of fresh pages; const, so that it costs no RAM of its own. */
#define ZERO_PAGES 32u
static const unsigned char zeros[ZERO_PAGES][4096] __attribute__((aligned(4096)));

int uffd_fill(const struct uffd *uffd, uintptr_t dst, const void *source, size_t n_pages, bool protect, size_t *n_done)
{
    int error;

    *n_done = 0;
    OS_MAY_FAIL(ENOMEM);
    do {
        size_t offset = *n_done * OS_PAGE_BYTES;
        size_t n_left = n_pages - *n_done;
        struct uffdio_copy copy = {
            .dst = dst + offset,
            .src = source != NULL ? (uintptr_t)source + offset : (uintptr_t)zeros,
            .len = (source != NULL || n_left < ZERO_PAGES ? n_left : ZERO_PAGES) * OS_PAGE_BYTES,
            .mode = protect ? UFFDIO_COPY_MODE_WP : 0,
        };

        error = progress(sys_call3(SYS_ioctl, uffd->fd, UFFDIO_COPY, &copy), copy.copy, n_done);
        if (error == 0)
            *n_done += copy.len / OS_PAGE_BYTES;
    } while (error == 1 || (error == 0 && *n_done < n_pages));
    return error;
}

static int move_once(const struct uffd *uffd, uintptr_t dst, uintptr_t src, size_t n_pages, size_t *n_done)
{
    int error;

    *n_done = 0;
    do {
        size_t offset = *n_done * OS_PAGE_BYTES;
        struct uffdio_move move = {
            .dst = dst + offset,
            .src = src + offset,
            .len = (n_pages - *n_done) * OS_PAGE_BYTES,
        };
        long result = sys_call3(SYS_ioctl, uffd->fd, UFFDIO_MOVE, &move);

        OS_MAY_LIE(OS_INJECT_MOVE, result, move.move);
        error = progress(result, move.move, n_done);
    } while (error == 1);
    if (error == 0)
        *n_done = n_pages;
    return error;
}

/*
 * Linux 6.18 and later may move pages and then say EEXIST: where it had to try again inside (the page's entry changed, or
 * its folio was locked), it does not see that the second try succeeded, and finds its own work at the target in the third
 * (mm/userfaultfd.c, move_pages(): `err` keeps EAGAIN). Whether that is so, moving back tells: it succeeds just where the
 * target has the page and the source has none. EFAULT says no more: the kernel had no memory to fetch our stack from its swap, where
 * its answer goes to, before the move or after it. Then each page of the run is in doubt.
 * Returns 0: the page is at @dst; -EEXIST: there was another one.
 */
#define DOUBTS 8

static int move_doubted(const struct uffd *uffd, uintptr_t dst, uintptr_t src)
{
    int error = -EEXIST;
    size_t n_done;

    for (unsigned i = 0; i < DOUBTS && (error == -EEXIST || error == -EFAULT); i++) {
        if (move_once(uffd, src, dst, 1, &n_done) == -EBUSY) {
            uffd_wake(uffd, dst, 1);
            return 0; /* it is there, pinned by now, and not here: that is asked first */
        }
        error = move_once(uffd, dst, src, 1, &n_done);
    }
    return error;
}

int uffd_move(const struct uffd *uffd, uintptr_t dst, uintptr_t src, size_t n_pages, size_t *n_done)
{
    bool in_doubt = false;
    int error = 0;

    *n_done = 0;
    OS_MAY_FAIL(EBUSY);
    OS_IO_MAY_FAIL(OS_INJECT_REFUSE, n_pages);
    if (!uffd->can_move)
        return -EINVAL;
    while (*n_done < n_pages && error == 0) {
        size_t offset = *n_done * OS_PAGE_BYTES;
        size_t n_moved = 0;

        if (!in_doubt)
            error = move_once(uffd, dst + offset, src + offset, n_pages - *n_done, &n_moved);
        *n_done += n_moved;
        in_doubt = in_doubt || error == -EEXIST || error == -EFAULT;
        if (!in_doubt)
            continue;
        offset = *n_done * OS_PAGE_BYTES;
        error = move_doubted(uffd, dst + offset, src + offset);
        *n_done += error == 0;
    }
    return error;
}

int uffd_protect(const struct uffd *uffd, uintptr_t addr, size_t n_pages, bool on)
{
    struct uffdio_writeprotect protect = {
        .range = {.start = addr, .len = n_pages * OS_PAGE_BYTES},
        .mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
    };
    long result;

    OS_MAY_FAIL(ENOENT);
    do {
        result = sys_call3(SYS_ioctl, uffd->fd, UFFDIO_WRITEPROTECT, &protect);
    } while (result == -EAGAIN);
    return (int)result;
}

int uffd_poison(const struct uffd *uffd, uintptr_t addr)
{
    struct uffdio_poison poison = {.range = {.start = addr, .len = OS_PAGE_BYTES}};
    long result;

    OS_IO_MAY_FAIL(OS_INJECT_POISON, poison.range.len);
    do {
        result = sys_call3(SYS_ioctl, uffd->fd, UFFDIO_POISON, &poison);
    } while (result == -EAGAIN);
    return (int)result;
}

void uffd_wake(const struct uffd *uffd, uintptr_t addr, size_t n_pages)
{
    struct uffdio_range range = {.start = addr, .len = n_pages * OS_PAGE_BYTES};

    sys_call3(SYS_ioctl, uffd->fd, UFFDIO_WAKE, &range);
}
