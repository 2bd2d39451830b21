/* page.c - see page.h. */
#include "tools/command/page.h"

#include "tools/command/command.h"

#include <string.h>
#include <time.h>

/* Colours that people with any kind of colour vision tell apart. Source: Okabe and Ito, "Color Universal Design", 2008. */
#define BLUE "#0072b2"
#define SKY "#56b4e9"
#define ORANGE "#e69f00"
#define GREEN "#009e73"
#define PURPLE "#cc79a7"
#define RED "#d55e00"
#define GREY "#8a8f98"

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
    "<style>\n"
    ":root { color-scheme: light dark; --paper: #ffffff; --ink: #1c2128; --faint: #59636e; --line: #d8dee4; --box: #f6f8fa }\n"
    "@media (prefers-color-scheme: dark) { :root { --paper: #14181d; --ink: #e6eaf0; --faint: #9aa4b0; --line: #333b45; --box: #1d232a "
        "} }\n"
    "body { margin: 2rem auto; padding: 0 1rem; max-width: 52rem; background: var(--paper); color: var(--ink);"
    " font: 1rem/1.5 system-ui, sans-serif }\n"
    "h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.1rem; margin: 2.2rem 0 .4rem }\n"
    ".faint { color: var(--faint) } p { margin: .3rem 0 }\n"
    ".verdict { margin: 1.2rem 0; padding: .8rem 1rem; background: var(--box); border-left: .4rem solid; border-radius: .3rem;"
    " font-size: 1.1rem }\n"
    ".bars { display: grid; grid-template-columns: fit-content(45%) 1fr max-content; gap: .35rem .8rem; align-items: center }\n"
    "svg { display: block; width: 100%; height: 1.5rem; background: var(--box); border-radius: .2rem }\n"
    "ul.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; padding: 0; margin: .5rem 0 }\n"
    "ul.legend svg { display: inline-block; width: .8rem; height: .8rem; margin-right: .4rem }\n"
    "table { border-collapse: collapse } td { padding: .1rem 1.2rem .1rem 0; border-bottom: 1px solid var(--line) }\n"
    "td + td { text-align: right; font-variant-numeric: tabular-nums } summary { cursor: pointer }\n"
    "</style>\n";

/* ---- pieces ---- */

static void put_text(FILE *file, const char *text)
{
    for (; *text != '\0'; text++)
        switch (*text) {
        case '<': fputs("&lt;", file); break;
        case '>': fputs("&gt;", file); break;
        case '&': fputs("&amp;", file); break;
        case '"': fputs("&quot;", file); break;
        default: (void)fputc((unsigned char)*text < ' ' ? ' ' : *text, file); break;
        }
}

static const char *size(char text[COMMAND_SIZE_BYTES], double bytes)
{
    return command_size(text, bytes < 1.8e19 ? (uint64_t)bytes : UINT64_MAX);
}

static double share(double part, double whole)
{
    return whole > 0 ? 100 * part / whole : 0;
}

static void put_rect(FILE *file, double x, double width, const char *colour, const char *title)
{
    fprintf(file, "<rect x=\"%.3f%%\" y=\"0\" width=\"%.3f%%\" height=\"100%%\" fill=\"%s\"><title>", x, width, colour);
    put_text(file, title);
    fputs("</title></rect>", file);
}

struct part {
    const char *name;
    const char *colour;
    double amount;
};

static void put_legend(FILE *file, const struct part *parts, size_t n)
{
    char text[COMMAND_SIZE_BYTES];

    fputs("<ul class=\"legend\">\n", file);
    for (size_t i = 0; i < n; i++) {
        if (parts[i].amount <= 0)
            continue;
        fputs("<li><svg aria-hidden=\"true\">", file);
        put_rect(file, 0, 100, parts[i].colour, parts[i].name);
        fprintf(file, "</svg>%s %s</li>\n", parts[i].name, size(text, parts[i].amount));
    }
    fputs("</ul>\n", file);
}

/* One bar of several parts, as long as their sum is of @whole. */
static void put_stack(FILE *file, const char *label, const struct part *parts, size_t n, double whole)
{
    char text[COMMAND_SIZE_BYTES];
    double sum = 0;

    fprintf(file, "<span>%s</span><svg role=\"img\" aria-label=\"%s\">", label, label);
    for (size_t i = 0; i < n; i++) {
        put_rect(file, share(sum, whole), share(parts[i].amount, whole), parts[i].colour, parts[i].name);
        sum += parts[i].amount;
    }
    fprintf(file, "</svg><span>%s</span>\n", size(text, sum));
}

static void put_count(FILE *file, const char *label, double count, double most, const char *colour)
{
    fprintf(file, "<span>%s</span><svg role=\"img\" aria-label=\"%s\">", label, label);
    put_rect(file, 0, share(count, most), colour, label);
    fprintf(file, "</svg><span>%.0f</span>\n", count);
}

/* ---- sections ---- */

/* How often a page came back, on average over all that there were. */
static double returns(const struct figures *f)
{
    return f->asked_pages > 0 ? (f->thaws + f->soft_faults) / f->asked_pages : 0;
}

static void put_verdict(FILE *file, const struct figures *f)
{
    char asked[COMMAND_SIZE_BYTES];
    char limit[COMMAND_SIZE_BYTES];
    const char *colour = GREEN;

    if (f->engaged && returns(f) >= 1)
        colour = returns(f) >= 10 ? RED : ORANGE;
    fprintf(file, "<p class=\"verdict\" style=\"border-color: %s\">", colour);
    if (f->limit <= 0) {
        fputs("The program had no large block: there was nothing for GhostMem to do.</p>\n", file);
        return;
    }
    if (!f->engaged) {
        fprintf(file, "The limit was never reached: all large blocks together were %s at most, and %s were allowed. GhostMem did nothing "
                "but hand out memory.</p>\n", size(asked, f->asked), size(limit, f->limit));
        return;
    }
    fprintf(file, "The program asked for %s, and %s of RAM were allowed for it: %.0f&nbsp;%%. ", size(asked, f->asked), size(limit,
        f->limit),
            share(f->limit, f->asked));
    if (returns(f) < 1)
        fputs("Few pages were needed again after they had left. The limit suits this work.", file);
    else if (returns(f) < 10)
        fprintf(file, "On average each page left and came back %.1f times. A higher limit would save some of that time.", returns(f));
    else
        fprintf(file, "On average each page left and came back %.0f times. The limit was low for this work.", returns(f));
    fputs("</p>\n", file);
}

static void put_memory(FILE *file, const struct figures *f)
{
    const struct part asked[] = {{"blocks", GREY, f->asked}};
    const struct part taken[] = {
        {"resident", BLUE, f->resident_peak},
        {"compressed images", ORANGE, f->images_held},
        {"tables", PURPLE, f->tables},
    };
    double sum = f->resident_peak + f->images_held + f->tables;

    if (!f->engaged)
        return;
    fputs("<h2>Memory</h2>\n<div class=\"bars\">\n", file);
    put_stack(file, "asked for", asked, 1, f->asked > sum ? f->asked : sum);
    put_stack(file, "RAM taken", taken, 3, f->asked > sum ? f->asked : sum);
    fputs("</div>\n", file);
    put_legend(file, taken, 3);
    fputs("<p class=\"faint\">Asked for: the largest sum of all large blocks, touched or not. Taken: the most that was resident, "
          "the most that images held, and the tables at the end.</p>\n", file);
}

static void put_states(FILE *file, const struct figures *f)
{
    const struct part parts[] = {
        {"resident", BLUE, f->resident > f->cooled ? f->resident - f->cooled : 0},
        {"on their way out", SKY, f->cooled},
        {"compressed in RAM", ORANGE, f->frozen},
        {"one value repeated", GREEN, f->same_filled},
        {"in the swap file", PURPLE, f->swapped},
        {"lost", RED, f->lost},
    };
    double sum = 0;

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        sum += parts[i].amount;
    if (!f->engaged || sum <= 0)
        return;
    fputs("<h2>Where the pages were at the end</h2>\n<div class=\"bars\">\n", file);
    put_stack(file, "pages", parts, sizeof parts / sizeof parts[0], sum);
    fputs("</div>\n", file);
    put_legend(file, parts, sizeof parts / sizeof parts[0]);
}

static void put_faults(FILE *file, const struct figures *f)
{
    const struct part kinds[] = {
        {"first touch", GREY, f->first_touches},
        {"brought back from an image", ORANGE, f->thaws},
        {"ahead of need, of both", GREEN, f->read_ahead},
        {"given back before it was compressed", SKY, f->soft_faults},
        {"written after it came in to be read", PURPLE, f->write_faults},
    };
    double most = 0;

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        most = kinds[i].amount > most ? kinds[i].amount : most;
    if (!f->engaged || most <= 0)
        return;
    fputs("<h2>Why pages came in</h2>\n<div class=\"bars\">\n", file);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        put_count(file, kinds[i].name, kinds[i].amount, most, kinds[i].colour);
    fprintf(file, "</div>\n<p class=\"faint\">Pages; the program was stopped for %.0f faults.</p>\n", f->faults);
}

/* Of all that the program ran: over 100 where several threads waited. */
static double waited_percent(const struct figures *f)
{
    return share(f->waited, f->run_s);
}

static void put_waiting(FILE *file, const struct figures *f)
{
    const struct part kinds[] = {
        {"for new pages", GREY, f->waited_first_touch}, {"for images in RAM", ORANGE, f->waited_image},
        {"for the swap file", PURPLE, f->waited_swap},  {"for pages on their way out", SKY, f->waited_cooled},
        {"in system calls", BLUE, f->waited_call},      {"other", GREEN, f->waited_other},
    };
    double most = 0;

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        most = kinds[i].amount > most ? kinds[i].amount : most;
    if (!f->engaged || most <= 0 || f->run_s <= 0)
        return;
    fputs("<h2>What the limit cost</h2>\n<div class=\"bars\">\n", file);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (kinds[i].amount <= 0)
            continue;
        fprintf(file, "<span>%s</span><svg role=\"img\" aria-label=\"%s\">", kinds[i].name, kinds[i].name);
        put_rect(file, 0, share(kinds[i].amount, most), kinds[i].colour, kinds[i].name);
        fprintf(file, "</svg><span>%.3f s</span>\n", kinds[i].amount);
    }
    fprintf(file, "</div>\n<p class=\"faint\">Time that threads waited for memory: %.3f s, all of them together, in a run of %.3f s: "
            "%.0f&nbsp;%%. New pages cost something without a limit, too.</p>\n", f->waited, f->run_s, waited_percent(f));
}

/* "sort --parallel=2 ..., process 4711, began ..., ran 1.2 s" */
static void put_program(FILE *file, const struct figures *f)
{
    const json_t *arguments = json_object_get(f->all, "arguments");
    time_t started = (time_t)f->started_s;
    struct tm when;
    char text[64] = "";
    char size_text[COMMAND_SIZE_BYTES];

    if (f->process <= 0)
        return;
    fputs("<p><strong>", file);
    put_text(file, f->program);
    fputs("</strong> <code>", file);
    for (size_t i = 1; i < json_array_size(arguments); i++) {
        const char *argument = json_string_value(json_array_get(arguments, i));

        put_text(file, i > 1 ? " " : "");
        put_text(file, argument != NULL ? argument : "");
    }
    if (localtime_r(&started, &when) != NULL)
        (void)strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &when);
    fprintf(file, "</code></p>\n<p class=\"faint\">process %.0f &middot; began %s &middot; ran %.3f s &middot; "
            "%s of RAM at most, in all</p>\n", f->process, text, f->run_s, size(size_text, f->rss_peak));
}

static void put_advice(FILE *file, const struct figures *f)
{
    char text[2][COMMAND_SIZE_BYTES];

    fputs("<h2>Advice</h2>\n<ul>\n", file);
    if (f->limit <= 0)
        fputs("<li>A lower threshold (--threshold=4K) makes smaller blocks count.</li>\n", file);
    else if (!f->engaged)
        fprintf(file, "<li>To save RAM set a limit below %s.</li>\n", size(text[0], f->asked));
    else if (returns(f) >= 10)
        fprintf(file, "<li>Try a higher limit: %s is half of what the program asked for.</li>\n", size(text[0], f->asked / 2));
    else if (returns(f) < 1)
        fputs("<li>A lower limit may do as well.</li>\n", file);
    else
        fputs("<li>A higher limit makes it faster, a lower one smaller: both are worth a try.</li>\n", file);
    if (f->engaged && f->waited_swap > f->waited / 2 && f->waited > f->run_s / 10)
        fputs("<li>Most of the waiting was for the swap file: a faster disk, or more room for images in RAM (--pool), saves that.</li>\n",
              file);
    if (f->engaged && f->run_s > 0 && waited_percent(f) < 2)
        fputs("<li>The program hardly waited: this limit costs next to nothing.</li>\n", file);
    if (f->engaged && f->ratio > 0 && f->ratio < 1.3)
        fprintf(file, "<li>The data hardly compresses (%.2f to 1), so that images take nearly as much RAM as the pages did: use a swap "
            "file "
                "(--swap=DIRECTORY).</li>\n", f->ratio);
    else if (f->engaged && f->ratio > 0)
        fprintf(file, "<li>The data compresses %.2f to 1.</li>\n", f->ratio);
    if (f->engaged && f->swap_file <= 0 && f->images_held > f->resident_peak)
        fprintf(file, "<li>Compressed images took more RAM (%s) than the limit itself (%s): a swap file takes them out of RAM.</li>\n",
                size(text[0], f->images_held), size(text[1], f->limit));
    if (f->read_ahead > 1000 && f->read_ahead_wasted > f->read_ahead / 3)
        fprintf(file, "<li>%.0f&nbsp;%% of the pages brought in ahead were probably not needed: the program jumps about in its "
            "memory.</li>\n",
                share(f->read_ahead_wasted, f->read_ahead));
    if (f->exceeded > 0)
        fprintf(file, "<li>The limit had to yield by up to %s: locked memory, a large system call, or many threads at a small "
            "limit.</li>\n",
                size(text[0], f->exceeded));
    if (f->swap_errors > 0)
        fprintf(file, "<li>%.0f accesses to the swap file failed: look at its disk.</li>\n", f->swap_errors);
    if (f->lost > 0)
        fprintf(file, "<li>%s of the program's memory could not be read back from the swap file.</li>\n", size(text[0], f->lost));
    fputs("</ul>\n", file);
}

static void put_all(FILE *file, const struct figures *f)
{
    const char *key;
    json_t *value;

    fputs("<details><summary>All figures</summary>\n<table>\n", file);
    json_object_foreach(f->all, key, value) {
        fputs("<tr><td>", file);
        put_text(file, key);
        fputs("</td><td>", file);
        if (json_is_integer(value))
            fprintf(file, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        else if (json_is_string(value))
            put_text(file, json_string_value(value));
        else if (json_is_array(value))
            fprintf(file, "%zu", json_array_size(value));
        else
            fputs(json_is_true(value) ? "yes" : json_is_false(value) ? "no" : "-", file);
        fputs("</td></tr>\n", file);
    }
    fputs("</table>\n</details>\n", file);
}

void page_write(FILE *file, const char *name, const struct figures *figures)
{
    fputs(head, file);
    fputs("<title>GhostMem: ", file);
    put_text(file, name);
    fputs("</title>\n</head>\n<body>\n<h1>GhostMem report</h1>\n<p class=\"faint\">", file);
    put_text(file, name);
    fputs(" &middot; version ", file);
    put_text(file, figures->version);
    fputs(" &middot; backend ", file);
    put_text(file, figures->backend);
    fputs(" (", file);
    put_text(file, figures->backend_reason);
    fputs(")</p>\n", file);
    put_program(file, figures);
    put_verdict(file, figures);
    put_memory(file, figures);
    put_states(file, figures);
    put_waiting(file, figures);
    put_faults(file, figures);
    put_advice(file, figures);
    put_all(file, figures);
    fputs("</body>\n</html>\n", file);
}
