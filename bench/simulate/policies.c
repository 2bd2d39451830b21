/* policies.c - the rows of the table, in order. */
#include "bench/simulate/policies.h"

const struct policy *const policies[] = {
    &policy_belady,
    &policy_lru,
    &policy_arc,
    &policy_twoq,
    &policy_s3fifo,
    &policy_sieve,
    &policy_now,
    &policy_alike,
    &policy_fifo,
    &policy_sfifo_32,
    &policy_sfifo_8,
    &policy_sfifo_now,
    &policy_sfifo_4,
    &policy_sfifo_2,
    &policy_sfifo_adaptive,
    &policy_twoq_fifo,
    &policy_twoq_8,
    &policy_s3_0,
    &policy_s3_32,
    &policy_s3_8,
    &policy_s3_now,
    &policy_sieve_cooling,
    &policy_arc_cooling_few,
    &policy_arc_cooling,
    &policy_keep,
    &policy_duel,
    &policy_proposed,
};
const size_t n_policies = sizeof policies / sizeof *policies;
