/*
 * helper_fill.c - fills memory with text, reads it back, and says how much RAM that took. For test_rss.c.
 *
 *     helper_fill MEBIBYTES
 *
 * The blocks are not freed, so GhostMem's report shows the pool as it stands with everything frozen. Prints
 * "peak_kib N": VmHWM, the kernel's own record of the highest resident set. Ends with status 1 if a byte is wrong.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PAGE_BYTES = 4096,
    BLOCK_BYTES = 4 << 20,
    MAX_BLOCKS = 1024,
    LINE_BYTES = 64 /* divides a page, so that no line is in two */
};

static char *blocks[MAX_BLOCKS];

/* Log lines: LZ4 makes about a third of them. */
static void make_line(char *line, uint64_t number)
{
    static const char *const events[] = {"accepted", "rejected", "finished", "deferred"};
    uint64_t mixed = number * UINT64_C(0x9e3779b97f4a7c15);

    (void)snprintf(line, LINE_BYTES, "%010llu host%02u service[%04u]: request %s after %3u ms, ok",
                   (unsigned long long)number, (unsigned)(mixed >> 60), (unsigned)(mixed >> 48 & 1023),
                   events[mixed >> 46 & 3], (unsigned)(mixed >> 36 & 255));
    line[LINE_BYTES - 1] = '\n';
}

static void fill(char *block, uint64_t first)
{
    for (size_t i = 0; i < BLOCK_BYTES / LINE_BYTES; i++) {
        char line[LINE_BYTES] = {0};

        make_line(line, first + i);
        memcpy(block + i * LINE_BYTES, line, LINE_BYTES);
    }
}

/* Says for each page whose text is wrong what stands there instead: zeros, or the text of another place. */
static void report(const char *found, uint64_t expected)
{
    static const char zeros[LINE_BYTES];

    fprintf(stderr, "helper_fill: page %p: line %llu is %.*s\n", (const void *)found, (unsigned long long)expected,
            LINE_BYTES - 1, memcmp(found, zeros, LINE_BYTES) == 0 ? "zeros" : found);
}

static size_t count_wrong(const char *block, uint64_t first)
{
    size_t n_wrong = 0;
    size_t last_page = SIZE_MAX;

    for (size_t i = 0; i < BLOCK_BYTES / LINE_BYTES; i++) {
        char line[LINE_BYTES] = {0};
        size_t page = i * LINE_BYTES / PAGE_BYTES;

        make_line(line, first + i);
        if (memcmp(block + i * LINE_BYTES, line, LINE_BYTES) == 0)
            continue;
        if (page != last_page)
            report(block + i * LINE_BYTES, first + i);
        last_page = page;
        n_wrong++;
    }
    return n_wrong;
}

static long peak_kib(void)
{
    FILE *status = fopen("/proc/self/status", "r");
    char line[256];
    long kib = -1;

    while (status && fgets(line, sizeof(line), status))
        if (sscanf(line, "VmHWM: %ld kB", &kib) == 1)
            break;
    if (status)
        (void)fclose(status);
    return kib;
}

int main(int argc, char **argv)
{
    size_t n_blocks = argc == 2 ? strtoul(argv[1], NULL, 10) * (1 << 20) / BLOCK_BYTES : MAX_BLOCKS + 1;
    size_t n_wrong = 0;

    if (n_blocks > MAX_BLOCKS) {
        fprintf(stderr, "usage: helper_fill MEBIBYTES (at most 4096)\n");
        return 2;
    }
    for (size_t i = 0; i < n_blocks; i++) {
        blocks[i] = malloc(BLOCK_BYTES);
        if (!blocks[i]) {
            fprintf(stderr, "helper_fill: no memory\n");
            return 2;
        }
        fill(blocks[i], i * (BLOCK_BYTES / LINE_BYTES));
    }
    for (size_t i = 0; i < n_blocks; i++)
        n_wrong += count_wrong(blocks[i], i * (BLOCK_BYTES / LINE_BYTES));
    printf("peak_kib %ld\n", peak_kib());
    if (n_wrong > 0)
        fprintf(stderr, "helper_fill: %zu lines are wrong\n", n_wrong);
    return n_wrong > 0;
}
