/* Copies between host memory, which is not pinned, and the device: for the copy op (copy.c) and
 * beside the ops (prefetch.c), each through pinned buffers in turns. */
#ifndef SP_KERNELS_CUDA_TRANSFER_H
#define SP_KERNELS_CUDA_TRANSFER_H

#include <cuda_runtime_api.h>

#include "kernels/cuda/core.h"

enum { SP_STAGING_BUFFERS = 2, SP_STAGING_BYTES = 8 << 20 };

typedef struct SpStaging {
    char *buffer[SP_STAGING_BUFFERS];
    cudaEvent_t used[SP_STAGING_BUFFERS]; /* the last copy from or to the buffer is done */
} SpStaging;

/* What was made before a failure is left for the close. */
cudaError_t sp_staging_open(SpStaging *staging);
void sp_staging_close(SpStaging *staging);

/* Rows of `bytes` bytes between places on the host, by several threads where it is worth it. */
void sp_staging_copy(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t bytes,
                     size_t rows);

/* cuda->copies and cuda->prefetch. SP_MEMORY, SP_DEVICE; what was made is left for the close. */
SpStatus sp_cuda_copies_open(SpCuda *cuda);
SpStatus sp_cuda_prefetch_open(SpCuda *cuda);
void sp_cuda_copies_close(SpCuda *cuda);

/* Downloads for later to their places. */
void sp_cuda_copies_finish(SpCuda *cuda);
void sp_cuda_prefetch_close(SpCuda *cuda);

/* The functions of SpDevice. */
void sp_cuda_prefetch(SpDevice *device, int slot, void *to, const void *from, size_t bytes);
void sp_cuda_wait_slot(SpDevice *device, int slot);
void sp_cuda_release_slot(SpDevice *device, int slot);
double sp_cuda_hidden_seconds(SpDevice *device);

/* Waits for all prefetches and keeps their first failure. */
void sp_cuda_prefetch_finish(SpCuda *cuda);

#endif
