/* pagetable.c - see pagetable.h. */
#include "core/pagetable.h"

#include <errno.h>
#include <string.h>

/* Commit in steps: one system call for each 1 GiB of ghost memory. */
#define COMMIT_STEP_PAGES ((size_t)(GIB / PAGE_BYTES))

int pagetable_init(struct pagetable *table, size_t n_pages)
{
    size_t n_groups = round_up(n_pages, PAGETABLE_GROUP_PAGES) / PAGETABLE_GROUP_PAGES;
    size_t counts_bytes = round_up(n_groups * sizeof table->n_busy[0], PAGE_BYTES);
    int error;

    *table = (struct pagetable){.n_pages = n_pages};
    error = os_mem_reserve(n_groups * PAGETABLE_GROUP_PAGES * sizeof(struct page), (void **)&table->pages);
    if (error != 0)
        return error;
    error = os_mem_reserve(counts_bytes, (void **)&table->n_busy);
    if (error != 0)
        goto release_pages;
    error = os_mem_commit(table->n_busy, counts_bytes);
    if (error != 0)
        goto release_counts;
    return 0;

release_counts:
    os_mem_unmap(table->n_busy, counts_bytes);
release_pages:
    os_mem_unmap(table->pages, n_groups * PAGETABLE_GROUP_PAGES * sizeof(struct page));
    return error;
}

int pagetable_commit(struct pagetable *table, size_t n_pages)
{
    size_t from = table->committed_pages;
    size_t to = round_up(n_pages, COMMIT_STEP_PAGES);
    int error;

    if (n_pages <= from)
        return 0;
    to = min_size(to, round_up(table->n_pages, PAGETABLE_GROUP_PAGES));
    error = os_mem_commit(&table->pages[from], (to - from) * sizeof(struct page));
    if (error == 0)
        table->committed_pages = to;
    return error;
}

int pagetable_commit_far(struct pagetable *table, page_number first, page_number end)
{
    size_t from = max_size(table->far_end, first);
    size_t to = min_size(round_up(end, COMMIT_STEP_PAGES), round_up(table->n_pages, PAGETABLE_GROUP_PAGES));
    int error;

    if (end <= from)
        return 0;
    error = os_mem_commit(&table->pages[from], (to - from) * sizeof(struct page));
    if (error == 0) {
        table->far_first = first;
        table->far_end = to;
    }
    return error;
}

/* The arrows of the diagram in pagetable.h, as a set of targets for each state. */
static bool arrow_exists(enum page_state from, enum page_state to)
{
    enum { RESIDENT = 1u << PAGE_RESIDENT | 1u << PAGE_FRESH };
    static const uint16_t targets[] = {
        [PAGE_EMPTY] = 1u << PAGE_THAWING | RESIDENT | 1u << PAGE_MOVING | 1u << PAGE_CEDED,
        [PAGE_RESIDENT] = 1u << PAGE_FRESH | 1u << PAGE_COOLING | 1u << PAGE_FREEZING | 1u << PAGE_MOVING | 1u << PAGE_EMPTY,
        [PAGE_FRESH] = 1u << PAGE_RESIDENT | 1u << PAGE_COOLING | 1u << PAGE_FREEZING | 1u << PAGE_MOVING | 1u << PAGE_EMPTY,
        [PAGE_COOLED] = 1u << PAGE_FREEZING | 1u << PAGE_THAWING | RESIDENT | 1u << PAGE_EMPTY,
        [PAGE_FROZEN] = 1u << PAGE_THAWING | RESIDENT | 1u << PAGE_SWAPPED | 1u << PAGE_EMPTY,
        [PAGE_SAME] = 1u << PAGE_THAWING | RESIDENT | 1u << PAGE_EMPTY,
        [PAGE_SWAPPED] = 1u << PAGE_THAWING | RESIDENT | 1u << PAGE_FROZEN | 1u << PAGE_LOST |
                         1u << PAGE_EMPTY,
        [PAGE_LOST] = 1u << PAGE_EMPTY,
        [PAGE_CEDED] = 1u << PAGE_EMPTY,
        [PAGE_THAWING] = RESIDENT | 1u << PAGE_FROZEN | 1u << PAGE_SAME | 1u << PAGE_SWAPPED |
                         1u << PAGE_LOST | 1u << PAGE_COOLED | 1u << PAGE_EMPTY,
        [PAGE_COOLING] = 1u << PAGE_COOLED | RESIDENT | 1u << PAGE_FREEZING | 1u << PAGE_EMPTY,
        [PAGE_FREEZING] = 1u << PAGE_FROZEN | 1u << PAGE_SAME | 1u << PAGE_SWAPPED | 1u << PAGE_COOLED | RESIDENT,
        [PAGE_MOVING] = RESIDENT | 1u << PAGE_EMPTY,
    };

    return (targets[from] >> to & 1) != 0;
}

static void count(struct pagetable *table, enum page_state state, size_t by)
{
    if (state == PAGE_FROZEN)
        table->n_frozen += by;
    else if (state == PAGE_SAME)
        table->n_same += by;
    else if (state == PAGE_SWAPPED)
        table->n_swapped += by;
    else if (state == PAGE_LOST)
        table->n_lost += by;
    else if (state >= PAGE_THAWING)
        table->n_transit += by;
}

static void group_leave(struct pagetable *table, page_number number, size_t n)
{
    size_t group = number / PAGETABLE_GROUP_PAGES;

    table->n_busy[group] = (uint16_t)(table->n_busy[group] - n);
    if (table->n_busy[group] > 0)
        return;
    table->n_busy_groups--;
    /* On failure the memory stays, full of EMPTY entries. */
    (void)os_mem_release(&table->pages[group * PAGETABLE_GROUP_PAGES], PAGETABLE_GROUP_PAGES * sizeof(struct page));
}

static void group_enter(struct pagetable *table, page_number number, size_t n)
{
    size_t group = number / PAGETABLE_GROUP_PAGES;

    if (table->n_busy[group] == 0)
        table->n_busy_groups++;
    table->n_busy[group] = (uint16_t)(table->n_busy[group] + n);
}

void page_set_state(struct pagetable *table, page_number number, enum page_state to)
{
    struct page *page = page_at(table, number);
    enum page_state from = page_state(page);

    INVARIANT(arrow_exists(from, to));
    count(table, from, (size_t)-1);
    count(table, to, 1);
    table->n_away_peak = max_size(table->n_away_peak, table->n_frozen + table->n_same + table->n_swapped);
    page->state = (uint32_t)to & 15u;
    if (from == PAGE_EMPTY && page->flags == 0)
        group_enter(table, number, 1);
    if (to == PAGE_EMPTY) {
        page->next = page->prev = 0;
        page->value = 0;
        page->flags &= PAGE_FLAG_LAST;
        if (page->flags == 0)
            group_leave(table, number, 1);
    }
}

void page_set_last(struct pagetable *table, page_number number, bool last)
{
    struct page *page = page_at(table, number);
    bool was_idle = page->state == PAGE_EMPTY && page->flags == 0;

    page->flags = last ? page->flags | PAGE_FLAG_LAST : page->flags & ~PAGE_FLAG_LAST & 15u;
    if (page->state != PAGE_EMPTY)
        return;
    if (was_idle && last)
        group_enter(table, number, 1);
    else if (!was_idle && page->flags == 0)
        group_leave(table, number, 1);
}

/* Entries from @page on that can move as they are, at most @most. */
static size_t movable_run(const struct page *page, size_t most)
{
    const uint32_t movable = 1u << PAGE_FROZEN | 1u << PAGE_SAME | 1u << PAGE_SWAPPED | 1u << PAGE_LOST |
                             1u << PAGE_COOLED;
    size_t n = 0;

    while (n < most && (movable >> page[n].state & 1) != 0)
        n++;
    return n;
}

static size_t move_plain_run(struct pagetable *table, page_number to, page_number from, size_t n)
{
    struct page *source = page_at(table, from);
    struct page *target = page_at(table, to);
    size_t group = to / PAGETABLE_GROUP_PAGES;

    /* One call for a group's fresh table pages instead of a fault for each. */
    if (table->n_busy[group] == 0 && n >= PAGETABLE_GROUP_PAGES / 4)
        (void)os_mem_unshare(&table->pages[group * PAGETABLE_GROUP_PAGES], PAGETABLE_GROUP_PAGES * sizeof *target);
    memcpy(target, source, n * sizeof *target);
    memset(source, 0, n * sizeof *source);
    group_enter(table, to, n);
    group_leave(table, from, n);
    return n;
}

static size_t move_flagged_entry(struct pagetable *table, page_number to, page_number from)
{
    struct page *source = page_at(table, from);
    struct page *target = page_at(table, to);
    uint32_t source_flags = source->flags;
    uint32_t target_flags = target->flags;

    *target = *source;
    target->flags = target_flags & 15u;
    *source = (struct page){.flags = source_flags & 15u};
    if (target_flags == 0)
        group_enter(table, to, 1);
    if (source_flags == 0)
        group_leave(table, from, 1);
    return 1;
}

size_t pagetable_move_run(struct pagetable *table, page_number to, page_number from, size_t most)
{
    struct page *source = page_at(table, from);
    struct page *target = page_at(table, to);
    size_t n;

    most = min_size(most, PAGETABLE_GROUP_PAGES - from % PAGETABLE_GROUP_PAGES);
    most = min_size(most, PAGETABLE_GROUP_PAGES - to % PAGETABLE_GROUP_PAGES);
    n = movable_run(source, most);
    /* Flags stay where they are: an entry with one is moved by itself. */
    for (size_t i = 0; i < n; i++)
        if ((source[i].flags | target[i].flags) != 0)
            return i > 0 ? move_plain_run(table, to, from, i) : move_flagged_entry(table, to, from);
    return n > 0 ? move_plain_run(table, to, from, n) : 0;
}

int pagetable_move_groups(struct pagetable *table, page_number to, page_number from, size_t n_groups)
{
    size_t source = from / PAGETABLE_GROUP_PAGES;
    size_t target = to / PAGETABLE_GROUP_PAGES;
    int error;

    for (size_t i = 0; i < n_groups; i++)
        if (table->n_busy[target + i] != 0)
            return -EBUSY;
    error = os_mem_move(page_at(table, from), page_at(table, to),
                        n_groups * PAGETABLE_GROUP_PAGES * sizeof(struct page));
    if (error != 0)
        return error;
    memcpy(&table->n_busy[target], &table->n_busy[source], n_groups * sizeof table->n_busy[0]);
    memset(&table->n_busy[source], 0, n_groups * sizeof table->n_busy[0]);
    return 0;
}

page_number pagetable_next_busy(const struct pagetable *table, page_number number, page_number end)
{
    page_number far_first = (page_number)(table->far_end != 0 ? table->far_first : PAGE_NONE);

    while (number < end && table->n_busy[number / PAGETABLE_GROUP_PAGES] == 0) {
        number = (page_number)((number / PAGETABLE_GROUP_PAGES + 1) * PAGETABLE_GROUP_PAGES);
        if (number >= table->committed_pages && number < far_first)
            number = far_first;
    }
    return number < end ? number : end;
}

void page_set_word(struct page *page, uint64_t word)
{
    page->value = (uint32_t)word;
    page->next = (uint32_t)(word >> 32) & PAGE_NONE;
    page->prev = (uint32_t)(word >> 60) & 15u;
}

uint64_t page_word(const struct page *page)
{
    return (uint64_t)page->value | (uint64_t)page->next << 32 | (uint64_t)page->prev << 60;
}

size_t pagetable_meta_bytes(const struct pagetable *table)
{
    return table->n_busy_groups * PAGETABLE_GROUP_PAGES * sizeof(struct page);
}
