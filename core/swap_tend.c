/* swap_tend.c - the files are kept small, and closed when nobody needs them. See swap.h. */
#include "core/swap.h"

#include "platform/swapfile.h"

#include <string.h>

/* Free places that keep their disk space, so that steady rewriting need not punch and allocate. */
#define SPARE_MIN 1u
#define SPARE_SHARE 32u

static bool has_too_many_spares_locked(const struct swap_file *file)
{
    LOCK_ASSERT_HELD(LOCK_PAGER);
    return file->n_spare > (file->n_used > 0 ? max_size(SPARE_MIN, file->n_used / SPARE_SHARE) : 0);
}

/* The end of the file that is not used. Nobody but the caller, the one writer, takes places. */
static void cut_tail(struct swap_file *file, struct os_lock *lock)
{
    uint32_t n_places = file->n_places;
    uint32_t n_spare = 0;

    os_lock_take(lock);
    for (; has_too_many_spares_locked(file) && n_places > 0 && file->places[n_places - 1] != SWAP_PLACE_USED; n_places--)
        n_spare += file->places[n_places - 1] == SWAP_PLACE_SPARE;
    os_lock_release(lock);
    if (n_places == file->n_places || os_swapfile_truncate(file->fd, swap_offset_of(n_places)) != 0)
        return;
    os_lock_take(lock);
    memset(&file->places[n_places], SWAP_PLACE_ABSENT, file->n_places - n_places);
    file->n_places = n_places;
    file->n_spare -= n_spare;
    os_lock_release(lock);
}

static void punch_spares(struct swap_file *file, struct os_lock *lock)
{
    for (uint32_t place = file->n_places; place > 0; place--) {
        bool is_spare;
        bool is_enough;

        os_lock_take(lock);
        is_spare = file->places[place - 1] == SWAP_PLACE_SPARE;
        is_enough = !has_too_many_spares_locked(file);
        os_lock_release(lock);
        if (is_enough)
            return;
        if (!is_spare)
            continue;
        if (os_swapfile_punch(file->fd, swap_offset_of(place - 1), SWAP_SEGMENT_BYTES) != 0)
            return; /* no holes here: the space stays for reuse */
        os_lock_take(lock);
        file->places[place - 1] = SWAP_PLACE_ABSENT;
        file->n_spare--;
        os_lock_release(lock);
    }
}

static void close_file(struct swap_file *file, struct os_lock *lock)
{
    int fd = file->fd;
    int direct = file->direct;

    os_lock_take(lock);
    memset(file->places, SWAP_PLACE_ABSENT, file->n_places);
    seal_forget(&file->seal);
    *file = (struct swap_file){.fd = -1, .direct = -1, .places = file->places};
    os_lock_release(lock);
    os_swapfile_close(fd);
    if (direct >= 0)
        os_swapfile_close(direct);
}

/* A segment ends, under the lock, whenever its last image dies; only the caller, the one writer, begins one. */
static bool is_empty(const struct swap_file *file, struct os_lock *lock)
{
    uint32_t n_used;

    os_lock_take(lock);
    n_used = file->n_used;
    os_lock_release(lock);
    return n_used == 0;
}

/* Tried once: -2 means not here. */
static void open_direct(struct swap_file *file, struct os_lock *lock)
{
    int direct = os_swapfile_open_direct(file->fd);

    os_lock_take(lock);
    file->direct = direct >= 0 ? direct : -2;
    os_lock_release(lock);
}

void swap_tend(struct swap *swap, struct os_lock *lock)
{
    bool have_own = false;

    for (unsigned i = 0; i < SWAP_MAX_FILES; i++) {
        struct swap_file *file = &swap->files[i];

        if (file->fd < 0)
            continue;
        if (file->direct == -1)
            open_direct(file, lock);
        if (file->is_shared && !is_empty(file, lock) && os_swapfile_is_alone(file->fd)) {
            os_lock_take(lock);
            file->is_shared = false;
            os_lock_release(lock);
        }
        if ((file->is_shared || have_own) && is_empty(file, lock)) {
            close_file(file, lock);
            continue;
        }
        if (file->is_shared)
            continue;
        have_own = true;
        cut_tail(file, lock);
        punch_spares(file, lock);
    }
}
