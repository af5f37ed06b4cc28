/*
 * Softmax over keys that come in tiles, with a running maximum and sum (Milakov and Gimelshein,
 * "Online normalizer calculation for softmax", 2018). Shared by the attentions.
 */
#ifndef SP_KERNELS_CPU_SOFTMAX_H
#define SP_KERNELS_CPU_SOFTMAX_H

#include <math.h>

#include "kernels/cpu/vec.h"

/* s := exp(s - largest), returns the sum. */
static inline float softmax_exponentials(float *s, int64_t n, float largest)
{
    vf sum = {0};
    int64_t i = 0;
    for (; i + SP_VL <= n; i += SP_VL) {
        const vf e = v_exp(v_load(s + i) - v_set(largest));
        v_store(s + i, e);
        sum += e;
    }
    float total = v_sum(sum);
    if (i < n) {
        float e[SP_VL];
        v_store(e, v_exp(v_load_n(s + i, n - i) - v_set(largest)));
        for (int64_t j = i; j < n; j++) {
            s[j] = e[j - i];
            total += s[j];
        }
    }
    return total;
}

static inline float softmax_largest(const float *s, int64_t n)
{
    vf most = v_set(-INFINITY);
    int64_t i = 0;
    for (; i + SP_VL <= n; i += SP_VL)
        most = v_max(v_load(s + i), most);
    float largest = v_largest(most);
    for (; i < n; i++)
        largest = s[i] > largest ? s[i] : largest;
    return largest;
}

/* One query's next tile of scores, which become exponentials: *most and *weight are its running
 * maximum and sum (-INFINITY and 0 before the first tile), sum [head] its running weighted sum. */
static inline void softmax_tile(float *scores, int64_t keys, float *most, float *weight, float *sum,
                                int64_t head)
{
    const float largest = softmax_largest(scores, keys);
    if (largest > *most) {
        const bool first = *most == -INFINITY;
        const float shrink = first ? 0 : expf(*most - largest);
        *weight *= shrink;
        for (int64_t e = 0; !first && e < head; e++)
            sum[e] *= shrink;
        *most = largest;
    }
    *weight += softmax_exponentials(scores, keys, *most);
}

#endif
