/* swapplace.c - see swapplace.h. */
#include "tools/command/swapplace.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Source: statfs(2), and the kernel's sources, for those that <linux/magic.h> has not everywhere. */
#define XFS_MAGIC 0x58465342ul
#define ZFS_MAGIC 0x2fc12fc1ul
#define BCACHEFS_MAGIC 0xca451a4eul
#define CIFS_MAGIC 0xff534d42ul
#define SMB2_MAGIC 0xfe534d42ul
#define CEPH_MAGIC 0x00c36400ul
#define FUSE_MAGIC 0x65735546ul

static const struct {
    unsigned long magic;
    const char *name;
} systems[] = {
    {TMPFS_MAGIC, "tmpfs"},      {RAMFS_MAGIC, "ramfs"},    {EXT4_SUPER_MAGIC, "ext2/3/4"}, {BTRFS_SUPER_MAGIC, "btrfs"},
    {XFS_MAGIC, "xfs"},         {ZFS_MAGIC, "zfs"},       {F2FS_SUPER_MAGIC, "f2fs"},     {OVERLAYFS_SUPER_MAGIC, "overlay"},
    {NFS_SUPER_MAGIC, "nfs"},    {CIFS_MAGIC, "cifs"},      {SMB2_MAGIC, "smb"},     {CEPH_MAGIC, "ceph"},
    {FUSE_MAGIC, "fuse"},  {V9FS_MAGIC, "9p"},        {MSDOS_SUPER_MAGIC, "vfat"},    {BCACHEFS_MAGIC, "bcachefs"},
};

static void look_at_system(const char *directory, struct swapplace *place)
{
    struct statfs system;
    unsigned long magic;

    if (statfs(directory, &system) != 0)
        return;
    place->file_system = "a file system";
    magic = (unsigned long)system.f_type;
    place->free_bytes = (uint64_t)system.f_bavail * (uint64_t)system.f_bsize;
    for (size_t i = 0; i < sizeof systems / sizeof systems[0]; i++)
        if (systems[i].magic == magic)
            place->file_system = systems[i].name;
    place->in_ram = magic == TMPFS_MAGIC || magic == RAMFS_MAGIC;
    place->over_network = magic == NFS_SUPER_MAGIC || magic == CIFS_MAGIC || magic == SMB2_MAGIC || magic == CEPH_MAGIC;
}

static const char *why_not_there(const char *path, const char *directory)
{
    struct stat status;

    if (stat(directory, &status) != 0)
        return errno == ENOENT ? "no such directory" : strerror(errno);
    if (path != directory && lstat(path, &status) == 0) {
        if (S_ISLNK(status.st_mode))
            return "a symbolic link";
        if (!S_ISREG(status.st_mode))
            return "neither a directory nor a file";
        if (status.st_size > 0)
            return "a file that is not empty";
    }
    if (faccessat(AT_FDCWD, directory, W_OK | X_OK, AT_EACCESS) != 0)
        return errno == EROFS ? "a file system that is read only" : "a directory that you may not write to";
    return NULL;
}

void swapplace_look(const char *path, struct swapplace *place)
{
    char parent[PATH_MAX] = ".";
    const char *slash = strrchr(path, '/');
    const char *directory = path;
    struct stat status;

    *place = (struct swapplace){0};
    if (strlen(path) >= sizeof parent) {
        place->why_not = strerror(ENAMETOOLONG);
        return;
    }
    if (stat(path, &status) != 0 || !S_ISDIR(status.st_mode)) {
        if (slash != NULL)
            (void)snprintf(parent, sizeof parent, "%.*s", (int)(slash - path) + 1, path);
        directory = parent;
    }
    place->why_not = why_not_there(path, directory);
    look_at_system(directory, place);
}
