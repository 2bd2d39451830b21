/* reclaim_extract.c - pages that leave together with what is in them. See reclaim_freeze.h. */
#include "core/reclaim_freeze.h"

#include "core/log.h"
#include "platform/file.h"
#include "platform/thread.h"

#include <errno.h>

_Static_assert(RECLAIM_BATCH <= FAULT_MAX_EXTRACT, "a batch is taken out at once");

/* When the system has no frame for a page that must come back. */
#define RETRY_MS 1

static bool is_refusal(int error)
{
    return error == -EPERM || error == -EACCES || error == -ENOSYS || error == -EBADF;
}

static _Noreturn void end_program(int error)
{
    log_line(LOG_ERROR, "the system calls for pages that have left are refused: %e; the process ends rather than lose them "
             "(it has entered a sandbox that does not allow them: doc/limits.md)", -error);
    os_abort();
}

/* There is no memory for an image: the page comes back. If its mapping is gone, or there is another one, nobody will miss it. */
static void put_back(struct reclaim *r, page_number number, const void *contents)
{
    size_t n_done;
    int error;

    while ((error = r->backend->fill(r->backend, reclaim_address(r, number), contents, 1, false, &n_done)) == -ENOMEM)
        os_sleep_ms(RETRY_MS);
    if (is_refusal(error))
        end_program(error);
}

static enum outcome store_extracted(struct reclaim *r, struct reclaim_worker *w, size_t i, const void *contents)
{
    enum outcome outcome = reclaim_freeze_contents(r, w, i, contents, true);

    if (outcome == REFUSED) {
        reclaim_note_pool_full(r);
        put_back(r, w->batch[i], contents);
        w->shut[i] = false;
    }
    return outcome == DONE ? STORED : outcome == IN_PLACE ? WORD : outcome;
}

/* Some would not leave. If they cannot, pages of such a kind are moved, as those here will be next time. */
static void note_not_extracted(struct reclaim *r, size_t n_extracted, int error)
{
    if (!is_refusal(error))
        return;
    if (n_extracted > 0)
        end_program(error);
    atomic_store(&r->backend->can_extract, false);
}

void reclaim_extract(struct reclaim *r, struct reclaim_worker *w, size_t n)
{
    uintptr_t addrs[RECLAIM_BATCH];
    uint8_t entries[RECLAIM_BATCH];
    size_t n_wanted = 0;
    size_t n_done = 0;
    int error;

    for (size_t i = 0; i < n; i++) {
        if (w->outcomes[i] != EXTRACT)
            continue;
        entries[n_wanted] = (uint8_t)i;
        addrs[n_wanted++] = reclaim_address(r, w->batch[i]);
    }
    /* Each that will not leave costs another round, once: then it is not SOLE any more. */
    while (n_done < n_wanted) {
        size_t n_extracted = r->backend->extract(r->backend, w->pages, addrs + n_done, n_wanted - n_done, &error);

        if (error != 0)
            note_not_extracted(r, n_extracted, error);
        for (size_t k = 0; k < n_extracted; k++, n_done++)
            w->outcomes[entries[n_done]] = (uint8_t)store_extracted(r, w, entries[n_done], w->pages[k]);
        __atomic_add_fetch(&r->counters.extracted, n_extracted, __ATOMIC_RELAXED);
        if (error != -EINVAL && error != -EFAULT)
            break;
        if (n_done < n_wanted) /* this page alone; it goes another way next time */
            w->outcomes[entries[n_done++]] = REFUSED;
    }
    while (n_done < n_wanted)
        w->outcomes[entries[n_done++]] = REFUSED;
}
