/*
 * deepbind.c - plug-ins that reach libc's free() past us: dlopen(3) with RTLD_DEEPBIND.
 *
 * Such an object's own dependencies come before the program's: it calls libc's malloc family and not ours, and crashes when it frees or
 * resizes a large block of its host's. So once it is loaded, its references to libc's family are turned to ours, where they would
 * lead to libc's; an allocator that it brings along stays. Nothing else of its binding changes.
 *
 * dlopen() searches by what its caller is (RUNPATH, $ORIGIN). Where the path has a slash and no $ the caller does not matter, and the
 * call is made from here. Otherwise it is passed on as if we were not there, and references are turned at the next call of malloc.
 *
 * Calls: libc, ghost, log, libdl.  Locks: the loader's.  Memory: none.
 * Source: elf(5); the x86-64 psABI, "Relocation Types"; dl_iterate_phdr(3).
 */
#include "interpose/deepbind.h"

#include "interpose/ghost.h"
#include "interpose/libc.h"

#include "core/log.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

_Atomic bool deepbind_pending;

#if defined(__x86_64__)

typedef void *open_function(const char *file, int mode);

/* The family: ours, and the next object's. */
struct member {
    const char *name;
    void *ours;
    size_t next; /* offset in struct libc */
};

#define MEMBER(function) {#function, NULL, offsetof(struct libc, function)}

static struct member family[] = {
    MEMBER(malloc),         MEMBER(free),     MEMBER(calloc), MEMBER(realloc), MEMBER(aligned_alloc),
    MEMBER(posix_memalign), MEMBER(memalign), MEMBER(valloc), MEMBER(pvalloc), MEMBER(malloc_usable_size),
};
#define N_FAMILY (sizeof family / sizeof family[0])

static void *next_of(const struct member *member)
{
    void *function;

    memcpy(&function, (const char *)libc_next() + member->next, sizeof function);
    return function;
}

static const struct member *member_of(const char *name)
{
    for (size_t i = 0; i < N_FAMILY; i++)
        if (strcmp(family[i].name, name) == 0)
            return &family[i];
    return NULL;
}

/* An object's tables of references. */
struct object {
    uintptr_t base;
    const char *name;
    const Elf64_Sym *symbols;
    const char *strings;
    const Elf64_Rela *lists[2];
    size_t n[2];
    uintptr_t start; /* of all that is mapped of it */
    uintptr_t end;
};

static uintptr_t absolute(const struct object *object, Elf64_Addr addr)
{
    return addr < object->base ? object->base + addr : addr;
}

static void read_dynamic(struct object *object, const Elf64_Dyn *entry)
{
    for (; entry->d_tag != DT_NULL; entry++) {
        const void *there = (const void *)absolute(object, entry->d_un.d_ptr);

        switch (entry->d_tag) {
        case DT_SYMTAB:
            object->symbols = there;
            break;
        case DT_STRTAB:
            object->strings = there;
            break;
        case DT_JMPREL:
            object->lists[0] = there;
            break;
        case DT_PLTRELSZ:
            object->n[0] = entry->d_un.d_val / sizeof(Elf64_Rela);
            break;
        case DT_RELA:
            object->lists[1] = there;
            break;
        case DT_RELASZ:
            object->n[1] = entry->d_un.d_val / sizeof(Elf64_Rela);
            break;
        default:
            break;
        }
    }
}

/* The page may be closed to writing by now. What it was is not known, and open does no harm to the program. */
static void turn(void **slot, void *function)
{
    uintptr_t page = (uintptr_t)slot & ~(PAGE_BYTES - 1);

    if (libc_next()->mprotect((void *)page, PAGE_BYTES, PROT_READ | PROT_WRITE) == 0)
        __atomic_store_n(slot, function, __ATOMIC_RELEASE);
}

static bool is_reference(const Elf64_Rela *reference)
{
    uint64_t type = ELF64_R_TYPE(reference->r_info);

    return type == R_X86_64_JUMP_SLOT || type == R_X86_64_GLOB_DAT || (type == R_X86_64_64 && reference->r_addend == 0);
}

/*
 * Those that lead to libc's are turned. Of those that are not bound yet: with @handle, which is the object's, those that would lead
 * there by its own scope, which is first in it. Returns how many are not bound.
 */
static size_t turn_list(const struct object *object, const Elf64_Rela *list, size_t n, void *handle)
{
    size_t n_unbound = 0;

    for (size_t i = 0; i < n; i++) {
        const Elf64_Sym *symbol = &object->symbols[ELF64_R_SYM(list[i].r_info)];
        void **slot = (void **)(object->base + list[i].r_offset);
        const struct member *member;
        uintptr_t now;

        if (!is_reference(&list[i]) || symbol->st_shndx != SHN_UNDEF || (member = member_of(object->strings + symbol->st_name)) == NULL)
            continue;
        now = (uintptr_t)*slot;
        if (now - object->start < object->end - object->start) {
            n_unbound++;
            if (handle == NULL || dlsym(handle, member->name) != next_of(member))
                continue;
        } else if (now != (uintptr_t)next_of(member)) {
            continue;
        }
        turn(slot, member->ours);
    }
    return n_unbound;
}

static size_t turn_references(const struct object *object, void *handle)
{
    size_t n_unbound = 0;

    for (unsigned i = 0; i < 2 && object->symbols != NULL && object->strings != NULL; i++)
        if (object->lists[i] != NULL)
            n_unbound += turn_list(object, object->lists[i], object->n[i], handle);
    return n_unbound;
}

/* libc, the loader and we call what they mean. */
static bool is_left_alone(const char *name, uintptr_t start, uintptr_t end)
{
    const char *last = strrchr(name, '/');

    last = last != NULL ? last + 1 : name;
    return (uintptr_t)&deepbind_pending - start < end - start || strncmp(last, "libc.so", 7) == 0 || strncmp(last, "ld-linux", 8) == 0 ||
           strncmp(last, "linux-vdso", 10) == 0 || ((uintptr_t)libc_next()->free - start < end - start);
}

/* The n-th object. */
struct search {
    size_t n_left;
    struct object found;
    bool any_unbound;
};

/* With the loader's lock: nothing of the loader's may be called that takes another one. */
static int look_at_object(struct dl_phdr_info *info, size_t bytes, void *arg)
{
    struct search *search = arg;
    struct object object = {.base = info->dlpi_addr, .name = info->dlpi_name, .start = UINTPTR_MAX};
    const Elf64_Dyn *dynamic = NULL;

    (void)bytes;
    if (search->n_left-- > 0)
        return 0;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const Elf64_Phdr *part = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + part->p_vaddr;

        if (part->p_type == PT_DYNAMIC)
            dynamic = (const Elf64_Dyn *)start;
        if (part->p_type != PT_LOAD)
            continue;
        object.start = start < object.start ? start : object.start;
        object.end = start + part->p_memsz > object.end ? start + part->p_memsz : object.end;
    }
    if (dynamic == NULL || object.base == 0 || is_left_alone(object.name, object.start, object.end))
        return 1;
    read_dynamic(&object, dynamic);
    search->any_unbound = turn_references(&object, NULL) > 0;
    search->found = object;
    return 1;
}

/* False: there are not so many objects. */
static bool turn_object(size_t n)
{
    struct search search = {.n_left = n};
    void *handle;

    if (dl_iterate_phdr(look_at_object, &search) == 0)
        return false;
    if (!search.any_unbound)
        return true;
    handle = libc_next()->dlopen(search.found.name, RTLD_LAZY | RTLD_NOLOAD);
    if (handle != NULL) {
        (void)turn_references(&search.found, handle);
        (void)dlclose(handle);
    }
    return true;
}

void deepbind_turn(void)
{
    atomic_store(&deepbind_pending, false);
    for (size_t i = 0; i < N_FAMILY; i++)
        family[i].ours = dlsym(RTLD_DEFAULT, family[i].name);
    for (size_t n = 0; turn_object(n); n++)
        continue;
    log_line(LOG_CHOICE, "dlopen() with RTLD_DEEPBIND: references to libc's malloc family lead to this library");
}

static void *open_and_turn(const char *file, int mode)
{
    void *handle = libc_next()->dlopen(file, mode);

    if (handle != NULL)
        deepbind_turn();
    return handle;
}

open_function *deepbind_target(const char *file, int mode) __attribute__((visibility("hidden"), used));

/* What dlopen() goes on with. */
open_function *deepbind_target(const char *file, int mode)
{
    bool deep = (mode & RTLD_DEEPBIND) != 0 && atomic_load(&ghost_threshold_bytes) != SIZE_MAX;

    if (deep && file != NULL && strchr(file, '/') != NULL && strchr(file, '$') == NULL)
        return open_and_turn;
    if (deep)
        atomic_store(&deepbind_pending, true);
    return libc_next()->dlopen;
}

/* It jumps, so that the caller's address is where dlopen() looks for it. */
__asm__(".text\n"
        ".globl dlopen\n.type dlopen, @function\n"
        "dlopen:\n"
        "    push %rdi\n"
        "    push %rsi\n"
        "    sub $8, %rsp\n"
        "    call deepbind_target\n"
        "    add $8, %rsp\n"
        "    pop %rsi\n"
        "    pop %rdi\n"
        "    jmp *%rax\n"
        ".size dlopen, . - dlopen\n");

#else

void deepbind_turn(void)
{
}

#endif
