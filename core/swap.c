/* swap.c - see swap.h. */
#include "core/swap.h"

#include "platform/memlock.h"
#include "platform/swapfile.h"

#include <errno.h>
#include <string.h>

/*
 * Cleaning starts when the segments are larger than their live images by a third, and by this: with the spare ones the
 * file stays below one and a half times the images.
 */
#define CLEAN_ABOVE_PERCENT 133u
#define CLEAN_SLACK_SEGMENTS 2u
/* Segment records are committed in steps of 64 KiB. */
#define COMMIT_SEGMENTS ((uint32_t)(64 * KIB / sizeof(struct swap_segment)))

int swap_init(struct swap *swap, const char *path, uint64_t max_bytes, bool encrypts)
{
    int error;

    *swap = (struct swap){.path = path, .max_bytes = max_bytes, .encrypts = encrypts, .next_sequence = 1,
                          .lowest_free = 1};
    for (unsigned i = 0; i < SWAP_MAX_FILES; i++)
        swap->files[i].fd = swap->files[i].direct = -1;
    if (path == NULL)
        return 0;
    error = encrypts ? seal_start() : 0;
    if (error == 0)
        error = os_mem_reserve(SWAP_MAX_SEGMENTS * sizeof *swap->segments, (void **)&swap->segments);
    if (error == 0)
        error = os_mem_map_secret(round_up(SWAP_MAX_FILES * SEAL_KEY_BYTES, PAGE_BYTES), (void **)&swap->keys);
    if (error != 0)
        swap->path = NULL;
    return error;
}

void swap_disable(struct swap *swap)
{
    swap->path = NULL;
}

/* ---- files ---- */

/* Room for the places of one file, kept for the next file in this slot. */
static int need_places(struct swap_file *file)
{
    void *places;
    int error;

    if (file->places != NULL)
        return 0;
    error = os_mem_reserve(SWAP_MAX_SEGMENTS, &places);
    if (error != 0)
        return error;
    error = os_mem_commit(places, SWAP_MAX_SEGMENTS);
    if (error != 0)
        os_mem_unmap(places, SWAP_MAX_SEGMENTS);
    else
        file->places = places;
    return error;
}

int swap_add_file(struct swap *swap, struct os_lock *lock)
{
    struct swap_file *file = NULL;
    struct seal seal;
    int error;
    int direct;
    int fd;

    /* Files come and go through the one writer only: no lock is needed to look. */
    for (unsigned i = 0; i < SWAP_MAX_FILES && file == NULL; i++)
        if (swap->files[i].fd < 0)
            file = &swap->files[i];
    if (file == NULL)
        return -EMFILE;
    error = need_places(file);
    if (error == 0)
        error = seal_init(&seal, swap->keys + (size_t)(file - swap->files) * SEAL_KEY_BYTES, swap->encrypts);
    if (error != 0)
        return error;
    fd = os_swapfile_create(swap->path);
    if (fd < 0)
        return fd;
    direct = os_swapfile_open_direct(fd);
    os_lock_take(lock);
    *file = (struct swap_file){.fd = fd, .direct = direct, .seal = seal, .places = file->places};
    os_lock_release(lock);
    return 0;
}

static struct swap_file *file_of(struct swap *swap, const struct swap_segment *segment)
{
    return &swap->files[segment->file];
}

/* ---- segments ---- */

static struct swap_file *file_to_write_locked(struct swap *swap)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    for (unsigned i = 0; i < SWAP_MAX_FILES; i++)
        if (swap->files[i].fd >= 0 && !swap->files[i].is_shared)
            return &swap->files[i];
    return NULL;
}

static uint32_t number_to_use_locked(struct swap *swap)
{
    uint32_t number = swap->lowest_free;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    while (number <= swap->n_segments && swap->segments[number].sequence != 0)
        number++;
    if (number >= SWAP_MAX_SEGMENTS)
        return 0;
    if (number >= swap->committed) {
        if (os_mem_commit(&swap->segments[swap->committed], COMMIT_SEGMENTS * sizeof *swap->segments) != 0)
            return 0;
        swap->committed += COMMIT_SEGMENTS;
    }
    if (number > swap->n_segments)
        swap->n_segments = number;
    swap->lowest_free = number + 1;
    return number;
}

static uint32_t place_to_use_locked(struct swap_file *file)
{
    uint32_t place = file->lowest_free;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    while (place < file->n_places && file->places[place] == SWAP_PLACE_USED)
        place++;
    if (place >= file->n_places)
        file->n_places = place + 1;
    else if (file->places[place] == SWAP_PLACE_SPARE)
        file->n_spare--;
    file->places[place] = SWAP_PLACE_USED;
    file->n_used++;
    file->lowest_free = place + 1;
    return place;
}

uint32_t swap_begin_locked(struct swap *swap, int *error)
{
    struct swap_file *file = file_to_write_locked(swap);
    uint32_t number;

    LOCK_ASSERT_HELD(LOCK_PAGER);
    *error = -ENOENT;
    if (file == NULL)
        return 0;
    *error = -ENOSPC;
    if (((uint64_t)swap->n_used + 1) * SWAP_SEGMENT_BYTES > swap->max_bytes)
        return 0;
    number = number_to_use_locked(swap);
    if (number == 0)
        return 0;
    swap->segments[number] = (struct swap_segment){
        .sequence = swap->next_sequence++,
        .place = place_to_use_locked(file) & 0xffffffu,
        .file = (uint32_t)(file - swap->files) & 31u,
        .open = 1,
    };
    swap->n_used++;
    *error = 0;
    return number;
}

static void forget_if_empty_locked(struct swap *swap, uint32_t number)
{
    struct swap_segment *segment = &swap->segments[number];
    struct swap_file *file = file_of(swap, segment);

    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (segment->live_units > 0 || segment->open)
        return;
    file->places[segment->place] = SWAP_PLACE_SPARE;
    file->n_used--;
    file->n_spare++;
    if (segment->place < file->lowest_free)
        file->lowest_free = segment->place;
    *segment = (struct swap_segment){0};
    if (number < swap->lowest_free)
        swap->lowest_free = number;
    swap->n_used--;
}

void swap_keep_locked(struct swap *swap, swap_handle handle, uint32_t n_units)
{
    struct swap_segment *segment = &swap->segments[swap_segment_of(handle)];

    LOCK_ASSERT_HELD(LOCK_PAGER);
    segment->live_units = (uint16_t)(segment->live_units + n_units);
    __atomic_add_fetch(&swap->live_units, n_units, __ATOMIC_RELAXED);
}

void swap_end_locked(struct swap *swap, uint32_t number)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    swap->segments[number].open = 0;
    forget_if_empty_locked(swap, number);
}

void swap_release_locked(struct swap *swap, swap_handle handle, uint32_t n_units)
{
    struct swap_segment *segment = &swap->segments[swap_segment_of(handle)];

    LOCK_ASSERT_HELD(LOCK_PAGER);
    INVARIANT(segment->sequence != 0 && segment->live_units >= n_units);
    segment->live_units = (uint16_t)(segment->live_units - n_units);
    __atomic_sub_fetch(&swap->live_units, n_units, __ATOMIC_RELAXED);
    __atomic_add_fetch(&swap->died_units, n_units, __ATOMIC_SEQ_CST);
    forget_if_empty_locked(swap, swap_segment_of(handle));
}

void swap_locate_locked(const struct swap *swap, swap_handle handle, struct swap_where *where)
{
    const struct swap_segment *segment = &swap->segments[swap_segment_of(handle)];
    const struct swap_file *file = &swap->files[segment->file];

    LOCK_ASSERT_HELD(LOCK_PAGER);
    INVARIANT(segment->sequence != 0 && file->fd >= 0);
    *where = (struct swap_where){
        .fd = file->fd,
        .direct = file->direct,
        .unit = swap_unit_of(handle),
        .offset = swap_offset_of(segment->place) + swap_unit_of(handle) * SWAP_UNIT_BYTES,
        .sequence = segment->sequence,
        .seal = &file->seal,
    };
}

int swap_write(struct swap *swap, const struct swap_where *where, const void *buffer, size_t bytes)
{
    int error = os_swapfile_write(where->fd, buffer, bytes, where->offset);

    __atomic_add_fetch(error == 0 ? &swap->written_bytes : &swap->write_errors, error == 0 ? bytes : 1,
                       __ATOMIC_RELAXED);
    return error;
}

int swap_read(struct swap *swap, const struct swap_where *where, void *buffer, size_t bytes)
{
    int error = os_swapfile_read(where->fd, buffer, bytes, where->offset);

    __atomic_add_fetch(error == 0 ? &swap->read_bytes : &swap->read_errors, error == 0 ? bytes : 1, __ATOMIC_RELAXED);
    return error;
}

int swap_read_one(struct swap *swap, const struct swap_where *where, void *buffer, size_t bytes, void **data)
{
    int error = os_swapfile_read_random(where->fd, where->direct, buffer, bytes, where->offset, data);

    __atomic_add_fetch(error == 0 ? &swap->read_bytes : &swap->read_errors, error == 0 ? bytes : 1, __ATOMIC_RELAXED);
    return error;
}

/* ---- cleaning ---- */

bool swap_wants_cleaning_locked(const struct swap *swap)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    return (uint64_t)swap->n_used * SWAP_SEGMENT_UNITS * 100 >
           swap->live_units * CLEAN_ABOVE_PERCENT + (uint64_t)CLEAN_SLACK_SEGMENTS * SWAP_SEGMENT_UNITS * 100;
}

static bool may_be_victim(struct swap *swap, const struct swap_segment *segment)
{
    return segment->sequence != 0 && !segment->open && !segment->bad && !file_of(swap, segment)->is_shared;
}

/* The emptiest first: in eight passes, one for each eighth that a segment may be full. */
unsigned swap_pick_victims_locked(struct swap *swap, uint32_t *victims, unsigned most)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    /* Every image may need a little more room where it goes: none does, they keep their units. */
    uint32_t room = SWAP_SEGMENT_UNITS;
    unsigned n = 0;

    for (uint32_t eighths = 1; eighths < 8 && n < most; eighths++)
        for (uint32_t i = 1; i <= swap->n_segments && n < most; i++) {
            struct swap_segment *segment = &swap->segments[i];

            if (segment->victim || !may_be_victim(swap, segment) ||
                segment->live_units > eighths * (SWAP_SEGMENT_UNITS / 8) || segment->live_units > room)
                continue;
            segment->victim = 1;
            room -= segment->live_units;
            victims[n++] = i;
        }
    return n;
}

bool swap_is_shared_locked(const struct swap *swap)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    for (unsigned i = 0; i < SWAP_MAX_FILES; i++)
        if (swap->files[i].fd >= 0 && swap->files[i].is_shared)
            return true;
    return false;
}

/* ---- numbers ---- */

uint64_t swap_used_bytes(const struct swap *swap)
{
    return __atomic_load_n(&swap->live_units, __ATOMIC_RELAXED) * SWAP_UNIT_BYTES;
}

uint64_t swap_file_bytes(const struct swap *swap)
{
    uint64_t n_places = 0;

    for (unsigned i = 0; i < SWAP_MAX_FILES; i++)
        if (swap->files[i].fd >= 0)
            n_places += swap->files[i].n_used + swap->files[i].n_spare;
    return n_places * SWAP_SEGMENT_BYTES;
}

size_t swap_meta_bytes(const struct swap *swap)
{
    size_t bytes = round_up((swap->n_segments + 1) * sizeof *swap->segments, PAGE_BYTES);

    for (unsigned i = 0; i < SWAP_MAX_FILES; i++)
        if (swap->files[i].fd >= 0)
            bytes += round_up(swap->files[i].n_places, PAGE_BYTES);
    return swap_is_on(swap) ? bytes : 0;
}

/* ---- fork ---- */

int swap_fork_prepare(struct swap *swap, uint32_t thread, struct swap_fork *copies)
{
    for (unsigned i = 0; i < SWAP_MAX_FILES; i++)
        copies->fds[i] = -1;
    for (unsigned i = 0; i < SWAP_MAX_FILES; i++) {
        int fd;

        if (swap->files[i].fd < 0 || swap->files[i].n_used == 0)
            continue;
        fd = os_swapfile_reopen(thread, swap->files[i].fd);
        if (fd < 0) {
            for (unsigned k = 0; k < i; k++)
                if (copies->fds[k] >= 0) {
                    os_swapfile_close(copies->fds[k]);
                    copies->fds[k] = -1;
                }
            return fd;
        }
        copies->fds[i] = fd;
    }
    return 0;
}

void swap_fork_parent(struct swap *swap, struct swap_fork *copies)
{
    for (unsigned i = 0; i < SWAP_MAX_FILES; i++) {
        if (copies->fds[i] < 0)
            continue;
        swap->files[i].is_shared = true;
        os_swapfile_close(copies->fds[i]);
    }
}

/* Files without an image are the parent's alone. */
void swap_fork_child(struct swap *swap, const struct swap_fork *copies, bool inherited)
{
    for (unsigned i = 0; i < SWAP_MAX_FILES; i++) {
        struct swap_file *file = &swap->files[i];

        if (file->fd < 0)
            continue;
        if (inherited) {
            os_swapfile_close(file->fd);
            if (file->direct >= 0)
                os_swapfile_close(file->direct);
        }
        if (copies->fds[i] < 0) {
            memset(file->places, SWAP_PLACE_ABSENT, file->n_places);
            seal_forget(&file->seal);
            *file = (struct swap_file){.fd = -1, .direct = -1, .places = file->places};
            continue;
        }
        file->fd = copies->fds[i];
        file->direct = -1; /* swap_tend() opens another */
        file->is_shared = true;
    }
}
