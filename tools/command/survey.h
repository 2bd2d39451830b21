/*
 * survey.h - what this machine, this container and this user allow GhostMem, found out by trying.
 *
 * Everything that is opened is closed again; nothing is changed. What may end the process is tried in a child.
 * Calls: trial, backend, config, dispatch, fault, host, swapplace.  Locks: none.  Memory: none.
 */
#ifndef GHOSTMEM_TOOLS_SURVEY_H
#define GHOSTMEM_TOOLS_SURVEY_H

#include "core/config.h"
#include "tools/command/swapplace.h"

#include <sys/utsname.h>

enum survey_check {
    SURVEY_UFFD,        /* userfaultfd(2) for all faults */
    SURVEY_UFFD_DEVICE, /* the same by /dev/userfaultfd */
    SURVEY_UFFD_USER,   /* for faults of user mode, as signals */
    SURVEY_MOVE,        /* UFFDIO_MOVE */
    SURVEY_DISPATCH,    /* Syscall User Dispatch */
    SURVEY_MEMORY_FILE, /* forced writes to /proc/self/mem */
    SURVEY_CHECKS,
};

struct survey {
    struct utsname system;
    unsigned kernel; /* 0x060c for Linux 6.12 */

    uint64_t ram_bytes;
    uint64_t available_bytes; /* as /proc/meminfo has it; 0: unknown */
    uint64_t usable_bytes;
    unsigned cgroup_version; /* 1 or 2; 0: no limit */
    uint64_t cgroup_limit_bytes;
    uint64_t default_limit_bytes;
    uint64_t address_space_bytes; /* UINT64_MAX: no limit */

    unsigned user;
    bool filtered;         /* by seccomp */
    bool has_ptrace;       /* CAP_SYS_PTRACE */
    const char *container; /* "docker", "podman", "kubernetes", "systemd service", ...; NULL: none seen */

    struct {
        const char *name;
        const char *key;
        bool possible;
        char why_not[160];
    } checks[SURVEY_CHECKS];

    bool backend_possible[CONFIG_FAULTS_SEGV + 1]; /* by enum config_faults; [0]: any of them */
    bool auto_ends; /* trying that ends the program */
    uint64_t features; /* of userfaultfd */
    enum config_faults best;
    const char *best_reason;

    const char *swap;
    struct swapplace place;
};

/* As GHOSTMEM_FAULTS has them. */
extern const char *const survey_backend_names[CONFIG_FAULTS_SEGV + 1];

/* @swap: for a swap file. The strings are static, or @swap. */
void survey_make(struct survey *survey, const char *swap);

/*
 * Would the library have @backend here? Of auto: *@taken and *@reason (NULL: not wanted) say which and why. SURVEY_ENDS: a seccomp
 * filter ends the process that tries.
 */
enum survey_answer { SURVEY_NOT_POSSIBLE, SURVEY_POSSIBLE, SURVEY_ENDS };
enum survey_answer survey_try_backend(enum config_faults backend, enum config_faults *taken, const char **reason);

/* The advice @number, 0 ..: what would make it better, with the command for that. NULL: there is no more. @text is its room. */
#define SURVEY_ADVICE_BYTES 512
const char *survey_advice(const struct survey *survey, unsigned number, char text[SURVEY_ADVICE_BYTES]);

#endif
