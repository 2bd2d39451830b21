/* history.c - see history.h. */
#include "core/history.h"

#include "platform/mem.h"

#define HOW_SHIFT 14
#define HOW_OF(entry) ((entry) >> HOW_SHIFT)
#define N_QUOTIENTS ((1u << HOW_SHIFT) - 1)
#define QUOTIENT_OF(entry) ((entry) & N_QUOTIENTS)

/* So many that came back or were forgotten are lately: then the counts are halved. */
#define LATELY 8192u

int history_init(struct history *history, uint32_t n_slots)
{
    int error;

    *history = (struct history){.n_slots = n_slots, .n_back = {1, 1}};
    error = os_mem_map(history_meta_bytes(history), (void **)&history->left);
    if (error != 0)
        history->n_slots = 0;
    return error;
}

void history_resize(struct history *history, uint32_t n_slots)
{
    struct history other;

    if (n_slots == history->n_slots || history_init(&other, n_slots) != 0)
        return;
    if (history->n_slots > 0)
        os_mem_unmap(history->left, history_meta_bytes(history));
    *history = other;
}

/* From 1 on. */
static uint32_t quotient_of(const struct history *history, page_number number)
{
    return number / history->n_slots % N_QUOTIENTS + 1;
}

/* The page's entry; 0: it has none. */
static uint32_t entry_of(const struct history *history, page_number number)
{
    uint32_t entry = history->n_slots > 0 ? history->left[number % history->n_slots] : 0;

    return entry != 0 && QUOTIENT_OF(entry) == quotient_of(history, number) ? entry : 0;
}

/* What became of a page that left so is known. */
static void count(struct history *history, uint32_t entry, bool came_back)
{
    bool bare = (HOW_OF(entry) & HISTORY_BARE) != 0;
    uint32_t *n = came_back ? &history->n_back[bare] : &history->n_forgotten[bare];

    if (entry == 0)
        return;
    ++*n;
    if (history->n_back[0] + history->n_back[1] + history->n_forgotten[0] + history->n_forgotten[1] < LATELY)
        return;
    for (unsigned i = 0; i < 2; i++) {
        history->n_back[i] /= 2;
        history->n_forgotten[i] /= 2;
    }
}

void history_note(struct history *history, page_number number, unsigned how)
{
    uint16_t *slot;

    if (history->n_slots == 0)
        return;
    slot = &history->left[number % history->n_slots];
    count(history, *slot, false);
    *slot = (uint16_t)(quotient_of(history, number) | how << HOW_SHIFT);
}

bool history_has(const struct history *history, page_number number)
{
    return (HOW_OF(entry_of(history, number)) & HISTORY_FRESH) != 0;
}

bool history_recall(struct history *history, page_number number)
{
    bool has = history_has(history, number);

    count(history, entry_of(history, number), true);
    history_forget(history, number);
    return has;
}

void history_forget(struct history *history, page_number number)
{
    if (entry_of(history, number) != 0)
        history->left[number % history->n_slots] = 0;
}

bool history_bare_are_idle(const struct history *history)
{
    uint64_t n_bare = (uint64_t)history->n_back[true] + history->n_forgotten[true];
    uint64_t n_imaged = (uint64_t)history->n_back[false] + history->n_forgotten[false];

    return history->n_back[true] * n_imaged * 10 < history->n_back[false] * n_bare * 9;
}

size_t history_meta_bytes(const struct history *history)
{
    return round_up(history->n_slots * sizeof history->left[0], PAGE_BYTES);
}
