/* maps.c - see maps.h. */
#include "platform/maps.h"

#include "platform/inject.h"
#include "platform/file.h"
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

    mapping->start = os_number(line, &at, 16);
    if (*at != '-')
        return false;
    mapping->end = os_number(at + 1, &at, 16);
    if (strlen(at) < sizeof " rwxp " - 1)
        return false;
    mapping->protection = (at[1] == 'r' ? PROT_READ : 0) | (at[2] == 'w' ? PROT_WRITE : 0) | (at[3] == 'x' ? PROT_EXEC : 0);
    mapping->shared = at[4] == 's';
    at += sizeof " rwxp " - 1;
    mapping->offset = os_number(at, &at, 16);
    (void)os_number(at, &at, 16); /* device */
    if (*at == ':')
        (void)os_number(at + 1, &at, 16);
    inode = os_number(at, &at, 10);
    mapping->of_file = inode != 0;
    mapping->name = at + strspn(at, " ");
    return true;
}

/* Whole lines of a file, without their ends, until @take says that it was enough. */
typedef bool take_line(void *arg, char *line);

static int each_line(const char *path, char *buffer, take_line *take, void *arg)
{
    bool goes_on = true;
    long bytes;
    long fd;

    OS_MAY_FAIL(EACCES);
    fd = sys_call4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (sys_failed(fd))
        return (int)fd;
    while (goes_on && (bytes = sys_call3(SYS_read, fd, buffer, OS_MAPS_BUFFER_BYTES - 1)) > 0) {
        buffer[bytes] = '\0';
        for (char *line = buffer, *end; goes_on && (end = strchr(line, '\n')) != NULL; line = end + 1) {
            *end = '\0';
            goes_on = take(arg, line);
        }
    }
    sys_call1(SYS_close, fd);
    return !goes_on || bytes == 0 ? 0 : (int)bytes;
}

struct visitor {
    os_maps_visit *visit;
    void *arg;
    struct os_mapping mapping;
    bool known; /* the mapping's first line has been read */
    char name[OS_MAPS_NAME_BYTES];
    char flags[OS_MAPS_FLAGS_BYTES];
};

static bool take_mapping(void *arg, char *line)
{
    struct visitor *visitor = arg;

    return !parse(line, &visitor->mapping) || visitor->visit(visitor->arg, &visitor->mapping);
}

int os_maps_each(char *buffer, os_maps_visit *visit, void *arg)
{
    struct visitor visitor = {.visit = visit, .arg = arg};

    return each_line("/proc/self/maps", buffer, take_mapping, &visitor);
}

/* "Name:   12 kB" */
static bool is_field(const char *line, const char *name, size_t *bytes)
{
    size_t length = strlen(name);

    if (strncmp(line, name, length) != 0)
        return false;
    *bytes = os_number(line + length, NULL, 10) * 1024;
    return true;
}

/* The line of a mapping, lines of what it has, and at last that of its flags. */
static bool take_weighed(void *arg, char *line)
{
    struct visitor *visitor = arg;
    struct os_mapping *mapping = &visitor->mapping;

    if (line[0] < 'A' || line[0] > 'Z') {
        *mapping = (struct os_mapping){0};
        visitor->known = parse(line, mapping);
        if (visitor->known) {
            size_t length = strnlen(mapping->name, sizeof visitor->name - 1);

            memcpy(visitor->name, mapping->name, length);
            visitor->name[length] = '\0';
            mapping->name = visitor->name;
        }
        return true;
    }
    if (is_field(line, "Rss:", &mapping->resident_bytes) || !visitor->known || strncmp(line, "VmFlags:", 8) != 0)
        return true;
    line += sizeof "VmFlags:" - 1;
    mapping->locked = strstr(line, " lo") != NULL;
    line += strspn(line, " ");
    memset(visitor->flags, 0, sizeof visitor->flags);
    memcpy(visitor->flags, line, strnlen(line, sizeof visitor->flags - 1));
    mapping->flags = visitor->flags;
    return visitor->visit(visitor->arg, mapping);
}

int os_maps_each_weighed(char *buffer, os_maps_visit *visit, void *arg)
{
    struct visitor visitor = {.visit = visit, .arg = arg};

    return each_line("/proc/self/smaps", buffer, take_weighed, &visitor);
}
