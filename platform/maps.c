/* maps.c - see maps.h. */
#include "platform/maps.h"

#include "platform/inject.h"
#include "platform/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* "start-end rwxp offset major:minor inode   name" */
static bool parse(char *line, struct os_mapping *mapping)
{
    char *at;
    unsigned long inode;

    mapping->start = strtoul(line, &at, 16);
    if (*at != '-')
        return false;
    mapping->end = strtoul(at + 1, &at, 16);
    if (strlen(at) < sizeof " rwxp " - 1)
        return false;
    mapping->protection = (at[1] == 'r' ? PROT_READ : 0) | (at[2] == 'w' ? PROT_WRITE : 0) | (at[3] == 'x' ? PROT_EXEC : 0);
    mapping->shared = at[4] == 's';
    at += sizeof " rwxp " - 1;
    mapping->offset = strtoul(at, &at, 16);
    (void)strtoul(at, &at, 16); /* device */
    if (*at == ':')
        (void)strtoul(at + 1, &at, 16);
    inode = strtoul(at, &at, 10);
    mapping->of_file = inode != 0;
    mapping->name = at + strspn(at, " ");
    return true;
}

int os_maps_each(char *buffer, os_maps_visit *visit, void *arg)
{
    bool goes_on = true;
    long bytes;
    long fd;

    OS_MAY_FAIL(EACCES);
    fd = sys_call4(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
    if (sys_failed(fd))
        return (int)fd;
    while (goes_on && (bytes = sys_call3(SYS_read, fd, buffer, OS_MAPS_BUFFER_BYTES - 1)) > 0) {
        struct os_mapping mapping;

        buffer[bytes] = '\0';
        for (char *line = buffer, *end; goes_on && (end = strchr(line, '\n')) != NULL; line = end + 1) {
            *end = '\0';
            goes_on = !parse(line, &mapping) || visit(arg, &mapping);
        }
    }
    sys_call1(SYS_close, fd);
    return !goes_on || bytes == 0 ? 0 : (int)bytes;
}
