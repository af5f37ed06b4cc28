/* Numbers as tensor cores read them. */
#ifndef SP_TESTS_GPU_NUMBERS_H
#define SP_TESTS_GPU_NUMBERS_H

#include <math.h>

#include "base/half.h"

/* As the kernels write it: the largest number in the place of what is beyond. */
static inline uint16_t standin_to_f16(float x)
{
    return sp_f32_to_f16(fminf(fmaxf(x, -65504.0f), 65504.0f));
}

static inline float standin_tf32(float x)
{
    return sp_float_from_bits((sp_bits_from_float(x) + 0x1000u) & ~0x1fffu);
}

#endif
