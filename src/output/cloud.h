/*
 * Points of the depth maps, in the world and with their colours (src/output/README.md, "Clouds").
 */
#ifndef SP_OUTPUT_CLOUD_H
#define SP_OUTPUT_CLOUD_H

#include "base/status.h"
#include "output/result.h"

/* Whether the depth of pixel x, y of frame t, of the H x W frames, is trusted: finite, above 0, its
 * confidence above 0.5. */
bool sp_cloud_trusts(const SpResult *result, int64_t t, int64_t y, int64_t x);

/* world [3] = the point that a pixel of frame t shows; rgb [3] = its colour as in the video. */
void sp_cloud_point(const SpResult *result, int64_t t, int64_t y, int64_t x, float world[3]);
void sp_cloud_colour(const SpClip *clip, int64_t t, int64_t y, int64_t x, uint8_t rgb[3]);

/* The geometric mean of the trusted depths of the first frame; 1 without any. */
double sp_cloud_depth(const SpResult *result);

/* Of one cube of space: sums over its `count` points. */
typedef struct SpCloudCell {
    int32_t place[3]; /* in sides of the cube from the world's origin */
    uint32_t count;
    float sum[3];
    uint32_t rgb[3];
} SpCloudCell;

typedef struct SpCloud {
    SpCloudCell *cell; /* owned; in the order in which they are first met */
    int64_t count;
    float side; /* of a cube */
} SpCloud;

/* The trusted points of all frames that stand still, one cell a cube of `side` = what a pixel, or
 * every step-th of a clip of more than 2 million, is wide at sp_cloud_depth in the first frame.
 * SP_MEMORY; *cloud is released with sp_cloud_free then, too. */
SpStatus sp_cloud_fuse(const SpResult *result, SpCloud *cloud);

/* The most bytes that fusing T frames of H x W pixels takes. */
size_t sp_cloud_bytes(int64_t frames, int64_t height, int64_t width);

/* Frees the cells; the cloud is empty afterwards. */
void sp_cloud_free(SpCloud *cloud);

#endif
