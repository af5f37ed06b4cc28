/*
 * What kernels need of CUDA beyond C++: launches, shared memory, tensor cores, conversions. The
 * twin in tests/gpu/emulate has the same names for the CPU. `half` words hold two numbers of the
 * format Bf16 or F16, the lower in the lower half.
 */
#ifndef SP_KERNELS_CUDA_PLATFORM_CUH
#define SP_KERNELS_CUDA_PLATFORM_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

extern "C" {
#include "kernels/cuda/runtime.h"
}

struct Bf16 {
};
struct F16 {
};

/* Before a loop over an array that must stay in registers. */
#define SP_UNROLL _Pragma("unroll")

/* Dynamic shared memory of the block as an array of `type`, aligned to 16 bytes. */
#define SP_SHARED(type, name)                                                                      \
    extern __shared__ __align__(16) unsigned char sp_shared_bytes[];                               \
    type *name = reinterpret_cast<type *>(sp_shared_bytes)

/* Launches kernel<<<grid, block, shared>>>(...) on the device's stream, nothing after a failure
 * or for an empty grid. `kernel` is a name or a pointer. */
#define SP_LAUNCH(cuda, what, kernel, grid, block, shared, ...)                                    \
    do {                                                                                           \
        const int64_t sp_grid = (grid);                                                            \
        if (sp_cuda_live(cuda) && sp_grid > 0) {                                                   \
            kernel<<<dim3((unsigned)sp_grid), dim3((unsigned)(block)), (shared),                   \
                     (cuda)->stream>>>(__VA_ARGS__);                                               \
            sp_cuda_launched(cuda, what);                                                          \
        }                                                                                          \
    } while (0)

/* More than 48 KB of dynamic shared memory for a kernel. */
template <typename Kernel> inline void sp_allow_shared(Kernel *kernel, size_t bytes)
{
    cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel),
                         cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
}

/* A product that stays one: never part of a fused multiply-add. */
static __device__ inline float sp_times(float a, float b)
{
    return __fmul_rn(a, b);
}

/* 2^x, to 2 ulp. */
static __device__ inline float sp_exp2(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

static __device__ inline uint32_t sp_pack(Bf16, float low, float high)
{
#if __CUDA_ARCH__ >= 800
    uint32_t word;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
    return word;
#else
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const uint32_t *>(&pair);
#endif
}

/* Beyond the largest half: the largest, so that one great activation is no infinity. */
static __device__ inline uint32_t sp_pack(F16, float low, float high)
{
    low = fminf(fmaxf(low, -65504.0f), 65504.0f);
    high = fminf(fmaxf(high, -65504.0f), 65504.0f);
    const __half2 pair = __floats2half2_rn(low, high);
    return *reinterpret_cast<const uint32_t *>(&pair);
}

static __device__ inline float sp_half_to_float(uint16_t bits)
{
    return __half2float(__ushort_as_half(bits));
}

/* d += a b for a 16 x 16, b 16 x 8, d 16 x 8, each spread over the lanes of a warp as PTX's
 * mma.m16n8k16 says. */
static __device__ inline void sp_mma(Bf16, float d[4], const uint32_t a[4], const uint32_t b[2])
{
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
        "{%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    d[0] = d[1] = d[2] = d[3] = (float)(a[0] + b[0]) * 0; /* never called there: see device.c */
#endif
}

static __device__ inline void sp_mma(F16, float d[4], const uint32_t a[4], const uint32_t b[2])
{
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
        "{%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, "
        "{%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(b[0]));
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, "
        "{%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[2]), "r"(a[3]), "r"(b[1]));
#endif
}

/* Four 8 x 8 matrices of halves from shared memory: lanes 8 i .. 8 i + 7 point to the rows (16
 * bytes) of matrix i, which goes to out[i]; the second name: transposed. */
static __device__ inline void sp_load_matrices(uint32_t out[4], const void *row)
{
    const uint32_t at = (uint32_t)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(at)
                 : "memory");
}

static __device__ inline void sp_load_matrices_transposed(uint32_t out[4], const void *row)
{
    const uint32_t at = (uint32_t)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(at)
                 : "memory");
}

/* 16 bytes from global to shared memory, there when sp_copies_done has been called with at most
 * as many `later` groups committed since; before 8.0 at once. */
static __device__ inline void sp_copy16(void *shared, const void *global)
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;"
                 :
                 : "r"((uint32_t)__cvta_generic_to_shared(shared)), "l"(global)
                 : "memory");
#else
    *static_cast<uint4 *>(shared) = *static_cast<const uint4 *>(global);
#endif
}

static __device__ inline void sp_copies_commit()
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

template <int LATER> static __device__ inline void sp_copies_done()
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(LATER) : "memory");
#endif
}

#endif
