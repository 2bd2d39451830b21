/* view.c - see view.h. */
#include "tools/command/view.h"

#include "tools/command/command.h"
#include "tools/command/watch.h"

#include <langinfo.h>
#include <locale.h>
#include <ncurses.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ESCAPE 27

struct view {
    struct watch watch;
    char key;
    int chosen;   /* the process's number; 0: none */
    int first;    /* row of the table at the top of the window */
    bool detail;
    bool ticks;   /* the terminal shows block characters */
};

const char *view_size(char text[VIEW_SIZE_BYTES], double bytes)
{
    static const char units[] = "BKMGTPE";
    size_t unit = 0;

    while (bytes >= 1000 && unit + 2 < sizeof units) {
        bytes /= 1024;
        unit++;
    }
    (void)snprintf(text, VIEW_SIZE_BYTES, unit == 0 || bytes >= 99.95 ? "%.0f%c" : "%.1f%c", bytes, units[unit]);
    return text;
}

/* ---- curves ---- */

static const char *tick_of(const struct view *view, double share)
{
    static const char *const blocks[] = {" ", "\u2581", "\u2582", "\u2583", "\u2584", "\u2585", "\u2586", "\u2587", "\u2588"};
    static const char *const plain[] = {" ", ".", ".", ":", ":", "-", "=", "+", "#"};
    int level = share <= 0 ? 0 : share >= 1 ? 8 : 1 + (int)(share * 7.999);

    return view->ticks ? blocks[level] : plain[level];
}

static double waited_of(const struct sight *sight)
{
    return sight->waited_percent / 100;
}

static double resident_of(const struct sight *sight)
{
    double all = sight->resident + sight->frozen;

    return all > 0 ? sight->resident / all : 0;
}

static double faults_of(const struct sight *sight)
{
    return sight->faults_a_second;
}

/* The last @width looks, the newest at the right. @most: what fills the height; 0: the largest of them. */
static void draw_curve(const struct view *view, const struct watched *watched, int row, int column, int width,
                       double (*of)(const struct sight *), double most)
{
    double largest = most;

    for (int i = 0; most <= 0 && i < width; i++) {
        const struct sight *sight = watch_before(watched, (unsigned)i);

        largest = sight != NULL && of(sight) > largest ? of(sight) : largest;
    }
    for (int i = 0; i < width; i++) {
        const struct sight *sight = watch_before(watched, (unsigned)(width - 1 - i));

        (void)mvaddstr(row, column + i, sight != NULL && largest > 0 ? tick_of(view, of(sight) / largest) : " ");
    }
}

/* ---- the table ---- */

struct column {
    const char *name;
    int width;
    char key;
    int needs; /* the window is at least so wide */
};

static const struct column columns[] = {
    {"PID", 7, 'p', 0},      {"RESID", 6, 'm', 24}, {"WAIT%", 6, 'w', 31},  {"FLT/S", 7, 'f', 39}, {"LIMIT", 6, 'l', 46},
    {"FROZEN", 6, 0, 53}, {"IMAGES", 6, 'i', 60}, {"RATIO", 6, 0, 67}, {"SWAP", 6, 0, 74},
};
#define N_COLUMNS (sizeof columns / sizeof columns[0])
#define NAME_WIDTH 15

static void cell(const struct watched *watched, size_t column, char text[VIEW_SIZE_BYTES])
{
    const struct sight *now = &watched->now;

    switch (column) {
    case 0: (void)snprintf(text, VIEW_SIZE_BYTES, "%d", watched->process.id); break;
    case 1: (void)view_size(text, now->resident); break;
    case 2: (void)snprintf(text, VIEW_SIZE_BYTES, "%.1f", now->waited_percent < 99999 ? now->waited_percent : 99999); break;
    case 3: (void)snprintf(text, VIEW_SIZE_BYTES, "%.0f", now->faults_a_second < 9999999 ? now->faults_a_second : 9999999); break;
    case 4: (void)view_size(text, now->limit); break;
    case 5: (void)view_size(text, now->frozen); break;
    case 6: (void)view_size(text, now->images); break;
    case 7: (void)snprintf(text, VIEW_SIZE_BYTES, "%.2f", now->ratio < 9999 ? now->ratio : 9999); break;
    default: (void)view_size(text, now->swap); break;
    }
}

static int draw_row(const struct view *view, int row, const struct watched *watched)
{
    int column = 0;

    for (size_t i = 0; i < N_COLUMNS && COLS >= columns[i].needs; i++) {
        char text[VIEW_SIZE_BYTES];

        if (watched == NULL)
            (void)mvprintw(row, column, "%*s", columns[i].width, columns[i].name);
        else if (i == 0 || !watched->closed) {
            cell(watched, i, text);
            (void)mvprintw(row, column, "%*.*s", columns[i].width, columns[i].width, text);
        }
        column += columns[i].width + 1;
        if (i == 0) { /* the name stands behind the number */
            int width = COLS - column < NAME_WIDTH ? COLS - column : NAME_WIDTH;

            if (width > 0)
                (void)mvprintw(row, column, "%-*.*s", width, width, watched == NULL ? "PROGRAM" : watched->process.program);
            column += NAME_WIDTH + 1;
        }
    }
    if (watched != NULL && watched->closed && COLS > 26)
        (void)mvprintw(row, 24, "%.*s", COLS - 25, watched->why);
    else if (watched != NULL && COLS - column > 8)
        draw_curve(view, watched, row, column, COLS - column - 1 < WATCH_HISTORY ? COLS - column - 1 : WATCH_HISTORY, waited_of, 1);
    return column;
}

static int place_of(const struct view *view)
{
    for (size_t i = 0; i < view->watch.n; i++)
        if (view->watch.all[i]->process.id == view->chosen)
            return (int)i;
    return -1;
}

static void draw_table(struct view *view)
{
    int height = LINES - 2;
    int place = place_of(view);

    if (place < 0 && view->watch.n > 0) {
        place = 0;
        view->chosen = view->watch.all[0]->process.id;
    }
    if (place < view->first)
        view->first = place < 0 ? 0 : place;
    if (height > 0 && place >= view->first + height)
        view->first = place - height + 1;
    (void)attron(A_REVERSE);
    (void)mvhline(0, 0, ' ', COLS);
    (void)draw_row(view, 0, NULL);
    (void)attroff(A_REVERSE);
    for (int i = 0; i < height && view->first + i < (int)view->watch.n; i++) {
        if (view->first + i == place)
            (void)attron(A_BOLD);
        (void)draw_row(view, 1 + i, view->watch.all[view->first + i]);
        (void)attroff(A_BOLD);
    }
    if (view->watch.n == 0)
        (void)mvprintw(2, 0, "%.*s", COLS - 1, "no process runs under GhostMem");
    (void)mvprintw(LINES - 1, 0, "%.*s", COLS - 1, "Enter one  q end  sort: p m f w i l");
}

/* ---- one process ---- */

static int line(int row, const char *label, const char *text)
{
    if (row < LINES - 1)
        (void)mvprintw(row, 0, "%-10.10s %.*s", label, COLS > 12 ? COLS - 12 : 0, text);
    return row + 1;
}

static void draw_detail(struct view *view, const struct watched *watched)
{
    const struct sight *now = &watched->now;
    char size[4][VIEW_SIZE_BYTES];
    char text[PROCESS_WHY_BYTES + 64];
    int width = COLS - 12 < WATCH_HISTORY ? COLS - 12 : WATCH_HISTORY;
    int row = 1;

    (void)attron(A_REVERSE);
    (void)mvhline(0, 0, ' ', COLS);
    (void)mvprintw(0, 0, "process %d %.*s", watched->process.id, COLS > 20 ? COLS - 20 : 0, watched->process.program);
    (void)attroff(A_REVERSE);
    (void)mvprintw(LINES - 1, 0, "%.*s", COLS - 1, "Escape back  q end");
    if (watched->closed) {
        (void)line(row, "closed", watched->why);
        return;
    }
    if (width < 0)
        width = 0;
    (void)snprintf(text, sizeof text, "%s of %s", view_size(size[0], now->resident), view_size(size[1], now->limit));
    row = line(row, "resident", text);
    (void)snprintf(text, sizeof text, "%s as %s, %.2f to 1", view_size(size[0], now->frozen), view_size(size[1], now->images), now->ratio);
    row = line(row, "frozen", text);
    (void)snprintf(text, sizeof text, "%.1f %%, %.0f faults/s", now->waited_percent, now->faults_a_second);
    row = line(row, "waiting", text);
    if (now->swap > 0)
        row = line(row, "swap file", view_size(size[0], now->swap));
    if (process_value(&watched->process, "engaged") == 0)
        row = line(row, "", "it fits, and is not paged");
    row = line(row, "resident", "") - 1;
    if (row < LINES - 1)
        draw_curve(view, watched, row, 11, width, resident_of, 1);
    row = line(row + 1, "waiting", "") - 1;
    if (row < LINES - 1)
        draw_curve(view, watched, row, 11, width, waited_of, 1);
    row = line(row + 1, "faults", "") - 1;
    if (row < LINES - 1)
        draw_curve(view, watched, row, 11, width, faults_of, 0);
}

static void draw(struct view *view)
{
    int place = place_of(view);

    (void)erase();
    if (view->detail && place >= 0)
        draw_detail(view, view->watch.all[place]);
    else
        draw_table(view);
    (void)refresh();
}

/* ---- keys ---- */

static void choose(struct view *view, int by)
{
    int place = place_of(view) + by;

    if (view->watch.n == 0)
        return;
    place = place < 0 ? 0 : place >= (int)view->watch.n ? (int)view->watch.n - 1 : place;
    view->chosen = view->watch.all[place]->process.id;
}

/* False: the end. */
static bool obey(struct view *view, int key)
{
    switch (key) {
    case 'q': return false;
    case KEY_UP: case 'k': choose(view, -1); break;
    case KEY_DOWN: case 'j': choose(view, 1); break;
    case KEY_PPAGE: choose(view, 3 - LINES); break;
    case KEY_NPAGE: choose(view, LINES - 3); break;
    case '\n': case KEY_ENTER: view->detail = !view->detail; break;
    case ESCAPE: case KEY_BACKSPACE: case KEY_LEFT: view->detail = false; break;
    default:
        if (key > 0 && key < 128 && watch_sort(&view->watch, (char)key))
            view->key = (char)key;
        break;
    }
    return true;
}

/* A key, KEY_RESIZE, ERR after @ms; or 'q' where the terminal has gone. */
static int wait_for_key(int ms)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    int n = poll(&input, 1, ms);

    if (n > 0 && (input.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0)
        return 'q';
    return getch();
}

int view_run(double delay_s, char key)
{
    struct view view = {.key = key};
    SCREEN *screen;
    int status = COMMAND_DONE;
    bool goes_on = true;

    (void)setlocale(LC_ALL, "");
    view.ticks = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    screen = newterm(NULL, stdout, stdin);
    if (screen == NULL) {
        const char *term = getenv("TERM");

        return command_fail(COMMAND_NOT_POSSIBLE, "the terminal (TERM=%s) is not known; ghostmem top --once", term != NULL ? term : "");
    }
    (void)set_term(screen);
    (void)cbreak();
    (void)noecho();
    (void)nodelay(stdscr, TRUE);
    (void)keypad(stdscr, TRUE);
    (void)set_escdelay(25);
    (void)curs_set(0);
    while (goes_on) {
        if (watch_look(&view.watch) != 0) {
            status = COMMAND_NOT_POSSIBLE;
            break;
        }
        (void)watch_sort(&view.watch, view.key);
        draw(&view);
        for (int got = wait_for_key((int)(delay_s * 1000)); got != ERR && goes_on; got = getch()) {
            goes_on = obey(&view, got);
            draw(&view);
        }
    }
    (void)endwin();
    delscreen(screen);
    watch_free(&view.watch);
    return status == COMMAND_DONE ? status : command_fail(status, "the processes cannot be looked at: there is no /proc, or no memory");
}
