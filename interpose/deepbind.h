/*
 * deepbind.h - objects that were loaded with RTLD_DEEPBIND: see deepbind.c.
 */
#ifndef GHOSTMEM_INTERPOSE_DEEPBIND_H
#define GHOSTMEM_INTERPOSE_DEEPBIND_H

#include <stdatomic.h>
#include <stdbool.h>

/* An object was loaded so, and its references have not been looked at. */
extern _Atomic bool deepbind_pending;

/* Let references that lead to libc's malloc family lead to ours. Context: as malloc, no lock of ours is held. */
void deepbind_turn(void);

#endif
