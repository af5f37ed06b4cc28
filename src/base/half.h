/* IEEE half and bfloat16 to float32 and back. */
#ifndef SP_BASE_HALF_H
#define SP_BASE_HALF_H

#include <stdint.h>
#include <string.h>

static inline float sp_float_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t sp_bits_from_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float sp_bf16_to_f32(uint16_t bits)
{
    return sp_float_from_bits((uint32_t)bits << 16);
}

/* To the nearest, ties to even; NaN stays NaN. */
static inline uint16_t sp_f32_to_bf16(float value)
{
    const uint32_t bits = sp_bits_from_float(value);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* To the nearest, ties to even; beyond the largest half infinity, NaN stays NaN. Subnormals by an
 * addition that leaves whole multiples of 2^-24 in the last bits. */
static inline uint16_t sp_f32_to_f16(float value)
{
    const uint32_t bits = sp_bits_from_float(value), size = bits & 0x7fffffff;
    const uint32_t sign = bits >> 16 & 0x8000;
    if (size > 0x7f800000)
        return (uint16_t)(sign | 0x7e00);
    if (size >= 0x477ff000)
        return (uint16_t)(sign | 0x7c00);
    if (size < 0x38800000) {
        const float half = 0x1p-1f;
        const uint32_t sum = sp_bits_from_float(sp_float_from_bits(size) + half);
        return (uint16_t)(sign | (sum - sp_bits_from_float(half)));
    }
    return (uint16_t)(sign | ((size + 0xfff + (size >> 13 & 1) - 0x38000000) >> 13));
}

/* Subnormals through one multiplication by 2^112, which is exact. */
static inline float sp_f16_to_f32(uint16_t bits)
{
    const uint32_t sign = (uint32_t)(bits & 0x8000) << 16;
    const uint32_t rest = (uint32_t)(bits & 0x7fff) << 13;
    if (rest >= 0x0f800000) /* infinity and NaN */
        return sp_float_from_bits(sign | 0x70000000 | rest);
    return sp_float_from_bits(sign | sp_bits_from_float(sp_float_from_bits(rest) * 0x1p112f));
}

#endif
