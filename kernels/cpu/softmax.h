/*
 * Softmax over keys that come in tiles, with a running maximum and sum (Milakov and Gimelshein,
 * "Online normalizer calculation for softmax", 2018). Shared by the attentions.
 */
#ifndef SP_KERNELS_CPU_SOFTMAX_H
#define SP_KERNELS_CPU_SOFTMAX_H

#include <math.h>

#include "kernels/cpu/vec.h"

/* s := exp(s - largest), returns the sum. */
static inline float softmax_exp(float *s, int64_t n, float largest)
{
    vf sum = {0};
    int64_t i = 0;
    for (; i + SP_VL <= n; i += SP_VL) {
        const vf e = v_exp(v_load(s + i) - v_set(largest));
        v_store(s + i, e);
        sum += e;
    }
    if (i < n) {
        const vf e = v_exp(v_load_n(s + i, n - i) - v_set(largest));
        v_store_n(s + i, e, n - i);
        sum += v_select(v_first(n - i), e, (vf){0});
    }
    return v_sum(sum);
}

static inline float softmax_max(const float *s, int64_t n)
{
    vf max = v_set(-INFINITY);
    int64_t i = 0;
    for (; i + SP_VL <= n; i += SP_VL)
        max = v_max(v_load(s + i), max);
    if (i < n)
        max = v_select(v_first(n - i), v_max(v_load_n(s + i, n - i), max), max);
    return v_largest(max);
}

/* The softmax of all scores of a query. */
static inline void softmax_whole(float *s, int64_t n)
{
    const vf share = v_set(1 / softmax_exp(s, n, softmax_max(s, n)));
    for (int64_t i = 0; i < n; i += SP_VL) {
        const int64_t count = n - i < SP_VL ? n - i : SP_VL;
        v_store_n(s + i, share * v_load_n(s + i, count), count);
    }
}

/* One query's next tile of scores, which become exponentials: *row_max and *row_sum are its running
 * maximum and sum (-INFINITY and 0 before the first tile), acc [head] its running weighted sum. */
static inline void online_softmax(float *scores, int64_t keys, float *row_max, float *row_sum,
                                  float *acc, int64_t head)
{
    const float largest = softmax_max(scores, keys);
    if (largest > *row_max) {
        const bool first = *row_max == -INFINITY;
        const float shrink = first ? 0 : expf(*row_max - largest);
        *row_sum *= shrink;
        for (int64_t e = 0; !first && e < head; e++)
            acc[e] *= shrink;
        *row_max = largest;
    }
    *row_sum += softmax_exp(scores, keys, *row_max);
}

#endif
