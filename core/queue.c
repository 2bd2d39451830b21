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

void queue_push_oldest(struct page_queue *queue, struct pagetable *table, page_number number)
{
    struct page *page = page_at(table, number);

    page->next = queue->oldest & PAGE_NONE;
    page->prev = PAGE_NONE;
    if (queue->oldest != PAGE_NONE)
        page_at(table, queue->oldest)->prev = number & PAGE_NONE;
    else
        queue->newest = number;
    queue->oldest = number;
    queue->n_pages++;
}

static page_number moved(page_number number, page_number to, page_number from, size_t n_pages)
{
    return (page_number)(number - from) < n_pages ? (page_number)(number - from + to) : number;
}

void queue_follow(struct page_queue *queue, struct pagetable *table, page_number to, page_number from, size_t n_pages,
                  size_t i)
{
    page_number number = (page_number)(to + i);
    struct page *page = page_at(table, number);

    if (page->prev != PAGE_NONE) {
        page->prev = moved(page->prev, to, from, n_pages) & PAGE_NONE;
        page_at(table, page->prev)->next = number & PAGE_NONE;
    } else {
        queue->oldest = number;
    }
    if (page->next != PAGE_NONE) {
        page->next = moved(page->next, to, from, n_pages) & PAGE_NONE;
        page_at(table, page->next)->prev = number & PAGE_NONE;
    } else {
        queue->newest = number;
    }
}
