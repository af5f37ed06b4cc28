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
#include "pipeline/frames.h"
#include "pipeline/from_result.h"
#include "pipeline/inputs.h"
#include "pipeline/libraries.h"
#include "pipeline/plan_table.h"
#include "pipeline/refinement.h"
#include "pipeline/results.h"
#include "pipeline/segmentation.h"
#include "pipeline/stages.h"
#include "pipeline/stream.h"
#include "pipeline/stream_plan.h"
#include "pipeline/world.h"

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
    run->iterations = job->iterations;
    const SpTracker *tracker = run->models->model[SP_STAGE_TRACKER].tracker;
    if (run->has[SP_STAGE_TRACKER] && job->vo_points < 0)
        run->support = sp_tracker_support(tracker);
    if (run->has[SP_STAGE_TRACKER] && job->iterations < 0)
        run->iterations = sp_tracker_iterations(tracker);
    SP_TRY(working_size(run));
    report_weights(run);
    return sp_refinement_prepare(run);
}

/* A stage without a network, for the report. */
static void add_stage(SpRun *run, const char *name, double seconds)
{
    const SpStageReport stage = {.name = name, .seconds = seconds};
    sp_report_add_stage(&run->report, &stage);
}

static SpStatus write_file(SpRun *run, SpFileRole role)
{
    const SpJob *job = run->job;
    const SpFormat *format = run->file[role].format;
    const bool own = run->from && !job->original && format && format->from_video;
    const SpResult result = own ? run->from->own : sp_run_result(run);
    const SpOutput output = sp_run_output(run, &result);
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
    const int64_t side = job->grid ? job->grid : run->mask ? SP_GRID_WITH_MASK : SP_GRID;
    SpQueries *queries = &run->queries;
    if (!run->has[SP_STAGE_TRACKER])
        return sp_ok();
    SP_TRY(job->queries ? sp_queries_read(job->queries, SP_ANY_FRAMES, plan, queries)
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

/* Before SAM has run, and after it. */
static SpStatus find_queries(SpRun *run)
{
    if (!run->has[SP_STAGE_SAM])
        SP_TRY(find_mask(run));
    SP_TRY(make_queries(run));
    return run->job->plan ? sp_ok() : sp_refinement_open(run);
}

/* Once the clip's length is known as well as it will be before any work. */
static SpStatus check_queries(const SpRun *run)
{
    return run->queries.line ? sp_queries_check(run->job->queries, &run->queries, run->length)
                             : sp_ok();
}

/* What is to be tracked, unless SAM has to find that first, and the frames: while they are read for
 * the first time, the refinement takes the patches of queries that are known. */
static SpStatus read_inputs(SpRun *run)
{
    SP_TRY(sp_frames_open(run));
    if (!run->has[SP_STAGE_SAM])
        SP_TRY(find_queries(run));
    SP_TRY(sp_frames_read(run));
    return check_queries(run);
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
    SP_TRY(sp_run_version(run));
    if (!run->has[SP_STAGE_TRACKER]) { /* then the world is not yet the first camera */
        float to_first[16];
        sp_pose_invert(run->geometry.c2w, to_first);
        sp_world_move(run, to_first);
    }
    sp_run_settle(run);
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
        const SpChunking chunking = sp_chunking_of(run->job, run->length);
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
    const int64_t side = run->job->grid ? run->job->grid : SP_GRID_WITH_MASK;
    if (run->has[SP_STAGE_SAM]) {
        SP_TRY(sp_segmentation_plan(run));
        return sp_plan_table_print(run, run->has[SP_STAGE_TRACKER] ? side * side : 0);
    }
    return sp_plan_table_print(run, run->queries.count);
}

/* Everything is planned before the first network runs; with prompts the tracker for one point, and
 * again once SAM has found how many there are. */
static SpStatus compute(SpRun *run)
{
    if (run->has[SP_STAGE_SAM]) {
        SP_TRY(sp_stages_plan(run, run->has[SP_STAGE_TRACKER]));
        SP_TRY(find_mask(run));
        if (run->job->stop_after == SP_STOP_SAM)
            return sp_ok();
        SP_TRY(find_queries(run));
    }
    SP_TRY(sp_stages_plan(run, run->queries.count));
    if (sp_run_has_still_cameras(run))
        sp_console_note(run->console,
                        "using the built-in front's cameras, which stand still: every pose is the "
                        "identity");
    if (run->streams)
        return sp_stream_run(run);
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
    run->may_stream = sp_stream_may(run);
    if (run->job->grid_every && !run->may_stream)
        return sp_error(SP_USAGE,
                        "--grid-every: of a video that can be read twice, -o and an --overlay that "
                        "is a video can be written; write the rest from the finished result");
    SP_TRY(read_inputs(run));
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
    sp_clip_close(run->reader);
    sp_clip_free(&run->clip);
    sp_refiner_close(run->refiner);
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
    sp_console_settle(console);
    models->events = 0;
    models->dump = job->dump ? &dump : NULL;
    const SpStatus status = run_all(&run, outcome);
    models->dump = NULL;
    free_run(&run);
    sp_memory_trim();
    return status;
}
