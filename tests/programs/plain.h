/*
 * plain.h - what runs without GhostMem gave, kept from suite to suite of one `make check`.
 *
 * Each suite runs the same programs with another backend, and compares them with the same run without GhostMem. The first
 * suite that gets there makes that run; the others read what came of it. GHOSTMEM_TEST_PLAIN is the directory of these
 * texts: tests/check.sh makes and removes it. Without it nothing is kept, and each test makes the run itself.
 */
#ifndef TESTS_PROGRAMS_PLAIN_H
#define TESTS_PROGRAMS_PLAIN_H

#include <stdbool.h>
#include <stddef.h>

/* What was kept under @key, which is a file's name. False: nothing, or it does not fit; @text is "" then. */
bool plain_load(const char *key, char *text, size_t bytes);

/* Keeps @text under @key. Two suites may do so at once. */
void plain_keep(const char *key, const char *text);

#endif
