/*
 * test_gcc.c - gcc compiles a generated file: the driver, cc1 and as, each a process with GhostMem.
 *
 * Most of cc1's memory is its garbage collector's, from mmap. What it takes from malloc grows with the largest
 * function: the data-flow and register allocation tables. Optimisation goes over them many times, so it is left to
 * the small files.
 */
#include "input.h"
#include "trial.h"

#include <criterion/criterion.h>

TestSuite(gcc, .fini = trial_end, .timeout = TRIAL_SUITE_TIMEOUT_S);

static void compare_gcc(size_t limit_pages, const char *level, size_t n_functions, size_t n_statements)
{
    struct trial *trial = trial_begin(limit_pages);
    const struct command compile = {.argv = {"gcc", level, "-c", "../in.c", "-o", "out.o", NULL}};

    trial_need("gcc");
    input_c_source(trial_path(trial, "in.c"), n_functions, n_statements);
    trial_compare(trial, &compile);
}

Test(gcc, of_a_small_file_gives_the_same_object_at_5_pages)
{
    compare_gcc(5, "-O1", 1, 2);
}

Test(gcc, of_120_statements_gives_the_same_object_at_64_pages)
{
    compare_gcc(64, "-O1", 3, 40);
}

Test(gcc, of_2700_statements_gives_the_same_object_at_1024_pages)
{
    compare_gcc(1024, "-O0", 3, 900);
}

Test(gcc, of_12000_statements_gives_the_same_object_at_16384_pages)
{
    compare_gcc(16384, "-O0", 1, 12000);
}
