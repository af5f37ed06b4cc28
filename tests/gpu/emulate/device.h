/*
 * The CUDA device without CUDA: the host code and every own kernel of kernels/cuda, run on the CPU
 * (emulate.h). cuBLASLt and cuDNN are assumed to be missing, so our own kernels stand in for them.
 */
#ifndef SP_TESTS_GPU_DEVICE_H
#define SP_TESTS_GPU_DEVICE_H

#include "kernels/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Whether a block's threads run from the last to the first. */
extern bool emulate_descending;

/* A card of compute capability major.0. The caller closes it. */
SpDevice *emulated_open(int major);

#ifdef __cplusplus
}
#endif

#endif
