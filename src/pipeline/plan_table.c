#include "pipeline/plan_table.h"

#include <stdio.h>

#include "pipeline/stages.h"

static double megabytes(size_t bytes)
{
    return (double)bytes / 0x1p20;
}

static void duration(double seconds, char *out, size_t size)
{
    if (seconds < 100)
        snprintf(out, size, "%.1f s", seconds);
    else if (seconds < 6000)
        snprintf(out, size, "%d:%02d min", (int)seconds / 60, (int)seconds % 60);
    else
        snprintf(out, size, "%.1f h", seconds / 3600);
}

static void print_stage(const SpRun *run, SpStage stage, const SpRates *rates)
{
    const SpDevice *device = run->models->device;
    const SpModel *model = &run->models->model[stage];
    const SpFootprint *footprint = &run->footprint[stage];
    char seconds[32];
    duration(sp_plan_seconds(device, footprint, rates), seconds, sizeof seconds);
    printf("%-9s %-19s %9.1f MB %10.1f MB %9.1f MB %9.1f MB  %s\n",
           stage == SP_STAGE_SAM ? sp_model_info(model->place.model)->name : sp_stage_name[stage],
           sp_plan_mode(&footprint->plan), megabytes(sp_checkpoint_bound_bytes(model->checkpoint)),
           megabytes(footprint->device),
           megabytes(footprint->device + footprint->weights + device->workspace_bytes),
           megabytes(footprint->host), seconds);
}

static void print_head(const SpRun *run, int64_t queries, const SpMemoryLimits *limits)
{
    const SpDevice *device = run->models->device;
    const SpFramePlan *plan = &run->clip.plan;
    printf("%s: %lld frames of %lldx%lld", run->job->video, (long long)run->clip.frames,
           (long long)plan->width, (long long)plan->height);
    if (run->has[SP_STAGE_TRACKER])
        printf(", %s%lld points and %lld support points", run->has[SP_STAGE_SAM] ? "up to " : "",
               (long long)queries, (long long)run->support);
    printf("\n%s: ", device->name);
    if (run->job->vram_budget)
        printf("%.1f MB allowed on the device, ", megabytes((size_t)run->job->vram_budget));
    else if (!device->reads_host)
        printf("%.1f MB free on the device, ", megabytes(limits->device));
    printf("%.1f MB for its workspace, %.1f MB of host memory free\n\n",
           megabytes(device->workspace_bytes), megabytes(limits->host));
    printf("%-9s %-19s %12s %13s %12s %12s  %s\n", "stage", "mode", "weights", "activations",
           "peak", "host", "about");
}

static SpStatus print_limits(SpRun *run, int64_t queries)
{
    int64_t frames, points;
    SP_TRY(sp_stages_max(run, queries, &frames, &points));
    printf("\nlongest clip that fits: %lld%s frames", (long long)frames,
           frames == SP_MAX_FRAMES ? " or more" : "");
    if (run->has[SP_STAGE_TRACKER])
        printf("; most points on this one: %lld%s", (long long)points,
               points == SP_MAX_POINTS ? " or more" : "");
    printf("\n");
    return sp_ok();
}

SpStatus sp_plan_table_print(SpRun *run, int64_t queries)
{
    SpRates rates, others; /* of the front, and of what is not computed in bf16 */
    SpMemoryLimits limits;
    const SpStatus planned = sp_stages_plan(run, queries);
    if (!run->planned)
        return planned;
    const SpPrecision precision =
        run->footprint[run->has[SP_STAGE_FRONT] ? SP_STAGE_FRONT : SP_STAGE_TRACKER].plan.precision;
    SP_TRY(sp_models_memory_limits(run->models, &limits));
    SP_TRY(sp_rates_measure(run->models->device, precision, &rates));
    others = rates;
    if (precision == SP_PRECISION_BF16)
        SP_TRY(sp_rates_measure(run->models->device, SP_PRECISION_TF32, &others));
    print_head(run, queries, &limits);
    for (SpStage stage = 0; stage < SP_STAGES; stage++)
        if (run->has[stage])
            print_stage(run, stage, stage == SP_STAGE_FRONT ? &rates : &others);
    if (run->has[SP_STAGE_FRONT] || run->has[SP_STAGE_TRACKER])
        SP_TRY(print_limits(run, queries));
    return planned;
}
