/*
 * process.h - a running process under GhostMem: what it counts, and what can be set there (interpose/control.h).
 *
 * All of it is read from /proc: the process does nothing for it. What it says is not believed: a process may have anything in its memory.
 *
 * Calls: command, control.  Locks: none.  Memory: the struct.
 */
#ifndef GHOSTMEM_TOOLS_PROCESS_H
#define GHOSTMEM_TOOLS_PROCESS_H

#include "interpose/control.h"

#include <stdbool.h>
#include <stddef.h>

#define PROCESS_MAX_GAUGES 128
#define PROCESS_MAX_KNOBS 32
#define PROCESS_WHY_BYTES 256
#define PROCESS_NAME_BYTES 64

struct process {
    int id;
    uint64_t started; /* Source: proc_pid_stat(5), 22: with the id it names the process for good */
    unsigned user;
    char program[PROCESS_NAME_BYTES];
    bool has_library; /* that is seen */
    int directory; /* /proc/ID, or -1 */
    int memory;    /* /proc/ID/mem, or -1 */
    uint64_t address; /* of its ghost_control */
    struct control control;
    struct control_gauge gauges[PROCESS_MAX_GAUGES];
    uint64_t values[PROCESS_MAX_GAUGES];
    unsigned n_gauges;
    struct control_knob knobs[PROCESS_MAX_KNOBS];
    unsigned n_knobs;
};

enum process_answer {
    PROCESS_THERE,
    PROCESS_GONE,   /* there is none of this number */
    PROCESS_PLAIN,  /* it runs without GhostMem, as far as may be seen */
    PROCESS_CLOSED, /* it runs with GhostMem, and we may not look into it: @why */
};

/* @writes: to set something there. What was opened process_close() closes, whatever the answer. */
enum process_answer process_open(struct process *process, int id, bool writes, char why[PROCESS_WHY_BYTES]);
void process_close(struct process *process);

/* All gauges anew. False: it has ended, or become another program. */
bool process_read(struct process *process);

/* The gauge of this name, as process_read() found it; 0: it has none. */
uint64_t process_value(const struct process *process, const char *name);

/* Ask for @value of the setting @name, such as "MAX_MEMORY". 0; -ENOENT: it cannot be set there; other -errno. */
int process_ask(struct process *process, const char *name, uint64_t value);

/* Wake the thread that does it. 0 or -errno: it is done when the process next asks for memory. */
int process_wake(struct process *process);

/* Is the setting in force? -EINPROGRESS: not yet; 0, or -errno of what came of it. */
int process_answered(struct process *process, const char *name);

#endif
