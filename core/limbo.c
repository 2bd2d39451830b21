/* limbo.c - see limbo.h. */
#include "core/limbo.h"

#include <errno.h>

int limbo_init(struct limbo *limbo, uint32_t n_slots)
{
    size_t table_bytes = round_up(n_slots * sizeof limbo->pages[0], PAGE_BYTES);
    int error;

    *limbo = (struct limbo){.n_slots = n_slots};
    error = os_mem_map(table_bytes, (void **)&limbo->pages);
    if (error != 0)
        return error;
    error = os_mem_reserve(n_slots * PAGE_BYTES, (void **)&limbo->space);
    if (error != 0)
        goto unmap_table;
    error = os_mem_commit(limbo->space, n_slots * PAGE_BYTES);
    if (error != 0)
        goto unmap_space;
    for (uint32_t i = 0; i < n_slots; i++)
        limbo->pages[i] = PAGE_NONE;
    return 0;

unmap_space:
    os_mem_unmap(limbo->space, n_slots * PAGE_BYTES);
unmap_table:
    os_mem_unmap(limbo->pages, table_bytes);
    return error;
}

limbo_slot limbo_take(struct limbo *limbo, page_number number)
{
    limbo_slot slot = (limbo_slot)(limbo->head % limbo->n_slots);

    if (limbo->pages[slot] != PAGE_NONE)
        return LIMBO_NONE;
    limbo->pages[slot] = number;
    limbo->head++;
    return slot;
}

void limbo_release(struct limbo *limbo, limbo_slot slot)
{
    limbo->pages[slot] = PAGE_NONE;
    while (limbo->tail < limbo->head && limbo->pages[limbo->tail % limbo->n_slots] == PAGE_NONE)
        limbo->tail++;
}

page_number limbo_next_resting(const struct limbo *limbo, const struct pagetable *table, uint64_t *cursor)
{
    for (; *cursor < limbo->head; (*cursor)++) {
        page_number number = limbo->pages[*cursor % limbo->n_slots];

        if (number == PAGE_NONE || page_state(page_at(table, number)) != PAGE_COOLED)
            continue;
        (*cursor)++;
        return number;
    }
    return PAGE_NONE;
}

size_t limbo_meta_bytes(const struct limbo *limbo)
{
    return round_up(limbo->n_slots * sizeof limbo->pages[0], PAGE_BYTES);
}
