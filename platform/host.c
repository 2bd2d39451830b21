/* host.c - see host.h. */
#include "platform/host.h"

#include "platform/file.h"
#include "platform/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>

#define PATH_BYTES 1024
#define FILE_BYTES 4096

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The number at the start of a cgroup file; "max" and anything unreadable mean no limit. */
static uint64_t read_limit(const char *path)
{
    char text[64];
    uint64_t value = 0;

    if (os_file_read(path, text, sizeof text) <= 0 || text[0] < '0' || text[0] > '9')
        return UINT64_MAX;
    for (const char *c = text; *c >= '0' && *c <= '9'; c++)
        value = value > (UINT64_MAX - 9) / 10 ? UINT64_MAX : value * 10 + (uint64_t)(*c - '0');
    return value;
}

/* The smallest limit on the way from a group up to the root: a child's may be larger than its parent's. */
static uint64_t limit_of_group(const char *mount, const char *group, const char *file)
{
    uint64_t limit = UINT64_MAX;
    char path[PATH_BYTES];
    size_t mount_length = strlen(mount);
    size_t length = strlen(group);

    if (mount_length + length + strlen(file) + 2 > sizeof path)
        return limit;
    memcpy(path, mount, mount_length);
    memcpy(path + mount_length, group, length);
    for (;;) {
        while (length > 0 && path[mount_length + length - 1] == '/')
            length--;
        path[mount_length + length] = '/';
        strcpy(path + mount_length + length + 1, file);
        limit = min_u64(limit, read_limit(path));
        if (length == 0)
            return limit;
        while (length > 0 && path[mount_length + length - 1] != '/')
            length--;
    }
}

/* One line of /proc/self/cgroup: "ID:CONTROLLERS:PATH" (Source: cgroups(7)). */
static uint64_t limit_of_line(char *line, unsigned *version)
{
    char *controllers = strchr(line, ':');
    char *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;

    *version = 0;
    if (group == NULL)
        return UINT64_MAX;
    *group++ = '\0';
    controllers++;
    *version = controllers[0] == '\0' ? 2 : 1;
    if (*version == 2)
        return min_u64(limit_of_group("/sys/fs/cgroup", group, "memory.max"),
                       limit_of_group("/sys/fs/cgroup/unified", group, "memory.max"));
    if (strstr(controllers, "memory") == NULL)
        return UINT64_MAX;
    return limit_of_group("/sys/fs/cgroup/memory", group, "memory.limit_in_bytes");
}

uint64_t os_ram_bytes(void)
{
    struct sysinfo info;

    return sys_failed(sys_call1(SYS_sysinfo, &info)) ? UINT64_MAX : (uint64_t)info.totalram * info.mem_unit;
}

uint64_t os_cgroup_limit_bytes(unsigned *version)
{
    uint64_t limit = UINT64_MAX;
    char text[FILE_BYTES];
    char *next;

    *version = 0;
    if (os_file_read("/proc/self/cgroup", text, sizeof text) <= 0)
        return limit;
    for (char *line = text; line != NULL && *line != '\0'; line = next) {
        unsigned version_of_line;
        uint64_t limit_here;

        next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        limit_here = limit_of_line(line, &version_of_line);
        if (limit_here >= limit)
            continue;
        limit = limit_here;
        *version = version_of_line;
    }
    return limit;
}

uint64_t os_usable_ram_bytes(void)
{
    unsigned version;

    return min_u64(os_ram_bytes(), os_cgroup_limit_bytes(&version));
}

bool os_is_squeezed(void)
{
    struct sysinfo info;

    return !sys_failed(sys_call1(SYS_sysinfo, &info)) && info.totalswap > 0 &&
           os_usable_ram_bytes() < (uint64_t)info.totalram * info.mem_unit;
}

/* /proc/self/statm: the first number is the size of the address space, in pages (Source: proc(5)). */
uint64_t os_address_space_bytes(void)
{
    struct rlimit limit;
    uint64_t used;

    if (sys_failed(sys_call4(SYS_prlimit64, 0, RLIMIT_AS, 0, &limit)) || limit.rlim_cur == RLIM_INFINITY)
        return UINT64_MAX;
    used = read_limit("/proc/self/statm");
    used = used == UINT64_MAX ? 0 : used * 4096;
    return used < limit.rlim_cur ? limit.rlim_cur - used : 0;
}

/* Source: proc_pid_status(5). (ru_maxrss of getrusage(2) has what ran before the last execve(2) in it.) */
uint64_t os_peak_rss_bytes(void)
{
    static const char key[] = "VmHWM:";
    char text[FILE_BYTES];
    const char *c;
    uint64_t kib = 0;

    if (os_file_read("/proc/self/status", text, sizeof text) <= 0 || (c = strstr(text, key)) == NULL)
        return 0;
    for (c += sizeof key - 1; *c == ' ' || *c == '\t'; c++)
        continue;
    for (; *c >= '0' && *c <= '9'; c++)
        kib = kib * 10 + (uint64_t)(*c - '0');
    return kib * 1024;
}

bool os_may_dump_core(void)
{
    struct rlimit limit;

    return !sys_failed(sys_call4(SYS_prlimit64, 0, RLIMIT_CORE, 0, &limit)) && limit.rlim_cur > 0;
}

int os_program_name(char *name, size_t bytes)
{
    char path[PATH_BYTES];
    const char *base;
    long length = sys_call4(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", path, sizeof path - 1);

    if (length < 0)
        return (int)length;
    path[length] = '\0';
    base = strrchr(path, '/');
    base = base != NULL ? base + 1 : path;
    if (strlen(base) >= bytes)
        return -ENAMETOOLONG;
    strcpy(name, base);
    return 0;
}
