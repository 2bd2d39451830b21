/*
 * unit.h - Criterion, or where it cannot run the smallest thing that takes its place.
 *
 * ThreadSanitizer's shadow memory and Criterion's process arena claim the same addresses. For that one build
 * UNIT_IN_PROCESS turns Test() and the assertions into functions that run one after the other in this process, and
 * main() ends with Criterion's closing line.
 */
#ifndef TESTS_UNIT_H
#define TESTS_UNIT_H

#ifndef UNIT_IN_PROCESS
#include <criterion/criterion.h>
#else
#pragma GCC system_header /* ISO C11 wants a second argument where Criterion has none */
#ifdef __clang__
#pragma clang diagnostic ignored "-Wgnu-zero-variadic-macro-arguments" /* the same, where a macro is used */
#endif
#include <stdio.h>
#include <stdlib.h>

struct unit_test {
    const char *suite;
    const char *name;
    void (*run)(void);
    struct unit_test *next;
};
extern struct unit_test *unit_tests;

#define Test(suite_, name_, ...)                                                                                       \
    static void unit_run_##suite_##_##name_(void);                                                                     \
    __attribute__((constructor)) static void unit_add_##suite_##_##name_(void)                                         \
    {                                                                                                                  \
        static struct unit_test test = {#suite_, #name_, unit_run_##suite_##_##name_, NULL};                           \
        test.next = unit_tests;                                                                                        \
        unit_tests = &test;                                                                                            \
    }                                                                                                                  \
    static void unit_run_##suite_##_##name_(void)

#define cr_assert(condition, ...)                                                                                      \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: assertion failed: %s\n", __FILE__, __LINE__, #condition);                          \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)
#define cr_assert_eq(a, b, ...) cr_assert((a) == (b))
#define cr_assert_neq(a, b, ...) cr_assert((a) != (b))
#define cr_assert_leq(a, b, ...) cr_assert((a) <= (b))
#define cr_assert_lt(a, b, ...) cr_assert((a) < (b))
#define cr_assert_gt(a, b, ...) cr_assert((a) > (b))
#define cr_assert_geq(a, b, ...) cr_assert((a) >= (b))
#define cr_assert_not(a, ...) cr_assert(!(a))
#define cr_assert_null(a, ...) cr_assert((a) == NULL)
#define cr_assert_not_null(a, ...) cr_assert((a) != NULL)
#define cr_assert_str_eq(a, b, ...) cr_assert(strcmp((a), (b)) == 0)
#endif

#endif
