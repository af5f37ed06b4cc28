/* CUDA's errors, and its libraries. */
#ifndef SP_KERNELS_CUDA_RUNTIME_H
#define SP_KERNELS_CUDA_RUNTIME_H

#include <cuda_runtime_api.h>

#include "kernels/cuda/core.h"

/* Keeps a failed call of the CUDA runtime: out of memory as SP_MEMORY, all else as SP_DEVICE. True
 * when it succeeded. */
bool sp_cuda_ok(SpCuda *cuda, cudaError_t error, const char *what, const char *where);

/* A library by its name, or beside the toolkit; NULL and the reason in `why`. It stays loaded: what
 * CUDA's libraries registered with the driver outlives their unloading badly. */
void *sp_cuda_library(const char *name, const char **why);

/* Keeps the failure of the kernel launch just made, if it failed. */
void sp_cuda_launched(SpCuda *cuda, const char *kernel);

#endif
