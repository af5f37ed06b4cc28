#include "pipeline/plan_table.h"

#include <stdio.h>

#include <cjson/cJSON.h>

#include "pipeline/chunks.h"
#include "pipeline/front_chunks.h"
#include "pipeline/refinement.h"
#include "pipeline/stages.h"
#include "pipeline/stream_plan.h"

/* What is printed and does not stand in SpRun. */
typedef struct Facts {
    int64_t queries;
    bool fits;
    SpMemoryLimits limits;
    SpRates front, others;  /* `others`: of what is not computed in bf16 */
    int64_t frames, points; /* sp_stages_max */
    double refine_seconds;
} Facts;

static const SpRates *rates_of(const Facts *facts, SpStage stage)
{
    return stage == SP_STAGE_FRONT ? &facts->front : &facts->others;
}

static bool has_limits(const SpRun *run)
{
    return run->has[SP_STAGE_FRONT] || run->has[SP_STAGE_TRACKER];
}

static const char *stage_name(const SpRun *run, SpStage stage)
{
    return stage == SP_STAGE_SAM ? sp_model_info(run->models->model[stage].place.model)->name
                                 : sp_stage_name[stage];
}

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
    printf("%-9s %-19s %9.1f MB %10.1f MB %9.1f MB %9.1f MB  %s\n", stage_name(run, stage),
           sp_plan_mode(&footprint->plan), megabytes(sp_checkpoint_bound_bytes(model->checkpoint)),
           megabytes(footprint->device),
           megabytes(footprint->device + footprint->weights + device->workspace_bytes),
           megabytes(footprint->host), seconds);
}

/* What has no weights, and computes on the CPU. */
static void print_row(const char *stage, size_t host, const char *seconds)
{
    printf("%-9s %-19s %9.1f MB %10.1f MB %9.1f MB %9.1f MB  %s\n", stage, "on the CPU", 0.0, 0.0,
           0.0, megabytes(host), seconds);
}

static void print_refinement(const SpRun *run, const Facts *facts)
{
    char seconds[32];
    duration(facts->refine_seconds, seconds, sizeof seconds);
    print_row("refine",
              sp_refinement_bytes(run, sp_stream_frames(run, run->length), facts->queries),
              seconds);
}

static size_t export_bytes(const SpRun *run, const Facts *facts)
{
    return sp_files_bytes(run->file, &run->clip.plan, sp_stream_frames(run, run->length),
                          facts->queries);
}

static void print_head(const SpRun *run, int64_t queries, const SpMemoryLimits *limits)
{
    const SpDevice *device = run->models->device;
    const SpFramePlan *plan = &run->clip.plan;
    printf("%s: %lld frames of %lldx%lld", run->job->video, (long long)run->length,
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

static void print_limits(const SpRun *run, int64_t frames, int64_t points)
{
    printf("\nlongest clip that fits: %lld%s frames", (long long)frames,
           frames == SP_MAX_FRAMES ? " or more" : "");
    if (run->has[SP_STAGE_TRACKER])
        printf("; most points on this one: %lld%s", (long long)points,
               points == SP_MAX_POINTS ? " or more" : "");
    printf("\n");
}

/* *whole becomes false where memory is short. */
static void add_number(cJSON *object, const char *name, double value, bool *whole)
{
    *whole = *whole && cJSON_AddNumberToObject(object, name, value);
}

static void add_text(cJSON *object, const char *name, const char *text, bool *whole)
{
    *whole = *whole && cJSON_AddStringToObject(object, name, text);
}

static void add_stage(const SpRun *run, SpStage stage, const SpRates *rates, cJSON *out,
                      bool *whole)
{
    const SpDevice *device = run->models->device;
    const SpFootprint *footprint = &run->footprint[stage];
    const SpCheckpoint *checkpoint = run->models->model[stage].checkpoint;
    const size_t peak = footprint->device + footprint->weights + device->workspace_bytes;
    add_text(out, "stage", stage_name(run, stage), whole);
    add_text(out, "mode", sp_plan_mode(&footprint->plan), whole);
    add_number(out, "weight_bytes", (double)sp_checkpoint_bound_bytes(checkpoint), whole);
    add_number(out, "activation_bytes", (double)footprint->device, whole);
    add_number(out, "peak_device_bytes", (double)peak, whole);
    add_number(out, "peak_host_bytes", (double)footprint->host, whole);
    add_number(out, "seconds", sp_plan_seconds(device, footprint, rates), whole);
}

static void add_row(const char *stage, size_t host, cJSON *out, bool *whole)
{
    add_text(out, "stage", stage, whole);
    add_text(out, "mode", "on the CPU", whole);
    add_number(out, "weight_bytes", 0, whole);
    add_number(out, "activation_bytes", 0, whole);
    add_number(out, "peak_device_bytes", 0, whole);
    add_number(out, "peak_host_bytes", (double)host, whole);
}

static void add_refinement(const SpRun *run, const Facts *facts, cJSON *out, bool *whole)
{
    add_row("refine", sp_refinement_bytes(run, sp_stream_frames(run, run->length), facts->queries),
            out, whole);
    add_number(out, "seconds", facts->refine_seconds, whole);
}

/* Where the front does not take all frames at once. */
static void add_chunks(const SpRun *run, cJSON *out, bool *whole)
{
    const SpChunking chunking = sp_chunking_of(run->job, run->length);
    int64_t last;
    if (!run->has[SP_STAGE_FRONT] || !chunking.frames)
        return;
    const int64_t count = sp_chunking_count(&chunking, run->length, &last);
    add_number(out, "front_chunks", (double)count, whole);
    add_number(out, "front_chunk_frames", (double)chunking.frames, whole);
    add_number(out, "front_chunk_overlap", (double)chunking.overlap, whole);
}

static void add_head(const SpRun *run, const Facts *facts, cJSON *out, bool *whole)
{
    const SpDevice *device = run->models->device;
    add_text(out, "video", run->job->video, whole);
    *whole = *whole && cJSON_AddBoolToObject(out, "fits", facts->fits);
    add_number(out, "frames", (double)run->length, whole);
    add_number(out, "width", (double)run->clip.plan.width, whole);
    add_number(out, "height", (double)run->clip.plan.height, whole);
    if (run->has[SP_STAGE_TRACKER]) {
        add_number(out, "points", (double)facts->queries, whole);
        add_number(out, "support_points", (double)run->support, whole);
        add_number(out, "iterations", (double)run->iterations, whole);
    }
    add_chunks(run, out, whole);
    add_text(out, "device", device->name, whole);
    if (run->job->vram_budget)
        add_number(out, "allowed_device_bytes", (double)run->job->vram_budget, whole);
    else if (!device->reads_host)
        add_number(out, "free_device_bytes", (double)facts->limits.device, whole);
    add_number(out, "workspace_bytes", (double)device->workspace_bytes, whole);
    add_number(out, "free_host_bytes", (double)facts->limits.host, whole);
}

/* What the table says; where that is followed by "or more", the number is as high as is looked. */
static SpStatus print_json(const SpRun *run, const Facts *facts)
{
    cJSON *out = cJSON_CreateObject();
    bool whole = true;
    add_head(run, facts, out, &whole);
    cJSON *stages = cJSON_AddArrayToObject(out, "stages");
    for (SpStage stage = 0; stage < SP_STAGES; stage++) {
        cJSON *one = run->has[stage] ? cJSON_CreateObject() : NULL;
        if (!run->has[stage])
            continue;
        whole = whole && cJSON_AddItemToArray(stages, one);
        add_stage(run, stage, rates_of(facts, stage), one, &whole);
    }
    if (run->refines) {
        cJSON *one = cJSON_CreateObject();
        whole = whole && cJSON_AddItemToArray(stages, one);
        add_refinement(run, facts, one, &whole);
    }
    if (export_bytes(run, facts)) {
        cJSON *one = cJSON_CreateObject();
        whole = whole && cJSON_AddItemToArray(stages, one);
        add_row("exports", export_bytes(run, facts), one, &whole);
        whole = whole && cJSON_AddNullToObject(one, "seconds");
    }
    if (has_limits(run))
        add_number(out, "max_frames", (double)facts->frames, &whole);
    if (run->has[SP_STAGE_TRACKER])
        add_number(out, "max_points", (double)facts->points, &whole);
    char *text = whole ? cJSON_PrintUnformatted(out) : NULL;
    if (text)
        puts(text);
    cJSON_free(text);
    cJSON_Delete(out);
    return text ? sp_ok() : sp_no_memory("the plan");
}

static void print_table(const SpRun *run, const Facts *facts)
{
    char chunks[96];
    print_head(run, facts->queries, &facts->limits);
    for (SpStage stage = 0; stage < SP_STAGES; stage++)
        if (run->has[stage])
            print_stage(run, stage, rates_of(facts, stage));
    if (run->refines)
        print_refinement(run, facts);
    if (export_bytes(run, facts))
        print_row("exports", export_bytes(run, facts), "-");
    if (sp_front_chunks_text(run, chunks, sizeof chunks))
        printf("\nfront: %s\n", chunks);
    if (has_limits(run))
        print_limits(run, facts->frames, facts->points);
}

SpStatus sp_plan_table_print(SpRun *run, int64_t queries)
{
    Facts facts = {.queries = queries};
    const SpStatus planned = sp_stages_plan(run, queries);
    if (!run->planned)
        return planned;
    facts.fits = planned.code == SP_OK;
    const SpPrecision precision =
        run->footprint[run->has[SP_STAGE_FRONT] ? SP_STAGE_FRONT : SP_STAGE_TRACKER].plan.precision;
    SP_TRY(sp_models_memory_limits(run->models, &facts.limits));
    SP_TRY(sp_rates_measure(run->models->device, precision, &facts.front));
    facts.others = facts.front;
    if (precision == SP_PRECISION_BF16)
        SP_TRY(sp_rates_measure(run->models->device, SP_PRECISION_TF32, &facts.others));
    if (has_limits(run))
        SP_TRY(sp_stages_max(run, queries, &facts.frames, &facts.points));
    if (run->refines)
        SP_TRY(sp_refinement_seconds(run, queries, &facts.refine_seconds));
    if (run->job->json)
        SP_TRY(print_json(run, &facts));
    else
        print_table(run, &facts);
    return planned;
}
