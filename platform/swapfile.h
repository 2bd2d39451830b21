/*
 * swapfile.h - files without a name for what does not stay in RAM.
 *
 * A file is gone with its last descriptor, also after SIGKILL. Each open description holds a shared lock on it (OFD,
 * fcntl(2)), so that of two processes that share a file across a fork each can tell whether the other still does.
 *
 * Calls: the kernel.  Locks: none.  Memory: the caller's.
 */
#ifndef GHOSTMEM_PLATFORM_SWAPFILE_H
#define GHOSTMEM_PLATFORM_SWAPFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Create a file for @path, which may be a directory, a name that does not exist, or an empty file (it stays). Mode 0600,
 * close-on-exec. Where the file system has no unnamed files, one is created as @path, or @path.PID, and unlinked.
 * Returns a descriptor; -ENOLCK or the like: no locks there; -EEXIST: there is a file that is not empty; -ELOOP: a
 * symbolic link; -EINVAL: a device or the like; other -errno from open(2). Nothing that exists is changed.
 */
int os_swapfile_create(const char *path);

/* Would that work, as far as can be told without creating one? 0 or -errno as os_swapfile_create(). */
int os_swapfile_check(const char *path);

/*
 * The same file again as an open description of its own, for the calling thread's descriptor table.
 * @thread: a thread of this process in whose table @fd is. A descriptor or -errno. Source: proc(5), /proc/PID/task/TID/fd.
 */
int os_swapfile_reopen(uint32_t thread, int fd);

/* Is this open description the only one that holds the file? False also where the file system cannot tell. */
bool os_swapfile_is_alone(int fd);

/* All @bytes or an error. 0; -ENODATA where the file ends before; other -errno from pread(2). */
int os_swapfile_read(int fd, void *buffer, size_t bytes, uint64_t offset);

/*
 * The same for a few bytes that may or may not be in the page cache. They are read from the cache if they are there; else past it by
 * @direct, which leaves the cache as it is and reads only the sectors needed. @buffer: aligned to OS_SWAPFILE_ALIGN, with room for
 * @bytes + 2 * OS_SWAPFILE_ALIGN. *@data: where in it the bytes are. @direct: -1 for none.
 */
#define OS_SWAPFILE_ALIGN ((size_t)4096)
int os_swapfile_read_random(int fd, int direct, void *buffer, size_t bytes, uint64_t offset, void **data);

/* A descriptor for reading @fd's file past the page cache. -errno: not here. */
int os_swapfile_open_direct(int fd);

/*
 * All @bytes or an error: then part of it may be written. 0; -EFBIG: RLIMIT_FSIZE, nothing is written, and no signal comes of
 * it; -ENOSPC, -EDQUOT, -EIO ... from pwrite(2).
 */
int os_swapfile_write(int fd, const void *buffer, size_t bytes, uint64_t offset);

/* Give the disk space of a range back. 0 or -errno (-EOPNOTSUPP: no holes here). Source: fallocate(2). */
int os_swapfile_punch(int fd, uint64_t offset, uint64_t bytes);

/* Cut the file off; it does not grow beyond RLIMIT_FSIZE. 0 or -errno. */
int os_swapfile_truncate(int fd, uint64_t bytes);

void os_swapfile_close(int fd);

/* @bytes that nobody can guess. 0 or -errno. Source: getrandom(2). */
int os_random(void *buffer, size_t bytes);

#endif
