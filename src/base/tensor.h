/*
 * A typed view of row-major numbers: what checkpoints, goldens and kernels exchange.
 */
#ifndef SP_BASE_TENSOR_H
#define SP_BASE_TENSOR_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/half.h"

enum { SP_MAX_RANK = 8 };

typedef enum SpDtype { SP_F32, SP_F16, SP_BF16, SP_F64, SP_I32, SP_I64, SP_U8, SP_BOOL } SpDtype;

/* A view; it owns nothing. rank 0 is a scalar. */
typedef struct SpTensor {
    const void *data;
    SpDtype dtype;
    int rank;
    int64_t dim[SP_MAX_RANK];
} SpTensor;

/* The dims of a shape, in place. */
#define SP_DIMS(...)                                                                               \
    (const int64_t[])                                                                              \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

/* Bytes of one element. */
static inline size_t sp_dtype_size(SpDtype dtype)
{
    static const size_t size[] = {4, 2, 2, 8, 4, 8, 1, 1}; /* as SpDtype lists them */
    return size[dtype];
}

/* Number of elements. */
static inline int64_t sp_tensor_count(const SpTensor *t)
{
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++)
        n *= t->dim[i];
    return n;
}

/* Element i in row-major order, of any dtype and at any alignment. */
static inline double sp_tensor_at(const SpTensor *t, int64_t i)
{
    const unsigned char *at = (const unsigned char *)t->data + (size_t)i * sp_dtype_size(t->dtype);
    union {
        float f32;
        uint16_t u16;
        double f64;
        int32_t i32;
        int64_t i64;
    } value = {0};
    memcpy(&value, at, sp_dtype_size(t->dtype));
    switch (t->dtype) {
    case SP_F32:
        return (double)value.f32;
    case SP_F16:
        return (double)sp_f16_to_f32(value.u16);
    case SP_BF16:
        return (double)sp_bf16_to_f32(value.u16);
    case SP_F64:
        return value.f64;
    case SP_I32:
        return value.i32;
    case SP_I64:
        return (double)value.i64;
    default:
        return *at;
    }
}

#endif
