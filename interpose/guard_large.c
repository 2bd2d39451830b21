/*
 * guard_large.c - calls whose buffer is too large for the limit, or for what other calls leave of it. See guard.h.
 *
 * The limit yields unless nobody can tell the difference: one read that would have been whole must not become a short one, and one
 * write not two that others can come between.
 */
#include "interpose/guard.h"

#include "interpose/guard_table.h"

#include "platform/sys.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>

/* A buffer of whole pages that begins and ends within one is held with so many more. */
#define UNALIGNED 2
/* Calls that hold so small a part of the limit are not counted beforehand. */
#define FEW 64
#define TRANSFER_MAX 0x7ffff000 /* bytes; source: read(2), NOTES */

enum way {
    WHOLE, /* the limit yields */
    SHORTER, /* the caller must be ready for a short transfer */
    PARTS,  /* by us: nobody else is at the same place of the file */
    APPENDED, /* the same, at the end of the file, where others may come between */
};

/*
 * Do parts of a file that are read one after the other make up the whole, as a read of all of it would? In files of the kernel's own each
 * read may be an answer, and each write a command.
 */
static bool is_made_of_bytes(int fd)
{
    /* Sources: linux/magic.h; statfs(2). */
    static const uint32_t magics[] = {
        EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC, F2FS_SUPER_MAGIC, TMPFS_MAGIC, RAMFS_MAGIC, OVERLAYFS_SUPER_MAGIC,
        NFS_SUPER_MAGIC, CIFS_SUPER_MAGIC, SMB2_SUPER_MAGIC, V9FS_MAGIC, CEPH_SUPER_MAGIC, FUSE_SUPER_MAGIC, ISOFS_SUPER_MAGIC,
        UDF_SUPER_MAGIC, MSDOS_SUPER_MAGIC, EXFAT_SUPER_MAGIC, SQUASHFS_MAGIC, EROFS_SUPER_MAGIC_V1, REISERFS_SUPER_MAGIC,
        AFS_SUPER_MAGIC, ECRYPTFS_SUPER_MAGIC,
        0x7366746e, /* NTFS3 */
        0x3153464a, /* JFS */
        0xca451a4e, /* bcachefs */
        0x2fc12fc1, /* ZFS */
        0x0bd00bd0, /* Lustre */
        0x47504653, /* GPFS */
    };
    struct statfs status;

    if (sys_failed(sys_call2(SYS_fstatfs, fd, &status)))
        return false;
    for (size_t i = 0; i < sizeof magics / sizeof magics[0]; i++)
        if ((uint32_t)status.f_type == magics[i])
            return true;
    return false;
}

static bool is_stream(int fd)
{
    int type = 0;
    socklen_t bytes = sizeof type;

    return !sys_failed(sys_call5(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &bytes)) && type == SOCK_STREAM;
}

static enum way way_of(const struct guard_call *call, enum guard_cut cut)
{
    bool reads = cut == GUARD_READS || cut == GUARD_READS_AT;
    int fd = (int)call->args[0];
    struct stat status;

    if (cut == GUARD_WHOLE || sys_failed(sys_call2(SYS_fstat, fd, &status)))
        return WHOLE;
    if (cut == GUARD_RECEIVES)
        return (call->args[3] & (MSG_WAITALL | MSG_TRUNC | MSG_PEEK)) == 0 && is_stream(fd) ? SHORTER : WHOLE;
    if (reads && (S_ISFIFO(status.st_mode) || (S_ISSOCK(status.st_mode) && is_stream(fd))))
        return SHORTER;
    if (!S_ISBLK(status.st_mode) && !(S_ISREG(status.st_mode) && is_made_of_bytes(fd)))
        return WHOLE;
    if (reads || (sys_call2(SYS_fcntl, fd, F_GETFL) & O_APPEND) == 0)
        return PARTS;
    /* What is appended must be in one piece; but a program that appends all it has is better off than without memory. */
    return call->args[2] / PAGE_BYTES <= ghost.pager.limit ? WHOLE : APPENDED;
}

/* The first so many bytes of the buffer, as @bytes say or fewer, become the thread's hold: what it may have beside others. */
static size_t hold_part(struct guard_thread *self, uintptr_t buffer, size_t bytes)
{
    size_t limit = ghost.pager.limit;
    size_t n_others = hold_claim(&ghost.pager.holds, &self->hold, min_size(bytes / PAGE_BYTES, hold_share(limit, 0)));
    size_t part = min_size(bytes, hold_share(limit, n_others) * PAGE_BYTES);

    hold_clear(&self->hold);
    guard_hold_range(&self->hold, buffer, part);
    return part;
}

/* @number: of the calls that take an offset, or of write. */
static long transfer(struct guard_thread *self, const struct guard_call *call, long number, size_t bytes, long offset)
{
    size_t done = 0;

    while (done < bytes) {
        size_t part = hold_part(self, call->args[1] + done, bytes - done);
        long result;

        pager_hold(&ghost.pager, &self->hold);
        result = sys_call4(number, call->args[0], call->args[1] + done, part, offset + (long)done);
        hold_end(&self->hold);
        if (result < 0)
            return done > 0 ? (long)done : result;
        done += (size_t)result;
        if ((size_t)result < part)
            break;
    }
    return (long)done;
}

/* So much of @bytes as is in the file from its position on; or else a page, to see whether there is more by now. */
static size_t rest_of_file(int fd, size_t bytes)
{
    long at = sys_call3(SYS_lseek, fd, 0, SEEK_CUR);
    struct stat status;

    if (sys_failed(at) || sys_failed(sys_call2(SYS_fstat, fd, &status)) || !S_ISREG(status.st_mode))
        return bytes;
    return min_size(bytes, status.st_size > at ? (size_t)(status.st_size - at) : PAGE_BYTES);
}

/*
 * A read or write at the file's position, which others may share: the position goes on by the whole length first, so that they are
 * somewhere else, and back by what was not transferred. False: it cannot.
 */
static bool transfer_at_position(struct guard_thread *self, const struct guard_call *call, size_t bytes, long *result)
{
    bool reads = call->number == SYS_read;
    struct guard_call rest = *call;

    *result = 0;
    while (bytes > 0) {
        size_t part = reads ? rest_of_file((int)call->args[0], bytes) : bytes;
        long end = sys_call3(SYS_lseek, call->args[0], part, SEEK_CUR);
        long done;

        if (sys_failed(end))
            return *result > 0;
        done = transfer(self, &rest, reads ? SYS_pread64 : SYS_pwrite64, part, end - (long)part);
        if (done < (long)part)
            sys_call3(SYS_lseek, call->args[0], (done > 0 ? done : 0) - (long)part, SEEK_CUR);
        if (*result == 0 || done > 0)
            *result += done;
        if (done < (long)part)
            break;
        rest.args[1] += part;
        bytes -= part;
    }
    return true;
}

bool guard_may_hold(struct guard_thread *self)
{
    size_t limit = ghost.pager.limit;
    size_t n_pages = hold_pages(&self->hold);

    if (n_pages <= UNALIGNED || n_pages * FEW <= limit)
        return true;
    return n_pages <= hold_share(limit, hold_claim(&ghost.pager.holds, &self->hold, n_pages)) + UNALIGNED;
}

bool guard_make_in_parts(struct guard_thread *self, const struct guard_call *call)
{
    enum guard_cut cut = guard_row_of(call->number)->cut;
    enum way way = way_of(call, cut);
    size_t bytes = min_size(call->args[2], TRANSFER_MAX);
    long result;

    switch (way) {
    case WHOLE:
        return false;
    case SHORTER:
        call->context->uc_mcontext.gregs[REG_RDX] = (greg_t)hold_part(self, call->args[1], bytes);
        return false;
    case PARTS:
        if (cut == GUARD_READS_AT || cut == GUARD_WRITES_AT)
            result = transfer(self, call, call->number, bytes, (long)call->args[3]);
        else if (!transfer_at_position(self, call, bytes, &result))
            return false;
        break;
    default:
        result = transfer(self, call, call->number, bytes, (long)call->args[3]);
        break;
    }
    guard_return(call, result);
    return true;
}
