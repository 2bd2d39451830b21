/* control.c - see control.h. */
#include "interpose/control.h"

#include "interpose/ghost.h"

#include "core/log.h"

#include <errno.h>

/* The note: lengths of name and contents, type, name, contents. Source: elf(5), "Notes (Nhdr)". */
__asm__(".pushsection .note.ghostmem,\"a\",@note\n"
        ".balign 4\n"
        ".long 9\n"
        ".long 8\n"
        ".long 1\n"
        ".asciz \"" CONTROL_NOTE "\"\n"
        ".balign 4\n"
        "1: .quad ghost_control - 1b\n"
        ".popsection\n");

#define GAUGE(name, field) {name, &(field), sizeof(field), 1, 0}
#define PAGER ghost.pager
#define RECLAIM ghost.pager.reclaim
#define WAITED(name, kind) \
    {"waited_" name "_ticks", &RECLAIM.waited[0].ticks[kind], sizeof(uint64_t), FAULT_MAX_WORKERS, sizeof(struct reclaim_waited)}

static const struct control_gauge gauges[] = {
    GAUGE("engaged", PAGER.engaged),
    GAUGE("limit_pages", PAGER.limit),
    GAUGE("resident_pages", RECLAIM.charged),
    GAUGE("resident_pages_peak", RECLAIM.charged_peak),
    GAUGE("limit_exceeded_pages_peak", RECLAIM.exceeded_peak),
    GAUGE("cooled_pages", RECLAIM.limbo.n_resting),
    GAUGE("frozen_pages", PAGER.table.n_frozen),
    GAUGE("same_filled_pages", PAGER.table.n_same),
    GAUGE("swapped_pages", PAGER.table.n_swapped),
    GAUGE("frozen_pages_peak", PAGER.table.n_away_peak),
    GAUGE("pool_used_bytes", PAGER.store.pool.used_bytes),
    GAUGE("pool_used_bytes_peak", PAGER.store.pool.used_bytes_peak),
    GAUGE("pool_held_bytes", PAGER.store.pool.held_bytes),
    GAUGE("pool_held_bytes_peak", PAGER.store.pool.held_bytes_peak),
    GAUGE("images_made", PAGER.store.pool.n_images_made),
    GAUGE("images_made_bytes", PAGER.store.pool.made_bytes),
    GAUGE("swap_used_units", RECLAIM.writeback.swap.live_units),
    GAUGE("swap_max_bytes", RECLAIM.writeback.swap.max_bytes),
    GAUGE("swap_written_bytes", RECLAIM.writeback.swap.written_bytes),
    GAUGE("swap_read_bytes", RECLAIM.writeback.swap.read_bytes),
    GAUGE("faults", RECLAIM.counters.faults),
    GAUGE("soft_faults", RECLAIM.counters.soft_faults),
    GAUGE("first_touches", RECLAIM.counters.first_touches),
    GAUGE("thaws", RECLAIM.counters.thaws),
    GAUGE("freezes", RECLAIM.counters.freezes),
    GAUGE("ghost_blocks", ghost.heap.n_blocks),
    GAUGE("live_pages", ghost.heap.live_pages),
    GAUGE("live_pages_peak", ghost.heap.live_pages_peak),
    GAUGE("verbose", ghost.config.verbose),
    GAUGE("reclaim", ghost.config.reclaim),
    WAITED("first_touch", WAIT_FIRST_TOUCH),
    WAITED("image", WAIT_IMAGE),
    WAITED("swap", WAIT_SWAP),
    WAITED("cooled", WAIT_COOLED),
    WAITED("call", WAIT_CALL),
    WAITED("other", WAIT_OTHER),
};

/* ---- what can be set in a running process: the table ---- */

static int set_max_memory(uint64_t value, unsigned worker)
{
    if (value < CONFIG_MIN_LIMIT_PAGES || value > UINT64_MAX >> PAGE_SHIFT)
        return -EINVAL;
    return worker == CONTROL_NO_WORKER ? ghost_set_limit(value) : ghost_set_limit_as(value, worker);
}

static int set_swap_max(uint64_t value, unsigned worker)
{
    (void)worker;
    ghost.config.swap_max_bytes = value;
    pager_set_swap_max(&ghost.pager, value);
    return 0;
}

static int set_reclaim(uint64_t value, unsigned worker)
{
    (void)worker;
    if (value > CONFIG_RECLAIM_BACKGROUND)
        return -EINVAL;
    ghost.config.reclaim = (enum config_reclaim)value;
    pager_set_reclaim(&ghost.pager, value != CONFIG_RECLAIM_AUTO, value == CONFIG_RECLAIM_BACKGROUND ? RECLAIM_BACKGROUND : RECLAIM_DIRECT);
    return 0;
}

static int set_verbose(uint64_t value, unsigned worker)
{
    (void)worker;
    if (value > 2)
        return -EINVAL;
    ghost.config.verbose = (unsigned)value;
    log_set_level((enum log_level)value);
    return 0;
}

static struct control_knob knobs[] = {
    {.name = "MAX_MEMORY"},
    {.name = "SWAP_MAX"},
    {.name = "RECLAIM"},
    {.name = "VERBOSE"},
};
static int (*const setters[])(uint64_t value, unsigned worker) = {set_max_memory, set_swap_max, set_reclaim, set_verbose};
#define N_KNOBS (sizeof knobs / sizeof knobs[0])

_Static_assert(N_KNOBS == sizeof setters / sizeof setters[0], "a setter for each knob");

struct control ghost_control = {
    .magic = CONTROL_MAGIC,
    .layout = CONTROL_LAYOUT,
    .bytes = sizeof ghost_control,
    .gauges = gauges,
    .n_gauges = sizeof gauges / sizeof gauges[0],
    .gauge_bytes = sizeof gauges[0],
    .knobs = knobs,
    .n_knobs = N_KNOBS,
    .knob_bytes = sizeof knobs[0],
    .wake = &RECLAIM.frames_wanted.sequence,
    .thread = "ghostmem/evict",
};

static _Atomic bool turning;

static void turn(struct control_knob *knob, int (*set)(uint64_t value, unsigned worker), unsigned worker)
{
    uint32_t asked = atomic_load(&knob->asked);
    int error;

    if (asked == atomic_load(&knob->done))
        return;
    error = set(atomic_load(&knob->wanted), worker);
    atomic_store(&knob->error, error);
    atomic_store(&knob->done, asked);
    if (error == 0)
        log_line(LOG_CHOICE, "%s is set to %l by ghostmem set", knob->name, atomic_load(&knob->wanted));
    else
        log_line(LOG_ERROR, "%s cannot be set to %l by ghostmem set: %e", knob->name, atomic_load(&knob->wanted), -error);
}

void control_turn(unsigned worker)
{
    uint32_t asked;

    while ((asked = atomic_load(&ghost_control.asked)) != atomic_load(&ghost_control.seen) && !atomic_exchange(&turning, true)) {
        /* First, and not last: what a setter calls may look again. */
        atomic_store(&ghost_control.seen, asked);
        for (size_t i = 0; i < N_KNOBS; i++)
            turn(&knobs[i], setters[i], worker);
        atomic_store(&turning, false);
    }
}

static void on_wake(void *arg, unsigned worker)
{
    (void)arg;
    control_turn(worker);
}

void control_start(void)
{
    pager_on_wake(&ghost.pager, on_wake, NULL);
}

void control_fork_child(void)
{
    atomic_store(&turning, false);
}
