/* probe_kernel.c - the kernel touches the memory, and the program touches the kernel. */
#include "tests/preload/probe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static void system_calls_reach_frozen_memory(size_t bytes)
{
    char *p = filled(bytes, 1);
    char *q = filled(bytes, 2);
    char path[] = "/tmp/ghostmem-probe-XXXXXX";
    int fd = mkstemp(path);
    struct iovec *vector = malloc(1 << 20);

    CHECK(fd >= 0 && unlink(path) == 0);
    CHECK(write(fd, p, bytes) == (ssize_t)bytes);
    CHECK(pread(fd, q, bytes, 0) == (ssize_t)bytes);
    check(q, bytes, 1);
    fill(q, bytes, 2);
    for (size_t i = 0; i < 16; i++)
        vector[i] = (struct iovec){.iov_base = q + bytes / 16 * i, .iov_len = bytes / 16};
    check(p, bytes, 1); /* pushes the vector out */
    CHECK(preadv(fd, vector, 16, 0) == (ssize_t)bytes);
    check(q, bytes, 1);
    close(fd);
}

static size_t count_entries(const char *path)
{
    DIR *dir = opendir(path);
    size_t n = 0;

    CHECK(dir != NULL);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

static void descriptors_are_the_programs_alone(size_t bytes)
{
    size_t before = count_entries("/proc/self/fd");
    char *p = filled(bytes, 1);

    CHECK(count_entries("/proc/self/fd") == before);
    check(p, bytes, 1);
}

static void closing_every_descriptor_loses_nothing(size_t bytes)
{
    char *p = filled(bytes, 1);

    for (int fd = 3; fd < 1024; fd++)
        close(fd);
    check(p, bytes, 1);
    for (int fd = 3; fd < 1024; fd++) { /* none is left, as far as can be seen */
        struct stat status;

        CHECK(fstat(fd, &status) == -1 && errno == EBADF);
        CHECK(fcntl(fd, F_GETFD) == -1 && errno == EBADF);
        CHECK(lseek(fd, 0, SEEK_CUR) == -1 && errno == EBADF);
        CHECK(dup(fd) == -1 && errno == EBADF);
        CHECK(dup2(fd, 0) == -1 && errno == EBADF);
    }
    fill(p, bytes, 2);
    check(p, bytes, 2);
    for (int fd = 3; fd < 1024; fd++)
        (void)dup2(1, fd);
    check(p, bytes, 2);
    CHECK(close_range(3, ~0u, 0) == 0);
    check(p, bytes, 2);
    fill(p, bytes, 3);
    closefrom(3);
    check(p, bytes, 3);
}

static void nothing_runs_while_the_program_fits(size_t bytes)
{
    char *p = filled(bytes, 1);

    CHECK(count_entries("/proc/self/task") == 3);
    check(p, bytes, 1);
}

static void discarded_memory_reads_as_zeros(size_t bytes)
{
    char *p = filled(bytes, 1);

    CHECK(madvise(p + bytes / 4, bytes / 2, MADV_DONTNEED) == 0 || ((uintptr_t)p & (PAGE - 1)) != 0);
    if (((uintptr_t)p & (PAGE - 1)) != 0)
        return; /* libc's block: the call had nothing to do with whole pages */
    check(p, bytes / 4, 1);
    for (size_t i = bytes / 4; i < bytes / 4 * 3; i += 64)
        CHECK(p[i] == 0);
    CHECK(madvise(p, bytes, MADV_HUGEPAGE) == 0);
    check(p, bytes / 4, 1);
}

static void *push_out_by_and_by(void *arg)
{
    usleep(2000);
    return filled((size_t)(uintptr_t)arg, 3);
}

/* In each of many programs paging starts, in another thread, while this one reads into its memory. */
static void paging_starts_while_calls_run(size_t bytes)
{
    const size_t part = 256 << 10;
    char path[] = "/tmp/ghostmem-probe-XXXXXX";
    int fd = mkstemp(path);

    CHECK(fd >= 0 && unlink(path) == 0 && ftruncate(fd, (off_t)part) == 0);
    for (int i = 0; i < 16; i++) {
        pid_t child = fork();
        pthread_t thread;
        int status;

        if (child == 0) {
            char *p = filled(part, 1);

            CHECK(pthread_create(&thread, NULL, push_out_by_and_by, (void *)bytes) == 0);
            for (int k = 0; k < 100; k++)
                CHECK(pread(fd, p, part, 0) == (ssize_t)part);
            CHECK(pthread_join(thread, NULL) == 0);
            _exit(0);
        }
        CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    }
    close(fd);
}

static struct {
    int fd;
    char *p;
    pthread_t whom;
    atomic_bool over;
} disturbed;

static void read_page(int number)
{
    (void)number;
    CHECK(pread(disturbed.fd, disturbed.p, PAGE, 0) == (ssize_t)PAGE);
}

static void *disturb(void *arg)
{
    while (!disturbed.over) {
        CHECK(pthread_kill(disturbed.whom, SIGUSR1) == 0);
        usleep(20);
    }
    return arg;
}

/* What is sent while signals are blocked comes at the end of it, in the very thread that starts paging. */
static void paging_starts_while_a_handler_reads(size_t bytes)
{
    char path[] = "/tmp/ghostmem-probe-XXXXXX";

    disturbed.fd = mkstemp(path);
    CHECK(disturbed.fd >= 0 && unlink(path) == 0 && ftruncate(disturbed.fd, (off_t)PAGE) == 0);
    for (int i = 0; i < 16; i++) {
        pid_t child = fork();
        int status;

        if (child == 0) {
            pthread_t thread;
            char *p;

            alarm(60);
            disturbed.p = filled(128 << 10, 1);
            disturbed.whom = pthread_self();
            CHECK(signal(SIGUSR1, read_page) != SIG_ERR);
            CHECK(pthread_create(&thread, NULL, disturb, NULL) == 0);
            usleep(2000);
            p = malloc(bytes);
            CHECK(p != NULL);
            disturbed.over = true;
            CHECK(pthread_join(thread, NULL) == 0);
            memset(p, 1, bytes);
            _exit(0);
        }
        CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    }
    close(disturbed.fd);
}

static void allowed_processors(const char *thread, char *text, size_t bytes)
{
    char path[300];
    FILE *file;

    snprintf(path, sizeof path, "/proc/self/task/%s/status", thread);
    file = fopen(path, "r");
    CHECK(file != NULL);
    while (fgets(text, (int)bytes, file) != NULL && strncmp(text, "Cpus_allowed:", 13) != 0)
        ;
    fclose(file);
}

/* A thread that has to stay where another program is busy may not run for minutes, and whoever waits for it neither. */
static void threads_run_on_every_processor(size_t bytes)
{
    char main_thread[20];
    char here[4096];
    char there[4096];
    DIR *threads = opendir("/proc/self/task");

    check(filled(bytes, 1), bytes, 1);
    snprintf(main_thread, sizeof main_thread, "%d", (int)getpid());
    allowed_processors(main_thread, here, sizeof here);
    CHECK(threads != NULL && strncmp(here, "Cpus_allowed:", 13) == 0);
    for (const struct dirent *entry; (entry = readdir(threads)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        allowed_processors(entry->d_name, there, sizeof there);
        CHECK(strcmp(here, there) == 0);
    }
    closedir(threads);
}

/* Has the mapping of @p this flag in /proc/self/smaps? */
static int mapping_has(const void *p, const char *flag)
{
    FILE *maps = fopen("/proc/self/smaps", "r");
    char line[512];
    int is_ours = 0;
    int has = -1;

    CHECK(maps != NULL);
    while (has < 0 && fgets(line, sizeof line, maps) != NULL) {
        unsigned long start;
        unsigned long end;

        if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
            is_ours = (uintptr_t)p >= start && (uintptr_t)p < end;
        else if (is_ours && strncmp(line, "VmFlags:", 8) == 0)
            has = strstr(line, flag) != NULL;
    }
    fclose(maps);
    return has;
}

/* The kernel may merge pages that are equal; a merged page would not tell us any more that it is written. */
static void pages_are_not_merged(size_t bytes)
{
    char *p;

    CHECK(prctl(67 /* PR_SET_MEMORY_MERGE */, 1, 0, 0, 0) == 0 || errno == EINVAL || errno == EPERM);
    if (getenv("PROBE_RUNS_AGAIN") == NULL) { /* a new program inherits it, before any memory is its own */
        char megabytes[24];

        snprintf(megabytes, sizeof megabytes, "%zu", bytes >> 20);
        CHECK(setenv("PROBE_RUNS_AGAIN", "1", 1) == 0);
        execl("/proc/self/exe", "probe", "pages_are_not_merged", megabytes, (char *)NULL);
        CHECK(0);
    }
    free(filled(256 << 10, 1)); /* there is ghost memory, and nothing is paged yet, but for the smallest limits */
    if (getenv("GHOSTMEM_FAULTS") != NULL && strcmp(getenv("GHOSTMEM_FAULTS"), "thread") != 0) { /* doc/limits.md */
        (void)prctl(67, 0, 0, 0, 0);
        (void)prctl(67, 1, 0, 0, 0);
    }
    p = filled(bytes, 1);
    (void)madvise((void *)(((uintptr_t)p + PAGE - 1) & ~(PAGE - 1)), bytes / 2 & ~(PAGE - 1), MADV_MERGEABLE);
    check(p, bytes, 1);
    CHECK(getenv("GHOSTMEM_MAX_PAGES") == NULL || mapping_has(p + bytes / 4, " mg") == 0);
    if (getenv("GHOSTMEM_FAULTS") == NULL || strcmp(getenv("GHOSTMEM_FAULTS"), "thread") == 0)
        return; /* doc/limits.md */
    (void)prctl(67, 0, 0, 0, 0);
    (void)prctl(67, 1, 0, 0, 0);
    CHECK(mapping_has(p + bytes / 4, " mg") == 0);
}

/* A call that must not be cut makes the limit yield; then the program does not fault for a while. */
static void limit_returns_after_a_large_write(size_t bytes)
{
    char *p = filled(bytes, 1);
    int ends[2];

    CHECK(pipe(ends) == 0 && fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0);
    CHECK(write(ends[1], p, bytes) > 0);
    usleep(1000000);
    puts("ok");
    fflush(stdout);
    _exit(0);
}

static sigjmp_buf fault_back;
static volatile int is_fault_expected;

static void note_fault(int number)
{
    (void)number;
    if (!is_fault_expected)
        _exit(3);
    siglongjmp(fault_back, 1);
}

/* Does a read of *@p, or a write to it, end in SIGSEGV? */
static int is_refused(volatile char *p, int writes)
{
    volatile int refused = 1;

    is_fault_expected = 1;
    if (sigsetjmp(fault_back, 1) == 0) {
        if (writes)
            *p = *p;
        else
            (void)*p;
        refused = 0;
    }
    is_fault_expected = 0;
    return refused;
}

/* Frozen and resident pages, a guard page among them, through evictions; then free, and the next block. */
static void protected_memory_keeps_its_protection(size_t bytes)
{
    struct sigaction action = {.sa_handler = note_fault};
    char *p = filled(bytes, 1);
    char *aligned = (char *)(((uintptr_t)p + PAGE - 1) & ~(uintptr_t)(PAGE - 1));
    char *read_only = aligned + 2 * PAGE;
    char *last = aligned + (bytes / PAGE - 2) * PAGE;

    CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
    CHECK(mprotect(read_only, 8 * PAGE, PROT_READ) == 0);
    CHECK(syscall(SYS_mprotect, last, PAGE, PROT_NONE) == 0);
    for (int round = 0; round < 3; round++) {
        char *q = filled(bytes, 2);

        for (size_t i = 0; i < 8; i++) {
            CHECK(is_refused(read_only + i * PAGE, 1));
            CHECK(!is_refused(read_only + i * PAGE, 0));
        }
        CHECK(is_refused(last, 0) && is_refused(last + PAGE - 1, 1));
        CHECK(!is_refused(last - 1, 1) && !is_refused(last + PAGE, 1));
        check(q, bytes, 2);
        free(q);
    }
    CHECK(syscall(SYS_mprotect, last, PAGE, PROT_READ | PROT_WRITE) == 0);
    check(p, bytes, 1);
    CHECK(mprotect(last - 4 * PAGE, 6 * PAGE, PROT_NONE) == 0);
    free(filled(bytes, 2));
    /* All at once, what is frozen too. */
    CHECK(mprotect(aligned, (size_t)(last - aligned), PROT_READ | PROT_WRITE) == 0);
    CHECK(is_refused(last, 0));
    CHECK(mprotect(last, 2 * PAGE, PROT_READ | PROT_WRITE) == 0);
    check(p, bytes, 1);
    fill(p, bytes, 3);
    check(p, bytes, 3);
    CHECK(mprotect(read_only, 8 * PAGE, PROT_READ) == 0);
    free(p);
    p = filled(bytes, 4);
    check(p, bytes, 4);
    free(p);
}

static void locked_memory_is_freed_and_zeroed(size_t bytes)
{
    size_t part = 64 * PAGE;

    for (int round = 0; round < 3; round++) {
        char *p = calloc(1, bytes);

        for (size_t i = 0; i < bytes; i += PAGE)
            CHECK(p[i] == 0);
        (void)mlock(p, part);
        fill(p, bytes, 1);
        check(p, bytes, 1);
        free(p);
    }
}

static void privileges_are_dropped_after_the_start(size_t bytes)
{
    char *p = filled(bytes, 1);

    if (getuid() == 0)
        CHECK(setgid(65534) == 0 && setuid(65534) == 0);
    check(p, bytes, 1);
    fill(p, bytes, 2);
    check(p, bytes, 2);
    free(p);
}

static pthread_mutex_t *mutex;
static int counter;

static void *count_up(void *arg)
{
    char *own = arg;

    for (int i = 0; i < 300; i++) {
        pthread_mutex_lock(mutex);
        counter++;
        pthread_mutex_unlock(mutex);
        own[(size_t)(i % 64) * PAGE] = 1;
    }
    return NULL;
}

static void mutex_in_frozen_memory(size_t bytes)
{
    char *p = filled(bytes, 1);
    pthread_t threads[4];

    mutex = malloc(1 << 20);
    pthread_mutex_init(mutex, NULL);
    for (size_t i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, count_up, p + bytes / 4 * i) == 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    CHECK(counter == 1200);
}

/* Resident and frozen pages alternate: the worst case where protections split mappings. */
static void every_other_page(size_t bytes)
{
    char *p = malloc(bytes);
    size_t n_pages = bytes / PAGE;

    CHECK(p != NULL);
    for (size_t i = 0; i < n_pages; i++)
        *(size_t *)(void *)(p + i * PAGE) = i + 1;
    for (size_t start = 0; start < 2; start++)
        for (size_t i = start; i < n_pages; i += 2)
            CHECK(*(size_t *)(void *)(p + i * PAGE) == i + 1);
    CHECK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
    free(p);
}

const struct probe probes_kernel[] = {
    {"every_other_page", every_other_page},
    {"system_calls_reach_frozen_memory", system_calls_reach_frozen_memory},
    {"descriptors_are_the_programs_alone", descriptors_are_the_programs_alone},
    {"closing_every_descriptor_loses_nothing", closing_every_descriptor_loses_nothing},
    {"nothing_runs_while_the_program_fits", nothing_runs_while_the_program_fits},
    {"discarded_memory_reads_as_zeros", discarded_memory_reads_as_zeros},
    {"pages_are_not_merged", pages_are_not_merged},
    {"threads_run_on_every_processor", threads_run_on_every_processor},
    {"paging_starts_while_calls_run", paging_starts_while_calls_run},
    {"paging_starts_while_a_handler_reads", paging_starts_while_a_handler_reads},
    {"limit_returns_after_a_large_write", limit_returns_after_a_large_write},
    {"protected_memory_keeps_its_protection", protected_memory_keeps_its_protection},
    {"locked_memory_is_freed_and_zeroed", locked_memory_is_freed_and_zeroed},
    {"privileges_are_dropped_after_the_start", privileges_are_dropped_after_the_start},
    {"mutex_in_frozen_memory", mutex_in_frozen_memory},
    {NULL, NULL},
};
