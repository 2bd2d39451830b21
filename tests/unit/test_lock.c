/* test_lock.c - the order of locks is checked in test builds. */
#include "platform/lock.h"

#include "tests/unit/unit.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static struct os_lock heap_lock = {.rank = LOCK_HEAP};
static struct os_lock pager_lock = {.rank = LOCK_PAGER};
static struct os_lock another_pager_lock = {.rank = LOCK_PAGER};
static struct os_lock no_lock;

static bool aborts(void (*run)(void))
{
    pid_t child = fork();
    int status;

    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        run();
        _exit(0);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void in_order(void)
{
    os_lock_take(&heap_lock);
    os_lock_take(&pager_lock);
    LOCK_ASSERT_HELD(LOCK_PAGER);
    os_lock_release(&heap_lock);
    LOCK_ASSERT_HELD(LOCK_PAGER);
    os_lock_release(&pager_lock);
    os_lock_take(&heap_lock);
    os_lock_release(&heap_lock);
}

static void out_of_order(void)
{
    os_lock_take(&pager_lock);
    os_lock_take(&heap_lock);
}

static void two_of_a_rank(void)
{
    os_lock_take(&pager_lock);
    os_lock_take(&another_pager_lock);
}

static void without_a_rank(void)
{
    os_lock_take(&no_lock);
}

static void not_held(void)
{
    os_lock_take(&heap_lock);
    LOCK_ASSERT_HELD(LOCK_PAGER);
}

static void held_no_longer(void)
{
    in_order();
    LOCK_ASSERT_HELD(LOCK_PAGER);
}

static void released_twice(void)
{
    os_lock_take(&heap_lock);
    os_lock_release(&heap_lock);
    os_lock_release(&heap_lock);
}

Test(lock, taken_in_ascending_order_only)
{
    cr_assert(!aborts(in_order));
    cr_assert(aborts(out_of_order));
    cr_assert(aborts(two_of_a_rank));
    cr_assert(aborts(without_a_rank));
}

Test(lock, functions_named_locked_notice_that_it_is_not_held)
{
    cr_assert(aborts(not_held));
    cr_assert(aborts(held_no_longer));
    cr_assert(aborts(released_twice));
}
