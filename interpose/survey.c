/* survey.c - see survey.h. */
#include "interpose/survey.h"

#include "interpose/ghost.h"
#include "interpose/guard.h"

#include "core/log.h"
#include "core/pager_far.h"
#include "platform/maps.h"

#include <string.h>
#include <sys/mman.h>

#define STATIC_LEAST_BYTES MIB
/* What a library's own small variables take, in front of what the kernel shows as one mapping with them. */
#define STATIC_SKIPPED_BYTES (256 * KIB)
/* A thread's control block, with libc's and the libraries' thread-local variables below it. */
#define CONTROL_BELOW (64 * KIB)
#define CONTROL_ABOVE (16 * KIB)
/* A stack reaches from its mapping's start to its thread's control block, unless that is further. */
#define STACK_MOST (64 * MIB)

/* This library in memory. Source: ld(1), PROVIDEd symbols. */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char end[] __attribute__((visibility("hidden")));

#define AREAS_AT_FIRST 4096

struct survey {
    struct rangeset left_alone;
    uintptr_t file_end;  /* of the mapping before, if it is one of a file ... */
    bool file_is_program; /* ... and of the program's */
    bool any_file;
    size_t static_bytes;
    void (*take)(struct survey *survey, uintptr_t start, uintptr_t stop, uint32_t value);
};

static char buffer[OS_MAPS_BUFFER_BYTES]; /* under the heap's lock, or before there are threads */

static void leave_alone(struct survey *survey, uintptr_t start, uintptr_t stop)
{
    start &= ~(PAGE_BYTES - 1);
    (void)rangeset_set(&survey->left_alone, start, round_up(stop, PAGE_BYTES), 1);
}

static void leave_own(void *arg, uintptr_t start, size_t n_pages)
{
    leave_alone(arg, start, start + n_pages * PAGE_BYTES);
}

/* What a thread stands on, if it lies in this mapping. */
struct threads_in {
    struct survey *survey;
    const struct os_mapping *mapping;
};

static void leave_thread(void *arg, uintptr_t control, uintptr_t stack)
{
    struct threads_in *in = arg;
    const struct os_mapping *mapping = in->mapping;
    bool has_stack = stack >= mapping->start && stack < mapping->end;
    uintptr_t below = guard_control_below();
    uintptr_t low = control - (below > CONTROL_BELOW ? below : CONTROL_BELOW);

    if (control < mapping->start || control >= mapping->end)
        return;
    if (has_stack && stack < control && low > mapping->start)
        low = control - mapping->start <= STACK_MOST ? mapping->start : low < control - STACK_MOST ? low : control - STACK_MOST;
    leave_alone(in->survey, low > mapping->start ? low : mapping->start, control + CONTROL_ABOVE);
}

static uint32_t value_of(const struct os_mapping *mapping, uint32_t kind)
{
    return kind | ((mapping->protection & PROT_READ) != 0 ? AREA_READ : 0) | ((mapping->protection & PROT_WRITE) != 0 ? AREA_WRITE : 0);
}

static void take_parts(struct survey *survey, uintptr_t start, uintptr_t stop, uint32_t value)
{
    while (start < stop) {
        const struct range *left = rangeset_from(&survey->left_alone, start);
        uintptr_t part_end = left != NULL && left->first < stop ? left->first : stop;

        if (part_end > start && part_end - start >= SURVEY_LEAST_BYTES)
            survey->take(survey, start, part_end, value);
        start = left != NULL && left->first < stop ? left->end : stop;
    }
}

static bool is_kernels(const char *name)
{
    return name[0] == '[' && strcmp(name, "[heap]") != 0 && strncmp(name, "[anon:", 6) != 0;
}

static bool look_at(void *arg, const struct os_mapping *mapping)
{
    struct survey *survey = arg;
    struct threads_in in = {.survey = survey, .mapping = mapping};
    bool behind_file = mapping->start == survey->file_end;
    uintptr_t start = mapping->start;
    uint32_t kind = strcmp(mapping->name, "[heap]") == 0 ? AREA_HEAP : AREA_MAPPING;

    if (mapping->of_file) {
        survey->file_is_program = !survey->any_file || (survey->file_is_program && behind_file);
        survey->any_file = true;
        survey->file_end = mapping->end;
        return true;
    }
    if (mapping->shared || (mapping->protection & PROT_EXEC) != 0 || is_kernels(mapping->name))
        return true;
    if (behind_file && (mapping->protection & PROT_WRITE) != 0) { /* .bss, and what the kernel has joined to it */
        if (mapping->end - start < STATIC_LEAST_BYTES)
            return true;
        kind = AREA_STATIC;
        start += survey->file_is_program ? 0 : STATIC_SKIPPED_BYTES;
    }
    guard_each_thread(leave_thread, &in);
    take_parts(survey, start, mapping->end, value_of(mapping, kind));
    return true;
}

static struct rangeset asked; /* to be left alone */

void survey_leave_alone(uintptr_t start, size_t bytes)
{
    start &= ~(PAGE_BYTES - 1);
    if (bytes > 0 && start + bytes > start)
        (void)rangeset_set(&asked, start, round_up(start + bytes, PAGE_BYTES), 1);
}

static int survey(struct survey *survey)
{
    struct range part;
    uint64_t at = 0;
    int error;

    while (rangeset_next(&asked, &at, UINT64_MAX, &part))
        leave_alone(survey, part.first, part.end);

    os_mem_visit_own(leave_own, survey);
    leave_alone(survey, (uintptr_t)__ehdr_start, (uintptr_t)end);
    if (ghost.pager.space.near_pages > 0)
        leave_alone(survey, ghost.pager.space.near_base, space_near_address(&ghost.pager.space, ghost.pager.space.near_pages));
    error = os_maps_each(buffer, look_at, survey);
    rangeset_clear(&survey->left_alone);
    return error;
}

static void learn(struct survey *survey, uintptr_t start, uintptr_t stop, uint32_t value)
{
    (void)survey;
    (void)pager_far_learn_locked(&ghost.pager, start, stop, value, false);
}

static void forget_own(void *arg, uintptr_t start, size_t n_pages)
{
    (void)arg;
    pager_far_unlearn_locked(&ghost.pager, start, start + n_pages * PAGE_BYTES);
}

void survey_locked(void *arg)
{
    struct survey all = {.take = learn};
    int error = rangeset_reserve(&ghost.pager.space.areas, AREAS_AT_FIRST);

    LOCK_ASSERT_HELD(LOCK_PAGER);
    (void)arg;
    if (error == 0)
        error = survey(&all);
    os_mem_visit_own(forget_own, NULL); /* mapped meanwhile */
    if (error != 0)
        log_line(LOG_ERROR, "cannot see what is mapped: %e; memory outside of large blocks is not managed", -error);
}

static void count_static(struct survey *survey, uintptr_t start, uintptr_t stop, uint32_t value)
{
    if ((value & AREA_KIND) == AREA_STATIC)
        survey->static_bytes += stop - start;
}

size_t survey_static_bytes(void)
{
    struct survey all = {.take = count_static};

    return survey(&all) == 0 ? all.static_bytes : 0;
}
