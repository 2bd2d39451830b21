/* unmanaged.c - see unmanaged.h. */
#include "interpose/unmanaged.h"

#include "interpose/ghost.h"
#include "interpose/guard.h"

#include "platform/maps.h"

#include <string.h>
#include <sys/mman.h>

static char buffer[OS_MAPS_BUFFER_BYTES]; /* whoever has set `busy` */
static _Atomic bool busy;

/* This library in memory. Source: ld(1), PROVIDEd symbols. */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char end[] __attribute__((visibility("hidden")));

struct walk {
    struct stats *stats;
    const struct os_mapping *mapping; /* that is looked at */
    size_t own_bytes;                 /* of it */
    bool has_thread;
};

static void note_overlap(struct walk *walk, uintptr_t start, uintptr_t stop)
{
    uintptr_t first = start > walk->mapping->start ? start : walk->mapping->start;
    uintptr_t last = stop < walk->mapping->end ? stop : walk->mapping->end;

    walk->own_bytes += last > first ? last - first : 0;
}

static void note_own(void *arg, uintptr_t start, size_t n_pages)
{
    note_overlap(arg, start, start + n_pages * PAGE_BYTES);
}

static void note_thread(void *arg, uintptr_t control, uintptr_t stack)
{
    struct walk *walk = arg;
    const struct os_mapping *mapping = walk->mapping;

    walk->has_thread |= (control >= mapping->start && control < mapping->end) || (stack >= mapping->start && stack < mapping->end);
}

/* Shared memory whose pages are in RAM or swap, for want of a file on a disk. Source: proc_pid_maps(5), shmget(2). */
static bool is_of_memory(const char *name)
{
    static const char *const prefixes[] = {"/memfd:", "/dev/zero", "/dev/shm/", "/SYSV", "[anon_shmem:"};

    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}

static size_t managed_resident_bytes(uintptr_t start, uintptr_t stop)
{
    const struct pagetable *table = &ghost.pager.table;
    page_number first;
    size_t n_pages = 0;
    size_t n;

    while (space_run(&ghost.pager.space, &start, stop, &first, &n)) {
        page_number last = (page_number)(first + n);

        for (page_number i = pagetable_next_busy(table, first, last); i < last; i = pagetable_next_busy(table, i + 1, last))
            n_pages += page_is_resident(page_at(table, i));
    }
    return n_pages * PAGE_BYTES;
}

static uint64_t *reason(struct walk *walk)
{
    const struct os_mapping *mapping = walk->mapping;
    struct stats *stats = walk->stats;

    if (mapping->shared && is_of_memory(mapping->name))
        return &stats->unmanaged_shared_bytes;
    guard_each_thread(note_thread, walk);
    if (walk->has_thread || strcmp(mapping->name, "[stack]") == 0)
        return &stats->unmanaged_stack_bytes;
    if (mapping->locked)
        return &stats->unmanaged_locked_bytes;
    if (mapping->of_file)
        return &stats->unmanaged_file_bytes;
    return (mapping->protection & PROT_EXEC) != 0 ? &stats->unmanaged_executable_bytes : &stats->unmanaged_small_bytes;
}

static bool look_at(void *arg, const struct os_mapping *mapping)
{
    struct walk *walk = arg;
    size_t bytes = mapping->resident_bytes;

    if (bytes == 0)
        return true;
    walk->mapping = mapping;
    walk->own_bytes = 0;
    walk->has_thread = false;
    os_mem_visit_own(note_own, walk);
    note_overlap(walk, (uintptr_t)__ehdr_start, (uintptr_t)end);
    bytes -= min_size(bytes, walk->own_bytes);
    bytes -= min_size(bytes, managed_resident_bytes(mapping->start, mapping->end));
    *reason(walk) += bytes;
    walk->stats->unmanaged_bytes += bytes;
    return true;
}

void unmanaged_collect(struct stats *stats)
{
    struct walk walk = {.stats = stats};

    if (atomic_exchange(&busy, true))
        return;
    (void)os_maps_each_weighed(buffer, look_at, &walk);
    atomic_store(&busy, false);
}
