/*
 * view.h - ghostmem top on a terminal.
 *
 * Calls: watch, command, ncurses.  Locks: none.  Memory: ncurses'.
 */
#ifndef GHOSTMEM_TOOLS_VIEW_H
#define GHOSTMEM_TOOLS_VIEW_H

/* "1.5G", at most six characters. */
#define VIEW_SIZE_BYTES 16
const char *view_size(char text[VIEW_SIZE_BYTES], double bytes);

/* Until q, or until the terminal is gone. Returns a status for exit(). */
int view_run(double delay_s, char key);

#endif
