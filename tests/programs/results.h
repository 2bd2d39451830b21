/*
 * results.h - what became of each trial, one line each in a file: Criterion prints the name of a parametrized test, not
 * its parameters.
 *
 * The lines are what Criterion's own counts at the end of the run say, so a trial that failed, crashed or timed out
 * cannot be a line that says "passed". Read by tests/matrix.awk.
 */
#ifndef TESTS_PROGRAMS_RESULTS_H
#define TESTS_PROGRAMS_RESULTS_H

/* In the beginning of a parametrized test: what this one of its trials is called, and its limit. */
void results_name(const char *trial, const char *limit);

#endif
