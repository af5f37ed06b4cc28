/* Small things that all kernels share. */
#ifndef SP_KERNELS_CUDA_KERNEL_CUH
#define SP_KERNELS_CUDA_KERNEL_CUH

#include "platform.cuh"
extern "C" {
#include "kernels/cuda/kernels.h"
}

enum { SP_WARP = 32, SP_BLOCK = 256, SP_BLOCK_WARPS = SP_BLOCK / SP_WARP };

/* Loops over 0 .. count with all threads of the grid. */
#define SP_EACH(i, count)                                                                          \
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < (count);                  \
         i += (int64_t)gridDim.x * blockDim.x)

/* Blocks for SP_EACH: as many as there is work for, at most enough to fill the device. */
static inline int64_t sp_blocks(const SpCuda *cuda, int64_t count)
{
    const int64_t blocks = (count + SP_BLOCK - 1) / SP_BLOCK, max = 16 * cuda->processors;
    return blocks < max ? blocks : max;
}

/* Blocks for a warp a unit. */
static inline int64_t sp_warp_blocks(int64_t units)
{
    return (units + SP_BLOCK_WARPS - 1) / SP_BLOCK_WARPS;
}

/* i = *rest + n * result. 64-bit division is many times slower than 32-bit. */
static __device__ inline int64_t sp_divide(int64_t i, int64_t n, int64_t *rest)
{
    if (((i | n) >> 32) == 0) {
        const uint32_t quotient = (uint32_t)i / (uint32_t)n;
        *rest = (uint32_t)i - quotient * (uint32_t)n;
        return quotient;
    }
    *rest = i % n;
    return i / n;
}

static __device__ inline float sp_warp_sum(float x)
{
    for (int lanes = SP_WARP / 2; lanes; lanes /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, lanes);
    return x;
}

static __device__ inline float sp_activate(float x, SpActivation act)
{
    switch (act) {
    case SP_GELU:
        return 0.5f * x * erfcf(-0.70710678118654752f * x);
    case SP_GELU_TANH: {
        const float u = x + 0.044715f * x * x * x;
        return x / (1 + expf(-1.5957691216057308f * u));
    }
    case SP_RELU:
        return x > 0 ? x : 0;
    case SP_SILU:
        return x / (1 + expf(-x));
    default:
        return x;
    }
}

/* Element i of an array of any float dtype. */
static __device__ inline float sp_element(const void *data, SpDtype dtype, int64_t i)
{
    switch (dtype) {
    case SP_F16:
        return sp_half_to_float(static_cast<const uint16_t *>(data)[i]);
    case SP_BF16:
        return __uint_as_float((uint32_t) static_cast<const uint16_t *>(data)[i] << 16);
    case SP_F64:
        return (float)static_cast<const double *>(data)[i];
    default:
        return static_cast<const float *>(data)[i];
    }
}

/* N floats that one instruction loads or stores. */
template <int N> struct alignas(N * sizeof(float)) SpFloats {
    float v[N];
};

template <int N> static __device__ inline SpFloats<N> sp_load(const float *from)
{
    return *reinterpret_cast<const SpFloats<N> *>(from);
}

/* N numbers of SP_BF16 that one instruction loads or stores. */
template <int N> struct alignas(N * sizeof(uint16_t)) SpHalves {
    uint16_t v[N];
};

/* Element i of rows of `Format`, Float or Bf16, N at a time. */
struct Float {
};

template <int N> static __device__ inline SpFloats<N> sp_read(Float, const void *from, int64_t i)
{
    return sp_load<N>(static_cast<const float *>(from) + i);
}

template <int N> static __device__ inline SpFloats<N> sp_read(Bf16, const void *from, int64_t i)
{
    const SpHalves<N> bits =
        *reinterpret_cast<const SpHalves<N> *>(static_cast<const uint16_t *>(from) + i);
    SpFloats<N> x;
    for (int k = 0; k < N; k++)
        x.v[k] = __uint_as_float((uint32_t)bits.v[k] << 16);
    return x;
}

template <int N>
static __device__ inline void sp_write(Float, void *to, int64_t i, const SpFloats<N> &x)
{
    *reinterpret_cast<SpFloats<N> *>(static_cast<float *>(to) + i) = x;
}

template <typename Half, int N>
static __device__ inline void sp_write(Half half, void *to, int64_t i, const SpFloats<N> &x)
{
    if constexpr (N == 1) {
        static_cast<uint16_t *>(to)[i] = (uint16_t)sp_pack(half, x.v[0], 0);
    } else {
        uint2 words = make_uint2(sp_pack(half, x.v[0], x.v[1]), sp_pack(half, x.v[2], x.v[3]));
        *reinterpret_cast<uint2 *>(static_cast<uint16_t *>(to) + i) = words;
    }
}

/* Where the rows of an attention's unit begin: batch unit / heads, head unit % heads. */
struct SpHead {
    const float *q, *k, *v;
    float *y;
};

static __device__ inline SpHead sp_head(const SpAttention &a, int64_t unit)
{
    int64_t h;
    const int64_t b = sp_divide(unit, a.heads, &h), at = h * a.head;
    return SpHead{a.q + (a.q_share > 1 ? b / a.q_share : b) * a.q_batch + at,
                  a.k + b * a.k_batch + at, a.v + b * a.v_batch + at, a.y + b * a.y_batch + at};
}

/* The same of operands in SP_BF16. */
struct SpHalfHead {
    const uint16_t *q, *k, *v;
    uint16_t *y;
};

static __device__ inline SpHalfHead sp_half_head(const SpAttention &a, int64_t unit)
{
    int64_t h;
    const int64_t b = sp_divide(unit, a.heads, &h), at = h * a.head;
    const float *q = a.q + (a.q_share > 1 ? b / a.q_share : b) * a.q_batch;
    const float *k = a.k + b * a.k_batch, *v = a.v + b * a.v_batch;
    return SpHalfHead{reinterpret_cast<const uint16_t *>(q) + at,
                      reinterpret_cast<const uint16_t *>(k) + at,
                      reinterpret_cast<const uint16_t *>(v) + at,
                      reinterpret_cast<uint16_t *>(a.y + b * a.y_batch) + at};
}

/* An op that is one kernel of `grid` blocks, which depend on `cuda` and the op's `a`. */
#define SP_OP(name, type, grid)                                                                    \
    extern "C" void sp_cuda_##name(SpDevice *device, const type *a)                                \
    {                                                                                              \
        SpCuda *cuda = sp_cuda(device);                                                            \
        SP_LAUNCH(cuda, #name, name##_kernel, grid, SP_BLOCK, 0, *a);                              \
    }

#endif
