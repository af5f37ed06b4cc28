#include "pipeline/run.h"

#include <stdio.h>
#include <stdlib.h>

static const double REPLACE_RATIO = 0.2;

void sp_run_add_stage(SpRun *run, const char *name, double seconds)
{
    SpReport *report = &run->report;
    report->stages[report->stage_count++] = (SpStageReport){.name = name, .seconds = seconds};
}

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

/* A stage's call, for dry runs without output. */
typedef struct Call {
    SpRun *run;
    int64_t frames, queries;
    const SpFrontOutput *output;
} Call;

static SpStatus call_front(void *self, SpNn *nn)
{
    const Call *call = self;
    const SpFrontInput input = front_input(call->run, call->frames);
    return sp_front_run(call->run->models->model[SP_STAGE_FRONT].front, nn, &input, call->output);
}

static SpStatus call_tracker(void *self, SpNn *nn)
{
    const Call *call = self;
    SpRun *run = call->run;
    const SpTrackerInput input = tracker_input(run, call->frames, call->queries);
    const SpTrackerSettings settings = tracker_settings(run);
    return sp_tracker_run(run->models->model[SP_STAGE_TRACKER].tracker, nn, &input, &settings,
                          &run->found);
}

/* Floats of geometry and found. */
static size_t result_floats(const SpRun *run, int64_t frames, int64_t queries)
{
    const int64_t area = run->clip.plan.height * run->clip.plan.width;
    const int64_t geometry = 2 * area + 9 + 9 + 16, pairs = (3 + 3 + 1 + 1) * queries;
    const int64_t found = run->with_tracker ? 9 + 16 + pairs : 0;
    return (size_t)(frames * (geometry + found) + queries);
}

static SpStatus wake_front(SpRun *run)
{
    return run->with_front
               ? sp_models_acquire(run->models, SP_STAGE_FRONT, "front", &run->front_place)
               : sp_ok();
}

static SpStatus wake_tracker(SpRun *run)
{
    return run->with_tracker
               ? sp_models_acquire(run->models, SP_STAGE_TRACKER, sp_run_tracker_model(run->job),
                                   &run->tracker_place)
               : sp_ok();
}

/* Plans of all stages for that many frames and points in `room`, less the results; *fits is the
 * first stage that does not, or SP_STAGES. */
static SpStatus plan_all(SpRun *run, int64_t frames, int64_t queries, const SpMemoryLimits *room,
                         SpFootprint need[SP_STAGES], SpStage *failing)
{
    static SpStatus (*const calls[])(void *, SpNn *) = {
        [SP_STAGE_FRONT] = call_front, [SP_STAGE_TRACKER] = call_tracker};
    const bool with[] = {
        [SP_STAGE_FRONT] = run->with_front, [SP_STAGE_TRACKER] = run->with_tracker};
    const size_t results = result_floats(run, frames, queries) * sizeof(float);
    const SpMemoryLimits left = {room->device, room->host > results ? room->host - results : 0};
    Call call = {run, frames, queries, NULL};
    *failing = SP_STAGES;
    for (SpStage stage = SP_STAGE_FRONT; stage < SP_STAGES; stage++) {
        bool fits = true;
        need[stage] = (SpFootprint){0};
        if (with[stage])
            SP_TRY(sp_models_plan(run->models, stage, &left, calls[stage], &call, &need[stage],
                                  &fits));
        if (!fits && *failing == SP_STAGES)
            *failing = stage;
    }
    return sp_ok();
}

/* The largest count below `beyond` that fits, the smaller of which all do; 0: none. `frames` 0:
 * counts frames; else points on so many. */
static SpStatus most(SpRun *run, int64_t frames, int64_t queries, int64_t beyond, int64_t *out)
{
    SpFootprint need[SP_STAGES];
    SpStage failing = SP_STAGES;
    SpMemoryLimits room;
    bool bounded = false; /* beyond is known not to fit */
    SP_TRY(sp_models_memory_limits(run->models, 0, &room));
    for (*out = 0; *out + 1 < beyond;) {
        const int64_t twice = *out ? 2 * *out : 1, middle = *out + (beyond - *out) / 2;
        const int64_t count = !bounded && twice < beyond ? twice : middle;
        SP_TRY(plan_all(run, frames ? frames : count, frames ? count : queries, &room, need,
                        &failing));
        bounded = bounded || failing != SP_STAGES;
        *(failing == SP_STAGES ? out : &beyond) = count;
    }
    return sp_ok();
}

SpStatus sp_run_max_frames(SpRun *run, int64_t queries, int64_t *frames)
{
    return most(run, 0, queries, SP_MAX_FRAMES + 1, frames);
}

SpStatus sp_run_max_points(SpRun *run, int64_t *queries)
{
    *queries = 0;
    return run->with_tracker ? most(run, run->clip.frames, 0, SP_MAX_POINTS + 1, queries) : sp_ok();
}

/* What to do instead. */
static SpStatus does_not_fit(SpRun *run, SpStage stage, int64_t queries, const SpFootprint *need,
                             const SpMemoryLimits *room)
{
    const SpDevice *device = run->models->device;
    const size_t on_device = need->device + need->weights, beside = device->workspace_bytes;
    const bool budget = on_device > room->device, shared = device->reads_host;
    const size_t needs = budget ? on_device + beside
                                : need->host + (shared ? on_device : 0) +
                                      result_floats(run, run->clip.frames, queries) * sizeof(float);
    const size_t there = budget ? room->device + beside : room->host;
    char advice[120] = "not even one frame fits";
    int64_t frames, points = 0;
    SP_TRY(most(run, 0, queries, run->clip.frames, &frames));
    if (stage == SP_STAGE_TRACKER)
        SP_TRY(most(run, run->clip.frames, 0, queries, &points));
    if (frames && points)
        snprintf(advice, sizeof advice, "use --max-frames %lld, or at most %lld points",
                 (long long)frames, (long long)points);
    else if (frames || points)
        snprintf(advice, sizeof advice,
                 frames ? "use --max-frames %lld" : "at most %lld points fit",
                 (long long)(frames ? frames : points));
    return sp_error(SP_MEMORY, "%s: %lld frames%s need %.1f MB%s, %.1f MB are %s; %s",
                    stage == SP_STAGE_FRONT ? "front" : "tracker", (long long)run->clip.frames,
                    stage == SP_STAGE_FRONT ? "" : " and these points", (double)needs / 0x1p20,
                    budget ? " on the device" : "", (double)there / 0x1p20,
                    budget && run->job->vram_budget ? "allowed (--vram-budget)" : "available",
                    advice);
}

SpStatus sp_run_plan(SpRun *run, int64_t queries)
{
    SpMemoryLimits room;
    SpStage failing;
    SP_TRY(wake_front(run));
    SP_TRY(wake_tracker(run));
    SP_TRY(sp_models_memory_limits(run->models, 0, &room));
    SP_TRY(plan_all(run, run->clip.frames, queries, &room, run->need, &failing));
    run->planned = true;
    if (failing != SP_STAGES)
        return does_not_fit(run, failing, queries, &run->need[failing], &room);
    for (SpStage stage = SP_STAGE_FRONT; stage < SP_STAGES; stage++)
        if (run->need[stage].device)
            sp_console_detail(run->console,
                              "%s: plans %zu MB on the device, weights %s, and %zu MB on the host",
                              stage == SP_STAGE_FRONT ? "front" : "tracker",
                              (run->need[stage].device + run->need[stage].weights) >> 20,
                              sp_plan_mode(&run->need[stage].plan), run->need[stage].host >> 20);
    return sp_ok();
}

static SpStatus take_results(SpRun *run)
{
    const int64_t t = run->clip.frames, n = run->queries;
    const int64_t area = t * run->clip.plan.height * run->clip.plan.width;
    float *at = run->memory = malloc(result_floats(run, t, n) * sizeof *at);
    if (!at)
        return sp_no_memory("depth and tracks; use fewer frames with --max-frames");
    float **const part[] = {
        &run->geometry.depth,   &run->geometry.confidence, &run->geometry.intrinsics,
        &run->geometry.c2w,     &run->found.intrinsics,    &run->found.c2w,
        &run->found.tracks,     &run->found.camera_points, &run->found.visibility,
        &run->found.confidence, &run->found.dynamic};
    const int64_t size[] = {area,      area,      9 * t, 16 * t, 9 * t, 16 * t,
                            3 * t * n, 3 * t * n, t * n, t * n,  n};
    const int parts = run->with_tracker ? 11 : 4;
    for (int i = 0; i < parts; i++, at += size[i - 1])
        *part[i] = at;
    run->found.depth = run->geometry.depth; /* in place: see SpTrackerOutput */
    run->found.valid = run->geometry.confidence;
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
    Call call = {run, frames, run->queries, &output};
    const SpStatus status =
        sp_models_run(run->models, SP_STAGE_FRONT, &run->need[SP_STAGE_FRONT], (double)frames,
                      call_front, &call, &run->report.stages[run->report.stage_count++]);
    free(encoding);
    return status;
}

static SpStatus run_tracker(SpRun *run)
{
    const SpFramePlan *plan = &run->clip.plan;
    Call call = {run, run->clip.frames, run->queries, NULL};
    for (int64_t i = 0; i < run->clip.frames * plan->height * plan->width; i++)
        run->geometry.confidence[i] = run->geometry.confidence[i] > 0.5f;
    return sp_models_run(run->models, SP_STAGE_TRACKER, &run->need[SP_STAGE_TRACKER],
                         (double)run->clip.frames, call_tracker, &call,
                         &run->report.stages[run->report.stage_count++]);
}

SpStatus sp_run_stages(SpRun *run)
{
    const SpJob *job = run->job;
    const SpFramePlan *plan = &run->clip.plan;
    SP_TRY(take_results(run));
    SP_TRY(wake_front(run));
    if (run->with_front)
        SP_TRY(run_front(run));
    else
        SP_TRY(sp_geometry_file_read(job->geometry, run->clip.frames, plan->height, plan->width,
                                     &run->geometry));
    /* It was open when it was planned, but may have had to make room. */
    SP_TRY(wake_tracker(run));
    return run->with_tracker ? run_tracker(run) : sp_ok();
}
