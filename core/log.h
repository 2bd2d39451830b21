/*
 * log.h - our messages: whole lines, each with one write(2), "ghostmem: " in front.
 *
 * Formatting is our own because a message may come from inside malloc, from a signal handler or from a thread that
 * libc does not know. It understands %s, %u (unsigned), %d (int), %z (size_t), %l (uint64_t), %p, %e (a positive
 * errno, as its name) and %%.
 *
 * Calls: file.  Locks: none.  Memory: the stack, one line.
 */
#ifndef GHOSTMEM_CORE_LOG_H
#define GHOSTMEM_CORE_LOG_H

#include "core/base.h"

#include <stdarg.h>

#define LOG_LINE_BYTES 512

enum log_level {
    LOG_ERROR,  /* always written: something the user must know */
    LOG_CHOICE, /* GHOSTMEM_VERBOSE=1: what was configured and chosen */
    LOG_EVENT,  /* GHOSTMEM_VERBOSE=2: what happens */
};

/* Once, before any thread of ours runs. @fd: where lines go, 2 for stderr. @level: the least important that is written. */
void log_open(int fd, enum log_level level);

/* Another level from now on. Any context. */
void log_set_level(enum log_level level);

/* Truncates a line that is too long. Any context. */
void log_line(enum log_level level, const char *format, ...);

/* For what may come again and again: the 1st, 2nd, 4th, 8th ... of @counter is written. */
void log_sparsely(enum log_level level, uint64_t *counter, const char *format, ...);

/* Append to @buffer of @bytes at @length as above, always zero-terminated; returns the new length. */
size_t log_format(char *buffer, size_t bytes, size_t length, const char *format, ...);
size_t log_format_args(char *buffer, size_t bytes, size_t length, const char *format, va_list args);

#endif
