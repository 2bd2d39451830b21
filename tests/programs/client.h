/*
 * client.h - what the helper programs that talk to a server of their own share.
 *
 * The server listens at a socket in the working directory. What goes wrong is a line on standard error, and the end with 1.
 */
#ifndef TESTS_PROGRAMS_CLIENT_H
#define TESTS_PROGRAMS_CLIENT_H

#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

#define CLIENT_ATTEMPTS 3000 /* of 10 ms each */

_Noreturn void client_fail(const char *what);

/* A connection to the server's socket, as soon as there is one; fails when the server has ended. */
void client_connect(pid_t server, const char *path, FILE **to, FILE **from);

/* Byte @i of a value: texts that compress to about half. */
unsigned char client_byte(unsigned long value, size_t i);

/* Send all of a value, or receive it and compare. */
void client_put(FILE *to, unsigned long value, size_t bytes);
void client_check(FILE *from, unsigned long value, size_t bytes);

#endif
