/*
 * test_zstd.c - zstd --ultra -22 --long, and back.
 *
 * zstd fits its tables to the size of the input, and works with several threads: reader, worker, writer.
 */
#include "input.h"
#include "trial.h"

#include <criterion/criterion.h>

TestSuite(zstd, .fini = trial_end, .timeout = TRIAL_SUITE_TIMEOUT_S);

static void compare_zstd(size_t limit_pages, size_t bytes, size_t n_words)
{
    struct trial *trial = trial_begin(limit_pages);
    const struct command compress = {
        .argv = {"zstd", "-q", "--ultra", "-22", "--long", "-c", "../text", NULL},
        .output = "packed.zst",
    };
    const struct command back = {
        .argv = {"zstd", "-q", "-d", "--long", "-c", "packed.zst", NULL},
        .output = "unpacked",
        .may_fit = true, /* the tables of the compressor were the larger part */
    };

    trial_need("zstd");
    input_text(trial_path(trial, "text"), bytes, 200, n_words, 4);
    trial_compare(trial, &compress);
    trial_compare(trial, &back);
}

static void compare_zstd_d(size_t limit_pages, size_t bytes)
{
    struct trial *trial = trial_begin(limit_pages);
    const struct command pack = {.argv = {"zstd", "-q", "-1", "--long", "echo", "-o", "echo.zst", NULL}};
    const struct command decompress = {.argv = {"zstd", "-q", "-d", "--long", "-c", "../echo.zst", NULL}};

    trial_need("zstd");
    input_echo(trial_path(trial, "echo"), bytes, 5);
    trial_prepare(trial, NULL, &pack);
    trial_compare(trial, &decompress);
}

Test(zstd, of_3_kb_at_22_and_back_gives_the_same_output_at_5_pages)
{
    compare_zstd(5, 3000, 200);
}

Test(zstd, of_20_kb_at_22_and_back_gives_the_same_output_at_64_pages)
{
    compare_zstd(64, 20 * 1000, 200);
}

Test(zstd, of_200_kb_at_22_and_back_gives_the_same_output_at_1024_pages)
{
    compare_zstd(1024, 200 * 1000, 2000);
}

Test(zstd, of_4_mb_at_22_and_back_gives_the_same_output_at_16384_pages)
{
    compare_zstd(16384, 4 * 1000 * 1000, 4000);
}

Test(zstd, d_of_100_kb_gives_the_same_output_at_5_pages)
{
    compare_zstd_d(5, 100 * KIB);
}

Test(zstd, d_of_4_mb_gives_the_same_output_at_64_pages)
{
    compare_zstd_d(64, 4 * MIB);
}

Test(zstd, d_of_30_mb_gives_the_same_output_at_1024_pages)
{
    compare_zstd_d(1024, 30 * MIB);
}

Test(zstd, d_of_120_mb_gives_the_same_output_at_16384_pages)
{
    compare_zstd_d(16384, 120 * MIB);
}
