/*
 * test_strings.c - perl and awk build large strings: appended to, joined, searched, changed, inserted into, reversed.
 */
#include "trial.h"

#include <criterion/criterion.h>
#include <stdio.h>

TestSuite(perl, .fini = trial_end, .timeout = TRIAL_SUITE_TIMEOUT_S);
TestSuite(awk, .fini = trial_end, .timeout = TRIAL_SUITE_TIMEOUT_S);

enum {
    SCRIPT_BYTES = 2048,
    NUMBER_BYTES = 40
};

static const char perl_script[] =
    "use strict; use warnings;\n"
    "my ($lines, $copies) = @ARGV;\n"
    "my $text = '';\n"
    "$text .= sprintf(\"%08x line %d of the text\\n\", ($_ * 2654435761) % 4294967296, $_) for 1 .. $lines;\n"
    "my @parts = map { \"$_:\" . $text } 1 .. $copies;\n"
    "my $all = join('', @parts);\n"
    "(my $upper = $all) =~ tr/a-f/A-F/;\n"
    "substr($upper, length($upper) / 2, 0) = $text;\n"
    "print length($all), ' ', index($upper, 'OF THE', 1), ' ', unpack('%32C*', $upper), \"\\n\";\n"
    "print scalar reverse($upper);\n";

/* Only what POSIX has: awk may be mawk, gawk or another. Few appended lines: mawk copies the string for each. */
static const char awk_script[] =
    "BEGIN {\n"
    "    for (i = 1; i <= lines; i++)\n"
    "        text = text sprintf(\"%08d line %d of the text\\n\", (i * 7919) % 10000019, i)\n"
    "    for (i = 1; i <= doublings; i++)\n"
    "        text = text text\n"
    "    for (i = 1; i <= copies; i++)\n"
    "        part[i] = i \":\" text\n"
    "    all = text text text text\n"
    "    changed = all\n"
    "    n = gsub(/line 1/, \"LINE ONE\", changed)\n"
    "    print length(all), n, index(changed, \"LINE ONE9\"), substr(changed, length(changed) - 30)\n"
    "    for (i = copies; i >= 1; i--)\n"
    "        print toupper(part[i])\n"
    "    print all\n"
    "}\n";

static void compare_perl(size_t limit_pages, size_t lines, size_t copies)
{
    struct trial *trial = trial_begin(limit_pages);
    char lines_text[NUMBER_BYTES];
    char copies_text[NUMBER_BYTES];
    const struct command build = {.argv = {"perl", "../build.pl", lines_text, copies_text, NULL}};

    trial_need("perl");
    (void)snprintf(lines_text, sizeof(lines_text), "%zu", lines);
    (void)snprintf(copies_text, sizeof(copies_text), "%zu", copies);
    trial_write(trial, "build.pl", perl_script);
    trial_compare(trial, &build);
}

static void compare_awk(size_t limit_pages, size_t lines, size_t doublings, size_t copies)
{
    struct trial *trial = trial_begin(limit_pages);
    char lines_text[NUMBER_BYTES];
    char doublings_text[NUMBER_BYTES];
    char copies_text[NUMBER_BYTES];
    const struct command build = {
        .argv = {"awk", "-v", lines_text, "-v", doublings_text, "-v", copies_text, "-f", "../build.awk", NULL},
    };

    trial_need("awk");
    (void)snprintf(lines_text, sizeof(lines_text), "lines=%zu", lines);
    (void)snprintf(doublings_text, sizeof(doublings_text), "doublings=%zu", doublings);
    (void)snprintf(copies_text, sizeof(copies_text), "copies=%zu", copies);
    trial_write(trial, "build.awk", awk_script);
    trial_compare(trial, &build);
}

Test(perl, strings_of_200_kb_are_the_same_at_5_pages)
{
    compare_perl(5, 1000, 6);
}

Test(perl, strings_of_2_mb_are_the_same_at_64_pages)
{
    compare_perl(64, 2000, 8);
}

Test(perl, strings_of_20_mb_are_the_same_at_1024_pages)
{
    compare_perl(1024, 10 * 1000, 16);
}

Test(perl, strings_of_200_mb_are_the_same_at_16384_pages)
{
    compare_perl(16384, 40 * 1000, 32);
}

Test(awk, strings_of_400_kb_are_the_same_at_5_pages)
{
    compare_awk(5, 300, 1, 4);
}

Test(awk, strings_of_2_mb_are_the_same_at_64_pages)
{
    compare_awk(64, 300, 3, 12);
}

Test(awk, strings_of_15_mb_are_the_same_at_1024_pages)
{
    compare_awk(1024, 1000, 3, 50);
}

Test(awk, strings_of_240_mb_are_the_same_at_16384_pages)
{
    compare_awk(16384, 1000, 8, 16);
}
