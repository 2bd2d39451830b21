/*
 * report.h - GHOSTMEM_STATS: the report when the process ends, however it ends.
 *
 * exit() from any thread comes through our destructor, _exit() through its wrapper, and a signal that kills through a
 * handler that we install only where the program has none, and that the program never sees: the wrappers of sigaction()
 * and signal() show SIG_DFL in its place.
 *
 * Calls: ghost, stats, log, os (file, host).  Locks: none.  Memory: the stack.
 */
#ifndef GHOSTMEM_INTERPOSE_REPORT_H
#define GHOSTMEM_INTERPOSE_REPORT_H

/* @where: NULL, "1", or a path pattern; it stays valid. Installs the handlers. */
void report_open(const char *where);

/* The child makes a report of its own. */
void report_fork_child(void);

/* Once a process; later calls do nothing. Any context. */
void report_write(void);

/*
 * The process ends by signal @number when the caller returns. One line says so where that leaves a core file without the contents of frozen
 * pages. Debuggers stop here: doc/ghostmem.gdb knows this function's name. Any context.
 */
void ghostmem_crash(int number);

#endif
