/*
 * pager_fork.c - fork(): both sides have every page, and the images in the swap file. And the end of paging.
 *
 * See pager.h. All of it runs in the forking thread.
 */
#include "core/pager_far.h"
#include "core/pager_fault.h"

#include "core/log.h"
#include "platform/file.h"
#include "platform/swapfile.h"
#include "platform/thread.h"

#include <errno.h>
#include <sys/mman.h>

struct bring_home {
    struct pager *pager;
    size_t n_left;
};

/* Where the files can be read; the caller of run() holds the lock. Images that find no room stay where they are. */
static void bring_home(void *arg, unsigned worker)
{
    struct bring_home *job = arg;
    struct pager *pager = job->pager;
    struct reclaim_worker *w = &pager->reclaim.workers[worker];
    struct writeback *wb = &pager->reclaim.writeback;
    page_number end = pagetable_end(&pager->table);

    for (page_number i = pagetable_next_busy(&pager->table, 0, end); i < end;
         i = pagetable_next_busy(&pager->table, i + 1, end)) {
        struct page *page = page_at(&pager->table, i);
        struct fetch image = {.n_units = page->next};
        store_handle handle = 0;
        int error;

        if (page_is_resident(page) || page_state(page) == PAGE_COOLED)
            writeback_unkeep_locked(wb, page);
        if (page_state(page) != PAGE_SWAPPED)
            continue;
        swap_locate_locked(&wb->swap, page->value, &image.where);
        if (fetch_images(&wb->swap, &pager->store, &w->scratch.reader, &image, 1, w->boxes, w->pages, &error) == 1)
            handle = store_put(&pager->store, &w->scratch, w->pages[0]);
        if (handle == 0) {
            job->n_left++;
            continue;
        }
        swap_release_locked(&wb->swap, page->value, page->next);
        page_set_state(&pager->table, i, PAGE_FROZEN);
        page->value = handle;
        writeback_enter_locked(wb, i);
    }
}

/* The child needs the images in the swap file too: the file itself, or, where it cannot be had, what is in it. */
static void take_swap_along_locked(struct pager *pager)
{
    struct bring_home job = {.pager = pager};
    uint32_t files_thread = pager->backend->files_thread != 0 ? pager->backend->files_thread : os_thread_id();
    int error = swap_fork_prepare(&pager->reclaim.writeback.swap, files_thread, &pager->fork_copies);

    LOCK_ASSERT_HELD(LOCK_PAGER);
    if (error == 0)
        return;
    pager->backend->run(pager->backend, bring_home, &job, FAULT_JOB_LOCKED);
    if (job.n_left == 0)
        return;
    log_line(LOG_ERROR, "a fork cannot take the swap file along: %e; %z pages are lost to the child, their reader gets "
             "SIGBUS", -error, job.n_left);
    pager->left_behind = true;
}

/* Takes pager.lock when no page is in transit. */
static void come_to_rest(struct pager *pager)
{
    struct reclaim *r = &pager->reclaim;
    struct visit visit;

    visit_begin(&pager->visits, &visit);
    os_lock_take(&r->lock);
    reclaim_admit_relock(r); /* another thread's fork */
    pager->fork_visit = visit;
    r->paused = true;
    r->writeback.paused = true;
    while (pager->table.n_transit > 0 || r->n_operations > 0 || r->writeback.busy)
        reclaim_wait_relock(r);
}

void pager_fork_prepare(struct pager *pager)
{
    struct reclaim *r = &pager->reclaim;

    if (!pager_is_engaged(pager))
        return;
    come_to_rest(pager);
    take_swap_along_locked(pager);
    reclaim_share_all_locked(r);
    os_lock_take(&pager->store.pool.lock);
}

void pager_fork_parent(struct pager *pager)
{
    struct reclaim *r = &pager->reclaim;
    struct visit visit = pager->fork_visit;

    if (!pager_is_engaged(pager))
        return;
    os_lock_release(&pager->store.pool.lock);
    swap_fork_parent(&r->writeback.swap, &pager->fork_copies);
    r->paused = false;
    r->writeback.paused = false;
    os_lock_release(&r->lock);
    os_event_signal(&r->transit_ended);
    os_event_signal(&r->writeback.wanted);
    visit_end(&visit);
}

/* NULL: it cannot be read, and that has been said. */
static const void *read_from_swap(struct pager *pager, const struct page *page, unsigned char *target)
{
    struct swap *swap = &pager->reclaim.writeback.swap;
    struct reclaim_worker *w = &pager->reclaim.workers[0];
    struct fetch image = {.n_units = page->next};
    int error;

    swap_locate_locked(swap, page->value, &image.where);
    if (fetch_images(swap, &pager->store, &w->scratch.reader, &image, 1, w->boxes, w->pages, &error) == 1)
        return w->pages[0];
    fetch_complain(swap, &image, target, error);
    (void)os_mem_protect_none(target, PAGE_BYTES);
    return NULL;
}

/* What is in the page, which is not in its place. NULL: it is, or there is nothing to be had. */
static const void *contents_of(struct pager *pager, const struct page *page, unsigned char *target)
{
    struct reclaim *r = &pager->reclaim;
    unsigned char *buffer = r->workers[0].pages[0];

    switch (page_state(page)) {
    case PAGE_FROZEN:
        INVARIANT(store_get(&pager->store, &r->workers[0].scratch.reader, page->value, buffer) == 0);
        return buffer;
    case PAGE_SAME:
        codec_fill(buffer, page_word(page));
        return buffer;
    case PAGE_SWAPPED:
        return read_from_swap(pager, page, target);
    case PAGE_COOLED:
        return (const void *)limbo_address(&r->limbo, page->value);
    case PAGE_LOST:
        (void)os_mem_protect_none(target, PAGE_BYTES);
        return NULL;
    default:
        return NULL;
    }
}

void pager_thaw_into(struct pager *pager, page_number number, unsigned char *target)
{
    const void *contents = contents_of(pager, page_at(&pager->table, number), target);

    if (contents == NULL)
        return;
    (void)os_mem_protect(target, PAGE_BYTES, PROT_READ | PROT_WRITE);
    __builtin_memcpy(target, contents, PAGE_BYTES);
}

/* @watched: the page may be one that the program has protected, and is still ours to fill. */
static void put_back(struct pager *pager, unsigned char *target, const void *contents, bool watched)
{
    size_t n_done;
    int error;

    if (!watched) {
        __builtin_memcpy(target, contents, PAGE_BYTES);
        return;
    }
    while ((error = pager->backend->fill(pager->backend, (uintptr_t)target, contents, 1, false, &n_done)) == -ENOMEM)
        os_sleep_ms(1);
    INVARIANT(error != -EPERM && error != -EACCES && error != -ENOSYS); /* a sandbox: zeros would be there */
}

/* Every page goes to where the program expects it. By plain stores where nothing watches any more. */
static void thaw_everything(struct pager *pager, bool watched)
{
    struct reclaim *r = &pager->reclaim;
    struct fault_range part = {.start = space_address(&pager->space, 0)};
    uintptr_t near_end = space_near_address(&pager->space, pager->table.committed_pages);
    page_number end = pagetable_end(&pager->table);

    while (pager->backend->by_protection && pager_next_part(pager, &part) && part.start < near_end)
        INVARIANT(os_mem_commit((void *)part.start, min_size(part.bytes, near_end - part.start)) == 0);
    if (pager->backend->by_protection)
        pager_far_open_all(pager, true);
    for (page_number i = pagetable_next_busy(&pager->table, 0, end); i < end;
         i = pagetable_next_busy(&pager->table, i + 1, end)) {
        unsigned char *target = (unsigned char *)reclaim_address(r, i);
        const void *contents = contents_of(pager, page_at(&pager->table, i), target);

        if (contents != NULL)
            put_back(pager, target, contents, watched);
    }
    if (pager->backend->by_protection)
        pager_far_open_all(pager, false);
}

/* From here on all of it is the kernel's. */
static void disengage(struct pager *pager)
{
    pager->corefile = (struct corefile){0};
    atomic_store(&pager->engaged, false);
    pager->failed = true;
}

/* Images that the child could not be given. The parent has said so. */
static void lose_what_is_left_behind(struct pager *pager)
{
    struct swap *swap = &pager->reclaim.writeback.swap;
    page_number end = pagetable_end(&pager->table);

    if (!pager->left_behind)
        return;
    for (page_number i = pagetable_next_busy(&pager->table, 0, end); i < end;
         i = pagetable_next_busy(&pager->table, i + 1, end)) {
        const struct page *page = page_at(&pager->table, i);

        if (page_state(page) != PAGE_SWAPPED)
            continue;
        swap_release_locked(swap, page->value, page->next);
        page_set_state(&pager->table, i, PAGE_LOST);
    }
    pager->left_behind = false;
}

/* The child's descriptors, in ascending order. */
static unsigned list_copies(const struct swap_fork *copies, int *files)
{
    unsigned n = 0;

    for (unsigned i = 0; i < SWAP_MAX_FILES; i++) {
        unsigned k = n;

        if (copies->fds[i] < 0)
            continue;
        for (; k > 0 && files[k - 1] > copies->fds[i]; k--)
            files[k] = files[k - 1];
        files[k] = copies->fds[i];
        n++;
    }
    return n;
}

void pager_fork_child(struct pager *pager)
{
    struct reclaim *r = &pager->reclaim;
    int files[SWAP_MAX_FILES];
    unsigned n_files;
    int error;

    atomic_store(&pager->n_dormant, 0); /* of threads that the child does not have */
    pager->dormant_ended = pager->engaging_ended = (struct os_event){0};
    if (!pager_is_engaged(pager))
        return;
    os_lock_release(&pager->store.pool.lock);
    r->transit_ended = r->frames_wanted = r->writeback.wanted = (struct os_event){0};
    r->paused = false;
    r->writeback.paused = false;
    swap_fork_child(&r->writeback.swap, &pager->fork_copies, pager->backend->files_thread == 0);
    lose_what_is_left_behind(pager);
    writeback_fork_child(&r->writeback);
    reclaim_fork_child(r);
    if (pager->store.pool.compacting)
        pool_compact_end(&pager->store.pool);
    n_files = list_copies(&pager->fork_copies, files);
    error = pager->backend->restart(pager->backend, files, n_files);
    if (error == 0)
        pager_far_fork_child(pager);
    if (error != 0) {
        log_line(LOG_ERROR, "a forked child cannot watch its memory: %e; it runs on without a limit", -error);
        thaw_everything(pager, false);
        disengage(pager);
        os_mem_unmap(r->limbo.space, r->limbo.most_slots * PAGE_BYTES);
        os_mem_unmap(pager->store.pool.space, pager->store.pool.max_slabs * POOL_SLAB_BYTES);
    }
    if (error != 0 || pager->backend->files_thread != 0)
        for (unsigned i = 0; i < n_files; i++)
            os_swapfile_close(files[i]);
    visits_fork_child(&pager->visits, &pager->fork_visit);
    os_lock_release(&r->lock);
    visit_end(&pager->fork_visit);
}

/* Threads of ours may be at the pool, which stays, and find everything paused for ever: there is nothing left for them to do. */
void pager_give_up(struct pager *pager)
{
    struct fault_range part = {.start = space_address(&pager->space, 0)};
    bool watched = !pager->backend->by_protection;

    if (!pager_is_engaged(pager))
        return;
    come_to_rest(pager);
    os_lock_take(&pager->store.pool.lock);
    thaw_everything(pager, watched);
    while (watched && pager->backend->watch != NULL && pager_next_part(pager, &part))
        INVARIANT(pager->backend->watch(pager->backend, part.start, part.bytes / PAGE_BYTES, false) == 0);
    if (watched)
        pager_far_end(pager);
    log_line(LOG_CHOICE, "process %d is going to be traced: it runs on without a limit", os_process_id());
    disengage(pager);
    os_lock_release(&pager->store.pool.lock);
    os_lock_release(&pager->reclaim.lock);
    visit_end(&pager->fork_visit);
}
