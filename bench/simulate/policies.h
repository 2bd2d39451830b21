/* policies.h - all of them. See machine.h for the contract. */
#ifndef BENCH_SIMULATE_POLICIES_H
#define BENCH_SIMULATE_POLICIES_H

#include "bench/simulate/machine.h"

/* Bounds: they see every access, the first one those to come too. */
extern const struct policy policy_belady;
extern const struct policy policy_lru;
extern const struct policy policy_arc;
extern const struct policy policy_twoq;
extern const struct policy policy_s3fifo;
extern const struct policy policy_sieve;

/* Candidates. */
extern const struct policy policy_alike;
extern const struct policy policy_now;
extern const struct policy policy_fifo;
extern const struct policy policy_sfifo_32;
extern const struct policy policy_sfifo_8;
extern const struct policy policy_sfifo_now;
extern const struct policy policy_sfifo_4;
extern const struct policy policy_sfifo_2;
extern const struct policy policy_sfifo_adaptive;
extern const struct policy policy_twoq_fifo;
extern const struct policy policy_twoq_8;
extern const struct policy policy_s3_0;
extern const struct policy policy_s3_32;
extern const struct policy policy_s3_8;
extern const struct policy policy_s3_now;
extern const struct policy policy_proposed;
extern const struct policy policy_keep;
extern const struct policy policy_sieve_cooling;
extern const struct policy policy_arc_cooling;
extern const struct policy policy_arc_cooling_few;
extern const struct policy policy_duel;

extern const struct policy *const policies[];
extern const size_t n_policies;

#endif
