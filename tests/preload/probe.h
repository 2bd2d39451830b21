/* probe.h - what the parts of the probe program share: see probe.c. */
#ifndef TESTS_PRELOAD_PROBE_H
#define TESTS_PRELOAD_PROBE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PAGE ((size_t)4096)

struct probe {
    const char *name;
    void (*run)(size_t bytes); /* of the data to work on: more than the limit of the run with GhostMem */
};

extern const struct probe probes_alloc[];
extern const struct probe probes_process[];
extern const struct probe probes_kernel[];
extern const struct probe probes_swap[];
extern const struct probe probes_calls[];
extern const struct probe probes_signals[];
extern const struct probe probes_stacks[];
extern const struct probe probes_table[];
extern const struct probe probes_large[];
extern const struct probe probes_map[];
extern const struct probe probes_share[];
extern const struct probe probes_ahead[];
extern const struct probe probes_faults[];
extern const struct probe probes_crash[];
extern const struct probe probes_children[];
extern const struct probe probes_world[];
extern const struct probe probes_advice[];
extern const struct probe probes_confined[];
extern const struct probe probes_trace[];
extern const struct probe probes_plugin[];
extern const struct probe probes_rows[];
extern const struct probe probes_rings[];
extern const struct probe probes_secrets[];
extern const struct probe probes_spawn[];
extern const struct probe probes_limits[];
extern const struct probe probes_messages[];
extern const struct probe probes_inplace[];
extern const struct probe probes_remap[];
extern const struct probe probes_cold[];
extern const struct probe probes_small[];

void die(const char *file, int line, const char *what);
#define CHECK(condition) ((condition) ? (void)0 : die(__FILE__, __LINE__, #condition))

/* Contents that compress a little, differ from page to page, and can be checked word by word. */
void fill(void *block, size_t bytes, uint64_t salt);
void check(const void *block, size_t bytes, uint64_t salt);
void check_page(const void *block, size_t page, uint64_t salt);
void *filled(size_t bytes, uint64_t salt);

/* All else leaves RAM: @bytes are written and read. */
void push_out(size_t bytes);

/* A file on a disk, empty, without a name. @flags: more of open(2)'s. */
int scratch_file(int flags);

/* Waits for the child, which must end with status 0. */
void expect_success(pid_t child);

/* A child's own way with the memory that it inherited: all of it is as it was, can be written, freed, and had anew. */
void use_and_end(char *p, size_t bytes, uint64_t salt);

#endif
