/* test_extract.c - pages that are taken out, by the kernel's means, and what the pager makes of it. */
#include "platform/extract.h"
#include "platform/file.h"
#include "platform/inject.h"
#include "platform/mem.h"
#include "tests/unit/fake.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RANGE (256 * MIB)
#define WORDS (PAGE_BYTES / sizeof(uint64_t))

/* ---- the kernel's means ---- */

enum { N = 64 };

static unsigned char *space;
static unsigned char buffer[EXTRACT_MAX_PAGES][PAGE_BYTES];

static void make_space(void)
{
    space = mmap(NULL, N * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(space, MAP_FAILED);
    os_mem_keep_single(space, N * PAGE_BYTES);
    for (size_t i = 0; i < N; i++)
        memset(space + i * PAGE_BYTES, (int)(i + 1), PAGE_BYTES);
}

static bool is_there(size_t page)
{
    unsigned char in_core;

    cr_assert_eq(mincore(space + page * PAGE_BYTES, PAGE_BYTES, &in_core), 0);
    return (in_core & 1) != 0;
}

/* Every other page from @first on. */
static size_t take(struct extractor *e, size_t first, size_t n, int *error)
{
    uintptr_t addrs[EXTRACT_MAX_PAGES];

    for (size_t i = 0; i < n; i++)
        addrs[i] = (uintptr_t)space + (first + 2 * i) * PAGE_BYTES;
    return extractor_take(e, buffer, addrs, n, error);
}

static bool is_filled_with(const unsigned char *page, size_t value)
{
    for (size_t i = 0; i < PAGE_BYTES; i++)
        if (page[i] != (unsigned char)value)
            return false;
    return true;
}

static void expect_extracted(size_t first, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        cr_assert(is_filled_with(buffer[i], first + 2 * i + 1), "page %zu", i);
        cr_assert(!is_there(first + 2 * i), "page %zu", i);
        cr_assert(is_there(first + 2 * i + 1), "page %zu", i);
    }
}

Test(extract, scattered_pages_leave_with_what_is_in_them)
{
    struct extractor e;
    int error;

    make_space();
    cr_assert_eq(extractor_open(&e), 0);
    cr_assert_eq(os_file_next_owned(e.in), e.in);
    cr_assert_eq(os_file_next_owned(e.out), e.out);
    for (unsigned round = 0; round < 3; round++) {
        cr_assert_eq(take(&e, 0, EXTRACT_MAX_PAGES, &error), EXTRACT_MAX_PAGES);
        cr_assert_eq(error, 0);
        expect_extracted(0, EXTRACT_MAX_PAGES);
        for (size_t i = 0; i < N; i++)
            memset(space + i * PAGE_BYTES, (int)(i + 1), PAGE_BYTES);
    }
    extractor_close(&e);
    extractor_close(&e); /* once more is nothing */
}

Test(extract, it_ends_at_a_page_that_cannot_be_read)
{
    struct extractor e;
    int error;

    make_space();
    cr_assert_eq(extractor_open(&e), 0);
    cr_assert_eq(mprotect(space + 6 * PAGE_BYTES, PAGE_BYTES, PROT_NONE), 0);
    cr_assert_eq(take(&e, 0, 8, &error), 3);
    cr_assert_eq(error, -EFAULT);
    expect_extracted(0, 3);
    cr_assert(is_there(8));
    cr_assert_eq(take(&e, 6, 2, &error), 0);
    cr_assert_eq(error, -EFAULT);
    cr_assert_eq(take(&e, 8, 4, &error), 4);
    expect_extracted(8, 4);
}

Test(extract, it_ends_at_a_page_that_cannot_be_discarded)
{
    struct extractor e;
    int error;

    make_space();
    cr_assert_eq(extractor_open(&e), 0);
    cr_assert_eq(syscall(SYS_mlock, space + 6 * PAGE_BYTES, PAGE_BYTES), 0); /* a sanitizer makes nothing of mlock() */
    cr_assert_eq(take(&e, 0, 8, &error), 3);
    cr_assert_eq(error, -EINVAL);
    expect_extracted(0, 3);
    cr_assert(is_there(6) && is_there(8));
    cr_assert_eq(take(&e, 8, 4, &error), 4);
    expect_extracted(8, 4);
}

Test(extract, fewer_frames_are_held_than_wanted)
{
    struct extractor e;
    int error;

    make_space();
    cr_assert_eq(extractor_open(&e), 0);
    atomic_store(&os_inject_io[OS_INJECT_EXTRACT].first, 1); /* error 0: half of it */
    atomic_store(&os_inject_io[OS_INJECT_EXTRACT].n, 1);
    cr_assert_eq(take(&e, 0, 8, &error), 4);
    cr_assert_eq(error, -EFAULT);
    expect_extracted(0, 4);
    cr_assert(is_there(8));
}

Test(extract, one_that_is_closed_takes_nothing)
{
    struct extractor e;
    int error;

    make_space();
    cr_assert_eq(extractor_open(&e), 0);
    extractor_close(&e);
    cr_assert_eq(take(&e, 0, 8, &error), 0);
    cr_assert_eq(error, -EBADF);
    cr_assert(is_there(0));
}

Test(extract, no_descriptor_is_an_error_of_opening)
{
    struct extractor e;

    atomic_store(&os_inject_countdown, 1);
    cr_assert_eq(extractor_open(&e), -EMFILE);
    cr_assert(e.in == -1 && e.out == -1);
    extractor_close(&e);
}

#ifndef UNIT_IN_PROCESS /* what a filter refuses it refuses for good */
static void refuse(long number, unsigned error)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0 /* nr */),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = 4, .filter = filter};

    cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

Test(extract, nothing_leaves_where_holding_is_refused)
{
    struct extractor e;
    int error;

    make_space();
    cr_assert_eq(extractor_open(&e), 0);
    refuse(SYS_vmsplice, EPERM);
    cr_assert_eq(take(&e, 0, 8, &error), 0);
    cr_assert_eq(error, -EPERM);
    cr_assert(is_there(0) && is_there(14));
}

/* What could not be read again is not discarded. The filter leaves other descriptors alone. */
Test(extract, nothing_leaves_where_reading_is_refused)
{
    struct extractor e;
    int error;

    make_space();
    cr_assert_eq(extractor_open(&e), 0);
    {
        struct sock_filter filter[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0 /* nr */),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_read, 0, 3),
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 16 /* the first argument */),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)e.out, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = {.len = 6, .filter = filter};

        cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
    }
    cr_assert_eq(take(&e, 0, 8, &error), 0);
    cr_assert_eq(error, -EACCES);
    cr_assert(is_there(0) && is_there(14));
}

Test(extract, no_such_call_is_an_error_of_opening)
{
    struct extractor e;

    refuse(SYS_pipe2, ENOSYS);
    cr_assert_eq(extractor_open(&e), -ENOSYS);
    cr_assert(e.in == -1 && e.out == -1);
    extractor_close(&e);
}

/* As where the user has too many pages in pipes: one of less than a batch is of no use. */
Test(extract, pipe_that_stays_small_is_an_error_of_opening)
{
    struct extractor e;

    refuse(SYS_fcntl, EPERM);
    cr_assert_eq(extractor_open(&e), -EPERM);
    cr_assert(e.in == -1 && e.out == -1);
}
#endif

/* ---- the pager ---- */

static struct world *world_that_extracts(size_t limit)
{
    struct world *w = world_new(RANGE, limit, true);

    atomic_store(&w->fake.contract.can_extract, true);
    return w;
}

static uint64_t *filled(struct world *w, size_t n_pages)
{
    uint64_t *p = heap_allocate(&w->heap, n_pages * PAGE_BYTES, 0);

    cr_assert_not_null(p);
    for (size_t i = 0; i < n_pages; i++) {
        fake_store(w, p + i * WORDS, i + 1, 1);
        fake_store(w, p + i * WORDS + 17 + i % 400, i * 0x9e3779b97f4a7c15u, 1);
    }
    return p;
}

static void check(struct world *w, const uint64_t *p, size_t n_pages)
{
    for (size_t i = 0; i < n_pages; i++) {
        cr_assert_eq(fake_load(w, p + i * WORDS, 1), i + 1);
        cr_assert_eq(fake_load(w, p + i * WORDS + 17 + i % 400, 1), i * 0x9e3779b97f4a7c15u);
    }
}

Test(extract, pages_that_were_written_leave_without_being_moved)
{
    struct world *w = world_that_extracts(64);
    uint64_t *p = filled(w, 300);

    for (unsigned round = 0; round < 3; round++) {
        check(w, p, 300);
        for (size_t i = 0; i < 300; i++)
            fake_store(w, p + i * WORDS + 500, i * round, 1);
    }
    cr_assert_gt(w->pager.reclaim.counters.extracted, 300);
    cr_assert_eq(w->fake.n_moves, 0);
    cr_assert_eq(w->pager.reclaim.n_extracting, 0);
    cr_assert_leq(w->pager.reclaim.charged_peak, 64);
}

/* Frames from before paging began may be pinned or shared, so these are moved. */
Test(extract, pages_that_were_there_before_are_moved)
{
    struct world *w = world_that_extracts(64);
    uint64_t *p = heap_allocate(&w->heap, 60 * PAGE_BYTES, 0);
    uint64_t *q;

    for (size_t i = 0; i < 60; i++)
        p[i * WORDS] = i + 1;
    q = filled(w, 300);
    cr_assert_gt(w->fake.n_moves, 0);
    check(w, q, 300);
    for (size_t i = 0; i < 60; i++)
        cr_assert_eq(fake_load(w, p + i * WORDS, 1), i + 1);
}

Test(extract, page_that_will_not_leave_so_is_moved)
{
    struct world *w = world_that_extracts(64);
    uint64_t *p = heap_allocate(&w->heap, 300 * PAGE_BYTES, 0);

    fake_store(w, p + 3 * WORDS, 4, 1);
    fake_store(w, p + 3 * WORDS + 20, 3 * 0x9e3779b97f4a7c15u, 1);
    atomic_store(&w->fake.staying_page, (uintptr_t)(p + 3 * WORDS));
    for (size_t i = 0; i < 300; i++) {
        fake_store(w, p + i * WORDS, i + 1, 1);
        fake_store(w, p + i * WORDS + 17 + i % 400, i * 0x9e3779b97f4a7c15u, 1);
    }
    cr_assert_gt(w->pager.reclaim.counters.extracted, 0);
    cr_assert_gt(w->fake.n_moves, 0);
    cr_assert_leq(w->pager.reclaim.counters.busy_pages, 2); /* those behind it in its batch have left */
    cr_assert(atomic_load(&w->fake.contract.can_extract));
    check(w, p, 300);
}

Test(extract, where_it_is_refused_pages_are_moved_for_good)
{
    struct world *w = world_that_extracts(64);
    uint64_t *p;

    atomic_store(&w->fake.extract_error, -EPERM);
    p = filled(w, 300);
    check(w, p, 300);
    cr_assert(!atomic_load(&w->fake.contract.can_extract));
    cr_assert_eq(w->pager.reclaim.counters.extracted, 0);
    cr_assert_gt(w->fake.n_moves, 0);
    cr_assert_eq(w->pager.reclaim.exceeded_peak, 0);
}

static uint64_t next_random(uint64_t *random)
{
    return *random = *random * 6364136223846793005u + 1442695040888963407u;
}

Test(extract, page_without_room_for_its_image_comes_back)
{
    struct world *w = world_that_extracts(64);
    uint64_t random = 1;
    uint64_t *p;

    w->pager.pool_bound_bytes = 128 * KIB;
    p = heap_allocate(&w->heap, 300 * PAGE_BYTES, 0);
    for (size_t i = 0; i < 300 * WORDS; i++)
        fake_store(w, p + i, next_random(&random), 1);
    cr_assert_gt(w->pager.reclaim.counters.extracted, 0);
    cr_assert_gt(w->pager.reclaim.counters.pool_full, 0);
    cr_assert_gt(w->pager.reclaim.exceeded_peak, 100);
    random = 1;
    for (size_t i = 0; i < 300 * WORDS; i++)
        cr_assert_eq(fake_load(w, p + i, 1), next_random(&random));
}

/* From then on the child has the frames too: a store after they were held might go to another one. */
Test(extract, frames_that_a_fork_has_shared_are_moved)
{
    struct world *w = world_that_extracts(64);
    uint64_t *p = filled(w, 300);
    uint64_t n_moves = w->fake.n_moves;

    cr_assert_eq(n_moves, 0);
    heap_fork_prepare(&w->heap);
    heap_fork_parent(&w->heap);
    check(w, p, 300);
    cr_assert_gt(w->fake.n_moves, 0);
    n_moves = w->fake.n_moves;
    check(w, p, 300);
    check(w, p, 300);
    cr_assert_eq(w->fake.n_moves, n_moves);
}

Test(extract, it_can_be_forbidden)
{
    struct world *w = world_that_extracts(64);
    uint64_t *p = filled(w, 300);
    uint64_t n_extracted = w->pager.reclaim.counters.extracted;

    cr_assert_gt(n_extracted, 0);
    pager_forbid_extracting(&w->pager);
    for (size_t i = 0; i < 300; i++)
        fake_store(w, p + i * WORDS, i + 1, 1);
    check(w, p, 300);
    cr_assert_eq(w->pager.reclaim.counters.extracted, n_extracted);
    cr_assert_gt(w->fake.n_moves, 0);
}
