/* cuBLASLt and cuDNN, loaded at run time. */
#ifndef SP_KERNELS_CUDA_LIBRARIES_H
#define SP_KERNELS_CUDA_LIBRARIES_H

#include "kernels/cuda/kernels.h"

enum { SP_CUDA_DNN_PLAN = 2 << 20 }; /* of SP_CUDA_LIBRARY, what a plan of its attention may use */

/* Whether cuDNN has plans for a card that is only described (JSON as in
 * CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION): cuda->dnn answers the two questions `has` below, and
 * runs nothing. SP_DEVICE, also where cuDNN is missing; sp_cuda_dnn_close ends it either way. */
SpStatus sp_cuda_dnn_open_for(SpCuda *cuda, const char *description);

/* Make cuda->blas and cuda->dnn. Where its library is missing or does not start, the first is
 * SP_DEVICE and the second leaves cuda->dnn NULL. SP_MEMORY. */
SpStatus sp_cuda_blas_open(SpCuda *cuda);
SpStatus sp_cuda_dnn_open(SpCuda *cuda);
void sp_cuda_blas_close(SpCuda *cuda);
void sp_cuda_dnn_close(SpCuda *cuda);

/* As the libraries number themselves, 0 where one is missing. */
size_t sp_cuda_blas_version(void);
size_t sp_cuda_dnn_version(void);

/* False where cuBLASLt has no algorithm: nothing has been done then. */
bool sp_cuda_blas_gemm(SpCuda *cuda, const SpGemm *a);

/* The convolution of one image without bias, activation and residual into dense y. False when the
 * library has no algorithm for it, or `own`, which computes the same, was faster when the shape was
 * first seen. */
typedef void SpCudaConv(SpCuda *, const SpConv2d *);
bool sp_cuda_dnn_conv(SpCuda *cuda, const SpConv2d *a, SpCudaConv *own);

/* Whether there is a plan for the convolution, whose workspace is at most SP_CUDA_LIBRARY. */
bool sp_cuda_dnn_has_conv(SpCuda *cuda, const SpConv2d *a);

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
