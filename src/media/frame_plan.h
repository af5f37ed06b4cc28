/*
 * From a decoded frame to the working frame every network sees, and coordinates between the two
 * (src/media/README.md, "First reduction" to "Portrait frames").
 */
#ifndef SP_MEDIA_FRAME_PLAN_H
#define SP_MEDIA_FRAME_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef enum SpPortrait {
    SP_PORTRAIT_CROP, /* width as asked, rows beyond a square cut off above and below */
    SP_PORTRAIT_FIT   /* the whole frame, its height as asked */
} SpPortrait;

/* How frames of one size become working frames. */
typedef struct SpFramePlan {
    int64_t input_height, input_width;     /* as decoded */
    int64_t reduced_height, reduced_width; /* after the optional first reduction */
    int64_t resized_height, resized_width; /* before the crop */
    int64_t first_row;                     /* of the crop */
    int64_t height, width;                 /* the working frame */
} SpFramePlan;

/* Plans frames of height x width for networks that take `size` pixels (518) across in patches of
 * `patch` (14). max_short_side > 0: a first reduction to that short side (src/media/README.md,
 * "First reduction"). SP_INPUT when the frame is too narrow or too wide for one patch. */
SpStatus sp_frame_plan(int64_t height, int64_t width, int64_t size, int64_t patch,
                       SpPortrait portrait, int64_t max_short_side, SpFramePlan *plan);

/* Whether a coordinate lies on one of `extent` pixels, whose centres are whole numbers. */
static inline bool sp_frame_has(double x, int64_t extent)
{
    return x >= -0.5 && x <= (double)extent - 0.5;
}

/* RGB bytes [h, w, 3] of the input size to the working frame [3, H, W], 0..255, not clamped.
 * SP_MEMORY. */
SpStatus sp_frame_resize(const SpFramePlan *plan, const uint8_t *rgb, float *out);

/* Pixel x, y of the input (centres at whole numbers) as pixel wx, wy of the working frame. */
void sp_point_to_working(const SpFramePlan *plan, float x, float y, float *wx, float *wy);

/* The way back. */
void sp_point_to_input(const SpFramePlan *plan, float wx, float wy, float *x, float *y);

/* A mask [h, w] of the input's size, by nearest neighbour, to the working frame [H, W], cropped
 * alike. */
void sp_mask_to_working(const SpFramePlan *plan, const uint8_t *mask, uint8_t *out);

/* The size h x w that results of height x width are saved in: the longer side at most max_side
 * pixels (src/output/README.md, "Saved size"). */
void sp_saved_size(int64_t height, int64_t width, int64_t max_side, int64_t *h, int64_t *w);

#endif
