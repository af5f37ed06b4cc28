/* Small things that all kernels share. */
#ifndef SP_KERNELS_CUDA_KERNEL_CUH
#define SP_KERNELS_CUDA_KERNEL_CUH

#include "platform.cuh"

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

static __device__ inline float sp_word_low(Bf16, uint32_t word)
{
    return __uint_as_float(word << 16);
}

static __device__ inline float sp_word_high(Bf16, uint32_t word)
{
    return __uint_as_float(word & 0xffff0000u);
}

static __device__ inline float sp_word_low(F16, uint32_t word)
{
    return sp_half_to_float((uint16_t)word);
}

static __device__ inline float sp_word_high(F16, uint32_t word)
{
    return sp_half_to_float((uint16_t)(word >> 16));
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

/* An op that is one kernel over `count` elements. */
#define SP_OP(name, type, count)                                                                   \
    extern "C" void sp_cuda_##name(SpDevice *device, const type *a)                                \
    {                                                                                              \
        SpCuda *cuda = sp_cuda(device);                                                            \
        SP_LAUNCH(cuda, #name, name##_kernel, sp_blocks(cuda, count), SP_BLOCK, 0, *a);            \
    }

#endif
