#include "gpu/trackers.h"

#include <math.h>
#include <stdlib.h>

#include "store/locate.h"

static void *zeros(int64_t count, size_t size)
{
    void *x = calloc((size_t)count, size);
    if (!x)
        abort();
    return x;
}

static SpStatus open_checkpoint(const char *goldens, const char *manifest, SpModelId built_in,
                                SpCheckpoint **out)
{
    if (manifest)
        return synthetic_checkpoint(goldens, manifest, SP_F32, out);
    return sp_weights_open(&(SpLocated){.model = built_in, .embedded = true}, out);
}

SpStatus tracker_make(const char *goldens, const char *manifest, Tracker *out)
{
    *out = (Tracker){0};
    SP_TRY(open_checkpoint(goldens, manifest, SP_MODEL_OFFLINE, &out->checkpoint));
    return sp_tracker_open(out->checkpoint, SP_TRACKER_OFFLINE, &out->tracker);
}

void tracker_end(Tracker *tracker)
{
    sp_tracker_close(tracker->tracker);
    sp_checkpoint_close(tracker->checkpoint);
    *tracker = (Tracker){0};
}

/* Pieces of one block of floats. */
static float *piece(float **at, int64_t count)
{
    *at += count;
    return *at - count;
}

static void fill_frames(int64_t frames, int64_t height, int64_t width, float *video, float *depth,
                        float *confident)
{
    for (int64_t i = 0; i < frames * height * width; i++) {
        const int64_t area = height * width, t = i / area, at = i % area;
        const float x = (float)(at % width), y = (float)(at / width), time = (float)t;
        const bool step = x > 180 && x < 300 && y > 90 && y < 220;
        const float wave[3] = {0.05f * x + 0.03f * y + 0.1f * time,
                               0.11f * x - 0.07f * y + 0.2f * time,
                               0.023f * x + 0.19f * y - 0.1f * time};
        for (int c = 0; c < 3; c++)
            video[(3 * t + c) * area + at] = 127.5f * (1 + sinf(wave[c]) * cosf(0.013f * (x + y)));
        depth[i] = 2 + 0.002f * x + 0.003f * y - (step ? 0.6f : 0);
        confident[i] = 1;
    }
}

static void fill_cameras(int64_t frames, int64_t height, int64_t width, float *k, float *c2w)
{
    for (int64_t t = 0; t < frames; t++) {
        const float focal[9] = {0.87f * (float)width,
                                0,
                                (float)width / 2,
                                0,
                                0.87f * (float)width,
                                (float)height / 2,
                                0,
                                0,
                                1};
        for (int i = 0; i < 9; i++)
            k[9 * t + i] = focal[i];
        for (int i = 0; i < 4; i++)
            c2w[16 * t + 5 * i] = 1;
        c2w[16 * t + 3] = 0.01f * (float)t;
    }
}

Track track_of_waves(int64_t frames, int64_t height, int64_t width, int64_t queries,
                     int64_t support)
{
    const int64_t area = frames * height * width, pairs = frames * queries;
    float *memory = zeros(7 * area + 50 * frames + 8 * pairs + 4 * queries, sizeof(float));
    float *at = memory;
    float *video = piece(&at, 3 * area), *depth = piece(&at, area), *confident = piece(&at, area);
    float *k = piece(&at, 9 * frames), *c2w = piece(&at, 16 * frames);
    float *query = piece(&at, 3 * queries);
    fill_frames(frames, height, width, video, depth, confident);
    fill_cameras(frames, height, width, k, c2w);
    for (int64_t n = 0; n < queries; n++) {
        query[3 * n] = (float)(n % 2 * (frames / 2));
        query[3 * n + 1] = (float)(width / 20 + n * 37 % (width * 9 / 10));
        query[3 * n + 2] = (float)(height / 20 + n * 53 % (height * 9 / 10));
    }
    return (Track){.input = {.frames = frames,
                             .height = height,
                             .width = width,
                             .video = video,
                             .depth = depth,
                             .confident = confident,
                             .intrinsics = k,
                             .c2w = c2w,
                             .queries = queries,
                             .query = query},
                   .settings = {.iterations = 4, .support = support, .replace_ratio = 0.2},
                   .output = {.tracks = piece(&at, 3 * pairs),
                              .camera_points = piece(&at, 3 * pairs),
                              .visibility = piece(&at, pairs),
                              .confidence = piece(&at, pairs),
                              .dynamic = piece(&at, queries),
                              .c2w = piece(&at, 16 * frames),
                              .intrinsics = piece(&at, 9 * frames),
                              .depth = piece(&at, area),
                              .valid = piece(&at, area)},
                   .memory = memory};
}

void track_end(Track *track)
{
    free(track->memory);
}

static SpStatus run_tracker(void *self, SpNn *nn)
{
    const TrackStage *stage = self;
    return sp_tracker_run(stage->tracker->tracker, nn, &stage->track->input,
                          &stage->track->settings, &stage->track->output);
}

SpDryRun track_stage(const Tracker *tracker, Track *track, TrackStage *stage)
{
    *stage = (TrackStage){tracker, track};
    return (SpDryRun){run_tracker, stage, sp_checkpoint_weights(tracker->checkpoint)};
}

SpStatus track_run(const Tracker *tracker, SpDevice *device, const SpPlan *plan, Track *track,
                   Took *took)
{
    TrackStage self;
    const SpDryRun stage = track_stage(tracker, track, &self);
    return stage_run(&stage, device, plan, took);
}

bool track_fit(const Tracker *tracker, SpDevice *device, size_t budget, Track *track,
               SpFootprint *footprint)
{
    TrackStage self;
    bool fits = false;
    const SpDryRun stage = track_stage(tracker, track, &self);
    const SpMemoryLimits limits = {.device = budget, .host = SIZE_MAX};
    return sp_plan_choose(device, &stage, &(SpPlanConstraints){0}, &limits, footprint, &fits)
                   .code == SP_OK &&
           fits;
}

SpStatus sam_make(const char *goldens, const char *manifest, Sam *out)
{
    *out = (Sam){0};
    SP_TRY(open_checkpoint(goldens, manifest, SP_MODEL_SAM_LITE, &out->checkpoint));
    return sp_sam_open(out->checkpoint, &out->sam);
}

void sam_end(Sam *sam)
{
    sp_sam_close(sam->sam);
    sp_checkpoint_close(sam->checkpoint);
    *sam = (Sam){0};
}

Mask mask_of_disc(int64_t height, int64_t width)
{
    Mask mask = {height, width, zeros(3 * height * width, 1), zeros(height * width, 1), 0};
    for (int64_t i = 0; i < 3 * height * width; i++) {
        const double x = (double)(i / 3 % width) - 0.5 * (double)width;
        const double y = (double)(i / 3 / width) - 0.5 * (double)height;
        const bool disc = x * x + y * y < 0.07 * (double)(height * height);
        mask.rgb[i] =
            (uint8_t)(127.5 * (1 + (disc ? 0.3 : 1) * sin(0.05 * x + 0.03 * y + (double)(i % 3))));
    }
    return mask;
}

void mask_end(Mask *mask)
{
    free(mask->rgb), free(mask->mask);
}

static SpStatus run_sam(void *self, SpNn *nn)
{
    const MaskStage *stage = self;
    Mask *m = stage->mask;
    const double point[2] = {0.5 * (double)m->width, 0.5 * (double)m->height};
    const int label = 1;
    const SpPrompt prompt = {1, point, &label, NULL};
    const SpSamInput input = {.height = m->height,
                              .width = m->width,
                              .rgb = m->rgb,
                              .objects = 1,
                              .prompt = &prompt,
                              .select = SP_SAM_FIRST};
    return sp_sam_run(stage->sam->sam, nn, &input, &(SpSamOutput){m->mask, &m->iou});
}

SpDryRun mask_stage(const Sam *sam, Mask *mask, MaskStage *stage)
{
    *stage = (MaskStage){sam, mask};
    return (SpDryRun){run_sam, stage, sp_checkpoint_weights(sam->checkpoint)};
}

SpStatus mask_run(const Sam *sam, SpDevice *device, const SpPlan *plan, Mask *mask, Took *took)
{
    MaskStage self;
    const SpDryRun stage = mask_stage(sam, mask, &self);
    return stage_run(&stage, device, plan, took);
}
