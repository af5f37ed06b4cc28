#include <math.h>

#include "base/minmax.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vec.h"

/* Mean and 1/sqrt(var + eps) of n floats. */
static void moments(const float *x, int64_t n, float eps, float *mean, float *scale)
{
    vf sum = {0};
    int64_t i = 0;
    for (; i + SP_VL <= n; i += SP_VL)
        sum += v_load(x + i);
    float total = v_sum(sum);
    for (int64_t j = i; j < n; j++)
        total += x[j];
    *mean = total / (float)n;
    vf squares = {0};
    for (int64_t j = 0; j < i; j += SP_VL) {
        const vf d = v_load(x + j) - v_set(*mean);
        squares += d * d;
    }
    float spread = v_sum(squares);
    for (; i < n; i++)
        spread += (x[i] - *mean) * (x[i] - *mean);
    *scale = 1 / sqrtf(spread / (float)n + eps);
}

static void normalize(const float *x, int64_t n, const float *weight, const float *bias, float eps,
                      float *y)
{
    float mean, scale;
    moments(x, n, eps, &mean, &scale);
    for (int64_t i = 0; i < n; i += SP_VL) {
        const int64_t count = sp_min(SP_VL, n - i);
        vf v = (v_load_n(x + i, count) - v_set(mean)) * v_set(scale);
        if (weight)
            v *= v_load_n(weight + i, count);
        if (bias)
            v += v_load_n(bias + i, count);
        v_store_n(y + i, v, count);
    }
}

void SP_FN(sp_cpu_layer_norm)(SpDevice *device, const SpLayerNorm *a)
{
    const int threads = sp_cpu_threads(device, 8 * a->rows * a->width);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t r = 0; r < a->rows; r++)
        normalize(a->x + r * a->ldx, a->width, a->weight, a->bias, a->eps, a->y + r * a->ldy);
}

/* Rotates the pairs (m, m + d) of a half of 2d elements by the angles of `table` [d][cos, sin]. */
static void rotate(float *v, int64_t d, const float *table)
{
    for (int64_t m = 0; m < d; m++) {
        const float a = v[m], b = v[m + d], c = table[2 * m], s = table[2 * m + 1];
        v[m] = a * c - b * s;
        v[m + d] = b * c + a * s;
    }
}

void SP_FN(sp_cpu_qk_norm_rope)(SpDevice *device, const SpQkNormRope *a)
{
    const int64_t width = a->heads * a->head, half = a->head / 2, pairs = half / 2;
    float *table = sp_cpu(device)->shared;
    for (int32_t p = 0; p <= a->max_position; p++)
        for (int64_t m = 0; m < pairs; m++) {
            const float frequency = powf(a->rope_base, -(float)m / (float)pairs);
            table[(p * pairs + m) * 2] = cosf((float)p * frequency);
            table[(p * pairs + m) * 2 + 1] = sinf((float)p * frequency);
        }
    const int threads = sp_cpu_threads(device, 16 * a->rows * width);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t r = 0; r < a->rows; r++) {
        const int32_t *at = a->position + r % a->period * 2;
        for (int64_t h = 0; h < 2 * a->heads; h++) {
            const bool key = h >= a->heads;
            float *v = a->qkv + r * 3 * width + h * a->head;
            if (a->q_weight)
                normalize(v, a->head, key ? a->k_weight : a->q_weight, key ? a->k_bias : a->q_bias,
                          a->eps, v);
            rotate(v, pairs, table + at[0] * pairs * 2);
            rotate(v + half, pairs, table + at[1] * pairs * 2);
        }
    }
}

enum { NORM_BLOCK = 1024 }; /* pixels whose sums are formed together */

/* Adds over the pixels of one block: x - mean[c], or its square. */
static void block_sums(const float *x, int64_t pixels, int64_t c, const float *mean, float *sums)
{
    for (int64_t i = 0; i < c; i++)
        sums[i] = 0;
    for (int64_t p = 0; p < pixels; p++, x += c)
        for (int64_t i = 0; i < c; i++) {
            const float d = mean ? x[i] - mean[i] : x[i];
            sums[i] += mean ? d * d : d;
        }
}

void SP_FN(sp_cpu_instance_norm)(SpDevice *device, const SpInstanceNorm *a)
{
    const int64_t c = a->c, blocks = (a->pixels + NORM_BLOCK - 1) / NORM_BLOCK;
    float *mean = sp_cpu(device)->shared, *scale = mean + c, *sums = scale + c;
    const int threads = sp_cpu_threads(device, 4 * a->pixels * c);
    for (int64_t image = 0; image < a->n; image++) {
        const float *x = a->x + image * a->pixels * c;
        float *y = a->y + image * a->pixels * c;
        for (int pass = 0; pass < 2; pass++) {
#pragma omp parallel for schedule(static) num_threads(threads)
            for (int64_t b = 0; b < blocks; b++) {
                const int64_t rest = a->pixels - b * NORM_BLOCK;
                block_sums(x + b * NORM_BLOCK * c, rest < NORM_BLOCK ? rest : NORM_BLOCK, c,
                           pass ? mean : NULL, sums + b * c);
            }
            for (int64_t i = 0; i < c; i++) {
                double total = 0;
                for (int64_t b = 0; b < blocks; b++)
                    total += (double)sums[b * c + i];
                total /= (double)a->pixels;
                if (pass)
                    scale[i] = (float)(1 / sqrt(total + (double)a->eps));
                else
                    mean[i] = (float)total;
            }
        }
#pragma omp parallel for schedule(static) num_threads(threads)
        for (int64_t p = 0; p < a->pixels; p++)
            for (int64_t i = 0; i < c; i++) {
                const float v = (x[p * c + i] - mean[i]) * scale[i];
                y[p * c + i] = a->relu && v < 0 ? 0 : v;
            }
    }
}
