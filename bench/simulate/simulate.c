/*
 * simulate.c - tables of policies of page replacement by traces: what `make simulate` runs.
 *
 * simulate [--pages N] [--accesses N] [--limits 10,25,50] [--read-ahead] [FILE ...]
 *
 * Without FILEs the traces are drawn. Exit: 0; 1 a file cannot be read; 2 bad usage.
 */
#include "bench/simulate/policies.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TRACES 24
#define MAX_POLICIES 32
#define MAX_LIMITS 8

struct options {
    uint32_t n_pages;
    size_t n_accesses;
    unsigned limits[MAX_LIMITS]; /* per cent */
    size_t n_limits;
    bool read_ahead;
    char **files;
    size_t n_files;
};

struct column {
    char name[10];
    struct bill bills[MAX_POLICIES];
};

static int usage(void)
{
    fputs("usage: simulate [--pages N] [--accesses N] [--limits 10,25,50] [--read-ahead] [FILE ...]\n", stderr);
    return 2;
}

static bool parse_limits(struct options *o, char *text)
{
    o->n_limits = 0;
    for (char *part = strtok(text, ","); part != NULL; part = strtok(NULL, ",")) {
        unsigned long limit = strtoul(part, NULL, 10);

        if (limit == 0 || limit > 100 || o->n_limits == MAX_LIMITS)
            return false;
        o->limits[o->n_limits++] = (unsigned)limit;
    }
    return o->n_limits > 0;
}

static bool parse(struct options *o, int argc, char **argv)
{
    int i = 1;

    for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        if (strcmp(argv[i], "--read-ahead") == 0) {
            o->read_ahead = true;
            continue;
        }
        if (i + 1 == argc)
            return false;
        if (strcmp(argv[i], "--pages") == 0)
            o->n_pages = (uint32_t)strtoul(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--accesses") == 0)
            o->n_accesses = strtoul(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--limits") != 0 || !parse_limits(o, argv[++i]))
            return false;
    }
    o->files = argv + i;
    o->n_files = (size_t)(argc - i);
    return o->n_pages >= 64 && o->n_accesses > 0 && o->n_files <= MAX_TRACES;
}

/* The file's name without its directory and what follows a dot. */
static void name_after(struct column *column, const char *path)
{
    const char *slash = strrchr(path, '/');

    snprintf(column->name, sizeof column->name, "%s", slash != NULL ? slash + 1 : path);
    column->name[strcspn(column->name, ".")] = '\0';
}

static void run_all(struct column *column, const struct trace *trace, size_t limit, bool read_ahead)
{
    for (size_t i = 0; i < n_policies; i++)
        column->bills[i] = simulate(trace, policies[i], limit, read_ahead);
}

static int fill_columns(const struct options *o, struct column *columns, size_t n, unsigned percent)
{
    for (size_t i = 0; i < n; i++) {
        struct trace trace = {.accesses = NULL};
        size_t limit;

        if (o->n_files == 0) {
            limit = (size_t)o->n_pages * percent / 100;
            snprintf(columns[i].name, sizeof columns[i].name, "%s", generators[i].name);
            generators[i].draw(&trace, o->n_pages, o->n_accesses, limit);
        } else {
            int error = trace_read(&trace, o->files[i]);

            if (error != 0) {
                fprintf(stderr, "simulate: %s: %s\n", o->files[i], strerror(-error));
                return 1;
            }
            limit = (size_t)trace.n_pages * percent / 100;
            name_after(&columns[i], o->files[i]);
        }
        run_all(&columns[i], &trace, limit > 0 ? limit : 1, o->read_ahead);
        trace_free(&trace);
    }
    return 0;
}

/* ---- the tables ---- */

static double ns(const struct bill *bill)
{
    return bill_ns(bill);
}

static double miss_percent(const struct bill *bill)
{
    return 100 * (double)bill->thaws / (double)bill->accesses;
}

static double soft_percent(const struct bill *bill)
{
    return 100 * (double)bill->soft_faults / (double)bill->accesses;
}

/* The last column: the geometric mean of the prices, against that of the policy in use. */
static void print_table(const char *what, const struct column *columns, size_t n, double (*figure)(const struct bill *), int digits)
{
    bool is_price = figure == ns;
    size_t now = 0;

    while (policies[now] != &policy_now)
        now++;
    printf("%-40s", what);
    for (size_t i = 0; i < n; i++)
        printf("%9s", columns[i].name);
    printf("%s\n", is_price ? "    all" : "");
    for (size_t p = 0; p < n_policies; p++) {
        double logs = 0;

        printf("%c %-38s", policies[p]->is_ideal ? '*' : ' ', policies[p]->name);
        for (size_t i = 0; i < n; i++) {
            printf("%9.*f", digits, figure(&columns[i].bills[p]));
            logs += log(ns(&columns[i].bills[p]) + 1) - log(ns(&columns[i].bills[now]) + 1);
        }
        if (is_price)
            printf("%7.3f", exp(logs / (double)n));
        putchar('\n');
    }
    putchar('\n');
}

int main(int argc, char **argv)
{
    struct options o = {.n_pages = 16384, .n_accesses = 1000000, .limits = {10, 25, 50}, .n_limits = 3};
    struct column *columns = calloc(MAX_TRACES, sizeof *columns);

    if (columns == NULL || !parse(&o, argc, argv))
        return usage();
    for (size_t i = 0; i < o.n_limits; i++) {
        size_t n = o.n_files > 0 ? o.n_files : n_generators;
        int status = fill_columns(&o, columns, n, o.limits[i]);

        if (status != 0)
            return status;
        printf("Limit %u %% of the memory%s. * sees every access: a bound.\n\n", o.limits[i], o.read_ahead ? ", with read-ahead" : "");
        print_table("nanoseconds an access", columns, n, ns, 0);
        print_table("misses of 100 accesses", columns, n, miss_percent, 1);
        print_table("soft faults of 100 accesses", columns, n, soft_percent, 1);
    }
    free(columns);
    return 0;
}
