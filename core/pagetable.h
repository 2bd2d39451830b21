/*
 * pagetable.h - twelve bytes for each managed page, and the life of a page.
 *
 *                       first touch                      move out                compress
 *        EMPTY ------> THAWING ------> RESIDENT ------> COOLING ------> COOLED ------> FREEZING ----+
 *          ^              ^  ^          |     ^                           |              |          |
 *          |              |  |          |     +---- soft fault: THAWING <-+              | in place |
 *          |              |  |          +------------------------------------------------+          |
 *          |              |  +--- fault ------------- FROZEN or SAME <-----------------------------+
 *          |              |                            | write-back
 *          |              +------ fault --------- SWAPPED ------> LOST (cannot be read back)
 *          +--- free, from every resting state
 *
 * RESIDENT is two states, which differ in the queue that the page stands in: FRESH, and RESIDENT once it has proven to be used again.
 *
 * Resting states: EMPTY, RESIDENT, COOLED, FROZEN, SAME, SWAPPED, LOST, and CEDED: not ours until its block is freed (pager.h,
 * pager_cede()). In transit, owned by the one thread that set the state: THAWING, COOLING, FREEZING, and MOVING (a block is
 * resized, or a fault on a resident page is looked into: pager_fault.c, confirm_relock()). COOLED pages lie uncompressed in the
 * limbo range: still resident, but out of the program's reach, so that a touch of one is noticed and cheap to serve.
 *
 * Who goes each way: EMPTY, FROZEN, SAME, SWAPPED -> THAWING -> RESIDENT: fill_relock(), COOLED -> THAWING -> RESIDENT:
 * give_back_relock() (pager_bring.c). RESIDENT -> COOLING: take_victim_locked(); COOLING -> COOLED, FREEZING, EMPTY,
 * RESIDENT: settle_cooled() (reclaim_cool.c). COOLED -> FREEZING: pick_cooled_locked(); FREEZING -> FROZEN, SAME, SWAPPED:
 * reclaim_freeze.c. FROZEN -> SWAPPED: writeback.c. -> LOST: lose_relock() (pager_bring.c), a fork. -> EMPTY:
 * pager_discard(), pager_forget_locked().
 *
 * Not in the diagram: RESIDENT -> FRESH (it is to leave next), EMPTY -> RESIDENT (a page that was there when paging began),
 * EMPTY -> MOVING, EMPTY <-> CEDED, a
 * transit that goes back to where it came from, FROZEN, SAME, COOLED or SWAPPED -> RESIDENT (the page turns out to be there
 * already), SWAPPED -> FROZEN (a fork without the file), FREEZING -> SWAPPED (a kept image). All are in arrow_exists().
 *
 * What an entry holds besides its state:
 *   RESIDENT          links of the queue it stands in; the number of its kept image, if it has one (kept.h)
 *   COOLED, FREEZING  the limbo slot, and in `next` the number of its kept image (FREEZING in place: as RESIDENT)
 *   FROZEN            the store's handle; with a swap file, links of the queue for write-back; else see writeback_cold.c
 *   SWAPPED           the swap's handle, and in `next` the image's units
 *   SAME              the word that fills the page
 *
 * Entries are guarded by pager.lock; PAGE_FLAG_LAST is also read without it, where a stack is looked for (visit.c). Table memory is
 * committed as the heap grows, touched on use, and given back when all of its entries are EMPTY and without a flag again.
 *
 * Calls: os.  Locks: the caller's.  Memory: its own reservation.
 */
#ifndef GHOSTMEM_CORE_PAGETABLE_H
#define GHOSTMEM_CORE_PAGETABLE_H

#include "core/space.h"
#include "core/store.h"

enum page_state {
    PAGE_EMPTY, /* 0: fresh table memory needs no initialisation */
    PAGE_RESIDENT,
    PAGE_COOLED,
    PAGE_FROZEN,
    PAGE_SAME,
    PAGE_SWAPPED,
    PAGE_LOST,
    PAGE_CEDED,
    PAGE_FRESH, /* resident too: what is said of RESIDENT holds for it */
    PAGE_THAWING,
    PAGE_COOLING,
    PAGE_FREEZING,
    PAGE_MOVING,
};

/* How far read-ahead may go: it stops after the last page of a block. Kept through every state, EMPTY too. */
#define PAGE_FLAG_LAST 1u
/* Resident and not to be had at the moment (locked in RAM): stands in the queue of those. */
#define PAGE_FLAG_STUCK 2u
/* Frozen, and being copied to the swap file (not in its queue then), or being squeezed. Who takes the page away clears it. */
#define PAGE_FLAG_WRITING 4u
/*
 * Resident (the same bit), in a frame that fill() brought, and no fork since: no other mapping (of a forked child, of a pipe)
 * has that frame.
 */
#define PAGE_FLAG_SOLE 4u

/*
 * Resident, and closed by protect(): to writing, since it came in; while it has a kept image, that is what it is. With by_protection
 * to everybody (segv, which could not open it when paging began).
 */
#define PAGE_FLAG_SHUT 8u

struct page {
    uint32_t next : 28;
    uint32_t state : 4;
    uint32_t prev : 28;
    uint32_t flags : 4;
    uint32_t value; /* limbo slot, store handle, or the low half of the word */
};
_Static_assert(sizeof(struct page) == 12, "at most 16 bytes of tables a page (doc/design.md): the heap has 2 to 3, kept images the rest");

/* Whole table pages that hold whole entries: 3 pages for 1,024 entries. */
#define PAGETABLE_GROUP_PAGES ((size_t)1024)
_Static_assert(PAGETABLE_GROUP_PAGES * sizeof(struct page) % PAGE_BYTES == 0, "groups end on table pages");

struct pagetable {
    /* Set by pagetable_init(), constant afterwards. */
    struct page *pages;
    uint16_t *n_busy; /* per group: entries that are not EMPTY, or flagged */
    size_t n_pages;

    /* Guarded by pager.lock. */
    size_t committed_pages; /* near ones, from the start */
    size_t far_first; /* of the far ones, a group's first */
    size_t far_end;   /* 0: there are none */
    size_t n_busy_groups; /* that hold table memory */
    size_t n_away_peak;   /* most pages in the next three states at once */
    size_t n_frozen;      /* pages in PAGE_FROZEN */
    size_t n_same;        /* pages in PAGE_SAME */
    size_t n_swapped;     /* pages in PAGE_SWAPPED */
    size_t n_lost;        /* pages in PAGE_LOST */
    size_t n_transit;     /* pages in transit */
};

/* Reserve tables for @n_pages. 0 or -ENOMEM. */
int pagetable_init(struct pagetable *table, size_t n_pages);

/* Make entries [0, @n_pages) usable. 0 or -ENOMEM. */
int pagetable_commit(struct pagetable *table, size_t n_pages);

/* The same for far pages (space.h): entries [@first, @end), where @first is that of the first chunk, always. */
int pagetable_commit_far(struct pagetable *table, page_number first, page_number end);

/* The end of all entries that can be used; between the near ones and the far ones are some that cannot, and none of them is busy. */
static inline page_number pagetable_end(const struct pagetable *table)
{
    return (page_number)(table->far_end != 0 ? table->far_end : table->committed_pages);
}

static inline struct page *page_at(const struct pagetable *table, page_number number)
{
    return &table->pages[number];
}

static inline enum page_state page_state(const struct page *page)
{
    return (enum page_state)page->state;
}

static inline bool page_is_resident(const struct page *page)
{
    return page->state == PAGE_RESIDENT || page->state == PAGE_FRESH;
}

static inline bool page_is_in_transit(const struct page *page)
{
    return page->state >= PAGE_THAWING;
}

/*
 * The one way to change a state; asserts that the arrow exists, and keeps the counts.
 * The links, the slot, the handle or the word of the old state are the caller's to release first.
 */
void page_set_state(struct pagetable *table, page_number number, enum page_state to);

/*
 * Move entries of resting pages that are neither EMPTY nor RESIDENT, as they are, from @from on to EMPTY ones from @to
 * on. Returns how many it moved: it ends at the first other page, at @most, and at the end of a group.
 */
size_t pagetable_move_run(struct pagetable *table, page_number to, page_number from, size_t most);

/*
 * Move whole groups of entries, all resting, MOVING or EMPTY and without a flag, to groups in which all is EMPTY and
 * without a flag. @to and @from: first pages of groups. 0; -errno: nothing has moved.
 */
int pagetable_move_groups(struct pagetable *table, page_number to, page_number from, size_t n_groups);

/* Skip groups without a busy entry: the first page from @number on, below @end, that may be busy; @end if none. */
page_number pagetable_next_busy(const struct pagetable *table, page_number number, page_number end);

/*
 * Of the entries from @number on, below @end, those that can be used and looked at in one go: at most @most, within a group.
 * Returns where they end.
 */
static inline page_number pagetable_stop(page_number number, page_number end, size_t most)
{
    size_t group_end = (number / PAGETABLE_GROUP_PAGES + 1) * PAGETABLE_GROUP_PAGES;

    return (page_number)min_size(min_size(end, group_end), (size_t)number + most);
}

/* Set or clear PAGE_FLAG_LAST. */
void page_set_last(struct pagetable *table, page_number number, bool last);

/* The word of a SAME page needs more bits than `value` has; the links are free then. */
void page_set_word(struct page *page, uint64_t word);
uint64_t page_word(const struct page *page);

/* RAM that the table holds. */
size_t pagetable_meta_bytes(const struct pagetable *table);

#endif
