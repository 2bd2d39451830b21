/* unit_main.c - main() of the builds without Criterion: see unit.h. With an argument: the tests that contain it. */
#include "tests/unit/unit.h"

#include <string.h>

struct unit_test *unit_tests;

int main(int argc, char **argv)
{
    int n = 0;

    for (struct unit_test *test = unit_tests; test != NULL; test = test->next) {
        if (argc > 1 && strstr(test->name, argv[1]) == NULL)
            continue;
        fprintf(stderr, "%s: %s\n", test->suite, test->name);
        test->run(); /* a failed assertion ends the process */
        n++;
    }
    printf("[====] Synthesis: Tested: %d | Passing: %d | Failing: 0 | Crashing: 0\n", n, n);
    return 0;
}
