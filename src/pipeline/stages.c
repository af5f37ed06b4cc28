#include "pipeline/stages.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/chunks.h"
#include "pipeline/front_chunks.h"
#include "pipeline/refinement.h"

static const double REPLACE_RATIO = 0.2; /* as published */
/* The built-in tracker's own points lie beside its tracks (src/lite/log.md): the depth map's, on
 * the tracks' rays, are taken wherever there are any. */
static const double REPLACE_RATIO_LITE = 1;

/* A stage for so many frames and points, dry or not. */
typedef struct Call {
    SpRun *run;
    int64_t frames, queries;
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
    const SpTrackerInput input = {.frames = call->frames,
                                  .height = run->clip.plan.height,
                                  .width = run->clip.plan.width,
                                  .video = run->clip.video,
                                  .depth = run->geometry.depth,
                                  .confident = run->geometry.confidence,
                                  .intrinsics = run->geometry.intrinsics,
                                  .c2w = run->geometry.c2w,
                                  .queries = call->queries,
                                  .query = run->working};
    const bool lite = run->place[SP_STAGE_TRACKER].embedded;
    const SpTrackerSettings settings = {.iterations = (int)job->iterations,
                                        .support = run->support,
                                        .seed = (uint64_t)job->seed,
                                        .fixed_camera = job->fixed_camera,
                                        .replace_ratio = lite ? REPLACE_RATIO_LITE : REPLACE_RATIO};
    return sp_tracker_run(run->models->model[SP_STAGE_TRACKER].tracker, nn, &input, &settings,
                          &run->tracks);
}

static SpStageRun *const calls[SP_STAGES] = {
    [SP_STAGE_FRONT] = call_front, [SP_STAGE_TRACKER] = call_tracker};

/* Bytes of `geometry` and `tracks`. */
static size_t result_bytes(const SpRun *run, int64_t frames, int64_t queries)
{
    const int64_t area = run->clip.plan.height * run->clip.plan.width;
    const int64_t geometry = 2 * area + 9 + 9 + 16 + 16, pairs = (3 + 3 + 1 + 1 + 3 + 2) * queries;
    const int64_t tracks = run->has[SP_STAGE_TRACKER] ? 9 + 16 + pairs : 0;
    return (size_t)(frames * (geometry + tracks) + queries) * sizeof(float) +
           sp_refinement_bytes(run, frames, queries);
}

/* And what stands beside them while the stages run. */
static size_t kept_bytes(const SpRun *run, int64_t frames, int64_t queries)
{
    return result_bytes(run, frames, queries) + sp_front_chunks_bytes(run, frames) +
           sp_files_bytes(run->file, &run->clip.plan, frames, queries);
}

static SpStatus acquire(SpRun *run, SpStage stage)
{
    return run->has[stage] ? sp_models_acquire(run->models, stage, &run->place[stage]) : sp_ok();
}

/* Plans of both stages for that many frames and points within `limits`, less the results and what
 * writing them takes; *failing
 * is the first stage that does not fit, or SP_STAGES. */
static SpStatus plan_both(SpRun *run, int64_t frames, int64_t queries, const SpMemoryLimits *limits,
                          SpFootprint footprint[SP_STAGES], SpStage *failing)
{
    const size_t results = kept_bytes(run, frames, queries);
    const SpMemoryLimits left = {limits->device,
                                 limits->host > results ? limits->host - results : 0};
    Call call = {run, frames, queries};
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
    while (*out + 1 < end) {
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
    return run->has[SP_STAGE_TRACKER]
               ? find_max(run, run->clip.frames, 0, SP_MAX_POINTS + 1, points)
               : sp_ok();
}

/* What does not fit, and what to do instead. */
static SpStatus does_not_fit(SpRun *run, SpStage stage, int64_t queries,
                             const SpMemoryLimits *limits)
{
    char subject[80], advice[80] = "; not even one frame fits";
    int64_t frames, points = 0;
    SP_TRY(find_max(run, 0, queries, run->clip.frames, &frames));
    if (stage == SP_STAGE_TRACKER)
        SP_TRY(find_max(run, run->clip.frames, 0, queries, &points));
    if (frames && points)
        snprintf(advice, sizeof advice, "; use --max-frames %lld, or at most %lld points",
                 (long long)frames, (long long)points);
    else if (frames || points)
        snprintf(advice, sizeof advice,
                 frames ? "; use --max-frames %lld" : "; at most %lld points fit",
                 (long long)(frames ? frames : points));
    snprintf(subject, sizeof subject, "%s: %lld frames%s need", sp_stage_name[stage],
             (long long)run->clip.frames, stage == SP_STAGE_FRONT ? "" : " and these points");
    return sp_models_do_not_fit(run->models, subject, &run->footprint[stage],
                                kept_bytes(run, run->clip.frames, queries), limits, advice);
}

SpStatus sp_stages_plan(SpRun *run, int64_t queries)
{
    SpMemoryLimits limits;
    SpStage failing;
    for (SpStage stage = SP_STAGE_FRONT; stage < SP_STAGES; stage++)
        SP_TRY(acquire(run, stage));
    SP_TRY(sp_models_memory_limits(run->models, &limits));
    SP_TRY(plan_both(run, run->clip.frames, queries, &limits, run->footprint, &failing));
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

static SpStatus alloc_results(SpRun *run)
{
    const int64_t t = run->clip.frames, n = run->queries.count;
    const int64_t area = t * run->clip.plan.height * run->clip.plan.width;
    SpGeometry *geometry = &run->geometry;
    SpTrackerOutput *tracks = &run->tracks;
    run->memory = malloc(result_bytes(run, t, n));
    if (!run->memory)
        return sp_no_memory("depth and tracks; use fewer frames with --max-frames");
    geometry->depth = run->memory;
    geometry->confidence = geometry->depth + area;
    geometry->intrinsics = geometry->confidence + area;
    geometry->c2w = geometry->intrinsics + 9 * t;
    run->w2c = geometry->c2w + 16 * t;
    if (!run->has[SP_STAGE_TRACKER])
        return sp_ok();
    tracks->intrinsics = run->w2c + 16 * t;
    tracks->c2w = tracks->intrinsics + 9 * t;
    tracks->tracks = tracks->c2w + 16 * t;
    tracks->camera_points = tracks->tracks + 3 * t * n;
    tracks->visibility = tracks->camera_points + 3 * t * n;
    tracks->confidence = tracks->visibility + t * n;
    tracks->dynamic = tracks->confidence + t * n;
    run->coords = tracks->dynamic + n;
    run->tracks2d = run->coords + 3 * t * n;
    run->sigma = run->tracks2d + 2 * t * n;
    tracks->depth = geometry->depth; /* in place: see SpTrackerOutput */
    tracks->valid = geometry->confidence;
    return sp_ok();
}

static SpStatus run_stage(SpRun *run, SpStage stage)
{
    Call call = {run, run->clip.frames, run->queries.count};
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

static SpStatus run_tracker(SpRun *run)
{
    const SpFramePlan *plan = &run->clip.plan;
    float *confidence = run->geometry.confidence;
    for (int64_t i = 0; i < run->clip.frames * plan->height * plan->width; i++)
        confidence[i] = confidence[i] > SP_FRONT_CONFIDENCE;
    return run_stage(run, SP_STAGE_TRACKER);
}

static SpStatus refine(SpRun *run)
{
    if (!run->refines)
        return sp_ok();
    sp_console_begin(run->console, "refine", (double)run->clip.frames);
    const SpStatus status = sp_refinement_run(run);
    run->report.stages[run->report.stage_count++] =
        (SpStageReport){.name = "refine", .seconds = sp_console_end(run->console)};
    return status;
}

/* The intrinsics that --fov or --focal fix: square pixels, the axis through the middle. */
static void fix_intrinsics(const SpRun *run, float *intrinsics)
{
    const SpJob *job = run->job;
    const SpFramePlan *plan = &run->clip.plan;
    const double width = (double)plan->input_width;
    const double sx = (double)plan->resized_width / width;
    const double sy = (double)plan->resized_height / (double)plan->input_height;
    const double f = job->focal > 0 ? job->focal : width / 2 / tan(job->fov / 360 * M_PI);
    const float k[9] = {[0] = (float)(f * sx),
                        [2] = (float)plan->width / 2,
                        [4] = (float)(f * sy),
                        [5] = (float)plan->height / 2,
                        [8] = 1};
    for (int64_t t = 0; (job->fov > 0 || job->focal > 0) && t < run->clip.frames; t++)
        memcpy(intrinsics + 9 * t, k, sizeof k);
}

static int ascending(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Of the first frame's depths above 0; 0: there are none. */
static SpStatus median_depth(const SpRun *run, double *median)
{
    const int64_t area = run->clip.plan.height * run->clip.plan.width;
    float *depth = malloc((size_t)area * sizeof *depth);
    int64_t count = 0;
    if (!depth)
        return sp_no_memory("the median depth");
    for (int64_t i = 0; i < area; i++)
        if (run->geometry.depth[i] > 0)
            depth[count++] = run->geometry.depth[i];
    qsort(depth, (size_t)count, sizeof *depth, ascending);
    *median = count ? ((double)depth[(count - 1) / 2] + (double)depth[count / 2]) / 2 : 0;
    free(depth);
    return sp_ok();
}

static void scale_each(float *at, int64_t count, int64_t step, double factor)
{
    for (int64_t i = 0; i < count; i++)
        at[i * step] = (float)((double)at[i * step] * factor);
}

static void scale_translations(float *c2w, int64_t frames, double factor)
{
    for (int64_t row = 0; row < 3; row++)
        scale_each(c2w + 4 * row + 3, frames, 16, factor);
}

/* Depth, translations and, where there are any, points in another unit of length. */
static void scale_world(const SpRun *run, bool tracked, double factor)
{
    const int64_t t = run->clip.frames, n = run->queries.count;
    if (factor == 1)
        return;
    scale_each(run->geometry.depth, t * run->clip.plan.height * run->clip.plan.width, 1, factor);
    scale_translations(run->geometry.c2w, t, factor);
    if (!tracked)
        return;
    scale_translations(run->tracks.c2w, t, factor);
    scale_each(run->tracks.camera_points, 3 * t * n, 1, factor);
    scale_each(run->tracks.tracks + 2, t * n, 3, factor);
}

/* The power of two that brings lengths as in millimetres to what the tracker is made for: it
 * clamps the queries' depths to these. 1 where they fit. */
static SpStatus choose_unit(const SpRun *run, double *unit)
{
    static const double min = 0.01, max = 200;
    double median;
    SP_TRY(median_depth(run, &median));
    *unit = median > 0 && (median < min || median > max) ? ldexp(1, -ilogb(median)) : 1;
    return sp_ok();
}

/* What --scale-by or --scale-to multiply lengths by. */
static SpStatus choose_scale(SpRun *run)
{
    const SpJob *job = run->job;
    double median;
    run->scale = job->scale_by > 0 ? job->scale_by : 1;
    if (!(job->scale_to > 0))
        return sp_ok();
    SP_TRY(median_depth(run, &median));
    if (!(median > 0))
        return sp_error(SP_INPUT, "--scale-to: the first frame has no depth");
    run->scale = job->scale_to / median;
    return sp_ok();
}

/* From the front or the user; *unit: what lengths of the latter are multiplied by. */
static SpStatus make_geometry(SpRun *run, double *unit)
{
    const SpFramePlan *plan = &run->clip.plan;
    *unit = 1;
    if (run->has[SP_STAGE_FRONT]) {
        SP_TRY(acquire(run, SP_STAGE_FRONT));
        SP_TRY(run_front(run));
        fix_intrinsics(run, run->geometry.intrinsics);
        return sp_ok();
    }
    SP_TRY(sp_geometry_file_read(run->job->geometry, run->clip.frames, plan->height, plan->width,
                                 &run->geometry));
    SP_TRY(choose_unit(run, unit));
    scale_world(run, false, *unit);
    return sp_ok();
}

SpStatus sp_stages_run(SpRun *run)
{
    const bool tracks = run->has[SP_STAGE_TRACKER];
    double unit;
    SP_TRY(alloc_results(run));
    SP_TRY(make_geometry(run, &unit));
    SP_TRY(choose_scale(run)); /* what has none is known before the tracker runs */
    /* Open when it was planned, it may have been put to sleep since. */
    SP_TRY(acquire(run, SP_STAGE_TRACKER));
    if (tracks) {
        SP_TRY(run_tracker(run));
        fix_intrinsics(run, run->tracks.intrinsics); /* bundle adjustment has only one focal */
        SP_TRY(refine(run));
    }
    scale_world(run, tracks, 1 / unit);
    SP_TRY(choose_scale(run));
    scale_world(run, tracks, run->scale);
    return sp_ok();
}
