#include "tracker/order.h"

#include <string.h>

enum { HALF = 16 };

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Positive floats are ordered as their bits are: first their upper halves are counted, then the
 * lower ones of those with the upper half that was found. */
int64_t sp_order_count(const float *x, int64_t count, SpOrder *order)
{
    int64_t n = 0;
    memset(order, 0, sizeof *order);
    for (int64_t i = 0; i < count; i++) {
        order->bins[bits_of(x[i]) >> HALF] += x[i] > 0;
        n += x[i] > 0;
    }
    return n;
}

/* The bin in which the k-th lies; *k becomes its number there. */
static uint32_t bin_of(const uint32_t *bins, int64_t *k)
{
    uint32_t bin = 0;
    while (bin < SP_ORDER_BINS - 1 && *k > bins[bin])
        *k -= bins[bin++];
    return bin;
}

void sp_order_find(const float *x, int64_t count, const SpOrder *order, const int64_t k[2],
                   float out[2])
{
    SpOrder lower[2];
    int64_t rest[2] = {k[0], k[1]};
    const uint32_t upper[2] = {bin_of(order->bins, &rest[0]), bin_of(order->bins, &rest[1])};
    memset(lower, 0, sizeof lower);
    for (int64_t i = 0; i < count; i++)
        for (int j = 0; j < 2; j++)
            if (bits_of(x[i]) >> HALF == upper[j])
                lower[j].bins[bits_of(x[i]) & (SP_ORDER_BINS - 1)] += x[i] > 0;
    for (int j = 0; j < 2; j++) {
        const uint32_t bits = upper[j] << HALF | bin_of(lower[j].bins, &rest[j]);
        memcpy(&out[j], &bits, sizeof bits);
    }
}
