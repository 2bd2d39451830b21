/* memory.c - see memory.h. */
#include "interpose/memory.h"

#include "interpose/ghost.h"
#include "interpose/guard.h"
#include "interpose/libc.h"

#include "core/marks.h"
#include "platform/sys.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define EXPORT __attribute__((visibility("default")))

/* Source: include/uapi/asm-generic/mman-common.h; Linux 5.14, 5.18, 6.13 */
#define ADVICE_POPULATE_READ 22
#define ADVICE_POPULATE_WRITE 23
#define ADVICE_DONTNEED_LOCKED 24
#define ADVICE_GUARD_INSTALL 102
#define ADVICE_GUARD_REMOVE 103

static struct os_lock lock = {.rank = LOCK_MARKS}; /* guards: */
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

void memory_take_lock(void)
{
    os_lock_take(&lock);
}

void memory_release_lock(void)
{
    os_lock_release(&lock);
}

int memory_reserve_marks(void)
{
    int error = marks_reserve(&wiped, ghost.heap.n_pages);

    if (error == 0)
        error = marks_reserve(&unforked, ghost.heap.n_pages);
    return error == 0 ? marks_reserve(&ghost.pager.locked, ghost.heap.n_pages) : error;
}

/* ---- advice and protection ---- */

static long tell(page_number first, page_number end, int advice)
{
    return sys_call3(SYS_madvise, space_near_address(&ghost.pager.space, first), (size_t)(end - first) * PAGE_BYTES, advice);
}

/* The kernel's mark is for children that are made without us. */
static long mark(struct marks *marks, page_number first, size_t n_pages, int advice, bool on)
{
    page_number end = (page_number)(first + n_pages);
    long error = 0;

    if (end > ghost.heap.top)
        return -ENOMEM; /* nothing was ever there */
    os_lock_take(&lock);
    if (on)
        error = marks_reserve(marks, ghost.heap.n_pages);
    if (error == 0 && on)
        marks_add(marks, first, end);
    else if (error == 0)
        marks_remove(marks, first, end);
    if (error == 0)
        error = tell(first, end, advice);
    os_lock_release(&lock);
    return error;
}

/* Images are made with what other pages have in common, in core files too: see pager_keep_undumped(). */
static long keep_undumped(page_number first, size_t n_pages, bool on)
{
    long error = 0;

    os_lock_take(&lock);
    if (first + n_pages <= ghost.heap.top && (on || marks_any(&ghost.pager.undumped)))
        error = pager_keep_undumped(&ghost.pager, first, n_pages, on);
    os_lock_release(&lock);
    return error;
}

/* Discarding takes the lock away: it comes back. Source: madvise(2): what is locked is not discarded but by MADV_DONTNEED_LOCKED. */
static long discard(page_number first, size_t n_pages, bool also_locked)
{
    page_number end = (page_number)(first + n_pages);
    struct marks_range range;
    long result;

    if (!marks_meet(&ghost.pager.locked, first, end))
        return pager_discard(&ghost.pager, first, n_pages) == 0 ? 0 : -EINVAL;
    if (!also_locked)
        return -EINVAL;
    os_lock_take(&lock);
    result = pager_discard(&ghost.pager, first, n_pages) == 0 ? 0 : -EINVAL;
    for (; result == 0 && marks_next(&ghost.pager.locked, first, end, &range); first = range.end)
        (void)os_mem_lock((void *)(space_near_address(&ghost.pager.space, range.first)),
                          (size_t)(range.end - range.first) * PAGE_BYTES, true);
    os_lock_release(&lock);
    return result;
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
        if (advice == MADV_DONTDUMP)
            atomic_store(&ghost.pager.far_undumped, true);
        if (!memory_has_far())
            return false;
        *result = memory_far_advise(args);
        return true;
    }
    switch (advice) {
    case MADV_WIPEONFORK:
    case MADV_KEEPONFORK:
        *result = mark(&wiped, first, n_pages, advice, advice == MADV_WIPEONFORK);
        return true;
    case MADV_DONTDUMP:
    case MADV_DODUMP:
        *result = keep_undumped(first, n_pages, advice == MADV_DONTDUMP);
        return *result != 0; /* the rest is the kernel's to do */
    case MADV_DONTFORK:
    case MADV_DOFORK:
        *result = mark(&unforked, first, n_pages, advice, advice == MADV_DONTFORK);
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
        *result = discard(first, n_pages, advice == ADVICE_DONTNEED_LOCKED);
        return *result != 0 || !pager_has_ceded(&ghost.pager, first, n_pages); /* of what is ceded, the kernel knows */
    default:
        return false;
    }
}

static page_number number_of(const void *p)
{
    return (page_number)(((uintptr_t)p - ghost.pager.space.near_base) >> PAGE_SHIFT);
}

static bool any_marks(void)
{
    return marks_any(&wiped) || marks_any(&unforked) || marks_any(&ghost.pager.locked) || marks_any(&ghost.pager.undumped);
}

static void unmark(struct marks *marks, page_number first, page_number end, int advice)
{
    if (!marks_meet(marks, first, end))
        return;
    (void)tell(first, end, advice);
    marks_remove(marks, first, end);
}

static void unmark_undumped(page_number first, page_number end)
{
    if (!marks_meet(&ghost.pager.undumped, first, end))
        return;
    (void)tell(first, end, MADV_DODUMP);
    (void)pager_keep_undumped(&ghost.pager, first, end - first, false);
}

/* At its new place too, before anybody may take it for a sample: a dictionary is looked through before it is used. */
static void move_undumped(page_number first, page_number end, page_number to)
{
    struct marks_range range = {.end = first};

    while (marks_next(&ghost.pager.undumped, range.end, end, &range)) {
        page_number there = to + (range.first - first);

        (void)tell(there, there + (range.end - range.first), MADV_DONTDUMP);
        (void)pager_keep_undumped(&ghost.pager, there, range.end - range.first, true);
    }
    unmark_undumped(first, end);
}

/* What has been said of pages that a block has no more. Nobody else can say anything of them while the lock is held. */
static void unmark_locked(page_number first, page_number end)
{
    LOCK_ASSERT_HELD(LOCK_MARKS);
    unmark(&wiped, first, end, MADV_KEEPONFORK);
    unmark(&unforked, first, end, MADV_DOFORK);
    unmark_undumped(first, end);
    if (marks_meet(&ghost.pager.locked, first, end))
        pager_unlock(&ghost.pager, first, end - first);
}

void memory_forget_locks(page_number first, size_t n_pages)
{
    if (!marks_any(&ghost.pager.locked))
        return;
    os_lock_take(&lock);
    if (marks_meet(&ghost.pager.locked, first, (page_number)(first + n_pages)))
        pager_unlock(&ghost.pager, first, n_pages);
    os_lock_release(&lock);
}

/* Not before the block is gone: until then its contents must not get to where they may not be. */
void memory_free(void *p, const char *caller)
{
    page_number first = number_of(p);
    page_number end;

    if (__builtin_expect(!any_marks(), 1)) {
        heap_free(&ghost.heap, p, caller);
        return;
    }
    os_lock_take(&lock);
    end = (page_number)(first + heap_usable_bytes(&ghost.heap, p, caller) / PAGE_BYTES);
    heap_free(&ghost.heap, p, caller);
    unmark_locked(first, end);
    os_lock_release(&lock);
}

static void move_marks(struct marks *marks, page_number first, page_number end, page_number to, int advice)
{
    page_number to_end = to + (end - first);
    struct marks_range range;

    marks_move(marks, first, end, to);
    for (; marks_next(marks, to, to_end, &range); to = range.end)
        (void)tell(range.first, range.end, advice);
}

/* Contents that are locked must be locked at the new place before they are there. */
static void *move_locked(page_number first, page_number end, size_t bytes, const char *caller)
{
    void *p = (void *)(space_near_address(&ghost.pager.space, first));
    void *fresh = heap_allocate(&ghost.heap, bytes, 0);
    struct marks_range range = {.end = first};
    int error = 0;

    LOCK_ASSERT_HELD(LOCK_MARKS);
    if (fresh == NULL)
        return NULL;
    while (error == 0 && marks_next(&ghost.pager.locked, range.end, end, &range))
        error = pager_lock(&ghost.pager, number_of(fresh) + (range.first - first), range.end - range.first, true);
    if (error != 0) {
        heap_free(&ghost.heap, fresh, caller);
        pager_unlock(&ghost.pager, number_of(fresh), round_up(bytes, PAGE_BYTES) / PAGE_BYTES);
        return NULL;
    }
    memcpy(fresh, p, (size_t)(end - first) * PAGE_BYTES);
    heap_free(&ghost.heap, p, caller);
    pager_unlock(&ghost.pager, first, end - first);
    return fresh;
}

/* Under the lock as a whole: a fork finds the marks where the block is. */
static void *resize_marked(void *p, size_t bytes, const char *caller)
{
    page_number first = number_of(p);
    page_number end;
    size_t n_wanted = max_size(1, round_up(bytes, PAGE_BYTES) / PAGE_BYTES);
    void *fresh;

    os_lock_take(&lock);
    end = (page_number)(first + heap_usable_bytes(&ghost.heap, p, caller) / PAGE_BYTES);
    if (n_wanted > end - first && marks_meet(&ghost.pager.locked, first, end))
        fresh = move_locked(first, end, bytes, caller);
    else
        fresh = heap_resize(&ghost.heap, p, bytes, caller);
    if (fresh != NULL && n_wanted < end - first)
        unmark_locked((page_number)(first + n_wanted), end);
    if (fresh != NULL && fresh != p) {
        move_marks(&wiped, first, end, number_of(fresh), MADV_WIPEONFORK);
        move_marks(&unforked, first, end, number_of(fresh), MADV_DONTFORK);
        move_undumped(first, end, number_of(fresh));
        (void)tell(first, end, MADV_KEEPONFORK);
        (void)tell(first, end, MADV_DOFORK);
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

/* Where the kernel left something out, there is to be memory again before anybody looks at it. */
void memory_fork_child_begin(void)
{
    struct marks_range range = {.end = 0};

    while (marks_next(&unforked, range.end, (page_number)ghost.heap.top, &range)) {
        uintptr_t addr = space_near_address(&ghost.pager.space, range.first);

        INVARIANT(os_mem_renew((void *)addr, (size_t)(range.end - range.first) * PAGE_BYTES) == 0);
        if (pager_is_engaged(&ghost.pager) && ghost.pager.backend->by_protection) /* what is missing is shut there */
            INVARIANT(os_mem_protect_none((void *)addr, (size_t)(range.end - range.first) * PAGE_BYTES) == 0);
    }
}

/* A page that may still hold what the child must not see would be worse than no child. */
static void forget(const struct marks *marks)
{
    struct marks_range range = {.end = 0};

    while (marks_next(marks, range.end, (page_number)ghost.heap.top, &range))
        INVARIANT(pager_discard(&ghost.pager, range.first, range.end - range.first) == 0);
}

void memory_fork_child(void)
{
    struct marks_range range = {.end = 0};

    os_lock_release(&lock);
    if (marks_any(&ghost.pager.locked) || pager_locks_future(&ghost.pager)) {
        pager_forget_locks(&ghost.pager);
        os_mem_unlock_own(false);
    }
    forget(&wiped);
    forget(&unforked);
    /* Where protections are ours, a protected page takes RAM: there they read as zeros. */
    while (!(pager_is_engaged(&ghost.pager) && ghost.pager.backend->by_protection) &&
           marks_next(&unforked, range.end, (page_number)ghost.heap.top, &range))
        (void)pager_protect(&ghost.pager, range.first, range.end - range.first, PROT_NONE);
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

struct quiet_call {
    memory_call *call;
    const unsigned long *args;
    long *result;
    bool done;
};

static void make_call(void *arg)
{
    struct quiet_call *quiet_call = arg;

    quiet_call->done = quiet_call->call(quiet_call->args, quiet_call->result);
}

bool memory_quietly(memory_call *call, const unsigned long *args, long *result)
{
    if (!heap_owns(&ghost.heap, (const void *)args[0]) && call != memory_remap && !memory_has_far())
        return false;
    return memory_always_quietly(call, args, result);
}

bool memory_always_quietly(memory_call *call, const unsigned long *args, long *result)
{
    struct quiet_call quiet_call = {.call = call, .args = args, .result = result};
    struct ghost_quiet quiet = ghost_quiet_begin();

    guard_run(make_call, &quiet_call);
    ghost_quiet_end(quiet);
    return quiet_call.done;
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
