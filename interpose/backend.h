/*
 * backend.h - which backends are possible here, and which one auto takes. ghostmem(1) asks the same.
 *
 * Calls: fault, dispatch.  Locks: none.  Memory: none.
 */
#ifndef GHOSTMEM_INTERPOSE_BACKEND_H
#define GHOSTMEM_INTERPOSE_BACKEND_H

#include "core/config.h"

/* @backend: not auto. */
bool backend_is_possible(enum config_faults backend);

/* The fastest that is permitted and complete. *@reason: why, a constant string. `thread` where none is possible. */
enum config_faults backend_best(const char **reason);

#endif
