/*
 * program.h - the program that is to run: where it is, and whether GhostMem can be loaded into it and reach its memory.
 *
 * Nothing is run or changed. What may not be read is not judged: the kernel will say what it thinks.
 * Calls: elf, command.  Locks: none.  Memory: malloc, given back.
 */
#ifndef GHOSTMEM_TOOLS_PROGRAM_H
#define GHOSTMEM_TOOLS_PROGRAM_H

#include <limits.h>
#include <stdbool.h>

#define PROGRAM_WHY_BYTES (2 * PATH_MAX)

/*
 * What execvp(3) would run for @name: a path as it is, else the first on PATH that may be executed. 0, COMMAND_NO_EXEC or
 * COMMAND_NO_PROGRAM; then @why says in a line what is wrong.
 */
int program_find(const char *name, char path[PATH_MAX], char why[PROGRAM_WHY_BYTES]);

/*
 * Does GhostMem's @library do anything for the program at @path? Of a script its interpreter is judged, and behind env(1) what that
 * starts. 0; COMMAND_REFUSED: it would run without GhostMem; COMMAND_NO_EXEC or COMMAND_NO_PROGRAM: the interpreter cannot be run.
 * @whole_process: the limit is to be on all memory of the program, wherever it has that from. @why: a line.
 */
int program_judge(const char *path, const char *library, bool whole_process, char why[PROGRAM_WHY_BYTES]);

#endif
