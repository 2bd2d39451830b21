/* backend.c - see backend.h. */
#include "interpose/backend.h"

#include "platform/dispatch.h"
#include "platform/fault.h"

bool backend_is_possible(enum config_faults backend)
{
    switch (backend) {
    case CONFIG_FAULTS_THREAD: return fault_backend_thread_is_possible();
    case CONFIG_FAULTS_SIGNAL: return os_dispatch_is_possible() && fault_backend_signal_is_possible();
    case CONFIG_FAULTS_SEGV: return os_dispatch_is_possible() && fault_backend_segv_is_possible();
    case CONFIG_FAULTS_AUTO:
    default: return false;
    }
}

/* See `make bench`, the table of backends. */
enum config_faults backend_best(const char **reason)
{
    if (!os_dispatch_is_possible()) {
        *reason = "system calls cannot be guarded (Syscall User Dispatch, Linux 5.11, x86-64)";
        return CONFIG_FAULTS_THREAD;
    }
    if (fault_backend_signal_is_possible()) {
        *reason = "the fastest";
        return CONFIG_FAULTS_SIGNAL;
    }
    if (fault_backend_thread_is_possible() || !fault_backend_segv_is_possible()) {
        *reason = "userfaultfd cannot signal";
        return CONFIG_FAULTS_THREAD;
    }
    *reason = "userfaultfd is not permitted";
    return CONFIG_FAULTS_SEGV;
}
