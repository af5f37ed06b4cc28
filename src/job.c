#include "job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "front/front.h"
#include "geometry/camera.h"
#include "given.h"
#include "media/clip.h"
#include "memory.h"
#include "naming.h"
#include "nn/nn.h"
#include "output/atomic.h"
#include "output/report.h"
#include "output/result.h"
#include "prompt.h"
#include "queries.h"
#include "segment.h"
#include "store/locate.h"
#include "tracker/tracker.h"
#include "version.h"

enum { PUBLISHED_WIDTH = 518, PATCH = 14, GRID = 10, GRID_WITH_MASK = 50 };

static const double REPLACE_RATIO = 0.2;

/* Everything a run holds; run_free releases it. */
typedef struct Run {
    const SpJob *job;
    SpConsole *console;
    char output[SP_NAME_ROOM];
    SpDevice *device;
    SpLocated front_place, tracker_place;
    SpCheckpoint *front_weights, *tracker_weights;
    SpFront *front;
    SpTracker *tracker;
    SpClip clip;
    SpPrompts prompts;
    uint8_t *mask;   /* of the input video's size: what to track; NULL: everything */
    uint8_t *object; /* [N] the mask's value where a query is */
    float *query;    /* [N, 3] used frame, pixels of the input video */
    float *working;  /* [N, 3] used frame, pixels of the working frame */
    int64_t queries;
    float *memory;       /* behind geometry and found */
    SpGeometry geometry; /* from the front or the user */
    SpTrackerOutput found;
    char *version;
    SpReport report;
    SpAtomicFile mask_file;
    SpAtomicFile result_file, report_file; /* written, and not in place before both are whole */
} Run;

static void run_free(Run *run)
{
    sp_front_close(run->front);
    sp_tracker_close(run->tracker);
    sp_checkpoint_close(run->front_weights);
    sp_checkpoint_close(run->tracker_weights);
    if (run->device)
        run->device->close(run->device);
    sp_clip_free(&run->clip);
    free(run->mask);
    free(run->object);
    free(run->query);
    free(run->working);
    free(run->memory);
    free(run->version);
    sp_atomic_abandon(&run->mask_file);
    sp_atomic_abandon(&run->result_file);
    sp_atomic_abandon(&run->report_file);
}

static bool is_csv(const char *path)
{
    const size_t length = strlen(path);
    return length >= 4 && strcmp(path + length - 4, ".csv") == 0;
}

/* Fails before any work when the result could not be written anyway. */
static SpStatus try_output(const char *path, const char *flag)
{
    SpAtomicFile file;
    SP_TRY(sp_atomic_open_for(path, flag, &file));
    sp_atomic_abandon(&file);
    return sp_ok();
}

static SpStatus open_front(Run *run)
{
    if (run->job->geometry)
        return sp_ok();
    SP_TRY(sp_weights_locate(run->job->weights, "front", &run->front_place));
    SP_TRY(sp_weights_open(&run->front_place, "front", &run->front_weights));
    return sp_front_open(run->front_weights, &run->front);
}

static SpStatus open_tracker(Run *run)
{
    if (run->job->stop_after == SP_STOP_FRONT)
        return sp_ok();
    SP_TRY(sp_weights_locate(run->job->weights, "offline", &run->tracker_place));
    SP_TRY(sp_weights_open(&run->tracker_place, "offline", &run->tracker_weights));
    return sp_tracker_open(run->tracker_weights, &run->tracker);
}

static void tell_weights(const Run *run)
{
    const SpLocated *const places[] = {&run->front_place, &run->tracker_place};
    SpCheckpoint *const weights[] = {run->front_weights, run->tracker_weights};
    bool embedded = false, untrained = false;
    for (int i = 0; i < 2; i++)
        if (weights[i] && places[i]->embedded) {
            const char *trained = sp_checkpoint_metadata(weights[i], "trained");
            embedded = true;
            untrained = untrained || !trained || strcmp(trained, "no") == 0;
        }
    if (untrained)
        sp_console_warn(run->console,
                        "the built-in weights are UNTRAINED: the result means nothing; "
                        "get the published ones with make -f weights.mk front offline");
    else if (embedded)
        sp_console_note(run->console,
                        "using the built-in lite weights; get the published ones with "
                        "make -f weights.mk front offline");
    for (int i = 0; i < 2; i++)
        if (weights[i] && !places[i]->embedded)
            sp_console_detail(run->console, "weights: %s (%s)", places[i]->folder,
                              places[i]->where);
}

static SpStatus open_models(Run *run)
{
    SP_TRY(sp_cpu_open((int)run->job->threads, &run->device));
    SP_TRY(open_front(run));
    SP_TRY(open_tracker(run));
    tell_weights(run);
    return sp_ok();
}

/* Pixels across the working frames: what the front was made for. Where the user's geometry takes
 * its place: what the front would be that belongs to the tracker's weights. */
static SpStatus working_width(const Run *run, int64_t *width)
{
    SpCheckpoint *checkpoint;
    SpFront *front;
    *width = PUBLISHED_WIDTH;
    if (run->front) {
        *width = sp_front_width(run->front);
        return sp_ok();
    }
    if (!run->tracker_place.embedded)
        return sp_ok();
    SP_TRY(sp_weights_open(&run->tracker_place, "front", &checkpoint));
    SpStatus status = sp_front_open(checkpoint, &front);
    if (status.code == SP_OK)
        *width = sp_front_width(front);
    sp_front_close(front);
    sp_checkpoint_close(checkpoint);
    return status;
}

static void add_stage(Run *run, const char *name, double seconds, const SpNn *nn,
                      const SpCheckpoint *weights)
{
    SpReport *report = &run->report;
    report->stages[report->stage_count++] =
        (SpStageReport){.name = name,
                        .seconds = seconds,
                        .peak_host_bytes = nn ? nn->host.peak + nn->arena.peak : 0,
                        .weight_bytes = weights ? sp_checkpoint_bound_bytes(weights) : 0};
}

static SpStatus read_clip(Run *run)
{
    const SpJob *job = run->job;
    SpClipSettings settings = {.reader = {job->start, job->stride, job->max_frames},
                               .patch = PATCH,
                               .portrait = job->portrait,
                               .max_short_side = job->max_input_side,
                               .keep = run->prompts.objects > 0,
                               .keep_frame = job->prompt_frame};
    if (job->stop_after == SP_STOP_SAM)
        settings.reader.max_frames = job->prompt_frame + 1;
    SP_TRY(working_width(run, &settings.size));
    sp_console_begin(run->console, "frames", 0);
    const SpStatus status =
        sp_clip_read(job->video, &settings, &run->console->progress, &run->clip);
    add_stage(run, "frames", sp_console_end(run->console), NULL, NULL);
    if (status.code != SP_OK)
        return status;
    const SpClip *clip = &run->clip;
    if (clip->left_out > 0 && job->stop_after != SP_STOP_SAM)
        sp_console_note(run->console,
                        "%lld frames left out: used the first %lld (--max-frames, --stride)",
                        (long long)clip->left_out, (long long)clip->frames);
    if (clip->plan.height < clip->plan.resized_height)
        sp_console_note(
            run->console,
            "frames taller than wide: %lld of %lld rows are used (--portrait fit uses all)",
            (long long)(clip->plan.height * clip->plan.input_height / clip->plan.resized_height),
            (long long)clip->plan.input_height);
    return sp_ok();
}

/* The mask that says what to track, if any does: from SAM or from a file. */
static SpStatus find_mask(Run *run)
{
    const SpJob *job = run->job;
    SpStageReport *stage = &run->report.stages[run->report.stage_count];
    if (job->mask)
        return sp_mask_read(job->mask, &run->clip.plan, &run->mask);
    if (run->prompts.objects == 0)
        return sp_ok();
    SP_TRY(sp_segment_run(job, &run->prompts, &run->clip, run->device, run->console, &run->mask,
                          stage));
    run->report.stage_count++;
    sp_clip_drop_kept(&run->clip);
    return job->mask_out ? sp_mask_write(job->mask_out, &run->clip.plan, run->mask,
                                         run->prompts.objects, &run->mask_file)
                         : sp_ok();
}

static SpStatus grid_queries(Run *run)
{
    const SpJob *job = run->job;
    uint8_t *mask = NULL;
    const int64_t n = job->grid ? job->grid : run->mask ? GRID_WITH_MASK : GRID;
    SpStatus status = run->mask ? sp_mask_working(&run->clip.plan, run->mask, &mask) : sp_ok();
    if (status.code == SP_OK)
        status = sp_queries_grid(n, job->prompt_frame, &run->clip.plan, mask, &run->query,
                                 &run->queries, &run->object);
    free(mask);
    return status;
}

static SpStatus make_queries(Run *run)
{
    const SpJob *job = run->job;
    if (!run->tracker)
        return sp_ok();
    SP_TRY(job->queries ? sp_queries_read(job->queries, run->clip.frames, &run->clip.plan,
                                          &run->query, &run->queries)
                        : grid_queries(run));
    run->working = malloc((size_t)(3 * run->queries) * sizeof *run->working);
    if (!run->working)
        return sp_no_memory("the queries");
    for (int64_t n = 0; n < run->queries; n++) {
        const float *query = run->query + 3 * n;
        float *working = run->working + 3 * n;
        working[0] = query[0];
        sp_point_to_working(&run->clip.plan, query[1], query[2], working + 1, working + 2);
    }
    return sp_ok();
}

static SpFrontInput front_input(const Run *run, int64_t frames)
{
    return (SpFrontInput){.frames = frames,
                          .height = run->clip.plan.height,
                          .width = run->clip.plan.width,
                          .video = run->clip.video};
}

static SpTrackerInput tracker_input(const Run *run, int64_t frames)
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

static SpTrackerSettings tracker_settings(const Run *run)
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

static SpStatus front_need(const Run *run, int64_t frames, Need *need)
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

static SpStatus tracker_need(const Run *run, int64_t frames, Need *need)
{
    const SpTrackerInput input = tracker_input(run, frames);
    const SpTrackerSettings settings = tracker_settings(run);
    SpNn dry = sp_nn_dry(run->device);
    *need = (Need){0};
    if (!run->tracker)
        return sp_ok();
    SP_TRY(sp_tracker_run(run->tracker, &dry, &input, &settings, NULL));
    *need = (Need){dry.arena.peak, dry.host.peak};
    return sp_ok();
}

/* Floats of geometry and found for that many frames. */
static size_t result_floats(const Run *run, int64_t frames)
{
    const int64_t area = run->clip.plan.height * run->clip.plan.width;
    const int64_t geometry = 2 * area + 9 + 9 + 16, pairs = (3 + 3 + 1 + 1) * run->queries;
    const int64_t found = run->tracker ? 2 * area + 9 + 16 + pairs : 0;
    return (size_t)(frames * (geometry + found) + run->queries);
}

/* The bytes that stages and results need on top of the clip. */
static SpStatus need_of(const Run *run, int64_t frames, size_t *bytes)
{
    Need front, tracker;
    SP_TRY(front_need(run, frames, &front));
    SP_TRY(tracker_need(run, frames, &tracker));
    const size_t a = front.device + front.host, b = tracker.device + tracker.host;
    *bytes = (a > b ? a : b) + result_floats(run, frames) * sizeof(float);
    return sp_ok();
}

/* Nothing starts that cannot end for lack of memory. */
static SpStatus check_memory(Run *run)
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

static SpStatus take_results(Run *run)
{
    const int64_t t = run->clip.frames, n = run->queries;
    const int64_t area = t * run->clip.plan.height * run->clip.plan.width;
    float *at = run->memory = malloc(result_floats(run, t) * sizeof *at);
    if (!at)
        return sp_no_memory("depth and tracks; use fewer frames with --max-frames");
    float **const part[] = {
        &run->geometry.depth,      &run->geometry.confidence, &run->geometry.intrinsics,
        &run->geometry.c2w,        &run->found.depth,         &run->found.valid,
        &run->found.intrinsics,    &run->found.c2w,           &run->found.tracks,
        &run->found.camera_points, &run->found.visibility,    &run->found.confidence,
        &run->found.dynamic};
    const int64_t size[] = {area,   area,      9 * t,     16 * t, area,  area, 9 * t,
                            16 * t, 3 * t * n, 3 * t * n, t * n,  t * n, n};
    const int parts = run->tracker ? 13 : 4;
    for (int i = 0; i < parts; i++, at += size[i - 1])
        *part[i] = at;
    return sp_ok();
}

static SpStatus run_front(Run *run)
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
        add_stage(run, "front", sp_console_end(run->console), &nn, run->front_weights);
        sp_nn_close(&nn);
    }
    free(encoding);
    return status;
}

static SpStatus run_tracker(Run *run)
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
    add_stage(run, "tracker", sp_console_end(run->console), &nn, run->tracker_weights);
    sp_nn_close(&nn);
    return status;
}

static SpStatus run_stages(Run *run)
{
    const SpJob *job = run->job;
    const SpFramePlan *plan = &run->clip.plan;
    if (run->front)
        SP_TRY(run_front(run));
    else
        SP_TRY(sp_geometry_read(job->geometry, run->clip.frames, plan->height, plan->width,
                                &run->geometry));
    return run->tracker ? run_tracker(run) : sp_ok();
}

/* The front's cameras relative to the first one, as --stop-after front gives them. */
static void to_first_camera(Run *run)
{
    float to_first[16];
    sp_pose_invert(run->geometry.c2w, to_first);
    for (int64_t t = 0; t < run->clip.frames; t++)
        sp_pose_multiply(to_first, run->geometry.c2w + 16 * t, run->geometry.c2w + 16 * t);
}

static SpStatus name_version(Run *run)
{
    static const char form[] = "{\"program\":\"spatrack %s\",\"format\":%d,\"settings\":%s}";
    const char *settings = run->job->settings ? run->job->settings : "null";
    const size_t room = sizeof form + strlen(SP_VERSION) + strlen(settings) + 16;
    run->version = malloc(room);
    if (!run->version)
        return sp_no_memory("the result");
    snprintf(run->version, room, form, SP_VERSION, SP_FORMAT_VERSION, settings);
    return sp_ok();
}

static SpStatus write_result(Run *run)
{
    const SpTrackerOutput *found = &run->found;
    SpResult result = {.clip = &run->clip,
                       .depth = run->geometry.depth,
                       .confidence = run->geometry.confidence,
                       .c2w = run->geometry.c2w,
                       .intrinsics = run->geometry.intrinsics};
    SP_TRY(name_version(run));
    result.version = run->version;
    if (run->tracker) {
        result.depth = found->depth;
        result.confidence = found->valid;
        result.c2w = found->c2w;
        result.intrinsics = found->intrinsics;
        result.tracks = run->queries;
        result.queries = run->query;
        result.track = found->tracks;
        result.points = found->camera_points;
        result.visibility = found->visibility;
        result.confs = found->confidence;
        result.dynamic = found->dynamic;
        result.object = run->prompts.named ? run->object : NULL;
        result.objects = run->prompts.objects;
        result.object_names = run->prompts.name[0];
        result.object_name_size = sizeof run->prompts.name[0];
    } else {
        to_first_camera(run);
    }
    SpAtomicFile *file = &run->result_file;
    SP_TRY(sp_atomic_open(run->output, file));
    sp_console_begin(run->console, "result", 0);
    SpStatus status = is_csv(run->output) ? sp_result_write_csv(file, &result)
                                          : sp_result_write_npz(file, &result, run->job->max_side,
                                                                !run->job->no_compress);
    if (status.code == SP_OK)
        status = sp_atomic_settle(file);
    add_stage(run, "result", sp_console_end(run->console), NULL, NULL);
    return status;
}

static SpStatus write_report(Run *run, double seconds)
{
    SpReport *report = &run->report;
    const SpLocated *place = run->front ? &run->front_place : &run->tracker_place;
    report->program_version = SP_VERSION;
    report->settings_json = run->job->settings;
    report->input = run->job->video;
    report->input_width = run->clip.plan.input_width;
    report->input_height = run->clip.plan.input_height;
    report->used_frames = run->clip.frames;
    report->left_out_frames = run->clip.left_out;
    report->rate = run->clip.rate;
    report->device = run->device->name;
    report->isa = sp_cpu_isa(run->device);
    report->threads = sp_cpu_threads(run->device);
    report->weights = place->embedded ? "built in" : *place->folder ? place->folder : NULL;
    report->seconds = seconds;
    report->peak_rss_bytes = sp_memory_peak();
    report->library_count = sp_libraries(report->libraries, SP_REPORT_LIBRARIES);
    SP_TRY(sp_atomic_open_for(run->job->report, "--report", &run->report_file));
    SP_TRY(sp_report_write(&run->report_file, report));
    return sp_atomic_settle(&run->report_file);
}

/* --stop-after sam: one frame and its mask. */
static SpStatus run_sam(Run *run)
{
    const SpJob *job = run->job;
    const double began = sp_clock();
    SP_TRY(sp_cpu_open((int)job->threads, &run->device));
    SP_TRY(read_clip(run));
    SP_TRY(find_mask(run));
    if (job->report)
        SP_TRY(write_report(run, sp_clock() - began));
    SP_TRY(sp_atomic_commit(&run->mask_file));
    SP_TRY(sp_atomic_commit(&run->report_file));
    sp_console_note(run->console, "%s: %lld object%s, %.1f s", job->mask_out,
                    (long long)run->prompts.objects, run->prompts.objects == 1 ? "" : "s",
                    sp_clock() - began);
    return sp_ok();
}

static SpStatus begin(Run *run)
{
    const SpJob *job = run->job;
    SP_TRY(sp_prompts_parse(&job->points, &job->boxes, &run->prompts));
    if (job->stop_after != SP_STOP_SAM) {
        SP_TRY(sp_name_result(job, run->output));
        SP_TRY(try_output(run->output, "-o"));
    }
    if (job->report)
        SP_TRY(try_output(job->report, "--report"));
    if (job->mask_out)
        SP_TRY(try_output(job->mask_out, "--mask-out"));
    return run->prompts.objects ? sp_segment_weights(job) : sp_ok();
}

static SpStatus run_all(Run *run)
{
    const double began = sp_clock();
    SP_TRY(begin(run));
    if (run->job->stop_after == SP_STOP_SAM)
        return run_sam(run);
    SP_TRY(open_models(run));
    SP_TRY(read_clip(run));
    SP_TRY(find_mask(run));
    SP_TRY(make_queries(run));
    SP_TRY(check_memory(run));
    SP_TRY(take_results(run));
    SP_TRY(run_stages(run));
    SP_TRY(write_result(run));
    if (run->job->report)
        SP_TRY(write_report(run, sp_clock() - began));
    SP_TRY(sp_atomic_commit(&run->result_file));
    SP_TRY(sp_atomic_commit(&run->mask_file));
    SP_TRY(sp_atomic_commit(&run->report_file));
    sp_console_note(run->console, "%s: %lld frames, %lld tracks, %.1f s", run->output,
                    (long long)run->clip.frames, (long long)run->queries, sp_clock() - began);
    return sp_ok();
}

SpStatus sp_job_run(const SpJob *job, SpConsole *console)
{
    Run run = {.job = job, .console = console};
    const SpStatus status = run_all(&run);
    run_free(&run);
    return status;
}
