/*
 * test_xz.c - xz -9e and xz -d.
 *
 * The encoder of -9e reserves 673 MiB whatever the input's size, and every byte of input is looked up in a hash table
 * of 64 MiB at a place that depends on four bytes of text: few words make few pages of it hot. The decoder's window is
 * as large as the header says; its input repeats in the end what stood in the beginning.
 */
#include "input.h"
#include "trial.h"

#include <criterion/criterion.h>

TestSuite(xz, .fini = trial_end, .timeout = TRIAL_SUITE_TIMEOUT_S);

static const struct command decompress_back = {
    .argv = {"xz", "-dc", "packed.xz", NULL},
    .output = "unpacked",
    .may_fit = true, /* the window is large, but no more of it is touched than there is text */
};

static void compare_xz(size_t limit_pages, size_t bytes, size_t n_words)
{
    struct trial *trial = trial_begin(limit_pages);
    const struct command compress = {.argv = {"xz", "-9e", "-T1", "-c", "../text", NULL}, .output = "packed.xz"};

    trial_need("xz");
    input_text(trial_path(trial, "text"), bytes, 200, n_words, 2);
    trial_compare(trial, &compress);
    trial_compare(trial, &decompress_back);
}

static void compare_xz_d(size_t limit_pages, size_t bytes)
{
    struct trial *trial = trial_begin(limit_pages);
    const struct command pack = {
        .argv = {"xz", "-T1", "--lzma2=preset=0,mf=hc4,depth=1,nice=273,dict=128MiB", "-c", "echo", NULL},
        .output = "echo.xz",
    };
    const struct command decompress = {.argv = {"xz", "-dc", "../echo.xz", NULL}};

    trial_need("xz");
    input_echo(trial_path(trial, "echo"), bytes, 3);
    trial_prepare(trial, NULL, &pack);
    trial_compare(trial, &decompress);
}

Test(xz, of_2_kb_at_9e_and_back_gives_the_same_output_at_5_pages)
{
    compare_xz(5, 2500, 200);
}

Test(xz, of_24_kb_at_9e_and_back_gives_the_same_output_at_64_pages)
{
    compare_xz(64, 24 * 1000, 200);
}

Test(xz, of_120_kb_at_9e_and_back_gives_the_same_output_at_1024_pages)
{
    compare_xz(1024, 120 * 1000, 200);
}

Test(xz, of_2_mb_at_9e_and_back_gives_the_same_output_at_16384_pages)
{
    compare_xz(16384, 2 * 1000 * 1000, 4000);
}

Test(xz, d_of_400_kb_gives_the_same_output_at_5_pages)
{
    compare_xz_d(5, 400 * KIB);
}

Test(xz, d_of_2_mb_gives_the_same_output_at_64_pages)
{
    compare_xz_d(64, 2 * MIB);
}

Test(xz, d_of_12_mb_gives_the_same_output_at_1024_pages)
{
    compare_xz_d(1024, 12 * MIB);
}

Test(xz, d_of_80_mb_gives_the_same_output_at_16384_pages)
{
    compare_xz_d(16384, 80 * MIB);
}
