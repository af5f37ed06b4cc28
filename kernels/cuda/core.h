/*
 * What every file of the CUDA device knows: the device itself, its first failure, its scratch and
 * the names of its ops. It stands below all others; above it, floor by floor,
 *
 *     runtime (CUDA's errors and libraries), staging (pinned buffers), the kernels (.cu)
 *     blas, dnn (cuBLASLt, cuDNN), copy, prefetch
 *     linear; then attention and conv, which choose between a library and our kernels
 *     table; then device, which opens and closes them all
 *
 * Only runtime, staging, blas, dnn, copy, prefetch and device see CUDA's headers, and the kernels
 * reach CUDA through platform.cuh. So all the rest also compiles without CUDA, against
 * tests/gpu/emulate, where each kernel runs on the CPU and is held against kernels/cpu.
 */
#ifndef SP_KERNELS_CUDA_CORE_H
#define SP_KERNELS_CUDA_CORE_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/ops.h"

enum {
    /* The fixed workspace: scratch of the ops, then what cuBLASLt and cuDNN may use. */
    SP_CUDA_SCRATCH = 64 << 20,
    SP_CUDA_LIBRARY = 32 << 20,
    SP_CUDA_ALIGN = 256,
    /* From so many keys on attention is cuDNN's, where it has one: it compiles each plan when it is
     * first used, for seconds, which shorter sequences never win back. */
    SP_CUDA_LIBRARY_KEYS = 48 << 10,
    /* Rows of a product at most where they pass through the scratch: enough tiles to keep a large
     * card's multiprocessors busy (12288 x 1024 are 768 of 128 x 128, six for each of 132). The
     * library's algorithms are chosen for so many. */
    SP_CUDA_ROWS = 32 * SP_ROW_TILE
};

typedef struct SpCuda {
    SpDevice device; /* first, so that the device is the SpCuda */
    int index;
    int major, minor;           /* compute capability */
    int processors;             /* streaming multiprocessors */
    SpDtype half;               /* what SP_PRECISION_BF16 means here: bf16 from 8.0, else f16 */
    SpDtype format;             /* of operands: SP_F32 or `half`; sums are float32 */
    bool tf32;                  /* float32 operands may lose their last 13 bits; only from 8.0 on */
    struct CUstream_st *stream; /* of all ops */
    char *work;                 /* SP_CUDA_SCRATCH + SP_CUDA_LIBRARY bytes */
    size_t scratch_used;        /* bytes, by the op that runs */
    SpStatus failure;           /* the first */
    bool keeps_context;   /* the close leaves the process's context on the card: for libraries that
                           * do not outlive its end */
    bool own_kernels;     /* set by tests and timing: cuBLASLt and cuDNN are not used */
    int64_t library_keys; /* SP_CUDA_LIBRARY_KEYS but in tests and timing */
    /* What a library was to do and refused, though it is there: nothing of a published model, as
     * our kernels are many times slower. Products, shapes of convolutions, attentions. */
    int64_t own_gemms, refused_convs, refused_attentions;
    struct SpCudaBlas *blas;         /* blas.c; NULL: none */
    struct SpCudaDnn *dnn;           /* dnn_graph.h; NULL: none */
    struct SpCudaCopies *copies;     /* copy.c */
    struct SpCudaPrefetch *prefetch; /* prefetch.c */
} SpCuda;

static inline SpCuda *sp_cuda(SpDevice *device)
{
    return (SpCuda *)device;
}

static inline bool sp_cuda_live(const SpCuda *cuda)
{
    return cuda->failure.code == SP_OK;
}

/* Keeps "cuda: WHAT failed in WHERE: REASON" if it is the first failure. */
void sp_cuda_fail(SpCuda *cuda, SpCode code, const char *what, const char *where,
                  const char *reason);

/* `bytes` bytes of the scratch, aligned to SP_CUDA_ALIGN, until the op sets `scratch_used` back.
 * NULL and a failure when they do not fit: a fault of the caller. */
void *sp_cuda_scratch(SpCuda *cuda, size_t bytes);

static inline size_t sp_cuda_aligned(size_t bytes)
{
    return (bytes + SP_CUDA_ALIGN - 1) / SP_CUDA_ALIGN * SP_CUDA_ALIGN;
}

static inline size_t sp_cuda_scratch_left(const SpCuda *cuda)
{
    return (size_t)SP_CUDA_SCRATCH - cuda->scratch_used;
}

/* SpDevice.set_precision. */
void sp_cuda_set_precision(SpDevice *device, SpPrecision precision);

#define SP_CUDA_OP(op, type) void sp_cuda_##op(SpDevice *, const type *);
SP_EACH_OP(SP_CUDA_OP)
extern const SpOps sp_cuda_ops;

#endif
