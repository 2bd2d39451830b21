/* memory.c - see memory.h. */
#include "interpose/memory.h"

#include "interpose/ghost.h"
#include "interpose/libc.h"

#include "core/marks.h"
#include "platform/sys.h"

#include <errno.h>
#include <sys/mman.h>

#define EXPORT __attribute__((visibility("default")))

/* Source: include/uapi/asm-generic/mman-common.h; Linux 5.14, 5.18, 6.13 */
#define ADVICE_POPULATE_READ 22
#define ADVICE_POPULATE_WRITE 23
#define ADVICE_DONTNEED_LOCKED 24
#define ADVICE_GUARD_INSTALL 102
#define ADVICE_GUARD_REMOVE 103

static struct os_lock lock; /* guards: */
static struct marks wiped;    /* a child finds zeros there */
static struct marks unforked; /* a child must not touch these */

bool memory_is_ghost(uintptr_t addr, size_t bytes, page_number *first, size_t *n_pages)
{
    if (addr % PAGE_BYTES != 0 || bytes == 0 || bytes > ghost.heap.bytes || !heap_owns(&ghost.heap, (const void *)addr) ||
        !heap_owns(&ghost.heap, (const void *)(addr + round_up(bytes, PAGE_BYTES) - 1)))
        return false;
    *first = (page_number)((addr - ghost.pager.space.near_base) >> PAGE_SHIFT);
    *n_pages = round_up(bytes, PAGE_BYTES) / PAGE_BYTES;
    return true;
}

/* ---- advice and protection ---- */

static int mark(struct marks *marks, page_number first, size_t n_pages, bool on)
{
    page_number end = (page_number)(first + n_pages);
    int error = 0;

    if (end > ghost.heap.top)
        return -ENOMEM; /* nothing was ever there */
    os_lock_take(&lock);
    if (on)
        error = marks_add(marks, first, end);
    else
        marks_remove(marks, first, end);
    os_lock_release(&lock);
    return error;
}

/*
 * Frozen pages are not where the kernel could forget them, so discarding is ours. Huge pages would hide which of their
 * small ones are used, and a page that the kernel merges with its equals loses its write-protection. What is populated
 * may exceed the limit at once. A page with a guard mark would keep it for the next block. All other advice is about
 * speed, and the kernel's to take or leave.
 */
bool memory_advise(const unsigned long *args, long *result)
{
    int advice = (int)args[2];
    page_number first;
    size_t n_pages;

    *result = 0;
    if (!memory_is_ghost(args[0], args[1], &first, &n_pages)) {
        if (!memory_has_far())
            return false;
        *result = memory_far_advise(args);
        return true;
    }
    switch (advice) {
    case MADV_WIPEONFORK:
    case MADV_KEEPONFORK:
        *result = mark(&wiped, first, n_pages, advice == MADV_WIPEONFORK);
        return true;
    case MADV_DONTFORK:
    case MADV_DOFORK:
        *result = mark(&unforked, first, n_pages, advice == MADV_DONTFORK);
        return true;
    case ADVICE_GUARD_INSTALL: /* as a kernel without them answers */
    case ADVICE_GUARD_REMOVE:
        *result = -EINVAL;
        return true;
    case MADV_MERGEABLE:
        return true;
    case MADV_HUGEPAGE:
    case ADVICE_POPULATE_READ:
    case ADVICE_POPULATE_WRITE:
        return pager_is_engaged(&ghost.pager);
    case MADV_DONTNEED:
    case MADV_FREE:
    case ADVICE_DONTNEED_LOCKED:
        if (!pager_is_engaged(&ghost.pager))
            return false;
        *result = pager_discard(&ghost.pager, first, n_pages) == 0 ? 0 : -EINVAL;
        return *result != 0 || !pager_has_ceded(&ghost.pager, first, n_pages); /* of what is ceded, the kernel knows */
    default:
        return false;
    }
}

static void unmark_locked(page_number first, page_number end)
{
    marks_remove(&wiped, first, end);
    marks_remove(&unforked, first, end);
}

static page_number number_of(const void *p)
{
    return (page_number)(((uintptr_t)p - ghost.pager.space.near_base) >> PAGE_SHIFT);
}

static bool any_marks(void)
{
    return marks_any(&wiped) || marks_any(&unforked);
}

void memory_free(void *p, const char *caller)
{
    if (__builtin_expect(any_marks(), 0)) { /* while the block is nobody else's yet */
        size_t bytes = heap_usable_bytes(&ghost.heap, p, caller);

        os_lock_take(&lock);
        unmark_locked(number_of(p), (page_number)(number_of(p) + bytes / PAGE_BYTES));
        os_lock_release(&lock);
    }
    heap_free(&ghost.heap, p, caller);
}

/* Under the lock as a whole: a fork finds the marks where the block is. */
static void *resize_marked(void *p, size_t bytes, const char *caller)
{
    page_number first = number_of(p);
    page_number end = (page_number)(first + heap_usable_bytes(&ghost.heap, p, caller) / PAGE_BYTES);
    void *fresh;

    os_lock_take(&lock);
    fresh = heap_resize(&ghost.heap, p, bytes, caller);
    if (fresh != NULL && round_up(bytes, PAGE_BYTES) / PAGE_BYTES < end - first)
        unmark_locked((page_number)(first + max_size(1, round_up(bytes, PAGE_BYTES) / PAGE_BYTES)), end);
    if (fresh != NULL && fresh != p) {
        marks_move(&wiped, first, end, number_of(fresh));
        marks_move(&unforked, first, end, number_of(fresh));
    }
    os_lock_release(&lock);
    return fresh;
}

void *memory_resize(void *p, size_t bytes, const char *caller)
{
    return any_marks() ? resize_marked(p, bytes, caller) : heap_resize(&ghost.heap, p, bytes, caller);
}

void memory_fork_prepare(void)
{
    os_lock_take(&lock);
}

void memory_fork_parent(void)
{
    os_lock_release(&lock);
}

/* A page that may still hold what the child must not see would be worse than no child. */
static void forget(const struct marks *marks)
{
    for (uint32_t i = 0; i < marks->n; i++)
        INVARIANT(pager_discard(&ghost.pager, marks->ranges[i].first,
                                marks->ranges[i].end - marks->ranges[i].first) == 0);
}

void memory_fork_child(void)
{
    os_lock_reset(&lock);
    forget(&wiped);
    forget(&unforked);
    /* Where protections are ours, a protected page takes RAM: there they read as zeros. */
    for (uint32_t i = 0; i < unforked.n && !(pager_is_engaged(&ghost.pager) && ghost.pager.backend->by_protection); i++)
        (void)pager_protect(&ghost.pager, unforked.ranges[i].first,
                            unforked.ranges[i].end - unforked.ranges[i].first, PROT_NONE);
}

bool memory_protect(const unsigned long *args, long *result)
{
    int protection = (int)args[2];
    page_number first;
    size_t n_pages;

    if (!memory_is_ghost(args[0], args[1], &first, &n_pages) && memory_has_far()) {
        *result = memory_far_protect(args, false);
        return true;
    }
    if (!memory_is_ghost(args[0], args[1], &first, &n_pages) || first + n_pages > ghost.heap.top ||
        (protection & ~(PROT_READ | PROT_WRITE | PROT_EXEC)) != 0)
        return false;
    *result = 0;
    while (n_pages > 0 && *result == 0) {
        bool ceded;
        size_t n = pager_alike(&ghost.pager, first, n_pages, &ceded);

        INVARIANT(n > 0 && n <= n_pages);

        *result = ceded ? sys_call3(SYS_mprotect, ghost.pager.space.near_base + first * PAGE_BYTES, n * PAGE_BYTES, protection)
                        : pager_protect(&ghost.pager, first, n, protection);
        first += (page_number)n;
        n_pages -= n;
    }
    return true;
}

/* ---- the program's libc ---- */

long memory_answer(long result)
{
    if (!sys_failed(result))
        return result;
    errno = (int)-result;
    return -1;
}

bool memory_quietly(memory_call *call, const unsigned long *args, long *result)
{
    struct ghost_quiet quiet;
    bool done;

    if (!heap_owns(&ghost.heap, (const void *)args[0]) && call != memory_remap && !memory_has_far())
        return false;
    quiet = ghost_quiet_begin();
    done = call(args, result);
    ghost_quiet_end(quiet);
    return done;
}

EXPORT int madvise(void *addr, size_t bytes, int advice)
{
    const unsigned long args[] = {(uintptr_t)addr, bytes, (unsigned long)advice};
    long result;

    return memory_quietly(memory_advise, args, &result) ? (int)memory_answer(result)
                                                        : libc_next()->madvise(addr, bytes, advice);
}

EXPORT int mprotect(void *addr, size_t bytes, int protection)
{
    const unsigned long args[] = {(uintptr_t)addr, bytes, (unsigned long)protection};
    long result;

    return memory_quietly(memory_protect, args, &result) ? (int)memory_answer(result)
                                                         : libc_next()->mprotect(addr, bytes, protection);
}
