/* limbo.c - see limbo.h. */
#include "core/limbo.h"

#include <errno.h>

int limbo_init(struct limbo *limbo, uint32_t n_slots, uint32_t most_slots)
{
    size_t table_bytes = round_up(most_slots * sizeof limbo->pages[0], PAGE_BYTES);
    int error;

    *limbo = (struct limbo){.n_slots = n_slots, .most_slots = most_slots};
    error = os_mem_map(table_bytes, (void **)&limbo->pages);
    if (error != 0)
        return error;
    error = os_mem_reserve(most_slots * PAGE_BYTES, (void **)&limbo->space);
    if (error != 0)
        goto unmap_table;
    error = os_mem_commit(limbo->space, most_slots * PAGE_BYTES);
    if (error != 0)
        goto unmap_space;
    return 0;

unmap_space:
    os_mem_unmap(limbo->space, most_slots * PAGE_BYTES);
unmap_table:
    os_mem_unmap(limbo->pages, table_bytes);
    return error;
}

bool limbo_grow(struct limbo *limbo, uint32_t n_slots)
{
    uint64_t turn = limbo->tail - limbo->tail % limbo->n_slots;

    n_slots = (uint32_t)min_size(n_slots, limbo->most_slots);
    if (n_slots <= limbo->n_slots)
        return true;
    if (limbo->head - turn > limbo->n_slots)
        return false;
    limbo->n_touched = (uint32_t)min_size(limbo->head, limbo->n_slots);
    limbo->tail -= turn;
    limbo->head -= turn;
    limbo->n_slots = n_slots;
    return true;
}

limbo_slot limbo_take(struct limbo *limbo, page_number number)
{
    limbo_slot slot = (limbo_slot)(limbo->head % limbo->n_slots);

    if (limbo->pages[slot] != 0)
        return LIMBO_NONE;
    limbo->pages[slot] = number + 1;
    limbo->head++;
    return slot;
}

void limbo_rename(struct limbo *limbo, limbo_slot slot, page_number number)
{
    limbo->pages[slot] = number + 1;
}

void limbo_release(struct limbo *limbo, limbo_slot slot)
{
    limbo->pages[slot] = 0;
    while (limbo->tail < limbo->head && limbo->pages[limbo->tail % limbo->n_slots] == 0)
        limbo->tail++;
}

page_number limbo_next_resting(const struct limbo *limbo, const struct pagetable *table, uint64_t *cursor)
{
    for (; *cursor < limbo->head; (*cursor)++) {
        uint32_t entry = limbo->pages[*cursor % limbo->n_slots];

        if (entry == 0 || page_state(page_at(table, entry - 1)) != PAGE_COOLED)
            continue;
        (*cursor)++;
        return entry - 1;
    }
    return PAGE_NONE;
}

size_t limbo_meta_bytes(const struct limbo *limbo)
{
    return round_up(min_size(max_size(limbo->head, limbo->n_touched), limbo->n_slots) * sizeof limbo->pages[0], PAGE_BYTES);
}
