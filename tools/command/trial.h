/*
 * trial.h - try something that may end the process: a seccomp filter may kill who makes a call (as SystemCallFilter= of systemd does).
 *
 * Calls: libc.  Locks: none.  Memory: a shared mapping for each object.
 */
#ifndef GHOSTMEM_TOOLS_TRIAL_H
#define GHOSTMEM_TOOLS_TRIAL_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Call @job(@object) in a child that is waited for; what it has done to the @bytes at @object is done here too, where it came to its
 * end. False: something ended it before. Where there is no child to be had @job is called here.
 */
bool trial(void (*job)(void *object), void *object, size_t bytes);

#endif
