/* rangeset.c - see rangeset.h. */
#include "core/rangeset.h"

#include <errno.h>
#include <string.h>

/* A change makes two ranges of one and adds its own. */
#define RANGES_A_CHANGE 2

static size_t bytes_of(size_t capacity)
{
    return round_up(capacity * sizeof(struct range), PAGE_BYTES);
}

int rangeset_reserve(struct rangeset *set, size_t n_changes)
{
    size_t wanted = set->n + n_changes * RANGES_A_CHANGE;
    size_t capacity = max_size(2 * set->capacity, PAGE_BYTES / sizeof(struct range));
    void *memory;

    if (wanted <= set->capacity)
        return 0;
    capacity = max_size(capacity, wanted);
    if (os_mem_map(bytes_of(capacity), &memory) != 0)
        return -ENOMEM;
    if (set->n > 0)
        memcpy(memory, set->ranges, set->n * sizeof *set->ranges);
    if (set->ranges != NULL)
        os_mem_unmap(set->ranges, bytes_of(set->capacity));
    set->ranges = memory;
    set->capacity = capacity;
    return 0;
}

/* The first range that ends behind @at. */
static size_t find(const struct rangeset *set, uint64_t at)
{
    size_t low = 0;
    size_t high = set->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (set->ranges[middle].end <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct range *rangeset_from(struct rangeset *set, uint64_t at)
{
    const struct range *last = set->found < set->n ? &set->ranges[set->found] : NULL;

    if (last != NULL && last->first <= at && at < last->end)
        return last;
    set->found = find(set, at);
    return set->found < set->n ? &set->ranges[set->found] : NULL;
}

const struct range *rangeset_at(struct rangeset *set, uint64_t at)
{
    const struct range *range = rangeset_from(set, at);

    return range != NULL && range->first <= at ? range : NULL;
}

bool rangeset_next(struct rangeset *set, uint64_t *at, uint64_t end, struct range *part)
{
    const struct range *range = *at < end ? rangeset_from(set, *at) : NULL;

    if (range == NULL || range->first >= end)
        return false;
    part->first = range->first > *at ? range->first : *at;
    part->end = range->end < end ? range->end : end;
    part->value = range->value;
    *at = part->end;
    return true;
}

/* Ranges [@from, @to) become the @n ones at @fresh. */
static void replace(struct rangeset *set, size_t from, size_t to, const struct range *fresh, size_t n)
{
    memmove(&set->ranges[from + n], &set->ranges[to], (set->n - to) * sizeof *set->ranges);
    if (n > 0)
        memcpy(&set->ranges[from], fresh, n * sizeof *fresh);
    set->n = set->n - (to - from) + n;
    set->found = from;
}

/* The range joins the one before it, if that borders on it and has its value. */
static void append(struct range *ranges, size_t *n, struct range range)
{
    if (range.first == range.end || range.value == 0)
        return;
    if (*n > 0 && ranges[*n - 1].end == range.first && ranges[*n - 1].value == range.value)
        ranges[*n - 1].end = range.end;
    else
        ranges[(*n)++] = range;
}

int rangeset_set(struct rangeset *set, uint64_t first, uint64_t end, uint32_t value)
{
    size_t from = find(set, first);
    size_t to = from;
    struct range fresh[5];
    size_t n = 0;

    INVARIANT(first < end);
    if (from > 0 && set->ranges[from - 1].end == first) /* it may be joined */
        from--;
    while (to < set->n && set->ranges[to].first <= end)
        to++;
    if (from < to && set->ranges[from].first < first) {
        struct range before = set->ranges[from];

        before.end = before.end < first ? before.end : first;
        append(fresh, &n, before);
    }
    append(fresh, &n, (struct range){.first = first, .end = end, .value = value});
    if (from < to && set->ranges[to - 1].end > end) {
        struct range behind = set->ranges[to - 1];

        behind.first = behind.first > end ? behind.first : end;
        append(fresh, &n, behind);
    }
    if (set->n - (to - from) + n > set->capacity && rangeset_reserve(set, 1) != 0)
        return -ENOMEM;
    replace(set, from, to, fresh, n);
    return 0;
}

void rangeset_clear(struct rangeset *set)
{
    if (set->ranges != NULL)
        os_mem_unmap(set->ranges, bytes_of(set->capacity));
    *set = (struct rangeset){0};
}

size_t rangeset_meta_bytes(const struct rangeset *set)
{
    return round_up(set->n * sizeof *set->ranges, PAGE_BYTES);
}
