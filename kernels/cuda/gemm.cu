/*
 * A plain product for shapes that cuBLASLt has no algorithm for, and for the emulated tests: 64 x
 * 64 of the result a block, 4 x 4 a thread, the same order of sums for every row.
 */
#include "kernel.cuh"

enum { TILE = 64, DEPTH = 16, PITCH = DEPTH + 1 };

/* To the nearest number of TF32's 10 bits behind the point, as tensor cores read it. */
static __device__ inline float rounded(float value)
{
    return __uint_as_float((__float_as_uint(value) + 0x1000u) & ~0x1fffu);
}

static __device__ inline float operand(const SpGemm &a, const void *data, int64_t i)
{
    const float value = sp_element(data, a.format, i);
    return a.tf32 ? rounded(value) : value;
}

static __device__ inline void load_tile(const SpGemm &a, const void *data, int64_t rows, int64_t ld,
                                        int64_t row, int64_t begin, float *shared)
{
    for (int i = (int)threadIdx.x; i < TILE * DEPTH; i += SP_BLOCK) {
        const int64_t r = row + i / DEPTH, k = begin + i % DEPTH;
        shared[i / DEPTH * PITCH + i % DEPTH] =
            r < rows && k < a.k ? operand(a, data, r * ld + k) : 0.0f;
    }
}

static __device__ inline void write(const SpGemm &a, int64_t r, int64_t o, float v)
{
    if (r >= a.m || o >= a.n)
        return;
    if (a.c)
        v += a.c[r * a.ldc + o];
    if (a.bias)
        v += sp_element(a.bias, a.y_format, o);
    v = a.relu && v < 0 ? 0 : v;
    if (a.y_format == SP_F32)
        static_cast<float *>(a.y)[r * a.ldy + o] = v;
    else
        static_cast<uint16_t *>(a.y)[r * a.ldy + o] = (uint16_t)sp_pack(Bf16(), v, 0);
}

static __global__ void product_kernel(SpGemm a, int64_t across)
{
    SP_SHARED(float, shared);
    float *x = shared, *w = shared + TILE * PITCH;
    int64_t column;
    const int64_t row = sp_divide(blockIdx.x, across, &column) * TILE;
    column *= TILE;
    const int tx = (int)threadIdx.x % 16, ty = (int)threadIdx.x / 16;
    float sum[4][4] = {};
    for (int64_t begin = 0; begin < a.k; begin += DEPTH) {
        __syncthreads();
        load_tile(a, a.x, a.m, a.ldx, row, begin, x);
        load_tile(a, a.w, a.n, a.ldw, column, begin, w);
        __syncthreads();
        SP_UNROLL
        for (int k = 0; k < DEPTH; k++)
            SP_UNROLL
        for (int i = 0; i < 4; i++)
            SP_UNROLL
        for (int j = 0; j < 4; j++)
            sum[i][j] += x[(ty + 16 * i) * PITCH + k] * w[(tx + 16 * j) * PITCH + k];
    }
    SP_UNROLL
    for (int i = 0; i < 4; i++)
        SP_UNROLL
    for (int j = 0; j < 4; j++)
        write(a, row + ty + 16 * i, column + tx + 16 * j, sum[i][j]);
}

extern "C" void sp_cuda_own_gemm(SpCuda *cuda, const SpGemm *a)
{
    const int64_t across = (a->n + TILE - 1) / TILE, down = (a->m + TILE - 1) / TILE;
    SP_LAUNCH(cuda, "product", product_kernel, across * down, SP_BLOCK,
              2 * TILE * PITCH * sizeof(float), *a, across);
}
