/* calls.c - the calls, and what the model says that they do. See memcalls.h. */
#include "tests/fuzz/memcalls.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Source: include/uapi/asm-generic/mman-common.h */
#define ADVICE_COLD 20
#define ADVICE_PAGEOUT 21
#define ADVICE_POPULATE_READ 22
#define ADVICE_POPULATE_WRITE 23
#define ADVICE_DONTNEED_LOCKED 24
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

#define ANY (-1)

static const int protections[] = {PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE,
                                  PROT_READ, PROT_READ, PROT_NONE, PROT_NONE, PROT_WRITE, PROT_READ | PROT_EXEC,
                                  PROT_READ | PROT_WRITE | PROT_EXEC};

static int some_protection(struct fuzz *fuzz)
{
    return protections[roll_below(fuzz, sizeof protections / sizeof protections[0])];
}

static enum zone some_zone(struct fuzz *fuzz)
{
    return fuzz->has_heap && chance(fuzz, 25) ? ZONE_HEAP : ZONE_ARENA;
}

static struct span some_span(struct fuzz *fuzz, size_t most)
{
    struct span span = {.zone = some_zone(fuzz), .first = roll_below(fuzz, ZONE_PAGES)};

    span.n = chance(fuzz, 50) ? 1 + roll_below(fuzz, 8) : 1 + roll_below(fuzz, most);
    if (span.n > ZONE_PAGES - span.first)
        span.n = ZONE_PAGES - span.first;
    return span;
}

static uintptr_t start_of(const struct fuzz *fuzz, struct span span)
{
    return address(fuzz, span.zone, span.first);
}

static struct page *page_in(struct fuzz *fuzz, struct span span, size_t i)
{
    return &fuzz->world->pages[span.zone][span.first + i];
}

/* Libc's entry point, or the system call itself. */
static long call(struct fuzz *fuzz, long number, long a, long b, long c, long d, long e, long f)
{
    bool raw = chance(fuzz, 25);

    errno = 0;
    if (raw)
        return syscall(number, a, b, c, d, e, f);
    switch (number) {
    case SYS_mmap:
        return (long)mmap((void *)a, (size_t)b, (int)c, (int)d, (int)e, f);
    case SYS_munmap:
        return munmap((void *)a, (size_t)b);
    case SYS_mremap:
        return (long)mremap((void *)a, (size_t)b, (size_t)c, (int)d, (void *)e);
    case SYS_mprotect:
        return mprotect((void *)a, (size_t)b, (int)c);
    case SYS_madvise:
        return madvise((void *)a, (size_t)b, (int)c);
    default:
        return syscall(number, a, b, c, d, e, f);
    }
}

static const char *outcome(const struct fuzz *fuzz, long result)
{
    return result == -1 ? "-1" : place(fuzz, (uintptr_t)result);
}

static bool is_mapped(struct fuzz *fuzz, struct span span)
{
    for (size_t i = 0; i < span.n; i++)
        if (page_in(fuzz, span, i)->kind == HOLE)
            return false;
    return true;
}

/* The pages, up to the first hole, have been treated by a call of their own. */
static void split(struct fuzz *fuzz, struct span span)
{
    for (size_t i = 0; i < span.n; i++)
        page_in(fuzz, span, i)->made += (fuzz->step + 1) * 0x9e3779b97f4a7c15;
}

/*
 * Pages that look like one mapping and come of several calls: the kernel may have joined them or not, which depends on what was touched
 * when, and says nothing of the library.
 */
static bool is_vague(struct fuzz *fuzz, struct span span)
{
    const struct page *first = page_in(fuzz, span, 0);
    bool vague = false;

    for (size_t i = 0; i < span.n; i++) {
        const struct page *page = page_in(fuzz, span, i);

        if (page->kind == HOLE || page->kind != first->kind || page->protection != first->protection)
            return false;
        vague = vague || page->made != first->made + i;
    }
    return vague;
}

/* What can be read from there shows whether the call did what it should: some of it now, all at times. */
static void look(struct fuzz *fuzz, struct span span)
{
    struct span part = span;

    if (span.n > 4 && !chance(fuzz, 10)) {
        part.first += roll_below(fuzz, span.n - 3);
        part.n = 4;
    }
    if (chance(fuzz, 60))
        say(fuzz, "  sees %016lx\n", (unsigned long)check_span(fuzz, part));
}

/* ---- mmap, munmap ---- */

static void unmap_all_of(struct fuzz *fuzz, struct span span)
{
    if (munmap((void *)start_of(fuzz, span), span.n * PAGE) != 0)
        fail(fuzz, "munmap of %s fails: errno %d", place(fuzz, start_of(fuzz, span)), errno);
    for (size_t i = 0; i < span.n; i++)
        make_hole(fuzz, span.zone, span.first + i);
}

static void write_pages(struct fuzz *fuzz, struct span span);

/* Somewhere else is nothing that a log could compare: it is looked at, and brought home or unmapped. */
static void come_home(struct fuzz *fuzz, struct span there)
{
    struct span home = some_span(fuzz, 2);
    long result;

    write_pages(fuzz, there);
    say(fuzz, "  elsewhere %zu sees %016lx\n", there.n, (unsigned long)check_span(fuzz, there));
    home.n = there.n;
    if (home.first + home.n <= ZONE_PAGES && chance(fuzz, 60)) {
        result = call(fuzz, SYS_mremap, (long)start_of(fuzz, there), (long)(there.n * PAGE), (long)(there.n * PAGE),
                      MREMAP_MAYMOVE | MREMAP_FIXED, (long)start_of(fuzz, home), 0);
        say(fuzz, "  home to %s %zu: %s %d\n", place(fuzz, start_of(fuzz, home)), home.n, outcome(fuzz, result), result == -1 ? errno : 0);
        if (result == (long)start_of(fuzz, home)) {
            for (size_t i = 0; i < there.n; i++) {
                *page_in(fuzz, home, i) = *page_in(fuzz, there, i);
                memcpy(fuzz->world->bytes[home.zone][home.first + i], fuzz->world->bytes[there.zone][i], PAGE);
                make_hole(fuzz, there.zone, i);
            }
            fuzz->world->base[ZONE_ELSEWHERE] = 0;
            look(fuzz, home);
            return;
        }
        if (result != -1 || errno == EFAULT)
            fail(fuzz, "mremap home gives %lx, errno %d", (unsigned long)result, errno);
        check_maps(fuzz, true);
    }
    unmap_all_of(fuzz, there);
    fuzz->world->base[ZONE_ELSEWHERE] = 0;
}

static struct page kind_to_map(struct fuzz *fuzz, size_t n_pages, int *flags, int *fd)
{
    struct page page = {.kind = ANONYMOUS};
    size_t dice = roll_below(fuzz, 100);
    int object;

    *flags = MAP_PRIVATE | MAP_ANONYMOUS;
    *fd = -1;
    if (dice < 70)
        return page;
    if (dice < 80) {
        page = (struct page){.kind = PRIVATE_FILE, .offset = (int32_t)roll_below(fuzz, FILE_PAGES)};
        *flags = MAP_PRIVATE;
        *fd = fuzz->private_file;
    } else if (dice < 90) {
        page = (struct page){.kind = SHARED, .object = 0, .offset = (int32_t)roll_below(fuzz, OBJECT_PAGES)};
        *flags = MAP_SHARED;
        *fd = fuzz->shared_file;
    } else if ((object = new_object(fuzz, n_pages)) > 0) {
        page = (struct page){.kind = SHARED, .object = (int16_t)object};
        *flags = MAP_SHARED | MAP_ANONYMOUS;
    }
    return page;
}

static void made(struct fuzz *fuzz, struct span span, struct page page, int protection)
{
    for (size_t i = 0; i < span.n; i++) {
        struct page value = page;

        value.protection = (uint8_t)protection;
        value.made = fuzz->dice + i;
        if (page.kind == PRIVATE_FILE || page.kind == SHARED)
            value.offset += (int32_t)i;
        make_page(fuzz, span.zone, span.first + i, value);
    }
}

static void map(struct fuzz *fuzz)
{
    static const int more[] = {0, 0, 0, MAP_NORESERVE, MAP_POPULATE, MAP_STACK, MAP_POPULATE | MAP_NONBLOCK};
    struct span span = some_span(fuzz, 64);
    struct span there = {.zone = ZONE_ELSEWHERE, .n = span.n};
    int protection = some_protection(fuzz);
    int flags;
    int fd;
    struct page page = kind_to_map(fuzz, span.n, &flags, &fd);
    size_t how = roll_below(fuzz, 100);
    uintptr_t at = start_of(fuzz, span);
    size_t bytes = span.n * PAGE - (chance(fuzz, 10) ? roll_below(fuzz, PAGE) : 0);
    long result;

    flags |= more[roll_below(fuzz, sizeof more / sizeof more[0])];
    flags |= how < 55 ? MAP_FIXED : how < 75 ? MAP_FIXED_NOREPLACE : 0;
    at = how >= 95 ? 0 : at;
    if (chance(fuzz, 3) && span.first + span.n < ZONE_PAGES) /* a hint is rounded up */
        at += 1 + roll_below(fuzz, PAGE - 1);
    if (chance(fuzz, 2))
        bytes = chance(fuzz, 50) ? 0 : SIZE_MAX - 100;
    result = call(fuzz, SYS_mmap, (long)at, (long)bytes, protection, flags, fd, page.kind == SHARED || page.kind == PRIVATE_FILE
        ? page.offset * (long)PAGE : 0);
    say(fuzz, "mmap %s %zu prot %d flags %x kind %d: %s %d\n", place(fuzz, at), bytes, protection, (unsigned)flags, page.kind,
        outcome(fuzz, result),
        result == -1 ? errno : 0);
    if (result == -1) {
        if (bytes != 0 && bytes < SIZE_MAX / 2 && (flags & MAP_FIXED) != 0)
            check_maps(fuzz, true);
        return;
    }
    if (page_of(fuzz, (uintptr_t)result) != NULL) {
        (void)zone_of(fuzz, (uintptr_t)result, &span.zone, &span.first);
        made(fuzz, span, page, protection);
        look(fuzz, span);
        return;
    }
    fuzz->world->base[ZONE_ELSEWHERE] = (uintptr_t)result;
    made(fuzz, there, page, protection);
    come_home(fuzz, there);
}

static void unmap(struct fuzz *fuzz)
{
    struct span span = some_span(fuzz, 40);
    uintptr_t at = start_of(fuzz, span) + (chance(fuzz, 3) ? 8 : 0);
    size_t bytes = chance(fuzz, 2) ? 0 : span.n * PAGE - (chance(fuzz, 10) ? roll_below(fuzz, PAGE) : 0);
    long result = call(fuzz, SYS_munmap, (long)at, (long)bytes, 0, 0, 0, 0);

    say(fuzz, "munmap %s %zu: %ld %d\n", place(fuzz, at), bytes, result, result != 0 ? errno : 0);
    if (result != 0)
        return;
    for (size_t i = 0; i < span.n; i++)
        make_hole(fuzz, span.zone, span.first + i);
    look(fuzz, span);
}

/* ---- brk ---- */

static void move_break(struct fuzz *fuzz)
{
    struct world *w = fuzz->world;
    uintptr_t base = w->base[ZONE_HEAP];
    uintptr_t wanted = base + roll_below(fuzz, ZONE_PAGES * PAGE - 2 * PAGE);
    uintptr_t before = (w->heap_end + PAGE - 1) / PAGE * PAGE;
    uintptr_t after;
    int result;

    if (!fuzz->has_heap)
        return;
    if (chance(fuzz, 60))
        wanted = wanted / PAGE * PAGE;
    errno = 0;
    result = brk((void *)wanted);
    say(fuzz, "brk %s: %d %d\n", place(fuzz, wanted), result, result != 0 ? errno : 0);
    if (result != 0)
        return;
    w->heap_end = (uintptr_t)sbrk(0); /* what cannot shrink is where it was, which libc takes for success */
    after = (w->heap_end + PAGE - 1) / PAGE * PAGE;
    for (uintptr_t at = after; at < before; at += PAGE)
        make_hole(fuzz, ZONE_HEAP, (at - base) / PAGE);
    for (uintptr_t at = before; at < after; at += PAGE)
        make_page(fuzz, ZONE_HEAP, (at - base) / PAGE, (struct page){.kind = ANONYMOUS, .protection = PROT_READ | PROT_WRITE,
            .made = fuzz->dice + at / PAGE});
    if (before != after)
        look(fuzz, (struct span){ZONE_HEAP, (before < after ? before - base : after - base) / PAGE, 6});
}

/* ---- mremap ---- */

struct moved {
    struct page pages[ZONE_PAGES];
    unsigned char bytes[ZONE_PAGES][4096];
};

static __thread struct moved *moved; /* in memory of its own */

static struct page next_of(struct page last)
{
    if (last.kind == PRIVATE_FILE || last.kind == SHARED)
        last.offset++;
    last.made++;
    return last;
}

static void follow_remap(struct fuzz *fuzz, struct span from, struct span to, int flags, bool copies)
{
    size_t n = from.n < to.n ? from.n : to.n;
    bool stays = to.zone == from.zone && to.first == from.first;

    if (moved == NULL) {
        void *memory = mmap(NULL, sizeof *moved, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        if (memory == MAP_FAILED)
            fail(fuzz, "no memory");
        moved = memory;
    }
    for (size_t i = 0; i < n; i++) {
        moved->pages[i] = *page_in(fuzz, from, i);
        memcpy(moved->bytes[i], fuzz->world->bytes[from.zone][from.first + i], PAGE);
    }
    for (size_t i = copies ? n : 0; i < from.n; i++)
        if (copies || (flags & MREMAP_DONTUNMAP) == 0)
            make_hole(fuzz, from.zone, from.first + i);
        else
            make_fresh(fuzz, from.zone, from.first + i);
    for (size_t i = 0; i < to.n; i++) {
        if (i < n && moved->pages[i].kind == HOLE) {
            continue; /* several mappings move one by one, and nothing moves between them */
        } else if (i < n) {
            *page_in(fuzz, to, i) = moved->pages[i];
            memcpy(fuzz->world->bytes[to.zone][to.first + i], moved->bytes[i], PAGE);
        } else {
            struct page value = next_of(i > 0 ? *page_in(fuzz, to, i - 1) : (struct page){.kind = HOLE});

            make_page(fuzz, to.zone, to.first + i, value);
        }
    }
    if (!stays)
        look(fuzz, from);
}

/*
 * Of the mapping that is left behind the kernel unlocks all, and not only what has gone: how far that is depends on what it has joined.
 * Source: mm/mremap.c, dontunmap_complete(). So all that it could be is unlocked.
 */
static void unlock_around(struct fuzz *fuzz, struct span span)
{
    const struct page *pages = fuzz->world->pages[span.zone];
    size_t end = span.first + span.n;

    while (span.first > 0 && pages[span.first - 1].kind != HOLE)
        span.first--;
    while (end < ZONE_PAGES && pages[end].kind != HOLE)
        end++;
    if (munlock((void *)start_of(fuzz, span), (end - span.first) * PAGE) != 0)
        fail(fuzz, "munlock of %s fails: errno %d", place(fuzz, start_of(fuzz, span)), errno);
}

static void remap(struct fuzz *fuzz)
{
    static const int some_flags[] = {0, MREMAP_MAYMOVE, MREMAP_MAYMOVE, MREMAP_MAYMOVE | MREMAP_FIXED, MREMAP_MAYMOVE | MREMAP_FIXED,
                                     MREMAP_MAYMOVE | MREMAP_DONTUNMAP, MREMAP_MAYMOVE | MREMAP_DONTUNMAP | MREMAP_FIXED, MREMAP_FIXED, 64};
    struct span from = some_span(fuzz, 48);
    struct span to = some_span(fuzz, 48);
    struct span one; /* what must be one mapping */
    int flags = some_flags[chance(fuzz, 95) ? roll_below(fuzz, 7) : roll_below(fuzz, 9)];
    bool duplicates = chance(fuzz, 5);
    struct page first = *page_in(fuzz, from, 0);
    size_t old_bytes;
    size_t new_bytes;
    uintptr_t at = start_of(fuzz, from);
    long result;

    if ((flags & MREMAP_DONTUNMAP) != 0 || chance(fuzz, 40))
        to.n = chance(fuzz, 95) ? from.n : to.n;
    if (to.n > ZONE_PAGES - from.first) /* it may grow where it is */
        to.n = ZONE_PAGES - from.first;
    if (to.n > ZONE_PAGES - to.first)
        to.first = ZONE_PAGES - to.n;
    if (duplicates) {
        from.n = 1;
        flags = MREMAP_MAYMOVE | (chance(fuzz, 70) ? MREMAP_FIXED : 0);
    }
    one = from;
    if ((flags & MREMAP_FIXED) != 0 && to.n < from.n) /* the kernel unmaps the rest first */
        one.n = to.n;
    if (!((flags & MREMAP_FIXED) != 0 && from.n == to.n) && (is_vague(fuzz, from) || is_vague(fuzz, one))) {
        say(fuzz, "mremap skips\n");
        return;
    }
    old_bytes = duplicates ? 0 : from.n * PAGE - (chance(fuzz, 5) ? roll_below(fuzz, PAGE) : 0);
    new_bytes = chance(fuzz, 1) ? 0 : to.n * PAGE - (chance(fuzz, 5) ? roll_below(fuzz, PAGE) : 0);
    at += chance(fuzz, 2) ? 16 : 0;
    result = call(fuzz, SYS_mremap, (long)at, (long)old_bytes, (long)new_bytes, flags, (flags & MREMAP_FIXED) != 0 ? (long)start_of(fuzz,
        to) : 0, 0);
    say(fuzz, "mremap %s %zu to %s %zu flags %d: %s %d\n", place(fuzz, at), old_bytes, place(fuzz, start_of(fuzz, to)), new_bytes, flags,
        outcome(fuzz, result), result == -1 ? errno : 0);
    if (result == -1) {
        if ((flags & MREMAP_FIXED) != 0 && errno != EINVAL) {
            /* It may have come some way: what is left of it is nobody's. */
            unmap_all_of(fuzz, to);
            unmap_all_of(fuzz, from);
        } else if (new_bytes < old_bytes) {
            check_maps(fuzz, true);
        }
        return;
    }
    if (!zone_of(fuzz, (uintptr_t)result, &to.zone, &to.first)) {
        fuzz->world->base[ZONE_ELSEWHERE] = (uintptr_t)result;
        to.zone = ZONE_ELSEWHERE;
        to.first = 0;
    }
    if (duplicates && first.kind != SHARED)
        fail(fuzz, "private memory is mapped twice");
    if ((flags & MREMAP_DONTUNMAP) != 0 && !duplicates && is_mapped(fuzz, from))
        unlock_around(fuzz, from);
    follow_remap(fuzz, from, to, flags, duplicates);
    if (to.zone == ZONE_ELSEWHERE)
        come_home(fuzz, to);
    else
        look(fuzz, to);
}

/* ---- mprotect, madvise, mlock, mincore ---- */

static void protect(struct fuzz *fuzz)
{
    struct span span = some_span(fuzz, 40);
    int protection = some_protection(fuzz) | (chance(fuzz, 1) ? 0x1000 : 0);
    uintptr_t at = start_of(fuzz, span) + (chance(fuzz, 2) ? 100 : 0);
    size_t bytes = chance(fuzz, 1) ? 0 : span.n * PAGE - (chance(fuzz, 5) ? roll_below(fuzz, PAGE) : 0);
    bool by_key = chance(fuzz, 10);
    long result = by_key ? syscall(SYS_pkey_mprotect, at, bytes, protection, -1)
                         : call(fuzz, SYS_mprotect, (long)at, (long)bytes, protection, 0, 0, 0);
    int error = result != 0 ? errno : 0;

    split(fuzz, span);
    say(fuzz, "mprotect %s %zu prot %d: %ld %d\n", place(fuzz, at), bytes, protection, result, error);
    if (result == 0 && bytes > 0)
        for (size_t i = 0; i < span.n; i++)
            page_in(fuzz, span, i)->protection = (uint8_t)protection;
    if (error == ENOMEM) { /* up to the first hole, which the manual does not say */
        for (size_t i = 0; i < span.n && page_in(fuzz, span, i)->kind != HOLE; i++)
            page_in(fuzz, span, i)->protection = (uint8_t)protection;
        check_maps(fuzz, false);
    }
    look(fuzz, span);
}

/* Advice that changes what is read. @failed: it may have come some way. */
static void follow_advice(struct fuzz *fuzz, struct span span, int advice, bool failed)
{
    for (size_t i = 0; i < span.n; i++) {
        struct page *page = page_in(fuzz, span, i);
        bool is_private = page->kind == ANONYMOUS || page->kind == PRIVATE_FILE;

        if (page->kind == HOLE)
            continue;
        switch (advice) {
        case MADV_DONTNEED:
        case ADVICE_DONTNEED_LOCKED:
            if (is_private && failed)
                page->unknown = true;
            else if (is_private)
                make_fresh(fuzz, span.zone, span.first + i);
            break;
        case MADV_REMOVE:
            if (page->kind == SHARED && (size_t)page->offset < fuzz->world->objects[page->object].n_pages)
                memset(bytes_of(fuzz, span.zone, span.first + i), 0, PAGE);
            break;
        case MADV_DONTFORK:
        case MADV_DOFORK:
            page->no_fork = advice == MADV_DONTFORK;
            break;
        case MADV_WIPEONFORK:
        case MADV_KEEPONFORK:
            page->wipe_on_fork = advice == MADV_WIPEONFORK;
            break;
        default:
            break;
        }
    }
}

/* What was freed is there or not, as the kernel likes: so it is written, or discarded, where it can be. */
static void end_freeing(struct fuzz *fuzz, struct span span)
{
    for (size_t i = 0; i < span.n; i++) {
        struct page *page = page_in(fuzz, span, i);
        struct span one = {span.zone, span.first + i, 1};
        unsigned char there[4096];

        if (page->kind != ANONYMOUS)
            continue;
        if (expected_signal(fuzz, page, false) == 0 && copy_guarded(there, (void *)start_of(fuzz, one), PAGE) == 0) {
            static const unsigned char zeros[4096];

            if (!page->unknown && memcmp(there, zeros, PAGE) != 0 && memcmp(there, bytes_of(fuzz, one.zone, one.first), PAGE) != 0)
                fail(fuzz, "freed %s is neither what it was nor zeros", place(fuzz, start_of(fuzz, one)));
        }
        if (madvise((void *)start_of(fuzz, one), PAGE, ADVICE_DONTNEED_LOCKED) != 0)
            fail(fuzz, "discarding %s fails: errno %d", place(fuzz, start_of(fuzz, one)), errno);
        make_fresh(fuzz, one.zone, one.first);
    }
}

static void advise(struct fuzz *fuzz)
{
    static const int advices[] = {MADV_DONTNEED, MADV_DONTNEED, MADV_DONTNEED, MADV_DONTNEED, MADV_FREE, MADV_NORMAL, MADV_RANDOM,
        MADV_SEQUENTIAL,
                                  MADV_WILLNEED, MADV_REMOVE, MADV_DONTFORK, MADV_DOFORK, MADV_DOFORK, MADV_WIPEONFORK, MADV_KEEPONFORK,
                                  MADV_KEEPONFORK, MADV_NOHUGEPAGE, MADV_DONTDUMP, MADV_DODUMP, ADVICE_COLD, ADVICE_PAGEOUT,
                                      ADVICE_POPULATE_READ,
                                  ADVICE_POPULATE_WRITE, ADVICE_DONTNEED_LOCKED, 999};
    struct span span = some_span(fuzz, 40);
    int advice = advices[roll_below(fuzz, sizeof advices / sizeof advices[0])];
    uintptr_t at;
    size_t bytes;
    bool populates = advice == ADVICE_POPULATE_READ || advice == ADVICE_POPULATE_WRITE;
    long result;
    int error;

    if (advice == MADV_REMOVE) /* how far it came when it failed is not known */
        span.n = 1;
    at = start_of(fuzz, span) + (chance(fuzz, 2) ? 100 : 0);
    bytes = chance(fuzz, 1) ? 0 : span.n * PAGE - (chance(fuzz, 5) ? roll_below(fuzz, PAGE) : 0);
    result = call(fuzz, SYS_madvise, (long)at, (long)bytes, advice, 0, 0, 0);
    error = result != 0 ? errno : 0;
    if (advice != MADV_DONTNEED && advice != MADV_FREE && advice != ADVICE_DONTNEED_LOCKED && advice != MADV_REMOVE && !populates)
        split(fuzz, span);
    if (populates) /* README, Limits */
        result = error = 0;
    say(fuzz, "madvise %s %zu advice %d: %ld %d\n", place(fuzz, at), bytes, advice, result, error);
    if (error != 0 && at % PAGE == 0 && bytes > 0 && error == ENOMEM && !is_mapped(fuzz, span) &&
        (advice == MADV_DONTFORK || advice == MADV_DOFORK || advice == MADV_WIPEONFORK || advice == MADV_KEEPONFORK))
        follow_advice(fuzz, span, advice, true);
    if (advice == MADV_FREE && at % PAGE == 0 && bytes > 0) {
        end_freeing(fuzz, span);
    } else if (error == 0 && bytes > 0) {
        follow_advice(fuzz, span, advice, false);
    } else if (at % PAGE == 0 && bytes > 0) {
        if (advice == MADV_DONTNEED || advice == ADVICE_DONTNEED_LOCKED)
            follow_advice(fuzz, span, advice, true);
        else if ((advice == MADV_WIPEONFORK || advice == MADV_KEEPONFORK || advice == MADV_DONTFORK || advice == MADV_DOFORK) &&
            error != ENOMEM)
            unmap_all_of(fuzz, span); /* which of it is marked is not known */
    }
    look(fuzz, span);
}

static void lock(struct fuzz *fuzz)
{
    struct span span = some_span(fuzz, 20);
    uintptr_t at = start_of(fuzz, span) + (chance(fuzz, 10) ? 100 : 0);
    size_t bytes = span.n * PAGE - 100;
    size_t how = roll_below(fuzz, 10);
    long result;

    errno = 0;
    result = how < 2 ? mlock((void *)at, bytes) : how < 4 ? syscall(SYS_mlock2, at, bytes, how == 3) : munlock((void *)at, bytes);
    split(fuzz, span);
    say(fuzz, "%s %s %zu: %ld %d\n", how < 4 ? "mlock" : "munlock", place(fuzz, at), bytes, result, result != 0 ? errno : 0);
    look(fuzz, span);
}

static void in_core(struct fuzz *fuzz)
{
    struct span span = some_span(fuzz, 40);
    unsigned char there[ZONE_PAGES];
    long result = mincore((void *)start_of(fuzz, span), span.n * PAGE, there);

    say(fuzz, "mincore %s %zu: %ld %d\n", place(fuzz, start_of(fuzz, span)), span.n, result, result != 0 ? errno : 0);
}

/* ---- the program's reads and writes, and the kernel's ---- */

static void make_bytes(struct fuzz *fuzz, unsigned char *bytes)
{
    size_t how = roll_below(fuzz, 10);
    uint64_t word = roll(fuzz);

    for (size_t i = 0; i < PAGE; i += 8) {
        if (how >= 8)
            word = roll(fuzz); /* compresses not at all */
        else if (how >= 3)
            word += i % 128 == 0;
        memcpy(bytes + i, &word, 8);
    }
}

static void write_page(struct fuzz *fuzz, enum zone zone, size_t page)
{
    struct page *p = &fuzz->world->pages[zone][page];
    unsigned char *at = (unsigned char *)address(fuzz, zone, page);
    int expected = expected_signal(fuzz, p, true);
    unsigned char fresh[4096];
    size_t from = 0;
    size_t n = PAGE;
    int number;

    make_bytes(fuzz, fresh);
    if (chance(fuzz, 30) && !p->unknown) {
        from = roll_below(fuzz, PAGE);
        n = 1 + roll_below(fuzz, PAGE - from);
    }
    number = copy_guarded(at + from, fresh + from, n);
    if (number != expected)
        fail(fuzz, "write to %s: signal %d, not %d", place(fuzz, (uintptr_t)at), number, expected);
    if (number != 0)
        return;
    memcpy(bytes_of(fuzz, zone, page) + from, fresh + from, n);
    p->unknown = p->unknown && n < PAGE;
}

static void write_pages(struct fuzz *fuzz, struct span span)
{
    for (size_t i = 0; i < span.n; i++)
        write_page(fuzz, span.zone, span.first + i);
}

static void write_some(struct fuzz *fuzz)
{
    struct span span = some_span(fuzz, 30);

    say(fuzz, "write %s %zu\n", place(fuzz, start_of(fuzz, span)), span.n);
    write_pages(fuzz, span);
}

static void read_some(struct fuzz *fuzz)
{
    struct span span = some_span(fuzz, 60);

    say(fuzz, "read %s %zu:", place(fuzz, start_of(fuzz, span)), span.n);
    say(fuzz, " %016lx\n", (unsigned long)check_span(fuzz, span));
}

/* Bytes of the model at an address: a page at a time. */
static unsigned char *model_at(struct fuzz *fuzz, uintptr_t at)
{
    enum zone zone;
    size_t page;

    return zone_of(fuzz, at, &zone, &page) ? bytes_of(fuzz, zone, page) + at % PAGE : NULL;
}

static bool is_known(struct fuzz *fuzz, struct span span)
{
    for (size_t i = 0; i < span.n; i++)
        if (page_in(fuzz, span, i)->unknown)
            return false;
    return true;
}

/* The same page of shared memory at two places, or a page twice in a range: the order of the kernel's bytes is its own. */
static bool any_shared(struct fuzz *fuzz, struct span span)
{
    for (size_t i = 0; i < span.n; i++)
        if (page_in(fuzz, span, i)->kind == SHARED)
            return true;
    return false;
}

static long transfer(const struct fuzz *fuzz, size_t how, bool into_memory, uintptr_t at, size_t bytes, size_t offset)
{
    struct iovec parts[2] = {{(void *)at, bytes / 2}, {(void *)(at + bytes / 2), bytes - bytes / 2}};
    int fd = fuzz->scratch_file;

    errno = 0;
    switch (how) {
    case 0:
        if (lseek(fd, (off_t)offset, SEEK_SET) < 0)
            return -1;
        return into_memory ? read(fd, (void *)at, bytes) : write(fd, (const void *)at, bytes);
    case 1:
        return into_memory ? preadv(fd, parts, 2, (off_t)offset) : pwritev(fd, parts, 2, (off_t)offset);
    default:
        return into_memory ? pread(fd, (void *)at, bytes, (off_t)offset) : pwrite(fd, (const void *)at, bytes, (off_t)offset);
    }
}

static void by_kernel(struct fuzz *fuzz)
{
    struct span span = some_span(fuzz, 44);
    bool into_memory = chance(fuzz, 50);
    uintptr_t at = start_of(fuzz, span) + (chance(fuzz, 60) ? roll_below(fuzz, PAGE) : 0);
    size_t bytes = 1 + roll_below(fuzz, start_of(fuzz, span) + span.n * PAGE - at);
    size_t offset = roll_below(fuzz, SCRATCH_PAGES * PAGE - bytes);
    unsigned char *scratch = &fuzz->world->scratch[0][0];
    size_t how = roll_below(fuzz, 4);
    long result;

    if (!is_known(fuzz, span) || any_shared(fuzz, span)) {
        say(fuzz, "kernel skips\n");
        return;
    }
    result = transfer(fuzz, how, into_memory, at, bytes, offset);
    say(fuzz, "%s %s %zu, %zu: %ld %d\n", into_memory ? "kernel reads to" : "kernel writes from", place(fuzz, at), bytes, how, result,
        result < 0 ? errno : 0);
    for (size_t i = 0; result > 0 && i < (size_t)result; i++) {
        unsigned char *byte = model_at(fuzz, at + i);

        if (byte == NULL || expected_signal(fuzz, page_of(fuzz, at + i), into_memory) != 0)
            fail(fuzz, "the kernel comes to %s, where it must not", place(fuzz, at + i));
        if (into_memory)
            *byte = scratch[offset + i];
        else
            scratch[offset + i] = *byte;
    }
    look(fuzz, span);
    if (!into_memory && result > 0) {
        unsigned char there[4096];
        size_t n = (size_t)result < sizeof there ? (size_t)result : sizeof there;
        size_t from = offset + roll_below(fuzz, (size_t)result - n + 1);

        if (pread(fuzz->scratch_file, there, n, (off_t)from) != (ssize_t)n || memcmp(there, scratch + from, n) != 0)
            fail(fuzz, "what the kernel wrote from %s is not what was there", place(fuzz, at));
    }
}

/* Source: futex(2), FUTEX_WAKE_OP: oldval = *uaddr2, *uaddr2 = oldval + 5. */
static void wait_on_word(struct fuzz *fuzz)
{
    struct span span = {.zone = some_zone(fuzz), .first = roll_below(fuzz, ZONE_PAGES), .n = 1};
    uintptr_t at = start_of(fuzz, span) + roll_below(fuzz, PAGE / 4) * 4;
    const struct page *page = page_in(fuzz, span, 0);
    int private = chance(fuzz, 70) ? FUTEX_PRIVATE_FLAG : 0;
    long result;
    uint32_t word = 0;

    if (page->unknown || page->kind == HOLE)
        word = 1;
    else if (expected_signal(fuzz, page, false) == 0)
        memcpy(&word, model_at(fuzz, at), sizeof word);
    errno = 0;
    if (page->unknown || chance(fuzz, 50)) {
        result = syscall(SYS_futex, at, FUTEX_WAIT | private, word + 1, NULL, NULL, 0);
        if (page->unknown)
            result = errno = 0;
        say(fuzz, "futex wait %s: %ld %d\n", place(fuzz, at), result, errno);
        return;
    }
    result = syscall(SYS_futex, at, FUTEX_WAKE_OP | private, 0, 0L, at, FUTEX_OP(FUTEX_OP_ADD, 5, FUTEX_OP_CMP_EQ, 0));
    say(fuzz, "futex wake %s: %ld %d\n", place(fuzz, at), result, result < 0 ? errno : 0);
    if (result >= 0) {
        word += 5;
        memcpy(model_at(fuzz, at), &word, sizeof word);
    }
    look(fuzz, span);
}

void call_something(struct fuzz *fuzz)
{
    static const struct {
        unsigned weight;
        void (*make)(struct fuzz *fuzz);
    } calls[] = {{16, map}, {5, unmap}, {6, move_break}, {12, remap}, {12, protect}, {12, advise}, {5, lock}, {1, in_core},
                 {16, write_some}, {8, read_some}, {6, by_kernel}, {2, wait_on_word}};
    size_t dice = roll_below(fuzz, 101);
    size_t i = 0;

    for (; dice >= calls[i].weight; i++)
        dice -= calls[i].weight;
    calls[i].make(fuzz);
}
