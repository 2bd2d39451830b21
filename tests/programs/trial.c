/*
 * trial.c - see trial.h.
 */
#include "trial.h"

#include "compare.h"
#include "plain.h"

#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    ENV_STRINGS = 16,
    ENV_BYTES = PATH_MAX,
    N_PATHS = 8, /* as trial.h promises */
    EXCERPT_BYTES = 400,
    WHY_BYTES = 3 * PATH_MAX,
    FILES_BYTES = 4096, /* the files of one comparison */
    MAX_COMPARISONS = 4 /* of a test */
};

/* The environment of one run. */
struct environment {
    size_t n;
    const char *strings[ENV_STRINGS];
    char text[ENV_STRINGS][ENV_BYTES];
};

/* What the reports of one run say together: a shell or gcc starts others, and each process writes its own. */
struct verdict {
    size_t n_reports;
    size_t n_engaged;
    struct stats most; /* of the process with most faults */
};

/* Here, and not in the test, because .fini takes no argument. */
static struct trial the_trial;

/*
 * What the runs without GhostMem gave in this test: files_describe()'s text for each comparison, one after the other. A text ends
 * with an empty line.
 */
static struct {
    char text[MAX_COMPARISONS * FILES_BYTES];
    size_t used;     /* bytes of the text that have been compared with, or made */
    bool is_unsure;  /* something of the test has begun and did not end well */
} plain_files;

static const char *plain_key(void)
{
    static char key[NAME_MAX];

    (void)snprintf(key, sizeof(key), "%s.%s", criterion_current_test->category, criterion_current_test->name);
    return key;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    (void)remove(path);
    return 0; /* go on: what is left makes rmdir fail, and no test depends on it */
}

static void remove_tree(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static bool keeps_everything(void)
{
    const char *keep = getenv("GHOSTMEM_TEST_KEEP");

    return keep && strcmp(keep, "1") == 0;
}

void trial_end(void)
{
    if (!the_trial.dir[0])
        return;
    if (!the_trial.is_known && !plain_files.is_unsure && plain_files.used > 0)
        plain_keep(plain_key(), plain_files.text);
    if (keeps_everything())
        fprintf(stderr, "note: kept %s\n", the_trial.dir);
    else
        remove_tree(the_trial.dir);
    the_trial.dir[0] = '\0';
}

const char *trial_path(const struct trial *trial, const char *name)
{
    static char paths[N_PATHS][PATH_MAX];
    static size_t next;
    char *path = paths[next++ % N_PATHS];

    (void)snprintf(path, PATH_MAX, "%s/%s", trial->dir, name);
    return path;
}

static void make_dir(const struct trial *trial, const char *name)
{
    const char *path = trial_path(trial, name);

    cr_assert_eq(mkdir(path, 0700), 0, "cannot create %s: %s", path, strerror(errno));
    if (getenv("GHOSTMEM_TEST_USER") != NULL)
        cr_assert_eq(chmod(path, 0777), 0, "cannot open %s: %s", path, strerror(errno));
}

struct trial *trial_begin(size_t limit_pages)
{
    static const char *const dirs[] = {"plain", "ghost", "home", "tmp", "stats"};
    struct trial *trial = &the_trial;
    const char *library = getenv("GHOSTMEM_LIB");
    const char *tmp = getenv("TMPDIR");

    cr_assert(library && *library, "GHOSTMEM_LIB is not set: it must be the absolute path of libghostmem.so");
    if (strcmp(library, "none") == 0) {
        library = NULL;
    } else {
        cr_assert_eq(*library, '/', "GHOSTMEM_LIB=%s is not an absolute path", library);
        cr_assert_eq(access(library, R_OK), 0, "GHOSTMEM_LIB=%s: %s", library, strerror(errno));
    }
    trial->library = library;
    trial->limit_pages = limit_pages;
    trial->is_known = plain_load(plain_key(), plain_files.text, sizeof(plain_files.text));
    /* The runs change their directory: a relative TMPDIR would be another one for each. */
    if (!tmp || *tmp != '/')
        tmp = "/tmp";
    (void)snprintf(trial->dir, sizeof(trial->dir), "%s/ghostmem-test.XXXXXX", tmp);
    if (!mkdtemp(trial->dir)) {
        trial->dir[0] = '\0';
        cr_assert_fail("cannot create a directory in %s: %s", tmp, strerror(errno));
    }
    if (getenv("GHOSTMEM_TEST_USER") != NULL)
        cr_assert_eq(chmod(trial->dir, 0777), 0, "cannot open %s: %s", trial->dir, strerror(errno));
    for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
        make_dir(trial, dirs[i]);
    return trial;
}

void trial_skip(const char *why)
{
    trial_end();
    cr_skip_test("%s", why);
}

void trial_need(const char *program)
{
    char why[PATH_MAX];

    if (run_can(program))
        return;
    (void)snprintf(why, sizeof(why), "%s is not installed", program);
    trial_skip(why);
}

const char *trial_helper(const char *name)
{
    static char path[PATH_MAX];
    const char *dir = getenv("GHOSTMEM_TEST_BIN");

    cr_assert(dir && *dir == '/', "GHOSTMEM_TEST_BIN must be the absolute path of the helper programs' directory");
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    cr_assert_eq(access(path, X_OK), 0, "the helper program %s is missing: %s", path, strerror(errno));
    return path;
}

void trial_write(const struct trial *trial, const char *name, const char *text)
{
    const char *path = trial_path(trial, name);
    FILE *file = fopen(path, "w");
    bool written = file && fputs(text, file) >= 0;

    if (file && fclose(file) != 0)
        written = false;
    cr_assert(written, "cannot write %s: %s", path, strerror(errno));
}

static void env_add(struct environment *env, const char *name, const char *value)
{
    cr_assert_lt(env->n, (size_t)ENV_STRINGS - 1);
    (void)snprintf(env->text[env->n], ENV_BYTES, "%s=%s", name, value);
    env->strings[env->n] = env->text[env->n];
    env->n++;
}

/*
 * Nothing is inherited but PATH: what a machine sets for its user (locale, git's or python's settings, a preload of
 * somebody else's) must not decide a test.
 */
static void env_fill(struct environment *env, const struct trial *trial, bool with_ghostmem)
{
    const char *path = getenv("PATH");
    const char *swap = getenv("GHOSTMEM_TEST_SWAP");
    const char *faults = getenv("GHOSTMEM_TEST_FAULTS");
    char limit[32];

    memset(env, 0, sizeof(*env));
    env_add(env, "PATH", path ? path : "/usr/bin:/bin");
    env_add(env, "HOME", trial_path(trial, "home"));
    env_add(env, "TMPDIR", trial_path(trial, "tmp"));
    env_add(env, "LC_ALL", "C");
    env_add(env, "GIT_CONFIG_GLOBAL", "/dev/null");
    env_add(env, "GIT_CONFIG_NOSYSTEM", "1");
    if (!with_ghostmem || !trial->library)
        return;
    (void)snprintf(limit, sizeof(limit), "%zu", trial->limit_pages);
    env_add(env, "LD_PRELOAD", trial->library);
    env_add(env, "GHOSTMEM_MAX_PAGES", limit);
    if (trial->is_whole)
        env_add(env, "GHOSTMEM_SCOPE", "process");
    else
        env_add(env, "GHOSTMEM_THRESHOLD", "4096");
    env_add(env, "GHOSTMEM_STATS", trial_path(trial, "stats/%p.json"));
    if (swap != NULL)
        env_add(env, "GHOSTMEM_SWAP", swap);
    if (faults != NULL)
        env_add(env, "GHOSTMEM_FAULTS", faults);
}

static void describe(const struct trial *trial, const struct command *command, char *text, size_t bytes)
{
    size_t used = (size_t)snprintf(text, bytes, "[%zu pages]", trial->limit_pages);

    for (size_t i = 0; i < TRIAL_ARGS && command->argv[i] && used < bytes; i++)
        used += (size_t)snprintf(text + used, bytes - used, " %s", command->argv[i]);
}

/* Runs a command in one directory of the trial; the test fails here when it does not end by itself. */
static void run_in(const struct trial *trial, const char *dir, bool with_ghostmem, const struct command *command,
                   struct run_result *result)
{
    static struct environment env;
    char what[EXCERPT_BYTES];
    char errors[NAME_MAX];
    struct run run = {
        .argv = command->argv,
        .dir = trial_path(trial, dir),
        .input = command->input,
        .output = command->output ? command->output : "stdout",
        .timeout_s = TRIAL_TIMEOUT_S,
        .may_dump_core = keeps_everything(),
    };
    const char *user = getenv("GHOSTMEM_TEST_USER");
    const char *argv[TRIAL_ARGS + 8] = {"/usr/bin/setpriv", user, "--regid=65534", "--clear-groups", "--pdeathsig=KILL"};
    int error;

    plain_files.is_unsure = true;
    if (user != NULL) {
        size_t n = 0;

        while (argv[n] != NULL)
            n++;
        for (size_t i = 0; i < TRIAL_ARGS && command->argv[i] != NULL; i++)
            argv[n + i] = command->argv[i];
        run.argv = argv;
    }
    /* Beside the directory, not in it: it is compared on its own. */
    (void)snprintf(errors, sizeof(errors), "%s.stderr", dir);
    run.errors = trial_path(trial, errors);
    env_fill(&env, trial, with_ghostmem);
    run.env = env.strings;
    error = run_program(&run, result);
    describe(trial, command, what, sizeof(what));
    cr_assert_eq(error, 0, "%s: cannot be started: %s", what, strerror(-error));
    cr_assert(!result->timed_out, "%s: killed after %u s %s GhostMem", what, run.timeout_s,
              with_ghostmem ? "with" : "without");
}

/* A reference that failed proves nothing. */
static void expect_success(const struct trial *trial, const char *dir, const struct command *command,
                           const struct run_result *result)
{
    char what[EXCERPT_BYTES];
    char errors[NAME_MAX];
    char text[EXCERPT_BYTES];

    (void)snprintf(errors, sizeof(errors), "%s.stderr", dir);
    describe(trial, command, what, sizeof(what));
    cr_assert_eq(result->status, 0, "%s: ended with wait status 0x%x in %s: %s", what, (unsigned)result->status, dir,
                 file_excerpt(trial_path(trial, errors), text, sizeof(text)));
}

void trial_prepare(const struct trial *trial, const char *dir, const struct command *command)
{
    struct run_result result;

    if (trial->is_known && dir && strcmp(dir, "plain") == 0)
        return;
    run_in(trial, dir ? dir : ".", false, command, &result);
    expect_success(trial, dir ? dir : ".", command, &result);
    plain_files.is_unsure = false;
}

/* Whether the `thread` backend could work at all: the one reason for which a test is skipped and does not fail. */
static bool userfaultfd_is_permitted(void)
{
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        fd = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return false;
    (void)close(fd);
    return true;
}

static void check_report(const struct trial *trial, const char *what, bool may_yield, const struct stats *stats)
{
    size_t floor_pages = trial->limit_pages <= TRIAL_SMALLEST_LIMIT ? TRIAL_FLOOR_PAGES : 0;
    size_t allowed = stats->limit_pages + stats->limit_exceeded_pages_peak;

    cr_expect_leq(stats->resident_pages_peak, allowed, "%s: %zu resident pages at the peak, limit %zu + %zu", what,
                  stats->resident_pages_peak, stats->limit_pages, stats->limit_exceeded_pages_peak);
    cr_expect(may_yield || allowed <= trial->limit_pages + floor_pages, "%s: the limit of %zu pages yielded to %zu + %zu", what,
                  trial->limit_pages, stats->limit_pages, stats->limit_exceeded_pages_peak);
    /* Not cr_log_warn(): it makes Criterion's exit status 1; and cr_log_info() is only seen with --verbose. */
    if (!may_yield && allowed > trial->limit_pages)
        fprintf(stderr, "note: %s: limit %zu + %zu instead of %zu pages\n", what, stats->limit_pages,
                stats->limit_exceeded_pages_peak, trial->limit_pages);
}

/* Reads, checks and removes the reports of the run before. */
static void collect(const struct trial *trial, const char *what, bool may_yield, struct verdict *verdict)
{
    const char *path = trial_path(trial, "stats");
    DIR *dir = opendir(path);
    const struct dirent *entry;

    memset(verdict, 0, sizeof(*verdict));
    cr_assert_not_null(dir, "cannot read %s: %s", path, strerror(errno));
    while ((entry = readdir(dir))) {
        char report[PATH_MAX + NAME_MAX];
        struct stats stats;
        const char *wrong;

        if (entry->d_name[0] == '.')
            continue;
        (void)snprintf(report, sizeof(report), "%s/%s", path, entry->d_name);
        wrong = stats_read(report, &stats);
        cr_assert_null(wrong, "%s: the report %s: %s", what, entry->d_name, wrong);
        check_report(trial, what, may_yield, &stats);
        verdict->n_reports++;
        /* One process must have done it all: limit passed, pages frozen, pages brought back. */
        verdict->n_engaged += stats.engaged && stats.freezes > 0 && stats.thaws > 0;
        if (verdict->n_reports == 1 || stats.faults > verdict->most.faults)
            verdict->most = stats;
        (void)unlink(report);
    }
    (void)closedir(dir);
}

/* The limit was kept and, unless the data may fit, GhostMem was needed. */
static void judge(const struct trial *trial, const struct command *command, const char *what, struct verdict *verdict)
{
    cr_assert_not_null(trial->library, "%s: GHOSTMEM_LIB=none: run without GhostMem twice, nothing is proved", what);
    collect(trial, what, command->may_yield, verdict);
    cr_assert_gt(verdict->n_reports, 0, "%s: no report: was the library loaded, and did the program end well?", what);
    if (command->may_fit || verdict->n_engaged > 0)
        return;
    if (!verdict->most.engaged && !userfaultfd_is_permitted())
        trial_skip("userfaultfd is not permitted here: the program ran without a limit");
    cr_assert_fail("%s: not engaged: %zu reports, the busiest with engaged=%d freezes=%zu thaws=%zu peak=%zu pages",
                   what, verdict->n_reports, verdict->most.engaged, verdict->most.freezes, verdict->most.thaws,
                   verdict->most.ghost_bytes_peak / PAGE);
}

static void compare_errors(const struct trial *trial, const char *what)
{
    const char *ghost = trial_path(trial, "ghost.stderr");
    char text[EXCERPT_BYTES];
    char why[WHY_BYTES];

    cr_expect(files_equal(trial_path(trial, "plain.stderr"), ghost, why, sizeof(why)),
              "%s: standard error differs; with GhostMem: %s", what, file_excerpt(ghost, text, sizeof(text)));
}

/* Describes the files of plain/ or ghost/, with the standard error beside it, as one of the parts of plain_files. */
static void describe_files(const struct trial *trial, const char *dir, const char *what, char text[FILES_BYTES])
{
    char errors[NAME_MAX];
    size_t n_files;

    (void)snprintf(errors, sizeof(errors), "%s.stderr", dir);
    cr_assert(files_describe(trial_path(trial, dir), trial_path(trial, errors), &n_files, text, FILES_BYTES - 1),
              "%s: cannot read all of %s/", what, dir);
    cr_assert_gt(n_files, 0, "%s: nothing to compare", what);
    strcat(text, "\n");
}

static void run_plain(const struct trial *trial, const struct command *command, const char *what)
{
    struct run_result result;
    char files[FILES_BYTES];

    run_in(trial, "plain", false, command, &result);
    expect_success(trial, "plain", command, &result);
    cr_log_info("%s: %.2f s without GhostMem", what, result.seconds);
    describe_files(trial, "plain", what, files);
    cr_assert_lt(plain_files.used + strlen(files), sizeof(plain_files.text));
    strcpy(plain_files.text + plain_files.used, files);
}

/* With the run that this test made. */
static void compare_with_run(const struct trial *trial, const char *what)
{
    char why[WHY_BYTES];
    size_t n_files;

    cr_expect(directories_equal(trial_path(trial, "plain"), trial_path(trial, "ghost"), &n_files, why, sizeof(why)),
              "%s: %s", what, why);
    compare_errors(trial, what);
}

/* With the run of a suite before. */
static void compare_with_known(const struct trial *trial, const char *what, const char *known, size_t length)
{
    char files[FILES_BYTES];

    describe_files(trial, "ghost", what, files);
    cr_expect(strlen(files) == length && memcmp(files, known, length) == 0,
              "%s: other files than without GhostMem (name, bytes, sum; / is standard error): %s instead of %.*s; run this test "
              "alone to see where they differ", what, files, (int)length, known);
}

void trial_compare(const struct trial *trial, const struct command *command)
{
    char what[EXCERPT_BYTES];
    char text[EXCERPT_BYTES];
    const char *known = plain_files.text + plain_files.used;
    const char *end;
    struct run_result ghost;
    struct verdict verdict;

    describe(trial, command, what, sizeof(what));
    if (!trial->is_known)
        run_plain(trial, command, what);
    end = strstr(known, "\n\n");
    cr_assert_not_null(end, "%s: the suite before did not come this far without GhostMem", what);
    run_in(trial, "ghost", true, command, &ghost);
    cr_log_info("%s: %.2f s with GhostMem", what, ghost.seconds);
    cr_expect_eq(ghost.status, 0, "%s: wait status 0x%x with GhostMem, 0 without; it said: %s", what, (unsigned)ghost.status,
                 file_excerpt(trial_path(trial, "ghost.stderr"), text, sizeof(text)));
    /* First: where userfaultfd is not permitted GhostMem says so in a line, and the test is skipped. */
    judge(trial, command, what, &verdict);
    if (trial->is_known)
        compare_with_known(trial, what, known, (size_t)(end + 2 - known));
    else
        compare_with_run(trial, what);
    plain_files.used = (size_t)(end + 2 - plain_files.text);
    plain_files.is_unsure = false;
    cr_log_info("%s: faults=%zu freezes=%zu thaws=%zu", what, verdict.most.faults, verdict.most.freezes,
                verdict.most.thaws);
}

void trial_run(const struct trial *trial, const struct command *command, struct run_result *result,
               struct stats *stats)
{
    char what[EXCERPT_BYTES];
    struct verdict verdict;
    const char *dir = stats ? "ghost" : "plain";

    run_in(trial, dir, stats != NULL, command, result);
    expect_success(trial, dir, command, result);
    if (!stats)
        return;
    describe(trial, command, what, sizeof(what));
    judge(trial, command, what, &verdict);
    *stats = verdict.most;
}
