/*
 * memcalls.h - random memory calls, by a seed, with a model of what memory must look like after each.
 *
 * A run writes a log of each step: what was called, the result, errno, and now and then all of memory as a hash and what /proc/self/maps
 * shows of it. Two runs by the same seed write the same log, whatever is below them: plain Linux and GhostMem are compared by it.
 * Addresses stand in the log as a zone's letter and a page in it. The model finds wrong bytes and wrong signals at once.
 *
 * memcalls.c has steps, threads and forks; calls.c the calls; model.c the model; log.c the log.
 */
#ifndef MEMCALLS_H
#define MEMCALLS_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PAGE ((size_t)4096)
#define MAX_THREADS 4
#define MAX_DEPTH 3 /* of forks, and the first process */
#define ZONE_PAGES 192

/*
 * Where the calls are made: fixed addresses, the heap of brk(2), and where the kernel has put something. The last one is empty
 * between steps.
 */
enum zone { ZONE_ARENA, ZONE_HEAP, ZONE_ELSEWHERE, N_ZONES };

enum kind { HOLE, ANONYMOUS, PRIVATE_FILE, SHARED };

#define FILE_PAGES 24 /* that are mapped privately: the last one not whole */
#define FILE_BYTES (FILE_PAGES * PAGE - 1000)
#define N_OBJECTS 16 /* of shared memory: a file, and anonymous ones */
#define OBJECT_PAGES 32
#define SCRATCH_PAGES 64 /* of the file for the kernel's reads and writes */

struct page {
    uint8_t kind;
    uint8_t protection;
    bool unknown; /* its bytes, until somebody can read them */
    bool no_fork;
    bool wipe_on_fork;
    uint64_t made; /* by which calls, and ascending in what one made: see is_vague() in calls.c */
    int16_t object; /* of shared memory */
    int32_t offset; /* page in the file or the object; beyond its end: SIGBUS */
};

struct object {
    bool used;
    bool lent; /* from a parent: a child does not give it away */
    size_t n_pages;
};

/* All that a thread knows, in memory that is shared and so nobody's to page. */
struct world {
    uintptr_t base[N_ZONES];
    uintptr_t heap_end; /* the break */
    struct page pages[N_ZONES][ZONE_PAGES];
    struct object objects[N_OBJECTS];
    unsigned char bytes[N_ZONES][ZONE_PAGES][4096]; /* of private pages */
    unsigned char shared[N_OBJECTS][OBJECT_PAGES][4096];
    unsigned char scratch[SCRATCH_PAGES][4096];
};

/* One thread of one process. */
struct fuzz {
    struct world *world;
    struct world *worlds; /* by depth */
    unsigned depth;
    unsigned thread;
    uint64_t seed;
    size_t step;
    uint64_t dice;
    int private_file;
    int shared_file;
    int scratch_file;
    bool has_heap;
    int log;
    char *text; /* of the log, not written yet */
    size_t n_text;
};

/* A range of pages in a zone. */
struct span {
    enum zone zone;
    size_t first;
    size_t n;
};

/* ---- log.c ---- */

uint64_t roll(struct fuzz *fuzz);
size_t roll_below(struct fuzz *fuzz, size_t n);
bool chance(struct fuzz *fuzz, unsigned percent);
void say(struct fuzz *fuzz, const char *format, ...) __attribute__((format(printf, 2, 3)));
void flush(struct fuzz *fuzz);

/* What the model says is not so: the process ends with status 3. */
_Noreturn void fail(struct fuzz *fuzz, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "a12", "h3+7"; "-" of what is in no zone. In one of some buffers. */
const char *place(const struct fuzz *fuzz, uintptr_t addr);

/* ---- model.c ---- */

/* Protections do not show in /proc/self/maps: only what is mapped is compared. */
extern bool hidden_protections;

/* What the kernel makes of a touch: 0, SIGSEGV or SIGBUS. */
int expected_signal(const struct fuzz *fuzz, const struct page *page, bool write);

/* Copy with whatever comes: 0 or the signal, and then how far it came is not known. */
int copy_guarded(void *to, const void *from, size_t bytes);
int touch_guarded(volatile void *at, bool write);
void take_signals(void);

bool zone_of(const struct fuzz *fuzz, uintptr_t addr, enum zone *zone, size_t *page);
struct page *page_of(struct fuzz *fuzz, uintptr_t addr);
uintptr_t address(const struct fuzz *fuzz, enum zone zone, size_t page);

/* The bytes that a mapped page must have. */
unsigned char *bytes_of(struct fuzz *fuzz, enum zone zone, size_t page);

/* Of a file: what is at a page of it. */
void fill_from_file(unsigned char *to, int32_t offset);

void make_hole(struct fuzz *fuzz, enum zone zone, size_t page);
void make_page(struct fuzz *fuzz, enum zone zone, size_t page, struct page value);

/* Private bytes are what they were when the page was mapped. */
void make_fresh(struct fuzz *fuzz, enum zone zone, size_t page);
int new_object(struct fuzz *fuzz, size_t n_pages);

/* Compare memory with the model, write what is not known yet to the log, and return a hash of the bytes. */
uint64_t check_span(struct fuzz *fuzz, struct span span);
void check_all(struct fuzz *fuzz);

/* /proc/self/maps against the model, and into the log. @adopt: the model is wrong, and takes what is there. */
void check_maps(struct fuzz *fuzz, bool adopt);

/* ---- calls.c ---- */

void call_something(struct fuzz *fuzz);

#endif
