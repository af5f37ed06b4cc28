#include "tracker/order.h"

#include <string.h>

enum { HALF = 16, BINS = 1 << HALF };

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

int64_t sp_count_positive(const float *x, int64_t count)
{
    int64_t n = 0;
    for (int64_t i = 0; i < count; i++)
        n += x[i] > 0;
    return n;
}

/* The bin in which the k-th lies; *k becomes its number there. */
static uint32_t bin_of(const uint32_t *bins, int64_t *k)
{
    uint32_t bin = 0;
    while (bin < BINS - 1 && *k > bins[bin])
        *k -= bins[bin++];
    return bin;
}

/* Positive floats are ordered as their bits are: first their upper halves are counted, then the lower
 * ones of those with the upper half that was found. */
void sp_kth_positive(const float *x, int64_t count, const int64_t k[2], float out[2])
{
    uint32_t bins[BINS] = {0}, upper[2];
    int64_t rest[2] = {k[0], k[1]};
    for (int64_t i = 0; i < count; i++)
        bins[bits_of(x[i]) >> HALF] += x[i] > 0;
    for (int j = 0; j < 2; j++)
        upper[j] = bin_of(bins, &rest[j]);
    for (int j = 0; j < 2; j++) {
        memset(bins, 0, sizeof bins);
        for (int64_t i = 0; i < count; i++)
            if (bits_of(x[i]) >> HALF == upper[j])
                bins[bits_of(x[i]) & (BINS - 1)] += x[i] > 0;
        const uint32_t bits = upper[j] << HALF | bin_of(bins, &rest[j]);
        memcpy(&out[j], &bits, sizeof bits);
    }
}
