/* test_report.c - ghostmem report: the page, and what it makes of bad statistics and full disks. */
#include "tests/command/said.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct said said;
static char page[65536];

TestSuite(report, .init = make_dir, .fini = remove_dir);

#define GOOD                                                                                                              \
    "{\"version\": \"1\", \"backend\": \"signal\", \"backend_reason\": \"the fastest\", \"engaged\": true, \"page_bytes\": 4096, " \
    "\"limit_pages\": 4096, \"resident_pages_peak\": 4096, \"thaws\": 2330000, \"first_touches\": 20000, "                 \
    "\"images_made\": 1000, \"images_made_bytes\": 4000000, \"ghost_bytes_peak\": 85000000"

static const char *read_page(const char *name)
{
    RUN_OTHER(&said, "/bin/cat", name);
    cr_assert(ended(&said, 0), "%s", said.err);
    strcpy(page, said.out);
    return page;
}

/* What a run leaves in `dir`: @n files besides what the run itself makes. */
static size_t files_left(void)
{
    DIR *names = opendir(dir);
    struct dirent *name;
    size_t n = 0;

    while ((name = readdir(names)) != NULL)
        n += name->d_name[0] != '.';
    closedir(names);
    return n;
}

/* Every element that is opened is closed, in order; those that are never closed aside. */
static bool is_balanced(const char *html)
{
    char open[64][16];
    size_t depth = 0;

    for (const char *at = html; (at = strchr(at, '<')) != NULL; at++) {
        bool closing = at[1] == '/';
        char name[16] = "";
        size_t n = 0;

        if (at[1] == '!')
            continue;
        for (const char *c = at + 1 + closing; isalnum((unsigned char)*c) && n + 1 < sizeof name; c++)
            name[n++] = *c;
        if (n == 0 || strchr(at, '>') == NULL)
            return false;
        if (strcmp(name, "meta") == 0)
            continue;
        if (closing && (depth == 0 || strcmp(open[--depth], name) != 0))
            return false;
        if (!closing && depth == sizeof open / sizeof open[0])
            return false;
        if (!closing)
            strcpy(open[depth++], name);
    }
    return depth == 0;
}

static bool needs_nothing(const char *html)
{
    static const char *const outside[] = {"://", "<script", "src=", "href=", "url(", "@import"};

    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++)
        if (strstr(html, outside[i]) != NULL)
            return false;
    return true;
}

Test(report, page_shows_a_run)
{
    RUN(&said, "-m", "1M", "--stats=stats.json", of_ours("probe"), "realloc_keeps_the_contents", "8");
    cr_assert(ended(&said, 0), "%s", said.err);
    RUN(&said, "report", "stats.json");
    cr_assert(ended(&said, 0) && said.out[0] == '\0' && said.err[0] == '\0', "%s", said.err);
    read_page("stats.html");
    cr_assert(is_balanced(page) && needs_nothing(page), "%s", page);
    cr_assert_not_null(strstr(page, "1.0 MiB of RAM were allowed"));
    cr_assert_not_null(strstr(page, "<td>resident_pages_peak</td><td>256</td>"));
    cr_assert_not_null(strstr(page, "prefers-color-scheme: dark"));
    cr_assert_not_null(strstr(page, "<strong>probe</strong> <code>realloc_keeps_the_contents 8</code>"));
    cr_assert_not_null(strstr(page, " &middot; ran "));
    cr_assert_not_null(strstr(page, "<h2>What the limit cost</h2>"));
    cr_assert_eq(files_left(), 2);
}

Test(report, page_of_a_program_that_fits_says_so)
{
    RUN(&said, "-m", "64M", "--stats=stats.json", of_ours("probe"), "realloc_keeps_the_contents", "8");
    RUN(&said, "report", "-o", "-", "stats.json");
    cr_assert(ended(&said, 0) && is_balanced(said.out) && needs_nothing(said.out));
    cr_assert_not_null(strstr(said.out, "The limit was never reached"));
    RUN(&said, "-m", "64M", "--stats=stats.json", "/bin/true");
    RUN(&said, "report", "-o", "-", "stats.json");
    cr_assert(ended(&said, 0) && is_balanced(said.out));
    cr_assert_not_null(strstr(said.out, "no large block"));
}

Test(report, verdict_and_advice_follow_the_figures)
{
    write_text("low.json", GOOD "}", 0644);
    RUN(&said, "report", "-o", "-", "low.json");
    cr_assert_not_null(strstr(said.out, "came back 112 times. The limit was low"), "%s", said.out);
    cr_assert_not_null(strstr(said.out, "hardly compresses (1.02 to 1)"));
    write_text("well.json", GOOD ", \"soft_faults\": 5, \"lost_pages\": 3}", 0644);
    RUN(&said, "report", "-o", "-", "well.json");
    cr_assert_not_null(strstr(said.out, "12.0 KiB of the program's memory could not be read back"));
}

Test(report, names_and_strings_are_text)
{
    write_text("<b>&\".json", GOOD ", \"program\": \"<script>alert('x')</script>&\"}", 0644);
    RUN(&said, "report", "<b>&\".json");
    cr_assert(ended(&said, 0), "%s", said.err);
    read_page("<b>&\".html");
    cr_assert(is_balanced(page) && needs_nothing(page), "%s", page);
    cr_assert_not_null(strstr(page, "<h1>GhostMem report</h1>\n<p class=\"faint\">&lt;b&gt;&amp;&quot;.json"));
    cr_assert_not_null(strstr(page, "&lt;script&gt;alert('x')&lt;/script&gt;&amp;"));
}

Test(report, bad_statistics_are_one_line_and_no_page)
{
    static const struct {
        const char *text;
        const char *said;
    } bad[] = {
        {"", "not JSON: line"},
        {"hello", "not JSON"},
        {"[1, 2]", "not statistics of GhostMem"},
        {"{}", "not statistics"},
        {"\"text\"", "not "},
        {"{\"engaged\": true, \"page_bytes\": 0, \"limit_pages\": 1}", "not statistics"},
        {"{\"engaged\": 1, \"page_bytes\": 4096, \"limit_pages\": 1}", "not statistics"},
        {GOOD ", \"faults\": -1}", "faults: not a whole number"},
        {GOOD ", \"faults\": 1.5}", "faults: not a whole number"},
        {GOOD ", \"faults\": 99999999999999999999}", "not JSON"},
        {GOOD ", \"thaws\": 1}", "not JSON: line 1: duplicate"},
        {GOOD ", \"faults\": \"\xff\"}", "not JSON"},
        {GOOD "} and more", "not JSON"},
    };
    static char deep[100000];

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        write_text("bad.json", bad[i].text, 0644);
        RUN(&said, "report", "bad.json");
        cr_assert(refused(&said, 1, bad[i].said), "%s: %s", bad[i].text, said.err);
        cr_assert_eq(files_left(), 1);
    }
    memset(deep, '[', sizeof deep - 1);
    write_text("bad.json", deep, 0644);
    RUN(&said, "report", "bad.json");
    cr_assert(refused(&said, 1, "not JSON"), "%s", said.err);
    RUN(&said, "report", "no.json");
    cr_assert(refused(&said, 1, "no.json: No such file"));
    RUN(&said, "report", "/");
    cr_assert(refused(&said, 1, "Is a directory"), "%s", said.err);
}

Test(report, truncated_statistics_are_one_line_and_no_page)
{
    static const char whole[] = GOOD "}";

    for (size_t n = 0; n + 1 < sizeof whole; n += 7) {
        write_file("cut.json", whole, n, 0644);
        RUN(&said, "report", "cut.json");
        cr_assert(refused(&said, 1, "cut.json: not JSON"), "%zu bytes: %s", n, said.err);
        cr_assert_eq(files_left(), 1);
    }
}

Test(report, page_is_there_whole_or_not_at_all)
{
    write_text("stats.json", GOOD "}", 0644);
    write_text("stats.html", "as it was", 0644);
    RUN_OTHER(&said, "/bin/bash", "-c", "ulimit -f 1; exec \"$0\" report stats.json", command_path());
    cr_assert(refused(&said, 1, "stats.html: File too large"), "%s", said.err);
    cr_assert_eq(files_left(), 2);
    cr_assert_str_eq(read_page("stats.html"), "as it was");

    RUN(&said, "report", "-o", "no/such/page.html", "stats.json");
    cr_assert(refused(&said, 1, "No such file or directory"));
    RUN(&said, "report", "-o", "/dev/full", "stats.json");
    cr_assert(refused(&said, 1, "/dev/full: No space left"), "%s", said.err);
    cr_assert_eq(access("/dev/full", W_OK), 0);
    RUN_OTHER(&said, "/bin/sh", "-c", "\"$0\" report -o - stats.json >/dev/full", command_path());
    cr_assert(refused(&said, 1, "No space left"), "%s", said.err);
}

Test(report, page_replaces_what_a_link_leads_to)
{
    struct stat status;

    write_text("stats.json", GOOD "}", 0644);
    write_text("old.html", "old", 0644);
    cr_assert_eq(symlink("old.html", in_dir("link.html")), 0);
    RUN(&said, "report", "-o", "link.html", "stats.json");
    cr_assert(ended(&said, 0), "%s", said.err);
    cr_assert(lstat(in_dir("link.html"), &status) == 0 && S_ISLNK(status.st_mode));
    cr_assert_not_null(strstr(read_page("old.html"), "GhostMem report"));
    cr_assert_eq(files_left(), 3);
}

Test(report, waiting_is_shown_by_kind_and_leads_to_advice)
{
    write_text("swap.json", GOOD ", \"process\": 7, \"program\": \"job\", \"arguments\": [\"job\", \"<i>\", \"b c\"], \"run_ms\": 10000, "
               "\"waited_ns\": 4000000000, \"waited_swap_ns\": 3000000000, \"waited_image_ns\": 1000000000}", 0644);
    RUN(&said, "report", "-o", "-", "swap.json");
    cr_assert(ended(&said, 0) && is_balanced(said.out) && needs_nothing(said.out), "%s", said.err);
    cr_assert_not_null(strstr(said.out, "<strong>job</strong> <code>&lt;i&gt; b c</code>"), "%s", said.out);
    cr_assert_not_null(strstr(said.out, "<span>3.000 s</span>"));
    cr_assert_not_null(strstr(said.out, "4.000 s, all of them together, in a run of 10.000 s: 40&nbsp;%"));
    cr_assert_not_null(strstr(said.out, "Most of the waiting was for the swap file"));
    write_text("cheap.json", GOOD ", \"process\": 7, \"run_ms\": 10000, \"waited_ns\": 40000000, \"waited_image_ns\": 40000000}", 0644);
    RUN(&said, "report", "-o", "-", "cheap.json");
    cr_assert_not_null(strstr(said.out, "this limit costs next to nothing"));
}

/* A browser draws the page: some colours that are in it, in a picture that is not small. */
Test(report, browser_shows_the_page)
{
    struct stat picture;

    if (access("/usr/bin/chromium", X_OK) != 0)
        cr_skip_test("no chromium");
    RUN(&said, "-m", "1M", "--stats=stats.json", of_ours("probe"), "realloc_keeps_the_contents", "8");
    RUN(&said, "report", "stats.json");
    cr_assert(ended(&said, 0), "%s", said.err);
    RUN_OTHER(&said, "/bin/sh", "-c", "HOME=$PWD timeout 60 chromium --headless --no-sandbox --disable-gpu --window-size=900,1300 "
              "--screenshot=$PWD/page.png file://$PWD/stats.html >log 2>&1; rm -rf .config .cache .pki .local");
    cr_assert_eq(stat(in_dir("page.png"), &picture), 0);
    cr_assert_gt(picture.st_size, 20000);
}

Test(report, bad_options_are_one_line)
{
    RUN(&said, "report");
    cr_assert(refused(&said, 125, "one file"));
    RUN(&said, "report", "a", "b");
    cr_assert(refused(&said, 125, "one file"));
    RUN(&said, "report", "-x");
    cr_assert(refused(&said, 125, "'x'"));
    RUN(&said, "report", "--help");
    cr_assert(ended(&said, 0) && strstr(said.out, "usage: ghostmem report") != NULL);
}
