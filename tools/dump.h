/*
 * dump.h - the core file of a process: its memory by address, and a copy of it in which pages are put in place.
 *
 * A copy is sparse. Where the kernel has left out the end of a segment (p_filesz below p_memsz) and a page belongs there,
 * the segment moves to the end of the copy, and its header says so.
 *
 * Calls: libc.  Locks: none.  Memory: malloc's, and the file itself, mapped.
 * Source: elf(5); Linux, fs/binfmt_elf.c, elf_core_dump().
 */
#ifndef GHOSTMEM_TOOLS_DUMP_H
#define GHOSTMEM_TOOLS_DUMP_H

#include "core/base.h"

#include <elf.h>

struct dump_segment {
    Elf64_Phdr header; /* as it will be in the copy */
    uint64_t offset;   /* of its contents in the file that is read */
    uint64_t bytes;    /* of them */
    size_t number;     /* of the header in the file */
};

struct dump {
    int fd;
    const unsigned char *data;
    size_t bytes;
    struct dump_segment *segments; /* that are loaded, in the order of their addresses */
    size_t n_segments;
    uint64_t headers; /* their offset */
    bool by_gdb;
};

/* 0; -1: *@why says what is wrong with it. */
int dump_open(struct dump *dump, const char *path, const char **why);
void dump_close(struct dump *dump);

/* Memory of the process, as it lies in the file; NULL where it is not there whole. */
const void *dump_at(const struct dump *dump, uint64_t address, size_t bytes);

/* Where is the next word at an address that is a multiple of 8 and equal to @word? From *@address on; false: none. */
bool dump_find(const struct dump *dump, uint64_t word, uint64_t *address);

/* Before dump_copy(): the page at @address will be put in place. False: there is no segment for it. */
bool dump_make_room(struct dump *dump, uint64_t address);

/* The file, with room where it was asked for. The descriptor of the copy; -errno: what is there of it is of no use. */
int dump_copy(struct dump *dump, const char *path);

/* 0 or -errno. */
int dump_put(const struct dump *dump, int copy, uint64_t address, const void *page);

#endif
