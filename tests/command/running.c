/* running.c - see running.h. */
#include "tests/command/running.h"

#include "tests/command/said.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

void start_running(struct running *running, const char *const *options, const char *threads, const char *megabytes)
{
    const char *words[32] = {command_path(), "run"};
    char line[64] = "";
    size_t n = 2;
    int in[2];
    int out[2];

    while (*options != NULL)
        words[n++] = *options++;
    words[n++] = "--";
    words[n++] = of_ours("helper_verify");
    words[n++] = threads;
    words[n++] = megabytes;
    cr_assert(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
    running->id = fork();
    cr_assert_geq(running->id, 0);
    if (running->id == 0) {
        /* Of the tests: the library would take them for settings. */
        (void)unsetenv("GHOSTMEM_LIB");
        (void)unsetenv("GHOSTMEM_INJECT_LIB");
        (void)unsetenv("GHOSTMEM_TEST_BIN");
        (void)dup2(in[0], STDIN_FILENO);
        (void)dup2(out[1], STDOUT_FILENO);
        execv(words[0], (char *const *)(uintptr_t)words);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    running->input = in[1];
    running->output = fdopen(out[0], "r");
    cr_assert_not_null(fgets(line, sizeof line, running->output), "it has not begun");
    cr_assert_str_eq(line, "ready\n");
}

void end_running(struct running *running)
{
    char line[64] = "";
    int status;

    close(running->input);
    cr_assert_not_null(fgets(line, sizeof line, running->output));
    cr_assert_str_eq(line, "wrong bytes: 0\n");
    fclose(running->output);
    cr_assert_eq(waitpid(running->id, &status, 0), running->id);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
