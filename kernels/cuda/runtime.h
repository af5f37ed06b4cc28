/* What the files that see CUDA's headers share. */
#ifndef SP_KERNELS_CUDA_RUNTIME_H
#define SP_KERNELS_CUDA_RUNTIME_H

#include <cuda_runtime_api.h>

#include "kernels/cuda/internal.h"

/* Keeps a failed call of the CUDA runtime: out of memory as SP_MEMORY, all else as SP_DEVICE. True
 * when it succeeded. */
bool sp_cuda_ok(SpCuda *cuda, cudaError_t error, const char *what, const char *where);

/* A library by its name, or beside the toolkit; NULL and the reason in `why`. It stays loaded: what
 * CUDA's libraries registered with the driver outlives their unloading badly. */
void *sp_cuda_library(const char *name, const char **why);

/* cuBLASLt and cuDNN for `cuda`, and their ends. cuDNN may be missing: cuda->dnn stays NULL. */
SpStatus sp_cuda_blas_open(SpCuda *cuda);
void sp_cuda_blas_close(SpCuda *cuda);
SpStatus sp_cuda_dnn_open(SpCuda *cuda);
void sp_cuda_dnn_close(SpCuda *cuda);

/* Their versions as they number them, 0 where a library is missing. */
size_t sp_cuda_blas_version(void);
size_t sp_cuda_dnn_version(void);

/* Copies between host and device among the ops: what sp_cuda_copy works with. */
SpStatus sp_cuda_copies_open(SpCuda *cuda);
void sp_cuda_copies_close(SpCuda *cuda);

/* Rows of `bytes` bytes between places on the host, by several threads where it is worth it. */
void sp_cuda_copy_host(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t bytes,
                       size_t rows);

/* Copies of weights beside the ops: the functions of SpDevice. */
SpStatus sp_cuda_fetch_open(SpCuda *cuda);
void sp_cuda_fetch_close(SpCuda *cuda);
void sp_cuda_fetch(SpDevice *device, int slot, void *to, const void *from, size_t bytes);
void sp_cuda_fetched(SpDevice *device, int slot);
void sp_cuda_spent(SpDevice *device, int slot);
double sp_cuda_hidden_seconds(SpDevice *device);
/* Waits for all copies and keeps their first failure. */
void sp_cuda_fetch_wait(SpCuda *cuda);

#endif
