/*
 * draw.c - see draw.h.
 */
#include "draw.h"
#include "pattern.h"

#include <math.h>

static const double ZIPF_THETA = 0.99; /* YCSB's default */

/* Draws ranks 0..n-1 by Zipf's law: Gray et al., "Quickly generating billion-record synthetic databases", 1994, as YCSB does. */
struct zipf {
    double n, zeta_n, alpha, eta, second;
};

static void zipf_init(struct zipf *z, size_t n)
{
    double zeta_n = 0;

    for (size_t i = 1; i <= n; i++)
        zeta_n += pow((double)i, -ZIPF_THETA);
    z->n = (double)n;
    z->zeta_n = zeta_n;
    z->alpha = 1 / (1 - ZIPF_THETA);
    z->second = 1 + pow(0.5, ZIPF_THETA);
    z->eta = (1 - pow(2 / z->n, 1 - ZIPF_THETA)) / (1 - z->second / zeta_n);
}

static size_t zipf_rank(const struct zipf *z, uint64_t random)
{
    double u = (double)(random >> 11) * 0x1p-53;
    double rank;

    if (u * z->zeta_n < 1 || z->n < 3)
        return 0;
    if (u * z->zeta_n < z->second)
        return 1;
    rank = z->n * pow(z->eta * u - z->eta + 1, z->alpha);
    return rank < z->n ? (size_t)rank : (size_t)z->n - 1;
}

/* One-to-one on [0, n): hot ranks come to lie far apart, and no two on the same page. */
static size_t scatter(size_t x, size_t n)
{
    unsigned bits = 2;

    while (((size_t)1 << bits) < n)
        bits++;
    do { /* each round is a permutation of [0, 2^bits); from outside [0, n) walking on along the cycle comes back into it */
        for (int round = 0; round < 3; round++) {
            x = (x * 0x9e3779b97f4a7c15u + 0x7f4a7c15u) & (((size_t)1 << bits) - 1);
            x ^= x >> (bits / 2 + 1);
        }
    } while (x >= n);
    return x;
}

void draw_in_order(uint32_t *order, size_t n, size_t n_pages, uint64_t seed)
{
    (void)seed;
    for (size_t i = 0; i < n; i++)
        order[i] = (uint32_t)(i % n_pages);
}

void draw_uniform(uint32_t *order, size_t n, size_t n_pages, uint64_t seed)
{
    uint64_t base = pattern_mix(seed);

    for (size_t i = 0; i < n; i++)
        order[i] = (uint32_t)pattern_below(pattern_mix(base + i), n_pages);
}

void draw_zipf(uint32_t *order, size_t n, size_t n_pages, uint64_t seed)
{
    uint64_t base = pattern_mix(seed);
    struct zipf z;

    zipf_init(&z, n_pages);
    for (size_t i = 0; i < n; i++)
        order[i] = (uint32_t)scatter(zipf_rank(&z, pattern_mix(base + i)), n_pages);
}
