/* Numbers as tensor cores read them. */
#ifndef SP_TESTS_GPU_NUMBERS_H
#define SP_TESTS_GPU_NUMBERS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline float standin_from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint32_t standin_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float standin_from_bf16(uint16_t half)
{
    return standin_from_bits((uint32_t)half << 16);
}

static inline float standin_from_f16(uint16_t half)
{
    const float size = (half & 0x7c00)
                           ? standin_from_bits(((uint32_t)(half & 0x7fff) << 13) + 0x38000000)
                           : (float)(half & 0x3ff) * 0x1p-24f;
    return half & 0x8000 ? -size : size;
}

/* To the nearest, ties to even. */
static inline uint16_t standin_to_bf16(float x)
{
    const uint32_t bits = standin_bits(x);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static inline uint16_t standin_to_f16(float x)
{
    const uint32_t sign = standin_bits(x) >> 16 & 0x8000;
    const float size = fminf(fabsf(x), 65504.0f);
    if (size < 0x1p-14f)
        return (uint16_t)(sign | (uint32_t)nearbyintf(size * 0x1p24f));
    const uint32_t bits = standin_bits(size);
    return (uint16_t)(sign | ((bits + 0xfff + (bits >> 13 & 1) - 0x38000000) >> 13));
}

static inline float standin_tf32(float x)
{
    return standin_from_bits((standin_bits(x) + 0x1000u) & ~0x1fffu);
}

#endif
