#define _GNU_SOURCE
#include "gpu/fronts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "gpu/check.h"
#include "support/synth.h"

SpStatus front_make(const char *goldens, const char *manifest, SpDtype dtype, Front *out)
{
    char folder[] = "/tmp/spatrack-gpu-XXXXXX", path[4096];
    *out = (Front){0};
    if (!mkdtemp(folder))
        return sp_error(SP_OUTPUT, "cannot make a folder in /tmp");
    snprintf(path, sizeof path, "%s/manifest/%s.json", goldens, manifest);
    SpStatus status = synth_checkpoint(path, folder, dtype);
    if (status.code == SP_OK)
        status = sp_checkpoint_open(folder, &out->checkpoint);
    if (status.code == SP_OK)
        status = sp_front_open(out->checkpoint, &out->front);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    unlink(path);
    snprintf(path, sizeof path, "%s/config.json", folder);
    unlink(path);
    rmdir(folder);
    return status;
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

/* A clip and the model that sees it, as the planner runs it. */
typedef struct Stage {
    const Front *front;
    Clip *clip;
} Stage;

static SpStatus run_stage(void *self, SpNn *nn)
{
    const Stage *stage = self;
    const Clip *c = stage->clip;
    const SpFrontInput input = {c->frames, c->height, c->width, c->video};
    const SpFrontOutput output = {c->depth, c->confidence, c->pose_enc, c->c2w, c->intrinsics};
    return sp_front_run(stage->front->front, nn, &input, &output);
}

SpStatus front_need(const Front *front, SpDevice *device, const SpPlan *plan, Clip *clip,
                    SpNeed *need)
{
    Stage stage = {front, clip};
    const SpDryRun dry = {run_stage, &stage, sp_checkpoint_weights(front->checkpoint)};
    return sp_plan_need(device, &dry, plan, need);
}

bool front_fit(const Front *front, SpDevice *device, size_t room, SpPrecision precision, Clip *clip,
               SpNeed *need)
{
    Stage stage = {front, clip};
    bool fits = false;
    const SpDryRun dry = {run_stage, &stage, sp_checkpoint_weights(front->checkpoint)};
    const SpWish wish = {.precision = precision};
    const SpRoom rooms = {.device = room, .host = SIZE_MAX};
    return sp_plan_choose(device, &dry, &wish, &rooms, need, &fits).code == SP_OK && fits;
}

SpStatus front_run(const Front *front, SpDevice *device, const SpPlan *plan, Clip *clip, Took *took)
{
    Stage stage = {front, clip};
    SpWeights *weights = sp_checkpoint_weights(front->checkpoint);
    SpNeed need;
    SpNn nn;
    SP_TRY(front_need(front, device, plan, clip, &need));
    if (plan->weights == SP_RESIDENT)
        SP_TRY(sp_weights_load(weights, device));
    SP_TRY(sp_nn_open(device, need.device, need.host, &nn));
    nn.plan = *plan;
    nn.weights = weights;
    SpStatus status = device->status(device);
    const double began = sp_clock();
    if (status.code == SP_OK)
        status = run_stage(&stage, &nn);
    if (status.code == SP_OK)
        status = device->status(device);
    *took = (Took){need.device, nn.arena.peak, sp_clock() - began};
    sp_nn_close(&nn);
    sp_weights_drop(weights, device);
    return status;
}
