/*
 * test_numpy.c - python3 with Debian's numpy: a matrix product, a sort, a concatenation.
 *
 * The matrices hold small whole numbers: their product is exact, whatever order the sums are taken in, and that order
 * may depend on where malloc puts the arrays. At 5 pages nearly all of the time goes into importing numpy.
 */
#include "trial.h"

#include <criterion/criterion.h>
#include <stdio.h>

TestSuite(numpy, .fini = trial_end, .timeout = TRIAL_SUITE_TIMEOUT_S);

/* Debian's, by path: the first python3 in PATH may be another one, without numpy. */
#define PYTHON "/usr/bin/python3"

/* write() gets 60 MB in one call: the kernel reads frozen pages itself. */
static const char script[] =
    "import sys\n"
    "import numpy as np\n"
    "side, count = int(sys.argv[1]), int(sys.argv[2])\n"
    "a = (np.arange(side * side) % 7 - 3).astype(np.float64).reshape(side, side)\n"
    "b = np.ascontiguousarray(a.T) + 1\n"
    "product = a @ b\n"
    "values = np.random.RandomState(1).randint(0, 2**32, count, dtype=np.uint32)\n"
    "ordered = np.sort(values)\n"
    "joined = np.concatenate([values, ordered, values[::-1]])\n"
    "print(int(product.sum()), int(joined.sum(dtype=np.uint64)), int(ordered[count // 2]))\n"
    "with open('joined', 'wb', 0) as out:\n"
    "    out.write(product)\n"
    "    out.write(joined)\n";

/* The arrays of numbers take 20 bytes for each of @count, the matrices 24 * @side * @side bytes. */
static void compare_numpy(size_t limit_pages, size_t side, size_t count)
{
    struct trial *trial = trial_begin(limit_pages);
    char side_text[24];
    char count_text[24];
    const struct command work = {
        .argv = {PYTHON, "-I", "-B", "../work.py", side_text, count_text, NULL},
    };
    const struct run try_import = {
        .argv = (const char *const[]){PYTHON, "-I", "-B", "-c", "import numpy", NULL},
        .env = (const char *const[]){NULL},
        .dir = trial_path(trial, "."),
        .output = "stdout",
        .errors = "stderr",
        .timeout_s = TRIAL_TIMEOUT_S,
    };
    struct run_result result;

    trial_need(PYTHON);
    if (run_program(&try_import, &result) != 0 || result.status != 0)
        trial_skip("numpy is not installed for " PYTHON " (python3-numpy)");
    (void)snprintf(side_text, sizeof(side_text), "%zu", side);
    (void)snprintf(count_text, sizeof(count_text), "%zu", count);
    trial_write(trial, "work.py", script);
    trial_compare(trial, &work);
}

Test(numpy, with_80_kb_gives_the_same_output_at_5_pages)
{
    compare_numpy(5, 10, 4000);
}

Test(numpy, with_1_mb_gives_the_same_output_at_64_pages)
{
    compare_numpy(64, 64, 64 * 1000);
}

Test(numpy, with_20_mb_gives_the_same_output_at_1024_pages)
{
    compare_numpy(1024, 300, 1000 * 1000);
}

Test(numpy, with_120_mb_gives_the_same_output_at_16384_pages)
{
    compare_numpy(16384, 700, 5 * 1000 * 1000);
}
