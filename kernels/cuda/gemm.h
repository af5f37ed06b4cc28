/* Matrix products. */
#ifndef SP_KERNELS_CUDA_GEMM_H
#define SP_KERNELS_CUDA_GEMM_H

#include "kernels/cuda/core.h"

/* c[m, n] = x w^T + beta * c_in, then + bias[n] and relu where asked for. x: [m, k], w: [n, k] in
 * `format`, as TF32 where that is allowed; c_in, y: [m, n] float32; beta is 1 with c_in and 0
 * without. */
typedef struct SpGemm {
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
} SpGemm;

/* By our own kernel. */
void sp_cuda_own_gemm(SpCuda *, const SpGemm *);

#endif
