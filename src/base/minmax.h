/* The smaller and the larger of two counts. */
#ifndef SP_BASE_MINMAX_H
#define SP_BASE_MINMAX_H

#include <stdint.h>

static inline int64_t sp_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t sp_max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

#endif
