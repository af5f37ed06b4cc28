/*
 * The tracker's one source of randomness: a splitmix64 stream (Steele, Lea and Flood, "Fast
 * splittable pseudorandom number generators", 2014), src/tracker/README.md, "Random numbers".
 */
#ifndef SP_TRACKER_RANDOM_H
#define SP_TRACKER_RANDOM_H

#include <stdint.h>

typedef struct SpRandom {
    uint64_t state; /* at first the seed */
} SpRandom;

uint64_t sp_random_next(SpRandom *random);

/* A number of 0 .. n - 1. */
int64_t sp_random_below(SpRandom *random, int64_t n);

/* A Fisher-Yates permutation of 0 .. n - 1. */
void sp_random_permute(SpRandom *random, int64_t n, int32_t *out);

#endif
