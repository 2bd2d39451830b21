/*
 * ghostmem_core.c - ghostmem-core: a copy of a core file in which frozen pages have their contents.
 *
 * The core file has all that is needed: the library's marker (core/corefile.h) says where the page table, the pool and the
 * limbo range were. What is elsewhere (the swap file), or was between two places when the process ended, is counted.
 *
 * Calls: dump, corefile, pagetable, store.  Locks: none.  Memory: dump's.
 */
#include "tools/dump.h"

#include "core/corefile.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXIT_PART 1 /* some pages could not be restored */
#define EXIT_NONE 2 /* nothing was written */
#define SUFFIX ".restored"

static const char usage[] =
    "usage: ghostmem-core CORE [OUTPUT]\n"
    "Write a copy of the core file CORE of a program that ran with GhostMem, in which compressed pages have\n"
    "their contents, for gdb(1). OUTPUT: CORE" SUFFIX " if it is not given; it must not exist.\n"
    "Exit status: 0; 1: some pages could not be restored and are zeros; 2: nothing was written.\n";

struct restoration {
    struct dump dump;
    struct corefile state;
    int copy; /* -1: only make room */
    struct dictionary dictionaries[SQUEEZE_DICTIONARIES];
    struct squeeze_reader reader;

    /* Pages. */
    size_t n_restored;
    size_t n_swapped;
    size_t n_lost;
    size_t n_in_transit;
    size_t n_damaged;
};

__attribute__((format(printf, 1, 2))) static _Noreturn void give_up(const char *format, ...)
{
    va_list args;

    fputs("ghostmem-core: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(EXIT_NONE);
}

/* ---- the marker ---- */

/* What was written with care may have been overwritten by the crash. */
static bool is_plausible(const struct corefile *state)
{
    return state->base % PAGE_BYTES == 0 && state->n_pages > 0 && state->n_pages <= PAGE_NONE && state->near_pages <= state->n_pages &&
           state->far_first <= state->n_pages && state->base < UINT64_MAX - state->near_pages * PAGE_BYTES &&
           state->pool_max_slabs <= UINT32_MAX && state->limbo_slots <= UINT32_MAX;
}

static _Noreturn void refuse_version(struct corefile *state, const char *path)
{
    for (size_t i = 0; i < sizeof state->version && state->version[i] != '\0'; i++)
        if (state->version[i] <= ' ' || state->version[i] > '~')
            state->version[i] = '?';
    give_up("%s: written by GhostMem %.*s (layout %u); this is for %s (layout %u)", path, (int)sizeof state->version,
            state->version, state->layout, GHOSTMEM_VERSION, COREFILE_LAYOUT);
}

static void find_state(struct restoration *r, const char *path)
{
    uint64_t address = 0;

    for (; dump_find(&r->dump, COREFILE_MAGIC_1, &address); address += sizeof(uint64_t)) {
        const void *marker = dump_at(&r->dump, address, sizeof r->state);

        if (marker == NULL)
            continue;
        memcpy(&r->state, marker, sizeof r->state);
        if (r->state.magic[1] != COREFILE_MAGIC_2 || r->state.self != address)
            continue;
        if (strncmp(r->state.version, GHOSTMEM_VERSION, sizeof r->state.version) != 0 || r->state.layout != COREFILE_LAYOUT)
            refuse_version(&r->state, path);
        if (!is_plausible(&r->state))
            give_up("%s: GhostMem's tables are damaged", path);
        return;
    }
    give_up("%s: no GhostMem in it, or none that had begun to page: there is nothing to restore", path);
}

/* Images of a dictionary that is not in the file are damaged. */
static void find_dictionaries(struct restoration *r)
{
    struct dictionary there[SQUEEZE_DICTIONARIES];
    const void *table = dump_at(&r->dump, r->state.dictionaries, sizeof there);

    if (table == NULL)
        return;
    memcpy(there, table, sizeof there);
    for (unsigned i = 0; i < SQUEEZE_DICTIONARIES; i++) {
        const void *content = NULL;

        if (there[i].content != NULL && there[i].bytes <= MIB)
            content = dump_at(&r->dump, (uintptr_t)there[i].content, there[i].bytes);
        if (content != NULL)
            (void)dictionary_make(&r->dictionaries[i], content, there[i].bytes, 0);
    }
}

/* ---- pages ---- */

static int thaw(struct restoration *r, store_handle handle, void *page)
{
    struct pool_where where = pool_where(handle);
    const void *slab;
    const unsigned char *slot;
    struct pool_image image;

    if (handle == 0 || where.slot / POOL_SLAB_BYTES >= r->state.pool_max_slabs)
        return -EBADMSG;
    slab = dump_at(&r->dump, r->state.pool_slabs + where.slab, where.slab_bytes);
    slot = dump_at(&r->dump, r->state.pool_space + where.slot, POOL_UNIT_BYTES);
    if (slab == NULL || slot == NULL)
        return -EBADMSG;
    image = pool_image_of(slab, slot);
    if (image.bytes == 0 || image.bytes > PAGE_BYTES ||
        dump_at(&r->dump, r->state.pool_space + where.slot, (size_t)(image.data - slot) + image.bytes) == NULL)
        return -EBADMSG;
    return store_decode(r->dictionaries, &r->reader, &image, page);
}

/* 1: @page has the contents; 0: what the core file has is right, or all there is. */
static int contents_of(struct restoration *r, const struct page *entry, void *page)
{
    const void *there = NULL;

    switch (page_state(entry)) {
    case PAGE_EMPTY:
    case PAGE_RESIDENT:
    case PAGE_FRESH:
    case PAGE_CEDED:
        return 0;
    case PAGE_FROZEN:
        there = thaw(r, entry->value, page) == 0 ? page : NULL;
        break;
    case PAGE_SAME:
        codec_fill(page, page_word(entry));
        return 1;
    case PAGE_COOLED:
        if (entry->value < r->state.limbo_slots)
            there = dump_at(&r->dump, r->state.limbo_space + entry->value * PAGE_BYTES, PAGE_BYTES);
        if (there != NULL)
            memcpy(page, there, PAGE_BYTES);
        break;
    case PAGE_SWAPPED:
        r->n_swapped++;
        return 0;
    case PAGE_LOST:
        r->n_lost++;
        return 0;
    case PAGE_THAWING:
    case PAGE_COOLING:
    case PAGE_FREEZING:
    case PAGE_MOVING:
        r->n_in_transit++;
        return 0;
    default:
        break;
    }
    r->n_damaged += there == NULL;
    return there != NULL;
}

static bool wants_room(const struct page *entry)
{
    return page_state(entry) == PAGE_FROZEN || page_state(entry) == PAGE_SAME || page_state(entry) == PAGE_COOLED;
}

/* 0: nowhere, for all that is known. */
static uint64_t address_of(const struct restoration *r, uint64_t number)
{
    uint64_t in_far = number - r->state.far_first;
    const void *there = NULL;
    uint32_t place = 0;

    if (number < r->state.near_pages)
        return r->state.base + number * PAGE_BYTES;
    if (number >= r->state.far_first && r->state.places != 0)
        there = dump_at(&r->dump, r->state.places + in_far / SPACE_CHUNK_PAGES * sizeof place, sizeof place);
    if (there != NULL)
        memcpy(&place, there, sizeof place);
    if (place == 0 || (place & SPACE_FREE) != 0)
        return 0;
    return place * (uint64_t)SPACE_CHUNK_BYTES + in_far % SPACE_CHUNK_PAGES * PAGE_BYTES;
}

static int visit_page(struct restoration *r, const struct page *entry, uint64_t number)
{
    uint64_t address = address_of(r, number);
    _Alignas(64) unsigned char page[PAGE_BYTES];

    if (address == 0) {
        r->n_damaged += r->copy >= 0 && wants_room(entry);
        return 0;
    }
    if (r->copy < 0) {
        if (wants_room(entry))
            (void)dump_make_room(&r->dump, address);
        return 0;
    }
    if (contents_of(r, entry, page) == 0)
        return 0;
    if (!dump_make_room(&r->dump, address)) {
        r->n_damaged++;
        return 0;
    }
    r->n_restored++;
    return dump_put(&r->dump, r->copy, address, page);
}

/* Twice: to make room, and to fill it. Groups of which there is nothing in the file were never used. */
static int visit_pages(struct restoration *r)
{
    struct page group[PAGETABLE_GROUP_PAGES];

    for (uint64_t first = 0; first < r->state.n_pages; first += PAGETABLE_GROUP_PAGES) {
        const void *there = dump_at(&r->dump, r->state.entries + first * sizeof group[0], sizeof group);

        if (there == NULL)
            continue;
        memcpy(group, there, sizeof group);
        for (size_t i = 0; i < PAGETABLE_GROUP_PAGES && first + i < r->state.n_pages; i++) {
            int error = group[i].state == PAGE_EMPTY ? 0 : visit_page(r, &group[i], first + i);

            if (error != 0)
                return error;
        }
    }
    return 0;
}

/* ---- the command ---- */

static void restore(struct restoration *r, const char *output)
{
    int error;

    r->copy = -1;
    (void)visit_pages(r);
    r->copy = dump_copy(&r->dump, output);
    if (r->copy < 0)
        give_up("%s: cannot be written: %s", output, strerror(-r->copy));
    error = visit_pages(r);
    if (close(r->copy) != 0 && error == 0)
        error = -errno;
    if (error == 0)
        return;
    (void)unlink(output);
    give_up("%s: cannot be written: %s", output, strerror(-error));
}

static int tell(const struct restoration *r, const char *output)
{
    size_t n_missing = r->n_swapped + r->n_lost + r->n_in_transit + r->n_damaged;

    printf("%s: %zu pages restored\n", output, r->n_restored);
    if (n_missing > 0)
        fprintf(stderr, "ghostmem-core: %zu pages could not be restored and are as in the core file: %zu in a swap file, "
                "%zu lost before, %zu in transit, %zu damaged\n", n_missing, r->n_swapped, r->n_lost, r->n_in_transit,
                r->n_damaged);
    if (r->dump.by_gdb && !r->state.by_protection)
        fputs("ghostmem-core: gdb wrote this core file, and gave up each mapping at the first page that it could not read: pages "
              "that were not compressed may be zeros\n", stderr);
    return n_missing > 0 || (r->dump.by_gdb && !r->state.by_protection) ? EXIT_PART : 0;
}

int main(int argc, char **argv)
{
    static struct restoration r;
    const char *output;
    char *with_suffix;
    const char *why;
    int status;

    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        puts("ghostmem-core " GHOSTMEM_VERSION);
        return 0;
    }
    if (argc < 2 || argc > 3 || argv[1][0] == '-') {
        fputs(usage, stderr);
        return EXIT_NONE;
    }
    with_suffix = malloc(strlen(argv[1]) + sizeof SUFFIX);
    if (with_suffix == NULL)
        give_up("no memory");
    strcat(strcpy(with_suffix, argv[1]), SUFFIX);
    output = argc == 3 ? argv[2] : with_suffix;
    if (dump_open(&r.dump, argv[1], &why) != 0)
        give_up("%s: %s", argv[1], why);
    find_state(&r, argv[1]);
    find_dictionaries(&r);
    restore(&r, output);
    status = tell(&r, output);
    dump_close(&r.dump);
    free(with_suffix);
    return status;
}
