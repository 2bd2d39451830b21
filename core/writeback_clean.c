/* writeback_clean.c - what lives in nearly dead segments is copied together, so that those can be used again. */
#include "core/writeback_round.h"

#include <errno.h>
#include <string.h>

/* Entries looked at with the lock held once: about 20 us. */
#define SWEEP_CHUNK 512
#define MAX_VICTIMS 64u

static bool is_in_victim(const struct writeback *wb, swap_handle handle)
{
    return wb->swap.segments[swap_segment_of(handle)].victim;
}

/* A resident page's image is not worth copying. */
static void drop_if_in_victim_locked(struct writeback *wb, struct page *page)
{
    uint32_t kept = writeback_kept_of(page);

    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (kept != 0 && !kept_is_pooled(kept_at(&wb->kept, kept)) && is_in_victim(wb, kept_at(&wb->kept, kept)->handle))
        writeback_unkeep_locked(wb, page);
}

/* The live images of the victims, as far as one segment holds them: records without a place yet. */
static void list_live(struct writeback *wb)
{
    struct writeback_buffer *buffer = wb->buffer;
    page_number end = pagetable_end(wb->table);
    page_number number = 0;

    buffer->n_records = 0;
    for (;;) {
        page_number stop;

        os_lock_take(wb->lock);
        number = pagetable_next_busy(wb->table, number, end);
        stop = pagetable_stop(number, end, SWEEP_CHUNK);
        for (; number < stop && buffer->n_records < SWAP_SEGMENT_UNITS; number++) {
            struct page *page = page_at(wb->table, number);

            if (page_is_resident(page) || page_state(page) == PAGE_COOLED)
                drop_if_in_victim_locked(wb, page);
            else if (page_state(page) == PAGE_SWAPPED && is_in_victim(wb, page->value))
                buffer->records[buffer->n_records++] =
                    (struct record){.number = number, .n_units = (uint16_t)page->next, .from = page->value};
        }
        os_lock_release(wb->lock);
        if (number >= end || buffer->n_records == SWAP_SEGMENT_UNITS)
            return;
    }
}

/* Copy one victim's images behind those of the others. Records that have been copied get a place. */
static int copy_victim(struct writeback *wb, uint32_t victim)
{
    struct writeback_buffer *buffer = wb->buffer;
    struct swap_where where;
    size_t bytes = 0;
    int error;

    for (size_t i = 0; i < buffer->n_records; i++)
        if (swap_segment_of(buffer->records[i].from) == victim)
            bytes = max_size(bytes, (swap_unit_of(buffer->records[i].from) + buffer->records[i].n_units) * SWAP_UNIT_BYTES);
    if (bytes == 0)
        return 0;
    os_lock_take(wb->lock);
    if (wb->swap.segments[victim].sequence == 0) {
        os_lock_release(wb->lock);
        return 0; /* all of it died meanwhile */
    }
    swap_locate_locked(&wb->swap, victim * SWAP_SEGMENT_UNITS, &where);
    os_lock_release(wb->lock);
    error = swap_read(&wb->swap, &where, buffer->source, bytes);
    for (size_t i = 0; i < buffer->n_records && error == 0; i++) {
        struct record *record = &buffer->records[i];
        unsigned char *box = buffer->source + swap_unit_of(record->from) * SWAP_UNIT_BYTES;
        size_t image_bytes;
        unsigned kind;

        if (swap_segment_of(record->from) != victim || buffer->n_units + record->n_units > SWAP_SEGMENT_UNITS)
            continue;
        error = seal_open(where.seal, where.sequence, swap_unit_of(record->from), box, record->n_units * SWAP_UNIT_BYTES,
                          &image_bytes, &kind);
        if (error != 0)
            break;
        record->unit = (uint16_t)buffer->n_units;
        record->image_bytes = (uint16_t)image_bytes;
        record->kind = (uint16_t)kind;
        memcpy(buffer->segment + buffer->n_units * SWAP_UNIT_BYTES, box, record->n_units * SWAP_UNIT_BYTES);
        buffer->n_units += record->n_units;
    }
    return error;
}

/* Records that have not been copied leave the list. */
static void keep_copied(struct writeback_buffer *buffer)
{
    size_t n = 0;

    for (size_t i = 0; i < buffer->n_records; i++)
        if (buffer->records[i].image_bytes > 0)
            buffer->records[n++] = buffer->records[i];
    buffer->n_records = n;
}

static void settle_cleaned(struct writeback *wb, uint32_t segment)
{
    for (size_t i = 0; i < wb->buffer->n_records;) {
        os_lock_take(wb->lock);
        for (unsigned k = 0; k < GATHER_CHUNK && i < wb->buffer->n_records; k++, i++) {
            const struct record *record = &wb->buffer->records[i];
            struct page *page = page_at(wb->table, record->number);
            swap_handle handle = segment * SWAP_SEGMENT_UNITS + record->unit;

            if (page_state(page) != PAGE_SWAPPED || page->value != record->from)
                continue;
            page->value = handle;
            swap_keep_locked(&wb->swap, handle, record->n_units);
            swap_release_locked(&wb->swap, record->from, record->n_units);
        }
        os_lock_release(wb->lock);
    }
}

static void release_victims(struct writeback *wb, const uint32_t *victims, unsigned n, unsigned n_good)
{
    os_lock_take(wb->lock);
    for (unsigned i = 0; i < n; i++) {
        struct swap_segment *segment = &wb->swap.segments[victims[i]];

        segment->victim = 0;
        if (i == n_good && segment->sequence != 0)
            segment->bad = 1;
    }
    os_lock_release(wb->lock);
}

enum result writeback_clean_round(struct writeback *wb)
{
    uint32_t victims[MAX_VICTIMS];
    struct swap_where where;
    unsigned n_victims;
    unsigned n_good = 0;
    uint32_t segment;
    int error = 0;

    enum result result = writeback_round_begin(wb);

    if (result != DONE)
        return result;
    segment = writeback_open_segment(wb, &where);
    if (segment == 0) {
        writeback_round_end(wb);
        return FAILED;
    }
    os_lock_take(wb->lock);
    n_victims = swap_pick_victims_locked(&wb->swap, victims, MAX_VICTIMS);
    os_lock_release(wb->lock);
    if (n_victims > 1) {
        list_live(wb);
        while (n_good < n_victims && copy_victim(wb, victims[n_good]) == 0)
            n_good++;
        keep_copied(wb->buffer);
        if (wb->buffer->n_records > 0)
            error = writeback_write_segment(wb, &where);
        if (error == 0) {
            settle_cleaned(wb, segment);
            __atomic_add_fetch(&wb->swap.cleaned_bytes, wb->buffer->n_units * SWAP_UNIT_BYTES, __ATOMIC_RELAXED);
        } else {
            writeback_note_failure(wb, "cannot be written", error);
        }
    }
    release_victims(wb, victims, n_victims, n_victims > 1 ? n_good : n_victims);
    os_lock_take(wb->lock);
    swap_end_locked(&wb->swap, segment);
    os_lock_release(wb->lock);
    writeback_round_end(wb);
    return n_victims > 1 && error == 0 ? DONE : NOTHING;
}
