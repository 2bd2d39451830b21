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

/*
 * Describe the regular files of a directory, not of those within it, and one file more: a line each, in the order of
 * their names: name, bytes, checksum. Equal descriptions: the same names, the same bytes.
 * @beside:  the file more; its line comes last
 * @n_files: how many of the directory's are described
 * Returns false when a file cannot be read or @text has too little room.
 */
bool files_describe(const char *path, const char *beside, size_t *n_files, char *text, size_t text_bytes);

/* The beginning of a text file in one line, for messages; returns @text. */
const char *file_excerpt(const char *path, char *text, size_t text_bytes);

#endif
