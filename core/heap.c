/* heap.c - see heap.h. */
#include "core/heap.h"
#include "core/heap_bins.h"
#include "core/heap_tags.h"

#include "core/log.h"
#include "platform/file.h"
#include "platform/thread.h"

#include <errno.h>
#include <string.h>

/* Commit in steps: three system calls for each 64 MiB of blocks. */
#define COMMIT_STEP_PAGES ((size_t)(64 * MIB / PAGE_BYTES))

/* ---- setting up ---- */

static int reserve_tables(struct heap *heap)
{
    size_t tags_bytes = round_up(heap->n_pages * sizeof heap->tags[0], PAGE_BYTES);
    int error = os_mem_reserve(tags_bytes, (void **)&heap->tags);

    if (error != 0)
        return error;
    error = heap_bins_init(heap, heap->n_pages);
    if (error != 0)
        os_mem_unmap(heap->tags, tags_bytes);
    return error;
}

int heap_init(struct heap *heap, size_t max_bytes, size_t limit, struct pager *pager)
{
    /* Whole groups of the page table, and PAGE_NONE is no page. */
    size_t n_pages = min_size(max_bytes / PAGE_BYTES, (size_t)PAGE_NONE) / PAGETABLE_GROUP_PAGES * PAGETABLE_GROUP_PAGES;

    atomic_store(&pager->limit, limit);
    heap->pager = pager;
    heap->lock.rank = LOCK_HEAP;
    for (; n_pages >= PAGETABLE_GROUP_PAGES; n_pages = n_pages / 2 / PAGETABLE_GROUP_PAGES * PAGETABLE_GROUP_PAGES) {
        void *space;

        if (os_mem_reserve(n_pages * PAGE_BYTES, &space) != 0)
            continue;
        heap->n_pages = n_pages;
        if (reserve_tables(heap) != 0) {
            os_mem_unmap(space, n_pages * PAGE_BYTES);
            continue;
        }
        space_init_near(&pager->space, (uintptr_t)space, n_pages);
        return 0;
    }
    return -ENOMEM;
}

void heap_open(struct heap *heap)
{
    __atomic_store_n(&heap->bytes, heap->n_pages * PAGE_BYTES, __ATOMIC_RELEASE);
}

/* ---- free spans ---- */

static void tag_free_span(struct heap *heap, page_number first, size_t n_pages)
{
    heap_tag_span(heap, first, TAG_FREE, n_pages);
    heap_bin_insert(heap, first, n_pages);
}

static void untag_free_span(struct heap *heap, page_number first, size_t n_pages)
{
    heap_bin_remove(heap, first, n_pages);
    heap_untag(heap, first);
    heap_untag(heap, (page_number)(first + n_pages - 1));
}

/* Join the pages with free neighbours. What borders on the top goes back behind it. */
static void free_span_locked(struct heap *heap, page_number first, size_t n_pages)
{
    page_number behind = (page_number)(first + n_pages);

    LOCK_ASSERT_HELD(LOCK_HEAP);
    heap_untag(heap, first);
    if (first > 0 && heap_kind_at(heap, first - 1) == TAG_FREE) {
        size_t more = heap_pages_up_to(heap, first - 1);

        first -= (page_number)more;
        untag_free_span(heap, first, more);
        n_pages += more;
    }
    if (behind < heap->top && heap_kind_at(heap, behind) == TAG_FREE) {
        size_t more = heap_pages_at(heap, behind);

        untag_free_span(heap, behind, more);
        n_pages += more;
    }
    if (first + n_pages == heap->top)
        heap->top = first;
    else
        tag_free_span(heap, first, n_pages);
}

/* ---- taking pages ---- */

/* Make pages [0, @n) accessible. */
static int commit_locked(struct heap *heap, size_t n)
{
    size_t from = heap->committed;
    size_t to = min_size(round_up(n, COMMIT_STEP_PAGES), heap->n_pages);
    size_t tags_from = round_up(from * sizeof heap->tags[0], PAGE_BYTES);
    int error;

    LOCK_ASSERT_HELD(LOCK_HEAP);
    if (n <= from)
        return 0;
    error = os_mem_commit((char *)heap->tags + tags_from,
                          round_up(to * sizeof heap->tags[0], PAGE_BYTES) - tags_from);
    if (error == 0)
        error = heap_bins_commit(heap, from, to);
    if (error == 0)
        error = pager_commit(heap->pager, from, to);
    if (error == 0)
        heap->committed = to;
    return error;
}

/* A span of exactly @n_pages that no one else knows of; PAGE_NONE when there is no room. */
static page_number take_span_locked(struct heap *heap, size_t n_pages)
{
    page_number first = heap_bins_find(heap, n_pages);

    LOCK_ASSERT_HELD(LOCK_HEAP);
    if (first != PAGE_NONE) {
        size_t length = heap_pages_at(heap, first);

        untag_free_span(heap, first, length);
        if (length > n_pages)
            tag_free_span(heap, (page_number)(first + n_pages), length - n_pages);
        return first;
    }
    if (n_pages > heap->n_pages - heap->top || commit_locked(heap, heap->top + n_pages) != 0)
        return PAGE_NONE;
    first = (page_number)heap->top;
    heap->top += n_pages;
    return first;
}

static void mark_end(struct heap *heap, page_number last)
{
    if (heap->joins == NULL || !heap->joins(heap->joins_arg, last))
        pager_mark_last(heap->pager, last, true);
}

/* Nothing was watched so far: tell the pager where the blocks end that it has not heard of. */
static void mark_all_blocks_locked(struct heap *heap)
{
    LOCK_ASSERT_HELD(LOCK_HEAP);
    for (size_t i = 0, n_pages; i < heap->top; i += n_pages) {
        n_pages = heap_pages_at(heap, i);
        if (heap_kind_at(heap, i) == TAG_USED)
            mark_end(heap, (page_number)(i + n_pages - 1));
    }
}

static void close_heap_locked(struct heap *heap, int error)
{
    LOCK_ASSERT_HELD(LOCK_HEAP);
    heap->closed = true;
    if (heap->pager->backend->userfaultfd_refused)
        log_line(LOG_ERROR, "userfaultfd is not permitted: %e; the limit cannot be kept and memory comes from libc "
                 "(run as root or with CAP_SYS_PTRACE, or sysctl vm.unprivileged_userfaultfd=1, or give access to "
                 "/dev/userfaultfd)", -error);
    else
        log_line(LOG_ERROR, "cannot start paging: %e; the limit cannot be kept and memory comes from libc", -error);
}

/* An attempt takes time: it is made in a tenth of the time at the most, and not more often than this. */
#define RETRY_MS 10
#define RETRY_SHARE 9

static void put_off_locked(struct heap *heap, uint64_t begin_ns)
{
    uint64_t now = os_now_ns();

    heap->retry_ns = now + max_size((now - begin_ns) * RETRY_SHARE, RETRY_MS * 1000000u);
    if (heap->put_off != NULL)
        heap->put_off();
}

/* False: no block may be handed out. */
static bool engage_locked(struct heap *heap)
{
    uint64_t begin_ns;
    int error;

    LOCK_ASSERT_HELD(LOCK_HEAP);
    if (heap->closed)
        return false;
    if (pager_is_engaged(heap->pager))
        return true;
    begin_ns = os_now_ns();
    if (begin_ns < heap->retry_ns)
        return true;
    error = pager_engage(heap->pager, heap->committed);
    if (error != 0 && !heap->pager->failed) {
        put_off_locked(heap, begin_ns);
        return true;
    }
    if (error != 0) {
        close_heap_locked(heap, error);
        return false;
    }
    mark_all_blocks_locked(heap);
    pager_allow_read_ahead(heap->pager);
    return true;
}

/* May @n_pages more be handed out? Engages the pager when the sum of all blocks passes the limit for the first time. */
static bool admit_locked(struct heap *heap, size_t n_pages, bool always)
{
    bool fits = heap->live_pages + n_pages <= atomic_load(&heap->pager->limit) || pager_locks_future(heap->pager);

    LOCK_ASSERT_HELD(LOCK_HEAP);
    return (fits && !heap->closed) || engage_locked(heap) || always;
}

bool heap_start_paging(struct heap *heap)
{
    bool is_over;

    os_lock_take(&heap->lock);
    (void)engage_locked(heap);
    is_over = heap->closed || pager_is_engaged(heap->pager);
    os_lock_release(&heap->lock);
    return is_over;
}

int heap_set_limit(struct heap *heap, size_t limit, uint64_t pool_bound_bytes)
{
    bool kept = true;

    os_lock_take(&heap->lock);
    pager_set_limit(heap->pager, limit, pool_bound_bytes);
    if (!pager_is_engaged(heap->pager) && heap->live_pages > limit && !pager_locks_future(heap->pager))
        kept = engage_locked(heap);
    kept = kept && !heap->closed;
    os_lock_release(&heap->lock);
    return kept ? pager_shrink(heap->pager) : -EPERM;
}

int heap_set_limit_as(struct heap *heap, size_t limit, uint64_t pool_bound_bytes, unsigned worker)
{
    os_lock_take(&heap->lock);
    pager_set_limit(heap->pager, limit, pool_bound_bytes);
    os_lock_release(&heap->lock);
    return pager_shrink_as(heap->pager, worker);
}

static void grew_locked(struct heap *heap, size_t n_pages)
{
    LOCK_ASSERT_HELD(LOCK_HEAP);
    heap->live_pages += n_pages;
    if (heap->live_pages > heap->live_pages_peak)
        heap->live_pages_peak = heap->live_pages;
}

/* A free span's pages hold nothing, unless the program has written behind a block's end or to a freed one. */
static void clean_locked(struct heap *heap, page_number first, size_t n_pages)
{
    LOCK_ASSERT_HELD(LOCK_HEAP);
    if (pager_is_engaged(heap->pager))
        (void)pager_discard(heap->pager, first, n_pages);
}

static void hand_out_locked(struct heap *heap, page_number first, size_t n_pages)
{
    LOCK_ASSERT_HELD(LOCK_HEAP);
    clean_locked(heap, first, n_pages);
    heap_tag_span(heap, first, TAG_USED, n_pages);
    heap->n_blocks++;
    grew_locked(heap, n_pages);
    if (pager_is_engaged(heap->pager))
        pager_mark_last(heap->pager, (page_number)(first + n_pages - 1), true);
}

/* A block whose first page number is @phase modulo @unit, a power of two. */
static void *allocate_pages(struct heap *heap, size_t n_pages, size_t unit, size_t phase, bool always)
{
    page_number first = PAGE_NONE;
    void *block = NULL;

    os_lock_take(&heap->lock);
    if (n_pages + unit - 1 <= heap->n_pages && admit_locked(heap, n_pages, always))
        first = take_span_locked(heap, n_pages + unit - 1);
    if (first != PAGE_NONE) {
        size_t before = (phase - first) & (unit - 1);
        page_number aligned = (page_number)(first + before);
        size_t behind = unit - 1 - before;

        hand_out_locked(heap, aligned, n_pages);
        if (before > 0)
            free_span_locked(heap, first, before);
        if (behind > 0)
            free_span_locked(heap, (page_number)(aligned + n_pages), behind);
        block = address_of(heap, aligned);
    }
    os_lock_release(&heap->lock);
    return block;
}

static void *allocate(struct heap *heap, size_t bytes, size_t alignment, bool always)
{
    size_t unit = alignment > PAGE_BYTES ? alignment / PAGE_BYTES : 1;

    if (bytes > heap->bytes || alignment > heap->bytes)
        return NULL;
    return allocate_pages(heap, round_up(bytes, PAGE_BYTES) / PAGE_BYTES, unit, -(heap->pager->space.near_base / PAGE_BYTES), always);
}

void *heap_allocate(struct heap *heap, size_t bytes, size_t alignment)
{
    return allocate(heap, bytes, alignment, false);
}

void *heap_allocate_always(struct heap *heap, size_t bytes, size_t alignment)
{
    return allocate(heap, bytes, alignment, true);
}

/* ---- what a pointer is ---- */

/* Pages of the live block at @p. 0: there is none. */
static size_t find_block_locked(const struct heap *heap, const void *p)
{
    page_number number = number_of(heap, p);
    bool aligned = ((uintptr_t)p & (PAGE_BYTES - 1)) == 0;

    LOCK_ASSERT_HELD(LOCK_HEAP);
    return aligned && number < heap->top && heap_kind_at(heap, number) == TAG_USED ? heap_pages_at(heap, number) : 0;
}

static size_t block_pages_locked(struct heap *heap, const void *p, const char *caller)
{
    size_t n_pages = find_block_locked(heap, p);

    LOCK_ASSERT_HELD(LOCK_HEAP);
    if (n_pages == 0) {
        heap_say_pointer(heap, p, caller);
        os_abort();
    }
    return n_pages;
}

size_t heap_look_up(struct heap *heap, const void *p, const char *caller)
{
    size_t n_pages;

    os_lock_take(&heap->lock);
    n_pages = find_block_locked(heap, p);
    if (n_pages == 0)
        heap_say_pointer(heap, p, caller);
    os_lock_release(&heap->lock);
    return n_pages * PAGE_BYTES;
}

size_t heap_usable_bytes(struct heap *heap, const void *p, const char *caller)
{
    size_t n_pages;

    os_lock_take(&heap->lock);
    n_pages = block_pages_locked(heap, p, caller);
    os_lock_release(&heap->lock);
    return n_pages * PAGE_BYTES;
}

/* ---- giving pages back ---- */

/* A block goes: its pages are TAG_LEAVING now, and for nobody to touch. */
static void retire_block_locked(struct heap *heap, page_number first, size_t n_pages)
{
    LOCK_ASSERT_HELD(LOCK_HEAP);
    heap_tag_span(heap, first, TAG_LEAVING, n_pages);
    heap->n_blocks--;
    if (pager_is_engaged(heap->pager))
        pager_mark_last(heap->pager, (page_number)(first + n_pages - 1), false);
}

/* The pages are TAG_LEAVING: nobody else touches them. @empty: they hold nothing any more. */
static void return_span(struct heap *heap, page_number first, size_t n_pages, bool empty)
{
    int error = pager_take_back(heap->pager, first, n_pages);

    if (error == 0 && !empty)
        error = pager_discard(heap->pager, first, n_pages);
    if (error == 0)
        error = pager_unprotect(heap->pager, first, n_pages);
    os_lock_take(&heap->lock);
    heap->live_pages -= n_pages;
    /* Pages that may still hold what the program wrote cannot be handed out as zeros: the span is retired. */
    if (error == 0)
        free_span_locked(heap, first, n_pages);
    os_lock_release(&heap->lock);
}

/* What will be read and written of a block to be freed, in tables larger than the caches: on its way all at once. */
static void prefetch_block(const struct heap *heap, page_number first)
{
    __builtin_prefetch(&heap->tags[first], 1);
    bitset_prefetch(&heap->short_spans, first);
    pager_prefetch(heap->pager, first);
}

void heap_free(struct heap *heap, void *p, const char *caller)
{
    page_number first = number_of(heap, p);
    size_t n_pages;

    prefetch_block(heap, first);
    os_lock_take(&heap->lock);
    n_pages = block_pages_locked(heap, p, caller);
    retire_block_locked(heap, first, n_pages);
    os_lock_release(&heap->lock);
    return_span(heap, first, n_pages, false);
}

/* ---- resizing ---- */

static void set_last_locked(struct heap *heap, page_number first, size_t from, size_t to)
{
    LOCK_ASSERT_HELD(LOCK_HEAP);
    if (!pager_is_engaged(heap->pager))
        return;
    pager_mark_last(heap->pager, (page_number)(first + from - 1), false);
    pager_mark_last(heap->pager, (page_number)(first + to - 1), true);
}

/* Take the pages that follow the block, if they are free. */
static bool grow_locked(struct heap *heap, page_number first, size_t n_pages, size_t wanted)
{
    size_t more = wanted - n_pages;
    page_number next = (page_number)(first + n_pages);

    LOCK_ASSERT_HELD(LOCK_HEAP);
    if (!admit_locked(heap, more, false))
        return false;
    if (next == heap->top) {
        if (more > heap->n_pages - heap->top || commit_locked(heap, heap->top + more) != 0)
            return false;
        heap->top += more;
    } else {
        size_t n_free = heap_kind_at(heap, next) == TAG_FREE ? heap_pages_at(heap, next) : 0;

        if (n_free < more)
            return false;
        untag_free_span(heap, next, n_free);
        if (n_free > more)
            tag_free_span(heap, (page_number)(next + more), n_free - more);
    }
    clean_locked(heap, next, more);
    heap_tag_span(heap, first, TAG_USED, wanted);
    grew_locked(heap, more);
    set_last_locked(heap, first, n_pages, wanted);
    return true;
}

static void *move_block(struct heap *heap, void *p, size_t n_pages, size_t wanted)
{
    page_number from = number_of(heap, p);
    void *block = NULL;
    bool moved;

    /* At the same place within a group of the page table, so that whole groups can move. */
    if (n_pages >= PAGER_MOVE_GROUPS_FROM)
        block = allocate_pages(heap, wanted, PAGETABLE_GROUP_PAGES, from, false);
    if (block == NULL)
        block = allocate_pages(heap, wanted, 1, 0, false);
    if (block == NULL)
        return NULL;
    moved = pager_move(heap->pager, number_of(heap, block), from, n_pages) == 0;
    if (!moved)
        memcpy(block, p, n_pages * PAGE_BYTES);
    os_lock_take(&heap->lock);
    retire_block_locked(heap, from, n_pages);
    os_lock_release(&heap->lock);
    return_span(heap, from, n_pages, moved);
    return block;
}

void *heap_resize(struct heap *heap, void *p, size_t bytes, const char *caller)
{
    page_number first = number_of(heap, p);
    size_t wanted;
    size_t n_pages;
    bool done;

    if (bytes > heap->bytes)
        return NULL;
    wanted = max_size(1, round_up(bytes, PAGE_BYTES) / PAGE_BYTES);
    os_lock_take(&heap->lock);
    n_pages = block_pages_locked(heap, p, caller);
    done = wanted == n_pages || (wanted > n_pages && grow_locked(heap, first, n_pages, wanted));
    if (wanted < n_pages) {
        heap_tag_span(heap, first, TAG_USED, wanted);
        heap_tag_span(heap, (page_number)(first + wanted), TAG_LEAVING, n_pages - wanted);
        set_last_locked(heap, first, n_pages, wanted);
    }
    os_lock_release(&heap->lock);
    if (done)
        return p;
    if (wanted > n_pages)
        return move_block(heap, p, n_pages, wanted);
    return_span(heap, (page_number)(first + wanted), n_pages - wanted, false);
    return p;
}

/* ---- memory calls of the program ---- */

long heap_cede(struct heap *heap, uintptr_t addr, size_t bytes, bool keep, pager_call *call, void *arg)
{
    page_number first = number_of(heap, (const void *)addr);
    size_t n_pages = round_up(bytes, PAGE_BYTES) / PAGE_BYTES;
    long result = -EINVAL;

    os_lock_take(&heap->lock);
    if (heap_in_one_block(heap, first, n_pages))
        result = pager_cede(heap->pager, first, n_pages, keep, call, arg);
    os_lock_release(&heap->lock);
    return result;
}

int heap_visit_blocks(struct heap *heap, heap_visit *visit, void *arg)
{
    int result = 0;

    os_lock_take(&heap->lock);
    for (size_t i = 0, n_pages; i < heap->top && result == 0; i += n_pages) {
        n_pages = heap_pages_at(heap, i);
        if (heap_kind_at(heap, i) == TAG_USED)
            result = visit(arg, (page_number)i, n_pages);
    }
    os_lock_release(&heap->lock);
    return result;
}

/* ---- fork ---- */

void heap_fork_prepare(struct heap *heap)
{
    os_lock_take(&heap->lock);
    pager_fork_prepare(heap->pager);
}

void heap_fork_parent(struct heap *heap)
{
    pager_fork_parent(heap->pager);
    os_lock_release(&heap->lock);
}

void heap_fork_child(struct heap *heap)
{
    pager_fork_child(heap->pager);
    if (heap->pager->failed)
        heap->closed = true;
    os_lock_release(&heap->lock);
}

void heap_give_up(struct heap *heap)
{
    os_lock_take(&heap->lock);
    pager_give_up(heap->pager);
    heap->closed = true;
    os_lock_release(&heap->lock);
}

size_t heap_meta_bytes(const struct heap *heap)
{
    return (heap->n_tag_pages + heap->short_spans.n_touched) * PAGE_BYTES;
}
