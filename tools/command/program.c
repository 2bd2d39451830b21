/* program.c - see program.h. */
#include "tools/command/program.h"

#include "tools/command/command.h"
#include "tools/command/elf.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#define MAX_INTERPRETERS 5 /* Source: fs/exec.c: a script's interpreter may be a script, and so on */
#define FIRST_LINE_BYTES 256 /* Source: include/uapi/linux/binfmts.h, BINPRM_BUF_SIZE */

__attribute__((format(printf, 3, 4))) static int say(char why[PROGRAM_WHY_BYTES], int status, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(why, PROGRAM_WHY_BYTES, format, args);
    va_end(args);
    return status;
}

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

/* ---- where it is ---- */

/* 0, or the errno that execve(2) would give. */
static int may_execute(const char *path)
{
    struct stat status;

    if (stat(path, &status) != 0)
        return errno;
    if (!S_ISREG(status.st_mode))
        return EACCES;
    return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0 ? 0 : errno;
}

static int say_error(const char *name, int error, char why[PROGRAM_WHY_BYTES])
{
    struct stat status;

    if (error == EACCES && stat(name, &status) == 0 && S_ISDIR(status.st_mode))
        return say(why, COMMAND_NO_EXEC, "%s: a directory", name);
    return say(why, error == ENOENT ? COMMAND_NO_PROGRAM : COMMAND_NO_EXEC, "%s: %s", name, strerror(error));
}

int program_find(const char *name, char path[PATH_MAX], char why[PROGRAM_WHY_BYTES])
{
    const char *list = getenv("PATH");
    int error = ENOENT;

    if (strlen(name) >= PATH_MAX)
        return say_error("the program", ENAMETOOLONG, why);
    if (strchr(name, '/') != NULL || name[0] == '\0') {
        strcpy(path, name);
        error = name[0] == '\0' ? ENOENT : may_execute(name);
        return error == 0 ? 0 : say_error(name[0] == '\0' ? "''" : name, error, why);
    }
    for (list = list != NULL ? list : "/bin:/usr/bin"; list != NULL; list = strchr(list, ':') != NULL ? strchr(list, ':') + 1 : NULL) {
        int length = (int)strcspn(list, ":");
        int found;

        /* An empty part is the working directory. */
        if (snprintf(path, PATH_MAX, "%.*s%s%s", length, list, length > 0 ? "/" : "./", name) >= PATH_MAX)
            continue;
        found = may_execute(path);
        if (found == 0)
            return 0;
        if (found != ENOENT && found != ENOTDIR)
            error = found; /* as execvp(3): something is there that may not be run */
    }
    return say_error(name, error, why);
}

/* ---- what it is ---- */

/* Will the program have other rights than we? Then the loader ignores LD_PRELOAD. Source: ld.so(8), execve(2). */
static const char *other_rights(int fd)
{
    struct statvfs system;
    struct stat status;

    if (fstat(fd, &status) != 0 || (fstatvfs(fd, &system) == 0 && (system.f_flag & ST_NOSUID) != 0) ||
        prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
        return NULL;
    if ((status.st_mode & S_ISUID) != 0 && status.st_uid != getuid())
        return "set-user-ID";
    if ((status.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && status.st_gid != getgid())
        return "set-group-ID";
    /* Root has them all already. */
    return getuid() != 0 && fgetxattr(fd, "security.capability", NULL, 0) > 0 ? "a program with capabilities of its own" : NULL;
}

static bool is_same_file(const char *a, const char *b)
{
    struct stat status_a;
    struct stat status_b;

    return stat(a, &status_a) == 0 && stat(b, &status_b) == 0 && status_a.st_dev == status_b.st_dev && status_a.st_ino == status_b.st_ino;
}

static int read_file(const char *path, struct elf *elf)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int error;

    if (fd < 0)
        return -1;
    error = elf_read(fd, elf);
    (void)close(fd);
    return error;
}

/* Of the loader and the library that it is to load; both are as this command's own. */
static int judge_loader(const char *path, const struct elf *elf, const char *library, char why[PROGRAM_WHY_BYTES])
{
    struct elf ours;
    struct elf self;

    if (read_file(library, &ours) == 0 && (elf->class != ours.class || elf->data != ours.data || elf->machine != ours.machine)) {
        const char *theirs = elf_machine_name(elf->machine);
        const char *mine = elf_machine_name(ours.machine);

        return say(why, COMMAND_REFUSED, "%s: a program for another architecture (%s, %s); the library is for %s", path,
                   theirs != NULL ? theirs : "an unknown one", elf->class == ELFCLASS32 ? "32 bits" : "64 bits",
                   mine != NULL ? mine : "another");
    }
    if (!elf->is_read || read_file("/proc/self/exe", &self) != 0 || is_same_file(path, self.interpreter))
        return 0;
    if (elf->interpreter[0] == '\0')
        return say(why, COMMAND_REFUSED, "%s: a static binary: no loader runs that could bring GhostMem in", path);
    if (strcmp(base_of(elf->interpreter), base_of(self.interpreter)) != 0)
        return say(why, COMMAND_REFUSED, "%s: made for another C library (its loader is %s)", path, elf->interpreter);
    return 0;
}

static int judge_elf(const char *path, int fd, const struct elf *elf, const char *library, bool whole_process, char why[PROGRAM_WHY_BYTES])
{
    const char *rights = other_rights(fd);
    int status;

    if (rights != NULL)
        return say(why, COMMAND_REFUSED, "%s: %s: the loader brings nothing into such programs", path, rights);
    status = judge_loader(path, elf, library, why);
    if (status != 0 || whole_process)
        return status;
    if (elf->is_go)
        return say(why, COMMAND_REFUSED, "%s: a Go program: its memory does not come from malloc", path);
    if (elf->is_java)
        return say(why, COMMAND_REFUSED, "%s: Java: its heap does not come from malloc (java -Xmx limits that)", path);
    if (elf->has_malloc)
        return say(why, COMMAND_REFUSED, "%s: it has an allocator of its own: its memory does not come from malloc of a library", path);
    return 0;
}

/* ---- scripts ---- */

static int judge(const char *path, const char *library, bool whole_process, unsigned depth, char why[PROGRAM_WHY_BYTES]);

/* What env(1) starts; its options and assignments are left to it. */
static int judge_behind_env(const char *argument, const char *library, bool whole_process, unsigned depth, char why[PROGRAM_WHY_BYTES])
{
    char name[FIRST_LINE_BYTES];
    char path[PATH_MAX];

    if (strncmp(argument, "-S", 2) == 0)
        argument += 2 + strspn(argument + 2, " \t");
    (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(argument, " \t"), argument);
    if (name[0] == '\0' || name[0] == '-' || strchr(name, '=') != NULL || program_find(name, path, why) != 0)
        return 0;
    return judge(path, library, whole_process, depth, why);
}

/* @line: behind "#!". Source: execve(2), "Interpreter scripts". */
static int judge_script(const char *path, char *line, const char *library, bool whole_process, unsigned depth, char why[PROGRAM_WHY_BYTES])
{
    char inner[PROGRAM_WHY_BYTES];
    char *interpreter = line + strspn(line, " \t");
    char *argument;
    int status;

    interpreter[strcspn(interpreter, "\n")] = '\0';
    argument = interpreter + strcspn(interpreter, " \t");
    if (*argument != '\0')
        *argument++ = '\0';
    argument += strspn(argument, " \t");
    if (interpreter[0] == '\0')
        return 0;
    status = may_execute(interpreter);
    if (status != 0) {
        status = say_error(interpreter, status, inner);
    } else {
        status = judge(interpreter, library, whole_process, depth, inner);
        if (status == 0 && strcmp(base_of(interpreter), "env") == 0)
            status = judge_behind_env(argument, library, whole_process, depth, inner);
    }
    return status == 0 ? 0 : say(why, status, "%.*s: its interpreter %s", PATH_MAX, path, inner);
}

static int judge(const char *path, const char *library, bool whole_process, unsigned depth, char why[PROGRAM_WHY_BYTES])
{
    char line[FIRST_LINE_BYTES] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct elf elf;
    int status = 0;

    if (fd < 0)
        return 0;
    if (elf_read(fd, &elf) == 0)
        status = judge_elf(path, fd, &elf, library, whole_process, why);
    else if (depth < MAX_INTERPRETERS && pread(fd, line, sizeof line - 1, 0) > 0 && strncmp(line, "#!", 2) == 0)
        status = judge_script(path, line + 2, library, whole_process, depth + 1, why);
    (void)close(fd);
    return status;
}

int program_judge(const char *path, const char *library, bool whole_process, char why[PROGRAM_WHY_BYTES])
{
    return judge(path, library, whole_process, 0, why);
}
