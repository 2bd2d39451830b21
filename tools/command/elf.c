/* elf.c - see elf.h. */
#include "tools/command/elf.h"

#include <elf.h>
#include <link.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Larger tables are not those of a program. */
#define PART_MAX_BYTES ((size_t)256 << 20)

/* Of this command itself: what <link.h> has the types for. */
#define OWN_CLASS (sizeof(ElfW(Addr)) == 8 ? ELFCLASS64 : ELFCLASS32)
#define OWN_DATA (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB)

static bool read_at(int fd, void *buffer, size_t bytes, uint64_t offset)
{
    size_t n = 0;

    if (offset > INT64_MAX - bytes)
        return false;
    while (n < bytes) {
        ssize_t got = pread(fd, (char *)buffer + n, bytes - n, (off_t)(offset + n));

        if (got <= 0)
            return false;
        n += (size_t)got;
    }
    return true;
}

/* A part of the file, with a zero behind it. NULL: not there, or too much. */
static void *part(int fd, uint64_t offset, uint64_t bytes)
{
    char *buffer;

    if (bytes == 0 || bytes > PART_MAX_BYTES)
        return NULL;
    buffer = malloc(bytes + 1);
    if (buffer == NULL)
        return NULL;
    if (!read_at(fd, buffer, bytes, offset)) {
        free(buffer);
        return NULL;
    }
    buffer[bytes] = '\0';
    return buffer;
}

static void read_interpreter(int fd, const ElfW(Ehdr) *header, struct elf *elf)
{
    ElfW(Phdr) *segments = NULL;

    if (header->e_phentsize == sizeof *segments)
        segments = part(fd, header->e_phoff, (uint64_t)header->e_phnum * sizeof *segments);
    for (unsigned i = 0; segments != NULL && i < header->e_phnum; i++)
        if (segments[i].p_type == PT_INTERP && segments[i].p_filesz <= sizeof elf->interpreter &&
            segments[i].p_filesz > 0 && read_at(fd, elf->interpreter, segments[i].p_filesz, segments[i].p_offset))
            elf->interpreter[segments[i].p_filesz - 1] = '\0';
    free(segments);
}

static const char *string_at(const char *strings, uint64_t bytes, uint64_t offset)
{
    return offset < bytes ? strings + offset : "";
}

/* Does the table of dynamic symbols define malloc()? Then the loader finds that one first. */
static bool defines_malloc(int fd, const ElfW(Shdr) *table, const ElfW(Shdr) *names)
{
    ElfW(Sym) *symbols = part(fd, table->sh_offset, table->sh_size);
    char *strings = part(fd, names->sh_offset, names->sh_size);
    bool found = false;

    for (size_t i = 0; symbols != NULL && strings != NULL && !found && i < table->sh_size / sizeof *symbols; i++)
        found = symbols[i].st_shndx != SHN_UNDEF && strcmp(string_at(strings, names->sh_size, symbols[i].st_name), "malloc") == 0;
    free(strings);
    free(symbols);
    return found;
}

static bool needs_library(int fd, const ElfW(Shdr) *table, const ElfW(Shdr) *names, const char *library)
{
    ElfW(Dyn) *entries = part(fd, table->sh_offset, table->sh_size);
    char *strings = part(fd, names->sh_offset, names->sh_size);
    bool found = false;

    for (size_t i = 0; entries != NULL && strings != NULL && !found && i < table->sh_size / sizeof *entries; i++)
        found = entries[i].d_tag == DT_NEEDED && strcmp(string_at(strings, names->sh_size, entries[i].d_un.d_val), library) == 0;
    free(strings);
    free(entries);
    return found;
}

static void read_sections(int fd, const ElfW(Ehdr) *header, struct elf *elf)
{
    ElfW(Shdr) *sections = NULL;
    char *names = NULL;

    if (header->e_shentsize == sizeof *sections)
        sections = part(fd, header->e_shoff, (uint64_t)header->e_shnum * sizeof *sections);
    if (sections == NULL)
        return;
    if (header->e_shstrndx < header->e_shnum)
        names = part(fd, sections[header->e_shstrndx].sh_offset, sections[header->e_shstrndx].sh_size);
    for (unsigned i = 0; i < header->e_shnum; i++) {
        const ElfW(Shdr) *section = &sections[i];
        const ElfW(Shdr) *linked = section->sh_link < header->e_shnum ? &sections[section->sh_link] : NULL;

        if (names != NULL && strcmp(string_at(names, sections[header->e_shstrndx].sh_size, section->sh_name), ".go.buildinfo") == 0)
            elf->is_go = true;
        if (section->sh_type == SHT_DYNSYM && linked != NULL)
            elf->has_malloc = defines_malloc(fd, section, linked);
        if (section->sh_type == SHT_DYNAMIC && linked != NULL)
            elf->is_java = needs_library(fd, section, linked, "libjli.so");
    }
    free(names);
    free(sections);
}

int elf_read(int fd, struct elf *elf)
{
    ElfW(Ehdr) header;

    memset(elf, 0, sizeof *elf);
    if (!read_at(fd, &header, EI_NIDENT + 2 * sizeof header.e_type, 0) || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
        return -1;
    elf->class = header.e_ident[EI_CLASS];
    elf->data = header.e_ident[EI_DATA];
    elf->machine = header.e_machine; /* at the same place in every class */
    if (elf->data != OWN_DATA)
        elf->machine = (elf->machine & 0xff) << 8 | elf->machine >> 8;
    if (elf->class != OWN_CLASS || elf->data != OWN_DATA || !read_at(fd, &header, sizeof header, 0))
        return 0;
    elf->is_read = header.e_type == ET_EXEC || header.e_type == ET_DYN;
    read_interpreter(fd, &header, elf);
    read_sections(fd, &header, elf);
    return 0;
}

const char *elf_machine_name(unsigned machine)
{
    static const struct {
        unsigned machine;
        const char *name;
    } known[] = {
        {EM_386, "x86"},       {EM_X86_64, "x86-64"}, {EM_ARM, "ARM"},     {EM_AARCH64, "AArch64"}, {EM_RISCV, "RISC-V"},
        {EM_PPC64, "PowerPC"}, {EM_S390, "S/390"},    {EM_MIPS, "MIPS"},   {EM_SPARCV9, "SPARC"},   {EM_LOONGARCH, "LoongArch"},
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].machine == machine)
            return known[i].name;
    return NULL;
}
