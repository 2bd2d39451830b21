/* corefile.c - see corefile.h. */
#include "core/corefile.h"

void corefile_fill(struct corefile *corefile, const struct space *space, const struct pagetable *table, const struct pool *pool,
                   const struct limbo *limbo, bool by_protection)
{
    *corefile = (struct corefile){
        .magic = {COREFILE_MAGIC_1, COREFILE_MAGIC_2},
        .self = (uintptr_t)corefile,
        .version = GHOSTMEM_VERSION,
        .layout = COREFILE_LAYOUT,
        .by_protection = by_protection,
        .base = space->near_base,
        .near_pages = space->near_pages,
        .far_first = space->far_first,
        .places = (uintptr_t)space->places,
        .n_pages = table->n_pages,
        .entries = (uintptr_t)table->pages,
        .pool_space = (uintptr_t)pool->space,
        .pool_slabs = (uintptr_t)pool->slabs,
        .pool_max_slabs = pool->max_slabs,
        .limbo_space = (uintptr_t)limbo->space,
        .limbo_slots = limbo->n_slots,
    };
}
