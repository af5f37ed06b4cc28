#include "pipeline/stages.h"

#include <stdlib.h>

static const double REPLACE_RATIO = 0.2; /* as published */

static SpFrontInput front_input(const SpRun *run, int64_t frames)
{
    return (SpFrontInput){.frames = frames,
                          .height = run->clip.plan.height,
                          .width = run->clip.plan.width,
                          .video = run->clip.video};
}

static SpTrackerInput tracker_input(const SpRun *run, int64_t frames, int64_t queries)
{
    return (SpTrackerInput){.frames = frames,
                            .height = run->clip.plan.height,
                            .width = run->clip.plan.width,
                            .video = run->clip.video,
                            .depth = run->geometry.depth,
                            .confident = run->geometry.confidence,
                            .intrinsics = run->geometry.intrinsics,
                            .c2w = run->geometry.c2w,
                            .queries = queries,
                            .query = run->working};
}

static SpTrackerSettings tracker_settings(const SpRun *run)
{
    const SpJob *job = run->job;
    return (SpTrackerSettings){.iterations = (int)job->iterations,
                               .support = run->support,
                               .seed = (uint64_t)job->seed,
                               .fixed_camera = job->fixed_camera,
                               .replace_ratio = REPLACE_RATIO};
}

bool sp_stage_is_used(const SpRun *run, SpStage stage)
{
    return stage == SP_STAGE_FRONT ? run->with_front : run->with_tracker;
}

SpStatus sp_stage_run_front(void *self, SpNn *nn)
{
    const SpStageCall *call = self;
    const SpFrontInput input = front_input(call->run, call->frames);
    return sp_front_run(call->run->models->model[SP_STAGE_FRONT].front, nn, &input, call->front);
}

SpStatus sp_stage_run_tracker(void *self, SpNn *nn)
{
    const SpStageCall *call = self;
    SpRun *run = call->run;
    const SpTrackerInput input = tracker_input(run, call->frames, call->queries);
    const SpTrackerSettings settings = tracker_settings(run);
    return sp_tracker_run(run->models->model[SP_STAGE_TRACKER].tracker, nn, &input, &settings,
                          &run->tracks);
}

/* Floats of `geometry` and `tracks`. */
static size_t result_floats(const SpRun *run, int64_t frames, int64_t queries)
{
    const int64_t area = run->clip.plan.height * run->clip.plan.width;
    const int64_t geometry = 2 * area + 9 + 9 + 16, pairs = (3 + 3 + 1 + 1) * queries;
    const int64_t tracks = run->with_tracker ? 9 + 16 + pairs : 0;
    return (size_t)(frames * (geometry + tracks) + queries);
}

size_t sp_stages_result_bytes(const SpRun *run, int64_t frames, int64_t queries)
{
    return result_floats(run, frames, queries) * sizeof(float);
}

static SpStatus acquire_front(SpRun *run)
{
    return run->with_front
               ? sp_models_acquire(run->models, SP_STAGE_FRONT, sp_model_info(SP_MODEL_FRONT)->name,
                                   &run->front_place)
               : sp_ok();
}

static SpStatus acquire_tracker(SpRun *run)
{
    return run->with_tracker
               ? sp_models_acquire(run->models, SP_STAGE_TRACKER, sp_run_tracker_model(run->job),
                                   &run->tracker_place)
               : sp_ok();
}

SpStatus sp_stages_acquire(SpRun *run)
{
    SP_TRY(acquire_front(run));
    return acquire_tracker(run);
}

/* The next `count` floats of the run's memory. */
static float *part(float **at, int64_t count)
{
    float *begin = *at;
    *at += count;
    return begin;
}

static SpStatus alloc_results(SpRun *run)
{
    const int64_t t = run->clip.frames, n = run->queries;
    const int64_t area = t * run->clip.plan.height * run->clip.plan.width;
    SpGeometry *geometry = &run->geometry;
    SpTrackerOutput *tracks = &run->tracks;
    float *at = run->memory = malloc(sp_stages_result_bytes(run, t, n));
    if (!at)
        return sp_no_memory("depth and tracks; use fewer frames with --max-frames");
    geometry->depth = part(&at, area);
    geometry->confidence = part(&at, area);
    geometry->intrinsics = part(&at, 9 * t);
    geometry->c2w = part(&at, 16 * t);
    if (!run->with_tracker)
        return sp_ok();
    tracks->intrinsics = part(&at, 9 * t);
    tracks->c2w = part(&at, 16 * t);
    tracks->tracks = part(&at, 3 * t * n);
    tracks->camera_points = part(&at, 3 * t * n);
    tracks->visibility = part(&at, t * n);
    tracks->confidence = part(&at, t * n);
    tracks->dynamic = part(&at, n);
    tracks->depth = geometry->depth; /* in place: see SpTrackerOutput */
    tracks->valid = geometry->confidence;
    return sp_ok();
}

static SpStatus run_front(SpRun *run)
{
    const int64_t frames = run->clip.frames;
    float *encoding = malloc((size_t)(9 * frames) * sizeof *encoding);
    if (!encoding)
        return sp_no_memory("the camera encodings");
    const SpFrontOutput output = {run->geometry.depth, run->geometry.confidence, encoding,
                                  run->geometry.c2w, run->geometry.intrinsics};
    SpStageCall call = {run, frames, run->queries, &output};
    const SpStatus status =
        sp_models_run(run->models, SP_STAGE_FRONT, &run->footprint[SP_STAGE_FRONT], (double)frames,
                      sp_stage_run_front, &call, sp_run_new_stage(run));
    free(encoding);
    return status;
}

static SpStatus run_tracker(SpRun *run)
{
    const SpFramePlan *plan = &run->clip.plan;
    SpStageCall call = {run, run->clip.frames, run->queries, NULL};
    for (int64_t i = 0; i < run->clip.frames * plan->height * plan->width; i++)
        run->geometry.confidence[i] = run->geometry.confidence[i] > 0.5f;
    return sp_models_run(run->models, SP_STAGE_TRACKER, &run->footprint[SP_STAGE_TRACKER],
                         (double)run->clip.frames, sp_stage_run_tracker, &call,
                         sp_run_new_stage(run));
}

SpStatus sp_stages_run(SpRun *run)
{
    const SpJob *job = run->job;
    const SpFramePlan *plan = &run->clip.plan;
    SP_TRY(alloc_results(run));
    SP_TRY(acquire_front(run));
    if (run->with_front)
        SP_TRY(run_front(run));
    else
        SP_TRY(sp_geometry_file_read(job->geometry, run->clip.frames, plan->height, plan->width,
                                     &run->geometry));
    /* Open when it was planned, it may have been put to sleep since. */
    SP_TRY(acquire_tracker(run));
    return run->with_tracker ? run_tracker(run) : sp_ok();
}
