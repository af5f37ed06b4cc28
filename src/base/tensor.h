/*
 * A typed view of row-major numbers: what checkpoints, goldens and kernels exchange.
 */
#ifndef SP_BASE_TENSOR_H
#define SP_BASE_TENSOR_H

#include <stddef.h>
#include <stdint.h>

enum { SP_MAX_RANK = 8 };

typedef enum SpDtype { SP_F32, SP_F16, SP_BF16, SP_F64, SP_I32, SP_I64, SP_U8, SP_BOOL } SpDtype;

/* A view; it owns nothing. rank 0 is a scalar. */
typedef struct SpTensor {
    const void *data;
    SpDtype dtype;
    int rank;
    int64_t dim[SP_MAX_RANK];
} SpTensor;

/* Bytes of one element. */
static inline size_t sp_dtype_size(SpDtype dtype)
{
    static const size_t size[] = {[SP_F32] = 4, [SP_F16] = 2, [SP_BF16] = 2, [SP_F64] = 8,
                                  [SP_I32] = 4, [SP_I64] = 8, [SP_U8] = 1,   [SP_BOOL] = 1};
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

#endif
