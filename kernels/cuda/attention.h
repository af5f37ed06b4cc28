/* The kernels of attention; attention.c chooses among them. */
#ifndef SP_KERNELS_CUDA_ATTENTION_H
#define SP_KERNELS_CUDA_ATTENTION_H

#include "kernels/cuda/core.h"

/* In float32: a thread a query, for few keys and head <= 64; tiles of queries and keys, for head <=
 * 256; a block a query, for any head. */
void sp_cuda_attention_few(SpCuda *, const SpAttention *);
void sp_cuda_attention_tiled(SpCuda *, const SpAttention *);
void sp_cuda_attention_wide(SpCuda *, const SpAttention *);

/* On tensor cores in cuda->half, head <= 128: units first .. first + count, where a unit is one
 * batch and head (batch * heads + head). k, v: copies of their keys and values [count, nk, width]
 * in cuda->half, width = 64 or 128, or NULL: the float32 arrays are read. */
void sp_cuda_attention_mma(SpCuda *, const SpAttention *, int64_t first, int64_t count,
                           const void *k, const void *v);

#endif
