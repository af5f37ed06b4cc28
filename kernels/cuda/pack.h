/* Data converted to the order and the number format that products and attentions read. */
#ifndef SP_KERNELS_CUDA_PACK_H
#define SP_KERNELS_CUDA_PACK_H

#include "kernels/cuda/core.h"

/* Rows of any float dtype [rows, width], ldx apart, to `format` [rows, ld], zero beyond width. */
typedef struct SpConvert {
    const void *x;
    SpDtype dtype;
    int64_t rows, width, ldx;
    SpFormat format;
    void *out;
    int64_t ld;
} SpConvert;
void sp_cuda_convert(SpCuda *, const SpConvert *);

/* The rows of a convolution as a matrix: rows first .. first + m of the [n ho wo] output pixels,
 * [m, ld] in `format`, zero beyond kh kw cin. */
void sp_cuda_gather(SpCuda *, const SpConv2d *, int64_t first, int64_t m, SpFormat format,
                    void *out, int64_t ld);

/* The end of a transposed convolution: t [m, s s cout], the products of pixels first .. first + m,
 * to its places in y, with the bias. */
void sp_cuda_scatter(SpCuda *, const SpDeconv *, int64_t first, int64_t m, const float *t);

/* Units first .. first + count of float32 rows (batch, row and share as in SpAttention) to
 * [count, n, width] in `format`, zero beyond head; and of such a copy of y back to y. */
typedef struct SpUnits {
    int64_t first, count, n, heads, head, width;
    int64_t share, batch, row;
} SpUnits;
void sp_cuda_pack_units(SpCuda *, const SpUnits *, const float *x, SpFormat format, void *out);
void sp_cuda_unpack_units(SpCuda *, const SpUnits *, const void *x, SpFormat format, float *out);

#endif
