/* visit.c - see visit.h. */
#include "core/visit.h"

#include "platform/thread.h"

#define RETRY_MS 1

void visits_init(struct visits *visits, const struct space *space, const struct pagetable *table, struct holds *holds)
{
    visits->space = space;
    visits->table = table;
    visits->holds = holds;
}

static struct visit_stack *take_stack(struct visits *visits, uint32_t self)
{
    for (;;) {
        for (size_t i = 0; i < VISIT_STACKS; i++) {
            uint32_t nobody = 0;

            if (atomic_compare_exchange_strong(&visits->stacks[i].thread, &nobody, self))
                return &visits->stacks[i];
        }
        /* One that a handler of the program jumped away from. */
        for (size_t i = 0; i < VISIT_STACKS; i++)
            if (atomic_load(&visits->stacks[i].thread) == self)
                return &visits->stacks[i];
        os_sleep_ms(RETRY_MS);
    }
}

/* The block that the stack lies in may begin just below. */
static page_number lowest_page(const struct visits *visits, page_number here)
{
    page_number lowest = here;

    while (lowest > 0 && here - lowest < VISIT_PAGES_BELOW && (page_at(visits->table, lowest - 1)->flags & PAGE_FLAG_LAST) == 0)
        lowest--;
    return lowest;
}

void visit_stack_pages(const struct visits *visits, uintptr_t pointer, page_number *first, page_number *end)
{
    page_number here = space_number(visits->space, pointer);

    *first = lowest_page(visits, here);
    *end = (page_number)min_size(here + 1 + VISIT_PAGES_ABOVE, visits->table->committed_pages);
}

static struct visit_stack *hold_stack(struct visits *visits, uintptr_t pointer)
{
    struct visit_stack *stack = take_stack(visits, os_thread_id());
    page_number first;
    page_number end;

    visit_stack_pages(visits, pointer, &first, &end);
    hold_clear(&stack->hold);
    hold_add(&stack->hold, first, end);
    hold_start(visits->holds, &stack->hold);
    /* Written, not read: a page may be leaving, and still be readable. Nothing changes. */
    for (page_number i = first; i < end; i++) {
        _Atomic unsigned char *byte = (_Atomic unsigned char *)space_address(visits->space, i);

        atomic_fetch_or_explicit(byte, 0, memory_order_relaxed);
        if ((page_at(visits->table, i)->flags & PAGE_FLAG_LAST) != 0)
            break;
    }
    return stack;
}

void visit_touch_stack(const struct space *space)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);

    if (!space_has_near(space, here))
        return;
    for (size_t i = 0; i <= VISIT_PAGES_BELOW && space_has_near(space, here - i * PAGE_BYTES); i++)
        atomic_fetch_or_explicit((_Atomic unsigned char *)(here - i * PAGE_BYTES), 0, memory_order_relaxed);
}

void visit_begin(struct visits *visits, struct visit *visit)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);

    visit->stack = space_has_near(visits->space, here) ? hold_stack(visits, here) : NULL;
    visit->mask = os_signals_block();
}

void visit_end(const struct visit *visit)
{
    os_signals_restore(visit->mask);
    if (visit->stack == NULL)
        return;
    hold_end(&visit->stack->hold);
    atomic_store(&visit->stack->thread, 0);
}

void visits_fork_child(struct visits *visits, const struct visit *visit)
{
    for (size_t i = 0; i < VISIT_STACKS; i++) {
        struct visit_stack *stack = &visits->stacks[i];

        if (stack == visit->stack)
            continue;
        hold_end(&stack->hold);
        atomic_store(&stack->thread, 0);
    }
}
