/*
 * A frame in gray at its own size and halved again and again (Burt and Adelson 1983).
 */
#ifndef SP_REFINE_PYRAMID_H
#define SP_REFINE_PYRAMID_H

#include <stdint.h>

#include "base/status.h"

enum { SP_MAX_PYRAMID_LEVELS = 8 };

/* Pixel x, y of level k lies on pixel 2^k x, 2^k y of the frame; centres are whole numbers. */
typedef struct SpPyramid {
    int levels;
    int64_t height[SP_MAX_PYRAMID_LEVELS], width[SP_MAX_PYRAMID_LEVELS];
    float *gray[SP_MAX_PYRAMID_LEVELS]; /* [height, width], 0..255 */
    int threads;                        /* that fill it */
    float *row;                         /* [threads, width of the frame] work */
} SpPyramid;

/* Bytes that a pyramid of frames of that size takes, at most. */
size_t sp_pyramid_bytes(int64_t height, int64_t width, int threads);

/* Levels down to one whose short side has at least 64 pixels, but `levels` at most. SP_MEMORY. The
 * caller releases it with sp_pyramid_free, also after a failure. */
SpStatus sp_pyramid_alloc(int64_t height, int64_t width, int levels, int threads,
                          SpPyramid *pyramid);
void sp_pyramid_free(SpPyramid *pyramid);

/* Fills it from RGB bytes [height, width, 3]: luma of BT.601, then each level from the one below by
 * the filter 1 4 6 4 1 / 16 in both directions. */
void sp_pyramid_fill(SpPyramid *pyramid, const uint8_t *rgb);

/* Bilinear; outside, the border goes on. Both sides have 2 pixels or more. */
static inline float sp_pyramid_sample(const float *gray, int64_t height, int64_t width, float x,
                                      float y)
{
    x = x > 0 ? x : 0; /* also where it is not a number */
    y = y > 0 ? y : 0;
    x = x < (float)(width - 1) ? x : (float)(width - 1);
    y = y < (float)(height - 1) ? y : (float)(height - 1);
    const int64_t i = (int64_t)x < width - 1 ? (int64_t)x : width - 2;
    const int64_t j = (int64_t)y < height - 1 ? (int64_t)y : height - 2;
    const float fx = x - (float)i, fy = y - (float)j;
    const float *at = gray + j * width + i;
    const float above = at[0] + fx * (at[1] - at[0]);
    const float below = at[width] + fx * (at[width + 1] - at[width]);
    return above + fy * (below - above);
}

#endif
