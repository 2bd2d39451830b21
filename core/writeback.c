/* writeback.c - see writeback.h. */
#include "core/writeback.h"
#include "core/writeback_round.h"

#include "core/log.h"
#include "platform/thread.h"

#include <errno.h>
#include <string.h>

/* Half of the buffer keeps what may be wanted back soon; it never gets smaller than this: two segments are on their way. */
#define MIN_BOUND_BYTES (4 * SWAP_SEGMENT_BYTES)
#define BACKOFF_MIN_NS ((uint64_t)100 * 1000 * 1000)
#define BACKOFF_MAX_NS ((uint64_t)10 * 1000 * 1000 * 1000)
/* How often we look whether a file that a fork made common is ours alone again, and whether a little has died. */
#define TEND_MS 1000
/* What has to die before the background thread looks at once whether the file can shrink. For less it looks after TEND_MS. */
#define POKE_DIED_UNITS (SWAP_SEGMENT_UNITS / 4)

int writeback_init(struct writeback *wb, struct os_lock *lock, struct os_event *ended, struct pagetable *table,
                   struct store *store, uint64_t bound_bytes, size_t limit_pages)
{
    int error = 0;

    wb->lock = lock;
    wb->ended = ended;
    wb->table = table;
    wb->store = store;
    wb->bound_bytes = max_size(bound_bytes, MIN_BOUND_BYTES);
    queue_init(&wb->queue);
    if (writeback_is_on(wb))
        error = os_mem_map(round_up(sizeof *wb->buffer, PAGE_BYTES), (void **)&wb->buffer);
    kept_init(&wb->kept, limit_pages);
    wb->limit_bytes = (uint64_t)limit_pages * PAGE_BYTES;
    if (error != 0)
        swap_disable(&wb->swap);
    return error;
}

void writeback_resize_locked(struct writeback *wb, uint64_t bound_bytes, size_t limit_pages)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    atomic_store_explicit(&wb->bound_bytes, max_size(bound_bytes, MIN_BOUND_BYTES), memory_order_relaxed);
    wb->limit_bytes = (uint64_t)limit_pages * PAGE_BYTES;
    kept_grow_locked(&wb->kept, limit_pages);
}

/* ---- the queue ---- */

void writeback_enter_locked(struct writeback *wb, page_number number)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (writeback_is_on(wb))
        queue_push(&wb->queue, wb->table, number);
    else if (cold_is_on(&wb->cold))
        writeback_note_image_locked(wb, number);
}

/* Still frozen, and the same image: the one that was copied is what the page needs. */
static bool is_still_written(const struct page *page)
{
    return page_state(page) == PAGE_FROZEN && (page->flags & PAGE_FLAG_WRITING) != 0;
}

void writeback_leave_locked(struct writeback *wb, page_number number)
{
    struct page *page;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (!writeback_is_on(wb) && !cold_is_out(&wb->cold))
        return;
    page = page_at(wb->table, number);
    if ((page->flags & PAGE_FLAG_WRITING) != 0)
        page->flags &= ~PAGE_FLAG_WRITING & 15u;
    else if (writeback_is_on(wb))
        queue_remove(&wb->queue, wb->table, number);
}

void writeback_recall_locked(struct writeback *wb, page_number first, size_t n_pages)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    for (page_number i = first; (wb->busy || cold_is_out(&wb->cold)) && i < first + n_pages; i++) {
        struct page *page = page_at(wb->table, i);

        if (!is_still_written(page))
            continue;
        page->flags &= ~PAGE_FLAG_WRITING & 15u;
        if (writeback_is_on(wb))
            queue_push_oldest(&wb->queue, wb->table, i);
    }
}

void writeback_moved_locked(struct writeback *wb, page_number to, page_number from, size_t n_pages)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (!writeback_is_on(wb))
        return;
    for (size_t i = 0; i < n_pages; i++)
        if (page_state(page_at(wb->table, (page_number)(to + i))) == PAGE_FROZEN)
            queue_follow(&wb->queue, wb->table, to, from, n_pages, i);
}

/* ---- rounds ---- */

enum result writeback_round_begin(struct writeback *wb)
{
    enum result result = DONE;

    os_lock_take(wb->lock);
    if (wb->busy || wb->paused) {
        wb->missed = true;
        result = BUSY;
    } else if (!writeback_is_on(wb) || (wb->backoff_ns > 0 && os_now_ns() < wb->retry_ns)) {
        result = FAILED; /* off: since the caller looked, another round has found that the path will not do */
    } else {
        wb->busy = true;
    }
    os_lock_release(wb->lock);
    return result;
}

void writeback_round_end(struct writeback *wb)
{
    bool missed;

    os_lock_take(wb->lock);
    wb->busy = false;
    missed = wb->missed;
    wb->missed = false;
    os_lock_release(wb->lock);
    os_event_signal(wb->ended);
    if (missed)
        os_event_signal(&wb->wanted);
}

void writeback_note_failure(struct writeback *wb, const char *what, int error)
{
    os_lock_take(wb->lock);
    wb->backoff_ns = wb->backoff_ns == 0 ? BACKOFF_MIN_NS : wb->backoff_ns * 2;
    if (wb->backoff_ns > BACKOFF_MAX_NS)
        wb->backoff_ns = BACKOFF_MAX_NS;
    wb->retry_ns = os_now_ns() + wb->backoff_ns;
    os_lock_release(wb->lock);
    log_sparsely(LOG_ERROR, &wb->failed_lines, "swap file %s: %s: %e; images stay in RAM meanwhile", wb->swap.path, what,
                 -error);
}

static void note_success(struct writeback *wb)
{
    os_lock_take(wb->lock);
    wb->backoff_ns = 0;
    os_lock_release(wb->lock);
}

/* Will it be otherwise later? */
static bool may_pass(int error)
{
    return error == -ENOSPC || error == -EDQUOT || error == -EMFILE || error == -ENFILE || error == -ENOMEM ||
           error == -EIO || error == -EAGAIN;
}

/* One more file. A path that will not do is given up, if it never did. */
static int add_file(struct writeback *wb)
{
    int error = swap_add_file(&wb->swap, wb->lock);

    if (error == 0) {
        wb->opened = true;
        return 0;
    }
    if (wb->opened || may_pass(error)) {
        writeback_note_failure(wb, "cannot be created", error);
        return error;
    }
    if (error == -EEXIST)
        log_line(LOG_ERROR, "swap file %s: exists and is not empty: it is left alone, and images stay in RAM",
                 wb->swap.path);
    else
        log_line(LOG_ERROR, "swap file %s: cannot be created: %e; images stay in RAM", wb->swap.path, -error);
    os_lock_take(wb->lock);
    swap_disable(&wb->swap);
    os_lock_release(wb->lock);
    return error;
}

static uint32_t begin_segment(struct writeback *wb, int *error)
{
    uint32_t segment;

    os_lock_take(wb->lock);
    segment = swap_begin_locked(&wb->swap, error);
    os_lock_release(wb->lock);
    return segment;
}

uint32_t writeback_open_segment(struct writeback *wb, struct swap_where *where)
{
    int error;
    uint32_t segment = begin_segment(wb, &error);

    if (error == -ENOENT) {
        swap_tend(&wb->swap, wb->lock);
        segment = begin_segment(wb, &error);
    }
    if (error == -ENOENT) {
        if (add_file(wb) != 0)
            return 0;
        segment = begin_segment(wb, &error);
    }
    if (segment == 0) {
        writeback_note_failure(wb, "is as large as GHOSTMEM_SWAP_MAX lets it be", error);
        return 0;
    }
    os_lock_take(wb->lock);
    swap_locate_locked(&wb->swap, segment * SWAP_SEGMENT_UNITS, where);
    os_lock_release(wb->lock);
    wb->buffer->n_records = 0;
    wb->buffer->n_units = 0;
    return segment;
}

/* A copy of one more image. False: the segment is full. */
static bool add_record(struct writeback_buffer *buffer, page_number number, const struct pool_image *image)
{
    size_t box_bytes = round_up(SEAL_HEADER_BYTES + image->bytes, SWAP_UNIT_BYTES);
    uint32_t n_units = (uint32_t)(box_bytes / SWAP_UNIT_BYTES);
    unsigned char *box = buffer->segment + buffer->n_units * SWAP_UNIT_BYTES;

    if (buffer->n_units + n_units > SWAP_SEGMENT_UNITS)
        return false;
    buffer->records[buffer->n_records++] = (struct record){
        .number = number,
        .unit = (uint16_t)buffer->n_units,
        .n_units = (uint16_t)n_units,
        .image_bytes = (uint16_t)image->bytes,
        .kind = (uint16_t)image->kind,
    };
    buffer->n_units += n_units;
    memcpy(box + SEAL_HEADER_BYTES, image->data, image->bytes);
    memset(box + SEAL_HEADER_BYTES + image->bytes, 0, box_bytes - SEAL_HEADER_BYTES - image->bytes);
    return true;
}

int writeback_write_segment(struct writeback *wb, const struct swap_where *where)
{
    struct writeback_buffer *buffer = wb->buffer;
    size_t bytes = buffer->n_units * SWAP_UNIT_BYTES;
    size_t whole_bytes = round_up(bytes, PAGE_BYTES);

    for (size_t i = 0; i < buffer->n_records; i++) {
        const struct record *record = &buffer->records[i];

        seal_close(where->seal, where->sequence, record->unit, buffer->segment + record->unit * SWAP_UNIT_BYTES,
                   record->image_bytes, record->kind);
    }
    memset(buffer->segment + bytes, 0, whole_bytes - bytes);
    return swap_write(&wb->swap, where, buffer->segment, whole_bytes);
}

/* ---- writing the coldest ---- */

static bool gather_chunk_locked(struct writeback *wb)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    for (unsigned i = 0; i < GATHER_CHUNK; i++) {
        page_number number = wb->queue.oldest;
        struct page *page;
        struct pool_image image;

        if (number == PAGE_NONE)
            return false;
        page = page_at(wb->table, number);
        image = pool_image(&wb->store->pool, page->value);
        if (!add_record(wb->buffer, number, &image))
            return false;
        queue_remove(&wb->queue, wb->table, number);
        page->flags |= PAGE_FLAG_WRITING;
    }
    return true;
}

static void gather(struct writeback *wb)
{
    bool more = true;

    while (more) {
        os_lock_take(wb->lock);
        more = gather_chunk_locked(wb);
        os_lock_release(wb->lock);
    }
}

static void swap_out_locked(struct writeback *wb, uint32_t segment, const struct record *record)
{
    struct page *page = page_at(wb->table, record->number);
    swap_handle handle = segment * SWAP_SEGMENT_UNITS + record->unit;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    page->flags &= ~PAGE_FLAG_WRITING & 15u;
    pool_free(&wb->store->pool, page->value);
    page_set_state(wb->table, record->number, PAGE_SWAPPED);
    page->value = handle;
    page->next = record->n_units;
    page->prev = 0;
    swap_keep_locked(&wb->swap, handle, record->n_units);
    wb->n_written++;
}

static void settle_written(struct writeback *wb, uint32_t segment, bool written)
{
    struct writeback_buffer *buffer = wb->buffer;

    /* Backwards, so that what could not be written is the oldest again in its old order. */
    for (size_t end = buffer->n_records; end > 0;) {
        os_lock_take(wb->lock);
        for (unsigned i = 0; i < GATHER_CHUNK && end > 0; i++) {
            const struct record *record = &buffer->records[--end];
            struct page *page = page_at(wb->table, record->number);

            if (!is_still_written(page))
                continue;
            if (written) {
                swap_out_locked(wb, segment, record);
            } else {
                page->flags &= ~PAGE_FLAG_WRITING & 15u;
                queue_push_oldest(&wb->queue, wb->table, record->number);
            }
        }
        os_lock_release(wb->lock);
    }
    os_lock_take(wb->lock);
    swap_end_locked(&wb->swap, segment);
    os_lock_release(wb->lock);
}

static enum result write_round(struct writeback *wb)
{
    struct swap_where where;
    uint32_t segment;
    int error;

    enum result result = writeback_round_begin(wb);

    if (result != DONE)
        return result;
    segment = writeback_open_segment(wb, &where);
    if (segment == 0) {
        writeback_round_end(wb);
        return FAILED;
    }
    gather(wb);
    error = wb->buffer->n_records > 0 ? writeback_write_segment(wb, &where) : 0;
    settle_written(wb, segment, error == 0);
    result = error != 0 ? FAILED : wb->buffer->n_records > 0 ? DONE : NOTHING;
    if (result == FAILED)
        writeback_note_failure(wb, "cannot be written", error);
    else
        note_success(wb);
    writeback_round_end(wb);
    return result;
}

void writeback_throttle(struct writeback *wb)
{
    while (writeback_is_on(wb) && atomic_load_explicit(&wb->store->pool.held_bytes, memory_order_relaxed) > wb->bound_bytes) {
        uint32_t ticket = os_event_ticket(wb->ended);
        enum result result = write_round(wb);
        bool wait;

        if (result == NOTHING || result == FAILED)
            return;
        os_lock_take(wb->lock);
        wait = result == BUSY && wb->busy && !wb->paused;
        os_lock_release(wb->lock);
        if (wait)
            os_event_wait(wb->ended, ticket, -1);
        else if (result == BUSY)
            return;
    }
}

/* ---- the background thread ---- */

static bool wants_writing(const struct writeback *wb)
{
    return atomic_load_explicit(&wb->store->pool.used_bytes, memory_order_relaxed) >
           wb->bound_bytes / 2 + SWAP_SEGMENT_BYTES;
}

void writeback_poke(struct writeback *wb)
{
    uint32_t died_units;

    if (!writeback_is_on(wb))
        return;
    died_units = __atomic_load_n(&wb->swap.died_units, __ATOMIC_SEQ_CST);
    if (wants_writing(wb) || died_units >= POKE_DIED_UNITS || (died_units > 0 && atomic_load(&wb->resting)))
        os_event_signal(&wb->wanted);
}

/* Until there is something to do. When nothing has died for TEND_MS, and nothing is watched, until we are poked. */
static void rest(struct writeback *wb, uint32_t ticket, bool watching)
{
    if (!watching) {
        /* Who lets an image die counts it first and looks whether we rest afterwards: one of the two sees the other. */
        atomic_store(&wb->resting, true);
        watching = __atomic_load_n(&wb->swap.died_units, __ATOMIC_SEQ_CST) > 0;
    }
    os_event_wait(&wb->wanted, ticket, watching ? TEND_MS : -1);
    atomic_store(&wb->resting, false);
}

/* Also while writing fails. */
static void tend(struct writeback *wb)
{
    bool mine;

    os_lock_take(wb->lock);
    mine = !wb->busy && !wb->paused;
    wb->busy = wb->busy || mine;
    wb->missed = wb->missed || !mine;
    os_lock_release(wb->lock);
    if (!mine)
        return;
    swap_tend(&wb->swap, wb->lock);
    writeback_round_end(wb);
}

static bool is_watching_something(struct writeback *wb)
{
    bool watching;

    os_lock_take(wb->lock);
    watching = wb->backoff_ns > 0 || swap_is_shared_locked(&wb->swap);
    os_lock_release(wb->lock);
    return watching;
}

/* So that a path that will not do is heard of soon. */
static void open_first_file(struct writeback *wb)
{
    if (!writeback_is_on(wb) || wb->opened || writeback_round_begin(wb) != DONE)
        return;
    if (!wb->opened)
        (void)add_file(wb);
    writeback_round_end(wb);
}

void writeback_background(struct writeback *wb)
{
    open_first_file(wb);
    for (;;) {
        uint32_t ticket = os_event_ticket(&wb->wanted);
        bool wants_cleaning;
        bool died;

        if (!writeback_is_on(wb)) {
            os_event_wait(&wb->wanted, ticket, -1);
            continue;
        }
        died = __atomic_exchange_n(&wb->swap.died_units, 0, __ATOMIC_SEQ_CST) > 0;
        if (wants_writing(wb) && write_round(wb) == DONE)
            continue;
        os_lock_take(wb->lock);
        wants_cleaning = swap_wants_cleaning_locked(&wb->swap);
        os_lock_release(wb->lock);
        if (wants_cleaning && writeback_clean_round(wb) == DONE)
            continue;
        tend(wb);
        rest(wb, ticket, died || is_watching_something(wb));
    }
}

size_t writeback_meta_bytes(const struct writeback *wb)
{
    return kept_meta_bytes(&wb->kept) + cold_meta_bytes(&wb->cold) +
           (writeback_is_on(wb) ? sizeof *wb->buffer + swap_meta_bytes(&wb->swap) : 0);
}
