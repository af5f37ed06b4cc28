/* Copies of weights and feature maps beside the ops: the functions of SpDevice. */
#ifndef SP_KERNELS_CUDA_PREFETCH_H
#define SP_KERNELS_CUDA_PREFETCH_H

#include "kernels/cuda/core.h"

/* SP_MEMORY, SP_DEVICE; what was made is left for the close. */
SpStatus sp_cuda_prefetch_open(SpCuda *cuda);
void sp_cuda_prefetch_close(SpCuda *cuda);
void sp_cuda_prefetch(SpDevice *device, int slot, void *to, const void *from, size_t bytes);
void sp_cuda_wait_slot(SpDevice *device, int slot);
void sp_cuda_release_slot(SpDevice *device, int slot);
double sp_cuda_hidden_seconds(SpDevice *device);

/* Waits for all copies and keeps their first failure. */
void sp_cuda_prefetch_finish(SpCuda *cuda);

#endif
