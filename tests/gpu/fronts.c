#include "gpu/fronts.h"

#include <stdlib.h>

#include "store/locate.h"
#include "support/synth.h"

SpStatus front_make(const char *goldens, const char *manifest, SpDtype dtype, Front *out)
{
    *out = (Front){0};
    SP_TRY(synthetic_checkpoint(goldens, manifest, dtype, &out->checkpoint));
    return sp_front_open(out->checkpoint, &out->front);
}

SpStatus front_built_in(Front *out)
{
    *out = (Front){0};
    SP_TRY(
        sp_weights_open(&(SpLocated){.model = SP_MODEL_FRONT, .embedded = true}, &out->checkpoint));
    return sp_front_open(out->checkpoint, &out->front);
}

void front_end(Front *front)
{
    sp_front_close(front->front);
    sp_checkpoint_close(front->checkpoint);
    *front = (Front){0};
}

static float *floats(int64_t count)
{
    float *x = calloc((size_t)count, sizeof *x);
    if (!x)
        abort();
    return x;
}

Clip clip_again(const Clip *clip)
{
    Clip other = *clip;
    const int64_t area = clip->frames * clip->height * clip->width;
    other.depth = floats(area);
    other.confidence = floats(area);
    other.pose_enc = floats(9 * clip->frames);
    other.c2w = floats(16 * clip->frames);
    other.intrinsics = floats(9 * clip->frames);
    return other;
}

Clip clip_of_noise(int64_t frames, int64_t height, int64_t width)
{
    const Clip size = {.frames = frames, .height = height, .width = width};
    Clip clip = clip_again(&size);
    clip.video = floats(3 * frames * height * width);
    synth_fill("video", 127.5, 127.5, 0, 3 * frames * height * width, clip.video);
    return clip;
}

void clip_again_end(Clip *clip)
{
    free(clip->depth), free(clip->confidence), free(clip->pose_enc), free(clip->c2w);
    free(clip->intrinsics);
}

void clip_end(Clip *clip)
{
    clip_again_end(clip);
    free(clip->video);
}

static SpStatus run_stage(void *self, SpNn *nn)
{
    const FrontStage *stage = self;
    const Clip *c = stage->clip;
    const SpFrontInput input = {c->frames, c->height, c->width, c->video, 0};
    const SpFrontOutput output = {c->depth, c->confidence, c->pose_enc, c->c2w, c->intrinsics};
    return sp_front_run(stage->front->front, nn, &input, &output);
}

SpDryRun front_stage(const Front *front, Clip *clip, FrontStage *stage)
{
    *stage = (FrontStage){front, clip};
    return (SpDryRun){run_stage, stage, sp_checkpoint_weights(front->checkpoint)};
}

SpStatus front_footprint(const Front *front, SpDevice *device, const SpPlan *plan, Clip *clip,
                         SpFootprint *footprint)
{
    FrontStage stage;
    const SpDryRun run = front_stage(front, clip, &stage);
    return sp_plan_footprint(device, &run, plan, footprint);
}

bool front_fit(const Front *front, SpDevice *device, size_t budget, SpPrecision precision,
               Clip *clip, SpFootprint *footprint)
{
    FrontStage stage;
    bool fits = false;
    const SpDryRun run = front_stage(front, clip, &stage);
    const SpPlanConstraints constraints = {.precision = precision};
    const SpMemoryLimits limits = {.device = budget, .host = SIZE_MAX};
    return sp_plan_choose(device, &run, &constraints, &limits, footprint, &fits).code == SP_OK &&
           fits;
}

SpStatus front_run(const Front *front, SpDevice *device, const SpPlan *plan, Clip *clip, Took *took)
{
    FrontStage stage;
    const SpDryRun run = front_stage(front, clip, &stage);
    return stage_run(&run, device, plan, took);
}
