/* dump.c - see dump.h. */
#include "tools/dump.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- reading ---- */

static const char *check_header(const struct dump *dump, const Elf64_Ehdr *header)
{
    if (dump->bytes < EI_NIDENT || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0)
        return "not a core file";
    if (header->e_ident[EI_CLASS] != ELFCLASS64)
        return "of a 32-bit program: GhostMem has none of these";
    if (header->e_ident[EI_DATA] != ELFDATA2LSB)
        return "of a machine with another order of bytes";
    if (dump->bytes < sizeof *header)
        return "truncated";
    if (header->e_type != ET_CORE)
        return "not a core file";
    if (header->e_phentsize != sizeof(Elf64_Phdr))
        return "not a core file: its program headers have another size";
    return NULL;
}

/* With too many for the header, section 0 has their number. */
static const char *count_headers(const struct dump *dump, const Elf64_Ehdr *header, size_t *n)
{
    const Elf64_Shdr *section = (const void *)(dump->data + header->e_shoff);

    *n = header->e_phnum;
    if (*n != PN_XNUM)
        return NULL;
    if (header->e_shoff == 0 || header->e_shoff % sizeof(uint64_t) != 0 || header->e_shoff > dump->bytes ||
        dump->bytes - header->e_shoff < sizeof *section)
        return "truncated";
    *n = section->sh_info;
    return NULL;
}

static int by_address(const void *a, const void *b)
{
    const struct dump_segment *left = a;
    const struct dump_segment *right = b;

    return left->header.p_vaddr < right->header.p_vaddr ? -1 : left->header.p_vaddr > right->header.p_vaddr;
}

static const char *read_segments(struct dump *dump, const Elf64_Ehdr *header)
{
    size_t n;
    const char *why = count_headers(dump, header, &n);

    if (why != NULL)
        return why;
    dump->headers = header->e_phoff;
    if (header->e_phoff > dump->bytes || (dump->bytes - header->e_phoff) / sizeof(Elf64_Phdr) < n)
        return "truncated";
    dump->segments = calloc(n + 1, sizeof *dump->segments);
    if (dump->segments == NULL)
        return "too many segments for the memory that is there";
    for (size_t i = 0; i < n; i++) {
        struct dump_segment *segment = &dump->segments[dump->n_segments];

        memcpy(&segment->header, dump->data + header->e_phoff + i * sizeof segment->header, sizeof segment->header);
        segment->offset = segment->header.p_offset;
        segment->bytes = segment->header.p_filesz;
        segment->number = i;
        if (segment->bytes > dump->bytes || segment->offset > dump->bytes - segment->bytes)
            return "truncated (was it cut by the limit for core files, ulimit -c?)";
        if (segment->bytes > segment->header.p_memsz || segment->header.p_vaddr + segment->header.p_memsz < segment->header.p_vaddr)
            segment->header.p_type = PT_NULL;
        dump->n_segments += segment->header.p_type == PT_LOAD;
    }
    qsort(dump->segments, dump->n_segments, sizeof *dump->segments, by_address);
    return NULL;
}

int dump_open(struct dump *dump, const char *path, const char **why)
{
    struct stat status;
    void *data;

    *dump = (struct dump){.fd = open(path, O_RDONLY | O_CLOEXEC)};
    *why = NULL;
    if (dump->fd < 0 || fstat(dump->fd, &status) != 0)
        *why = strerror(errno);
    else if (!S_ISREG(status.st_mode))
        *why = "not a file";
    else if (status.st_size == 0)
        *why = "not a core file";
    if (*why != NULL)
        return -1;
    data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, dump->fd, 0);
    if (data == MAP_FAILED) {
        *why = strerror(errno);
        return -1;
    }
    dump->data = data;
    dump->bytes = (size_t)status.st_size;
    *why = check_header(dump, (const void *)dump->data);
    if (*why == NULL)
        *why = read_segments(dump, (const void *)dump->data);
    /* The kernel writes no sections, or one for a number that does not fit. */
    if (*why == NULL)
        dump->by_gdb = ((const Elf64_Ehdr *)(const void *)dump->data)->e_shnum > 1;
    return *why == NULL ? 0 : -1;
}

void dump_close(struct dump *dump)
{
    if (dump->data != NULL)
        (void)munmap((void *)(uintptr_t)dump->data, dump->bytes);
    if (dump->fd >= 0)
        (void)close(dump->fd);
    free(dump->segments);
    *dump = (struct dump){.fd = -1};
}

/* The one with the address in its memory, or NULL. */
static struct dump_segment *segment_of(const struct dump *dump, uint64_t address)
{
    size_t low = 0;
    size_t high = dump->n_segments;

    while (low < high) {
        size_t middle = (low + high) / 2;
        struct dump_segment *segment = &dump->segments[middle];

        if (address < segment->header.p_vaddr)
            high = middle;
        else if (address - segment->header.p_vaddr >= segment->header.p_memsz)
            low = middle + 1;
        else
            return segment;
    }
    return NULL;
}

const void *dump_at(const struct dump *dump, uint64_t address, size_t bytes)
{
    const struct dump_segment *segment = segment_of(dump, address);
    uint64_t at;

    if (segment == NULL)
        return NULL;
    at = address - segment->header.p_vaddr;
    if (at > segment->bytes || segment->bytes - at < bytes)
        return NULL;
    return dump->data + segment->offset + at;
}

/* Holes, most of what a ghost range is in a core file, are skipped. */
static bool find_in(const struct dump *dump, const struct dump_segment *segment, uint64_t word, uint64_t *address)
{
    const uint64_t end = segment->offset + segment->bytes;
    uint64_t at = segment->offset + (*address - segment->header.p_vaddr);
    uint64_t there;

    while (at < end) {
        off_t data = lseek(dump->fd, (off_t)at, SEEK_DATA);
        off_t hole = data < 0 ? data : lseek(dump->fd, data, SEEK_HOLE);

        if (data < 0 && errno == ENXIO)
            return false;
        if (data >= 0 && hole >= 0) {
            at += round_up((uint64_t)data - at, sizeof word);
        } else {
            hole = (off_t)end; /* this file system does not tell */
        }
        for (; at + sizeof word <= end && at < (uint64_t)hole; at += sizeof word) {
            memcpy(&there, dump->data + at, sizeof there);
            if (there == word) {
                *address = segment->header.p_vaddr + (at - segment->offset);
                return true;
            }
        }
        if (at + sizeof word > end)
            return false;
    }
    return false;
}

bool dump_find(const struct dump *dump, uint64_t word, uint64_t *address)
{
    for (size_t i = 0; i < dump->n_segments; i++) {
        const struct dump_segment *segment = &dump->segments[i];
        uint64_t from = segment->header.p_vaddr;

        if (*address > from)
            from = *address;
        if (from - segment->header.p_vaddr >= segment->bytes)
            continue;
        if (find_in(dump, segment, word, &from)) {
            *address = from;
            return true;
        }
    }
    return false;
}

/* ---- the copy ---- */

bool dump_make_room(struct dump *dump, uint64_t address)
{
    struct dump_segment *segment = segment_of(dump, address);
    uint64_t end;

    if (segment == NULL)
        return false;
    end = address + PAGE_BYTES - segment->header.p_vaddr;
    if (end > segment->header.p_memsz)
        return false;
    if (end > segment->header.p_filesz)
        segment->header.p_filesz = end;
    return true;
}

static int write_all(int fd, const void *data, size_t bytes, uint64_t offset)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t n = pwrite(fd, (const char *)data + done, bytes - done, (off_t)(offset + done));

        if (n < 0 && errno != EINTR)
            return -errno;
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static bool is_zero(const unsigned char *data, size_t bytes)
{
    return data[0] == 0 && memcmp(data, data + 1, bytes - 1) == 0;
}

/* Bytes of the file to the same or another place of the copy; zeros become holes. */
static int copy_bytes(const struct dump *dump, int copy, uint64_t from, uint64_t bytes, uint64_t to)
{
    const uint64_t end = from + bytes;
    int error = 0;

    for (uint64_t at = from; at < end && error == 0;) {
        off_t data = lseek(dump->fd, (off_t)at, SEEK_DATA);
        size_t n;

        if (data < 0 && errno == ENXIO)
            break;
        if (data > (off_t)at)
            at = (uint64_t)data;
        if (at >= end)
            break;
        n = min_size(end - at, PAGE_BYTES - at % PAGE_BYTES);
        if (!is_zero(dump->data + at, n))
            error = write_all(copy, dump->data + at, n, to + (at - from));
        at += n;
    }
    return error;
}

static int move_segments(struct dump *dump, int copy, uint64_t *end)
{
    int error = 0;

    for (size_t i = 0; i < dump->n_segments && error == 0; i++) {
        struct dump_segment *segment = &dump->segments[i];

        if (segment->header.p_filesz == segment->bytes)
            continue;
        segment->header.p_offset = *end;
        *end += round_up(segment->header.p_filesz, PAGE_BYTES);
        error = copy_bytes(dump, copy, segment->offset, segment->bytes, segment->header.p_offset);
        if (error == 0)
            error = write_all(copy, &segment->header, sizeof segment->header,
                              dump->headers + segment->number * sizeof segment->header);
    }
    return error;
}

int dump_copy(struct dump *dump, const char *path)
{
    uint64_t end = round_up(dump->bytes, PAGE_BYTES);
    int copy = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int error;

    if (copy < 0)
        return -errno;
    error = copy_bytes(dump, copy, 0, dump->bytes, 0);
    if (error == 0)
        error = move_segments(dump, copy, &end);
    if (error == 0 && ftruncate(copy, (off_t)(end > round_up(dump->bytes, PAGE_BYTES) ? end : dump->bytes)) != 0)
        error = -errno;
    if (error == 0)
        return copy;
    (void)close(copy);
    (void)unlink(path);
    return error;
}

int dump_put(const struct dump *dump, int copy, uint64_t address, const void *page)
{
    const struct dump_segment *segment = segment_of(dump, address);
    uint64_t at = address - segment->header.p_vaddr;
    const void *before = dump_at(dump, address, PAGE_BYTES);

    if (is_zero(page, PAGE_BYTES) && (before == NULL || is_zero(before, PAGE_BYTES)))
        return 0;
    return write_all(copy, page, PAGE_BYTES, segment->header.p_offset + at);
}
