/* inject.c - see inject.h. */
#include "platform/inject.h"

#ifdef GHOSTMEM_INJECT
#include <stdlib.h>

atomic_long os_inject_countdown;
struct os_inject_io os_inject_io[OS_INJECT_KINDS];

/* FIRST:N:ERRNO */
static void read_stretch(const char *text, struct os_inject_io *io)
{
    char *end;

    if (text == NULL)
        return;
    atomic_store(&io->first, strtol(text, &end, 10));
    atomic_store(&io->n, strtol(end + (*end == ':'), &end, 10));
    atomic_store(&io->error, (int)strtol(end + (*end == ':'), &end, 10));
}

/* For whole programs: OS_INJECT=n in the environment, and OS_INJECT_WRITE, _READ, _POISON, _MOVE, _REFUSE, _FILL. */
__attribute__((constructor(101))) static void read_environment(void)
{
    const char *n = getenv("OS_INJECT");

    if (n != NULL)
        atomic_store(&os_inject_countdown, atol(n));
    read_stretch(getenv("OS_INJECT_WRITE"), &os_inject_io[OS_INJECT_WRITE]);
    read_stretch(getenv("OS_INJECT_READ"), &os_inject_io[OS_INJECT_READ]);
    read_stretch(getenv("OS_INJECT_POISON"), &os_inject_io[OS_INJECT_POISON]);
    read_stretch(getenv("OS_INJECT_MOVE"), &os_inject_io[OS_INJECT_MOVE]);
    read_stretch(getenv("OS_INJECT_REFUSE"), &os_inject_io[OS_INJECT_REFUSE]);
    read_stretch(getenv("OS_INJECT_FILL"), &os_inject_io[OS_INJECT_FILL]);
    read_stretch(getenv("OS_INJECT_EXTRACT"), &os_inject_io[OS_INJECT_EXTRACT]);
}

bool os_inject_hits(void)
{
    return atomic_load(&os_inject_countdown) > 0 && atomic_fetch_sub(&os_inject_countdown, 1) == 1;
}

int os_inject_io_error(enum os_inject_kind kind)
{
    struct os_inject_io *io = &os_inject_io[kind];
    long call = atomic_fetch_add(&io->n_calls, 1) + 1;
    long first = atomic_load(&io->first);

    if (first == 0 || call < first || call >= first + atomic_load(&io->n))
        return -1;
    return atomic_load(&io->error);
}
#else
/* ISO C forbids an empty translation unit. */
typedef int os_inject_is_off;
#endif
