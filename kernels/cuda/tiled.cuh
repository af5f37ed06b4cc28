/*
 * Attention in tiles of BQ queries and BQ keys by 16 x 16 threads, float32. A thread has ROWS x
 * ROWS scores of a tile (BQ = 16 ROWS) and ROWS x COLUMNS of the result (head <= 16 COLUMNS). A
 * Layout says where the rows lie and what is added to a score:
 *
 *     unit(which)              a unit's place
 *     row(u, Q | K | V, i)     a query, key or value of it
 *     result(u, i)             where a query's result goes; NULL: it is left out
 *     fill_bias(u, first, count, q, pitch, terms)
 *                              fills terms [count][...] from the tile's queries
 *     bias(terms, r, j)        added to the score of the tile's query r and key j
 */
#ifndef SP_KERNELS_CUDA_TILED_CUH
#define SP_KERNELS_CUDA_TILED_CUH

#include "kernel.cuh"

enum { Q, K, V };

struct Tiling {
    int64_t units, queries, keys, head;
    float scale;
    int64_t terms; /* floats a query */
};

/* Over the 16 lanes with the same rows. */
static __device__ inline float lanes_largest(float x)
{
    for (int lanes = 8; lanes; lanes /= 2)
        x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, lanes));
    return x;
}

static __device__ inline float lanes_sum(float x)
{
    for (int lanes = 8; lanes; lanes /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, lanes);
    return x;
}

/* Rows first .. first + BQ of `row`, zero where there is none, to shared [BQ][pitch]. */
template <int BQ, typename Row>
static __device__ inline void load_rows(float *shared, int pitch, int64_t head, Row row)
{
    const int width = pitch - 4;
    for (int i = (int)threadIdx.x; i < BQ * width; i += SP_BLOCK) {
        const int r = i / width, e = i % width;
        const float *from = e < head ? row(r) : nullptr;
        shared[r * pitch + e] = from ? from[e] : 0.0f;
    }
}

/* scores[i][j] = left row ty + 16 i . right row tx + 16 j. */
template <int ROWS>
static __device__ inline void multiply(const float *left, const float *right, int pitch, int tx,
                                       int ty, float scores[ROWS][ROWS])
{
    SP_UNROLL
    for (int i = 0; i < ROWS; i++)
        SP_UNROLL
    for (int j = 0; j < ROWS; j++)
        scores[i][j] = 0;
    for (int e = 0; e < pitch - 4; e += 4) {
        float4 l[ROWS], r[ROWS];
        SP_UNROLL
        for (int i = 0; i < ROWS; i++) {
            l[i] = *reinterpret_cast<const float4 *>(left + (ty + 16 * i) * pitch + e);
            r[i] = *reinterpret_cast<const float4 *>(right + (tx + 16 * i) * pitch + e);
        }
        SP_UNROLL
        for (int i = 0; i < ROWS; i++)
            SP_UNROLL
        for (int j = 0; j < ROWS; j++)
            scores[i][j] += l[i].x * r[j].x + l[i].y * r[j].y + l[i].z * r[j].z + l[i].w * r[j].w;
    }
}

template <int COLUMNS, int ROWS, typename Layout>
static __global__ void __launch_bounds__(SP_BLOCK)
    tiled_kernel(Layout layout, Tiling t, int64_t tiles)
{
    enum { BQ = 16 * ROWS, PITCH = 16 * COLUMNS + 4 };
    SP_SHARED(float, shared);
    float *q = shared, *kv = q + BQ * PITCH, *p = kv + BQ * PITCH; /* p: [BQ][BQ + 1] */
    float *terms = p + BQ * (BQ + 1);
    int64_t tile;
    const auto unit = layout.unit(sp_divide(blockIdx.x, tiles, &tile));
    const int64_t first = tile * BQ, left = t.queries - first;
    const int count = left < BQ ? (int)left : BQ;
    const int tx = (int)threadIdx.x % 16, ty = (int)threadIdx.x / 16;
    float row_max[ROWS], row_sum[ROWS], acc[ROWS][COLUMNS];
    SP_UNROLL
    for (int i = 0; i < ROWS; i++) {
        row_max[i] = -INFINITY;
        row_sum[i] = 0;
        SP_UNROLL
        for (int c = 0; c < COLUMNS; c++)
            acc[i][c] = 0;
    }
    load_rows<BQ>(q, PITCH, t.head,
                  [&](int r) { return r < count ? layout.row(unit, Q, first + r) : nullptr; });
    __syncthreads();
    layout.fill_bias(unit, first, count, q, PITCH, terms);
    for (int64_t at = 0; at < t.keys; at += BQ) {
        float scores[ROWS][ROWS];
        __syncthreads();
        load_rows<BQ>(kv, PITCH, t.head, [&](int r) {
            return at + r < t.keys ? layout.row(unit, K, at + r) : nullptr;
        });
        __syncthreads();
        multiply<ROWS>(q, kv, PITCH, tx, ty, scores);
        SP_UNROLL
        for (int i = 0; i < ROWS; i++) {
            float largest = row_max[i], total = 0;
            SP_UNROLL
            for (int j = 0; j < ROWS; j++) {
                const int64_t key = at + tx + 16 * j;
                scores[i][j] = key < t.keys
                                   ? scores[i][j] * t.scale + layout.bias(terms, ty + 16 * i, key)
                                   : -INFINITY;
                largest = fmaxf(largest, scores[i][j]);
            }
            largest = lanes_largest(largest);
            const float shrink = expf(row_max[i] - largest);
            SP_UNROLL
            for (int j = 0; j < ROWS; j++) {
                const float e = expf(scores[i][j] - largest);
                p[(ty + 16 * i) * (BQ + 1) + tx + 16 * j] = e;
                total += e;
            }
            row_max[i] = largest;
            row_sum[i] = row_sum[i] * shrink + lanes_sum(total);
            SP_UNROLL
            for (int c = 0; c < COLUMNS; c++)
                acc[i][c] *= shrink;
        }
        __syncthreads();
        load_rows<BQ>(kv, PITCH, t.head, [&](int r) {
            return at + r < t.keys ? layout.row(unit, V, at + r) : nullptr;
        });
        __syncthreads();
        for (int j = 0; j < BQ; j++)
            SP_UNROLL
        for (int c = 0; c < COLUMNS; c++) {
            const float v = kv[j * PITCH + tx + 16 * c];
            SP_UNROLL
            for (int i = 0; i < ROWS; i++)
                acc[i][c] += p[(ty + 16 * i) * (BQ + 1) + j] * v;
        }
    }
    SP_UNROLL
    for (int i = 0; i < ROWS; i++) {
        const int r = ty + 16 * i;
        float *y = r < count ? layout.result(unit, first + r) : nullptr;
        for (int c = 0; y && c < COLUMNS; c++)
            if (tx + 16 * c < t.head)
                y[tx + 16 * c] = acc[i][c] / row_sum[i];
    }
}

template <int COLUMNS, int ROWS, typename Layout>
static void run_tiled(SpCuda *cuda, const char *what, const Tiling &t, const Layout &layout)
{
    enum { BQ = 16 * ROWS, PITCH = 16 * COLUMNS + 4 };
    const int64_t tiles = (t.queries + BQ - 1) / BQ;
    const size_t floats = (size_t)(2 * BQ * PITCH + BQ * (BQ + 1) + BQ * t.terms);
    auto *kernel = tiled_kernel<COLUMNS, ROWS, Layout>;
    sp_allow_shared(kernel, floats * sizeof(float));
    SP_LAUNCH(cuda, what, kernel, t.units * tiles, SP_BLOCK, floats * sizeof(float), layout, t,
              tiles);
}

#endif
