/* cuDNN, loaded at run time. */
#ifndef SP_KERNELS_CUDA_DNN_H
#define SP_KERNELS_CUDA_DNN_H

#include "kernels/cuda/core.h"

enum { SP_CUDA_DNN_PLAN = 2 << 20 }; /* of SP_CUDA_LIBRARY, what a plan of its attention may use */

/* Makes cuda->dnn, which stays NULL where the library is missing. SP_DEVICE, SP_MEMORY. */
SpStatus sp_cuda_dnn_open(SpCuda *cuda);
void sp_cuda_dnn_close(SpCuda *cuda);

/* As the library numbers itself, 0 where it is missing. */
size_t sp_cuda_dnn_version(void);

/* The convolution of one image without bias, activation and residual into dense y [ho, wo, cout].
 * False when the library has no algorithm for it, or `own`, which computes the same, was faster
 * when the shape was first seen. */
typedef void SpCudaConv(SpCuda *, const SpConv2d *, float *y);
bool sp_cuda_dnn_conv(SpCuda *cuda, const SpConv2d *a, float *y, SpCudaConv *own);

/* Fused attention on packed q, k, v, y [units, nq or nk, head] in cuda->format. */
typedef struct SpFused {
    int64_t units, nq, nk, head;
    float scale;
    const void *q, *k, *v;
    void *y;
} SpFused;

/* Whether there is a plan for the shape, whose workspace is at most SP_CUDA_DNN_PLAN. */
bool sp_cuda_dnn_has_attention(SpCuda *, const SpFused *);
void sp_cuda_dnn_attention(SpCuda *, const SpFused *);

#endif
