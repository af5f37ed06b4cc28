/* The emulated CUDA runtime beyond CUDA's own names. */
#ifndef SP_TESTS_GPU_RUNTIME_H
#define SP_TESTS_GPU_RUNTIME_H

#include "gpu/emulate/cuda/cuda_runtime_api.h"

/* Which call from now on fails, counted from 1, with cudaErrorMemoryAllocation; 0: none. */
void runtime_fail_at(long call);

/* Calls since then that could have failed. */
long runtime_calls(void);

/* Memory, streams and events that have not been freed. */
long runtime_held(void);

/* An op: y[i] += x[i] on a stream, for floats of the device. */
void runtime_add(cudaStream_t stream, float *y, const float *x, size_t count);

#endif
