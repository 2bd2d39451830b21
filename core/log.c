/* log.c - see log.h. */
#include "core/log.h"

#include "platform/file.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

/* Set by log_open(), constant afterwards. */
static int log_fd = 2;
static _Atomic int log_most = LOG_ERROR;

static const char *errno_name(int error)
{
    switch (error) {
    case EPERM: return "EPERM";
    case ENOENT: return "ENOENT";
    case EIO: return "EIO";
    case EBADF: return "EBADF";
    case EAGAIN: return "EAGAIN";
    case ENOMEM: return "ENOMEM";
    case EACCES: return "EACCES";
    case EFAULT: return "EFAULT";
    case EBUSY: return "EBUSY";
    case EEXIST: return "EEXIST";
    case ELOOP: return "ELOOP";
    case ENXIO: return "ENXIO";
    case ENOLCK: return "ENOLCK";
    case EDQUOT: return "EDQUOT";
    case EISDIR: return "EISDIR";
    case ENOTDIR: return "ENOTDIR";
    case EINVAL: return "EINVAL";
    case EMFILE: return "EMFILE";
    case ENFILE: return "ENFILE";
    case EFBIG: return "EFBIG";
    case ENOSPC: return "ENOSPC";
    case EROFS: return "EROFS";
    case ENOSYS: return "ENOSYS";
    default: return "errno";
    }
}

struct line {
    char *buffer;
    size_t bytes;
    size_t length;
};

static void put_char(struct line *line, char c)
{
    if (line->length + 1 < line->bytes)
        line->buffer[line->length++] = c;
}

static void put_string(struct line *line, const char *s)
{
    while (*s != '\0')
        put_char(line, *s++);
}

static void put_number(struct line *line, uint64_t value, unsigned base)
{
    char digits[20];
    size_t n = 0;

    do {
        digits[n++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    while (n > 0)
        put_char(line, digits[--n]);
}

static void put_signed(struct line *line, int value)
{
    if (value < 0)
        put_char(line, '-');
    put_number(line, value < 0 ? (uint64_t)-(int64_t)value : (uint64_t)value, 10);
}

static void put_errno(struct line *line, int error)
{
    put_string(line, errno_name(error));
    put_string(line, " (");
    put_signed(line, error);
    put_char(line, ')');
}

size_t log_format_args(char *buffer, size_t bytes, size_t length, const char *format, va_list args)
{
    struct line line = {buffer, bytes, length};

    for (const char *f = format; *f != '\0'; f++) {
        if (*f != '%') {
            put_char(&line, *f);
            continue;
        }
        switch (*++f) {
        case 's': put_string(&line, va_arg(args, const char *)); break;
        case 'u': put_number(&line, va_arg(args, unsigned), 10); break;
        case 'd': put_signed(&line, va_arg(args, int)); break;
        case 'z': put_number(&line, va_arg(args, size_t), 10); break;
        case 'l': put_number(&line, va_arg(args, uint64_t), 10); break;
        case 'e': put_errno(&line, va_arg(args, int)); break;
        case 'p':
            put_string(&line, "0x");
            put_number(&line, (uintptr_t)va_arg(args, void *), 16);
            break;
        default: put_char(&line, *f); break;
        }
    }
    if (bytes > 0)
        buffer[line.length] = '\0';
    return line.length;
}

size_t log_format(char *buffer, size_t bytes, size_t length, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    length = log_format_args(buffer, bytes, length, format, args);
    va_end(args);
    return length;
}

static void write_line(const char *format, va_list args)
{
    char text[LOG_LINE_BYTES];
    size_t length = log_format(text, sizeof text - 1, 0, "ghostmem: ");

    length = log_format_args(text, sizeof text - 1, length, format, args);
    text[length++] = '\n';
    (void)os_message_write(log_fd, text, length); /* nowhere left to complain */
}

void log_set_level(enum log_level level)
{
    atomic_store(&log_most, (int)level);
}

void log_open(int fd, enum log_level level)
{
    os_message_file(fd);
    log_fd = fd;
    log_set_level(level);
}

void log_line(enum log_level level, const char *format, ...)
{
    va_list args;

    if ((int)level > atomic_load_explicit(&log_most, memory_order_relaxed))
        return;
    va_start(args, format);
    write_line(format, args);
    va_end(args);
}

void log_sparsely(enum log_level level, uint64_t *counter, const char *format, ...)
{
    uint64_t n = __atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
    va_list args;

    if ((int)level > atomic_load_explicit(&log_most, memory_order_relaxed) || (n & (n - 1)) != 0)
        return;
    va_start(args, format);
    write_line(format, args);
    va_end(args);
}

_Noreturn void base_broken(const char *file, int line, const char *what)
{
    log_line(LOG_ERROR, "internal error at %s:%d: %s does not hold", file, line, what);
    os_abort();
}
