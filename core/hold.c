/* hold.c - see hold.h. */
#include "core/hold.h"

void hold_clear(struct hold *hold)
{
    hold_end(hold);
    hold->n = 0;
}

static uint32_t gap(const struct hold_range *range, page_number first, page_number end)
{
    if (first > range->end)
        return first - range->end;
    return range->first > end ? range->first - end : 0;
}

void hold_add(struct hold *hold, page_number first, page_number end)
{
    uint32_t nearest = 0;

    for (uint32_t i = 1; i < hold->n; i++)
        if (gap(&hold->ranges[i], first, end) < gap(&hold->ranges[nearest], first, end))
            nearest = i;
    if (hold->n > 0 && (hold->n == HOLD_RANGES || gap(&hold->ranges[nearest], first, end) == 0)) {
        struct hold_range *range = &hold->ranges[nearest];

        range->first = first < range->first ? first : range->first;
        range->end = end > range->end ? end : range->end;
        return;
    }
    hold->ranges[hold->n++] = (struct hold_range){first, end};
}

void hold_intersect(const struct hold *hold, page_number first, page_number end, struct hold *part)
{
    *part = (struct hold){.n = 0};
    for (uint32_t i = 0; i < hold->n; i++) {
        const struct hold_range *range = &hold->ranges[i];

        if (first < range->end && range->first < end)
            hold_add(part, range->first > first ? range->first : first, range->end < end ? range->end : end);
    }
}

void hold_remove(struct hold *hold, page_number first, page_number end)
{
    for (uint32_t i = hold->n; i-- > 0;)
        if (hold->ranges[i].first >= first && hold->ranges[i].end <= end)
            hold->ranges[i] = hold->ranges[--hold->n];
}

void hold_start(struct holds *holds, struct hold *hold)
{
    atomic_store_explicit(&hold->active, 1, memory_order_release);
    if (hold->listed)
        return;
    hold->listed = true;
    hold->next = atomic_load(&holds->first);
    while (!atomic_compare_exchange_weak(&holds->first, &hold->next, hold))
        continue;
}

bool holds_contain(struct holds *holds, page_number number)
{
    for (const struct hold *hold = atomic_load_explicit(&holds->first, memory_order_acquire); hold != NULL;
         hold = hold->next) {
        if (atomic_load_explicit(&hold->active, memory_order_acquire) == 0)
            continue;
        for (uint32_t i = 0; i < hold->n && i < HOLD_RANGES; i++)
            if (number >= hold->ranges[i].first && number < hold->ranges[i].end)
                return true;
    }
    return false;
}

bool holds_any(struct holds *holds)
{
    for (const struct hold *hold = atomic_load_explicit(&holds->first, memory_order_acquire); hold != NULL;
         hold = hold->next)
        if (atomic_load_explicit(&hold->active, memory_order_acquire) != 0)
            return true;
    return false;
}
