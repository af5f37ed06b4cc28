/* Linear layers over rows from anywhere. */
#ifndef SP_KERNELS_CUDA_LINEAR_H
#define SP_KERNELS_CUDA_LINEAR_H

#include "kernels/cuda/core.h"

/* A linear layer whose rows are a's x or, with conv, those of sp_cuda_gather. */
void sp_cuda_linear_rows(SpCuda *cuda, const SpLinear *a, const SpConv2d *conv);

#endif
