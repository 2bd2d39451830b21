/* model.c - what memory must look like. See memcalls.h. */
#include "tests/fuzz/memcalls.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

bool hidden_protections;

/* ---- touches, with whatever comes ---- */

static __thread sigjmp_buf *volatile guarded;

static void on_signal(int number, siginfo_t *info, void *context)
{
    static const char text[] = "memcalls: a signal that nobody expects\n";

    (void)info;
    (void)context;
    if (guarded != NULL)
        siglongjmp(*guarded, number);
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0)
        _exit(4);
    _exit(5);
}

void take_signals(void)
{
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_NODEFER};

    if (sigaction(SIGSEGV, &action, NULL) != 0 || sigaction(SIGBUS, &action, NULL) != 0)
        _exit(4);
}

int copy_guarded(void *to, const void *from, size_t bytes)
{
    sigjmp_buf back;
    int number = sigsetjmp(back, 0);

    if (number == 0) {
        guarded = &back;
        memcpy(to, from, bytes);
    }
    guarded = NULL;
    return number;
}

int touch_guarded(volatile void *at, bool write)
{
    volatile unsigned char *byte = at;
    sigjmp_buf back;
    int number = sigsetjmp(back, 0);

    if (number == 0) {
        guarded = &back;
        if (write)
            *byte = *byte;
        else
            (void)*byte;
    }
    guarded = NULL;
    return number;
}

int expected_signal(const struct fuzz *fuzz, const struct page *page, bool write)
{
    int needed = write ? PROT_WRITE : PROT_READ | PROT_WRITE | PROT_EXEC;

    if (page->kind == HOLE || (page->protection & needed) == 0)
        return SIGSEGV;
    if (page->kind == PRIVATE_FILE && page->offset >= FILE_PAGES)
        return SIGBUS;
    if (page->kind == SHARED && (size_t)page->offset >= fuzz->world->objects[page->object].n_pages)
        return SIGBUS;
    return 0;
}

/* ---- pages ---- */

uintptr_t address(const struct fuzz *fuzz, enum zone zone, size_t page)
{
    return fuzz->world->base[zone] + page * PAGE;
}

bool zone_of(const struct fuzz *fuzz, uintptr_t addr, enum zone *zone, size_t *page)
{
    for (enum zone i = 0; i < N_ZONES; i++)
        if (fuzz->world->base[i] != 0 && addr >= fuzz->world->base[i] && addr < fuzz->world->base[i] + ZONE_PAGES * PAGE) {
            *zone = i;
            *page = (addr - fuzz->world->base[i]) / PAGE;
            return true;
        }
    return false;
}

struct page *page_of(struct fuzz *fuzz, uintptr_t addr)
{
    enum zone zone;
    size_t page;

    return zone_of(fuzz, addr, &zone, &page) ? &fuzz->world->pages[zone][page] : NULL;
}

unsigned char *bytes_of(struct fuzz *fuzz, enum zone zone, size_t page)
{
    const struct page *p = &fuzz->world->pages[zone][page];

    return p->kind == SHARED ? fuzz->world->shared[p->object][p->offset] : fuzz->world->bytes[zone][page];
}

void fill_from_file(unsigned char *to, int32_t offset)
{
    memset(to, 0, PAGE);
    for (size_t i = 0; i < PAGE / 8 && (size_t)offset * PAGE + i * 8 < FILE_BYTES; i++) {
        uint64_t word = ((uint64_t)(uint32_t)offset << 32 | (i / 8)) * 0x9e3779b97f4a7c15;

        memcpy(to + i * 8, &word, 8);
    }
}

void make_hole(struct fuzz *fuzz, enum zone zone, size_t page)
{
    fuzz->world->pages[zone][page] = (struct page){.kind = HOLE};
}

void make_fresh(struct fuzz *fuzz, enum zone zone, size_t page)
{
    struct page *p = &fuzz->world->pages[zone][page];

    if (p->kind == PRIVATE_FILE && p->offset < FILE_PAGES)
        fill_from_file(fuzz->world->bytes[zone][page], p->offset);
    else if (p->kind == ANONYMOUS)
        memset(fuzz->world->bytes[zone][page], 0, PAGE);
    p->unknown = false;
}

void make_page(struct fuzz *fuzz, enum zone zone, size_t page, struct page value)
{
    fuzz->world->pages[zone][page] = value;
    make_fresh(fuzz, zone, page);
}

static bool is_used(const struct fuzz *fuzz, int object)
{
    for (enum zone zone = 0; zone < N_ZONES; zone++)
        for (size_t i = 0; i < ZONE_PAGES; i++)
            if (fuzz->world->pages[zone][i].kind == SHARED && fuzz->world->pages[zone][i].object == object)
                return true;
    return false;
}

int new_object(struct fuzz *fuzz, size_t n_pages)
{
    if (n_pages > OBJECT_PAGES)
        return -1;
    for (int i = 1; i < N_OBJECTS; i++)
        if (!fuzz->world->objects[i].lent && !is_used(fuzz, i)) {
            fuzz->world->objects[i] = (struct object){.used = true, .n_pages = n_pages};
            memset(fuzz->world->shared[i], 0, n_pages * PAGE);
            return i;
        }
    return -1;
}

/* ---- bytes ---- */

static uint64_t hash(uint64_t h, const unsigned char *bytes)
{
    for (size_t i = 0; i < PAGE; i += 8) {
        uint64_t word;

        memcpy(&word, bytes + i, 8);
        h = (h ^ word) * 0x100000001b3;
        h ^= h >> 29;
    }
    return h;
}

static void check_page(struct fuzz *fuzz, enum zone zone, size_t page, uint64_t *h)
{
    struct page *p = &fuzz->world->pages[zone][page];
    unsigned char there[4096];
    const unsigned char *wanted;
    int number = copy_guarded(there, (const void *)address(fuzz, zone, page), PAGE);
    int expected = expected_signal(fuzz, p, false);

    if (number != expected)
        fail(fuzz, "read of %s: signal %d, not %d", place(fuzz, address(fuzz, zone, page)), number, expected);
    if (number != 0)
        return;
    if (p->unknown) {
        memcpy(bytes_of(fuzz, zone, page), there, PAGE);
        p->unknown = false;
    }
    wanted = bytes_of(fuzz, zone, page);
    for (size_t i = 0; i < PAGE && memcmp(there, wanted, PAGE) != 0; i++)
        if (there[i] != wanted[i])
            fail(fuzz, "%s, byte %zu: 0x%02x, not 0x%02x; first words %016lx, not %016lx", place(fuzz, address(fuzz, zone, page)), i,
                 there[i], wanted[i], *(const unsigned long *)(const void *)there, *(const unsigned long *)(const void *)wanted);
    *h = hash(*h, there);
}

uint64_t check_span(struct fuzz *fuzz, struct span span)
{
    uint64_t h = 0;

    for (size_t i = 0; i < span.n && span.first + i < ZONE_PAGES; i++)
        check_page(fuzz, span.zone, span.first + i, &h);
    return h;
}

void check_all(struct fuzz *fuzz)
{
    uint64_t h = 0;

    for (enum zone zone = 0; zone < N_ZONES; zone++)
        for (size_t i = 0; i < ZONE_PAGES; i++)
            if (fuzz->world->pages[zone][i].kind != HOLE)
                check_page(fuzz, zone, i, &h);
    say(fuzz, "  all %016lx\n", (unsigned long)h);
}

/* ---- /proc/self/maps ---- */

#define MAPS_BYTES 65536

struct mapped {
    uint8_t protection;
    bool mapped;
    bool shared;
};

static void note(const struct fuzz *fuzz, struct mapped (*mapped)[ZONE_PAGES], const char *line)
{
    char *at;
    uintptr_t start = strtoul(line, &at, 16);
    uintptr_t end = strtoul(at + 1, &at, 16);

    for (enum zone zone = 0; zone < N_ZONES; zone++) {
        uintptr_t base = fuzz->world->base[zone];

        for (size_t i = 0; base != 0 && i < ZONE_PAGES && start < base + ZONE_PAGES * PAGE && end > base; i++)
            if (base + i * PAGE >= start && base + i * PAGE < end)
                mapped[zone][i] = (struct mapped){.protection = (uint8_t)((at[1] == 'r' ? PROT_READ : 0) | (at[2] == 'w' ? PROT_WRITE : 0) |
                                                                          (at[3] == 'x' ? PROT_EXEC : 0)),
                                                  .mapped = true,
                                                  .shared = at[4] == 's'};
    }
}

static void read_maps(struct fuzz *fuzz, struct mapped (*mapped)[ZONE_PAGES])
{
    static __thread char text[MAPS_BYTES + 1];
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    size_t n = 0;
    ssize_t got;

    if (fd < 0)
        fail(fuzz, "cannot open /proc/self/maps: errno %d", errno);
    while ((got = read(fd, text + n, MAPS_BYTES - n)) > 0) {
        char *line = text;
        char *end;

        n += (size_t)got;
        text[n] = '\0';
        for (; (end = strchr(line, '\n')) != NULL; line = end + 1)
            note(fuzz, mapped, line);
        n -= (size_t)(line - text);
        memmove(text, line, n);
    }
    close(fd);
}

static void adopt_page(struct fuzz *fuzz, enum zone zone, size_t page, struct mapped there)
{
    struct page *p = &fuzz->world->pages[zone][page];

    if (!there.mapped) {
        make_hole(fuzz, zone, page);
        return;
    }
    if (p->kind == HOLE || there.shared != (p->kind == SHARED))
        fail(fuzz, "%s is mapped, and nobody did it", place(fuzz, address(fuzz, zone, page)));
    if (!hidden_protections && p->protection != there.protection) {
        p->protection = there.protection;
        p->made = fuzz->step * 31 + there.protection;
    }
}

void check_maps(struct fuzz *fuzz, bool adopt)
{
    static __thread struct mapped mapped[N_ZONES][ZONE_PAGES];
    uint64_t h = 0;

    memset(mapped, 0, sizeof mapped);
    read_maps(fuzz, mapped);
    for (enum zone zone = 0; zone < N_ZONES; zone++)
        for (size_t i = 0; i < ZONE_PAGES; i++) {
            struct mapped there = mapped[zone][i];
            const struct page *p = &fuzz->world->pages[zone][i];

            if (hidden_protections)
                there.protection = p->protection;
            if (adopt)
                adopt_page(fuzz, zone, i, there);
            if (there.mapped != (p->kind != HOLE) || there.shared != (p->kind == SHARED) || (there.mapped &&
                there.protection != p->protection))
                fail(fuzz, "maps at %s: %smapped, protection %d, %s; expected kind %d, protection %d", place(fuzz, address(fuzz, zone, i)),
                     there.mapped ? "" : "not ", there.protection, there.shared ? "shared" : "private", p->kind, p->protection);
            h = h * 0x100000001b3 + (there.mapped ? 1u + there.protection * 4u + (there.shared ? 2u : 0) : 0);
        }
    say(fuzz, "  maps %016lx\n", (unsigned long)h);
}
