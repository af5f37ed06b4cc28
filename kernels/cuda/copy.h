/* The state of the copy op, cuda->copies. */
#ifndef SP_KERNELS_CUDA_COPY_H
#define SP_KERNELS_CUDA_COPY_H

#include "kernels/cuda/core.h"

/* SP_MEMORY, SP_DEVICE; what was made is left for the close. */
SpStatus sp_cuda_copies_open(SpCuda *cuda);
void sp_cuda_copies_close(SpCuda *cuda);

#endif
