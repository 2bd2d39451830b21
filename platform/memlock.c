/* memlock.c - see memlock.h. */
#include "platform/memlock.h"

#include "platform/mem.h"
#include "platform/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/resource.h>

static bool may_lock_any(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

    return sys_call2(SYS_capget, &header, data) == 0 && (data[0].effective & 1u << CAP_IPC_LOCK) != 0;
}

uint64_t os_lock_limit_bytes(void)
{
    struct rlimit limit;

    if (sys_call4(SYS_prlimit64, 0, RLIMIT_MEMLOCK, 0, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || may_lock_any())
        return UINT64_MAX;
    return limit.rlim_cur;
}

static void visit_others(os_mapping_visit *visit, void *arg, uintptr_t start, uintptr_t end)
{
    while (start < end) {
        uintptr_t own_start;
        uintptr_t own_end;

        if (!os_mem_next_own(start, &own_start, &own_end) || own_start > end)
            own_start = own_end = end;
        if (own_start > start)
            visit(arg, start, own_start - start);
        start = own_end;
    }
}

/* One number of "start-end ..." */
static const char *read_number(const char *c, uintptr_t *value)
{
    *value = 0;
    for (;; c++) {
        unsigned digit = (unsigned)(*c >= 'a' ? *c - 'a' + 10 : *c - '0');

        if (digit > 15)
            return c;
        *value = *value * 16 + digit;
    }
}

/* "[vsyscall]" lies beyond: the kernel's half is nobody's to lock. */
#define USER_END ((uintptr_t)1 << 63)

/* Lines come whole but for the end of the buffer, and all that matters stands at their beginning. */
struct lines {
    char text[64]; /* of the line that is being read */
    size_t length;
};

static void take_char(struct lines *lines, char c, os_mapping_visit *visit, void *arg)
{
    uintptr_t start;
    uintptr_t end;
    const char *at;

    if (c != '\n') {
        if (lines->length < sizeof lines->text - 1)
            lines->text[lines->length++] = c;
        return;
    }
    lines->text[lines->length] = '\0';
    lines->length = 0;
    at = read_number(lines->text, &start);
    if (*at != '-')
        return;
    (void)read_number(at + 1, &end);
    if (end > start && end < USER_END)
        visit_others(visit, arg, start, end);
}

int os_mappings_visit(os_mapping_visit *visit, void *arg)
{
    struct lines lines = {.length = 0};
    char buffer[1024];
    int fd = (int)sys_call4(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
    long got;

    if (fd < 0)
        return fd;
    while ((got = sys_call3(SYS_read, fd, buffer, sizeof buffer)) > 0 || got == -EINTR)
        for (long i = 0; i < got; i++)
            take_char(&lines, buffer[i], visit, arg);
    sys_call1(SYS_close, fd);
    return (int)got;
}

int os_mem_map_secret(size_t bytes, void **addr)
{
    int error = os_mem_reserve(bytes, addr); /* without os_mem_commit(), which has it dumped */

    if (error != 0)
        return error;
    error = os_mem_protect(*addr, bytes, PROT_READ | PROT_WRITE);
    if (error != 0)
        os_mem_unmap(*addr, bytes);
    else if (os_lock_limit_bytes() == UINT64_MAX)
        (void)os_mem_lock(*addr, bytes, false);
    return error;
}
