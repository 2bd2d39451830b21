/*
 * file.h - descriptors: small reads of kernel files, messages, reports.
 *
 * Calls: the kernel.  Locks: none.  Memory: the caller's.
 */
#ifndef GHOSTMEM_PLATFORM_FILE_H
#define GHOSTMEM_PLATFORM_FILE_H

#include <stddef.h>

/* Read at most @bytes - 1 bytes of @path into @buffer, zero-terminated. Returns the length, or -errno. */
long os_file_read(const char *path, char *buffer, size_t bytes);

/* @visit for each entry of a directory. 0 or -errno. */
int os_directory_visit(const char *path, void (*visit)(void *arg, const char *name), void *arg);

/* Write all of it, going on after short writes and EINTR. 0 or -errno. */
int os_file_write(int fd, const char *data, size_t bytes);

/*
 * The same for a message, from any thread: those of ours that have a descriptor table of their own fetch @fd from the program's.
 * (To keep one would keep the pipe behind it open after the program has closed it.)
 */
int os_message_write(int fd, const char *data, size_t bytes);

/* Messages go to the file that @fd refers to now. They are dropped once another file, not a terminal, has its number. */
void os_message_file(int fd);

/*
 * Open what the user has named, for appending (@append) or from the start, created 0600 if need be: a regular file with one name, which
 * is ours or in a directory that not everybody may write to; a terminal, /dev/null, /dev/stdout, /dev/stderr. Never waits. A descriptor;
 * -ELOOP: a symbolic link; -ENXIO: a FIFO or the like; -EPERM: the file is another user's, or has other names; other -errno.
 */
int os_file_open(const char *path, int append);

void os_file_close(int fd);

/* A duplicate of @fd, close-on-exec and out of the program's usual reach. A descriptor, or -errno. */
int os_file_duplicate(int fd);

/* Move @fd out of the program's usual reach. Returns its new number; @fd where that cannot be done. */
int os_file_move_high(int fd);

/*
 * Remember a descriptor of ours in the program's table: the guard keeps the program off it. At most 127 at once; more are not
 * remembered.
 */
void os_file_own(int fd);
void os_file_disown(int fd);
/* The lowest of ours that is not below @fd; -1: none. */
int os_file_next_owned(int fd);

/* Close all descriptors of the calling thread's private table but @keep, @n ascending ones. 0 or -errno. */
int os_files_close_all_but(const int *keep, unsigned n);

/* 0 and @path, zero-terminated; -errno. */
int os_working_directory(char *path, size_t bytes);

int os_process_id(void);

/* Ends the process as abort(3) does, without leaving the calling thread. */
_Noreturn void os_abort(void);
_Noreturn void os_exit(int status);

/*
 * As strtoul(3), whose locale is a thread-local variable: our threads have none. @base: 10 or 16; 0: 16 behind "0x", else 10. @end: NULL,
 * or where the number ends. A sign is passed by: the number's complement is returned.
 */
unsigned long os_number(const char *text, char **end, unsigned base);

#endif
