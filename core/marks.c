/* marks.c - see marks.h. */
#include "core/marks.h"

#include <errno.h>

static void append(struct marks *marks, page_number first, page_number end)
{
    uint32_t n = atomic_load(&marks->n);

    if (n == MARKS_MAX)
        return;
    marks->ranges[n] = (struct marks_range){first, end};
    atomic_store(&marks->n, n + 1);
}

static void drop(struct marks *marks, uint32_t i)
{
    uint32_t last = atomic_load(&marks->n) - 1;

    marks->ranges[i] = marks->ranges[last];
    atomic_store(&marks->n, last);
}

int marks_add(struct marks *marks, page_number first, page_number end)
{
    uint32_t n_met = 0;

    for (uint32_t i = 0; i < marks->n; i++)
        n_met += marks->ranges[i].first <= end && first <= marks->ranges[i].end;
    if (n_met == 0 && marks->n == MARKS_MAX)
        return -ENOMEM;
    for (uint32_t i = marks->n; i-- > 0;) {
        const struct marks_range met = marks->ranges[i];

        if (met.first > end || first > met.end)
            continue;
        first = met.first < first ? met.first : first;
        end = met.end > end ? met.end : end;
        drop(marks, i);
    }
    append(marks, first, end);
    return 0;
}

void marks_remove(struct marks *marks, page_number first, page_number end)
{
    for (uint32_t i = marks->n; i-- > 0;) {
        const struct marks_range met = marks->ranges[i];

        if (met.first >= end || first >= met.end)
            continue;
        drop(marks, i);
        if (met.first < first)
            append(marks, met.first, first);
        if (end < met.end)
            append(marks, end, met.end);
    }
}

void marks_move(struct marks *marks, page_number first, page_number end, page_number to)
{
    for (uint32_t i = 0; i < marks->n; i++) {
        struct marks_range *range = &marks->ranges[i];

        if (range->first < first || range->end > end)
            continue;
        range->end = to + (range->end - first);
        range->first = to + (range->first - first);
    }
}
