/*
 * softmax(q k^T) v in float32, the score matrix never stored: keys come in tiles, with a running
 * maximum and sum (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018; Dao
 * et al., "FlashAttention", 2022).
 */
#include "tiled.cuh"

struct Plain {
    SpAttention a;
    using Unit = SpHead;

    __device__ Unit unit(int64_t which) const
    {
        return sp_head(a, which);
    }

    __device__ const float *row(const Unit &u, int part, int64_t i) const
    {
        return part == Q ? u.q + i * a.q_row : part == K ? u.k + i * a.k_row : u.v + i * a.v_row;
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
    const Tiling t = {a->batch * a->heads, a->nq, a->nk, a->head, a->scale, 0};
    if (a->head <= 16)
        run_tiled<1, 4>(cuda, "attention", t, layout);
    else if (a->head <= 32)
        run_tiled<2, 4>(cuda, "attention", t, layout);
    else if (a->head <= 48)
        run_tiled<3, 4>(cuda, "attention", t, layout);
    else if (a->head <= 64)
        run_tiled<4, 4>(cuda, "attention", t, layout);
    else if (a->head <= 128)
        run_tiled<8, 2>(cuda, "attention", t, layout);
    else
        run_tiled<16, 1>(cuda, "attention", t, layout);
}

/* A thread a query: for the tracker's many short sequences, whose queries share cached keys. */
template <int HEAD> static __global__ void few_kernel(SpAttention a)
{
    SP_EACH(at, a.batch * a.heads * a.nq)
    {
        int64_t i;
        const SpHead h = sp_head(a, sp_divide(at, a.nq, &i));
        const float *from = h.q + i * a.q_row, *k = h.k, *v = h.v;
        float *y = h.y + i * a.y_row;
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
    int64_t i;
    const SpHead h = sp_head(a, sp_divide(blockIdx.x, a.nq, &i));
    const float *q = h.q + i * a.q_row, *k = h.k, *v = h.v;
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
        h.y[i * a.y_row + e] = acc[e] / row_sum;
}

extern "C" void sp_cuda_attention_wide(SpCuda *cuda, const SpAttention *a)
{
    SP_LAUNCH(cuda, "attention_wide", wide_kernel, a->batch * a->heads * a->nq, SP_BLOCK,
              (size_t)(a->head + SP_BLOCK_WARPS) * sizeof(float), *a);
}
