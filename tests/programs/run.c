/*
 * run.c - see run.h.
 */
#include "run.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    SAMPLE_INTERVAL_NS = 1000000,
    STATUS_NO_EXEC = 127 /* the shell's number for it */
};

static double now_s(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

bool run_can(const char *program)
{
    const char *path = getenv("PATH");
    char full[4096];

    if (strchr(program, '/'))
        return access(program, X_OK) == 0;
    while (path && *path) {
        size_t length = strcspn(path, ":");

        (void)snprintf(full, sizeof(full), "%.*s/%s", (int)length, path, program);
        if (access(full, X_OK) == 0)
            return true;
        path += length + (path[length] == ':');
    }
    return false;
}

static void strings_free(char **strings)
{
    if (!strings)
        return;
    for (size_t i = 0; strings[i]; i++)
        free(strings[i]);
    free(strings);
}

/* execvpe() wants strings that it may change; ours are literals. NULL: no memory. */
static char **strings_copy(const char *const *strings)
{
    size_t n = 0;
    char **copy;

    while (strings[n])
        n++;
    copy = calloc(n + 1, sizeof(*copy));
    for (size_t i = 0; copy && i < n; i++) {
        copy[i] = strdup(strings[i]);
        if (!copy[i]) {
            strings_free(copy);
            return NULL;
        }
    }
    return copy;
}

/* In the child: ends with a line on its standard error, which is a file by then, or the test's own. */
static _Noreturn void child_fail(const char *what)
{
    dprintf(STDERR_FILENO, "run.c: %s: %s\n", what, strerror(errno));
    _exit(STATUS_NO_EXEC);
}

static void child_redirect(int fd, const char *path, int flags)
{
    int file = open(path, flags | O_CLOEXEC, 0644);

    if (file < 0 || dup2(file, fd) < 0)
        child_fail(path);
}

static _Noreturn void child_exec(const struct run *run, char **argv, char **env)
{
    const struct rlimit no_core = {0, 0};
    sigset_t none;

    /* As a login gives them, whatever started the tests: under nohup(1) SIGHUP would be ignored in all of them. */
    for (int number = 1; number < 32; number++)
        (void)signal(number, SIG_DFL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    /* Both here and in the parent: whichever comes first, the group exists when it is needed. */
    (void)setpgid(0, 0);
    /* Criterion kills a test that overstays; its program must not live on and take the processor from the others. */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!run->may_dump_core)
        (void)setrlimit(RLIMIT_CORE, &no_core);
    if (chdir(run->dir) != 0)
        child_fail(run->dir);
    child_redirect(STDERR_FILENO, run->errors, O_WRONLY | O_CREAT | O_TRUNC);
    child_redirect(STDOUT_FILENO, run->output, O_WRONLY | O_CREAT | O_TRUNC);
    child_redirect(STDIN_FILENO, run->input ? run->input : "/dev/null", O_RDONLY);
    (void)execvpe(argv[0], argv, env);
    child_fail(argv[0]);
}

static void sample(const char *statm, struct run_result *result)
{
    char text[128];
    ssize_t length;
    unsigned long total_pages;
    unsigned long resident_pages;
    size_t bytes;
    int fd = open(statm, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    length = read(fd, text, sizeof(text) - 1);
    (void)close(fd);
    if (length <= 0)
        return;
    text[length] = '\0';
    /* A program that has ended, but is not yet waited for, shows zeros. */
    if (sscanf(text, "%lu %lu", &total_pages, &resident_pages) != 2 || resident_pages == 0)
        return;
    bytes = (size_t)resident_pages * (size_t)sysconf(_SC_PAGESIZE);
    if (bytes > result->rss_peak_bytes)
        result->rss_peak_bytes = bytes;
    result->n_samples++;
}

/* The first line of a file of a thread in /proc, or as much as fits. */
static void read_line(char *line, size_t bytes, pid_t pid, const char *thread, const char *file)
{
    char path[128];
    int fd;
    ssize_t length = 0;

    (void)snprintf(path, sizeof(path), "/proc/%ld/task/%.20s/%s", (long)pid, thread, file);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        length = read(fd, line, bytes - 1);
        (void)close(fd);
    }
    line[length > 0 ? length : 0] = '\0';
    line[strcspn(line, "\n")] = '\0';
}

static void tell_threads(pid_t pid)
{
    char path[64];
    DIR *tasks;
    struct dirent *task;

    (void)snprintf(path, sizeof(path), "/proc/%ld/task", (long)pid);
    tasks = opendir(path);
    while (tasks && (task = readdir(tasks)) != NULL) {
        char stat[512];
        char wchan[64];
        char call[256];

        if (task->d_name[0] == '.')
            continue;
        read_line(stat, sizeof(stat), pid, task->d_name, "stat");
        read_line(wchan, sizeof(wchan), pid, task->d_name, "wchan");
        read_line(call, sizeof(call), pid, task->d_name, "syscall");
        (void)fprintf(stderr, "  %.90s | %s | %s\n", stat, wchan, call);
    }
    if (tasks)
        (void)closedir(tasks);
}

/* Where each thread of the group stands: what a test that hung leaves behind to be understood by. */
static void tell_group(pid_t group)
{
    DIR *processes = opendir("/proc");
    struct dirent *process;

    while (processes && (process = readdir(processes)) != NULL) {
        pid_t pid = (pid_t)strtol(process->d_name, NULL, 10);

        if (pid > 0 && getpgid(pid) == group)
            tell_threads(pid);
    }
    if (processes)
        (void)closedir(processes);
}

/* Waits for @pid, its group's leader, and leaves nothing of the group behind. */
static void watch(pid_t pid, unsigned timeout_s, struct run_result *result)
{
    const struct timespec interval = {0, SAMPLE_INTERVAL_NS};
    double start = now_s();
    char statm[64];
    siginfo_t info;

    (void)snprintf(statm, sizeof(statm), "/proc/%ld/statm", (long)pid);
    for (;;) {
        info.si_pid = 0;
        /* WNOWAIT: while the leader is a zombie its number cannot become another group's. */
        if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid)
            break;
        if (now_s() - start > timeout_s) {
            result->timed_out = true;
            tell_group(pid);
            break;
        }
        sample(statm, result);
        (void)nanosleep(&interval, NULL);
    }
    result->seconds = now_s() - start;
    (void)kill(-pid, SIGKILL);
    while (waitpid(pid, &result->status, 0) < 0 && errno == EINTR)
        ;
}

int run_program(const struct run *run, struct run_result *result)
{
    char **argv = strings_copy(run->argv);
    char **env = strings_copy(run->env);
    int error = -ENOMEM;
    pid_t pid;

    *result = (struct run_result){0};
    if (!argv || !env)
        goto free_strings;
    error = -EINVAL;
    if (!argv[0])
        goto free_strings;
    pid = fork();
    if (pid < 0) {
        error = -errno;
        goto free_strings;
    }
    if (pid == 0)
        child_exec(run, argv, env);
    (void)setpgid(pid, pid);
    watch(pid, run->timeout_s, result);
    error = 0;

free_strings:
    strings_free(env);
    strings_free(argv);
    return error;
}
