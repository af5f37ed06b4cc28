/*
 * Inside of the CUDA device. Host code is C and knows nothing of CUDA's headers but in device.c,
 * copy.c, fetch.c, blas.c and dnn.c; the kernels (.cu) reach CUDA only through platform.cuh. So
 * all the rest also compiles without CUDA, against tests/gpu/emulate, where each kernel runs on the
 * CPU and is held against kernels/cpu.
 */
#ifndef SP_KERNELS_CUDA_INTERNAL_H
#define SP_KERNELS_CUDA_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "kernels/ops.h"

/* The number format of operands; sums are float32 in each. */
typedef enum SpFormat { SP_FORMAT_F32, SP_FORMAT_BF16, SP_FORMAT_F16 } SpFormat;

enum {
    /* The fixed workspace: scratch of the ops, then what cuBLASLt and cuDNN may use. */
    SP_CUDA_SCRATCH = 64 << 20,
    SP_CUDA_LIBRARY = 32 << 20,
    SP_CUDA_DNN_PLAN = 2 << 20, /* of the latter, what a plan of cuDNN's attention may use */
    SP_CUDA_ALIGN = 256,
    /* From so many keys on attention is cuDNN's, where it has one: it compiles each plan when it is
     * first used, for seconds, which shorter sequences never win back. */
    SP_CUDA_LIBRARY_KEYS = 48 << 10
};

typedef struct SpCuda {
    SpDevice device; /* first, so that the device is the SpCuda */
    int index;
    int major, minor; /* compute capability */
    int processors;   /* streaming multiprocessors */
    SpFormat half;    /* what SP_PRECISION_BF16 means here: bf16 from 8.0, else f16 */
    SpFormat format;
    bool tf32;                  /* float32 operands may lose their last 13 bits; only from 8.0 on */
    struct CUstream_st *stream; /* of all ops */
    char *work;                 /* SP_CUDA_SCRATCH + SP_CUDA_LIBRARY bytes */
    size_t taken;               /* of the scratch, by the op that runs */
    SpStatus failure;           /* the first */
    bool own_kernels;           /* tests and timing: leave cuBLASLt and cuDNN aside */
    int64_t library_keys;       /* SP_CUDA_LIBRARY_KEYS but in tests and timing */
    int64_t own_products;       /* that cuBLASLt had no algorithm for */
    struct SpCudaBlas *blas;    /* blas.c; NULL: none */
    struct SpCudaDnn *dnn;      /* dnn.c; NULL: none */
    struct SpCudaFetch *fetch;  /* fetch.c */
    struct SpCudaCopies *copies; /* copy.c */
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

/* Keeps the failure of the kernel launch just made, if it failed. */
void sp_cuda_launched(SpCuda *cuda, const char *kernel);

/* `bytes` bytes of the scratch, aligned to SP_CUDA_ALIGN, until the op sets `taken` back. NULL and
 * a failure when they do not fit: a fault of the caller. */
void *sp_cuda_scratch(SpCuda *cuda, size_t bytes);

static inline size_t sp_cuda_scratch_left(const SpCuda *cuda)
{
    return (size_t)SP_CUDA_SCRATCH - cuda->taken;
}

/* The table of all ops. */
extern const SpOps sp_cuda_ops;

/* c[m, n] = x w^T + beta * c_in, then + bias[n] and relu where asked for. x: [m, k], w: [n, k] in
 * `format`, as TF32 where that is allowed; c_in, y: [m, n] float32; beta is 1 with c_in and 0
 * without. */
typedef struct SpProduct {
    SpFormat format;
    bool tf32;
    int64_t m, n, k;
    const void *x, *w;
    int64_t ldx, ldw;
    const float *c;
    int64_t ldc;
    const float *bias;
    bool relu;
    float *y;
    int64_t ldy;
} SpProduct;

void sp_cuda_product(SpCuda *, const SpProduct *);

/* The same by cuBLASLt (blas.c), and by our kernel (product.cu) where that has none. */
bool sp_cuda_blas_product(SpCuda *, const SpProduct *);
void sp_cuda_own_product(SpCuda *, const SpProduct *);

/* The rows of a convolution as a matrix: rows first .. first + m of the [n ho wo] output pixels,
 * [m, ld] in `format`, zero beyond kh kw cin. */
void sp_cuda_gather(SpCuda *, const SpConv2d *, int64_t first, int64_t m, SpFormat format,
                    void *out, int64_t ld);

/* The convolution of one image without bias, activation and residual into dense y [ho, wo, cout] by
 * cuDNN; false when it has no algorithm for it, or ours was faster. */
bool sp_cuda_dnn_conv(SpCuda *, const SpConv2d *, float *y);

/* linear.c: a linear layer whose rows are a's x or, with conv, those of sp_cuda_gather. */
void sp_cuda_linear_rows(SpCuda *, const SpLinear *, const SpConv2d *conv);

/* Rows [rows, width] of float32, ldx apart, to `format` [rows, ld], zero beyond width. */
void sp_cuda_convert_rows(SpCuda *, const float *x, int64_t rows, int64_t width, int64_t ldx,
                          SpFormat format, void *out, int64_t ld);

/* Rows of a matrix of any float dtype: rows first .. first + rows of w [outs, in], to `format`
 * [rows, ld], zero beyond `in`. */
void sp_cuda_convert_weights(SpCuda *, const SpTensor *w, int64_t first, int64_t rows,
                             SpFormat format, void *out, int64_t ld);

/* y = residual + gain * act(x + b) on [rows, width]; rows ldx, ldr, ldy apart; y may be x. */
typedef struct SpFinish {
    const float *x;
    int64_t rows, width, ldx;
    const float *b;
    SpActivation act;
    const float *gain, *residual;
    int64_t ldr;
    float *y;
    int64_t ldy;
} SpFinish;
void sp_cuda_finish(SpCuda *, const SpFinish *);

/* SP_ON_DEVICE of the copy op; a from_pitch of 0 repeats one row. */
void sp_cuda_copy_rows(SpCuda *, const SpCopy *);

/* Deconvolution's end: t [m, s s cout], the products of pixels first .. first + m, to its places in
 * y with the bias. */
void sp_cuda_scatter(SpCuda *, const SpDeconv *, int64_t first, int64_t m, const float *t);

/* attention.c: the kernels. A unit is one batch and head: unit = batch * heads + head. */
void sp_cuda_attention_few(SpCuda *, const SpAttention *);
void sp_cuda_attention_tiled(SpCuda *, const SpAttention *); /* head <= 256 */
void sp_cuda_attention_wide(SpCuda *, const SpAttention *);  /* any head */
/* Units first .. first + count with tensor cores in cuda->half, head <= 128. k, v: their copies
 * [count, nk, width] in cuda->half, width = 64 or 128, or NULL: the float32 arrays are read. */
void sp_cuda_attention_mma(SpCuda *, const SpAttention *, int64_t first, int64_t count,
                           const void *k, const void *v);
/* Units first .. first + count of float32 rows (batch, row and share as in SpAttention) to
 * [count, n, width] in `format`, zero beyond head; and of such a copy of y back to y. */
typedef struct SpUnits {
    int64_t first, count, n, heads, head, width;
    int64_t share, batch, row;
} SpUnits;
void sp_cuda_pack_units(SpCuda *, const SpUnits *, const float *x, SpFormat format, void *out);
void sp_cuda_unpack_units(SpCuda *, const SpUnits *, const void *x, SpFormat format, float *out);

/* cuDNN's fused attention on packed q, k, v, y [units, nq or nk, head] in cuda->format. The first
 * tells whether there is a plan for the shape, whose workspace is at most SP_CUDA_DNN_PLAN. */
typedef struct SpFused {
    int64_t units, nq, nk, head;
    float scale;
    const void *q, *k, *v;
    void *y;
} SpFused;
bool sp_cuda_dnn_has_attention(SpCuda *, const SpFused *);
void sp_cuda_dnn_attention(SpCuda *, const SpFused *);

#define SP_CUDA_OP(op, type) void sp_cuda_##op(SpDevice *, const type *);
SP_EACH_OP(SP_CUDA_OP)

#ifdef __cplusplus
}
#endif

#endif
