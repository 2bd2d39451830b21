/* guard_often.c - the calls that programs make most: they bring their buffer in and pass, without a trap. See guard.h. */
#include "interpose/guard.h"

#include "interpose/libc.h"

#include <sys/socket.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

struct entry {
    uintptr_t buffer;
    size_t bytes;
    bool may;
};

static void hold_buffer(void *arg)
{
    struct guard_thread *self = guard_self();
    struct entry *entry = arg;
    struct visit visit;

    visit_begin(&ghost.pager.visits, &visit);
    self->returning = false;
    hold_clear(&self->hold);
    guard_hold_range(&self->hold, entry->buffer, entry->bytes);
    entry->may = guard_may_hold(self);
    if (entry->may) {
        pager_hold(&ghost.pager, &self->hold);
        os_dispatch_selector = 0; /* a handler that comes behind this sets it, and the call traps */
    } else {
        hold_end(&self->hold);
    }
    visit_end(&visit);
}

/* The thread's calls pass until leave(). False: let it trap. */
static bool enter(uintptr_t buffer, size_t bytes)
{
    struct entry entry = {.buffer = buffer, .bytes = bytes};

    if (!ghost_manages((const void *)buffer)) {
        os_dispatch_selector = 0;
        return true;
    }
    /* While paging begins pager_hold() waits, for longer than a visit should last. */
    if (!pager_is_engaged(&ghost.pager))
        return false;
    guard_run(hold_buffer, &entry);
    return entry.may;
}

/* Also when the thread is cancelled in the call. */
static void leave(const bool *entered)
{
    if (!*entered || guard_self() == NULL) /* given up meanwhile: guard_trace.c */
        return;
    hold_end(&guard_self()->hold);
    os_dispatch_selector = 1;
}

static bool is_guarded(void)
{
    return os_stub_self != NULL;
}

#define GUARDED(buffer, bytes)                                                                                         \
    bool entered __attribute__((cleanup(leave), unused)) = is_guarded() && enter((uintptr_t)(buffer), bytes)

EXPORT ssize_t read(int fd, void *buffer, size_t bytes)
{
    GUARDED(buffer, bytes);

    return libc_next()->read(fd, buffer, bytes);
}

EXPORT ssize_t write(int fd, const void *buffer, size_t bytes)
{
    GUARDED(buffer, bytes);

    return libc_next()->write(fd, buffer, bytes);
}

EXPORT ssize_t pread(int fd, void *buffer, size_t bytes, off_t offset)
{
    GUARDED(buffer, bytes);

    return libc_next()->pread(fd, buffer, bytes, offset);
}

EXPORT ssize_t pread64(int fd, void *buffer, size_t bytes, off64_t offset)
{
    GUARDED(buffer, bytes);

    return libc_next()->pread(fd, buffer, bytes, offset);
}

EXPORT ssize_t pwrite(int fd, const void *buffer, size_t bytes, off_t offset)
{
    GUARDED(buffer, bytes);

    return libc_next()->pwrite(fd, buffer, bytes, offset);
}

EXPORT ssize_t pwrite64(int fd, const void *buffer, size_t bytes, off64_t offset)
{
    GUARDED(buffer, bytes);

    return libc_next()->pwrite(fd, buffer, bytes, offset);
}

EXPORT ssize_t recv(int fd, void *buffer, size_t bytes, int flags)
{
    GUARDED(buffer, bytes);

    return libc_next()->recv(fd, buffer, bytes, flags);
}

EXPORT ssize_t send(int fd, const void *buffer, size_t bytes, int flags)
{
    GUARDED(buffer, bytes);

    return libc_next()->send(fd, buffer, bytes, flags);
}
