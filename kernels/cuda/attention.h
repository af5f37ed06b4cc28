/* The kernels of attention. */
#ifndef SP_KERNELS_CUDA_ATTENTION_H
#define SP_KERNELS_CUDA_ATTENTION_H

#include "kernels/cuda/core.h"

/* A unit is one batch and head: unit = batch * heads + head. */
void sp_cuda_attention_few(SpCuda *, const SpAttention *);
void sp_cuda_attention_tiled(SpCuda *, const SpAttention *); /* head <= 256 */
void sp_cuda_attention_wide(SpCuda *, const SpAttention *);  /* any head */
/* Units first .. first + count with tensor cores in cuda->half, head <= 128. k, v: their copies
 * [count, nk, width] in cuda->half, width = 64 or 128, or NULL: the float32 arrays are read. */
void sp_cuda_attention_mma(SpCuda *, const SpAttention *, int64_t first, int64_t count,
                           const void *k, const void *v);

#endif
