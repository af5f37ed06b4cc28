/*
 * softmax(q k^T) v in float32, the score matrix never stored: keys come in tiles, with a running
 * maximum and sum (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018; Dao
 * et al., "FlashAttention", 2022).
 */
#include "tiled.cuh"
extern "C" {
#include "kernels/cuda/attention.h"
}

/* Batch and head of unit blockIdx.x / tiles. */
struct Plain {
    SpAttention a;

    struct Unit {
        const float *q, *k, *v;
        float *y;
    };

    __device__ int64_t queries() const
    {
        return a.nq;
    }

    __device__ int64_t keys() const
    {
        return a.nk;
    }

    __device__ Unit unit(int64_t which) const
    {
        int64_t h;
        const int64_t b = sp_divide(which, a.heads, &h), at = h * a.head;
        return Unit{a.q + (a.q_share > 1 ? b / a.q_share : b) * a.q_batch + at,
                    a.k + b * a.k_batch + at, a.v + b * a.v_batch + at, a.y + b * a.y_batch + at};
    }

    __device__ const float *query(const Unit &u, int64_t i) const
    {
        return u.q + i * a.q_row;
    }

    __device__ const float *key(const Unit &u, int64_t j) const
    {
        return u.k + j * a.k_row;
    }

    __device__ const float *value(const Unit &u, int64_t j) const
    {
        return u.v + j * a.v_row;
    }

    __device__ float *result(const Unit &u, int64_t i) const
    {
        return u.y + i * a.y_row;
    }

    /* Nothing but q.k. */
    __device__ void fill_bias(const Unit &, int64_t, int, const float *, int, float *) const {}

    __device__ float bias(const float *, int, int64_t) const
    {
        return 0;
    }
};

extern "C" void sp_cuda_attention_tiled(SpCuda *cuda, const SpAttention *a)
{
    const Plain layout = {*a};
    const Tiling t = {"attention", a->batch * a->heads, a->nq, a->head, a->scale, 0};
    if (a->head <= 16)
        run_tiled<1, 4>(cuda, t, layout);
    else if (a->head <= 32)
        run_tiled<2, 4>(cuda, t, layout);
    else if (a->head <= 48)
        run_tiled<3, 4>(cuda, t, layout);
    else if (a->head <= 64)
        run_tiled<4, 4>(cuda, t, layout);
    else if (a->head <= 128)
        run_tiled<8, 2>(cuda, t, layout);
    else
        run_tiled<16, 1>(cuda, t, layout);
}

/* A thread a query: for the tracker's many short sequences, whose queries share cached keys. */
template <int HEAD> static __global__ void few_kernel(SpAttention a)
{
    SP_EACH(at, a.batch * a.heads * a.nq)
    {
        int64_t i, h;
        const int64_t unit = sp_divide(at, a.nq, &i), b = sp_divide(unit, a.heads, &h);
        const float *k = a.k + b * a.k_batch + h * a.head, *v = a.v + b * a.v_batch + h * a.head;
        const float *from =
            a.q + (a.q_share > 1 ? b / a.q_share : b) * a.q_batch + i * a.q_row + h * a.head;
        float q[HEAD], acc[HEAD], row_max = -INFINITY, row_sum = 0;
        SP_UNROLL
        for (int e = 0; e < HEAD; e++) {
            q[e] = e < a.head ? from[e] * a.scale : 0;
            acc[e] = 0;
        }
        for (int64_t j = 0; j < a.nk; j++, k += a.k_row, v += a.v_row) {
            float score = 0;
            SP_UNROLL
            for (int e = 0; e < HEAD; e++)
                if (e < a.head)
                    score += q[e] * k[e];
            const float larger = fmaxf(row_max, score), shrink = expf(row_max - larger);
            const float p = expf(score - larger);
            row_max = larger;
            row_sum = row_sum * shrink + p;
            SP_UNROLL
            for (int e = 0; e < HEAD; e++)
                if (e < a.head)
                    acc[e] = acc[e] * shrink + p * v[e];
        }
        float *y = a.y + b * a.y_batch + i * a.y_row + h * a.head;
        SP_UNROLL
        for (int e = 0; e < HEAD; e++)
            if (e < a.head)
                y[e] = acc[e] / row_sum;
    }
}

extern "C" void sp_cuda_attention_few(SpCuda *cuda, const SpAttention *a)
{
    const int64_t grid = sp_blocks(cuda, a->batch * a->heads * a->nq);
    if (a->head <= 16)
        SP_LAUNCH(cuda, "attention_few", few_kernel<16>, grid, SP_BLOCK, 0, *a);
    else if (a->head <= 32)
        SP_LAUNCH(cuda, "attention_few", few_kernel<32>, grid, SP_BLOCK, 0, *a);
    else
        SP_LAUNCH(cuda, "attention_few", few_kernel<64>, grid, SP_BLOCK, 0, *a);
}

/* A block a query, heads of any width: their sums lie in shared memory. No published model has
 * such heads. */
static __global__ void wide_kernel(SpAttention a)
{
    SP_SHARED(float, shared);
    float *acc = shared, *part = shared + a.head; /* [head], [SP_BLOCK_WARPS] */
    int64_t i, h;
    const int64_t unit = sp_divide(blockIdx.x, a.nq, &i), b = sp_divide(unit, a.heads, &h);
    const float *k = a.k + b * a.k_batch + h * a.head, *v = a.v + b * a.v_batch + h * a.head;
    const float *q =
        a.q + (a.q_share > 1 ? b / a.q_share : b) * a.q_batch + i * a.q_row + h * a.head;
    float *y = a.y + b * a.y_batch + i * a.y_row + h * a.head;
    float row_max = -INFINITY, row_sum = 0;
    for (int64_t e = threadIdx.x; e < a.head; e += SP_BLOCK)
        acc[e] = 0;
    for (int64_t j = 0; j < a.nk; j++, k += a.k_row, v += a.v_row) {
        float dot = 0, score = 0;
        for (int64_t e = threadIdx.x; e < a.head; e += SP_BLOCK)
            dot += q[e] * k[e];
        dot = sp_warp_sum(dot);
        __syncthreads();
        if (threadIdx.x % SP_WARP == 0)
            part[threadIdx.x / SP_WARP] = dot;
        __syncthreads();
        for (int w = 0; w < SP_BLOCK_WARPS; w++)
            score += part[w];
        score *= a.scale;
        const float larger = fmaxf(row_max, score), shrink = expf(row_max - larger);
        const float p = expf(score - larger);
        row_max = larger;
        row_sum = row_sum * shrink + p;
        for (int64_t e = threadIdx.x; e < a.head; e += SP_BLOCK)
            acc[e] = acc[e] * shrink + p * v[e];
    }
    for (int64_t e = threadIdx.x; e < a.head; e += SP_BLOCK)
        y[e] = acc[e] / row_sum;
}

extern "C" void sp_cuda_attention_wide(SpCuda *cuda, const SpAttention *a)
{
    SP_LAUNCH(cuda, "attention_wide", wide_kernel, a->batch * a->heads * a->nq, SP_BLOCK,
              (size_t)(a->head + SP_BLOCK_WARPS) * sizeof(float), *a);
}
