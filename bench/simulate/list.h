/*
 * list.h - pages of one of a policy's lists, from the oldest to the youngest.
 *
 * A page stands in one list at a time. Locks: none.  Memory: the machine's nodes.
 */
#ifndef BENCH_SIMULATE_LIST_H
#define BENCH_SIMULATE_LIST_H

#include "bench/simulate/machine.h"

#include <assert.h>

#define NO_PAGE UINT32_MAX

struct list {
    uint32_t oldest;
    uint32_t youngest;
    size_t n;
    uint8_t number; /* in the nodes; not 0 */
};

static inline void list_init(struct list *list, uint8_t number)
{
    *list = (struct list){.oldest = NO_PAGE, .youngest = NO_PAGE, .number = number};
}

static inline void list_push(struct list *list, struct machine *m, uint32_t page)
{
    struct node *node = &m->nodes[page];

    assert(node->list == 0);
    node->older = list->youngest;
    node->younger = NO_PAGE;
    node->list = list->number;
    if (list->youngest != NO_PAGE)
        m->nodes[list->youngest].younger = page;
    else
        list->oldest = page;
    list->youngest = page;
    list->n++;
}

static inline void list_remove(struct list *list, struct machine *m, uint32_t page)
{
    struct node *node = &m->nodes[page];

    assert(node->list == list->number);
    node->list = 0;
    if (node->older != NO_PAGE)
        m->nodes[node->older].younger = node->younger;
    else
        list->oldest = node->younger;
    if (node->younger != NO_PAGE)
        m->nodes[node->younger].older = node->older;
    else
        list->youngest = node->older;
    list->n--;
}

static inline uint32_t list_pop(struct list *list, struct machine *m)
{
    uint32_t page = list->oldest;

    list_remove(list, m, page);
    return page;
}

static inline bool list_has(const struct list *list, const struct machine *m, uint32_t page)
{
    return m->nodes[page].list == list->number;
}

#endif
