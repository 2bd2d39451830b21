/* history.c - see history.h. */
#include "core/history.h"

#include "platform/mem.h"

int history_init(struct history *history, uint32_t n_slots)
{
    int error;

    *history = (struct history){.n_slots = n_slots};
    error = os_mem_map(history_meta_bytes(history), (void **)&history->left);
    if (error != 0)
        history->n_slots = 0;
    return error;
}

void history_note(struct history *history, page_number number)
{
    if (history->n_slots > 0)
        history->left[number % history->n_slots] = number + 1;
}

bool history_has(const struct history *history, page_number number)
{
    return history->n_slots > 0 && history->left[number % history->n_slots] == number + 1;
}

bool history_recall(struct history *history, page_number number)
{
    bool has = history_has(history, number);

    if (has)
        history->left[number % history->n_slots] = 0;
    return has;
}

size_t history_meta_bytes(const struct history *history)
{
    return round_up(history->n_slots * sizeof history->left[0], PAGE_BYTES);
}
