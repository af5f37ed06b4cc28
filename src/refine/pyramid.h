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

#endif
