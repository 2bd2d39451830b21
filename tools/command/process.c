/* process.c - see process.h. */
#include "tools/command/process.h"

#include <ctype.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <dirent.h>
#include <unistd.h>

#define LIBRARY "libghostmem"
#define MAX_SEGMENTS 64
#define MAX_NOTE_BYTES 4096
/* Far from what the process counts to by itself meanwhile. */
#define WAKING 0x40000000u

/* ---- its files ---- */

/* The start of /proc/ID/@name, zero-terminated. False: it cannot be read. */
static bool read_start(const struct process *process, const char *name, char *text, size_t bytes)
{
    int fd = openat(process->directory, name, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, bytes - 1);

    if (fd >= 0)
        (void)close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

static bool read_memory(const struct process *process, uint64_t address, void *buffer, size_t bytes)
{
    return address <= INT64_MAX && pread(process->memory, buffer, bytes, (off_t)address) == (ssize_t)bytes;
}

static bool write_memory(const struct process *process, uint64_t address, const void *data, size_t bytes)
{
    return address <= INT64_MAX && pwrite(process->memory, data, bytes, (off_t)address) == (ssize_t)bytes;
}

/* Source: proc_pid_stat(5). The name in parentheses may have anything in it. */
static bool read_identity(struct process *process)
{
    char text[1024];
    char *name;
    char *rest;
    struct stat status;

    if (!read_start(process, "stat", text, sizeof text) || (name = strchr(text, '(')) == NULL || (rest = strrchr(text, ')')) == NULL ||
        rest < name || fstat(process->directory, &status) != 0)
        return false;
    process->user = status.st_uid;
    *rest = '\0';
    (void)snprintf(process->program, sizeof process->program, "%s", name + 1);
    for (char *c = process->program; *c != '\0'; c++)
        if (iscntrl((unsigned char)*c) || (unsigned char)*c >= 0x80)
            *c = '?';
    rest++;
    for (unsigned field = 2; field < 22 && rest != NULL; field++)
        rest = strchr(rest + 1, ' ');
    process->started = rest != NULL ? strtoull(rest, NULL, 10) : 0;
    return true;
}

/* Where the library's file begins in its memory; 0: it is not there. *@closed: that may not be seen. */
static uint64_t find_library(const struct process *process, bool *closed)
{
    int fd = openat(process->directory, "maps", O_RDONLY | O_CLOEXEC);
    FILE *maps = fd >= 0 ? fdopen(fd, "r") : NULL;
    uint64_t found = 0;
    char *line = NULL;
    size_t room = 0;

    *closed = maps == NULL;
    while (maps != NULL && found == 0 && getline(&line, &room, maps) > 0) {
        const char *slash = strrchr(line, '/');
        uint64_t start;
        uint64_t offset;

        if (slash != NULL && strncmp(slash + 1, LIBRARY, sizeof LIBRARY - 1) == 0 &&
            sscanf(line, "%" SCNx64 "-%*x %*s %" SCNx64, &start, &offset) == 2 && offset == 0)
            found = start;
    }
    if (maps != NULL)
        (void)fclose(maps);
    else if (fd >= 0)
        (void)close(fd);
    free(line);
    return found;
}

/* ---- the library's note ---- */

/* Where the note of one segment of notes leads to; 0: there is none of ours. */
static uint64_t control_of_notes(const struct process *process, uint64_t address, size_t bytes)
{
    _Alignas(8) unsigned char notes[MAX_NOTE_BYTES];
    size_t at = 0;

    bytes = bytes < sizeof notes ? bytes : sizeof notes;
    if (!read_memory(process, address, notes, bytes))
        return 0;
    while (at + sizeof(ElfW(Nhdr)) <= bytes) {
        ElfW(Nhdr) note;
        size_t name = at + sizeof note;
        size_t contents;
        int64_t distance;

        memcpy(&note, notes + at, sizeof note);
        if (note.n_namesz > bytes || note.n_descsz > bytes)
            return 0;
        contents = name + ((note.n_namesz + 3u) & ~3u);
        if (contents + sizeof distance <= bytes && note.n_namesz == sizeof CONTROL_NOTE && note.n_type == CONTROL_NOTE_TYPE &&
            note.n_descsz == sizeof distance && memcmp(notes + name, CONTROL_NOTE, sizeof CONTROL_NOTE) == 0) {
            memcpy(&distance, notes + contents, sizeof distance);
            return address + contents + (uint64_t)distance;
        }
        at = contents + ((note.n_descsz + 3u) & ~3u);
    }
    return 0;
}

static uint64_t find_control(const struct process *process, uint64_t base)
{
    ElfW(Ehdr) header;

    if (!read_memory(process, base, &header, sizeof header) || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
        header.e_phentsize != sizeof(ElfW(Phdr)) || header.e_phnum > MAX_SEGMENTS)
        return 0;
    for (unsigned i = 0; i < header.e_phnum; i++) {
        ElfW(Phdr) segment;
        uint64_t control;

        if (!read_memory(process, base + header.e_phoff + i * sizeof segment, &segment, sizeof segment))
            return 0;
        if (segment.p_type == PT_NOTE && (control = control_of_notes(process, base + segment.p_vaddr, segment.p_filesz)) != 0)
            return control;
    }
    return 0;
}

/* ---- gauges and knobs ---- */

static bool read_control(struct process *process)
{
    struct control *control = &process->control;

    if (!read_memory(process, process->address, control, sizeof *control) || control->magic != CONTROL_MAGIC ||
        control->layout != CONTROL_LAYOUT || control->bytes < sizeof *control || control->gauge_bytes != sizeof process->gauges[0] ||
        control->knob_bytes != sizeof process->knobs[0])
        return false;
    process->n_gauges = control->n_gauges < PROCESS_MAX_GAUGES ? control->n_gauges : PROCESS_MAX_GAUGES;
    process->n_knobs = control->n_knobs < PROCESS_MAX_KNOBS ? control->n_knobs : PROCESS_MAX_KNOBS;
    if (!read_memory(process, (uintptr_t)control->gauges, process->gauges, process->n_gauges * sizeof process->gauges[0]) ||
        !read_memory(process, (uintptr_t)control->knobs, process->knobs, process->n_knobs * sizeof process->knobs[0]))
        return false;
    for (unsigned i = 0; i < process->n_gauges; i++)
        process->gauges[i].name[CONTROL_NAME_BYTES - 1] = '\0';
    for (unsigned i = 0; i < process->n_knobs; i++)
        process->knobs[i].name[CONTROL_NAME_BYTES - 1] = '\0';
    return true;
}

static void say_closed(const struct process *process, char why[PROCESS_WHY_BYTES])
{
    char scope[16] = "0";
    int fd = open("/proc/sys/kernel/yama/ptrace_scope", O_RDONLY | O_CLOEXEC);

    if (fd >= 0) {
        ssize_t n = read(fd, scope, sizeof scope - 1);

        scope[n > 0 ? n : 0] = '\0';
        (void)close(fd);
    }
    if (geteuid() != 0 && process->user != geteuid())
        (void)snprintf(why, PROCESS_WHY_BYTES, "it is of user %u: root may look", process->user);
    else if (atoi(scope) > 0)
        (void)snprintf(why, PROCESS_WHY_BYTES, "the kernel lets root alone look into processes (kernel.yama.ptrace_scope=%d)", atoi(scope));
    else
        (void)snprintf(why, PROCESS_WHY_BYTES, "we may not look into it: it has other rights than we, or has asked for that");
}

enum process_answer process_open(struct process *process, int id, bool writes, char why[PROCESS_WHY_BYTES])
{
    char path[32];
    uint64_t library;
    bool closed;

    memset(process, 0, sizeof *process);
    process->id = id;
    process->memory = -1;
    (void)snprintf(path, sizeof path, "/proc/%d", id);
    process->directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (process->directory < 0 || !read_identity(process))
        return PROCESS_GONE;
    library = find_library(process, &closed);
    if (closed)
        say_closed(process, why);
    if (library == 0)
        return closed ? PROCESS_CLOSED : PROCESS_PLAIN;
    process->has_library = true;
    process->memory = openat(process->directory, "mem", (writes ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    if (process->memory < 0) {
        say_closed(process, why);
        return PROCESS_CLOSED;
    }
    process->address = find_control(process, library);
    if (process->address != 0 && read_control(process))
        return PROCESS_THERE;
    (void)snprintf(why, PROCESS_WHY_BYTES, "its GhostMem is of another version, or has not begun");
    return PROCESS_CLOSED;
}

void process_close(struct process *process)
{
    if (process->memory >= 0)
        (void)close(process->memory);
    if (process->directory >= 0)
        (void)close(process->directory);
    process->memory = process->directory = -1;
}

static uint64_t read_number(const struct process *process, uint64_t address, uint32_t bytes)
{
    uint64_t value = 0;

    /* Little-endian, as all processors that there is a GhostMem for. */
    if ((bytes != 1 && bytes != 4 && bytes != 8) || !read_memory(process, address, &value, bytes))
        return 0;
    return value;
}

bool process_read(struct process *process)
{
    uint64_t magic;

    if (!read_memory(process, process->address, &magic, sizeof magic) || magic != CONTROL_MAGIC)
        return false;
    for (unsigned i = 0; i < process->n_gauges; i++) {
        const struct control_gauge *gauge = &process->gauges[i];

        process->values[i] = 0;
        for (uint32_t k = 0; k < gauge->count && k < 64; k++)
            process->values[i] += read_number(process, (uintptr_t)gauge->address + k * gauge->stride, gauge->bytes);
    }
    return true;
}

uint64_t process_value(const struct process *process, const char *name)
{
    for (unsigned i = 0; i < process->n_gauges; i++)
        if (strcmp(process->gauges[i].name, name) == 0)
            return process->values[i];
    return 0;
}

/* ---- setting ---- */

/* The knob's place among the others, read anew; -1: there is none. */
static int find_knob(struct process *process, const char *name)
{
    for (unsigned i = 0; i < process->n_knobs; i++)
        if (strcmp(process->knobs[i].name, name) == 0)
            return read_memory(process, (uintptr_t)&process->control.knobs[i], &process->knobs[i], sizeof process->knobs[i]) ? (int)i : -1;
    return -1;
}

static bool count_up(const struct process *process, uint64_t address, uint32_t by)
{
    uint32_t value;

    if (!read_memory(process, address, &value, sizeof value))
        return false;
    value += by;
    return write_memory(process, address, &value, sizeof value);
}

int process_ask(struct process *process, const char *name, uint64_t value)
{
    int i = find_knob(process, name);
    uint64_t knob;

    if (i < 0)
        return -ENOENT;
    knob = (uintptr_t)&process->control.knobs[i];
    if (!write_memory(process, knob + offsetof(struct control_knob, wanted), &value, sizeof value) ||
        !count_up(process, knob + offsetof(struct control_knob, asked), 1) ||
        !count_up(process, process->address + offsetof(struct control, asked), 1))
        return errno != 0 ? -errno : -EIO;
    return 0;
}

/* The thread sleeps on a number: it looks at that again when it is stopped for a moment. The process does not notice. */
static int interrupt(int thread)
{
    int status;

    if (ptrace(PTRACE_SEIZE, thread, NULL, NULL) != 0)
        return -errno;
    if (ptrace(PTRACE_INTERRUPT, thread, NULL, NULL) == 0)
        while (waitpid(thread, &status, __WALL) < 0 && errno == EINTR)
            continue;
    return ptrace(PTRACE_DETACH, thread, NULL, NULL) == 0 ? 0 : -errno;
}

int process_wake(struct process *process)
{
    char name[sizeof process->control.thread + 1] = "";
    int fd = openat(process->directory, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *tasks = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *task;
    int error = -ESRCH;

    if (tasks == NULL) {
        if (fd >= 0)
            (void)close(fd);
        return -ESRCH;
    }
    memcpy(name, process->control.thread, sizeof process->control.thread);
    if (!count_up(process, (uintptr_t)process->control.wake, WAKING))
        error = -EIO;
    while (error == -ESRCH && (task = readdir(tasks)) != NULL) {
        char path[64];
        char comm[32];

        if (snprintf(path, sizeof path, "task/%.20s/comm", task->d_name) < 0 || !read_start(process, path, comm, sizeof comm))
            continue;
        comm[strcspn(comm, "\n")] = '\0';
        if (strcmp(comm, name) == 0)
            error = interrupt(atoi(task->d_name));
    }
    (void)closedir(tasks);
    return error;
}

int process_answered(struct process *process, const char *name)
{
    int i = find_knob(process, name);

    if (i < 0)
        return -ESRCH;
    return process->knobs[i].asked == process->knobs[i].done ? process->knobs[i].error : -EINPROGRESS;
}
