#include "media/frame_plan.h"

#include <math.h>
#include <stdlib.h>

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
    int64_t h = height, w = width;
    if (max_short_side > 0) {
        const double side = (double)max_short_side;
        const double s = fmax(side / (double)h, side / (double)w);
        if (s < 1) {
            h = (int64_t)((double)h * s);
            w = (int64_t)((double)w * s);
        }
    }
    plan->reduced_height = h;
    plan->reduced_width = w;
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
    plan->height = plan->resized_height < size ? plan->resized_height : size;
    plan->width = plan->resized_width;
    plan->first_row = (plan->resized_height - plan->height) / 2;
    return sp_ok();
}

/* Antialiased reduction of byte values: rounded half to even, kept as float. */
static SpStatus reduce(const SpFramePlan *plan, const float *in, float *out)
{
    const int64_t count = 3 * plan->reduced_height * plan->reduced_width;
    SP_TRY(sp_resample_antialias(in, 3, plan->input_height, plan->input_width, out,
                                 plan->reduced_height, plan->reduced_width));
    for (int64_t i = 0; i < count; i++)
        out[i] = rintf(out[i]);
    return sp_ok();
}

static SpStatus resize_with(const SpFramePlan *plan, const uint8_t *rgb, float *planes,
                            float *reduced, float *resized, float *out)
{
    const int64_t pixels = plan->input_height * plan->input_width;
    const int64_t area = plan->height * plan->width;
    for (int64_t p = 0; p < pixels; p++)
        for (int64_t c = 0; c < 3; c++)
            planes[c * pixels + p] = rgb[3 * p + c];
    if (plan->reduced_height != plan->input_height || plan->reduced_width != plan->input_width) {
        SP_TRY(reduce(plan, planes, reduced));
        planes = reduced;
    }
    SP_TRY(sp_resample_bicubic(planes, 3, plan->reduced_height, plan->reduced_width, resized,
                               plan->resized_height, plan->resized_width));
    for (int64_t c = 0; c < 3; c++)
        for (int64_t i = 0; i < area; i++)
            out[c * area + i] =
                resized[(c * plan->resized_height + plan->first_row) * plan->resized_width + i];
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
    for (int64_t i = 0; i < plan->height; i++)
        for (int64_t j = 0; j < plan->width; j++) {
            const int64_t y =
                sp_nearest_index(i + plan->first_row, plan->input_height, plan->resized_height);
            const int64_t x = sp_nearest_index(j, plan->input_width, plan->resized_width);
            out[i * plan->width + j] = mask[y * plan->input_width + x];
        }
}

void sp_saved_size(int64_t height, int64_t width, int64_t max_side, int64_t *h, int64_t *w)
{
    const double s = fmin((double)max_side / (double)height, (double)max_side / (double)width);
    *h = s < 1 ? (int64_t)((double)height * s) : height;
    *w = s < 1 ? (int64_t)((double)width * s) : width;
    *h = *h < 1 ? 1 : *h;
    *w = *w < 1 ? 1 : *w;
}
