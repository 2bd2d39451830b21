/* probe_map.c - the program maps over its malloc'ed memory, unmaps parts of it, and moves them away. */
#include "tests/preload/probe.h"

#include <errno.h>
#include <malloc.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCK ((size_t)256 << 10) /* ghost memory, and that the limit may hold or not */
#define HOLE ((size_t)16)         /* page at which something else begins */
#define HOLE_PAGES ((size_t)8)

static sigjmp_buf back;
static volatile int expected;

static void note_fault(int number)
{
    if (expected != number)
        _exit(3);
    siglongjmp(back, 1);
}

/* Does a read end in this signal? */
static int is_refused(volatile const char *p, int number)
{
    volatile int refused = 1;

    expected = number;
    if (sigsetjmp(back, 1) == 0) {
        (void)*p;
        refused = 0;
    }
    expected = 0;
    return refused;
}

/* Does a write end in SIGSEGV? It would change nothing. */
static int is_unwritable(volatile char *p)
{
    volatile int refused = 1;

    expected = SIGSEGV;
    if (sigsetjmp(back, 1) == 0) {
        *p = *p;
        refused = 0;
    }
    expected = 0;
    return refused;
}

/* A block, from its first whole page on. */
struct block {
    void *start;
    char *p;
};

static struct block new_block(uint64_t salt)
{
    struct block block = {.start = malloc(BLOCK + PAGE)};

    CHECK(block.start != NULL);
    block.p = (char *)(((uintptr_t)block.start + PAGE - 1) & ~(uintptr_t)(PAGE - 1));
    fill(block.p, BLOCK, salt);
    return block;
}

/* All but the hole. */
static void check_around(const struct block *block, uint64_t salt)
{
    for (size_t i = 0; i < BLOCK / PAGE; i++)
        if (i < HOLE || i >= HOLE + HOLE_PAGES)
            check_page(block->p, i, salt);
}

static void free_and_take_another(struct block *block)
{
    char *p;

    free(block->start);
    p = calloc(1, BLOCK);
    for (size_t i = 0; i < BLOCK; i += 64)
        CHECK(p[i] == 0);
    fill(p, BLOCK, 7);
    check(p, BLOCK, 7);
    free(p);
}

static int make_file(uint64_t salt)
{
    char path[] = "/tmp/ghostmem-probe-XXXXXX";
    int fd = mkstemp(path);
    char *contents = filled(HOLE_PAGES * PAGE, salt);

    CHECK(fd >= 0 && unlink(path) == 0);
    CHECK(write(fd, contents, HOLE_PAGES * PAGE) == (ssize_t)(HOLE_PAGES * PAGE));
    free(contents);
    return fd;
}

static void begin(void)
{
    struct sigaction action = {.sa_handler = note_fault};

    CHECK(sigaction(SIGSEGV, &action, NULL) == 0 && sigaction(SIGBUS, &action, NULL) == 0);
    mallopt(M_MMAP_THRESHOLD, 128 << 10); /* libc unmaps such blocks when they are freed, whatever is mapped there */
}

/* ---- a file ---- */

static void map_file(struct block *block, int fd)
{
    char *hole = block->p + HOLE * PAGE;

    CHECK(mmap(hole, HOLE_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == hole);
    check(hole, HOLE_PAGES * PAGE, 5);
}

static void use_file(struct block *block, int fd)
{
    char *hole = block->p + HOLE * PAGE;
    char *contents = malloc(HOLE_PAGES * PAGE);

    fill(hole, HOLE_PAGES * PAGE, 6);
    CHECK(pread(fd, contents, HOLE_PAGES * PAGE, 0) == (ssize_t)(HOLE_PAGES * PAGE));
    check(contents, HOLE_PAGES * PAGE, 6);
    CHECK(pwrite(fd, "from the file", 13, 0) == 13 && memcmp(hole, "from the file", 13) == 0);
    fill(hole, HOLE_PAGES * PAGE, 5);
    CHECK(madvise(hole, HOLE_PAGES * PAGE, MADV_DONTNEED) == 0);
    check(hole, HOLE_PAGES * PAGE, 5);
    free(contents);
}

static void files_are_mapped_over_ghost_memory(size_t bytes)
{
    int fd = make_file(5);
    struct block early;
    struct block late;

    begin();
    early = new_block(1);
    map_file(&early, fd);
    push_out(bytes);
    late = new_block(2);
    push_out(bytes);
    errno = 0;
    CHECK(mmap(late.p + HOLE * PAGE, HOLE_PAGES * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, -1, 0) == MAP_FAILED && errno == EBADF);
    check(late.p, BLOCK, 2); /* a call that fails changes nothing */
    push_out(bytes);
    map_file(&late, fd);
    for (int round = 0; round < 3; round++) {
        check_around(&early, 1);
        use_file(&early, fd);
        check_around(&late, 2);
        use_file(&late, fd);
        push_out(bytes);
    }
    if (fork() == 0) {
        push_out(bytes);
        check_around(&early, 1);
        use_file(&early, fd);
        check_around(&late, 2);
        free_and_take_another(&late);
        check_around(&early, 1);
        _exit(0);
    } else {
        int status;

        CHECK(wait(&status) > 0 && status == 0);
    }
    late.start = realloc(late.start, 2 * BLOCK);
    CHECK(late.start != NULL);
    late.p = (char *)(((uintptr_t)late.start + PAGE - 1) & ~(uintptr_t)(PAGE - 1));
    CHECK(ftruncate(fd, 0) == 0);
    CHECK(is_refused(early.p + HOLE * PAGE, SIGBUS));
    check_around(&early, 1);
    free_and_take_another(&early);
    free(late.start);
}

/* A block that ends where the file was mapped: its front remains, and what is cut off is fresh memory for others. */
static void blocks_are_cut_in_what_is_mapped_over(size_t bytes)
{
    int fd = make_file(5);
    struct block block;

    begin();
    for (int round = 0; round < 100; round++) {
        void *others[4];

        block = new_block(1);
        map_file(&block, fd);
        if (round % 25 == 1)
            push_out(bytes);
        CHECK(realloc(block.start, (size_t)(block.p - (char *)block.start) + (HOLE + 2) * PAGE) == block.start);
        for (int i = 0; i < 4; i++) {
            others[i] = calloc(1, BLOCK);
            for (size_t k = 0; k < BLOCK; k += 64)
                CHECK(((char *)others[i])[k] == 0);
            fill(others[i], BLOCK, 3);
        }
        check(block.p + HOLE * PAGE, 2 * PAGE, 5);
        for (size_t i = 0; i < HOLE; i++)
            check_page(block.p, i, 1);
        for (int i = 0; i < 4; i++) {
            check(others[i], BLOCK, 3);
            free(others[i]);
        }
        free(block.start);
    }
    free_and_take_another(&(struct block){.start = malloc(BLOCK)});
}

/* More often than ranges can be ceded at the same time. */
static void mapping_over_goes_on_for_ever(size_t bytes)
{
    int fd = make_file(5);

    begin();
    for (int round = 0; round < 200; round++) {
        struct block block = new_block(1);

        map_file(&block, fd);
        check_around(&block, 1);
        if (round % 50 == 0)
            push_out(bytes);
        check(block.p + HOLE * PAGE, HOLE_PAGES * PAGE, 5);
        CHECK(mmap(block.p, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == block.p);
        CHECK(block.p[0] == 0 && block.p[2 * PAGE - 1] == 0);
        check_page(block.p, 2, 1);
        free_and_take_another(&block);
    }
}

/* Memory of its own, or a file's of which it has copies: it is discarded with the pages around it, and used again like these. */
static void what_is_mapped_over_is_discarded_with_its_block(size_t bytes)
{
    int fd = make_file(5);

    begin();
    for (int round = 0; round < 8; round++) {
        int is_file = round % 2;
        struct block block = new_block(1);
        char *hole = block.p + HOLE * PAGE;

        if (round % 4 >= 2)
            push_out(bytes);
        CHECK(munmap(hole, HOLE_PAGES * PAGE) == 0);
        CHECK(mmap(hole, HOLE_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | (is_file ? 0 : MAP_ANONYMOUS),
                   is_file ? fd : -1, 0) == hole);
        fill(hole, HOLE_PAGES * PAGE, 6);
        check_around(&block, 1);
        CHECK(madvise(block.p + PAGE, BLOCK - 2 * PAGE, MADV_DONTNEED) == 0);
        if (is_file)
            check(hole, HOLE_PAGES * PAGE, 5);
        for (char *p = block.p + PAGE; p < block.p + BLOCK - PAGE; p += 64)
            CHECK(*p == 0 || (is_file && p >= hole && p < hole + HOLE_PAGES * PAGE));
        check_page(block.p, 0, 1);
        check_page(block.p, BLOCK / PAGE - 1, 1);
        fill(block.p, BLOCK, 2);
        push_out(bytes);
        check(block.p, BLOCK, 2);
        free_and_take_another(&block);
    }
}

/* ---- unmapping and moving ---- */

static void unmapped_parts_are_gone(size_t bytes)
{
    struct block early;
    struct block late;

    begin();
    early = new_block(1);
    CHECK(munmap(early.p + HOLE * PAGE, HOLE_PAGES * PAGE) == 0);
    push_out(bytes);
    late = new_block(2);
    push_out(bytes);
    CHECK(syscall(SYS_munmap, late.p + HOLE * PAGE, HOLE_PAGES * PAGE) == 0);
    for (int round = 0; round < 3; round++) {
        CHECK(is_refused(early.p + HOLE * PAGE, SIGSEGV));
        CHECK(is_refused(late.p + (HOLE + HOLE_PAGES) * PAGE - 1, SIGSEGV));
        CHECK(!is_refused(late.p + (HOLE + HOLE_PAGES) * PAGE, 0));
        check_around(&early, 1);
        check_around(&late, 2);
        push_out(bytes);
    }
    free_and_take_another(&early);
    free_and_take_another(&late);
}

static void moved_parts_keep_their_contents(size_t bytes)
{
    struct block block;
    char *away;
    char *other;

    begin();
    block = new_block(1);
    push_out(bytes);
    errno = 0;
    CHECK(mremap(block.p + HOLE * PAGE, HOLE_PAGES * PAGE, 2 * BLOCK, 0) == MAP_FAILED && errno == ENOMEM);
    check(block.p, BLOCK, 1);
    push_out(bytes);
    away = mremap(block.p + HOLE * PAGE, HOLE_PAGES * PAGE, 2 * HOLE_PAGES * PAGE, MREMAP_MAYMOVE);
    CHECK(away != MAP_FAILED);
    push_out(bytes);
    CHECK(is_refused(block.p + HOLE * PAGE, SIGSEGV));
    check_around(&block, 1);
    for (size_t i = 0; i < HOLE_PAGES * PAGE; i += PAGE)
        CHECK(away[HOLE_PAGES * PAGE + i] == 0);
    other = mremap(away, 2 * HOLE_PAGES * PAGE, HOLE_PAGES * PAGE, 0);
    CHECK(other == away);
    /* And back: its contents are what they were, so the block is whole. */
    CHECK(mremap(away, HOLE_PAGES * PAGE, HOLE_PAGES * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, block.p + HOLE * PAGE) ==
          block.p + HOLE * PAGE);
    push_out(bytes);
    check(block.p, BLOCK, 1);
    CHECK(mremap(block.p + HOLE * PAGE, HOLE_PAGES * PAGE, PAGE, 0) == block.p + HOLE * PAGE);
    check_page(block.p, HOLE, 1);
    CHECK(is_refused(block.p + (HOLE + 1) * PAGE, SIGSEGV));
    free_and_take_another(&block);
}

/* One call for what is the program's own mapping and for what is not. */
static void protection_reaches_over_what_is_mapped_over(size_t bytes)
{
    begin();
    for (int round = 0; round < 8; round++) {
        struct block block = new_block(1);
        char *hole = block.p + HOLE * PAGE;

        CHECK(munmap(hole, HOLE_PAGES * PAGE) == 0);
        CHECK(mmap(hole, HOLE_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0) == hole);
        fill(hole, HOLE_PAGES * PAGE, 6);
        push_out(bytes);
        CHECK(mprotect(hole + PAGE, PAGE, PROT_READ) == 0 && mprotect(hole + PAGE, PAGE, PROT_READ | PROT_WRITE) == 0);
        CHECK(mprotect(hole - PAGE, 2 * PAGE, PROT_READ) == 0 && mprotect(hole - PAGE, 2 * PAGE, PROT_READ | PROT_WRITE) == 0);
        fill(hole, HOLE_PAGES * PAGE, 6);
        *(volatile char *)(block.p + BLOCK - 1) += 0;
        CHECK(mprotect(block.p + PAGE, BLOCK - 2 * PAGE, PROT_READ) == 0);
        push_out(bytes);
        check_around(&block, 1);
        check(hole, HOLE_PAGES * PAGE, 6);
        if (round % 2 == 0) {
            CHECK(mprotect(block.p + PAGE, BLOCK - 2 * PAGE, PROT_READ | PROT_WRITE) == 0);
            push_out(bytes);
            check_around(&block, 1);
            check(hole, HOLE_PAGES * PAGE, 6);
            fill(block.p, BLOCK, 2);
            push_out(bytes);
            check(block.p, BLOCK, 2);
        }
        free_and_take_another(&block); /* which may be written */
    }
}

static void keys_protect_ghost_memory(size_t bytes)
{
    struct block block;
    int key = pkey_alloc(0, 0);

    begin();
    block = new_block(1);
    push_out(bytes);
    CHECK(pkey_mprotect(block.p + HOLE * PAGE, HOLE_PAGES * PAGE, PROT_READ, -1) == 0);
    printf("pkey_mprotect %d\n", pkey_mprotect(block.p + HOLE * PAGE, HOLE_PAGES * PAGE, PROT_READ, key < 0 ? 0 : key) == 0);
    for (int round = 0; round < 3; round++) {
        check(block.p, BLOCK, 1);
        push_out(bytes);
    }
    if (fork() == 0) {
        push_out(bytes);
        check(block.p, BLOCK, 1);
        _exit(0);
    } else {
        int status;

        CHECK(wait(&status) > 0 && status == 0);
    }
    if (key >= 0)
        CHECK(pkey_free(key) == 0);
    free_and_take_another(&block);
}

/* ---- protections of before ---- */

static void protections_of_before_stay(size_t bytes)
{
    size_t n = 128 << 10; /* less than the limit, but for the smallest */
    char *start = malloc(n + PAGE);
    char *p = (char *)(((uintptr_t)start + PAGE - 1) & ~(uintptr_t)(PAGE - 1));

    begin();
    fill(p, n, 1);
    CHECK(mprotect(p, PAGE, PROT_NONE) == 0);
    CHECK(mprotect(p + 4 * PAGE, 4 * PAGE, PROT_READ) == 0);
    CHECK(mprotect(p + 10 * PAGE, 4 * PAGE, PROT_READ) == 0);
    CHECK(mprotect(p + 10 * PAGE, 4 * PAGE, PROT_READ | PROT_WRITE) == 0);
    for (int round = 0; round < 3; round++) {
        push_out(bytes);
        CHECK(is_refused(p, SIGSEGV));
        for (size_t i = 1; i < n / PAGE; i++)
            check_page(p, i, 1);
        for (size_t i = 4; i < 8; i++)
            CHECK(is_unwritable(p + i * PAGE));
        CHECK(!is_unwritable(p + 3 * PAGE) && !is_unwritable(p + 8 * PAGE) && !is_unwritable(p + 12 * PAGE));
    }
    CHECK(mprotect(p, 8 * PAGE, PROT_READ | PROT_WRITE) == 0);
    push_out(bytes);
    check(p, n, 1);
    fill(p, n, 2);
    push_out(bytes);
    check(p, n, 2);
    free(start);
}

const struct probe probes_map[] = {
    {"protections_of_before_stay", protections_of_before_stay},
    {"files_are_mapped_over_ghost_memory", files_are_mapped_over_ghost_memory},
    {"blocks_are_cut_in_what_is_mapped_over", blocks_are_cut_in_what_is_mapped_over},
    {"mapping_over_goes_on_for_ever", mapping_over_goes_on_for_ever},
    {"what_is_mapped_over_is_discarded_with_its_block", what_is_mapped_over_is_discarded_with_its_block},
    {"unmapped_parts_are_gone", unmapped_parts_are_gone},
    {"moved_parts_keep_their_contents", moved_parts_keep_their_contents},
    {"protection_reaches_over_what_is_mapped_over", protection_reaches_over_what_is_mapped_over},
    {"keys_protect_ghost_memory", keys_protect_ghost_memory},
    {NULL, NULL},
};
