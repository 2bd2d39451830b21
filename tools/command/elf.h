/*
 * elf.h - what an ELF file says about the program in it.
 *
 * A file is taken as it comes: damaged, cut off, or changing while it is read. What makes no sense is not there.
 * Calls: libc.  Locks: none.  Memory: malloc, given back.
 * Source: elf(5).
 */
#ifndef GHOSTMEM_TOOLS_ELF_H
#define GHOSTMEM_TOOLS_ELF_H

#include <limits.h>
#include <stdbool.h>

struct elf {
    unsigned char class; /* ELFCLASS64 ... */
    unsigned char data;  /* ELFDATA2LSB ... */
    unsigned machine;    /* EM_X86_64 ... */

    /* Only of files of this machine's class and byte order. */
    bool is_read;
    char interpreter[PATH_MAX]; /* the loader; "": none, a static binary, or a loader itself */
    bool is_go;         /* made by Go's compiler */
    bool is_java;       /* linked to Java's launcher */
    bool has_malloc;    /* it brings its own, and shows it */
};

/* 0; -1: it is not an ELF file. @fd: open for reading. */
int elf_read(int fd, struct elf *elf);

/* "x86-64"; NULL for what nobody has heard of. */
const char *elf_machine_name(unsigned machine);

#endif
