/* unit_main.c - main() of the builds without Criterion: see unit.h. */
#include "tests/unit/unit.h"

struct unit_test *unit_tests;

int main(void)
{
    int n = 0;

    for (struct unit_test *test = unit_tests; test != NULL; test = test->next, n++)
    {
        fprintf(stderr, "%s: %s\n", test->suite, test->name);
        test->run(); /* a failed assertion ends the process */
    }
    printf("[====] Synthesis: Tested: %d | Passing: %d | Failing: 0 | Crashing: 0\n", n, n);
    return 0;
}
