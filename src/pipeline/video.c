#include "pipeline/video.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/clock.h"
#include "base/memory.h"
#include "geometry/camera.h"
#include "input/masks.h"
#include "nn/dump.h"
#include "pipeline/chunks.h"
#include "pipeline/done.h"
#include "pipeline/from_result.h"
#include "pipeline/inputs.h"
#include "pipeline/libraries.h"
#include "pipeline/plan_table.h"
#include "pipeline/refinement.h"
#include "pipeline/segmentation.h"
#include "pipeline/stages.h"

static const double SLANT = 0.1; /* degrees that a quarter turn may be off, silently */

enum { GRID = 10, GRID_WITH_MASK = 50 };

static void report_weights(const SpRun *run)
{
    const SpLocated *front = &run->place[SP_STAGE_FRONT], *tracker = &run->place[SP_STAGE_TRACKER];
    if ((front->embedded || tracker->embedded) && !run->models->reported_lite)
        sp_console_note(run->console,
                        "using the built-in lite weights; get the published ones with "
                        "%s front %s",
                        sp_weights_make(), sp_model_info(tracker->model)->name);
    run->models->reported_lite |= front->embedded || tracker->embedded;
    for (SpStage stage = SP_STAGE_FRONT; stage < SP_STAGES; stage++)
        if (run->has[stage] && !run->place[stage].embedded)
            sp_console_detail(run->console, "weights: %s (%s)", run->place[stage].folder,
                              run->place[stage].where);
}

/* Pixels across the working frames and a patch: what the front was made for. Where the user's
 * geometry takes its place: what the front would be that belongs to the tracker's weights. */
static SpStatus working_size(SpRun *run)
{
    const bool runs = run->has[SP_STAGE_FRONT];
    SpLocated place = run->place[SP_STAGE_TRACKER];
    run->width = SP_FRONT_WIDTH;
    run->patch = SP_FRONT_PATCH;
    if (!runs && !place.embedded)
        return sp_ok();
    place.model = SP_MODEL_FRONT;
    if (!runs)
        SP_TRY(sp_models_acquire(run->models, SP_STAGE_FRONT, &place));
    const SpFront *front = run->models->model[SP_STAGE_FRONT].front;
    run->width = sp_front_width(front);
    run->patch = sp_front_patch(front);
    if (!runs)
        sp_models_discard(run->models, SP_STAGE_FRONT);
    return sp_ok();
}

static SpStatus open_models(SpRun *run)
{
    const SpJob *job = run->job;
    run->has[SP_STAGE_SAM] = job->prompts->objects > 0;
    run->has[SP_STAGE_FRONT] = !job->geometry && job->stop_after != SP_STOP_SAM;
    run->has[SP_STAGE_TRACKER] = job->stop_after == SP_STOP_NEVER;
    run->place[SP_STAGE_FRONT].model = SP_MODEL_FRONT;
    run->place[SP_STAGE_TRACKER].model =
        job->mode == SP_TRACKER_ONLINE ? SP_MODEL_ONLINE : SP_MODEL_OFFLINE;
    SP_TRY(sp_models_open_device(run->models));
    for (SpStage stage = SP_STAGE_FRONT; stage < SP_STAGES; stage++) {
        SpLocated *place = &run->place[stage];
        if (!run->has[stage])
            continue;
        SP_TRY(sp_weights_locate(job->weights, place->model, place));
        SP_TRY(sp_models_acquire(run->models, stage, place));
    }
    run->support = job->vo_points;
    if (run->has[SP_STAGE_TRACKER] && job->vo_points < 0)
        run->support = sp_tracker_support(run->models->model[SP_STAGE_TRACKER].tracker);
    SP_TRY(working_size(run));
    report_weights(run);
    return sp_refinement_prepare(run);
}

/* A stage without a network, for the report. */
static void add_stage(SpRun *run, const char *name, double seconds)
{
    run->report.stages[run->report.stage_count++] =
        (SpStageReport){.name = name, .seconds = seconds};
}

/* What of the input is not used, one line each. */
static void warn_of_losses(const SpRun *run)
{
    const SpClip *clip = &run->clip;
    const SpLosses *losses = &clip->losses;
    const char *video = run->job->video;
    const long long read = losses->read, declared = losses->declared, damaged = losses->damaged;
    if (clip->left_out > 0 && run->job->stop_after != SP_STOP_SAM)
        sp_console_warn(run->console,
                        "%lld frames left out: used the first %lld (--max-frames, --stride)",
                        (long long)clip->left_out, (long long)clip->frames);
    if (clip->gap.behind > 0)
        sp_console_warn(run->console,
                        "%.300s: number %lld is missing, so that only %lld of %lld images are "
                        "read; give the folder to read all",
                        video, (long long)clip->gap.missing, read, read + clip->gap.behind);
    if (declared > read && damaged > 0)
        sp_console_warn(run->console,
                        "%.300s: only %lld of %lld frames can be read, %lld of them with damage; "
                        "the file is damaged or cut off",
                        video, read, declared, damaged);
    else if (declared > read)
        sp_console_warn(
            run->console,
            "%.300s: only %lld of %lld frames can be read; the file is damaged or cut off", video,
            read, declared);
    else if (damaged > 0)
        sp_console_warn(run->console, "%.300s: %lld of %lld frames are damaged", video, damaged,
                        read);
}

static SpStatus read_clip(SpRun *run)
{
    const SpJob *job = run->job;
    SpClipSettings settings = {.size = run->width,
                               .patch = run->patch,
                               .reader = sp_job_reader(job),
                               .portrait = job->portrait,
                               .max_short_side = job->max_input_side,
                               .keep_original = run->has[SP_STAGE_SAM],
                               .original_frame = job->prompt_frame};
    if (job->stop_after == SP_STOP_SAM)
        settings.reader.max_frames = job->prompt_frame + 1;
    sp_console_begin(run->console, "frames", 0);
    const SpStatus status =
        sp_clip_read(job->video, &settings, &run->console->progress, &run->clip);
    add_stage(run, "frames", sp_console_end(run->console));
    if (status.code != SP_OK)
        return status;
    const SpClip *clip = &run->clip;
    if (clip->streams > 1)
        sp_console_warn(run->console, "%d videos are in the file; stream %d is read (--stream)",
                        clip->streams, clip->stream);
    if (fabs(remainder(clip->rotation, 90)) > SLANT)
        sp_console_warn(run->console,
                        "rotated by %.4g degrees clockwise; frames are turned by %.4g only",
                        clip->rotation, 90 * rint(clip->rotation / 90));
    warn_of_losses(run);
    if (clip->plan.height < clip->plan.resized_height)
        sp_console_note(
            run->console,
            "frames taller than wide: %lld of %lld rows are used (--portrait fit uses all)",
            (long long)(clip->plan.height * clip->plan.input_height / clip->plan.resized_height),
            (long long)clip->plan.input_height);
    return sp_ok();
}

static SpResult result_of(const SpRun *run)
{
    if (run->from)
        return run->from->result;
    const SpGeometry *geometry = &run->geometry;
    const SpTrackerOutput *tracks = &run->tracks;
    const SpPrompts *prompts = run->job->prompts;
    const bool tracked = run->has[SP_STAGE_TRACKER];
    return (SpResult){.clip = &run->clip,
                      .depth = tracked ? tracks->depth : geometry->depth,
                      .confidence = tracked ? tracks->valid : geometry->confidence,
                      .c2w = tracked ? tracks->c2w : geometry->c2w,
                      .w2c = run->w2c,
                      .coords = run->coords,
                      .tracks2d = run->tracks2d,
                      .intrinsics = tracked ? tracks->intrinsics : geometry->intrinsics,
                      .tracks = run->queries.count,
                      .queries = run->queries.query,
                      .track = tracks->tracks,
                      .points = tracks->camera_points,
                      .visibility = tracks->visibility,
                      .confs = tracks->confidence,
                      .dynamic = tracks->dynamic,
                      .sigma = run->refines ? run->sigma : NULL,
                      .object = prompts->named ? run->queries.object : NULL,
                      .objects = prompts->objects,
                      .object_names = prompts->name[0],
                      .object_name_size = sizeof prompts->name[0],
                      .chunks = run->chunks,
                      .chunk = run->chunk,
                      .scale = run->scale,
                      .version = run->version};
}

static SpStatus write_file(SpRun *run, SpFileRole role)
{
    const SpJob *job = run->job;
    const SpFormat *format = run->file[role].format;
    const bool own = run->from && !job->original && format && format->from_video;
    const SpResult result = own ? run->from->own : result_of(run);
    const SpOutput output = {.result = &result,
                             .input = job->video,
                             .mask = run->mask,
                             .report = &run->report,
                             .video = sp_job_frames(job),
                             .reader = run->from ? sp_from_result_reader(run) : sp_job_reader(job),
                             .trail = job->trail,
                             .background = job->background,
                             .max_side = run->from ? job->result_max_side : job->max_side,
                             .compress = !job->no_compress,
                             .viewer_size = job->viewer_size,
                             .usd_cloud = job->usd_cloud,
                             .omit = job->omit,
                             .console = run->console};
    return sp_files_write(run->file, role, &output);
}

/* The mask of what to track, if there is one: from SAM or from a file. */
static SpStatus find_mask(SpRun *run)
{
    const SpJob *job = run->job;
    if (job->mask)
        return sp_mask_read(job->mask, &run->clip.plan, &run->mask);
    if (!run->has[SP_STAGE_SAM])
        return sp_ok();
    SP_TRY(sp_segmentation_run(run));
    free(run->clip.original);
    run->clip.original = NULL;
    return write_file(run, SP_FILE_MASK_OUT);
}

static SpStatus make_queries(SpRun *run)
{
    const SpJob *job = run->job;
    const SpFramePlan *plan = &run->clip.plan;
    const int64_t side = job->grid ? job->grid : run->mask ? GRID_WITH_MASK : GRID;
    SpQueries *queries = &run->queries;
    if (!run->has[SP_STAGE_TRACKER])
        return sp_ok();
    SP_TRY(job->queries ? sp_queries_read(job->queries, run->clip.frames, plan, queries)
                        : sp_queries_grid(side, job->prompt_frame, plan, run->mask, queries));
    run->working = malloc((size_t)(3 * queries->count) * sizeof *run->working);
    if (!run->working)
        return sp_no_memory("the queries");
    for (int64_t n = 0; n < queries->count; n++) {
        const float *query = queries->query + 3 * n;
        float *working = run->working + 3 * n;
        working[0] = query[0];
        sp_point_to_working(plan, query[1], query[2], working + 1, working + 2);
    }
    return sp_ok();
}

/* The front's cameras relative to the first one, as --stop-after front gives them. */
static void to_first_camera(SpRun *run)
{
    float to_first[16];
    sp_pose_invert(run->geometry.c2w, to_first);
    for (int64_t t = 0; t < run->clip.frames; t++)
        sp_pose_multiply(to_first, run->geometry.c2w + 16 * t, run->geometry.c2w + 16 * t);
}

/* Whether the result's cameras are the built-in front's, which does not estimate any. */
static bool has_still_cameras(const SpRun *run)
{
    return run->place[SP_STAGE_FRONT].embedded &&
           (!run->has[SP_STAGE_TRACKER] || run->job->fixed_camera);
}

/* What is saved is what counts: all else is made of it again, so that every file is the same from a
 * finished result. */
static void settle(SpRun *run)
{
    const bool tracked = run->has[SP_STAGE_TRACKER];
    const int64_t values = 3 * run->clip.frames * run->clip.plan.height * run->clip.plan.width;
    float *c2w = tracked ? run->tracks.c2w : run->geometry.c2w;
    for (int64_t t = 0; t < run->clip.frames; t++) {
        sp_pose_invert(c2w + 16 * t, run->w2c + 16 * t);
        sp_pose_invert(run->w2c + 16 * t, c2w + 16 * t);
    }
    for (int64_t i = 0; i < 3 * run->chunks; i++)
        run->chunk[i / 3].similarity[4 * (i % 3) + 3] *= run->scale;
    for (int64_t i = 0; i < values; i++)
        run->clip.video[i] = sp_result_unshade(sp_result_shade(run->clip.video[i]));
    if (!tracked)
        return;
    SpResult result = result_of(run);
    result.coords = result.tracks2d = NULL;
    sp_result_coords(&result, run->coords);
    sp_result_tracks2d(&result, run->tracks2d);
    result = result_of(run);
    sp_result_place(&result, run->tracks.camera_points, run->tracks.tracks);
}

static SpStatus make_version(SpRun *run)
{
    static const char form[] =
        "{\"program\":\"spatrack %s\",\"format\":%d,%s%s%s%s\"settings\":%s}";
    const char *settings = run->job->settings;
    const char *cameras = has_still_cameras(run)
                              ? "\"cameras\":\"still: the built-in front gives the identity\","
                              : "";
    const size_t capacity = sizeof form + strlen(SP_VERSION) + strlen(settings) + strlen(cameras) +
                            (run->input.json ? strlen(run->input.json) : 0) + 32;
    run->version = malloc(capacity);
    if (!run->version)
        return sp_no_memory("the result");
    snprintf(run->version, capacity, form, SP_VERSION, SP_FORMAT_VERSION, cameras,
             run->input.json ? "\"input\":" : "", run->input.json ? run->input.json : "",
             run->input.json ? "," : "", settings);
    return sp_ok();
}

/* As a stage of its own, of `frames` frames on the console. */
static SpStatus write_stage(SpRun *run, SpFileRole role, const char *name, double frames)
{
    sp_console_begin(run->console, name, frames);
    const SpStatus status = write_file(run, role);
    add_stage(run, name, sp_console_end(run->console));
    return status;
}

/* What other programs read, as one stage. */
static SpStatus write_exports(SpRun *run)
{
    const SpJob *job = run->job;
    if (!job->usd && !job->cameras && !job->ply && !job->colmap && !job->depth && !job->viewer)
        return sp_ok();
    sp_console_begin(run->console, "exports", 0);
    SpStatus status = sp_ok();
    for (SpFileRole role = SP_FILE_USD; role <= SP_FILE_VIEWER && status.code == SP_OK; role++)
        status = write_file(run, role);
    add_stage(run, "exports", sp_console_end(run->console));
    return status;
}

static SpStatus write_files(SpRun *run)
{
    if (*run->file[SP_FILE_RESULT].path)
        SP_TRY(write_stage(run, SP_FILE_RESULT, "result", 0));
    if (run->job->overlay)
        SP_TRY(write_stage(run, SP_FILE_OVERLAY, "overlay", (double)run->clip.frames));
    return write_exports(run);
}

static SpStatus write_result(SpRun *run)
{
    SP_TRY(make_version(run));
    if (has_still_cameras(run))
        sp_console_note(run->console,
                        "using the built-in front's cameras, which stand still: every pose is the "
                        "identity");
    if (!run->has[SP_STAGE_TRACKER])
        to_first_camera(run);
    settle(run);
    return write_files(run);
}

static SpStatus write_report(SpRun *run, double seconds)
{
    SpReport *report = &run->report;
    const SpLocated *place =
        &run->place[run->has[SP_STAGE_FRONT] ? SP_STAGE_FRONT : SP_STAGE_TRACKER];
    report->program_version = SP_VERSION;
    report->settings_json = run->from ? run->settings : run->job->settings;
    report->input = run->job->video;
    report->input_width = run->clip.plan.input_width;
    report->input_height = run->clip.plan.input_height;
    report->used_frames = run->clip.frames;
    report->left_out_frames = run->clip.left_out;
    report->rate = run->clip.rate;
    report->weights = place->embedded ? "built in" : *place->folder ? place->folder : NULL;
    report->seconds = seconds;
    report->peak_rss_bytes = sp_memory_peak();
    if (run->chunks) {
        const SpChunking chunking = sp_chunking_of(run->job, run->clip.frames);
        report->chunk_frames = chunking.frames;
        report->chunk_overlap = chunking.overlap;
    }
    report->chunks = run->chunks;
    report->chunk = run->chunk;
    report->event_count = run->models->events;
    report->events = run->models->event;
    report->library_count = sp_libraries(report->libraries);
    return write_file(run, SP_FILE_REPORT);
}

/* Puts every file into its place; then the report of several videos gets its line. */
static SpStatus commit(SpRun *run)
{
    const SpRunFile *file = &run->file[SP_FILE_REPORT];
    SP_TRY(sp_files_commit(run->file));
    return file->appended ? sp_report_append(file->path, &run->report) : sp_ok();
}

/* Nobody else does this; *outcome says whether it is still to be done. */
static SpStatus claim(SpRun *run, SpOutcome *outcome)
{
    const SpJob *job = run->job;
    const char *name = sp_files_lock_name(run->file);
    bool is_free = true, done = false;
    SP_TRY(sp_files_make_folders(job, run->file));
    if (*name && (job->several || job->skip_done))
        SP_TRY(sp_lock_take(name, &run->lock, &is_free));
    if (!is_free && !job->several)
        return sp_error(SP_OUTPUT, "%.400s is being written by another process", name);
    if (!is_free) {
        *outcome = SP_OUTCOME_LEFT;
        return sp_ok();
    }
    if (!run->from)
        SP_TRY(sp_input_record(job, &run->input));
    if (job->skip_done)
        SP_TRY(sp_is_done(job, run->file, &run->input, &done));
    if (done)
        *outcome = SP_OUTCOME_SKIPPED;
    return done ? sp_ok() : sp_files_check_clobber(job, run->file);
}

/* What can fail before any work. */
static SpStatus begin(SpRun *run, SpOutcome *outcome)
{
    const SpJob *job = run->job;
    SP_TRY(sp_files_name(job, run->file));
    if (!job->plan && !job->skip_done)
        SP_TRY(sp_files_check_clobber(job, run->file));
    SP_TRY(sp_inputs_check(job));
    if (!job->plan) {
        SP_TRY(claim(run, outcome));
        if (*outcome != SP_OUTCOME_DONE)
            return sp_ok();
        SP_TRY(sp_files_check(job, run->file));
        if (job->dump)
            SP_TRY(sp_tensor_folder_open(job->dump, &run->dumped));
    }
    return job->prompts->objects && !run->from ? sp_segmentation_check_weights(job) : sp_ok();
}

/* --plan: of a mask that is not known yet, as if it held every point of the grid. */
static SpStatus print_plan(SpRun *run)
{
    const int64_t side = run->job->grid ? run->job->grid : GRID_WITH_MASK;
    if (run->has[SP_STAGE_SAM]) {
        SP_TRY(sp_segmentation_plan(run));
        return sp_plan_table_print(run, run->has[SP_STAGE_TRACKER] ? side * side : 0);
    }
    SP_TRY(find_mask(run));
    SP_TRY(make_queries(run));
    return sp_plan_table_print(run, run->queries.count);
}

/* Everything is planned before the first network runs; with prompts the tracker for one point, and
 * again once SAM has found how many there are. */
static SpStatus compute(SpRun *run)
{
    if (run->has[SP_STAGE_SAM])
        SP_TRY(sp_stages_plan(run, run->has[SP_STAGE_TRACKER]));
    SP_TRY(find_mask(run));
    if (run->job->stop_after == SP_STOP_SAM)
        return sp_ok();
    SP_TRY(make_queries(run));
    SP_TRY(sp_stages_plan(run, run->queries.count));
    SP_TRY(sp_stages_run(run));
    return write_result(run);
}

static void report_end(const SpRun *run, double seconds)
{
    const int64_t objects = run->job->prompts->objects;
    if (run->job->stop_after == SP_STOP_SAM)
        sp_console_note(run->console, "%s: %lld object%s, %.1f s", run->job->mask_out,
                        (long long)objects, objects == 1 ? "" : "s", seconds);
    else
        sp_console_note(run->console, "%s: %lld frames, %lld tracks, %.1f s",
                        run->file[SP_FILE_RESULT].path, (long long)run->clip.frames,
                        (long long)run->queries.count, seconds);
}

/* Nothing is computed: a finished result is read, and what is asked for is written from it. */
static SpStatus run_result(SpRun *run, double began)
{
    SP_TRY(sp_from_result_open(run));
    if (run->job->plan)
        return sp_from_result_plan(run);
    sp_console_begin(run->console, "reading", 0);
    const SpStatus status = sp_from_result_read(run);
    add_stage(run, "reading", sp_console_end(run->console));
    SP_TRY(status);
    SP_TRY(write_files(run));
    SP_TRY(write_report(run, sp_clock() - began));
    SP_TRY(commit(run));
    sp_console_note(run->console, "%s: %lld frames, %lld tracks, %.1f s", run->job->video,
                    (long long)run->clip.frames, (long long)run->from->result.tracks,
                    sp_clock() - began);
    return sp_ok();
}

static SpStatus run_all(SpRun *run, SpOutcome *outcome)
{
    const double began = sp_clock();
    *outcome = SP_OUTCOME_DONE;
    SP_TRY(begin(run, outcome));
    if (*outcome != SP_OUTCOME_DONE)
        return sp_ok();
    if (run->from)
        return run_result(run, began);
    SP_TRY(open_models(run));
    run->report.device = run->models->device->name;
    run->report.isa = run->models->device->isa;
    run->report.threads = run->models->device->threads;
    SP_TRY(read_clip(run));
    if (run->job->plan)
        return print_plan(run);
    SP_TRY(compute(run));
    sp_models_end_video(run->models);
    SP_TRY(write_report(run, sp_clock() - began));
    if (run->dumped)
        SP_TRY(sp_tensor_folder_finish(run->dumped));
    SP_TRY(commit(run));
    report_end(run, sp_clock() - began);
    return sp_ok();
}

static void free_run(SpRun *run)
{
    if (run->from)
        sp_from_result_close(run);
    sp_clip_free(&run->clip);
    free(run->mask);
    sp_queries_free(&run->queries);
    free(run->working);
    free(run->memory);
    free(run->chunk);
    free(run->version);
    cJSON_free(run->input.json);
    sp_tensor_folder_close(run->dumped);
    sp_files_abandon(run->file);
    sp_lock_release(&run->lock);
}

static void dump_tensor(void *self, const char *name, int rank, const int64_t *dims,
                        const float *data)
{
    const SpRun *run = self;
    if (run->dumped)
        sp_tensor_folder_add(run->dumped, name, rank, dims, data);
}

SpStatus sp_video_run(const SpJob *job, SpModels *models, SpConsole *console, SpOutcome *outcome)
{
    SpResultFile result = {0};
    SpRun run = {.job = job,
                 .models = models,
                 .console = console,
                 .from = job->from_result ? &result : NULL};
    const SpDump dump = {dump_tensor, &run};
    models->events = 0;
    models->dump = job->dump ? &dump : NULL;
    const SpStatus status = run_all(&run, outcome);
    models->dump = NULL;
    free_run(&run);
    sp_memory_trim();
    return status;
}
