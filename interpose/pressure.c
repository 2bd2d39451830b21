/* pressure.c - see pressure.h. */
#include "interpose/pressure.h"

#include "interpose/control.h"
#include "interpose/ghost.h"

#include "platform/file.h"

#include <errno.h>
#include <stdlib.h>

/* Between two looks a thread hands out at the most an eighth of what is left, within these bounds. */
#define STEP_SHARE 8
#define STEP_LEAST (64 * KIB)
#define STEP_MOST (4 * MIB)

_Atomic size_t pressure_step_bytes;
__thread size_t pressure_handed_bytes;

static _Atomic size_t limit_bytes;
static _Atomic size_t promised_bytes; /* mapped, and not resident yet as far as is known */
static _Atomic size_t seen_bytes;     /* resident at the last look */

/* Source: proc_pid_statm(5): pages: all, resident, of these shared with files. 0: cannot be read. */
static size_t resident_bytes(void)
{
    char text[128];
    char *at = text;
    size_t resident;

    if (os_file_read("/proc/self/statm", text, sizeof text) <= 0)
        return 0;
    (void)os_number(at, &at, 10);
    resident = os_number(at, &at, 10);
    return (resident - min_size(resident, os_number(at, &at, 10))) * PAGE_BYTES;
}

static void set_step(size_t resident)
{
    size_t limit = atomic_load(&limit_bytes);
    size_t left = limit > resident ? limit - resident : 0;

    atomic_store(&pressure_step_bytes, max_size(min_size(left / STEP_SHARE, STEP_MOST), STEP_LEAST));
}

/* What has become resident since the last look was promised before, as far as anything was. */
static size_t still_promised(size_t resident)
{
    size_t before = atomic_exchange(&seen_bytes, resident);
    size_t grown = resident > before ? resident - before : 0;
    size_t promised = atomic_load(&promised_bytes);

    while (!atomic_compare_exchange_weak(&promised_bytes, &promised, promised - min_size(promised, grown)))
        continue;
    return atomic_load(&promised_bytes);
}

static void look(void)
{
    int error = errno;
    size_t resident;

    control_look();
    resident = resident_bytes();

    if (resident + still_promised(resident) < limit_bytes) {
        set_step(resident);
    } else {
        atomic_store(&pressure_step_bytes, 0); /* one thread is enough, and one attempt */
        ghost_start_paging();
    }
    errno = error;
}

void pressure_look(void)
{
    pressure_handed_bytes = 0;
    look();
}

void pressure_note_mapping(size_t bytes)
{
    if (atomic_load_explicit(&pressure_step_bytes, memory_order_relaxed) == 0)
        return;
    atomic_fetch_add(&promised_bytes, bytes);
    look();
}

void pressure_start(size_t bytes)
{
    limit_bytes = bytes;
    set_step(0);
}

void pressure_set_limit(size_t bytes)
{
    atomic_store(&limit_bytes, bytes);
    if (atomic_load(&pressure_step_bytes) != 0)
        look();
}

void pressure_end(void)
{
    atomic_store(&pressure_step_bytes, 0);
}
