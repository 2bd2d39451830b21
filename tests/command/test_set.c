/* test_set.c - ghostmem set: settings of a running process. */
#include "tests/command/running.h"
#include "tests/command/said.h"
#include "tools/command/process.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct said said;
static struct process process;

TestSuite(set, .init = make_dir, .fini = remove_dir, .timeout = 240);

static const char *const backends[] = {"--faults=signal", "--faults=segv", "--faults=thread"};
#define N_BACKENDS (sizeof backends / sizeof backends[0])

#define OPTIONS(...) (const char *const[]){__VA_ARGS__, NULL}

static const char *id_of(const struct running *running)
{
    static char text[16];

    snprintf(text, sizeof text, "%d", running->id);
    return text;
}

static void sleep_ms(unsigned ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL);
}

/* ---- the limit moves while threads verify their data ---- */

#define N_MOVES 100
#define N_THREADS 8

static void move_limit(uint64_t pages)
{
    int answer;

    cr_assert_eq(process_ask(&process, "MAX_MEMORY", pages), 0);
    cr_assert_eq(process_wake(&process), 0);
    while ((answer = process_answered(&process, "MAX_MEMORY")) == -EINPROGRESS)
        sleep_ms(1);
    cr_assert_eq(answer, 0, "%s", strerror(-answer));
}

static void move_it_many_times(const char *backend)
{
    struct running running;
    char why[PROCESS_WHY_BYTES];
    unsigned seed = 1;

    start_running(&running, OPTIONS("-m", "4M", backend), "8", "12");
    cr_assert_eq(process_open(&process, running.id, true, why), PROCESS_THERE, "%s", why);
    for (unsigned i = 0; i < N_MOVES; i++) {
        uint64_t pages = 256 + (uint64_t)rand_r(&seed) % 3072;

        move_limit(pages);
        for (unsigned k = 0; k < 8; k++) {
            cr_assert(process_read(&process));
            cr_assert_eq(process_value(&process, "limit_pages"), pages);
            cr_assert_leq(process_value(&process, "resident_pages"), pages + process_value(&process, "limit_exceeded_pages_peak"),
                          "%s, move %u", backend, i);
        }
    }
    cr_assert_leq(process_value(&process, "limit_exceeded_pages_peak"), 2 * N_THREADS, "%s", backend);
    process_close(&process);
    end_running(&running);
}

Test(set, limit_moves_a_hundred_times_with_signal)
{
    move_it_many_times(backends[0]);
}

Test(set, limit_moves_a_hundred_times_with_segv)
{
    move_it_many_times(backends[1]);
}

Test(set, limit_moves_a_hundred_times_with_thread)
{
    move_it_many_times(backends[2]);
}

/* ---- the command ---- */

Test(set, lower_limit_holds_when_the_command_ends)
{
    for (size_t b = 0; b < N_BACKENDS; b++) {
        struct running running;
        char why[PROCESS_WHY_BYTES];

        start_running(&running, OPTIONS("-m", "6M", backends[b]), "2", "8");
        RUN(&said, "set", id_of(&running), "max-memory=2M", "reclaim=direct", "verbose=0", "swap-max=1G");
        cr_assert(ended(&said, 0) && said.out[0] == '\0' && said.err[0] == '\0', "%s", said.err);
        cr_assert_eq(process_open(&process, running.id, false, why), PROCESS_THERE, "%s", why);
        cr_assert(process_read(&process));
        cr_assert_eq(process_value(&process, "limit_pages"), 512);
        cr_assert_leq(process_value(&process, "resident_pages"), 512 + process_value(&process, "limit_exceeded_pages_peak"));
        cr_assert_eq(process_value(&process, "reclaim"), 1);
        process_close(&process);
        RUN(&said, "set", id_of(&running));
        cr_assert(ended(&said, 0));
        cr_assert_not_null(strstr(said.out, "(helper_verify)"), "%s", said.out);
        cr_assert_not_null(strstr(said.out, "max-memory  2.0 MiB, "), "%s", said.out);
        cr_assert_not_null(strstr(said.out, "swap-max    1.0 GiB"));
        cr_assert_not_null(strstr(said.out, "reclaim     direct"));
        RUN(&said, "set", id_of(&running), "max-pages=3000");
        cr_assert(ended(&said, 0), "%s", said.err);
        end_running(&running);
    }
}

/* Nothing of ours runs there: what is asked for waits for the next large block. */
Test(set, program_that_fits_does_it_when_it_next_allocates)
{
    struct running running;

    start_running(&running, OPTIONS("-m", "64M"), "1", "4");
    RUN(&said, "set", "--timeout=1", id_of(&running), "max-memory=1M");
    cr_assert(refused(&said, 1, "noted; process"), "%s", said.err);
    RUN(&said, "set", id_of(&running));
    cr_assert_not_null(strstr(said.out, "64.0 MiB, all that it uses is resident"), "%s", said.out);
    end_running(&running);
}

Test(set, idle_program_is_woken)
{
    struct running running;
    pid_t id;

    start_running(&running, OPTIONS("-m", "3M"), "1", "8");
    id = running.id;
    cr_assert_eq(kill(id, 0), 0);
    RUN(&said, "set", id_of(&running), "max-memory=1M");
    cr_assert(ended(&said, 0), "%s", said.err);
    end_running(&running);
}

Test(set, as_the_same_user)
{
    struct running running;

    if (geteuid() != 0)
        cr_skip_test("needs root to become another user");
    start_running(&running, OPTIONS("-m", "3M"), "1", "8");
    as_user = "--reuid=65534";
    RUN(&said, "set", id_of(&running), "max-memory=1M");
    cr_assert(refused(&said, 1, "it is of user 0: root may look"), "%s", said.err);
    as_user = NULL;
    end_running(&running);
}

Test(set, what_is_not_possible_is_one_line)
{
    pid_t plain = fork();
    char id[16];

    if (plain == 0) {
        execl("/bin/sleep", "sleep", "60", (char *)NULL);
        _exit(127);
    }
    snprintf(id, sizeof id, "%d", plain);
    sleep_ms(50);
    RUN(&said, "set", id, "max-memory=1M");
    cr_assert(refused(&said, 1, "(sleep) runs without GhostMem"), "%s", said.err);
    kill(plain, SIGKILL);
    waitpid(plain, NULL, 0);
    RUN(&said, "set", id, "max-memory=1M");
    cr_assert(refused(&said, 1, "there is none"), "%s", said.err);
    RUN(&said, "set");
    cr_assert(refused(&said, 125, "the number of a process"));
    RUN(&said, "set", "12x");
    cr_assert(refused(&said, 125, "the number of a process"));
    RUN(&said, "set", "99999999999999999999");
    cr_assert(refused(&said, 125, "the number of a process"));
    RUN(&said, "set", "1", "max-memory=12Q");
    cr_assert(refused(&said, 125, "max-memory=12Q: accepted: a size"), "%s", said.err);
    RUN(&said, "set", "1", "max-memory=25%");
    cr_assert(refused(&said, 125, "a size such as 512M is wanted"), "%s", said.err);
    RUN(&said, "set", "1", "max-memory=101%");
    cr_assert(refused(&said, 125, "accepted: a size"));
    RUN(&said, "set", "1", "max-pages=0");
    cr_assert(refused(&said, 125, "at least 5 pages"));
    RUN(&said, "set", "1", "max-memory");
    cr_assert(refused(&said, 125, "SETTING=VALUE is wanted"));
    RUN(&said, "set", "1", "faults=segv");
    cr_assert(refused(&said, 125, "faults: cannot be set in a running process"));
    RUN(&said, "set", "1", "no-such=1");
    cr_assert(refused(&said, 125, "no-such: no such setting"));
    RUN(&said, "set", "--timeout=x", "1");
    cr_assert(refused(&said, 125, "--timeout"));
    RUN(&said, "set", "-x");
    cr_assert(refused(&said, 125, "'x'"));
    RUN(&said, "set", "--help");
    cr_assert(ended(&said, 0) && strstr(said.out, "usage: ghostmem set") != NULL);
}
