/*
 * The CUDA device: the ops of kernels/ops.h on one NVIDIA card of compute capability 7.5 or more.
 * The program neither links the driver nor cuBLASLt nor cuDNN: they are loaded when the device is
 * opened, so that a build with CUDA starts and runs where they are missing.
 *
 * Precision: in SP_PRECISION_F32 all products are float32 (no TF32). In SP_PRECISION_TF32 products
 * and convolutions may be TF32 from capability 8.0 on. In SP_PRECISION_BF16 products, convolutions
 * and attentions have bf16 operands (f16 before capability 8.0). Sums are float32.
 *
 * Determinism: no sum is formed by atomics; a product's algorithm depends on its widths alone, so
 * rows come out the same however they are split. Two library choices can differ between runs or
 * splits: which of cuDNN's or our convolutions was faster when a process first saw the shape
 * (another must win by a fifth over the first candidate; it is remembered beyond sleep), and
 * cuDNN's fused attention (bf16 on 9.0 and up, long sequences), whose plan depends on the number of
 * queries.
 */
#ifndef SP_KERNELS_CUDA_CUDA_H
#define SP_KERNELS_CUDA_CUDA_H

#include <stdio.h>

#include "kernels/ops.h"

/* Card `index`. SP_DEVICE when there is no driver, no such card, one too old, or no cuBLASLt;
 * SP_MEMORY when the card has too little memory for the workspace. Its close frees all device
 * memory and the process's context on the card. Needs nothing; at most one device is open at a
 * time. */
SpStatus sp_cuda_open(int index, SpDevice **device);

/* For --info: a line a card with its capability and memory, a line of the driver's and libraries'
 * versions; one line saying so where no driver answers. */
void sp_cuda_describe(FILE *stream);

#endif
