/*
 * extract.h - takes pages out of the address space, what is in them and all: many at a time, wherever they lie.
 *
 * To move a page, and to write-protect it, the kernel changes one entry of the page tables, and at each such change it interrupts
 * the other processors that run the program: 18 us under a hypervisor (bench/floor). To discard many pages in one call it does
 * so once. So a pipe is made to hold the frames (vmsplice(2)), the pages are discarded in one call (process_madvise(2)), and then the
 * pipe is read: whatever was stored before the page was gone is in its frame.
 *
 * This is correct only for frames that nobody has pinned and that no other mapping can have: the caller must know.
 *
 * Calls: mem, file.  Locks: none: one thread at a time for each extractor.  Memory: a pipe of EXTRACT_MAX_PAGES buffers.
 */
#ifndef GHOSTMEM_PLATFORM_EXTRACT_H
#define GHOSTMEM_PLATFORM_EXTRACT_H

#include <stddef.h>
#include <stdint.h>

#define EXTRACT_MAX_PAGES 32u

struct extractor {
    int in; /* descriptors; -1: there is none */
    int out;
};

/* 0; -EMFILE, -ENFILE, -EPERM (too many pages in the user's pipes), -ENOSYS: there is none. */
int extractor_open(struct extractor *extractor);
void extractor_close(struct extractor *extractor);

/*
 * Copy the contents of the @n <= EXTRACT_MAX_PAGES pages at @addrs into @buffer and make the pages missing. Returns for how many,
 * from the first one on, that is done. *@error: 0, or why it is not done for all. -EFAULT: the next page is missing already. -EINVAL:
 * it cannot be discarded. -EPERM, -EACCES, -ENOSYS, -EBADF: the calls are refused, now and later, and the contents of missing pages may be
 * lost. Others: not now.
 */
size_t extractor_take(const struct extractor *extractor, void *buffer, const uintptr_t *addrs, size_t n, int *error);

#endif
