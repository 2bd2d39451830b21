/* identity.c - see identity.h. */
#include "interpose/identity.h"

#include "platform/file.h"
#include "platform/host.h"
#include "platform/thread.h"

#define NAME_BYTES 256
#define ARGUMENTS_BYTES 2048

static uint64_t start_ns;
static char program[NAME_BYTES];
static char arguments[ARGUMENTS_BYTES]; /* a zero behind each */
static size_t arguments_bytes;

void identity_begin(void)
{
    start_ns = os_now_ns();
}

const char *identity_program(void)
{
    if (program[0] == '\0' && os_program_name(program, sizeof program) != 0)
        return "unknown";
    return program;
}

void identity_remember(void)
{
    long length = os_file_read("/proc/self/cmdline", arguments, sizeof arguments);

    (void)identity_program();
    arguments_bytes = length > 0 ? (size_t)length : 0;
}

void identity_collect(struct stats *stats)
{
    uint64_t ns = os_now_ns() - start_ns;

    stats->program = identity_program();
    stats->arguments = arguments;
    stats->arguments_bytes = arguments_bytes;
    stats->process = (uint64_t)os_process_id();
    stats->run_ms = ns / 1000000;
    stats->started_s = os_wall_clock_s() - ns / 1000000000;
    stats->peak_rss_bytes = os_peak_rss_bytes();
}
