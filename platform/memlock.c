/* memlock.c - see memlock.h. */
#include "platform/memlock.h"

#include "platform/maps.h"
#include "platform/mem.h"
#include "platform/sys.h"

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

struct others {
    os_mapping_visit *visit;
    void *arg;
};

/* "[vsyscall]" lies beyond: the kernel's half is nobody's to lock. */
#define USER_END ((uintptr_t)1 << 63)

static bool look_at(void *arg, const struct os_mapping *mapping)
{
    const struct others *others = arg;

    if (mapping->end < USER_END)
        visit_others(others->visit, others->arg, mapping->start, mapping->end);
    return true;
}

int os_mappings_visit(os_mapping_visit *visit, void *arg)
{
    struct others others = {.visit = visit, .arg = arg};
    char buffer[OS_MAPS_BUFFER_BYTES];

    return os_maps_each(buffer, look_at, &others);
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
