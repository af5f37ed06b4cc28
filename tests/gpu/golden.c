#include "gpu/golden.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/tensor.h"
#include "gpu/check.h"
#include "media/frame_plan.h"

SpStatus golden_read(const char *folder, const char *name, const Front *front, Golden *golden,
                     Clip *clip)
{
    char path[4096];
    SpFramePlan plan;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    SP_TRY(sp_safetensors_open(path, SP_INPUT, &golden->file));
    const SpTensor *frames = sp_safetensors_find(golden->file, "frames");
    if (!frames)
        return sp_error(SP_INPUT, "%s holds no frames", path);
    SP_TRY(sp_frame_plan(frames->dim[1], frames->dim[2], sp_front_width(front->front),
                         sp_front_patch(front->front), SP_PORTRAIT_CROP, 0, &plan));
    *clip = clip_of_noise(frames->dim[0], plan.height, plan.width);
    for (int64_t i = 0; i < frames->dim[0]; i++)
        SP_TRY(sp_frame_resize(
            &plan, (const uint8_t *)frames->data + i * frames->dim[1] * frames->dim[2] * 3,
            clip->video + i * 3 * plan.height * plan.width));
    return sp_ok();
}

void golden_end(Golden *golden)
{
    sp_safetensors_close(golden->file);
}

/* [t, h, w], of which the golden has every step-th row and column. */
typedef struct Ours {
    const float *x;
    int64_t t, h, w, step;
} Ours;

static void compare(const Golden *golden, const char *tensor, Ours ours, const char *name,
                    double tolerance)
{
    const int64_t h = ours.h, w = ours.w, step = ours.step;
    const SpTensor *theirs = sp_safetensors_find(golden->file, tensor);
    const int64_t ho = (h + step - 1) / step, wo = (w + step - 1) / step, count = ours.t * ho * wo;
    if (!theirs || sp_tensor_count(theirs) != count) {
        check(false, "%s: the golden's %s has another shape", name, tensor);
        return;
    }
    float *a = malloc((size_t)count * sizeof *a), *b = malloc((size_t)count * sizeof *b);
    if (!a || !b)
        abort();
    for (int64_t i = 0; i < count; i++) {
        a[i] = ours.x[(i / (ho * wo) * h + i / wo % ho * step) * w + i % wo * step];
        b[i] = (float)sp_tensor_at(theirs, i);
    }
    const double error = worst_error(a, b, count);
    check(error <= tolerance, "%s, %s: %.2g of the golden's", name, tensor, error);
    free(a), free(b);
}

void golden_check(const Golden *golden, const Clip *c, const char *name, double tolerance)
{
    const Ours depth = {c->depth, c->frames, c->height, c->width, 7};
    const Ours confidence = {c->confidence, c->frames, c->height, c->width, 7};
    compare(golden, "poses_pred", (Ours){c->c2w, c->frames, 4, 4, 1}, name, tolerance);
    compare(golden, "intrs", (Ours){c->intrinsics, c->frames, 3, 3, 1}, name, tolerance);
    compare(golden, "depth", depth, name, tolerance);
    compare(golden, "unc_metric", confidence, name, tolerance);
}
