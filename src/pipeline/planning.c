#include "pipeline/planning.h"

#include <stdio.h>

#include "pipeline/stages.h"

/* Plans of all stages for that many frames and points within `limits`, less the results; *failing
 * is the first stage that does not fit, or SP_STAGES. */
static SpStatus plan_stages(SpRun *run, int64_t frames, int64_t queries,
                            const SpMemoryLimits *limits, SpFootprint footprint[SP_STAGES],
                            SpStage *failing)
{
    const size_t results = sp_stages_result_bytes(run, frames, queries);
    const SpMemoryLimits left = {limits->device,
                                 limits->host > results ? limits->host - results : 0};
    SpStageCall call = {run, frames, queries, NULL};
    *failing = SP_STAGES;
    for (SpStage stage = SP_STAGE_FRONT; stage < SP_STAGES; stage++) {
        bool fits = true;
        footprint[stage] = (SpFootprint){0};
        if (sp_stage_is_used(run, stage))
            SP_TRY(
                sp_models_plan(run->models, stage, &left,
                               stage == SP_STAGE_FRONT ? sp_stage_run_front : sp_stage_run_tracker,
                               &call, &footprint[stage], &fits));
        if (!fits && *failing == SP_STAGES)
            *failing = stage;
    }
    return sp_ok();
}

/* The largest count below `beyond` that fits, given that whatever is smaller than one that fits
 * does; 0: none. `frames` 0: counts frames; else points on so many. */
static SpStatus find_max(SpRun *run, int64_t frames, int64_t queries, int64_t beyond, int64_t *out)
{
    SpFootprint footprint[SP_STAGES];
    SpStage failing = SP_STAGES;
    SpMemoryLimits limits;
    bool bounded = false; /* `beyond` is known not to fit */
    SP_TRY(sp_models_memory_limits(run->models, 0, &limits));
    for (*out = 0; *out + 1 < beyond;) {
        const int64_t twice = *out ? 2 * *out : 1, middle = *out + (beyond - *out) / 2;
        const int64_t count = !bounded && twice < beyond ? twice : middle;
        SP_TRY(plan_stages(run, frames ? frames : count, frames ? count : queries, &limits,
                           footprint, &failing));
        if (failing == SP_STAGES) {
            *out = count;
        } else {
            beyond = count;
            bounded = true;
        }
    }
    return sp_ok();
}

SpStatus sp_run_max_frames(SpRun *run, int64_t queries, int64_t *frames)
{
    return find_max(run, 0, queries, SP_MAX_FRAMES + 1, frames);
}

SpStatus sp_run_max_points(SpRun *run, int64_t *queries)
{
    *queries = 0;
    return run->with_tracker ? find_max(run, run->clip.frames, 0, SP_MAX_POINTS + 1, queries)
                             : sp_ok();
}

static const char *name_of(SpStage stage)
{
    return stage == SP_STAGE_FRONT ? "front" : "tracker";
}

/* What does not fit, and what to do instead. */
static SpStatus does_not_fit(SpRun *run, SpStage stage, int64_t queries,
                             const SpMemoryLimits *limits)
{
    char subject[80], advice[80] = "not even one frame fits";
    int64_t frames, points = 0;
    SP_TRY(find_max(run, 0, queries, run->clip.frames, &frames));
    if (stage == SP_STAGE_TRACKER)
        SP_TRY(find_max(run, run->clip.frames, 0, queries, &points));
    if (frames && points)
        snprintf(advice, sizeof advice, "use --max-frames %lld, or at most %lld points",
                 (long long)frames, (long long)points);
    else if (frames || points)
        snprintf(advice, sizeof advice,
                 frames ? "use --max-frames %lld" : "at most %lld points fit",
                 (long long)(frames ? frames : points));
    snprintf(subject, sizeof subject, "%s: %lld frames%s need", name_of(stage),
             (long long)run->clip.frames, stage == SP_STAGE_FRONT ? "" : " and these points");
    return sp_models_do_not_fit(run->models, subject, &run->footprint[stage],
                                sp_stages_result_bytes(run, run->clip.frames, queries), limits,
                                advice);
}

SpStatus sp_run_plan(SpRun *run, int64_t queries)
{
    SpMemoryLimits limits;
    SpStage failing;
    SP_TRY(sp_stages_acquire(run));
    SP_TRY(sp_models_memory_limits(run->models, 0, &limits));
    SP_TRY(plan_stages(run, run->clip.frames, queries, &limits, run->footprint, &failing));
    run->planned = true;
    if (failing != SP_STAGES)
        return does_not_fit(run, failing, queries, &limits);
    for (SpStage stage = SP_STAGE_FRONT; stage < SP_STAGES; stage++) {
        const SpFootprint *footprint = &run->footprint[stage];
        if (footprint->device)
            sp_console_detail(run->console,
                              "%s: plans %zu MB on the device, weights %s, and %zu MB on the host",
                              name_of(stage), (footprint->device + footprint->weights) >> 20,
                              sp_plan_mode(&footprint->plan), footprint->host >> 20);
    }
    return sp_ok();
}
