#include "kernels/cuda/transfer.h"

#include <omp.h>
#include <string.h>

enum { COPIERS = 8, COPIER_BYTES = 1 << 18 /* for each further thread */ };

cudaError_t sp_staging_open(SpStaging *staging)
{
    cudaError_t error = cudaSuccess;
    for (int i = 0; i < SP_STAGING_BUFFERS && error == cudaSuccess; i++) {
        error = cudaMallocHost((void **)&staging->buffer[i], SP_STAGING_BYTES);
        if (error == cudaSuccess)
            error = cudaEventCreateWithFlags(&staging->used[i], cudaEventDisableTiming);
    }
    return error;
}

void sp_staging_close(SpStaging *staging)
{
    for (int i = 0; i < SP_STAGING_BUFFERS; i++) {
        if (staging->used[i])
            cudaEventDestroy(staging->used[i]);
        if (staging->buffer[i])
            cudaFreeHost(staging->buffer[i]);
    }
}

/* Threads for so many bytes: one reaches a sixth of the bus. */
static int threads_for(size_t bytes)
{
    const size_t share = bytes / COPIER_BYTES, half = (size_t)omp_get_num_procs() / 2;
    const size_t max = half < COPIERS ? half : COPIERS;
    return share < 2 || max < 2 ? 1 : share < max ? (int)share : (int)max;
}

void sp_staging_copy(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t bytes,
                     size_t rows)
{
    const int threads = threads_for(bytes * rows);
    const size_t piece = (bytes + (size_t)threads - 1) / (size_t)threads;
    const bool whole = rows > 1; /* a single row is cut */
    const int64_t parts = whole ? (int64_t)rows : threads;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int64_t i = 0; i < parts; i++) {
        const size_t at = whole ? 0 : (size_t)i * piece, left = at < bytes ? bytes - at : 0;
        const size_t row = whole ? (size_t)i : 0;
        memcpy((char *)to + row * to_pitch + at, (const char *)from + row * from_pitch + at,
               whole || left < piece ? left : piece);
    }
}
