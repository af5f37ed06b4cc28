/*
 * The lesser and the greater of two whole numbers.
 */
#ifndef SP_BASE_MINMAX_H
#define SP_BASE_MINMAX_H

#include <stdint.h>

static inline int64_t sp_min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t sp_max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

#endif
