/*
 * uffd.h - one userfaultfd and its ioctls, with the kernel's answers put into fault.h's errors.
 *
 * Calls: the kernel.  Locks: none.  Memory: none.
 * Source: ioctl_userfaultfd(2); Documentation/admin-guide/mm/userfaultfd.rst.
 */
#ifndef GHOSTMEM_PLATFORM_UFFD_H
#define GHOSTMEM_PLATFORM_UFFD_H

#include "platform/fault.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct uffd {
    int fd;
    bool can_move;
    bool can_protect; /* against writing */
    bool knows_threads; /* messages carry the thread's id */
};

/*
 * Open and shake hands. @user_mode_only: no messages of kernel faults, and faults of user mode are SIGBUS. 0; -EPERM,
 * -ENOSYS, -EMFILE ...
 */
int uffd_open(struct uffd *uffd, bool user_mode_only);
/* Is this error of uffd_open() the kernel's no, by right, by a sandbox or by its build? */
bool uffd_is_refusal(int error);
void uffd_close(struct uffd *uffd);

/* Watch a range for missing pages and for writes to protected ones. 0 or -errno. */
int uffd_watch(const struct uffd *uffd, uintptr_t start, size_t bytes);
int uffd_unwatch(const struct uffd *uffd, uintptr_t start, size_t bytes);

/* Watch all ranges of the setup. 0; -errno: some ranges may be watched. */
int uffd_watch_all(const struct uffd *uffd, const struct fault_setup *setup);

/* The operations of fault.h. */
int uffd_fill(const struct uffd *uffd, uintptr_t dst, const void *source, size_t n_pages, bool protect, size_t *n_done);
int uffd_move(const struct uffd *uffd, uintptr_t dst, uintptr_t src, size_t n_pages, size_t *n_done);
int uffd_protect(const struct uffd *uffd, uintptr_t addr, size_t n_pages, bool on);
/* Make the missing page give SIGBUS to all who touch it, now and later. 0 or -errno. Linux 6.6. */
int uffd_poison(const struct uffd *uffd, uintptr_t addr);
void uffd_wake(const struct uffd *uffd, uintptr_t addr, size_t n_pages);

#endif
