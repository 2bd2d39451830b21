/*
 * fault_segv.c - the `segv` backend: a missing page is one that nobody may access, and a touch of it SIGSEGV in its thread.
 *
 * It needs no userfaultfd, only writes through /proc/self/mem, which pass protections by: a page is filled while it is
 * still out of reach, and then opened at once. Pages cannot be moved; they are shut, copied, and dropped.
 *
 * Each border between open and shut pages splits a mapping, and a process may have no more than vm.max_map_count: a
 * fill that would take more than half of them ends with -ENOMEM, and the core makes room first. What cannot wait may take
 * a quarter more.
 *
 * To the kernel a page that is written through the file has been used twice, once more than one that faults: it looks at each of
 * them once more before it swaps one out, and gives up too soon on a memory cgroup that has hardly any other pages (Linux 6.18: 64 MiB
 * so written, four times, at a limit of 32 MiB with zram: killed each time). So it is told otherwise, in batches: 2 us a call.
 *
 * Calls: fault_own, mem, file, host.  Locks: map_lock, written_lock, leaves.  Memory: a bit for each ghost page, touched on use.
 * Source: proc(5), /proc/PID/mem; Documentation/admin-guide/sysctl/vm.rst, max_map_count.
 */
#include "platform/fault_own.h"

#include "platform/file.h"
#include "platform/host.h"
#include "platform/inject.h"
#include "platform/mem.h"
#include "platform/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define DEFAULT_MAX_MAPS 65530 /* Source: include/linux/mm.h, DEFAULT_MAX_MAP_COUNT */
#define BITS 64u
/* Pages of which the kernel is told at a time; a run of so many has a call of its own. */
#define WRITTEN 32u
#define WRITTEN_RUN 8u

struct segv_backend {
    struct fault_own own; /* first */
    int memory;           /* /proc/self/mem */
    size_t max_maps;      /* of the process */

    struct os_lock map_lock; /* guards what follows, and the protections themselves */
    uint64_t *open;          /* a bit a page, by its number + 1 */
    uint64_t *unwritable;    /* pages that the program has so protected; NULL: only the ghost range is watched */
    uint64_t *unreadable;
    size_t n_borders;

    bool is_squeezed; /* set at first, constant afterwards */
    struct os_lock written_lock; /* guards what follows */
    uintptr_t written[WRITTEN];
    size_t n_written;
};

static struct segv_backend *backend_of(struct fault_backend *contract)
{
    return (struct segv_backend *)(void *)contract;
}

/* ---- which pages are open ---- */

static bool has_bit(const uint64_t *bits, size_t page)
{
    return (bits[page / BITS] >> page % BITS & 1) != 0;
}

static void set_bit(uint64_t *bits, size_t page, bool on)
{
    uint64_t bit = (uint64_t)1 << page % BITS;

    if (has_bit(bits, page) != on) /* what is never set takes no RAM */
        bits[page / BITS] ^= bit;
}

static bool is_open(const struct segv_backend *b, size_t page)
{
    return has_bit(b->open, page);
}

static int protection_of(const struct segv_backend *b, size_t page)
{
    if (b->unreadable == NULL)
        return PROT_READ | PROT_WRITE;
    return (has_bit(b->unreadable, page) ? 0 : PROT_READ) | (has_bit(b->unwritable, page) ? 0 : PROT_WRITE);
}

/* Borders at and between the pages [@first, @end). The bits of the range's two neighbours are there too, and 0. */
static size_t borders_of(const struct segv_backend *b, size_t first, size_t end)
{
    size_t n = 0;

    for (size_t page = first; page <= end; page++)
        n += is_open(b, page) != is_open(b, page + 1);
    return n;
}

/* Bit 0 belongs to no page, so that page 0 has a neighbour. */
static size_t bit_of(const struct segv_backend *b, uintptr_t addr)
{
    return b->own.setup.number(b->own.setup.arg, addr) + 1;
}

/* As the program has them, in runs that it protects alike. */
static int open_pages(const struct segv_backend *b, uintptr_t addr, size_t first, size_t n_pages)
{
    int error = 0;

    for (size_t i = 0, n; i < n_pages && error == 0; i += n) {
        int protection = protection_of(b, first + i);

        n = 1;
        while (i + n < n_pages && protection_of(b, first + i + n) == protection)
            n++;
        error = (int)sys_call3(SYS_mprotect, addr + i * OS_PAGE_BYTES, n * OS_PAGE_BYTES, protection);
    }
    return error;
}

static int set_access_locked(struct segv_backend *b, uintptr_t addr, size_t n_pages, bool open, size_t max_borders)
{
    size_t first = bit_of(b, addr);
    size_t before = borders_of(b, first - 1, first + n_pages - 1);
    size_t after = (size_t)(is_open(b, first - 1) != open) + (size_t)(is_open(b, first + n_pages) != open);
    int error = -ENOMEM;

    LOCK_ASSERT_HELD(LOCK_MAP);
    if (after <= before || b->n_borders + (after - before) <= max_borders)
        error = open ? open_pages(b, addr, first, n_pages)
                     : (int)sys_call3(SYS_mprotect, addr, n_pages * OS_PAGE_BYTES, PROT_NONE);
    if (error != 0)
        return error;
    for (size_t i = 0; i < n_pages; i++)
        set_bit(b->open, first + i, open);
    b->n_borders += after - before;
    return 0;
}

/* -ENOMEM: too many borders, or nothing left of the system. */
static int set_access(struct segv_backend *b, uintptr_t addr, size_t n_pages, bool open, size_t max_borders)
{
    int error;

    OS_MAY_FAIL(ENOMEM);
    os_lock_take(&b->map_lock);
    error = set_access_locked(b, addr, n_pages, open, max_borders);
    os_lock_release(&b->map_lock);
    return error;
}

static void set_protection_locked(struct segv_backend *b, size_t first, size_t n_pages, int protection)
{
    LOCK_ASSERT_HELD(LOCK_MAP);
    for (size_t page = first; b->unreadable != NULL && page < first + n_pages; page++) {
        set_bit(b->unreadable, page, (protection & (PROT_READ | PROT_WRITE)) == 0); /* x86: what can be written can be read */
        set_bit(b->unwritable, page, (protection & PROT_WRITE) == 0);
    }
}

static int segv_reprotect(struct fault_backend *contract, uintptr_t addr, size_t n_pages, int protection)
{
    struct segv_backend *b = backend_of(contract);
    size_t first = bit_of(b, addr);
    int error = 0;

    os_lock_take(&b->map_lock);
    for (size_t i = 0, n; i < n_pages && error == 0; i += n) {
        bool open = is_open(b, first + i);

        n = 1;
        while (i + n < n_pages && is_open(b, first + i + n) == open)
            n++;
        if (open)
            error = (int)sys_call3(SYS_mprotect, addr + i * OS_PAGE_BYTES, n * OS_PAGE_BYTES, protection);
        if (error == 0)
            set_protection_locked(b, first + i, n, protection);
    }
    os_lock_release(&b->map_lock);
    return error;
}

/* Nothing is known of the pages any more; what was known is no border either. */
static void forget_locked(struct segv_backend *b, size_t first, size_t n_pages)
{
    size_t before = borders_of(b, first - 1, first + n_pages - 1);
    size_t after = (size_t)is_open(b, first - 1) + (size_t)is_open(b, first + n_pages);

    LOCK_ASSERT_HELD(LOCK_MAP);
    for (size_t page = first; page < first + n_pages; page++)
        set_bit(b->open, page, false);
    b->n_borders += after - before;
    set_protection_locked(b, first, n_pages, PROT_READ | PROT_WRITE);
}

static void segv_lost(struct fault_backend *contract, uintptr_t addr, size_t n_pages)
{
    struct segv_backend *b = backend_of(contract);

    os_lock_take(&b->map_lock);
    forget_locked(b, bit_of(b, addr), n_pages);
    os_lock_release(&b->map_lock);
}

static int segv_watch(struct fault_backend *contract, uintptr_t addr, size_t n_pages, bool on)
{
    struct segv_backend *b = backend_of(contract);
    int error;

    OS_MAY_FAIL(ENOMEM);
    os_lock_take(&b->map_lock);
    error = set_access_locked(b, addr, n_pages, !on, b->max_maps / 4 * 3);
    if (error == 0 && !on)
        forget_locked(b, bit_of(b, addr), n_pages);
    os_lock_release(&b->map_lock);
    return error;
}

/*
 * The kernel joins neighbours again only if their pages belong together, which it settles when a mapping has its first page. So what is
 * shut has one for a moment while it is still one mapping. Parts that had theirs one by one would stay mappings of their own for ever,
 * until there may be no more. Source: mm/vma.c, is_mergeable_anon_vma(). Nothing is lost where this fails.
 */
static void segv_prepare(struct fault_backend *contract, uintptr_t addr)
{
    static const char zero;

    if (sys_call4(SYS_pwrite64, backend_of(contract)->memory, &zero, sizeof zero, addr) == (long)sizeof zero)
        (void)os_mem_discard((void *)addr, OS_PAGE_BYTES);
}

/* ---- /proc/self/mem ---- */

static int open_memory(void)
{
    OS_MAY_FAIL(EACCES);
    return (int)sys_call4(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDWR | O_CLOEXEC, 0);
}

/* Do writes pass a protection by? A kernel may be told to refuse that (proc_mem.force_override). */
static bool writes_are_forced(int memory)
{
    static const char word[8] = "ghostmem";
    char back[8] = "";
    void *page;
    bool forced;

    if (os_mem_reserve(OS_PAGE_BYTES, &page) != 0)
        return false;
    forced = sys_call4(SYS_pwrite64, memory, word, sizeof word, page) == (long)sizeof word &&
             sys_call4(SYS_pread64, memory, back, sizeof back, page) == (long)sizeof back && back[7] == word[7];
    os_mem_unmap(page, OS_PAGE_BYTES);
    return forced;
}

bool fault_backend_segv_is_possible(void)
{
    int memory = open_memory();
    bool possible;

    if (memory < 0)
        return false;
    possible = writes_are_forced(memory);
    sys_call1(SYS_close, memory);
    return possible;
}

static int own_memory(struct segv_backend *b)
{
    int memory = open_memory();

    if (memory < 0)
        return memory;
    b->memory = os_file_move_high(memory);
    os_file_own(b->memory);
    return 0;
}

static void disown_memory(struct segv_backend *b)
{
    os_file_disown(b->memory);
    sys_call1(SYS_close, b->memory);
    b->memory = -1;
}

/* ---- what the kernel thinks of the pages ---- */

static void note_written(struct segv_backend *b, uintptr_t addr, size_t n_pages)
{
    uintptr_t full[WRITTEN];
    size_t n_full = 0;

    if (!b->is_squeezed)
        return;
    if (n_pages >= WRITTEN_RUN) {
        os_mem_cool((const void *)addr, n_pages * OS_PAGE_BYTES);
        return;
    }
    os_lock_take(&b->written_lock);
    for (size_t i = 0; i < n_pages; i++) {
        b->written[b->n_written++] = addr + i * OS_PAGE_BYTES;
        if (b->n_written < WRITTEN)
            continue;
        memcpy(full, b->written, sizeof full);
        n_full = WRITTEN;
        b->n_written = 0;
    }
    os_lock_release(&b->written_lock);
    os_mem_cool_each(full, n_full);
}

/* ---- the contract ---- */

static size_t max_maps(void)
{
    char text[32];
    long n = os_file_read("/proc/sys/vm/max_map_count", text, sizeof text) > 0 ? (long)os_number(text, NULL, 10) : 0;

    return n > 0 ? (size_t)n : DEFAULT_MAX_MAPS;
}

#define STACK_BELOW (16 * OS_PAGE_BYTES)
#define STACK_ABOVE (64 * OS_PAGE_BYTES)

/* All but what the caller stands on: pages that are there, which the core will find and adopt. */
static int shut_range(uintptr_t start, size_t bytes)
{
    uintptr_t page = (uintptr_t)__builtin_frame_address(0) & ~(OS_PAGE_BYTES - 1);
    uintptr_t end = start + bytes;
    uintptr_t low = page;
    uintptr_t high = page + OS_PAGE_BYTES;
    int error = 0;

    if (page - start >= bytes)
        return os_mem_protect_none((void *)start, bytes);
    while (low > start && page - low < STACK_BELOW && os_mem_is_present((const void *)(low - OS_PAGE_BYTES)))
        low -= OS_PAGE_BYTES;
    while (high < end && high - page < STACK_ABOVE && os_mem_is_present((const void *)high))
        high += OS_PAGE_BYTES;
    if (low > start)
        error = os_mem_protect_none((void *)start, low - start);
    return error != 0 || high == end ? error : os_mem_protect_none((void *)high, end - high);
}

static int segv_gather(struct fault_backend *contract)
{
    return fault_backend_segv_is_possible() ? backend_of(contract)->own.guard->arm() : -EPERM;
}

static int segv_start(struct fault_backend *contract, const struct fault_setup *setup)
{
    struct segv_backend *b = backend_of(contract);
    struct fault_range part = {.start = setup->ranges[0].start};
    bool has_others = setup->n_numbers > setup->ranges[0].bytes / OS_PAGE_BYTES;
    size_t bits_bytes = (setup->n_numbers / BITS + 1) * sizeof *b->open;
    int error;

    fault_own_init(&b->own, setup);
    b->map_lock.rank = LOCK_MAP;
    b->written_lock.rank = LOCK_WRITTEN;
    b->max_maps = max_maps();
    error = own_memory(b);
    if (error != 0)
        return error;
    if (!writes_are_forced(b->memory))
        error = -EPERM;
    bits_bytes = (bits_bytes + OS_PAGE_BYTES - 1) & ~(OS_PAGE_BYTES - 1);
    if (error == 0)
        error = os_mem_map(bits_bytes, (void **)&b->open);
    if (error == 0 && has_others)
        error = os_mem_map(bits_bytes, (void **)&b->unwritable);
    if (error == 0 && has_others)
        error = os_mem_map(bits_bytes, (void **)&b->unreadable);
    if (error == 0)
        b->own.guard->look_around();
    /* Who is in the middle of an access gets a fault, and waits for the pager's lock. */
    while (error == 0 && setup->next_part(setup->arg, &part))
        error = shut_range(part.start, part.bytes);
    if (error != 0) {
        disown_memory(b);
        return error;
    }
    fault_own_start_background(&b->own);
    return 0;
}

/* The mappings are inherited; the file of before is the parent's memory. */
static int segv_restart(struct fault_backend *contract, const int *files, unsigned n_files)
{
    struct segv_backend *b = backend_of(contract);

    (void)files;
    (void)n_files;
    disown_memory(b);
    fault_own_restart(&b->own);
    os_lock_reset(&b->map_lock);
    os_lock_reset(&b->written_lock);
    b->n_written = 0;
    return own_memory(b);
}

/* EIO: the mapping is gone, or the system has no memory for the page at the moment. EFAULT: none to fetch @source from its swap. */
static int write_pages(const struct segv_backend *b, uintptr_t dst, const void *source, size_t n_bytes)
{
    for (size_t at = 0; at < n_bytes;) {
        long result = sys_call4(SYS_pwrite64, b->memory, (uintptr_t)source + at, n_bytes - at, dst + at);

        long error = sys_failed(result) ? result : 0;

        OS_MAY_LIE(OS_INJECT_FILL, error, result);
        if (error == -EIO)
            return os_mem_is_mapped((const void *)(dst + at)) ? -ENOMEM : -ENOENT;
        if (error != 0)
            return (int)error;
        at += (size_t)result;
    }
    return 0;
}

static int segv_fill(struct fault_backend *contract, uintptr_t dst, const void *source, size_t n_pages, bool protect,
                     size_t *n_done)
{
    struct segv_backend *b = backend_of(contract);
    size_t n_bytes = n_pages * OS_PAGE_BYTES;
    int error = 0;

    (void)protect;
    *n_done = 0;
    if (source != NULL)
        error = write_pages(b, dst, source, n_bytes);
    if (error == 0)
        error = set_access(b, dst, n_pages, true, b->max_maps / 2);
    if (error == 0 && source != NULL)
        note_written(b, dst, n_pages);
    if (error == 0)
        *n_done = n_pages;
    else if (source != NULL) /* what is shut is empty, also of a run that was written half */
        (void)os_mem_release((void *)dst, n_bytes);
    return error;
}

static int segv_protect(struct fault_backend *contract, uintptr_t addr, size_t n_pages, bool on)
{
    struct segv_backend *b = backend_of(contract);

    return set_access(b, addr, n_pages, !on, b->max_maps / 4 * 3);
}

static int segv_peek(struct fault_backend *contract, void *buffer, uintptr_t addr, size_t n_pages)
{
    long n_bytes = (long)(n_pages * OS_PAGE_BYTES);

    OS_MAY_FAIL(EFAULT);
    return sys_call4(SYS_pread64, backend_of(contract)->memory, buffer, n_bytes, addr) == n_bytes ? 0 : -EFAULT;
}

static int copy_page(const struct segv_backend *b, uintptr_t dst, uintptr_t src)
{
    unsigned char page[OS_PAGE_BYTES];

    /* One that is not there reads as zeros, as what is shut at @dst does. */
    if (sys_call4(SYS_pread64, b->memory, page, sizeof page, src) != (long)sizeof page ||
        sys_call4(SYS_pwrite64, b->memory, page, sizeof page, dst) != (long)sizeof page)
        return -EBUSY;
    return 0;
}

/* By copying, for pages that nobody else uses: a block that is resized. */
static int segv_move(struct fault_backend *contract, uintptr_t dst, uintptr_t src, size_t n_pages, size_t *n_done)
{
    struct segv_backend *b = backend_of(contract);
    int error = 0;

    OS_MAY_FAIL(EBUSY);
    for (*n_done = 0; *n_done < n_pages; (*n_done)++) {
        uintptr_t to = dst + *n_done * OS_PAGE_BYTES;
        uintptr_t from = src + *n_done * OS_PAGE_BYTES;

        error = segv_protect(contract, from, 1, true);
        if (error != 0)
            break;
        error = copy_page(b, to, from);
        if (error == 0)
            error = segv_protect(contract, to, 1, false);
        if (error != 0) {
            (void)os_mem_discard((void *)to, OS_PAGE_BYTES);
            (void)segv_protect(contract, from, 1, false);
            break;
        }
        note_written(b, to, 1);
        (void)os_mem_release((void *)from, OS_PAGE_BYTES);
    }
    return error;
}

struct fault_backend *fault_backend_segv(const struct fault_guard *guard)
{
    static struct segv_backend backend = {
        .own.contract = {
            .name = "segv",
            .by_protection = true,
            .gather = segv_gather,
            .start = segv_start,
            .fill = segv_fill,
            .move = segv_move,
            .protect = segv_protect,
            .peek = segv_peek,
            .watch = segv_watch,
            .prepare = segv_prepare,
            .reprotect = segv_reprotect,
            .lost = segv_lost,
            .wake = fault_own_wake,
            .handle = fault_own_handle,
            .run = fault_own_run,
            .restart = segv_restart,
        },
    };

    backend.own.guard = guard;
    backend.is_squeezed = os_is_squeezed();
    return &backend.own.contract;
}
