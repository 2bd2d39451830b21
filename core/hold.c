/* hold.c - see hold.h. */
#include "core/hold.h"

/* All calls together have half of the limit; one that comes too late for that, a part of what is left, or at least of the limit. */
#define SHARE_BESIDE 4
#define SHARE_LEAST 16

/* ---- places ---- */

/* Which part has the place of this index, behind the own ones? @offset: where in it. */
static uint32_t part_of(uint32_t index, uint32_t *offset)
{
    uint32_t k = 31 - (uint32_t)__builtin_clz(index / HOLD_PART + 1);

    *offset = index - HOLD_PART * ((UINT32_C(1) << k) - 1);
    return k;
}

static size_t part_bytes(uint32_t k)
{
    return PAGE_BYTES << k;
}

/* NULL: there is no memory for it yet. */
static struct hold_range *place(struct hold *hold, uint32_t i)
{
    struct hold_range *part;
    uint32_t offset;
    uint32_t k;

    if (i < HOLD_OWN)
        return &hold->own[i];
    k = part_of(i - HOLD_OWN, &offset);
    part = k < HOLD_PARTS ? atomic_load_explicit(&hold->parts[k], memory_order_acquire) : NULL;
    return part != NULL ? &part[offset] : NULL;
}

struct hold_range hold_range(const struct hold *hold, uint32_t i)
{
    const struct hold_range *part;
    uint32_t offset;
    uint32_t k;

    if (i < HOLD_OWN)
        return hold->own[i];
    k = part_of(i - HOLD_OWN, &offset);
    part = k < HOLD_PARTS ? atomic_load_explicit(&hold->parts[k], memory_order_acquire) : NULL;
    return part != NULL ? part[offset] : (struct hold_range){0, 0};
}

/* The same, mapped if it must be. */
static struct hold_range *place_for(struct hold *hold, uint32_t i)
{
    struct hold_range *at = place(hold, i);
    uint32_t offset;
    uint32_t k;
    void *memory;

    hold->in_parts = hold->in_parts || i >= HOLD_OWN;
    if (at != NULL)
        return at;
    k = part_of(i - HOLD_OWN, &offset);
    if (k >= HOLD_PARTS || os_mem_map(part_bytes(k), &memory) != 0)
        return NULL;
    atomic_store_explicit(&hold->parts[k], memory, memory_order_release);
    return place(hold, i);
}

static uint32_t count(const struct hold *hold)
{
    return atomic_load_explicit(&hold->n, memory_order_relaxed);
}

static void set_count(struct hold *hold, uint32_t n)
{
    atomic_store_explicit(&hold->n, n, memory_order_release);
}

void hold_clear(struct hold *hold)
{
    hold_end(hold);
    set_count(hold, 0);
    hold->n_ordered = 0;
    for (uint32_t k = 0; hold->in_parts && k < HOLD_PARTS && atomic_load(&hold->parts[k]) != NULL; k++)
        (void)os_mem_discard(atomic_load(&hold->parts[k]), part_bytes(k));
    hold->in_parts = false;
}

/* ---- order ---- */

/* Sift down; a heap whose greatest stands first. */
static void sift(struct hold *hold, uint32_t root, uint32_t n)
{
    const struct hold_range moved = *place(hold, root);
    uint32_t child;

    while ((child = 2 * root + 1) < n) {
        if (child + 1 < n && place(hold, child)->first < place(hold, child + 1)->first)
            child++;
        if (place(hold, child)->first <= moved.first)
            break;
        *place(hold, root) = *place(hold, child);
        root = child;
    }
    *place(hold, root) = moved;
}

static void sort_all(struct hold *hold, uint32_t n)
{
    for (uint32_t root = n / 2; root-- > 0;)
        sift(hold, root, n);
    for (uint32_t end = n; end-- > 1;) {
        const struct hold_range last = *place(hold, end);

        *place(hold, end) = *place(hold, 0);
        *place(hold, 0) = last;
        sift(hold, 0, end);
    }
}

/* Those before it are in order. */
static void insert(struct hold *hold, uint32_t i)
{
    const struct hold_range moved = *place(hold, i);

    for (; i > 0 && place(hold, i - 1)->first > moved.first; i--)
        *place(hold, i) = *place(hold, i - 1);
    *place(hold, i) = moved;
}

/* More than so many are sorted together with all the others. */
#define INSERTED 8

static void arrange(struct hold *hold)
{
    uint32_t n = count(hold);
    uint32_t n_apart = 0;

    if (hold->n_ordered == n)
        return;
    if (n - hold->n_ordered > INSERTED)
        sort_all(hold, n);
    else
        for (uint32_t i = hold->n_ordered; i < n; i++)
            insert(hold, i);
    for (uint32_t i = 0; i < n; i++) {
        const struct hold_range range = *place(hold, i);
        struct hold_range *last = n_apart > 0 ? place(hold, n_apart - 1) : NULL;

        if (last == NULL || range.first > last->end)
            *place(hold, n_apart++) = range;
        else if (range.end > last->end)
            last->end = range.end;
    }
    set_count(hold, n_apart);
    hold->n_ordered = n_apart;
}

/* ---- ranges ---- */

static uint32_t gap(const struct hold_range *range, page_number first, page_number end)
{
    if (first > range->end)
        return first - range->end;
    return range->first > end ? range->first - end : 0;
}

static void join_nearest(struct hold *hold, page_number first, page_number end)
{
    struct hold_range *nearest = place(hold, 0);

    for (uint32_t i = 1; i < count(hold); i++)
        if (gap(place(hold, i), first, end) < gap(nearest, first, end))
            nearest = place(hold, i);
    nearest->first = first < nearest->first ? first : nearest->first;
    nearest->end = end > nearest->end ? end : nearest->end;
    hold->n_ordered = 0;
}

static void append(struct hold *hold, page_number first, page_number end)
{
    struct hold_range *at = place(hold, count(hold));
    uint32_t n;

    if (at == NULL) /* there may be fewer once they are in order */
        arrange(hold);
    n = count(hold);
    at = place_for(hold, n);
    if (at == NULL) {
        join_nearest(hold, first, end);
        return;
    }
    *at = (struct hold_range){first, end};
    if (hold->n_ordered == n && (n == 0 || first > place(hold, n - 1)->end))
        hold->n_ordered = n + 1;
    set_count(hold, n + 1);
}

void hold_add(struct hold *hold, page_number first, page_number end)
{
    uint32_t n = count(hold);
    struct hold_range *last = n > 0 ? place(hold, n - 1) : NULL;

    if (last != NULL && first >= last->first && first <= last->end)
        last->end = end > last->end ? end : last->end;
    else
        append(hold, first, end);
    if (atomic_load_explicit(&hold->active, memory_order_relaxed) != 0)
        arrange(hold);
}

/* Of ranges in order, the first that ends behind @number; `n`: there is none. Others may be changing the hold: any answer is good then. */
static uint32_t find(const struct hold *hold, page_number number, uint32_t n)
{
    uint32_t from = 0;

    while (from < n) {
        uint32_t middle = from + (n - from) / 2;

        if (hold_range(hold, middle).end <= number)
            from = middle + 1;
        else
            n = middle;
    }
    return from;
}

bool hold_next(const struct hold *hold, page_number first, page_number end, struct hold_range *range)
{
    uint32_t n = count(hold);
    uint32_t i = find(hold, first, n);
    struct hold_range found = {0, 0};

    if (i < n)
        found = hold_range(hold, i);
    if (i == n || first >= end || found.first >= end)
        return false;
    *range = (struct hold_range){found.first > first ? found.first : first, found.end < end ? found.end : end};
    return true;
}

size_t hold_pages(struct hold *hold)
{
    size_t n_pages = 0;

    arrange(hold);
    for (uint32_t i = 0; i < count(hold); i++)
        n_pages += place(hold, i)->end - place(hold, i)->first;
    return n_pages;
}

static uint32_t up_to(size_t n_pages)
{
    return (uint32_t)min_size(n_pages, HOLD_CLAIM - 1);
}

/* The @i-th range becomes two. */
static void split(struct hold *hold, uint32_t i, page_number first, page_number end)
{
    uint32_t n = count(hold);
    struct hold_range *range = place(hold, i);
    struct hold_range *behind = place_for(hold, n);

    if (behind == NULL)
        return;
    *behind = (struct hold_range){end, range->end};
    range->end = first;
    set_count(hold, n + 1);
    arrange(hold);
}

static void cut(struct hold *hold, uint32_t from, page_number first, page_number end)
{
    uint32_t n = count(hold);
    uint32_t n_left = from;

    for (uint32_t i = from; i < n; i++) {
        struct hold_range range = *place(hold, i);

        if (range.first < first)
            range.end = first;
        else if (range.end <= end)
            continue;
        else if (range.first < end)
            range.first = end;
        *place(hold, n_left++) = range;
    }
    set_count(hold, n_left);
    hold->n_ordered = n_left;
}

void hold_remove(struct hold *hold, page_number first, page_number end)
{
    uint32_t i;

    arrange(hold);
    i = find(hold, first, count(hold));
    if (i < count(hold) && place(hold, i)->first < first && place(hold, i)->end > end)
        split(hold, i, first, end);
    else
        cut(hold, i, first, end);
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
    struct hold_range range;

    for (const struct hold *hold = atomic_load_explicit(&holds->first, memory_order_acquire); hold != NULL;
         hold = hold->next) {
        if (!is_active(hold))
            continue;
        if (hold_next(hold, number, number + 1, &range))
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
