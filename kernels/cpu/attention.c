/*
 * softmax(scale q k^T) v without a full score matrix. Long keys go through matrix products on
 * tiles with a running maximum and sum (softmax.h; Dao et al., "FlashAttention", 2022); few keys
 * fit a thread's workspace and go through vectors over the keys.
 */
#include <math.h>

#include "base/minmax.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/softmax.h"

enum {
    Q_TILE = 192, /* divides SP_ROW_TILE */
    K_TILE = 512,
    FEW_KEYS = 192, /* up to here the vector path */
    MAX_HEAD = 512
};

/* The first rows of one head. */
typedef struct Head {
    const float *q, *k, *v;
    float *y;
} Head;

static Head head_of(const SpAttention *a, int64_t b, int64_t h)
{
    const int64_t at = h * a->head;
    return (Head){a->q + (a->q_share > 1 ? b / a->q_share : b) * a->q_batch + at,
                  a->k + b * a->k_batch + at, a->v + b * a->v_batch + at,
                  a->y + b * a->y_batch + at};
}

/* Queries first .. first + rows of one head against all keys. scores: [Q_TILE, K_TILE], acc:
 * [Q_TILE, head]. */
static void tiled_rows(const SpAttention *a, Head h, int64_t first, int64_t rows, float *scores,
                       float *acc)
{
    float row_max[Q_TILE], row_sum[Q_TILE], *y = h.y + first * a->y_row;
    for (int64_t r = 0; r < rows; r++) {
        row_max[r] = -INFINITY;
        row_sum[r] = 0;
    }
    for (int64_t at = 0; at < a->nk; at += K_TILE) {
        const int64_t keys = sp_min(K_TILE, a->nk - at);
        sp_gemm_nt(rows, keys, a->head, a->scale, h.q + first * a->q_row, a->q_row,
                   h.k + at * a->k_row, a->k_row, 0, scores, K_TILE);
        for (int64_t r = 0; r < rows; r++)
            online_softmax(scores + r * K_TILE, keys, &row_max[r], &row_sum[r], acc + r * a->head,
                           a->head);
        sp_gemm_nn(rows, a->head, keys, 1, scores, K_TILE, h.v + at * a->v_row, a->v_row,
                   at ? 1.0f : 0.0f, acc, a->head);
    }
    for (int64_t r = 0; r < rows; r++)
        for (int64_t e = 0; e < a->head; e++)
            y[r * a->y_row + e] = acc[r * a->head + e] / row_sum[r];
}

static void tiled(SpDevice *device, const SpAttention *a)
{
    const int64_t tiles = (a->nq + Q_TILE - 1) / Q_TILE;
#pragma omp parallel for schedule(dynamic) num_threads(device->threads)
    for (int64_t unit = 0; unit < a->batch * a->heads * tiles; unit++) {
        const int64_t first = unit % tiles * Q_TILE;
        float *work = sp_cpu_work(device);
        tiled_rows(a, head_of(a, unit / tiles / a->heads, unit / tiles % a->heads), first,
                   sp_min(Q_TILE, a->nq - first), work, work + Q_TILE * K_TILE);
    }
}

/* scores = scale q k^T of `count` <= 4 queries: keys is k^T [head, stride], zero beyond nk. */
static inline __attribute__((always_inline)) void q_k_rows(const SpAttention *a, const float *q,
                                                           const float *keys, int64_t stride,
                                                           int count, float *scores)
{
    for (int64_t j = 0; j < stride; j += SP_VL) {
        vf s[4] = {{0}};
        for (int64_t e = 0; e < a->head; e++) {
            const vf column = v_load(keys + e * stride + j);
            for (int r = 0; r < count; r++)
                s[r] += v_set(q[r * a->q_row + e]) * column;
        }
        for (int r = 0; r < count; r++)
            v_store(scores + r * stride + j, s[r] * v_set(a->scale));
    }
}

/* y = p v for `count` <= 4 queries, divided by their sums. */
static inline __attribute__((always_inline)) void p_v_rows(const SpAttention *a,
                                                           const float *scores, int64_t stride,
                                                           const float *sums, const float *v,
                                                           int count, float *y)
{
    for (int64_t e = 0; e < a->head; e += SP_VL) {
        const int64_t n = a->head - e;
        vf out[4] = {{0}};
        for (int64_t j = 0; j < a->nk; j++) {
            const float *row = v + j * a->v_row + e;
            const vf value = n >= SP_VL ? v_load(row) : v_load_n(row, n);
            for (int r = 0; r < count; r++)
                out[r] += v_set(scores[r * stride + j]) * value;
        }
        for (int r = 0; r < count; r++) {
            const vf result = out[r] * v_set(1 / sums[r]);
            if (n >= SP_VL)
                v_store(y + r * a->y_row + e, result);
            else
                v_store_n(y + r * a->y_row + e, result, n);
        }
    }
}

/* Queries first .. first + count of one head, whose keys are transposed as in q_k_rows. */
static inline __attribute__((always_inline)) void few_rows(const SpAttention *a, Head h,
                                                           int64_t first, int count,
                                                           const float *keys, int64_t stride,
                                                           float *scores)
{
    float sums[4];
    q_k_rows(a, h.q + first * a->q_row, keys, stride, count, scores);
    for (int r = 0; r < count; r++)
        sums[r] = softmax_exp(scores + r * stride, a->nk, softmax_max(scores + r * stride, a->nk));
    p_v_rows(a, scores, stride, sums, h.v, count, h.y + first * a->y_row);
}

static void few_keys(SpDevice *device, const SpAttention *a)
{
    const int64_t stride = (a->nk + SP_VL - 1) / SP_VL * SP_VL;
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t unit = 0; unit < a->batch * a->heads; unit++) {
        const Head h = head_of(a, unit / a->heads, unit % a->heads);
        float *scores = sp_cpu_work(device), *keys = scores + 4 * stride;
        for (int64_t j = 0; j < stride; j++)
            for (int64_t e = 0; e < a->head; e++)
                keys[e * stride + j] = j < a->nk ? h.k[j * a->k_row + e] : 0;
        int64_t i = 0;
        for (; i + 4 <= a->nq; i += 4)
            few_rows(a, h, i, 4, keys, stride, scores);
        for (; i < a->nq; i++)
            few_rows(a, h, i, 1, keys, stride, scores);
    }
}

void SP_FN(sp_cpu_attention)(SpDevice *device, const SpAttention *a)
{
    if (a->nk <= FEW_KEYS)
        few_keys(device, a);
    else
        tiled(device, a);
}
