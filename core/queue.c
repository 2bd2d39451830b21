/* queue.c - see queue.h. */
#include "core/queue.h"

void queue_init(struct page_queue *queue)
{
    *queue = (struct page_queue){.oldest = PAGE_NONE, .newest = PAGE_NONE};
}

void queue_push(struct page_queue *queue, struct pagetable *table, page_number number)
{
    struct page *page = page_at(table, number);

    page->prev = queue->newest & PAGE_NONE;
    page->next = PAGE_NONE;
    if (queue->newest != PAGE_NONE)
        page_at(table, queue->newest)->next = number & PAGE_NONE;
    else
        queue->oldest = number;
    queue->newest = number;
    queue->n_pages++;
}

void queue_remove(struct page_queue *queue, struct pagetable *table, page_number number)
{
    struct page *page = page_at(table, number);

    if (page->prev != PAGE_NONE)
        page_at(table, page->prev)->next = page->next;
    else
        queue->oldest = page->next;
    if (page->next != PAGE_NONE)
        page_at(table, page->next)->prev = page->prev;
    else
        queue->newest = page->prev;
    queue->n_pages--;
}
