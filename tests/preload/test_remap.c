/* test_remap.c - mappings of the program's own, in scope process: they move, grow, and are what the manual says, whoever touches them. */
#include "outcome.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdlib.h>
#include <string.h>

TestSuite(remap, .init = make_dir, .fini = remove_dir);

#define N_SIGNAL_ALONE 3 /* of the probes: `segv` does without mremap(2), may refuse pieces, and a touch while it copies sees zeros */

struct remap_trial {
    char probe[64];
    char backend[32];
};

ParameterizedTestParameters(remap, mappings_are_as_without)
{
    static const char *const probes[] = {
        "mapping_in_pieces", "mapping_in_pieces_after_a_fork", "mapping_moves_while_it_is_read", "mapping_cannot_move_while_it_is_read",
        "reserve_is_marked_before_it_is_used", "protections_go_with_the_mapping",
    };
    static const char *const backends[] = {"GHOSTMEM_FAULTS=signal", "GHOSTMEM_FAULTS=segv"};
    static struct remap_trial trials[2 * sizeof probes / sizeof probes[0]];
    size_t n = 0;

    for (size_t i = 0; i < sizeof probes / sizeof probes[0]; i++)
        for (size_t k = 0; k < (i < N_SIGNAL_ALONE ? 1 : 2); k++) {
            strcpy(trials[n].probe, probes[i]);
            strcpy(trials[n++].backend, backends[k]);
        }
    return cr_make_param_array(struct remap_trial, trials, n);
}

ParameterizedTest(struct remap_trial *trial, remap, mappings_are_as_without)
{
    const char *settings[6] = {"GHOSTMEM_SCOPE=process", "GHOSTMEM_MAX_PAGES=64", trial->backend};
    struct outcome outcome;

    run_probe(trial->probe, "2", getenv("GHOSTMEM_TEST_USER"), settings, required("GHOSTMEM_LIB"), &outcome);
    cr_assert_str_eq(outcome.output, "ok\n", "%s, %s: status %#x, %s", trial->probe, trial->backend, (unsigned)outcome.status,
                     outcome.errors);
    cr_assert(says(outcome.stats, "engaged", "true"), "%s", outcome.stats);
}
