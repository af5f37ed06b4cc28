/*
 * The CPU's twin of kernels/cuda/native/platform.cuh: kernels are plain functions, a block's
 * threads are fibers of one thread (emulate.h), and what PTX does in one instruction is written
 * out from its manual. Threads of a block run in ascending or descending order between two
 * barriers, so that a barrier that is missing shows as a wrong result in one of the two.
 */
#ifndef SP_TESTS_GPU_PLATFORM_CUH
#define SP_TESTS_GPU_PLATFORM_CUH

#include <math.h>
#include <string.h>

#include "gpu/emulate/emulate.h"
extern "C" {
#include "kernels/cuda/core.h"
}

#define SP_UNROLL
#define __global__
#define __device__
#define __launch_bounds__(...)

struct float4 {
    float x, y, z, w;
} __attribute__((aligned(16)));
struct uint2 {
    uint32_t x, y;
} __attribute__((aligned(8)));
struct uint4 {
    uint32_t x, y, z, w;
} __attribute__((aligned(16)));

static inline float4 make_float4(float x, float y, float z, float w)
{
    return float4{x, y, z, w};
}

static inline uint2 make_uint2(uint32_t x, uint32_t y)
{
    return uint2{x, y};
}

static inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w)
{
    return uint4{x, y, z, w};
}

#define threadIdx (emulate_thread()->thread)
#define blockIdx  (emulate_thread()->block)
#define blockDim  (emulate_thread()->block_size)
#define gridDim   (emulate_thread()->grid_size)

static inline void __syncthreads()
{
    emulate_wait_block();
}

static inline void __syncwarp()
{
    emulate_wait_warp();
}

template <typename T> static inline T __shfl_xor_sync(uint32_t mask, T value, int lanes)
{
    static_assert(sizeof(T) <= sizeof(uint64_t), "one register");
    EmulateThread *self = emulate_thread();
    T other;
    if (mask != 0xffffffffu)
        emulate_fault("a shuffle of part of a warp");
    memcpy(self->offered, &value, sizeof value);
    emulate_wait_warp();
    memcpy(&other, emulate_lane(self->lane ^ lanes)->offered, sizeof other);
    emulate_wait_warp();
    return other;
}

struct Bf16 {
};
struct F16 {
};

#define SP_SHARED(type, name) type *name = reinterpret_cast<type *>(emulate_thread()->shared)

#define SP_LAUNCH(cuda, what, kernel, grid, threads, bytes, ...)                                   \
    do {                                                                                           \
        const int64_t sp_grid = (grid);                                                            \
        if (sp_cuda_live(cuda) && sp_grid > 0) {                                                   \
            auto sp_kernel = [&](auto... arguments) { kernel(arguments...); };                     \
            emulate_wait_stream((cuda)->stream);                                                   \
            emulate_launch(what, sp_grid, (threads), (bytes), [&] { sp_kernel(__VA_ARGS__); });    \
        }                                                                                          \
    } while (0)

template <typename Kernel> inline void sp_allow_shared(Kernel *, size_t) {}

static inline uint32_t __float_as_uint(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float __uint_as_float(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline float sp_times(float a, float b)
{
    volatile float product = a * b;
    return product;
}

static inline float sp_exp2(float x)
{
    return exp2f(x);
}

/* To the nearest, ties to even. */
static inline uint32_t emulate_bf16(float x)
{
    const uint32_t bits = __float_as_uint(x);
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

static inline uint32_t emulate_f16(float x)
{
    const uint32_t sign = __float_as_uint(x) >> 16 & 0x8000;
    const float size = fminf(fabsf(x), 65504.0f);
    if (size < 0x1p-14f) /* subnormal: whole multiples of 2^-24 */
        return sign | (uint32_t)nearbyintf(size * 0x1p24f);
    const uint32_t bits = __float_as_uint(size);
    return sign | ((bits + 0xfff + (bits >> 13 & 1) - 0x38000000) >> 13);
}

static inline uint32_t sp_pack(Bf16, float low, float high)
{
    return emulate_bf16(low) | emulate_bf16(high) << 16;
}

static inline uint32_t sp_pack(F16, float low, float high)
{
    return emulate_f16(low) | emulate_f16(high) << 16;
}

static inline float sp_half_to_float(uint16_t bits)
{
    const float size = (bits & 0x7c00)
                           ? __uint_as_float(((uint32_t)(bits & 0x7fff) << 13) + 0x38000000)
                           : (float)(bits & 0x3ff) * 0x1p-24f;
    return bits & 0x8000 ? -size : size;
}

static inline float emulate_half(Bf16, uint32_t word, int which)
{
    return __uint_as_float(which ? word & 0xffff0000u : word << 16);
}

static inline float emulate_half(F16, uint32_t word, int which)
{
    return sp_half_to_float((uint16_t)(which ? word >> 16 : word));
}

/* PTX ISA, "Matrix fragments for mma.m16n8k16 with floating point type". */
template <typename Half>
static inline void sp_mma(Half half, float d[4], const uint32_t a[4], const uint32_t b[2])
{
    EmulateThread *self = emulate_thread();
    memcpy(self->offered, a, 16);
    memcpy(self->offered + 16, b, 8);
    emulate_wait_warp();
    for (int i = 0; i < 4; i++) {
        const int row = self->lane / 4 + i / 2 * 8, column = self->lane % 4 * 2 + i % 2;
        for (int k = 0; k < 16; k++) {
            uint32_t words[6], *left = words, *right = words + 4;
            memcpy(left, emulate_lane(row % 8 * 4 + k % 8 / 2)->offered, 16);
            memcpy(right, emulate_lane(column * 4 + k % 8 / 2)->offered + 16, 8);
            d[i] += emulate_half(half, left[row / 8 + k / 8 * 2], k % 2) *
                    emulate_half(half, right[k / 8], k % 2);
        }
    }
    emulate_wait_warp();
}

/* PTX ISA, "ldmatrix": lane l has row l / 4 and columns 2 (l % 4) and on of each matrix, or,
 * transposed, column l / 4 and these rows. */
static inline void emulate_matrices(uint32_t out[4], const void *row, bool transposed)
{
    EmulateThread *self = emulate_thread();
    if ((uintptr_t)row % 16)
        emulate_fault("a row of ldmatrix that is not aligned to 16 bytes");
    memcpy(self->offered, &row, sizeof row);
    emulate_wait_warp();
    for (int i = 0; i < 4; i++) {
        uint16_t pair[2];
        for (int e = 0; e < 2; e++) {
            const int r = transposed ? self->lane % 4 * 2 + e : self->lane / 4;
            const int c = transposed ? self->lane / 4 : self->lane % 4 * 2 + e;
            const uint16_t *from;
            memcpy(&from, emulate_lane(8 * i + r)->offered, sizeof from);
            pair[e] = from[c];
        }
        out[i] = pair[0] | (uint32_t)pair[1] << 16;
    }
    emulate_wait_warp();
}

static inline void sp_load_matrices(uint32_t out[4], const void *row)
{
    emulate_matrices(out, row, false);
}

static inline void sp_load_matrices_transposed(uint32_t out[4], const void *row)
{
    emulate_matrices(out, row, true);
}

/* Copies land when they are waited for, as late as they may. */
static inline void sp_copy16(void *shared, const void *global)
{
    if ((uintptr_t)shared % 16 || (uintptr_t)global % 16)
        emulate_fault("a copy of 16 bytes that is not aligned to 16 bytes");
    emulate_copy(shared, global);
}

static inline void sp_copies_commit() {}

template <int LATER> static inline void sp_copies_done()
{
    static_assert(LATER == 0, "the emulation has one group");
    emulate_copies_done();
}

#endif
