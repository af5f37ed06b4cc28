/* Two pinned buffers in turns between host memory, which is not pinned, and the device. */
#ifndef SP_KERNELS_CUDA_STAGING_H
#define SP_KERNELS_CUDA_STAGING_H

#include "kernels/cuda/core.h"
#include <cuda_runtime_api.h>

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

#endif
