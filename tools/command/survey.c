/* survey.c - see survey.h. */
#include "tools/command/survey.h"

#include "tools/command/trial.h"

#include "interpose/backend.h"
#include "platform/abi.h"
#include "platform/dispatch.h"
#include "platform/fault.h"
#include "platform/host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KERNEL(major, minor) ((major) << 8 | (minor))
#define CAP_SYS_PTRACE_BIT 19 /* Source: include/uapi/linux/capability.h */

const char *const survey_backend_names[CONFIG_FAULTS_SEGV + 1] = {
    [CONFIG_FAULTS_AUTO] = "auto",
    [CONFIG_FAULTS_THREAD] = "thread",
    [CONFIG_FAULTS_SIGNAL] = "signal",
    [CONFIG_FAULTS_SEGV] = "segv",
};

/* ---- what can be tried ---- */

__attribute__((format(printf, 3, 4))) static void refuse(struct survey *survey, enum survey_check check, const char *format, ...)
{
    va_list args;

    survey->checks[check].possible = false;
    va_start(args, format);
    (void)vsnprintf(survey->checks[check].why_not, sizeof survey->checks[check].why_not, format, args);
    va_end(args);
}

static void name_check(struct survey *survey, enum survey_check check, const char *key, const char *name)
{
    survey->checks[check].key = key;
    survey->checks[check].name = name;
    survey->checks[check].possible = true;
}

/* Those of the descriptor, which is closed; 0: none, and @errno says why. */
static bool features_of(int fd, uint64_t *features)
{
    struct uffdio_api api = {.api = UFFD_API};
    bool knows = ioctl(fd, UFFDIO_API, &api) == 0;

    *features = api.features;
    (void)close(fd);
    return knows;
}

static const char *why_no_call(const struct survey *survey, int error)
{
    if (error == ENOSYS)
        return survey->filtered ? "a seccomp filter hides it, or the kernel has none" : "the kernel has none (CONFIG_USERFAULTFD)";
    return survey->filtered ? "a seccomp filter forbids it" : "the kernel or a security module forbids it";
}

static void try_uffd(struct survey *survey, uint64_t *features)
{
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

    name_check(survey, SURVEY_UFFD, "userfaultfd", "userfaultfd(2), all faults");
    if (fd >= 0) {
        (void)features_of(fd, features);
        return;
    }
    if (errno == EPERM && !survey->has_ptrace)
        refuse(survey, SURVEY_UFFD, "for root, CAP_SYS_PTRACE, or with vm.unprivileged_userfaultfd=1 (%s)", strerror(EPERM));
    else
        refuse(survey, SURVEY_UFFD, "%s (%s)", why_no_call(survey, errno), strerror(errno));
}

static void try_device(struct survey *survey, uint64_t *features)
{
    int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    int fd;

    name_check(survey, SURVEY_UFFD_DEVICE, "dev_userfaultfd", "/dev/userfaultfd");
    if (device < 0) {
        refuse(survey, SURVEY_UFFD_DEVICE, "%s", errno == ENOENT ? "there is none (Linux 6.1)" : strerror(errno));
        return;
    }
    fd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC);
    if (fd < 0)
        refuse(survey, SURVEY_UFFD_DEVICE, "its ioctl is refused (%s)", strerror(errno));
    else
        (void)features_of(fd, features);
    (void)close(device);
}

static void try_user_mode(struct survey *survey, uint64_t *features)
{
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

    name_check(survey, SURVEY_UFFD_USER, "userfaultfd_user_mode", "userfaultfd(2), user mode alone");
    if (fd < 0 && errno == EINVAL)
        refuse(survey, SURVEY_UFFD_USER, "Linux 5.11 has it");
    else if (fd < 0)
        refuse(survey, SURVEY_UFFD_USER, "%s (%s)", why_no_call(survey, errno), strerror(errno));
    else if (!features_of(fd, features) || (*features & UFFD_FEATURE_SIGBUS) == 0)
        refuse(survey, SURVEY_UFFD_USER, "it cannot signal");
}

static void try_dispatch(struct survey *survey)
{
    int error = os_dispatch_arm();

    name_check(survey, SURVEY_DISPATCH, "syscall_user_dispatch", "Syscall User Dispatch");
    if (error == 0)
        os_dispatch_disarm();
    else if (survey->kernel < KERNEL(5, 11))
        refuse(survey, SURVEY_DISPATCH, "Linux 5.11 has it");
    else if (error == -ENOSYS || error == -EINVAL)
        refuse(survey, SURVEY_DISPATCH, "this kernel has none, or another processor's (x86-64 alone)");
    else
        refuse(survey, SURVEY_DISPATCH, "prctl(2) %s (%s)", survey->filtered ? "is forbidden by a seccomp filter" : "refuses it",
            strerror(-error));
}

static void try_memory_file(struct survey *survey)
{
    int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);

    name_check(survey, SURVEY_MEMORY_FILE, "proc_self_mem", "forced writes to /proc/self/mem");
    if (fd < 0)
        refuse(survey, SURVEY_MEMORY_FILE, "it cannot be opened (%s)", strerror(errno));
    else if (!fault_backend_segv_is_possible())
        refuse(survey, SURVEY_MEMORY_FILE, "the kernel is told to refuse them (proc_mem.force_override)");
    if (fd >= 0)
        (void)close(fd);
}

static void try_move(struct survey *survey)
{
    name_check(survey, SURVEY_MOVE, "uffdio_move", "UFFDIO_MOVE");
    if ((survey->features & UFFD_FEATURE_MOVE) == 0)
        refuse(survey, SURVEY_MOVE, survey->features == 0 ? "without userfaultfd there is none" : "Linux 6.8 has it");
}

static void job_of_uffd(void *survey) { try_uffd(survey, &((struct survey *)survey)->features); }
static void job_of_device(void *survey) { try_device(survey, &((struct survey *)survey)->features); }
static void job_of_user_mode(void *survey) { try_user_mode(survey, &((struct survey *)survey)->features); }
static void job_of_dispatch(void *survey) { try_dispatch(survey); }
static void job_of_memory_file(void *survey) { try_memory_file(survey); }

static void try_in_child(struct survey *survey, enum survey_check check, void (*job)(void *survey), const char *key, const char *name)
{
    if (trial(job, survey, sizeof *survey))
        return;
    name_check(survey, check, key, name);
    refuse(survey, check, "a seccomp filter ends the program that tries it");
}

static void try_all(struct survey *survey)
{
    try_in_child(survey, SURVEY_UFFD, job_of_uffd, "userfaultfd", "userfaultfd(2), all faults");
    try_in_child(survey, SURVEY_UFFD_DEVICE, job_of_device, "dev_userfaultfd", "/dev/userfaultfd");
    try_in_child(survey, SURVEY_UFFD_USER, job_of_user_mode, "userfaultfd_user_mode", "userfaultfd(2), user mode alone");
    try_in_child(survey, SURVEY_DISPATCH, job_of_dispatch, "syscall_user_dispatch", "Syscall User Dispatch");
    try_in_child(survey, SURVEY_MEMORY_FILE, job_of_memory_file, "proc_self_mem", "forced writes to /proc/self/mem");
    try_move(survey);
    for (int backend = CONFIG_FAULTS_THREAD; backend <= CONFIG_FAULTS_SEGV; backend++)
        survey->backend_possible[backend] = survey_try_backend((enum config_faults)backend, NULL, NULL) == SURVEY_POSSIBLE;
    survey->auto_ends = survey_try_backend(CONFIG_FAULTS_AUTO, &survey->best, &survey->best_reason) == SURVEY_ENDS;
    survey->backend_possible[CONFIG_FAULTS_AUTO] = !survey->auto_ends && survey->backend_possible[survey->best];
}

struct backend_trial {
    enum config_faults backend;
    const char *reason;
    bool possible;
};

static void job_of_backend(void *object)
{
    struct backend_trial *t = object;

    if (t->backend == CONFIG_FAULTS_AUTO)
        t->backend = backend_best(&t->reason);
    t->possible = backend_is_possible(t->backend);
}

enum survey_answer survey_try_backend(enum config_faults backend, enum config_faults *taken, const char **reason)
{
    struct backend_trial t = {.backend = backend};

    if (!trial(job_of_backend, &t, sizeof t))
        return SURVEY_ENDS;
    if (taken != NULL)
        *taken = t.backend;
    if (reason != NULL)
        *reason = t.reason;
    return t.possible ? SURVEY_POSSIBLE : SURVEY_NOT_POSSIBLE;
}

/* ---- what can be read ---- */

/* The number behind @key at the start of a line of a file in /proc; 0: none. */
static uint64_t number_in(const char *path, const char *key, int base)
{
    FILE *file = fopen(path, "re");
    char line[256];
    uint64_t value = 0;

    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, key, strlen(key)) == 0)
            value = strtoull(line + strlen(key), NULL, base);
    if (file != NULL)
        (void)fclose(file);
    return value;
}

static const char *find_container(bool filtered)
{
    static char name[64];
    FILE *file;

    if (getenv("KUBERNETES_SERVICE_HOST") != NULL)
        return "kubernetes";
    if (access("/run/.containerenv", F_OK) == 0)
        return "podman";
    if (access("/.dockerenv", F_OK) == 0)
        return "docker";
    file = fopen("/run/systemd/container", "re"); /* Source: systemd's container interface */
    if (file != NULL) {
        if (fgets(name, sizeof name, file) != NULL)
            name[strcspn(name, "\n")] = '\0';
        (void)fclose(file);
        if (name[0] != '\0')
            return name;
    }
    /* Everything in a user's session may have it; a filter comes from a service. Source: systemd.exec(5). */
    return filtered && getenv("INVOCATION_ID") != NULL ? "systemd service" : NULL;
}

static void read_all(struct survey *survey)
{
    unsigned major = 0;
    unsigned minor = 0;
    struct config defaults;

    (void)uname(&survey->system);
    (void)sscanf(survey->system.release, "%u.%u", &major, &minor);
    survey->kernel = KERNEL(major, minor);
    survey->ram_bytes = os_ram_bytes();
    survey->available_bytes = number_in("/proc/meminfo", "MemAvailable:", 10) * 1024;
    survey->usable_bytes = os_usable_ram_bytes();
    survey->cgroup_limit_bytes = os_cgroup_limit_bytes(&survey->cgroup_version);
    if (survey->cgroup_limit_bytes >= survey->ram_bytes)
        survey->cgroup_version = 0;
    config_read(&defaults, NULL);
    survey->default_limit_bytes = config_limit_pages(&defaults) * PAGE_BYTES;
    survey->address_space_bytes = os_address_space_bytes();
    survey->user = (unsigned)geteuid();
    survey->filtered = number_in("/proc/self/status", "Seccomp:", 10) != 0;
    survey->has_ptrace = (number_in("/proc/self/status", "CapEff:", 16) >> CAP_SYS_PTRACE_BIT & 1) != 0;
    survey->container = find_container(survey->filtered);
}

void survey_make(struct survey *survey, const char *swap)
{
    memset(survey, 0, sizeof *survey);
    read_all(survey);
    try_all(survey);
    survey->swap = swap;
    swapplace_look(swap, &survey->place);
}

/* ---- advice ---- */

static bool has(const struct survey *survey, enum survey_check check)
{
    return survey->checks[check].possible;
}

static bool is_container(const struct survey *survey, const char *kind)
{
    return survey->container != NULL && strcmp(survey->container, kind) == 0;
}

/* How to have what a seccomp filter forbids of signal and segv allowed. */
static const char *advise_filter(const struct survey *survey, char text[SURVEY_ADVICE_BYTES])
{
    const char *user_mode = has(survey, SURVEY_UFFD_USER) ? "" : "userfaultfd";
    const char *dispatch = has(survey, SURVEY_DISPATCH) ? "" : "prctl";
    const char *between = user_mode[0] != '\0' && dispatch[0] != '\0' ? " " : "";
    const char *what = has(survey, SURVEY_DISPATCH) ? "the backend signal, which is faster," : "the backends signal and segv";
    char calls[64];

    if (!survey->filtered || survey->kernel < KERNEL(5, 11) || (user_mode[0] == '\0' && dispatch[0] == '\0'))
        return NULL;
    (void)snprintf(calls, sizeof calls, "%s%s%s", user_mode, between, dispatch);
    if (is_container(survey, "docker") || is_container(survey, "podman"))
        (void)snprintf(text, SURVEY_ADVICE_BYTES,
                       "%s run --security-opt seccomp=profile.json ...    makes %s possible; profile.json: the default one that allows "
                           "%s too "
                       "(to try: seccomp=unconfined)", survey->container, what, calls);
    else if (is_container(survey, "kubernetes"))
        (void)snprintf(text, SURVEY_ADVICE_BYTES,
                       "securityContext: {seccompProfile: {type: Localhost, localhostProfile: profile.json}}    makes %s possible; "
                           "profile.json: one "
                       "that allows %s (to try: type: Unconfined)", what, calls);
    else if (is_container(survey, "systemd service"))
        (void)snprintf(text, SURVEY_ADVICE_BYTES, "systemctl edit UNIT, and there [Service] SystemCallFilter=%s    makes %s possible",
            calls, what);
    else
        (void)snprintf(text, SURVEY_ADVICE_BYTES, "a seccomp filter that allows %s makes %s possible", calls, what);
    return text;
}

static const char *advise_kernel(const struct survey *survey, char text[SURVEY_ADVICE_BYTES])
{
    (void)text;
    if (survey->filtered && survey->kernel >= KERNEL(5, 11))
        return NULL; /* it cannot be told what is behind the filter */
    if (survey->kernel < KERNEL(5, 11))
        return "Linux 5.11 or newer makes the backends signal and segv possible";
    if (!has(survey, SURVEY_DISPATCH))
        return "a kernel with Syscall User Dispatch (x86-64 alone) makes the backends signal and segv possible";
    if (!has(survey, SURVEY_UFFD_USER))
        return "a kernel with CONFIG_USERFAULTFD, and no security module that forbids it, makes the backend signal possible";
    return survey->kernel < KERNEL(6, 8) ? "Linux 6.8 or newer is faster (UFFDIO_MOVE)" : NULL;
}

/* Of use where nothing else is possible, and to programs with io_uring or Linux AIO. */
static const char *advise_thread(const struct survey *survey, char text[SURVEY_ADVICE_BYTES])
{
    const char *how = "sudo sysctl vm.unprivileged_userfaultfd=1";

    if (survey->backend_possible[CONFIG_FAULTS_THREAD] || survey->kernel < KERNEL(5, 7))
        return NULL;
    if (survey->user == 0 && (is_container(survey, "docker") || is_container(survey, "podman")))
        how = is_container(survey, "docker") ? "docker run --cap-add SYS_PTRACE ..." : "podman run --cap-add SYS_PTRACE ...";
    else if (survey->filtered && !has(survey, SURVEY_UFFD_USER))
        return NULL; /* what allows userfaultfd is said already */
    else if (survey->container != NULL)
        how = "sudo sysctl vm.unprivileged_userfaultfd=1    (outside of the container)";
    (void)snprintf(text, SURVEY_ADVICE_BYTES, "%s    makes the backend thread possible%s", how,
                   survey->backend_possible[CONFIG_FAULTS_AUTO] ? ", for programs with io_uring or Linux AIO" : "");
    return text;
}

static const char *advise_segv(const struct survey *survey, char text[SURVEY_ADVICE_BYTES])
{
    (void)text;
    if (has(survey, SURVEY_MEMORY_FILE) || survey->backend_possible[CONFIG_FAULTS_SIGNAL])
        return NULL;
    return "without proc_mem.force_override=never or =ptrace on the kernel's command line segv is possible";
}

static const char *advise_faults(const struct survey *survey, char text[SURVEY_ADVICE_BYTES])
{
    (void)text;
    return survey->auto_ends && survey->backend_possible[CONFIG_FAULTS_SEGV] ? "ghostmem run --faults=segv ...    works as it is "
        "here" : NULL;
}

static const char *advise_swap(const struct survey *survey, char text[SURVEY_ADVICE_BYTES])
{
    if (survey->place.why_not == NULL && !survey->place.in_ram && !survey->place.over_network)
        return NULL;
    (void)snprintf(text, SURVEY_ADVICE_BYTES, "for a swap file choose a directory on a disk of this machine: --swap=DIRECTORY");
    return text;
}

const char *survey_advice(const struct survey *survey, unsigned number, char text[SURVEY_ADVICE_BYTES])
{
    static const char *(*const advisers[])(const struct survey *, char *) = {
        advise_faults, advise_filter, advise_kernel, advise_segv, advise_thread, advise_swap,
    };

    for (size_t i = 0; i < sizeof advisers / sizeof advisers[0]; i++) {
        const char *advice = advisers[i](survey, text);

        if (advice != NULL && number-- == 0)
            return advice;
    }
    return NULL;
}
