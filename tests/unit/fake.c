/* fake.c - see fake.h. */
#include "tests/unit/fake.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* One lock stands for the kernel's page table lock: a page is moved or used, never both. */
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;

void fake_take_pager_lock(void)
{
    static struct os_lock lock = {.rank = LOCK_PAGER};

    os_lock_take(&lock);
}

static struct fake *fake_of(struct fault_backend *contract)
{
    return (struct fake *)(void *)contract;
}

static bool is_in_ram(uintptr_t addr)
{
    unsigned char there = 0;

    if (mincore((void *)addr, PAGE_BYTES, &there) != 0)
        abort();
    return (there & 1) != 0;
}

static _Atomic unsigned char *protection_of(struct fake *fake, uintptr_t addr)
{
    return &fake->protected_pages[(addr - fake->setup.ranges[0].start) / PAGE_BYTES];
}

static int fake_fill(struct fault_backend *contract, uintptr_t dst, const void *source, size_t n_pages, bool protect,
                     size_t *n_done)
{
    struct fake *fake = fake_of(contract);

    atomic_fetch_add(&fake->n_fills, 1);
    *n_done = 0;
    if (atomic_load(&fake->fail_fills) > 0 && atomic_fetch_sub(&fake->fail_fills, 1) > 0)
        return -ENOMEM;
    pthread_mutex_lock(&table_lock);
    for (; *n_done < n_pages; (*n_done)++, dst += PAGE_BYTES) {
        if (is_in_ram(dst)) {
            pthread_mutex_unlock(&table_lock);
            return -EEXIST;
        }
        if (source != NULL)
            memcpy((void *)dst, (const char *)source + *n_done * PAGE_BYTES, PAGE_BYTES);
        else
            memset((void *)dst, 0, PAGE_BYTES);
        *protection_of(fake, dst) = protect ? FAKE_READ_ONLY : FAKE_OPEN;
    }
    pthread_mutex_unlock(&table_lock);
    return 0;
}

static size_t fake_drop(struct fault_backend *contract, const uintptr_t *addrs, size_t n)
{
    size_t n_dropped;

    (void)contract;
    pthread_mutex_lock(&table_lock);
    n_dropped = os_mem_discard_each(addrs, n);
    pthread_mutex_unlock(&table_lock);
    return n_dropped;
}

static size_t fake_extract(struct fault_backend *contract, void *buffer, const uintptr_t *addrs, size_t n, int *error)
{
    struct fake *fake = fake_of(contract);
    size_t n_taken = 0;

    *error = atomic_load(&fake->extract_error);
    pthread_mutex_lock(&table_lock);
    while (*error == 0 && n_taken < n) {
        if (!is_in_ram(addrs[n_taken]))
            *error = -EFAULT;
        else if (addrs[n_taken] == atomic_load(&fake->staying_page))
            *error = -EINVAL;
        else
            memcpy((char *)buffer + n_taken * PAGE_BYTES, (const void *)addrs[n_taken], PAGE_BYTES), n_taken++;
    }
    if (os_mem_discard_each(addrs, n_taken) != n_taken)
        abort();
    pthread_mutex_unlock(&table_lock);
    return n_taken;
}

static int move_error(struct fake *fake, uintptr_t dst, uintptr_t src)
{
    if (!is_in_ram(src))
        return -ENOENT;
    if (is_in_ram(dst))
        return -EEXIST;
    if (src == atomic_load(&fake->busy_page))
        return -EBUSY;
    return src == atomic_load(&fake->odd_page) ? -EINVAL : 0;
}

static int fake_move(struct fault_backend *contract, uintptr_t dst, uintptr_t src, size_t n_pages, size_t *n_done)
{
    struct fake *fake = fake_of(contract);
    int error = 0;

    atomic_fetch_add(&fake->n_moves, 1);
    *n_done = 0;
    if (!contract->can_move)
        return -EINVAL;
    pthread_mutex_lock(&table_lock);
    for (; *n_done < n_pages; (*n_done)++, dst += PAGE_BYTES, src += PAGE_BYTES) {
        error = move_error(fake, dst, src);
        if (error != 0)
            break;
        memcpy((void *)dst, (void *)src, PAGE_BYTES);
        if (madvise((void *)src, PAGE_BYTES, MADV_DONTNEED) != 0)
            abort();
    }
    pthread_mutex_unlock(&table_lock);
    return *n_done > 0 ? 0 : error;
}

/* Held until the page is dropped or allowed again: fake_touch() and its users wait meanwhile. */
static int fake_protect(struct fault_backend *contract, uintptr_t addr, size_t n_pages, bool on)
{
    struct fake *fake = fake_of(contract);
    bool refused = n_pages > 1 && atomic_load(&fake->refuses_runs);

    if (addr - fake->setup.ranges[0].start >= fake->setup.ranges[0].bytes) /* the limbo range: nobody is kept from it */
        return 0;
    pthread_mutex_lock(&table_lock);
    for (size_t i = 0; i < (refused ? 1 : n_pages); i++)
        *protection_of(fake, addr + i * PAGE_BYTES) = on ? FAKE_CLOSED : FAKE_OPEN;
    pthread_mutex_unlock(&table_lock);
    return refused ? -ENOENT : 0;
}

/* The test sees the address; the page stays missing. */
static void fake_poison(struct fault_backend *contract, uintptr_t addr, uint32_t thread)
{
    (void)thread;
    atomic_store(&fake_of(contract)->poisoned, addr);
}

static void fake_wake(struct fault_backend *contract, uintptr_t addr, size_t n_pages)
{
    (void)contract;
    (void)addr;
    (void)n_pages;
}

static void fake_run(struct fault_backend *contract, fault_job *job, void *arg, enum fault_job_kind kind)
{
    (void)kind;
    (void)contract;
    job(arg, FAULT_MAX_WORKERS - 1);
}

static int fake_start(struct fault_backend *contract, const struct fault_setup *setup)
{
    struct fake *fake = fake_of(contract);

    if (fake->start_error != 0)
        return fake->start_error;
    fake->setup = *setup;
    contract->n_workers = FAULT_MAX_WORKERS;
    fake->protected_pages = calloc(setup->ranges[0].bytes / PAGE_BYTES, 1);
    return fake->protected_pages != NULL ? 0 : -ENOMEM;
}

static int fake_restart(struct fault_backend *contract, const int *files, unsigned n_files)
{
    (void)files;
    (void)n_files;
    return fake_of(contract)->restart_error;
}

void fake_init(struct fake *fake, bool can_move)
{
    *fake = (struct fake){.contract = {.name = "fake",
                                       .can_move = can_move,
                                       .can_fill_protected = true,
                                       .start = fake_start,
                                       .fill = fake_fill,
                                       .move = fake_move,
                                       .protect = fake_protect,
                                       .drop = fake_drop,
                                       .extract = fake_extract,
                                       .poison = fake_poison,
                                       .wake = fake_wake,
                                       .run = fake_run,
                                       .restart = fake_restart}};
}

struct world *world_new(size_t range_bytes, size_t limit, bool can_move)
{
    struct world *world = calloc(1, sizeof *world);

    if (world == NULL || heap_init(&world->heap, range_bytes, limit, &world->pager) != 0)
        abort();
    fake_init(&world->fake, can_move);
    pager_init(&world->pager, limit, UINT64_MAX, &world->fake.contract);
    heap_open(&world->heap);
    return world;
}

void world_use_swap(struct world *world, uint64_t max_bytes, bool encrypts, bool plain)
{
    const char *directory = getenv("TMPDIR");

    world->pager.pool_bound_bytes = 1;
    pager_use_swap(&world->pager, &(struct pager_swap){.path = directory != NULL ? directory : "/tmp",
                                                       .max_bytes = max_bytes, .encrypts = encrypts, .plain = plain});
}

bool fake_is_present(struct world *world, const void *p)
{
    uintptr_t addr = (uintptr_t)p & ~(PAGE_BYTES - 1);

    return is_in_ram(addr) && (world->fake.protected_pages == NULL || *protection_of(&world->fake, addr) != FAKE_CLOSED);
}

static bool is_open(struct world *world, const void *p, bool write)
{
    uintptr_t addr = (uintptr_t)p & ~(PAGE_BYTES - 1);

    return fake_is_present(world, p) && !(write && *protection_of(&world->fake, addr) == FAKE_READ_ONLY);
}

/* Returns with table_lock held and the page in its place. */
static void hold(struct world *world, const void *p, uint32_t thread, bool write)
{
    struct fault fault = {.addr = (uintptr_t)p & ~(PAGE_BYTES - 1), .thread = thread, .worker = thread % 6, .write = write};

    pthread_mutex_lock(&table_lock);
    if (!pager_is_engaged(&world->pager))
        return;
    while (!is_open(world, p, write) && atomic_load(&world->fake.poisoned) != fault.addr) {
        pthread_mutex_unlock(&table_lock);
        world->fake.setup.on_fault(world->fake.setup.arg, &fault);
        pthread_mutex_lock(&table_lock);
    }
}

void *fake_look(struct world *world, void *p, uint32_t thread)
{
    hold(world, p, thread, false);
    pthread_mutex_unlock(&table_lock);
    return p;
}

void *fake_touch(struct world *world, void *p, uint32_t thread)
{
    hold(world, p, thread, true);
    pthread_mutex_unlock(&table_lock);
    return p;
}

uint64_t fake_load(struct world *world, const uint64_t *p, uint32_t thread)
{
    uint64_t value;

    hold(world, p, thread, false);
    value = *p;
    pthread_mutex_unlock(&table_lock);
    return value;
}

void fake_store(struct world *world, uint64_t *p, uint64_t value, uint32_t thread)
{
    hold(world, p, thread, true);
    *p = value;
    pthread_mutex_unlock(&table_lock);
}

void fake_add(struct world *world, uint64_t *p, uint64_t value, uint32_t thread)
{
    hold(world, p, thread, true);
    *p += value;
    pthread_mutex_unlock(&table_lock);
}
