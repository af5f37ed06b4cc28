/* cuBLASLt, loaded at run time. */
#ifndef SP_KERNELS_CUDA_BLAS_H
#define SP_KERNELS_CUDA_BLAS_H

#include "kernels/cuda/core.h"
#include "kernels/cuda/gemm.h"

/* Makes cuda->blas. SP_DEVICE where the library is missing or does not start, SP_MEMORY. */
SpStatus sp_cuda_blas_open(SpCuda *cuda);
void sp_cuda_blas_close(SpCuda *cuda);

/* As the library numbers itself, 0 where it is missing. */
size_t sp_cuda_blas_version(void);

/* False where it has no algorithm: nothing has been done then. */
bool sp_cuda_blas_gemm(SpCuda *cuda, const SpGemm *a);

#endif
