/*
 * writeback_cold.c - images of the fast tier are handed to the cold thread, and what it makes of them takes their place.
 *
 * It is the part of the thread that evicts: see cold.h. Without a swap file the links of a frozen page's entry are free. `next` has the
 * time when its image was made, `prev` the serial of the dictionary with which squeezing it was tried.
 */
#include "core/writeback.h"

#include "platform/thread.h"

#include <string.h>

/* Entries looked at with the lock held once: about 10 us. */
#define SWEEP_PAGES 512u

static uint32_t serial_of(const struct cold *cold)
{
    return cold->serial;
}

void writeback_note_image_locked(struct writeback *wb, page_number number)
{
    struct page *page = page_at(wb->table, number);

    page->next = atomic_load_explicit(&wb->cold.clock, memory_order_relaxed) & PAGE_NONE;
    page->prev = 0;
    cold_note_new(&wb->cold);
}

/* Must the page not get into a dictionary? */
static bool is_private_locked(const struct writeback *wb, page_number number)
{
    if (number >= wb->table->committed_pages)
        return wb->far_undumped != NULL && atomic_load_explicit(wb->far_undumped, memory_order_relaxed);
    return (wb->locked != NULL && marks_has(wb->locked, number)) || (wb->undumped != NULL && marks_has(wb->undumped, number));
}

/* ---- gathering ---- */

static bool is_to_be_squeezed(const struct cold *cold, const struct pool_image *image)
{
    return image->kind == IMAGE_FAST || (cold->retiring >= 0 && image->kind == IMAGE_TAUGHT + (unsigned)cold->retiring);
}

static void take_locked(struct writeback *wb, page_number number, const struct pool_image *image)
{
    struct cold_batch *batch = wb->cold.batch;

    memcpy(batch->images[batch->n], image->data, image->bytes);
    batch->records[batch->n++] = (struct cold_record){
        .number = number,
        .bytes = (uint16_t)image->bytes,
        .kind = (uint8_t)image->kind,
        .is_private = is_private_locked(wb, number),
    };
    batch->is_out = true;
    page_at(wb->table, number)->flags |= PAGE_FLAG_WRITING;
}

static void consider_locked(struct writeback *wb, page_number number)
{
    struct cold *cold = &wb->cold;
    struct page *page = page_at(wb->table, number);
    struct pool_image image;
    uint32_t age;

    if (page_state(page) != PAGE_FROZEN || page->prev == serial_of(cold) || (page->flags & PAGE_FLAG_WRITING) != 0)
        return;
    age = (atomic_load_explicit(&cold->clock, memory_order_relaxed) - page->next) & PAGE_NONE;
    if (age < cold_age_wanted(cold, number)) {
        cold->oldest = (uint32_t)max_size(cold->oldest, max_size(age, 1));
        return;
    }
    image = pool_image(&wb->store->pool, page->value);
    if (is_to_be_squeezed(cold, &image))
        take_locked(wb, number, &image);
    else
        page->prev = serial_of(cold) & PAGE_NONE;
}

/* In the order of coldness, by halves: the next pass takes what is half as old as the oldest that this one has left. */
static void end_pass(struct cold *cold)
{
    cold->passed = true;
    cold->cursor = 0;
    cold->threshold = (uint32_t)max_size(cold->patience, cold->oldest / 2);
    cold->previous_oldest = cold->oldest;
    cold->oldest = 0;
}

/* To the end of the pass at most. */
void writeback_gather_cold(struct writeback *wb)
{
    struct cold *cold = &wb->cold;
    page_number end = pagetable_end(wb->table);
    uint64_t began_ns = os_now_ns();

    cold->batch->n = 0;
    cold->passed = false;
    while (cold->batch->n < COLD_BATCH && !cold->passed) {
        page_number stop;

        os_lock_take(wb->lock);
        cold->cursor = pagetable_next_busy(wb->table, cold->cursor, end);
        stop = pagetable_stop(cold->cursor, end, SWEEP_PAGES);
        while (cold->cursor < stop && cold->batch->n < COLD_BATCH)
            consider_locked(wb, cold->cursor++);
        os_lock_release(wb->lock);
        if (cold->cursor >= end)
            end_pass(cold);
    }
    cold->gathered_ns = os_now_ns() - began_ns;
}

/* ---- settling ---- */

static void replace_locked(struct writeback *wb, struct page *page, size_t i)
{
    const struct cold_record *record = &wb->cold.batch->records[i];
    struct cold_counters *counters = &wb->cold.counters;
    store_handle handle;

    if (record->squeezed_bytes > 0) {
        handle = pool_put(&wb->store->pool, wb->cold.batch->squeezed[i], record->squeezed_bytes, record->squeezed_kind);
        if (handle == 0)
            return; /* there is no room for the moment */
        pool_free(&wb->store->pool, page->value);
        page->value = handle;
        __atomic_store_n(&counters->squeezed, counters->squeezed + 1, __ATOMIC_RELAXED);
        __atomic_store_n(&counters->squeezed_from_bytes, counters->squeezed_from_bytes + record->bytes, __ATOMIC_RELAXED);
        __atomic_store_n(&counters->squeezed_bytes, counters->squeezed_bytes + record->squeezed_bytes, __ATOMIC_RELAXED);
    }
    page->prev = serial_of(&wb->cold) & PAGE_NONE;
}

/* Those whose images nobody has any more. */
static void drop_dictionaries_locked(struct writeback *wb)
{
    struct cold *cold = &wb->cold;

    for (int i = 0; i < (int)SQUEEZE_DICTIONARIES; i++) {
        if (cold->serials[i] == 0 || i == cold->current ||
            atomic_load_explicit(&wb->store->pool.n_of_kind[IMAGE_TAUGHT + (unsigned)i], memory_order_acquire) > 0)
            continue;
        dictionary_drop(&wb->store->dictionaries[i]);
        cold->serials[i] = 0;
        cold->retiring = cold->retiring == i ? -1 : cold->retiring;
    }
}

void writeback_settle_cold(struct writeback *wb)
{
    struct cold_batch *batch = wb->cold.batch;

    os_lock_take(wb->lock);
    for (size_t i = 0; i < batch->n; i++) {
        struct page *page = page_at(wb->table, batch->records[i].number);

        if (page_state(page) != PAGE_FROZEN || (page->flags & PAGE_FLAG_WRITING) == 0)
            continue; /* it was wanted, or is gone */
        page->flags &= ~PAGE_FLAG_WRITING & 15u;
        replace_locked(wb, page, i);
    }
    batch->is_out = false;
    drop_dictionaries_locked(wb);
    os_lock_release(wb->lock);
}

/* ---- dictionaries ---- */

static bool has_private_sample_locked(const struct writeback *wb)
{
    const struct cold_samples *samples = wb->cold.samples;

    for (size_t i = 0; i < samples->n; i++)
        if (is_private_locked(wb, samples->numbers[i]))
            return true;
    return false;
}

/* When there is one place left, the images of the oldest dictionary are made anew. */
static void choose_retiring_locked(struct cold *cold)
{
    int oldest = -1;
    unsigned n_free = 0;

    for (int i = 0; i < (int)SQUEEZE_DICTIONARIES; i++) {
        if (cold->serials[i] == 0)
            n_free++;
        else if (i != cold->current && (oldest < 0 || cold->serials[i] < cold->serials[oldest]))
            oldest = i;
    }
    cold->retiring = n_free <= 1 ? oldest : -1;
}

void writeback_install_dictionary(struct writeback *wb)
{
    struct cold *cold = &wb->cold;
    int place = 0;

    os_lock_take(wb->lock);
    drop_dictionaries_locked(wb);
    while (place < (int)SQUEEZE_DICTIONARIES && cold->serials[place] != 0)
        place++;
    if (place < (int)SQUEEZE_DICTIONARIES && !has_private_sample_locked(wb)) {
        wb->store->dictionaries[place] = cold->fresh;
        cold->fresh = (struct dictionary){0};
        cold->serials[place] = ++cold->serial;
        cold->current = place;
        choose_retiring_locked(cold);
        __atomic_store_n(&cold->counters.dictionaries, cold->counters.dictionaries + 1, __ATOMIC_RELAXED);
    }
    os_lock_release(wb->lock);
}

/* ---- the turns ---- */

void writeback_serve_cold(struct writeback *wb)
{
    struct cold *cold = &wb->cold;
    int turn = atomic_load_explicit(&cold->turn, memory_order_acquire);

    if (turn == COLD_OURS)
        return;
    if (turn == COLD_GATHER)
        writeback_gather_cold(wb);
    else if (turn == COLD_SETTLE)
        writeback_settle_cold(wb);
    else
        writeback_install_dictionary(wb);
    atomic_store_explicit(&cold->turn, COLD_OURS, memory_order_release);
    os_event_signal(&cold->wanted);
}

void writeback_fork_child(struct writeback *wb)
{
    struct cold_batch *batch = wb->cold.batch;

    for (size_t i = 0; batch != NULL && i < batch->n; i++) {
        struct page *page = page_at(wb->table, batch->records[i].number);

        if (page_state(page) == PAGE_FROZEN)
            page->flags &= ~PAGE_FLAG_WRITING & 15u;
    }
    cold_fork_child(&wb->cold);
}
