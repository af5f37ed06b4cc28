#include "pipeline/stages.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/ahead.h"
#include "pipeline/arrays.h"
#include "pipeline/chunks.h"
#include "pipeline/front_chunks.h"
#include "pipeline/refinement.h"
#include "pipeline/stream_plan.h"
#include "pipeline/world.h"

static const double REPLACE_RATIO = 0.2; /* as published */
/* The built-in tracker's own points lie beside its tracks (src/lite/log.md): the depth map's, on
 * the tracks' rays, are taken wherever there are any. */
static const double REPLACE_RATIO_LITE = 1;

/* A stage for so many frames and points, dry or not; the tracker's, of a clip that streams, on the
 * frames known so far. */
typedef struct Call {
    SpRun *run;
    int64_t frames, queries;
    bool more;
    SpTrackerState *state;
} Call;

static SpStatus call_front(void *self, SpNn *nn)
{
    const Call *call = self;
    return sp_front_chunks_run(call->run, nn, call->frames);
}

static SpStatus call_tracker(void *self, SpNn *nn)
{
    const Call *call = self;
    const SpRun *run = call->run;
    const SpJob *job = run->job;
    const int64_t before = run->first - run->clip.first;
    const int64_t size = 3 * run->clip.plan.height * run->clip.plan.width;
    const SpTrackerInput input = {.frames = call->frames,
                                  .height = run->clip.plan.height,
                                  .width = run->clip.plan.width,
                                  .video = nn->dry ? NULL : run->clip.video + before * size,
                                  .depth = run->geometry.depth,
                                  .confident = run->geometry.confidence,
                                  .intrinsics = run->geometry.intrinsics,
                                  .c2w = run->geometry.c2w,
                                  .queries = call->queries,
                                  .query = run->working,
                                  .first = run->first,
                                  .more = call->more,
                                  .at_once = sp_stream_at_once(run)};
    const bool lite = run->place[SP_STAGE_TRACKER].embedded;
    const SpTrackerSettings settings = {.iterations = (int)run->iterations,
                                        .support = run->support,
                                        .seed = (uint64_t)job->seed,
                                        .fixed_camera = job->fixed_camera,
                                        .replace_ratio = lite ? REPLACE_RATIO_LITE : REPLACE_RATIO,
                                        .adjust_last = lite,
                                        .retires = job->grid_every > 0};
    const SpTracker *tracker = run->models->model[SP_STAGE_TRACKER].tracker;
    if (call->state)
        return sp_tracker_advance(tracker, nn, &input, &settings, call->state, &run->tracks);
    return sp_tracker_run(tracker, nn, &input, &settings, &run->tracks);
}

static SpStageRun *const calls[SP_STAGES] = {
    [SP_STAGE_FRONT] = call_front, [SP_STAGE_TRACKER] = call_tracker};

/* Bytes of what stands beside the stages while they run. */
static size_t kept_bytes(const SpRun *run, int64_t frames, int64_t queries)
{
    const int64_t held = sp_stream_frames(run, frames);
    return sp_arrays_bytes(run, held, queries) + sp_stream_bytes(run, frames, queries) +
           sp_refinement_bytes(run, held, queries) + sp_front_chunks_bytes(run, frames) +
           sp_ahead_bytes(run) + sp_files_bytes(run->file, &run->clip.plan, held, queries);
}

SpStatus sp_stages_acquire(SpRun *run, SpStage stage)
{
    return run->has[stage] ? sp_models_acquire(run->models, stage, &run->place[stage]) : sp_ok();
}

/* Plans of both stages for that many frames and points within `limits`, less the results and what
 * writing them takes; *failing is the first stage that does not fit, or SP_STAGES. */
static SpStatus plan_both(SpRun *run, int64_t frames, int64_t queries, const SpMemoryLimits *limits,
                          SpFootprint footprint[SP_STAGES], SpStage *failing)
{
    const size_t results = kept_bytes(run, frames, queries);
    const SpMemoryLimits left = {limits->device,
                                 limits->host > results ? limits->host - results : 0};
    Call call = {.run = run, .frames = frames, .queries = queries};
    *failing = SP_STAGES;
    for (SpStage stage = SP_STAGE_FRONT; stage < SP_STAGES; stage++) {
        bool fits = true;
        if (run->has[stage])
            SP_TRY(sp_models_plan(run->models, stage, &left, calls[stage], &call, &footprint[stage],
                                  &fits));
        if (!fits && *failing == SP_STAGES)
            *failing = stage;
    }
    return sp_ok();
}

/* The largest count that fits is searched for to 1 / FINENESS of it. */
enum { FINENESS = 1024 };

/* Searches from *out, which fits or is 0, to the largest count below `end` that fits, given that
 * whatever is smaller than one that fits does. `frames` 0: counts frames; else points on so many.
 */
static SpStatus search_max(SpRun *run, int64_t frames, int64_t queries, int64_t end, int64_t *out)
{
    SpFootprint footprint[SP_STAGES];
    SpStage failing;
    SpMemoryLimits limits;
    bool bounded = false; /* `end` is known not to fit */
    SP_TRY(sp_models_memory_limits(run->models, &limits));
    while (*out + (bounded ? *out / FINENESS : 0) + 1 < end) {
        const int64_t twice = *out ? 2 * *out : 1, middle = *out + (end - *out) / 2;
        const int64_t count = !bounded && twice < end ? twice : middle;
        SP_TRY(plan_both(run, frames ? frames : count, frames ? count : queries, &limits, footprint,
                         &failing));
        if (failing == SP_STAGES) {
            *out = count;
        } else {
            end = count;
            bounded = true;
        }
    }
    return sp_ok();
}

/* The largest count below `end` that fits; 0: none. A clip of one frame more than the front takes
 * at once may fit where a shorter one does not. */
static SpStatus find_max(SpRun *run, int64_t frames, int64_t queries, int64_t end, int64_t *out)
{
    const int64_t whole = sp_chunking_whole(run->job);
    *out = 0;
    if (!frames && run->has[SP_STAGE_FRONT] && whole < end - 1) {
        *out = whole;
        SP_TRY(search_max(run, 0, queries, whole + 2, out));
        if (*out > whole)
            return search_max(run, 0, queries, end, out);
        *out = 0;
        end = whole + 1;
    }
    return search_max(run, frames, queries, end, out);
}

SpStatus sp_stages_max(SpRun *run, int64_t queries, int64_t *frames, int64_t *points)
{
    *points = 0;
    SP_TRY(find_max(run, 0, queries, SP_MAX_FRAMES + 1, frames));
    return run->has[SP_STAGE_TRACKER] ? find_max(run, run->length, 0, SP_MAX_POINTS + 1, points)
                                      : sp_ok();
}

/* What does not fit, and what to do instead. */
static SpStatus does_not_fit(SpRun *run, SpStage stage, int64_t queries,
                             const SpMemoryLimits *limits)
{
    char subject[80], advice[80] = "; not even one frame fits";
    int64_t frames, points = 0;
    SP_TRY(find_max(run, 0, queries, run->length, &frames));
    if (stage == SP_STAGE_TRACKER)
        SP_TRY(find_max(run, run->length, 0, queries, &points));
    if (frames && points)
        snprintf(advice, sizeof advice, "; use --max-frames %lld, or at most %lld points",
                 (long long)frames, (long long)points);
    else if (frames || points)
        snprintf(advice, sizeof advice,
                 frames ? "; use --max-frames %lld" : "; at most %lld points fit",
                 (long long)(frames ? frames : points));
    snprintf(subject, sizeof subject, "%s: %lld frames%s need", sp_stage_name[stage],
             (long long)run->length, stage == SP_STAGE_FRONT ? "" : " and these points");
    return sp_models_do_not_fit(run->models, subject, &run->footprint[stage],
                                kept_bytes(run, run->length, queries), limits, advice);
}

SpStatus sp_stages_plan(SpRun *run, int64_t queries)
{
    SpMemoryLimits limits;
    SpStage failing;
    for (SpStage stage = SP_STAGE_FRONT; stage < SP_STAGES; stage++)
        SP_TRY(sp_stages_acquire(run, stage));
    SP_TRY(sp_models_memory_limits(run->models, &limits));
    SP_TRY(plan_both(run, run->length, queries, &limits, run->footprint, &failing));
    run->planned = true;
    if (failing != SP_STAGES)
        return does_not_fit(run, failing, queries, &limits);
    for (SpStage stage = SP_STAGE_FRONT; stage < SP_STAGES; stage++) {
        const SpFootprint *footprint = &run->footprint[stage];
        if (run->has[stage])
            sp_console_detail(run->console,
                              "%s: plans %zu MB on the device, weights %s, and %zu MB on the host",
                              sp_stage_name[stage], (footprint->device + footprint->weights) >> 20,
                              sp_plan_mode(&footprint->plan), footprint->host >> 20);
    }
    return sp_ok();
}

static SpStatus run_stage(SpRun *run, SpStage stage)
{
    Call call = {.run = run, .frames = run->clip.frames, .queries = run->queries.count};
    return sp_models_run(run->models, stage, &run->footprint[stage], (double)call.frames,
                         calls[stage], &call, &run->report);
}

static SpStatus run_front(SpRun *run)
{
    char chunks[96];
    if (sp_front_chunks_text(run, chunks, sizeof chunks))
        sp_console_note(run->console, "front: %s (--front-chunk)", chunks);
    return run_stage(run, SP_STAGE_FRONT);
}

void sp_stages_threshold(const SpRun *run)
{
    const SpFramePlan *plan = &run->clip.plan;
    float *confidence = run->geometry.confidence;
    for (int64_t i = 0; i < run->clip.frames * plan->height * plan->width; i++)
        confidence[i] = confidence[i] > SP_FRONT_CONFIDENCE;
}

static SpStatus run_tracker(SpRun *run)
{
    sp_stages_threshold(run);
    return run_stage(run, SP_STAGE_TRACKER);
}

SpStatus sp_stages_advance(SpRun *run, int64_t known, bool more, SpTrackerState *state)
{
    Call call = {run, known, run->queries.count, more, state};
    SP_TRY(sp_stages_acquire(run, SP_STAGE_TRACKER));
    return sp_models_run(run->models, SP_STAGE_TRACKER, &run->footprint[SP_STAGE_TRACKER], 0,
                         call_tracker, &call, &run->report);
}

static SpStatus refine(SpRun *run)
{
    if (!run->refines)
        return sp_ok();
    sp_console_begin(run->console, "refine", (double)run->clip.frames);
    const SpStatus status = sp_refinement_run(run);
    const SpStageReport stage = {.name = "refine", .seconds = sp_console_end(run->console)};
    sp_report_add_stage(&run->report, &stage);
    return status;
}

/* From the front or the user; *unit: what lengths of the latter are multiplied by. */
static SpStatus make_geometry(SpRun *run, double *unit)
{
    const SpFramePlan *plan = &run->clip.plan;
    *unit = 1;
    if (run->has[SP_STAGE_FRONT]) {
        SP_TRY(sp_stages_acquire(run, SP_STAGE_FRONT));
        SP_TRY(run_front(run));
        sp_world_fix_intrinsics(run, run->geometry.intrinsics);
        return sp_ok();
    }
    SP_TRY(sp_geometry_file_read(run->job->geometry, run->clip.frames, plan->height, plan->width,
                                 &run->geometry));
    SP_TRY(sp_world_choose_unit(run, unit));
    sp_world_scale_geometry(run, *unit);
    return sp_ok();
}

/* The tracker and what follows it, while the pictures are written. */
static SpStatus make_tracks(SpRun *run)
{
    SP_TRY(sp_ahead_begin(run));
    SP_TRY(run_tracker(run));
    /* Bundle adjustment has only one focal. */
    sp_world_fix_intrinsics(run, run->tracks.intrinsics);
    return refine(run);
}

SpStatus sp_stages_run(SpRun *run)
{
    double unit;
    SP_TRY(sp_arrays_alloc(run, run->clip.frames));
    SP_TRY(make_geometry(run, &unit));
    SP_TRY(sp_world_choose_scale(run)); /* what has none is known before the tracker runs */
    /* Open when it was planned, it may have been put to sleep since. */
    SP_TRY(sp_stages_acquire(run, SP_STAGE_TRACKER));
    if (run->has[SP_STAGE_TRACKER]) {
        const SpStatus tracked = make_tracks(run), written = sp_ahead_end(run);
        SP_TRY(tracked);
        SP_TRY(written);
    }
    sp_world_scale(run, 1 / unit);
    SP_TRY(sp_world_choose_scale(run));
    sp_world_scale(run, run->scale);
    return sp_ok();
}
