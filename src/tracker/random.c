#include "tracker/random.h"

uint64_t sp_random_next(SpRandom *random)
{
    uint64_t z = random->state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

int64_t sp_random_below(SpRandom *random, int64_t n)
{
    return (int64_t)((sp_random_next(random) >> 11) % (uint64_t)n);
}

void sp_random_permute(SpRandom *random, int64_t n, int32_t *out)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = (int32_t)i;
    for (int64_t i = n - 1; i > 0; i--) {
        const int64_t j = sp_random_below(random, i + 1);
        const int32_t swap = out[i];
        out[i] = out[j];
        out[j] = swap;
    }
}
