#include <stdlib.h>

#include "job_internal.h"
#include "base/memory.h"

static const double REPLACE_RATIO = 0.2;

void sp_run_add_stage(SpRun *run, const char *name, double seconds, const SpNn *nn,
                      const SpCheckpoint *weights)
{
    SpReport *report = &run->report;
    report->stages[report->stage_count++] =
        (SpStageReport){.name = name,
                        .seconds = seconds,
                        .peak_host_bytes = nn ? nn->host.peak + nn->arena.peak : 0,
                        .weight_bytes = weights ? sp_checkpoint_bound_bytes(weights) : 0};
}

static SpFrontInput front_input(const SpRun *run, int64_t frames)
{
    return (SpFrontInput){.frames = frames,
                          .height = run->clip.plan.height,
                          .width = run->clip.plan.width,
                          .video = run->clip.video};
}

static SpTrackerInput tracker_input(const SpRun *run, int64_t frames)
{
    return (SpTrackerInput){.frames = frames,
                            .height = run->clip.plan.height,
                            .width = run->clip.plan.width,
                            .video = run->clip.video,
                            .depth = run->geometry.depth,
                            .confident = run->geometry.confidence,
                            .intrinsics = run->geometry.intrinsics,
                            .c2w = run->geometry.c2w,
                            .queries = run->queries,
                            .query = run->working};
}

static SpTrackerSettings tracker_settings(const SpRun *run)
{
    const SpJob *job = run->job;
    const int64_t asked = job->vo_points;
    return (SpTrackerSettings){.iterations = (int)job->iterations,
                               .support = asked < 0 ? sp_tracker_support(run->tracker) : asked,
                               .seed = (uint64_t)job->seed,
                               .fixed_camera = job->fixed_camera,
                               .replace_ratio = REPLACE_RATIO};
}

/* What a stage needs for that many frames of the clip. */
typedef struct Need {
    size_t device, host;
} Need;

static SpStatus front_need(const SpRun *run, int64_t frames, Need *need)
{
    const SpFrontInput input = front_input(run, frames);
    SpNn dry = sp_nn_dry(run->device);
    *need = (Need){0};
    if (!run->front)
        return sp_ok();
    SP_TRY(sp_front_run(run->front, &dry, &input, NULL));
    *need = (Need){dry.arena.peak, dry.host.peak};
    return sp_ok();
}

static SpStatus tracker_need(const SpRun *run, int64_t frames, Need *need)
{
    const SpTrackerInput input = tracker_input(run, frames);
    SpNn dry = sp_nn_dry(run->device);
    *need = (Need){0};
    if (!run->tracker)
        return sp_ok();
    const SpTrackerSettings settings = tracker_settings(run);
    SP_TRY(sp_tracker_run(run->tracker, &dry, &input, &settings, NULL));
    *need = (Need){dry.arena.peak, dry.host.peak};
    return sp_ok();
}

/* Floats of geometry and found for that many frames. */
static size_t result_floats(const SpRun *run, int64_t frames)
{
    const int64_t area = run->clip.plan.height * run->clip.plan.width;
    const int64_t geometry = 2 * area + 9 + 9 + 16, pairs = (3 + 3 + 1 + 1) * run->queries;
    const int64_t found = run->tracker ? 9 + 16 + pairs : 0;
    return (size_t)(frames * (geometry + found) + run->queries);
}

/* The bytes that stages and results need on top of the clip. */
static SpStatus need_of(const SpRun *run, int64_t frames, size_t *bytes)
{
    Need front, tracker;
    SP_TRY(front_need(run, frames, &front));
    SP_TRY(tracker_need(run, frames, &tracker));
    const size_t a = front.device + front.host, b = tracker.device + tracker.host;
    *bytes = (a > b ? a : b) + result_floats(run, frames) * sizeof(float);
    return sp_ok();
}

SpStatus sp_run_check_memory(SpRun *run)
{
    const size_t available = sp_memory_available();
    size_t need;
    SP_TRY(need_of(run, run->clip.frames, &need));
    sp_console_detail(run->console, "memory: needs %zu MB, %zu MB are available", need >> 20,
                      available >> 20);
    if (need <= available)
        return sp_ok();
    int64_t fits = 0;
    for (int64_t most = run->clip.frames; fits + 1 < most;) {
        const int64_t middle = fits + (most - fits) / 2;
        size_t bytes;
        SP_TRY(need_of(run, middle, &bytes));
        *(bytes <= available ? &fits : &most) = middle;
    }
    if (fits == 0)
        return sp_error(SP_MEMORY,
                        "%lld frames need %zu MB, %zu MB are available; not even one frame "
                        "fits",
                        (long long)run->clip.frames, need >> 20, available >> 20);
    return sp_error(SP_MEMORY,
                    "%lld frames need %zu MB, %zu MB are available; use --max-frames %lld",
                    (long long)run->clip.frames, need >> 20, available >> 20, (long long)fits);
}

static SpStatus take_results(SpRun *run)
{
    const int64_t t = run->clip.frames, n = run->queries;
    const int64_t area = t * run->clip.plan.height * run->clip.plan.width;
    float *at = run->memory = malloc(result_floats(run, t) * sizeof *at);
    if (!at)
        return sp_no_memory("depth and tracks; use fewer frames with --max-frames");
    float **const part[] = {
        &run->geometry.depth,   &run->geometry.confidence, &run->geometry.intrinsics,
        &run->geometry.c2w,     &run->found.intrinsics,    &run->found.c2w,
        &run->found.tracks,     &run->found.camera_points, &run->found.visibility,
        &run->found.confidence, &run->found.dynamic};
    const int64_t size[] = {area,      area,      9 * t, 16 * t, 9 * t, 16 * t,
                            3 * t * n, 3 * t * n, t * n, t * n,  n};
    const int parts = run->tracker ? 11 : 4;
    for (int i = 0; i < parts; i++, at += size[i - 1])
        *part[i] = at;
    run->found.depth = run->geometry.depth; /* in place: see SpTrackerOutput */
    run->found.valid = run->geometry.confidence;
    return sp_ok();
}

static SpStatus run_front(SpRun *run)
{
    const SpFrontInput input = front_input(run, run->clip.frames);
    Need need;
    SpNn nn;
    SP_TRY(front_need(run, run->clip.frames, &need));
    float *encoding = malloc((size_t)(9 * input.frames) * sizeof *encoding);
    if (!encoding)
        return sp_no_memory("the camera encodings");
    const SpFrontOutput output = {run->geometry.depth, run->geometry.confidence, encoding,
                                  run->geometry.c2w, run->geometry.intrinsics};
    sp_console_begin(run->console, "front", (double)input.frames);
    SpStatus status = sp_nn_open(run->device, need.device, need.host, &nn);
    if (status.code == SP_OK) {
        nn.progress = &run->console->progress;
        status = sp_front_run(run->front, &nn, &input, &output);
        sp_run_add_stage(run, "front", sp_console_end(run->console), &nn, run->front_weights);
        sp_nn_close(&nn);
    }
    free(encoding);
    return status;
}

static SpStatus run_tracker(SpRun *run)
{
    const SpTrackerInput input = tracker_input(run, run->clip.frames);
    const SpTrackerSettings settings = tracker_settings(run);
    Need need;
    SpNn nn;
    for (int64_t i = 0; i < input.frames * input.height * input.width; i++)
        run->geometry.confidence[i] = run->geometry.confidence[i] > 0.5f;
    SP_TRY(tracker_need(run, run->clip.frames, &need));
    sp_console_begin(run->console, "tracker", (double)input.frames);
    SpStatus status = sp_nn_open(run->device, need.device, need.host, &nn);
    if (status.code != SP_OK)
        return status;
    nn.progress = &run->console->progress;
    status = sp_tracker_run(run->tracker, &nn, &input, &settings, &run->found);
    sp_run_add_stage(run, "tracker", sp_console_end(run->console), &nn, run->tracker_weights);
    sp_nn_close(&nn);
    return status;
}

SpStatus sp_run_stages(SpRun *run)
{
    const SpJob *job = run->job;
    const SpFramePlan *plan = &run->clip.plan;
    SP_TRY(take_results(run));
    if (run->front)
        SP_TRY(run_front(run));
    else
        SP_TRY(sp_geometry_read(job->geometry, run->clip.frames, plan->height, plan->width,
                                &run->geometry));
    return run->tracker ? run_tracker(run) : sp_ok();
}
