/* running.h - helper_verify under ghostmem(1), while it runs. */
#ifndef TESTS_COMMAND_RUNNING_H
#define TESTS_COMMAND_RUNNING_H

#include <stdio.h>
#include <sys/types.h>

struct running {
    pid_t id;
    int input;    /* closed, it ends */
    FILE *output;
};

/* @options: of `ghostmem run`, NULL at the end. Returns when all its data is there. */
void start_running(struct running *running, const char *const *options, const char *threads, const char *megabytes);

/* It ends by itself, and no byte was wrong. */
void end_running(struct running *running);

#endif
