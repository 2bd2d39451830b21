/*
 * helper_memcached.c - a memcached server with four threads, and a client with four connections that sets and reads back.
 *
 * helper_memcached VALUES BYTES: so many values of so many bytes. Prints what it did; ends with 0 when every value was right.
 */
#include "client.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BINARY "/usr/bin/memcached"
#define SOCKET "memcached.socket"
#define N_CONNECTIONS 4

static FILE *to[N_CONNECTIONS];
static FILE *from[N_CONNECTIONS];

static pid_t start(void)
{
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    /* As root it wants to be told who to be: root. */
    execl(BINARY, "memcached", "-s", SOCKET, "-a", "0600", "-m", "512", "-t", "4", "-U", "0", getuid() == 0 ? "-u" : NULL, "root",
          (char *)NULL);
    _exit(127);
}

static void expect(FILE *connection, const char *wanted)
{
    char line[256];

    if (fgets(line, sizeof line, connection) == NULL)
        client_fail("no answer");
    if (strcmp(line, wanted) != 0) {
        fprintf(stderr, "helper_memcached: %s instead of %s\n", line, wanted);
        exit(1);
    }
}

static void send_set(FILE *connection, unsigned long value, size_t bytes)
{
    fprintf(connection, "set key%lu 0 0 %zu\r\n", value, bytes);
    client_put(connection, value, bytes);
    fputs("\r\n", connection);
    fflush(connection);
}

static void receive(FILE *connection, unsigned long value, size_t bytes)
{
    char line[128];

    snprintf(line, sizeof line, "VALUE key%lu 0 %zu\r\n", value, bytes);
    expect(connection, line);
    client_check(connection, value, bytes);
    expect(connection, "\r\n");
    expect(connection, "END\r\n");
}

/* All connections have a request under way at a time: the server's threads work side by side. */
static void set_all(unsigned long n_values, size_t bytes)
{
    for (unsigned long i = 0; i < n_values; i += N_CONNECTIONS) {
        for (unsigned k = 0; k < N_CONNECTIONS; k++)
            send_set(to[k], i + k, bytes);
        for (unsigned k = 0; k < N_CONNECTIONS; k++)
            expect(from[k], "STORED\r\n");
    }
}

static void get_all(unsigned long n_values, size_t bytes)
{
    for (unsigned long i = 0; i < n_values; i += N_CONNECTIONS) {
        for (unsigned k = 0; k < N_CONNECTIONS; k++) {
            fprintf(to[k], "get key%lu\r\n", (i + k) * 7919 % n_values);
            fflush(to[k]);
        }
        for (unsigned k = 0; k < N_CONNECTIONS; k++)
            receive(from[k], (i + k) * 7919 % n_values, bytes);
    }
}

int main(int argc, char **argv)
{
    unsigned long n_values = argc > 2 ? strtoul(argv[1], NULL, 10) / N_CONNECTIONS * N_CONNECTIONS : 0;
    size_t bytes = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    int status;
    pid_t server;

    if (n_values == 0 || bytes == 0) {
        fprintf(stderr, "usage: helper_memcached VALUES BYTES\n");
        return 2;
    }
    server = start();
    for (unsigned k = 0; k < N_CONNECTIONS; k++)
        client_connect(server, SOCKET, &to[k], &from[k]);
    set_all(n_values, bytes);
    get_all(n_values, bytes);
    /* It ends by itself when it is told to by SIGTERM or SIGINT, with 0. */
    if (kill(server, SIGTERM) != 0 || waitpid(server, &status, 0) != server || status != 0)
        client_fail("the server did not end well");
    (void)unlink(SOCKET);
    printf("%lu values of %zu bytes, set and read back\n", n_values, bytes);
    return 0;
}
