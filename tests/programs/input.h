/*
 * input.h - the files that the programs under test work on.
 *
 * Every file depends on its arguments alone, so a failure can be repeated. The text is made of a few thousand words:
 * it shrinks about as much as prose or logs do, so that freezing it exercises the compressor and not just the
 * same-filled pages.
 *
 * All functions end the running test with a message when the file cannot be written.
 */
#ifndef TESTS_PROGRAMS_INPUT_H
#define TESTS_PROGRAMS_INPUT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* splitmix64 (Steele, Lea, Flood 2014): one word of state, every seed is good. */
struct rng {
    uint64_t state;
};

uint64_t rng_next(struct rng *rng);

/* A number below @bound, which is not 0; the bias of the remainder does not matter here. */
size_t rng_below(struct rng *rng, size_t bound);

/* Opens @path for writing through a buffer of a MiB. */
FILE *input_create(const char *path);

/* Closes what input_create() opened; a full disk is found here at the latest. */
void input_finish(FILE *file, const char *path);

/*
 * Write at least @bytes bytes of text in lines.
 * @mean_line: bytes; lines are between half and one and a half of it, at least 24. Each starts with a random key of
 *             16 hex digits, so that sorting puts neighbours far apart.
 * @n_words:   size of the vocabulary: the smaller, the fewer places of its hash tables a compressor touches
 */
void input_text(const char *path, size_t bytes, size_t mean_line, size_t n_words, uint64_t seed);

/*
 * Write @bytes bytes: a sixth of random letters, four sixths of long runs, and a sixth of pieces of the first one in
 * random order. To unpack the last sixth, a decompressor goes back to pages that it has not touched for long.
 * @bytes: at least 64 KiB
 */
void input_echo(const char *path, size_t bytes, uint64_t seed);

/*
 * Write a C file of @n_functions functions with @n_statements statements each. Large functions make the compiler
 * keep large tables.
 */
void input_c_source(const char *path, size_t n_functions, size_t n_statements);

/*
 * Write a stream for git fast-import: @n_commits commits on the branch main, each rewriting a few lines of one of
 * @n_files files of @file_bytes bytes.
 */
void input_git_stream(const char *path, size_t n_commits, size_t n_files, size_t file_bytes);

#endif
