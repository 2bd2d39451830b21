/*
 * helper_redis.c - a Redis server, and a client that fills it, saves it in a forked child and reads everything back.
 *
 * helper_redis VALUES BYTES: so many values of so many bytes. Prints what it did; ends with 0 when every value was right.
 * Debian's redis-tools brings the server under another name, and no service with it.
 */
#include "client.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define BINARY "/usr/bin/redis-check-rdb"
#define SOCKET "redis.socket"

static FILE *to;
static FILE *from;

static pid_t start(void)
{
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    if (freopen("/dev/null", "w", stdout) == NULL)
        _exit(126);
    execl(BINARY, "redis-server", "--port", "0", "--unixsocket", SOCKET, "--save", "", "--appendonly", "no", "--dir", ".",
          "--rdbcompression", "no", (char *)NULL);
    _exit(127);
}

static void send_words(size_t n, const char *const *words)
{
    fprintf(to, "*%zu\r\n", n);
    for (size_t i = 0; i < n; i++)
        fprintf(to, "$%zu\r\n%s\r\n", strlen(words[i]), words[i]);
}

/* The line of an answer; of a bulk the bytes follow. */
static const char *answer(void)
{
    static char line[256];

    if (fflush(to) != 0 || fgets(line, sizeof line, from) == NULL)
        client_fail("no answer");
    return line;
}

static void expect(const char *beginning)
{
    const char *line = answer();

    if (strncmp(line, beginning, strlen(beginning)) != 0) {
        fprintf(stderr, "helper_redis: %s instead of %s\n", line, beginning);
        exit(1);
    }
}

static void set(unsigned long value, size_t bytes)
{
    char key[32];

    snprintf(key, sizeof key, "key%lu", value);
    fprintf(to, "*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$%zu\r\n", strlen(key), key, bytes);
    client_put(to, value, bytes);
    fputs("\r\n", to);
    expect("+OK");
}

static void get(unsigned long value, size_t bytes)
{
    char key[32];
    char size[32];

    snprintf(key, sizeof key, "key%lu", value);
    send_words(2, (const char *const[]){"GET", key});
    snprintf(size, sizeof size, "$%zu\r\n", bytes);
    expect(size);
    client_check(from, value, bytes);
    if (getc(from) != '\r' || getc(from) != '\n')
        client_fail("no end of a value");
}

/* The server forks, and its child writes all values while the server goes on. */
static void save(unsigned long n_values, size_t bytes)
{
    struct stat status;

    send_words(1, (const char *const[]){"BGSAVE"});
    expect("+Background saving started");
    for (unsigned long i = 0; i < n_values; i += 7)
        get(i, bytes);
    for (int i = 0; i < CLIENT_ATTEMPTS; i++) {
        if (stat("dump.rdb", &status) == 0 && (size_t)status.st_size > n_values * bytes) {
            unlink("dump.rdb");
            return;
        }
        usleep(10000);
    }
    client_fail("no dump.rdb of the right size");
}

int main(int argc, char **argv)
{
    unsigned long n_values = argc > 2 ? strtoul(argv[1], NULL, 10) : 0;
    size_t bytes = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    int status;
    pid_t server;

    if (n_values == 0 || bytes == 0) {
        fprintf(stderr, "usage: helper_redis VALUES BYTES\n");
        return 2;
    }
    server = start();
    client_connect(server, SOCKET, &to, &from);
    for (unsigned long i = 0; i < n_values; i++)
        set(i, bytes);
    save(n_values, bytes);
    for (unsigned long i = 0; i < n_values; i++)
        get((i * 7919) % n_values, bytes);
    send_words(2, (const char *const[]){"SHUTDOWN", "NOSAVE"});
    fflush(to);
    if (waitpid(server, &status, 0) != server || status != 0)
        client_fail("the server did not end well");
    (void)unlink(SOCKET);
    printf("%lu values of %zu bytes, saved and read back\n", n_values, bytes);
    return 0;
}
