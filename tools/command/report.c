/*
 * report.c - ghostmem report: a page for a browser from the statistics of a run.
 *
 * Calls: figures, page, command.  Locks: none.  Memory: jansson's.
 */
#include "tools/command/command.h"
#include "tools/command/figures.h"
#include "tools/command/page.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char usage[] =
    "usage: ghostmem report [-o PAGE.html] STATS.json\n"
    "Make one HTML page of the statistics that GHOSTMEM_STATS=STATS.json (--stats=STATS.json) has left.\n"
    "\n"
    "  -o PAGE.html   the page (STATS.html); -o - is standard output\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0; 1: the statistics cannot be read, or the page cannot be written; 125: bad options.\n";

/* Beside the statistics: another ending. */
static int name_page(const char *stats, char page[PATH_MAX])
{
    static const char json[] = ".json";
    size_t length = strlen(stats);
    size_t ending = length > sizeof json - 1 && strcmp(stats + length - (sizeof json - 1), json) == 0 ? sizeof json - 1 : 0;

    return snprintf(page, PATH_MAX, "%.*s.html", (int)(length - ending), stats) < PATH_MAX ? 0 : ENAMETOOLONG;
}

/* 0 or errno. */
static int write_stream(FILE *file, const char *name, const struct figures *figures)
{
    int error = 0;

    errno = 0;
    page_write(file, name, figures);
    if (fflush(file) != 0 || ferror(file) != 0)
        error = errno != 0 ? errno : EIO;
    if (file != stdout && fclose(file) != 0 && error == 0)
        error = errno;
    return error;
}

static mode_t usual_mode(void)
{
    mode_t mask = umask(0);

    (void)umask(mask);
    return 0666 & ~mask;
}

/* Whole or not at all: under another name at first. 0 or errno. */
static int write_file(const char *page, const char *name, const struct figures *figures)
{
    char target[PATH_MAX];
    char draft[PATH_MAX];
    struct stat status;
    FILE *file = NULL;
    int error;
    int fd;

    /* What a link leads to is replaced, and not the link; a device or a pipe is written to. */
    if (stat(page, &status) != 0)
        strcpy(target, page);
    else if (!S_ISREG(status.st_mode))
        return (file = fopen(page, "we")) == NULL ? errno : write_stream(file, name, figures);
    else if (realpath(page, target) == NULL)
        return errno;
    if (snprintf(draft, sizeof draft, "%s.XXXXXX", target) >= (int)sizeof draft)
        return ENAMETOOLONG;
    fd = mkstemp(draft);
    if (fd < 0)
        return errno;
    file = fchmod(fd, usual_mode()) == 0 ? fdopen(fd, "w") : NULL;
    if (file != NULL) {
        error = write_stream(file, name, figures);
    } else {
        error = errno;
        (void)close(fd);
    }
    if (error == 0 && rename(draft, target) != 0)
        error = errno;
    if (error != 0)
        (void)unlink(draft);
    return error;
}

static int report(const char *stats, const char *page)
{
    const char *slash = strrchr(stats, '/');
    const char *name = slash != NULL ? slash + 1 : stats;
    struct figures figures;
    int error;

    if (figures_read(stats, &figures) != 0)
        return COMMAND_NOT_POSSIBLE;
    (void)signal(SIGXFSZ, SIG_IGN); /* EFBIG, after which the draft is removed */
    error = strcmp(page, "-") == 0 ? write_stream(stdout, name, &figures) : write_file(page, name, &figures);
    figures_free(&figures);
    if (error == 0)
        return COMMAND_DONE;
    clearerr(stdout); /* it is said here */
    return command_fail(COMMAND_NOT_POSSIBLE, "%s: %s", page, strerror(error));
}

int command_report(int argc, char **argv)
{
    static const struct option options[] = {
        {.name = "help", .val = COMMAND_HELP},
        {.name = "version", .val = COMMAND_VERSION},
        {.name = "output", .has_arg = required_argument, .val = 'o'},
        {0},
    };
    char beside[PATH_MAX];
    const char *page = NULL;
    int code;

    while ((code = getopt_long(argc, argv, "ho:", options, NULL)) != -1) {
        switch (code) {
        case COMMAND_HELP: fputs(usage, stdout); return COMMAND_DONE;
        case COMMAND_VERSION: return command_show_version();
        case 'o': page = optarg; break;
        default: return COMMAND_REFUSED; /* getopt_long() has said why */
        }
    }
    if (optind + 1 != argc)
        return command_fail(COMMAND_REFUSED, "report takes one file with statistics; ghostmem report --help");
    if (page == NULL && name_page(argv[optind], beside) != 0)
        return command_fail(COMMAND_NOT_POSSIBLE, "%s: %s", argv[optind], strerror(ENAMETOOLONG));
    return report(argv[optind], page != NULL ? page : beside);
}
