/*
 * helper_forbid.c - run a program to which some calls are refused, as in a container or a service with a seccomp profile.
 *
 * helper_forbid userfaultfd|dispatch|both|userfaultfd! PROGRAM [ARGUMENT...]
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DISPATCH 59 /* Source: include/uapi/linux/prctl.h, PR_SET_SYSCALL_USER_DISPATCH */
#define NEVER 0xffffu

int main(int argc, char **argv)
{
    unsigned userfaultfd = argc > 2 && strcmp(argv[1], "dispatch") != 0 ? SYS_userfaultfd : NEVER;
    unsigned dispatch = argc > 2 && strncmp(argv[1], "userfaultfd", strlen("userfaultfd")) != 0 ? DISPATCH : NEVER;
    /* With ! who calls is killed. */
    unsigned refusal = argc > 2 && strchr(argv[1], '!') != NULL ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_ERRNO | EPERM;
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, userfaultfd, 4, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prctl, 0, 2),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, dispatch, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, refusal),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof filter[0], .filter = filter};

    if (argc < 3 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        perror("helper_forbid");
        return 1;
    }
    execv(argv[2], argv + 2);
    perror(argv[2]);
    return 127;
}
