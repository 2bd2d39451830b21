/* client.c - see client.h. */
#include "client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

void client_fail(const char *what)
{
    fprintf(stderr, "client: %s: %s\n", what, strerror(errno));
    exit(1);
}

void client_connect(pid_t server, const char *path, FILE **to, FILE **from)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    int i = 0;

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    while (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        if (waitpid(server, NULL, WNOHANG) != 0)
            client_fail("the server ended");
        if (i++ == CLIENT_ATTEMPTS)
            client_fail("no connection");
        usleep(10000);
    }
    *to = fdopen(fd, "w");
    *from = fdopen(dup(fd), "r");
    if (*to == NULL || *from == NULL)
        client_fail("fdopen");
}

unsigned char client_byte(unsigned long value, size_t i)
{
    static const char words[] = "the old words ";

    return i % 3 == 0 ? (unsigned char)('a' + (value * 31 + i / 64) % 26) : (unsigned char)words[i % (sizeof words - 1)];
}

void client_put(FILE *to, unsigned long value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        putc(client_byte(value, i), to);
}

void client_check(FILE *from, unsigned long value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (getc(from) != client_byte(value, i)) {
            fprintf(stderr, "client: value %lu is wrong at byte %zu\n", value, i);
            exit(1);
        }
}
