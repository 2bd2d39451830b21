/*
 * pager.h - faults in the ghost range, and what the heap does to whole blocks of it.
 *
 * Until pager_engage() the kernel alone serves the range and the pager knows nothing of any page. From then on every
 * page is in the page table, and a touch of one that is not resident comes to pager_fault().
 *
 * Calls: reclaim, visit, corefile, pagetable, limbo, stream, store, log, os.  Locks: pager.lock.
 * Memory: its own reservations; the fault path allocates nothing.
 */
#ifndef GHOSTMEM_CORE_PAGER_H
#define GHOSTMEM_CORE_PAGER_H

#include "core/corefile.h"
#include "core/reclaim.h"
#include "core/visit.h"

/* Pages from which on a block that moves had better keep its number modulo PAGETABLE_GROUP_PAGES: see pager_move(). */
#define PAGER_MOVE_GROUPS_FROM (4 * PAGETABLE_GROUP_PAGES)

/* Ranges that may be ceded at the same time. */
#define PAGER_MAX_CEDED 64u

/* The swap file, see swap.h. */
struct pager_swap {
    const char *path; /* kept, not copied; NULL: none */
    uint64_t max_bytes;
    bool encrypts;
    bool plain; /* images are not compressed */
};

struct pager {
    struct space space; /* its ghost range is set by heap_init(), constant afterwards; see there for the rest */

    _Atomic size_t limit; /* pages; written under the heap's lock */

    /* Set by pager_init(), constant afterwards. */
    uint64_t pool_bound_bytes;
    struct fault_backend *backend;
    struct pager_swap swap;
    void (*on_wake)(void *arg, unsigned worker);
    void *on_wake_arg;
    enum squeeze_way cold_way; /* of squeezing images that stay cold */
    int cold_level;
    bool reclaim_fixed; /* who evicts is not for a duel to say */
    enum reclaim_way reclaim_way;

    /* Set by pager_engage(), under the heap's lock; engaged is read without one. */
    _Atomic bool engaged;
    bool failed; /* engaging was tried, and cannot be done here */
    bool built;       /* all that it needs for itself is there */
    bool was_put_off; /* it was tried, and could not be done at once: memory may have passed the limit meanwhile */

    /* What the kernel does to blocks before we engage must have ended when we look at which pages are there. */
    _Atomic bool engaging;
    _Atomic uint32_t n_dormant; /* such calls under way */
    struct os_event dormant_ended;
    struct os_event engaging_ended;

    _Atomic unsigned n_remaps; /* moves by mremap(2): each costs mappings */

    /* What there is outside of the ghost range, to be learnt with the lock when paging starts; NULL: nothing is managed there. */
    void (*survey_locked)(void *arg);
    void *survey_arg;
    uint64_t n_changes; /* calls that change what is mapped, and were followed */
    size_t n_unwatched; /* areas that could not be watched */
    _Atomic bool any_shut; /* mremap(2) has ever kept the program off memory for a moment */
    struct pager_moving {
        uintptr_t start;
        uintptr_t end;
    } moving[2]; /* the latest such memory: where it was, and where it went */

    struct holds holds;
    struct hold sealed;       /* with by_protection: what the program protects in a way of its own */
    _Atomic bool reprotected; /* there was such a call */
    struct hold ceding;       /* what must stay until it is ceded */
    struct marks locked;      /* what the program has locked in RAM: never evicted; guarded by pager.lock */
    struct marks undumped;    /* what it wants to be kept out of core files; likewise */
    _Atomic bool far_undumped; /* it wants that of some memory outside of the ghost range */
    _Atomic bool locks_future; /* what is allocated from now on will be */
    _Atomic uint64_t ceded[PAGER_MAX_CEDED]; /* first page, and the end in the upper half; 0: free. Never freed while in use */
    _Atomic uint32_t n_ceded;
    struct visits visits;
    struct pagetable table;
    struct store store;
    struct reclaim reclaim;
    struct corefile corefile; /* for who finds this process dead */
    bool left_behind; /* fork_child: some images in the swap are the parent's alone */
    struct swap_fork fork_copies; /* from fork_prepare to fork_parent or fork_child */
    struct visit fork_visit;      /* meanwhile */
};

/* The ghost range of pager->space is reserved and stays so. Nothing is allocated yet. */
void pager_init(struct pager *pager, size_t limit, uint64_t pool_bound_bytes, struct fault_backend *backend);

/* Before engaging: images leave RAM when they pass the pool's bound. */
void pager_use_swap(struct pager *pager, const struct pager_swap *swap);

/* Before engaging: how images that stay cold are squeezed. @level: 0 is the usual one. Without a swap file. */
void pager_use_cold(struct pager *pager, enum squeeze_way way, int level);

/*
 * Before engaging: all private memory is to be managed. @survey_locked(@arg): learns what there is (pager_far.h), once no call of the
 * program can change that any more. 0 or -ENOMEM.
 */
int pager_use_far(struct pager *pager, void (*survey_locked)(void *arg), void *arg);

/* Before engaging: who evicts. */
void pager_fix_reclaim(struct pager *pager, enum reclaim_way way);

/* Before engaging: the background thread of eviction calls @on_wake(@arg, its worker) whenever it has been woken, with no lock held. */
void pager_on_wake(struct pager *pager, void (*on_wake)(void *arg, unsigned worker), void *arg);

/* Before or after engaging: who evicts; and the swap file's largest size. Context: as pager_hold(), or a thread of ours. */
void pager_set_reclaim(struct pager *pager, bool fixed, enum reclaim_way way);
void pager_set_swap_max(struct pager *pager, uint64_t bytes);

/*
 * Another limit, in pages, and another bound of the pool; before or after engaging. One caller at a time: the heap's lock is held. Then,
 * without that lock, pager_shrink(): it returns when the resident pages are within the limit; -EBUSY: pages that do not leave keep it
 * above (locked, or held by system calls); they leave as others come in, once they may. Context: as pager_hold(). A thread of ours
 * that has a worker calls pager_shrink_as().
 */
void pager_set_limit(struct pager *pager, size_t limit, uint64_t pool_bound_bytes);
int pager_shrink(struct pager *pager);
int pager_shrink_as(struct pager *pager, unsigned worker);

/*
 * Bring the range under management, with all threads running. @committed: pages from the start that are accessible.
 * Returns 0; -EPERM when the kernel does not permit it, other -errno: nothing has changed then. With `failed` it never will; without, it
 * cannot be done now, and may be tried again.
 */
int pager_engage(struct pager *pager, size_t committed);

static inline bool pager_is_engaged(const struct pager *pager)
{
    return atomic_load_explicit(&pager->engaged, memory_order_acquire);
}

/* Pages [@from, @to) may be used from now on; those below @from are already. 0 or -ENOMEM. */
int pager_commit(struct pager *pager, size_t from, size_t to);

/* May the kernel change pages itself? Then pager_dormant_end() must follow. False: the pager is engaged. */
bool pager_dormant_begin(struct pager *pager);
void pager_dormant_end(struct pager *pager);

/* Read-ahead may not (@is_last), or may again, go beyond this page: a block ends there. Only once engaged. */
void pager_mark_last(struct pager *pager, page_number last, bool is_last);

/* What is known of the page will be wanted in a moment. Takes no lock. */
static inline void pager_prefetch(const struct pager *pager, page_number number)
{
    __builtin_prefetch(page_at(&pager->table, number), 1);
}

/* Is a touch of the page likely to cost little: it is in RAM, or was never touched? A hint. Context: any; takes no lock. */
bool pager_is_near(const struct pager *pager, page_number number);

/* Frames may be pinned from now on, which extracting would not see: pages are moved. Context: as pager_hold(). */
void pager_forbid_extracting(struct pager *pager);

/* The ends of all blocks that existed when the pager engaged have been marked: read-ahead may begin. */
void pager_allow_read_ahead(struct pager *pager);

/*
 * Bring in all pages of @hold and keep them until hold_end(). The limit yields where nothing else can leave.
 * Context: a thread of the program that holds no lock of ours, on a stack of ours or between visit_begin() and visit_end().
 */
void pager_hold(struct pager *pager, struct hold *hold);

/* These pages too are held by @hold, which may be active. Context: as above, with signals blocked; takes pager.lock. */
void pager_hold_more(struct pager *pager, struct hold *hold, page_number first, page_number end);

/* Bring in all pages of @hold, which another one keeps. Context: as pager_hold(). */
void pager_bring_in(struct pager *pager, const struct hold *hold);

/* mprotect(2) by the program. 0 or -errno. Context: as pager_hold(). */
int pager_protect(struct pager *pager, page_number first, size_t n_pages, int protection);

/* Discarded pages are readable and writable again, whatever their block's protection was. 0 or -errno. */
int pager_unprotect(struct pager *pager, page_number first, size_t n_pages);

/*
 * mlock2(2) and munlock(2) by the program, whole blocks or parts: what is locked has its pages in their places, or with @on_fault will
 * have when they are touched, and none of them leaves; the limit yields. 0 or -errno, as those. Context: as pager_hold(); one at a time.
 */
int pager_lock(struct pager *pager, page_number first, size_t n_pages, bool on_fault);
void pager_unlock(struct pager *pager, page_number first, size_t n_pages);

/*
 * The same for the library's own callers, without the kernel, and so without a bound by RLIMIT_MEMLOCK: what is pinned is brought in
 * and never evicted by us. munlock(2) ends it, too.
 */
int pager_pin(struct pager *pager, page_number first, size_t n_pages);

/* Hints. Frozen pages come in, at most half of the limit; resident ones are the next to leave. Context: as pager_hold(). */
void pager_want(struct pager *pager, page_number first, size_t n_pages);
void pager_spurn(struct pager *pager, page_number first, size_t n_pages);

/* What the program wants to be kept out of core files (MADV_DONTDUMP), or does not any more: it gets into no dictionary. 0 or -ENOMEM. */
int pager_keep_undumped(struct pager *pager, page_number first, size_t n_pages, bool on);

/* In a forked child, which inherits no locks. */
void pager_forget_locks(struct pager *pager);

/* Will all that is allocated be locked? Then paging does not begin: there would be next to nothing to evict. */
static inline void pager_lock_future(struct pager *pager, bool on)
{
    atomic_store(&pager->locks_future, on);
}

static inline bool pager_locks_future(const struct pager *pager)
{
    return atomic_load_explicit(&pager->locks_future, memory_order_relaxed);
}

/*
 * A memory call of the program puts something else in the place of the pages, or does to them what we do not follow: from now on
 * they are not ours, until pager_take_back(). @call(@arg) makes it, under pager.lock; a negative answer means that nothing has
 * changed, and that is so here too. @keep: it needs the contents, all of them in their place; the limit yields for that.
 * One at a time. Returns what @call does; -ENOMEM: too many ranges are ceded. Context: as pager_hold().
 */
typedef long pager_call(void *arg);
long pager_cede(struct pager *pager, page_number first, size_t n_pages, bool keep, pager_call *call, void *arg);

/* Ceded pages stay as they are, but the kernel does not tell us of them any more. After pager_cede() with @keep. */
void pager_unwatch(struct pager *pager, page_number first, size_t n_pages);

/* Their block is free: what was ceded of these pages is ours again, and empty. 0 or -errno: then they must not be used again. */
int pager_take_back(struct pager *pager, page_number first, size_t n_pages);

/* Is any of the pages ceded? */
bool pager_has_ceded(struct pager *pager, page_number first, size_t n_pages);

/* Length of the run from @first on, @n_pages at the most, in which all pages are ceded or none is; *@ceded says which. */
size_t pager_alike(struct pager *pager, page_number first, size_t n_pages, bool *ceded);

/* When paging starts: what was ceded before. */
void pager_mark_ceded_locked(struct pager *pager);

/* For fault.h: ceded pages are not watched, and where pages are shut, those that the program protects itself are not either. */
bool pager_next_part(void *pager, struct fault_range *part);

/* The fault callback: makes the page accessible. Context: fault path. */
void pager_fault(struct pager *pager, struct fault *fault);

/*
 * The pages read as zeros from now on, and their RAM and images are returned. Never thaws anything. Ceded ones stay as they are.
 * Returns 0; -errno when RAM cannot be returned and the pages may keep their contents: then they must not be used again.
 */
int pager_discard(struct pager *pager, page_number first, size_t n_pages);

/*
 * Move the contents of @n_pages from @from to @to, which is accessible and empty, without thawing them. Cheapest where
 * @from and @to are the same modulo PAGETABLE_GROUP_PAGES: the tables of whole groups are moved, not their entries.
 * Returns 0; -errno: nothing has moved.
 */
int pager_move(struct pager *pager, page_number to, page_number from, size_t n_pages);

/*
 * Around fork(): no page is in transit and all locks are held from prepare until the parent or child call. The child
 * watches its range again; where it is not permitted to, every page is thawed and the limit is given up, with one line.
 */
void pager_fork_prepare(struct pager *pager);
void pager_fork_parent(struct pager *pager);
void pager_fork_child(struct pager *pager);

/*
 * All pages come back to their places, and the limit is given up. Context: the program's only thread, as pager_hold(). The range
 * is not watched any more; the images' RAM stays.
 */
void pager_give_up(struct pager *pager);

/* RAM for all tables of the core. */
size_t pager_meta_bytes(const struct pager *pager);

#endif
