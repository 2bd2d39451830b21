/* report.c - see report.h. */
#include "interpose/report.h"

#include "interpose/ghost.h"
#include "interpose/identity.h"
#include "interpose/libc.h"

#include "core/log.h"
#include "platform/file.h"
#include "platform/host.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define PATH_BYTES 1024

/* Set by report_open(), constant afterwards but in a fork's child. */
static const char *pattern;
static char pattern_copy[PATH_BYTES]; /* servers write their title over the environment */
static int report_fd = -1; /* a duplicate of stderr: many programs close theirs before they exit */

static _Atomic bool written;

static void write_it(void)
{
    static char text[STATS_TEXT_BYTES];
    static char path[PATH_BYTES];
    struct stats stats;
    size_t length;
    int error;
    int fd;

    ghost_collect(&stats);
    if (report_fd >= 0) {
        length = stats_report(&stats, text, sizeof text);
        (void)os_file_write(report_fd, text, length);
        return;
    }
    if (!config_expand_path(pattern, identity_program(), path, sizeof path))
        return;
    length = stats_json(&stats, text, sizeof text);
    fd = os_file_open(path, 0);
    error = fd < 0 ? fd : os_file_write(fd, text, length);
    if (fd >= 0)
        os_file_close(fd);
    if (error != 0)
        log_line(LOG_ERROR, "GHOSTMEM_STATS=%s: cannot be written: %e", path, -error);
}

/* The stack may be ghost memory, which the kernel would find missing. */
void report_write(void)
{
    struct visit visit;

    /* A vfork() child shares our memory and is another process: the report is its parent's to make. */
    if (pattern == NULL || ghost.process != os_process_id() || atomic_exchange(&written, true))
        return;
    if (!pager_is_engaged(&ghost.pager)) {
        write_it();
        return;
    }
    visit_begin(&ghost.pager.visits, &visit);
    write_it();
    visit_end(&visit);
}

void report_fork_child(void)
{
    atomic_store(&written, false);
}

__attribute__((destructor)) static void report_at_exit(void)
{
    report_write();
}

/* ---- core files ---- */

static bool dumps_core(int number)
{
    static const int dumping[] = {SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGXCPU, SIGXFSZ, SIGSYS};

    for (size_t i = 0; i < sizeof dumping / sizeof dumping[0]; i++)
        if (dumping[i] == number)
            return true;
    return false;
}

__attribute__((noinline)) void ghostmem_crash(int number)
{
    static _Atomic bool told;
    const struct pagetable *table = &ghost.pager.table;
    size_t n;

    if (!pager_is_engaged(&ghost.pager) || ghost.process != os_process_id() || !dumps_core(number) || !os_may_dump_core())
        return;
    n = table->n_frozen + table->n_same + table->n_swapped + ghost.pager.reclaim.limbo.n_resting;
    if (n > 0 && !atomic_exchange(&told, true))
        log_line(LOG_ERROR, "%z pages are not in place: a core file shows zeros there until ghostmem-core(1) has restored it", n);
}

/* ---- _exit() ---- */

EXPORT _Noreturn void _exit(int status)
{
    report_write();
    os_exit(status);
}

EXPORT _Noreturn void _Exit(int status)
{
    _exit(status);
}

/* ---- signals that end the process ---- */

static const int fatal_signals[] = {SIGHUP, SIGINT,  SIGQUIT, SIGILL,  SIGABRT, SIGBUS,
                                    SIGFPE, SIGSEGV, SIGTERM, SIGXCPU, SIGALRM, SIGPIPE};
#define N_FATAL (sizeof fatal_signals / sizeof fatal_signals[0])

static bool handlers_installed;

static void on_fatal_signal(int number)
{
    int saved_errno = errno;

    report_write();
    ghostmem_crash(number);
    /* The default action follows when the handler returns: a fault happens again, another signal is sent again. */
    libc_next()->sigaction(number, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
    raise(number);
    errno = saved_errno;
}

static bool is_fatal(int number)
{
    for (size_t i = 0; i < N_FATAL; i++)
        if (fatal_signals[i] == number)
            return true;
    return false;
}

static void install(int number)
{
    struct sigaction ours = {.sa_handler = on_fatal_signal, .sa_flags = SA_ONSTACK};

    sigfillset(&ours.sa_mask);
    (void)libc_next()->sigaction(number, &ours, NULL);
}

/* From the directory of the start on, whose name may have a % in it. False: too long. */
static bool keep_pattern(const char *where)
{
    char directory[PATH_BYTES];
    size_t length = 0;

    if (where[0] != '/' && strcmp(where, "1") != 0 && os_working_directory(directory, sizeof directory) == 0) {
        for (const char *c = directory; *c != '\0'; c++)
            length = log_format(pattern_copy, sizeof pattern_copy, length, *c == '%' ? "%%%%" : (char[]){*c, '\0'});
        length = log_format(pattern_copy, sizeof pattern_copy, length, "/");
    }
    return log_format(pattern_copy, sizeof pattern_copy, length, "%s", where) + 1 < sizeof pattern_copy;
}

void report_open(const char *where)
{
    if (where == NULL)
        return;
    if (!keep_pattern(where)) {
        log_line(LOG_ERROR, "GHOSTMEM_STATS=%s: the path is too long; accepted: 0, 1 or a path; used instead: 0", where);
        return;
    }
    pattern = pattern_copy;
    identity_remember();
    if (strcmp(where, "1") == 0) {
        report_fd = os_file_duplicate(STDERR_FILENO);
        if (report_fd < 0)
            pattern = NULL; /* no stderr, no report */
    }
    for (size_t i = 0; i < N_FATAL; i++) {
        struct sigaction now;

        if (libc_next()->sigaction(fatal_signals[i], NULL, &now) == 0 && now.sa_handler == SIG_DFL)
            install(fatal_signals[i]);
    }
    handlers_installed = true;
}

/* What the program asks for where one of our handlers may be in the way. */
static int sigaction_hidden(int number, const struct sigaction *action, struct sigaction *old)
{
    bool to_default = action != NULL && action->sa_handler == SIG_DFL;
    struct sigaction previous;
    int result = libc_next()->sigaction(number, to_default ? NULL : action, &previous);

    if (result != 0)
        return result;
    if (to_default)
        install(number);
    if (previous.sa_handler == on_fatal_signal)
        previous = (struct sigaction){.sa_handler = SIG_DFL};
    if (old != NULL)
        *old = previous;
    return 0;
}

static void note_handler(sighandler_t handler)
{
    if (handler != SIG_DFL && handler != SIG_IGN)
        atomic_store(&ghost_has_handlers, true);
}

EXPORT int sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
    if (action != NULL)
        note_handler(action->sa_handler);
    if (!handlers_installed || !is_fatal(number))
        return libc_next()->sigaction(number, action, old);
    return sigaction_hidden(number, action, old);
}

EXPORT sighandler_t signal(int number, sighandler_t handler)
{
    struct sigaction old;
    sighandler_t previous;

    note_handler(handler);
    if (!handlers_installed || !is_fatal(number))
        return libc_next()->signal(number, handler);
    if (handler == SIG_DFL)
        return sigaction_hidden(number, &(struct sigaction){.sa_handler = SIG_DFL}, &old) == 0 ? old.sa_handler
                                                                                              : SIG_ERR;
    previous = libc_next()->signal(number, handler);
    return previous == on_fatal_signal ? SIG_DFL : previous;
}
