/* Kernels on rows that several ops share. */
#ifndef SP_KERNELS_CUDA_ROWS_H
#define SP_KERNELS_CUDA_ROWS_H

#include "kernels/cuda/core.h"

/* y = residual + gain * act(x + b) on [rows, width]; rows ldx, ldr, ldy apart; y may be x. */
typedef struct SpEpilogue {
    const float *x;
    int64_t rows, width, ldx;
    const float *b;
    SpActivation act;
    const float *gain, *residual;
    int64_t ldr;
    float *y;
    int64_t ldy;
} SpEpilogue;
void sp_cuda_epilogue(SpCuda *, const SpEpilogue *);

/* SP_ON_DEVICE of the copy op; a from_pitch of 0 repeats one row. */
void sp_cuda_copy_rows(SpCuda *, const SpCopy *);

#endif
