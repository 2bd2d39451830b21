/*
 * memcalls.c - steps, threads and forks: memcalls [-t THREADS] [-p] [-s STEP-STEP,...] SEED STEPS LOG.
 *
 * Thread i writes LOG.i. -p: protections do not show in /proc/self/maps. -s: without these steps, of all threads. Status 3: the model
 * says that memory is wrong. See memcalls.h.
 */
#include "tests/fuzz/memcalls.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARENA_BASE ((uintptr_t)0x200000000000)
#define ARENA_STRIDE ((uintptr_t)16 << 20)
#define BALLAST_BYTES ((size_t)2 << 20)
#define CHILD_STEPS 40
#define TEXT_ROOM 60000

static uint64_t seed;
static size_t n_steps;
static const char *log_name;
static const char *skipped = "";
static unsigned char ballast[BALLAST_BYTES]; /* so that paging has started before the first step */

static bool is_skipped(size_t step)
{
    const char *at = skipped;

    while (*at != '\0') {
        char *end;
        size_t first = strtoul(at, &end, 10);
        size_t last = strtoul(end + 1, &end, 10);

        if (step >= first && step <= last)
            return true;
        at = *end == ',' ? end + 1 : end;
    }
    return false;
}

static void step(struct fuzz *fuzz, size_t number, uint64_t salt);

/* ---- forks ---- */

static void become_child(struct fuzz *fuzz)
{
    struct world *w = &fuzz->worlds[++fuzz->depth];

    memcpy(w, fuzz->world, sizeof *w);
    fuzz->world = w;
    for (size_t i = 0; i < N_OBJECTS; i++)
        w->objects[i].lent = w->objects[i].used;
    for (enum zone zone = 0; zone < N_ZONES; zone++)
        for (size_t i = 0; i < ZONE_PAGES; i++) {
            struct page *page = &w->pages[zone][i];

            if (page->no_fork)
                make_hole(fuzz, zone, i);
            else if (page->wipe_on_fork)
                make_fresh(fuzz, zone, i);
        }
}

/* Memory that is shared is as the child has left it. */
static void take_back(struct fuzz *fuzz)
{
    const struct world *child = &fuzz->worlds[fuzz->depth + 1];

    for (size_t i = 0; i < N_OBJECTS; i++)
        if (fuzz->world->objects[i].used)
            memcpy(fuzz->world->shared[i], child->shared[i], sizeof child->shared[i]);
    memcpy(fuzz->world->scratch, child->scratch, sizeof child->scratch);
}

static void fork_once(struct fuzz *fuzz)
{
    pid_t child;
    int status;

    if (fuzz->depth + 1 >= MAX_DEPTH)
        return;
    say(fuzz, "fork\n");
    flush(fuzz);
    child = fork();
    if (child < 0)
        fail(fuzz, "fork: errno %d", errno);
    if (child == 0) {
        uint64_t salt = fuzz->dice;
        size_t n = 1 + roll_below(fuzz, CHILD_STEPS);

        become_child(fuzz);
        check_all(fuzz);
        for (size_t i = 0; i < n; i++)
            step(fuzz, fuzz->step, salt + i * 7);
        check_maps(fuzz, false);
        check_all(fuzz);
        flush(fuzz);
        _exit(0);
    }
    if (waitpid(child, &status, 0) != child || status != 0)
        fail(fuzz, "child: status %x", (unsigned)status);
    take_back(fuzz);
    check_all(fuzz);
}

/* ---- threads ---- */

static void step(struct fuzz *fuzz, size_t number, uint64_t salt)
{
    fuzz->step = number;
    fuzz->dice = seed * 0x9e3779b97f4a7c15 + number * 0xd1342543de82ef95 + fuzz->thread * 0x2545f4914f6cdd1d + salt;
    if (salt != 0 || chance(fuzz, 99) || !chance(fuzz, 30)) {
        say(fuzz, "%zu ", number);
        call_something(fuzz);
    } else {
        say(fuzz, "%zu ", number);
        fork_once(fuzz);
    }
    if (salt == 0 && number % 64 == 63)
        check_maps(fuzz, false);
    if (salt == 0 && number % 256 == 255)
        check_all(fuzz);
}

static int file_of(size_t bytes)
{
    int fd = (int)memfd_create("memcalls", MFD_CLOEXEC);

    if (fd < 0 || ftruncate(fd, (off_t)bytes) != 0)
        _exit(4);
    return fd;
}

static void prepare(struct fuzz *fuzz)
{
    struct world *w;
    unsigned char page[4096];
    char name[256];
    void *memory = mmap(NULL, MAX_DEPTH * sizeof *w + TEXT_ROOM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        _exit(4);
    w = fuzz->world = fuzz->worlds = memory;
    fuzz->text = (char *)memory + MAX_DEPTH * sizeof *w;
    w->base[ZONE_ARENA] = ARENA_BASE + fuzz->thread * ARENA_STRIDE;
    w->objects[0] = (struct object){.used = true, .lent = true, .n_pages = OBJECT_PAGES};
    fuzz->has_heap = fuzz->thread == 0;
    if (fuzz->has_heap) {
        w->base[ZONE_HEAP] = w->heap_end = ((uintptr_t)sbrk(0) + 64 * PAGE) / PAGE * PAGE;
        if (brk((void *)w->heap_end) != 0)
            _exit(4);
    }
    fuzz->private_file = file_of(FILE_BYTES);
    fuzz->shared_file = file_of(OBJECT_PAGES * PAGE);
    fuzz->scratch_file = file_of(SCRATCH_PAGES * PAGE);
    for (int i = 0; i < (int)FILE_PAGES; i++) {
        size_t n = i + 1 < (int)FILE_PAGES ? PAGE : FILE_BYTES % PAGE;

        fill_from_file(page, i);
        if (pwrite(fuzz->private_file, page, n, (off_t)((size_t)i * PAGE)) != (ssize_t)n)
            _exit(4);
    }
    (void)snprintf(name, sizeof name, "%s.%u", log_name, fuzz->thread);
    fuzz->log = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
    if (fuzz->log < 0)
        _exit(4);
}

static void *run(void *arg)
{
    struct fuzz *fuzz = arg;

    for (size_t i = 0; i < n_steps; i++)
        if (!is_skipped(i))
            step(fuzz, i, 0);
    fuzz->step = n_steps;
    check_maps(fuzz, false);
    check_all(fuzz);
    flush(fuzz);
    return NULL;
}

/* Under GhostMem paging must have started, or the run says nothing. */
static void start_paging(void)
{
    char text[8192];
    size_t (*stats)(char *buffer, size_t bytes);
    void *p = dlsym(RTLD_DEFAULT, "ghostmem_stats");

    for (size_t i = 0; i < BALLAST_BYTES; i += PAGE)
        ballast[i] = (unsigned char)(i / PAGE);
    for (int i = 0; i < 64; i++)
        free(memset(malloc(100000), i, 100000));
    if (p == NULL)
        return;
    memcpy(&stats, &p, sizeof stats);
    if (stats(text, sizeof text) == 0 || strstr(text, "\"engaged\": true") == NULL) {
        fprintf(stderr, "memcalls: paging has not started\n");
        exit(4);
    }
}

int main(int argc, char **argv)
{
    static struct fuzz fuzzes[MAX_THREADS];
    pthread_t threads[MAX_THREADS];
    unsigned n_threads = 1;
    int option;

    while ((option = getopt(argc, argv, "t:ps:")) != -1) {
        if (option == 't')
            n_threads = (unsigned)strtoul(optarg, NULL, 10);
        else if (option == 'p')
            hidden_protections = true;
        else if (option == 's')
            skipped = optarg;
        else
            return 2;
    }
    if (argc - optind != 3 || n_threads < 1 || n_threads > MAX_THREADS)
        return 2;
    seed = strtoul(argv[optind], NULL, 10);
    n_steps = strtoul(argv[optind + 1], NULL, 10);
    log_name = argv[optind + 2];
    start_paging();
    take_signals();
    for (unsigned i = 0; i < n_threads; i++) {
        fuzzes[i].thread = i;
        fuzzes[i].seed = seed;
        prepare(&fuzzes[i]);
    }
    for (unsigned i = 1; i < n_threads; i++)
        if (pthread_create(&threads[i], NULL, run, &fuzzes[i]) != 0)
            return 4;
    run(&fuzzes[0]);
    for (unsigned i = 1; i < n_threads; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < BALLAST_BYTES; i += PAGE)
        if (ballast[i] != (unsigned char)(i / PAGE))
            fail(&fuzzes[0], "static memory has changed");
    return 0;
}
