/*
 * compare.h - are two files, or the files of two directories, the same?
 */
#ifndef TESTS_PROGRAMS_COMPARE_H
#define TESTS_PROGRAMS_COMPARE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Compare two files byte by byte.
 * @why: says what differs when they do
 */
bool files_equal(const char *left, const char *right, char *why, size_t why_bytes);

/*
 * Compare the regular files of two directories, not of those within them: the same names, the same bytes.
 * @n_files: how many were compared
 */
bool directories_equal(const char *left, const char *right, size_t *n_files, char *why, size_t why_bytes);

/* The beginning of a text file in one line, for messages; returns @text. */
const char *file_excerpt(const char *path, char *text, size_t text_bytes);

#endif
