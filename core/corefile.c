/* corefile.c - see corefile.h. */
#include "core/corefile.h"

#include <string.h>

void corefile_fill(struct corefile *corefile, const struct space *space, const struct pagetable *table, const struct store *store,
                   const struct limbo *limbo, bool by_protection)
{
    /* Member by member: a copy on the stack would look like another one. */
    memset(corefile, 0, sizeof *corefile);
    corefile->self = (uintptr_t)corefile;
    strncpy(corefile->version, GHOSTMEM_VERSION, sizeof corefile->version - 1);
    corefile->layout = COREFILE_LAYOUT;
    corefile->by_protection = by_protection;
    corefile->base = space->near_base;
    corefile->near_pages = space->near_pages;
    corefile->far_first = space->far_first;
    corefile->places = (uintptr_t)space->places;
    corefile->n_pages = table->n_pages;
    corefile->entries = (uintptr_t)table->pages;
    corefile->pool_space = (uintptr_t)store->pool.space;
    corefile->pool_slabs = (uintptr_t)store->pool.slabs;
    corefile->pool_max_slabs = store->pool.max_slabs;
    corefile->dictionaries = (uintptr_t)store->dictionaries;
    corefile->limbo_space = (uintptr_t)limbo->space;
    corefile->limbo_slots = limbo->most_slots;
    corefile->magic[0] = COREFILE_MAGIC_1;
    corefile->magic[1] = COREFILE_MAGIC_2;
}
