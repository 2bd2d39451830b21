/* hold.c - see hold.h. */
#include "core/hold.h"

/* All calls together have half of the limit; one that comes too late for that, a part of what is left, or at least of the limit. */
#define SHARE_BESIDE 4
#define SHARE_LEAST 16

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

size_t hold_pages(const struct hold *hold)
{
    size_t n_pages = 0;

    for (uint32_t i = 0; i < hold->n; i++)
        n_pages += hold->ranges[i].end - hold->ranges[i].first;
    return n_pages;
}

static uint32_t up_to(size_t n_pages)
{
    return (uint32_t)min_size(n_pages, HOLD_CLAIM - 1);
}

void hold_remove(struct hold *hold, page_number first, page_number end)
{
    for (uint32_t i = hold->n; i-- > 0;)
        if (hold->ranges[i].first >= first && hold->ranges[i].end <= end)
            hold->ranges[i] = hold->ranges[--hold->n];
    if (atomic_load(&hold->active) != 0) /* what is left of it, for those who share the limit with it */
        atomic_store(&hold->active, up_to(hold_pages(hold)));
}

/* To be seen by others before its thread looks at theirs. */
static void publish(struct holds *holds, struct hold *hold, uint32_t active)
{
    atomic_store(&hold->active, active);
    if (hold->listed)
        return;
    hold->listed = true;
    hold->next = atomic_load(&holds->first);
    while (!atomic_compare_exchange_weak(&holds->first, &hold->next, hold))
        continue;
}

size_t hold_claim(struct holds *holds, struct hold *hold, size_t n_pages)
{
    size_t n_others = 0;

    publish(holds, hold, HOLD_CLAIM | up_to(n_pages));
    for (struct hold *other = atomic_load(&holds->first); other != NULL; other = other->next)
        if (other != hold)
            n_others += atomic_load(&other->active) & ~HOLD_CLAIM;
    return n_others;
}

size_t hold_share(size_t limit_pages, size_t n_others)
{
    size_t half = limit_pages / 2;
    size_t n_left = limit_pages > n_others ? limit_pages - n_others : 0;
    size_t least = max_size(limit_pages / SHARE_LEAST, 1);

    return max_size(max_size(half > n_others ? half - n_others : 0, n_left / SHARE_BESIDE), least);
}

void hold_start(struct holds *holds, struct hold *hold)
{
    publish(holds, hold, up_to(max_size(hold_pages(hold), 1)));
}

static bool is_active(const struct hold *hold)
{
    uint32_t active = atomic_load_explicit(&hold->active, memory_order_acquire);

    return active != 0 && (active & HOLD_CLAIM) == 0;
}

bool holds_contain(struct holds *holds, page_number number)
{
    for (const struct hold *hold = atomic_load_explicit(&holds->first, memory_order_acquire); hold != NULL;
         hold = hold->next) {
        if (!is_active(hold))
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
        if (is_active(hold))
            return true;
    return false;
}
