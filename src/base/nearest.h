/* Nearest resampling as the reference does it (src/media/README.md, "Nearest"). */
#ifndef SP_BASE_NEAREST_H
#define SP_BASE_NEAREST_H

#include <stdint.h>

/* The source index floor(i * in / out) with the ratio in float32. */
static inline int64_t sp_nearest_index(int64_t i, int64_t in, int64_t out)
{
    const int64_t j = (int64_t)((float)i * ((float)in / (float)out));
    return j < in ? j : in - 1;
}

#endif
