/* What ops are composed of: kernels, and linear layers over rows from anywhere. */
#ifndef SP_KERNELS_CUDA_KERNELS_H
#define SP_KERNELS_CUDA_KERNELS_H

#include "kernels/cuda/core.h"

/* y = x w^T + beta * c, then + bias[n] and relu where asked for. x: [m, k], w: [n, k] in `format`,
 * as TF32 where that is allowed; c: [m, n] float32; beta is 1 with c and 0 without; y: [m, n] and
 * bias in y_format: float32 or, without c, SP_BF16. */
typedef struct SpGemm {
    SpDtype format;
    bool tf32;
    int64_t m, n, k;
    const void *x, *w;
    int64_t ldx, ldw;
    const float *c;
    int64_t ldc;
    const void *bias;
    bool relu;
    SpDtype y_format;
    void *y;
    int64_t ldy;
} SpGemm;

/* Whether arrays of operands (kernels/ops.h) are not float32 now. In f16, whose range is that of
 * few activations, they stay float32 until a product reads them. */
static inline bool sp_cuda_operands(const SpCuda *cuda)
{
    return cuda->format == SP_BF16;
}

/* The format of an array of operands, if it is one, and its distance between rows that are `ld`
 * floats apart. */
static inline SpDtype sp_cuda_format(const SpCuda *cuda, bool operand)
{
    return operand && sp_cuda_operands(cuda) ? SP_BF16 : SP_F32;
}

static inline int64_t sp_cuda_ld(SpDtype format, int64_t ld)
{
    return format == SP_F32 ? ld : 2 * ld;
}

/* By our own kernel. */
void sp_cuda_own_gemm(SpCuda *, const SpGemm *);

/* A linear layer whose rows are a's x or, with conv, those of sp_cuda_gather. */
void sp_cuda_linear_rows(SpCuda *, const SpLinear *a, const SpConv2d *conv);

/* y = residual + gain * act(x + b) on [rows, width]; rows ldx, ldr, ldy apart; y may be x. x and y
 * are in `format`: float32, or without gain and residual SP_BF16. */
typedef struct SpEpilogue {
    SpDtype format;
    const void *x;
    int64_t rows, width, ldx;
    const float *b;
    SpActivation act;
    const float *gain, *residual;
    int64_t ldr;
    void *y;
    int64_t ldy;
} SpEpilogue;
void sp_cuda_epilogue(SpCuda *, const SpEpilogue *);

/* SP_ON_DEVICE of the copy op; a from_pitch of 0 repeats one row. */
void sp_cuda_copy_rows(SpCuda *, const SpCopy *);

/* Rows of any float dtype [rows, width], ldx apart, to `format` [rows, ld], zero beyond width; row
 * r times gain[r] where there is one. */
typedef struct SpConvert {
    const void *x;
    SpDtype dtype;
    int64_t rows, width, ldx;
    const float *gain;
    SpDtype format;
    void *out;
    int64_t ld;
} SpConvert;
void sp_cuda_convert(SpCuda *, const SpConvert *);

/* The rows of a convolution as a matrix: rows first .. first + m of the [n ho wo] output pixels,
 * [m, ld] in `format`, zero beyond kh kw cin. */
void sp_cuda_gather(SpCuda *, const SpConv2d *, int64_t first, int64_t m, SpDtype format, void *out,
                    int64_t ld);

/* The end of a transposed convolution: t [m, s s cout], the products of pixels first .. first + m,
 * to its places in y, with the bias. */
void sp_cuda_scatter(SpCuda *, const SpDeconv *, int64_t first, int64_t m, const float *t);

/* Units first .. first + count of rows in `rows` (float32 or SP_BF16; batch, row and share as in
 * SpAttention, in its elements) to [count, n, width] in `format`, zero beyond head; and of such a
 * copy of y back to y. */
typedef struct SpUnits {
    SpDtype rows;
    int64_t first, count, n, heads, head, width;
    int64_t share, batch, row;
} SpUnits;
void sp_cuda_pack_units(SpCuda *, const SpUnits *, const void *x, SpDtype format, void *out);
void sp_cuda_unpack_units(SpCuda *, const SpUnits *, const void *x, SpDtype format, void *out);

/* Attention in float32: a thread a query, for few keys and head <= 64; tiles of queries and keys,
 * for head <= 256; a block a query, for any head. */
void sp_cuda_attention_few(SpCuda *, const SpAttention *);
void sp_cuda_attention_tiled(SpCuda *, const SpAttention *);
void sp_cuda_attention_wide(SpCuda *, const SpAttention *);

/* On tensor cores in cuda->half, head <= 128: units first .. first + count, where a unit is one
 * batch and head (batch * heads + head). k, v: copies of their keys and values [count, nk, width]
 * in cuda->half, width = 64 or 128, or NULL: the arrays themselves are read. a->operand: they are
 * SP_BF16, and without copies heads are `width` wide and begin at 16 bytes. */
void sp_cuda_attention_mma(SpCuda *, const SpAttention *, int64_t first, int64_t count,
                           const void *k, const void *v);

#endif
