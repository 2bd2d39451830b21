/*
 * control.h - what ghostmem(1) reads and sets in a running process: by /proc/PID/mem, so that there is no file, no descriptor and no
 * thread for it, and the kernel says who may.
 *
 * A note in the library's file (CONTROL_NOTE) says where `ghost_control` is. It leads to the gauges, counters wherever they are kept, by
 * name and address; and to the knobs: who wants one turned writes the value, then counts up `asked` of the knob, then `asked` of all, and
 * wakes the thread that evicts. That thread, or one that allocates, does it, and sets `done` of the knob.
 *
 * Everything here is read by another version of ghostmem(1), too: `layout` is to be raised with what is not only added at an end.
 *
 * Calls: ghost, pager, heap.  Locks: none of its own.  Memory: static.
 */
#ifndef GHOSTMEM_INTERPOSE_CONTROL_H
#define GHOSTMEM_INTERPOSE_CONTROL_H

#include <stdatomic.h>
#include <stdint.h>

#define CONTROL_NOTE "GhostMem" /* its name; its contents: where ghost_control is, as a distance from the contents */
#define CONTROL_NOTE_TYPE 1u
#define CONTROL_MAGIC 0x6c6f72746e6f4347u
#define CONTROL_LAYOUT 1u
#define CONTROL_NAME_BYTES 32

/* The sum of @count numbers of @bytes each, the first of them at @address, @stride bytes apart. */
struct control_gauge {
    char name[CONTROL_NAME_BYTES]; /* as the statistics have it; ticks: of os_ticks() */
    const volatile void *address;
    uint32_t bytes; /* 1, 4 or 8 */
    uint32_t count;
    uint64_t stride;
};

/* Values as the settings have them: pages, bytes, numbers of enumerators. */
struct control_knob {
    char name[CONTROL_NAME_BYTES]; /* of the setting, without GHOSTMEM_ */
    _Atomic uint64_t wanted;
    _Atomic uint32_t asked;
    _Atomic uint32_t done; /* `asked` of when it was turned last ... */
    _Atomic int32_t error; /* ... and what came of it: 0 or -errno */
    uint32_t spare;
};

struct control {
    uint64_t magic;
    uint32_t layout;
    uint32_t bytes; /* of this */
    const struct control_gauge *gauges;
    struct control_knob *knobs;
    uint32_t n_gauges;
    uint32_t gauge_bytes;
    uint32_t n_knobs;
    uint32_t knob_bytes;
    volatile void *wake; /* uint32_t that the thread sleeps on that turns knobs ... */
    char thread[16];     /* ... and its name */
    _Atomic uint32_t asked;
    _Atomic uint32_t seen;
};

extern struct control ghost_control;

/* Turn the knobs that are to be. Context: as malloc; or, with a @worker, a thread of ours. */
#define CONTROL_NO_WORKER UINT32_MAX
void control_turn(unsigned worker);

/* When the heap is there. */
void control_start(void);

/* Nobody else is at it any more. */
void control_fork_child(void);

static inline void control_look(void)
{
    if (__builtin_expect(atomic_load_explicit(&ghost_control.asked, memory_order_relaxed) !=
                             atomic_load_explicit(&ghost_control.seen, memory_order_relaxed), 0))
        control_turn(CONTROL_NO_WORKER);
}

#endif
