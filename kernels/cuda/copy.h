/* Copies between host and device among the ops: what the copy op works with. */
#ifndef SP_KERNELS_CUDA_COPY_H
#define SP_KERNELS_CUDA_COPY_H

#include "kernels/cuda/core.h"

SpStatus sp_cuda_copies_open(SpCuda *cuda);
void sp_cuda_copies_close(SpCuda *cuda);

#endif
