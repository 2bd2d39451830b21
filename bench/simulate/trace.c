/* trace.c - see trace.h. */
#include "bench/simulate/trace.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

void trace_add(struct trace *trace, uint32_t page, bool writes)
{
    if (trace->n_accesses > trace->n_unbilled && access_page(trace->accesses[trace->n_accesses - 1]) == page) {
        trace->accesses[trace->n_accesses - 1] |= writes;
        return;
    }
    if (trace->n_accesses == trace->n_allocated) {
        trace->n_allocated = trace->n_allocated == 0 ? 1 << 16 : 2 * trace->n_allocated;
        trace->accesses = realloc(trace->accesses, trace->n_allocated * sizeof *trace->accesses);
        if (trace->accesses == NULL) {
            fputs("simulate: no memory for a trace\n", stderr);
            exit(1);
        }
    }
    if (page >= trace->n_pages)
        trace->n_pages = page + 1;
    trace->accesses[trace->n_accesses++] = page << 1 | writes;
}

/* Pages that are never touched get no number: address space that a program left free is not memory of its. */
static int renumber(struct trace *trace)
{
    size_t n_numbers = trace->n_pages;
    uint32_t *numbers = calloc(n_numbers, sizeof *numbers);
    uint32_t n_pages = 0;

    if (numbers == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < trace->n_accesses; i++)
        numbers[access_page(trace->accesses[i])] = 1;
    for (size_t page = 0; page < n_numbers; page++)
        if (numbers[page] != 0)
            numbers[page] = n_pages++;
    for (size_t i = 0; i < trace->n_accesses; i++)
        trace->accesses[i] = numbers[access_page(trace->accesses[i])] << 1 | access_writes(trace->accesses[i]);
    trace->n_pages = n_pages;
    free(numbers);
    return 0;
}

int trace_read(struct trace *trace, const char *path)
{
    FILE *file = fopen(path, "rb");
    uint32_t n_words;
    int error = 0;

    *trace = (struct trace){.accesses = NULL};
    if (file == NULL)
        return -errno;
    if (fread(&n_words, sizeof n_words, 1, file) != 1)
        error = -ENODATA;
    for (uint32_t i = 0; i < n_words && error == 0; i++) {
        uint32_t access;

        if (fread(&access, sizeof access, 1, file) != 1)
            error = -ENODATA;
        else
            trace_add(trace, access_page(access), access_writes(access));
    }
    fclose(file);
    if (error == 0 && trace->n_accesses > 0)
        error = renumber(trace);
    if (error != 0)
        trace_free(trace);
    return error;
}

void trace_free(struct trace *trace)
{
    free(trace->accesses);
    *trace = (struct trace){.accesses = NULL};
}
