/*
 * test_git.c - git gc, a tree of processes that fork.
 *
 * Packs may differ between two runs, since two threads share out the search for deltas. What must not differ is what
 * git, without GhostMem, then says of the repository: fsck, and the name, type and size of every object.
 */
#include "input.h"
#include "trial.h"

#include <criterion/criterion.h>

TestSuite(git, .fini = trial_end, .timeout = TRIAL_SUITE_TIMEOUT_S);

/* A repository of loose objects without deltas, so that gc has to read and pack all of them; one for each of the two runs. */
static void make_repositories(const struct trial *trial)
{
    const struct command init = {.argv = {"git", "init", "-q", "--bare", "-b", "main", "repo", NULL}};
    const struct command import = {
        .argv = {"git", "-c", "fastimport.unpackLimit=1000000", "-c", "core.looseCompression=1", "--git-dir=repo",
                 "fast-import", "--quiet", "--depth=0", "--done", NULL},
        .input = "stream",
    };
    const struct command copy = {.argv = {"cp", "-R", "../repo", ".", NULL}};

    trial_prepare(trial, NULL, &init);
    trial_prepare(trial, NULL, &import);
    trial_prepare(trial, "plain", &copy);
    trial_prepare(trial, "ghost", &copy);
}

static void describe_repository(const struct trial *trial, const char *dir)
{
    const struct command fsck = {
        .argv = {"git", "--git-dir=repo", "fsck", "--full", "--strict", NULL},
        .output = "fsck",
    };
    const struct command list = {
        .argv = {"git", "--git-dir=repo", "rev-list", "--objects", "--all", NULL},
        .output = "objects",
    };
    const struct command check = {
        .argv = {"git", "--git-dir=repo", "cat-file", "--batch-check=%(objectname) %(objecttype) %(objectsize)",
                 "--batch-all-objects", NULL},
        .output = "sizes",
    };

    trial_prepare(trial, dir, &fsck);
    trial_prepare(trial, dir, &list);
    trial_prepare(trial, dir, &check);
}

static void compare_gc(size_t limit_pages, size_t n_commits, size_t n_files, size_t file_bytes)
{
    struct trial *trial = trial_begin(limit_pages);
    const struct command gc = {.argv = {"git", "--git-dir=repo", "gc", "--quiet", "--prune=now", NULL}};
    const struct command same = {.argv = {"git", "--git-dir=repo", "count-objects", NULL}, .may_fit = true};

    trial_need("git");
    input_git_stream(trial_path(trial, "stream"), n_commits, n_files, file_bytes);
    make_repositories(trial);
    trial_compare(trial, &gc);
    describe_repository(trial, "plain");
    describe_repository(trial, "ghost");
    /* Compares the descriptions too; and no loose object may be left. */
    trial_compare(trial, &same);
}

Test(git, gc_of_6_kb_keeps_every_object_at_5_pages)
{
    compare_gc(5, 4, 2, 1500);
}

Test(git, gc_of_500_kb_keeps_every_object_at_64_pages)
{
    compare_gc(64, 24, 3, 20 * 1000);
}

Test(git, gc_of_8_mb_keeps_every_object_at_1024_pages)
{
    compare_gc(1024, 40, 4, 200 * 1000);
}

Test(git, gc_of_50_mb_keeps_every_object_at_16384_pages)
{
    compare_gc(16384, 16, 3, 3 * 1000 * 1000);
}
