/* log.c - dice and the log. See memcalls.h. */
#include "tests/fuzz/memcalls.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT_BYTES ((size_t)60000)
#define LINE_BYTES 400

/* Source: Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014 (SplitMix64). */
uint64_t roll(struct fuzz *fuzz)
{
    uint64_t z = fuzz->dice += 0x9e3779b97f4a7c15;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

size_t roll_below(struct fuzz *fuzz, size_t n)
{
    return roll(fuzz) % n;
}

bool chance(struct fuzz *fuzz, unsigned percent)
{
    return roll_below(fuzz, 100) < percent;
}

void flush(struct fuzz *fuzz)
{
    size_t done = 0;

    while (done < fuzz->n_text) {
        ssize_t n = write(fuzz->log, fuzz->text + done, fuzz->n_text - done);

        if (n <= 0)
            _exit(4);
        done += (size_t)n;
    }
    fuzz->n_text = 0;
}

void say(struct fuzz *fuzz, const char *format, ...)
{
    va_list args;
    int n;

    if (fuzz->n_text > TEXT_BYTES - LINE_BYTES)
        flush(fuzz);
    va_start(args, format);
    n = vsnprintf(fuzz->text + fuzz->n_text, LINE_BYTES, format, args);
    va_end(args);
    fuzz->n_text += (size_t)n < LINE_BYTES ? (size_t)n : LINE_BYTES - 1;
}

_Noreturn void fail(struct fuzz *fuzz, const char *format, ...)
{
    char text[LINE_BYTES];
    va_list args;
    int n;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    say(fuzz, "\nFAILED %s\n", text);
    flush(fuzz);
    n = dprintf(STDERR_FILENO, "memcalls: seed %lu, thread %u, step %zu, depth %u: %s\n", (unsigned long)fuzz->seed, fuzz->thread,
                fuzz->step, fuzz->depth, text);
    _exit(n > 0 ? 3 : 4);
}

const char *place(const struct fuzz *fuzz, uintptr_t addr)
{
    static __thread char texts[4][32];
    static __thread unsigned next;
    char *text = texts[next++ % 4];
    enum zone zone;
    size_t page;

    if (!zone_of(fuzz, addr, &zone, &page))
        return "-";
    if (addr % PAGE == 0)
        (void)snprintf(text, sizeof texts[0], "%c%zu", "ahe"[zone], page);
    else
        (void)snprintf(text, sizeof texts[0], "%c%zu+%zu", "ahe"[zone], page, (size_t)(addr % PAGE));
    return text;
}
