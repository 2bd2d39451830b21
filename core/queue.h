/*
 * queue.h - pages in the order in which they came, linked through their page table entries.
 *
 * Calls: pagetable.  Locks: the caller's (pager.lock).  Memory: none but the links.
 */
#ifndef GHOSTMEM_CORE_QUEUE_H
#define GHOSTMEM_CORE_QUEUE_H

#include "core/pagetable.h"

struct page_queue {
    page_number oldest; /* PAGE_NONE: empty */
    page_number newest;
    size_t n_pages;
};

void queue_init(struct page_queue *queue);
void queue_push(struct page_queue *queue, struct pagetable *table, page_number number);
void queue_remove(struct page_queue *queue, struct pagetable *table, page_number number);

/* The page becomes the oldest. */
void queue_push_oldest(struct page_queue *queue, struct pagetable *table, page_number number);

/*
 * Entries have moved from @from on to @to on as they were. For each of them that stands in the queue, in any order: let
 * the @i-th one's neighbours, which may have moved too, and the queue point to where it is.
 */
void queue_follow(struct page_queue *queue, struct pagetable *table, page_number to, page_number from, size_t n_pages,
                  size_t i);

#endif
