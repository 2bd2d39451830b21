/*
 * config.h - the settings, read once from the environment.
 *
 * Calls: log, host.  Locks: none, it runs before any thread of ours.  Memory: the struct; strings stay in environ.
 */
#ifndef GHOSTMEM_CORE_CONFIG_H
#define GHOSTMEM_CORE_CONFIG_H

#include "core/base.h"

/* An instruction can need four pages at once (a move between two unaligned places); one more is in transit. */
#define CONFIG_MIN_LIMIT_PAGES 5

enum config_faults {
    CONFIG_FAULTS_AUTO,
    CONFIG_FAULTS_THREAD,
    CONFIG_FAULTS_SIGNAL,
    CONFIG_FAULTS_SEGV,
};

enum config_scope {
    CONFIG_SCOPE_BLOCKS,  /* large blocks of malloc alone */
    CONFIG_SCOPE_PROCESS, /* all private memory of the process */
};

enum config_reclaim {
    CONFIG_RECLAIM_AUTO,
    CONFIG_RECLAIM_DIRECT,
    CONFIG_RECLAIM_BACKGROUND,
};

/* Whose malloc the program's is. */
enum config_interpose {
    CONFIG_INTERPOSE_AUTO, /* ours, unless the program links the library and nobody preloads it */
    CONFIG_INTERPOSE_OFF,
    CONFIG_INTERPOSE_ON,
};

enum config_cold {
    CONFIG_COLD_OFF,
    CONFIG_COLD_LZ4,
    CONFIG_COLD_ZSTD,
};

struct config {
    uint64_t limit_pages;     /* 0: the default, see config_limit_pages() */
    unsigned limit_percent;   /* of the usable RAM, when > 0 */
    bool sets_pages;          /* GHOSTMEM_MAX_PAGES was taken, and is not 0 */
    bool sets_memory;         /* GHOSTMEM_MAX_MEMORY was taken */
    size_t threshold_bytes;   /* allocations of at least this size become ghost memory */
    uint64_t pool_bytes;      /* most RAM for images; 0: the default, see config_pool_bytes() */
    const char *swap;         /* NULL: none; else a file or directory */
    uint64_t swap_max_bytes;  /* UINT64_MAX: no bound */
    bool swap_encrypt;
    bool compress;
    enum config_cold cold;
    int cold_level; /* 0: the usual one */
    const char *stats;        /* NULL: none; "1": the report; else a path with %p for the process id, %n for the program's name */
    const char *log;          /* NULL: stderr; else such a path */
    const char *programs;     /* NULL: all; else names separated by colons */
    unsigned verbose;         /* 0 .. 2 */
    enum config_faults faults;
    enum config_reclaim reclaim;
    enum config_scope scope;
    enum config_interpose interpose;
    bool misuse_aborts; /* of the library's own functions; malloc's family always aborts */
    bool disable;
    bool strict;
    unsigned n_errors;        /* bad or unknown settings seen */
};

/*
 * Read every GHOSTMEM_ variable of @environment (NULL: all defaults). One line for each that is bad, unknown, or not
 * built yet; the run goes on with what the line says.
 */
void config_read(struct config *config, char *const *environment);

/* Write the lines that config_read() kept back, now that log_open() has been called. */
void config_complain(const struct config *config, char *const *environment);

/* The limit in pages, at least CONFIG_MIN_LIMIT_PAGES; looks at the machine where a share or nothing was given. */
uint64_t config_limit_pages(const struct config *config);

/* Most RAM for images at a limit of @limit_pages: as set, or an eighth of the limit with a swap file, else no bound. */
uint64_t config_pool_bytes(const struct config *config, uint64_t limit_pages);

/* Does GHOSTMEM_PROGRAMS (or its absence) let this program in? @name: the last component of a path; so of each path in the list. */
bool config_names_program(const struct config *config, const char *name);

/* "512M", "2G", "4096", "128k": a number with an optional suffix B, K, M, G, T (1024), in either case. */
bool config_parse_size(const char *text, uint64_t *bytes);

/*
 * The table of settings, for who takes them otherwise than from the environment. Name without GHOSTMEM_ of the setting
 * @number, 0 ..; *@accepted: what values it takes, in words. NULL: there are no more.
 */
const char *config_setting_name(size_t number, const char **accepted);

/* Take one more setting, "POOL=1G" or "GHOSTMEM_POOL=1G", as config_read() would. False: it would not be taken as it is. */
bool config_take(struct config *config, const char *setting);

/* Would config_read() take @value as it is for the setting @number, which there is? */
bool config_setting_takes(size_t number, const char *value);

/* Expand %p (the process id), %n (@program, its name) and %% of @pattern. False: it does not fit. */
bool config_expand_path(const char *pattern, const char *program, char *path, size_t bytes);

#endif
