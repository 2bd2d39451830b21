/* test_inplace.c - memory calls on what is managed where the program has it: as plain Linux, with each backend that follows them. */
#include "outcome.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(inplace, .init = make_dir, .fini = remove_dir);

static struct outcome plain;
static struct outcome ghost;

static void as_plain(const char *probe, const char *megabytes, const char *limit, const char *faults)
{
    const char *none[6] = {NULL};
    const char *settings[6] = {limit, "GHOSTMEM_SCOPE=process", faults};
    const char *user = getuid() == 0 ? "--reuid=65534" : NULL;

    run_probe(probe, megabytes, user, none, NULL, &plain);
    run_probe(probe, megabytes, user, settings, required("GHOSTMEM_LIB"), &ghost);
    cr_assert_eq(plain.status, 0, "plain: %s", plain.errors);
    cr_assert_eq(ghost.status, 0, "%s: status %#x, %s", faults, (unsigned)ghost.status, ghost.errors);
    cr_assert_str_eq(ghost.output, plain.output, "%s: %s\nplain: %s", faults, ghost.output, plain.output);
    cr_assert(says(ghost.stats, "engaged", "true"), "%s: %s", faults, ghost.stats);
}

Test(inplace, memory_calls_do_what_they_do_without_us)
{
    as_plain("memory_calls_in_place", "6", "GHOSTMEM_MAX_PAGES=64", "GHOSTMEM_FAULTS=signal");
    as_plain("memory_calls_in_place", "6", "GHOSTMEM_MAX_PAGES=64", "GHOSTMEM_FAULTS=segv");
}

Test(inplace, pages_that_come_one_by_one_do_not_use_up_the_mappings)
{
    as_plain("pages_come_one_by_one", "16", "GHOSTMEM_MAX_PAGES=1024", "GHOSTMEM_FAULTS=segv");
}
