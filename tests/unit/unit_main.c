/*
 * unit_main.c - main() of the builds without Criterion: see unit.h.
 *
 *     tsan [-jN] [PART]
 *
 * Each test whose name contains PART runs in a process of its own, N of them at a time: what a test leaves behind, threads and
 * gigabytes of shadow memory, is gone with it. Without PART: all tests.
 */
#include "tests/unit/unit.h"

#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_JOBS = 16 };

struct job {
    pid_t process; /* 0: none */
    const struct unit_test *test;
    double start_s;
};

struct unit_test *unit_tests;
static struct job jobs[MAX_JOBS];
static int n_passed;
static int n_failed;

static double now_s(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void start(struct job *job, const struct unit_test *test)
{
    *job = (struct job){.process = fork(), .test = test, .start_s = now_s()};
    if (job->process == 0) {
        test->run(); /* a failed assertion ends the process */
        exit(0);     /* with another status where ThreadSanitizer has something to say */
    }
    if (job->process < 0)
        abort();
}

static void wait_for_one(void)
{
    int status = -1;
    pid_t ended = wait(&status);

    for (int i = 0; i < MAX_JOBS; i++) {
        struct job *job = &jobs[i];

        if (job->process != ended || ended <= 0)
            continue;
        printf("[%s] %s::%s: (%.2fs)\n", status == 0 ? "PASS" : "FAIL", job->test->suite, job->test->name, now_s() - job->start_s);
        n_passed += status == 0;
        n_failed += status != 0;
        job->process = 0;
    }
}

static struct job *find_free(int n_jobs)
{
    for (;;) {
        for (int i = 0; i < n_jobs; i++)
            if (jobs[i].process == 0)
                return &jobs[i];
        wait_for_one();
    }
}

int main(int argc, char **argv)
{
    int n_jobs = 1;
    const char *part = "";

    (void)setvbuf(stdout, NULL, _IOLBF, 0); /* a child has nothing of ours to write again */
    for (int i = 1; i < argc; i++)
        if (strncmp(argv[i], "-j", 2) == 0)
            n_jobs = atoi(argv[i] + 2);
        else
            part = argv[i];
    n_jobs = n_jobs < 1 ? 1 : n_jobs > MAX_JOBS ? MAX_JOBS : n_jobs;
    for (struct unit_test *test = unit_tests; test != NULL; test = test->next)
        if (strstr(test->name, part) != NULL)
            start(find_free(n_jobs), test);
    for (int i = 0; i < n_jobs; i++)
        while (jobs[i].process != 0)
            wait_for_one();
    printf("[====] Synthesis: Tested: %d | Passing: %d | Failing: %d | Crashing: 0\n", n_passed + n_failed, n_passed, n_failed);
    return n_failed != 0;
}
