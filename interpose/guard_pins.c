/*
 * guard_pins.c - may somebody besides the program hold frames of its memory, and write to them when no call of it is under way?
 *
 * Device drivers pin memory (RDMA, GPUs, virtual machines, video), and so do io_uring and Linux AIO. Such frames must be moved, which
 * the kernel refuses while they are pinned, and not be taken out (fault.h, extract()). A program that has a device, but for those
 * that only copy, may have pinned anything; it is taken to have done so for good. See guard.h.
 */
#include "interpose/guard.h"

#include "platform/file.h"
#include "platform/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* /dev/null and its like, terminals. Source: Documentation/admin-guide/devices.txt. */
static bool only_copies(unsigned device_major)
{
    return device_major == 1 || device_major == 4 || device_major == 5 || (device_major >= 136 && device_major <= 143);
}

static bool is_device(int fd)
{
    struct stat status;

    return sys_call2(SYS_fstat, fd, &status) == 0 && S_ISCHR(status.st_mode) && !only_copies(major(status.st_rdev));
}

void guard_note_device(int fd)
{
    if (ghost.pager.backend->can_extract && is_device(fd))
        reclaim_forbid_extracting(&ghost.pager.reclaim);
}

void guard_note_sandbox(void)
{
    if (ghost.pager.backend->can_extract)
        reclaim_forbid_extracting(&ghost.pager.reclaim);
}

static void look_at_descriptor(void *arg, const char *name)
{
    bool *found = arg;

    if (name[0] != '.')
        *found = *found || is_device((int)strtol(name, NULL, 10));
}

/* A line of /proc/self/maps. Source: proc_pid_maps(5); rings of AIO and io_uring are mapped. */
static bool maps_device(const char *line)
{
    const char *name = strchr(line, '/');

    if (strstr(line, "[aio]") != NULL || strstr(line, "[io_uring]") != NULL)
        return true;
    return name != NULL && strncmp(name, "/dev/", 5) == 0 && strncmp(name, "/dev/shm/", 9) != 0 && strncmp(name, "/dev/zero", 9) != 0;
}

/* Whole lines come with each read. */
static bool any_mapped(void)
{
    static char lines[8192 + 1]; /* under the heap's lock, as all that is done when paging starts */
    int fd = (int)sys_call4(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
    bool found = false;
    long bytes = fd;

    while (fd >= 0 && !found && (bytes = sys_call3(SYS_read, fd, lines, sizeof lines - 1)) > 0) {
        lines[bytes] = '\0';
        for (char *line = lines, *end; !found && (end = strchr(line, '\n')) != NULL; line = end + 1) {
            *end = '\0';
            found = maps_device(line);
        }
    }
    if (fd >= 0)
        os_file_close(fd);
    return found || bytes < 0;
}

void guard_look_for_pins(void)
{
    bool found = false;

    if (os_directory_visit("/proc/self/fd", look_at_descriptor, &found) < 0 || found || any_mapped())
        atomic_store(&ghost.pager.backend->can_extract, false);
}
