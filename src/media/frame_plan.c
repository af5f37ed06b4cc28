#include "media/frame_plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/minmax.h"
#include "base/nearest.h"
#include "media/resample.h"

/* n patches along the free side: round half to even of side * (size / other) / patch, in double
 * and in this order (src/media/README.md, "Resize to the working frame"). */
static int64_t patches_along(int64_t side, int64_t other, int64_t size, int64_t patch)
{
    return (int64_t)rint((double)side * ((double)size / (double)other) / (double)patch);
}

SpStatus sp_frame_plan(int64_t height, int64_t width, int64_t size, int64_t patch,
                       SpPortrait portrait, int64_t max_short_side, SpFramePlan *plan)
{
    *plan = (SpFramePlan){.input_height = height, .input_width = width};
    const double side = (double)max_short_side;
    const double s = side > 0 ? fmin(fmax(side / (double)height, side / (double)width), 1) : 1;
    const int64_t h = plan->reduced_height = (int64_t)((double)height * s);
    const int64_t w = plan->reduced_width = (int64_t)((double)width * s);
    if (portrait == SP_PORTRAIT_FIT && h > w) {
        plan->resized_height = size;
        plan->resized_width = patch * patches_along(w, h, size, patch);
    } else {
        plan->resized_width = size;
        plan->resized_height = patch * patches_along(h, w, size, patch);
    }
    if (plan->resized_height < patch || plan->resized_width < patch)
        return sp_error(SP_INPUT,
                        "a frame of %lldx%lld is too narrow: scaled to %lld pixels its other side "
                        "is below %lld",
                        (long long)width, (long long)height, (long long)size, (long long)patch);
    plan->height = sp_min(plan->resized_height, size);
    plan->width = plan->resized_width;
    plan->first_row = (plan->resized_height - plan->height) / 2;
    return sp_ok();
}

/* The first reduction rounds half to even and is kept as float. */
static SpStatus resize_with(const SpFramePlan *p, const uint8_t *rgb, float *planes, float *reduced,
                            float *resized, float *out)
{
    const int64_t pixels = p->input_height * p->input_width, area = p->height * p->width;
    const int64_t h = p->reduced_height, w = p->reduced_width;
    for (int64_t i = 0; i < pixels; i++)
        for (int64_t c = 0; c < 3; c++)
            planes[c * pixels + i] = rgb[3 * i + c];
    if (h != p->input_height || w != p->input_width) {
        SP_TRY(sp_resample_antialias(planes, 3, p->input_height, p->input_width, reduced, h, w));
        planes = reduced;
        for (int64_t i = 0; i < 3 * h * w; i++)
            planes[i] = rintf(planes[i]);
    }
    SP_TRY(sp_resample_bicubic(planes, 3, h, w, resized, p->resized_height, p->resized_width));
    resized += p->first_row * p->resized_width;
    for (int64_t c = 0; c < 3; c++, resized += p->resized_height * p->resized_width)
        memcpy(out + c * area, resized, (size_t)area * sizeof *out);
    return sp_ok();
}

SpStatus sp_frame_resize(const SpFramePlan *plan, const uint8_t *rgb, float *out)
{
    const int64_t input = plan->input_height * plan->input_width;
    const int64_t reduced = plan->reduced_height * plan->reduced_width;
    const int64_t resized = plan->resized_height * plan->resized_width;
    float *memory = malloc((size_t)(3 * (input + reduced + resized)) * sizeof *memory);
    if (!memory)
        return sp_no_memory("preparing a frame");
    const SpStatus status =
        resize_with(plan, rgb, memory, memory + 3 * input, memory + 3 * (input + reduced), out);
    free(memory);
    return status;
}

void sp_point_to_working(const SpFramePlan *plan, float x, float y, float *wx, float *wy)
{
    *wx = (float)((double)x * (double)plan->resized_width / (double)plan->input_width);
    *wy = (float)((double)y * (double)plan->resized_height / (double)plan->input_height -
                  (double)plan->first_row);
}

void sp_point_to_input(const SpFramePlan *plan, float wx, float wy, float *x, float *y)
{
    *x = (float)((double)wx * (double)plan->input_width / (double)plan->resized_width);
    *y = (float)(((double)wy + (double)plan->first_row) * (double)plan->input_height /
                 (double)plan->resized_height);
}

void sp_mask_to_working(const SpFramePlan *plan, const uint8_t *mask, uint8_t *out)
{
    const int64_t h = plan->input_height, w = plan->input_width;
    for (int64_t i = 0; i < plan->height; i++) {
        const int64_t y = sp_nearest_index(i + plan->first_row, h, plan->resized_height);
        for (int64_t j = 0; j < plan->width; j++)
            *out++ = mask[y * w + sp_nearest_index(j, w, plan->resized_width)];
    }
}

void sp_saved_size(int64_t height, int64_t width, int64_t max_side, int64_t *h, int64_t *w)
{
    const double side = (double)max_side;
    const double s = fmin(fmin(side / (double)height, side / (double)width), 1);
    *h = sp_max((int64_t)((double)height * s), 1);
    *w = sp_max((int64_t)((double)width * s), 1);
}
