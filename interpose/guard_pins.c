/*
 * guard_pins.c - may somebody besides the program hold frames of its memory, and write to them when no call of it is under way?
 *
 * Device drivers pin memory (RDMA, GPUs, virtual machines, video), and so do io_uring and Linux AIO. Such frames must be moved, which
 * the kernel refuses while they are pinned, and not be taken out (fault.h, extract()). A program that has a device, but for those
 * that only copy, or a socket of AF_XDP may have pinned anything; it is taken to have done so for good. See guard.h.
 */
#include "interpose/guard.h"

#include "platform/abi.h"
#include "platform/file.h"
#include "platform/maps.h"
#include "platform/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* /dev/null and its like, terminals. Source: Documentation/admin-guide/devices.txt. */
static bool only_copies(unsigned device_major)
{
    return device_major == 1 || device_major == 4 || device_major == 5 || (device_major >= 136 && device_major <= 143);
}

/* Source: socket(7), SO_DOMAIN; Documentation/networking/af_xdp.rst. */
static bool is_pinning_socket(int fd)
{
    int domain = 0;
    socklen_t bytes = sizeof domain;

    long error = sys_call5(SYS_getsockopt, fd, SOL_SOCKET, SO_DOMAIN, &domain, &bytes);

    return error == -EFAULT || (error == 0 && domain == AF_XDP);
}

/* EFAULT: the stack is ghost memory, and missing just now; then nothing is known of the descriptor. */
static bool is_device(int fd)
{
    struct stat status;
    long error = sys_call2(SYS_fstat, fd, &status);

    if (error != 0)
        return error == -EFAULT;
    return S_ISSOCK(status.st_mode) ? is_pinning_socket(fd) : S_ISCHR(status.st_mode) && !only_copies(major(status.st_rdev));
}

/* What there is when paging starts has been looked at, or is about to be. */
static _Atomic bool watching;

static bool may_extract(void)
{
    return atomic_load(&watching) && ghost.pager.backend->can_extract;
}

static void forbid_extracting(void *arg)
{
    (void)arg;
    pager_forbid_extracting(&ghost.pager);
}

void guard_forbid_extracting(void)
{
    struct ghost_quiet quiet;

    if (!may_extract())
        return;
    quiet = ghost_quiet_begin();
    guard_run(forbid_extracting, NULL);
    ghost_quiet_end(quiet);
}

void guard_note_device(int fd)
{
    if (may_extract() && is_device(fd))
        guard_forbid_extracting();
}

/* A ring need not be mapped (IORING_SETUP_NO_MMAP). Source: io_uring/fdinfo.c. */
static bool is_ring(const char *name)
{
    char path[64] = "/proc/self/fdinfo/";
    char text[256];

    strncat(path, name, sizeof path - sizeof "/proc/self/fdinfo/");
    return os_file_read(path, text, sizeof text) > 0 && strstr(text, "SqMask:") != NULL;
}

static void look_at_descriptor(void *arg, const char *name)
{
    bool *found = arg;
    int fd = (int)os_number(name, NULL, 10);

    if (name[0] != '.')
        *found = *found || is_device(fd) || is_ring(name);
}

/* Rings of AIO and io_uring are mapped. */
static bool maps_no_device(void *arg, const struct os_mapping *mapping)
{
    const char *name = mapping->name;
    bool *found = arg;

    *found = strstr(name, "[aio]") != NULL || strstr(name, "[io_uring]") != NULL ||
             (strncmp(name, "/dev/", 5) == 0 && strncmp(name, "/dev/shm/", 9) != 0 && strncmp(name, "/dev/zero", 9) != 0);
    return !*found;
}

static bool any_mapped(void)
{
    bool found = false;

    return guard_visit_maps(maps_no_device, &found) != 0 || found;
}

int guard_visit_maps(os_maps_visit *visit, void *arg)
{
    static char buffer[OS_MAPS_BUFFER_BYTES]; /* under the heap's lock, as all that is done when paging starts */

    return os_maps_each(buffer, visit, arg);
}

void guard_look_for_pins(void)
{
    bool found = false;

    if (!ghost.pager.backend->can_extract)
        return;
    atomic_store(&watching, true);
    if (os_directory_visit("/proc/self/fd", look_at_descriptor, &found) < 0 || found || any_mapped())
        atomic_store(&ghost.pager.backend->can_extract, false);
}
