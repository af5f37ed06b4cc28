#include "pipeline/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "geometry/camera.h"
#include "input/masks.h"
#include "input/queries.h"
#include "output/mask.h"
#include "output/result.h"
#include "pipeline/libraries.h"
#include "pipeline/overlay_stage.h"
#include "pipeline/segmentation.h"

enum { PUBLISHED_WIDTH = 518, PUBLISHED_PATCH = 14, GRID = 10, GRID_WITH_MASK = 50 };

static void run_free(SpRun *run)
{
    sp_clip_free(&run->clip);
    free(run->mask);
    free(run->object);
    free(run->query);
    free(run->working);
    free(run->memory);
    free(run->version);
    sp_atomic_abandon(&run->mask_file);
    sp_atomic_abandon(&run->result_file);
    sp_atomic_abandon(&run->overlay_file);
    sp_atomic_abandon(&run->report_file);
}

static bool is_csv(const char *path)
{
    const size_t length = strlen(path);
    return length >= 4 && strcmp(path + length - 4, ".csv") == 0;
}

/* The video's own name without folder and end: of "a/b.mp4" "b", of "a/.hidden" and "a.d/b" all. */
static void own_name(const char *video, int *begin, int *end)
{
    int stop = (int)strlen(video), dot;
    while (stop > 1 && video[stop - 1] == '/')
        stop--;
    for (*begin = stop; *begin > 0 && video[*begin - 1] != '/';)
        --*begin;
    for (dot = stop - 1; dot > *begin && video[dot] != '.';)
        dot--;
    *end = dot > *begin ? dot : stop;
}

/* A file that is asked for, or in the folder asked for (ends in /) the video's name with `suffix`;
 * of nothing asked for the same beside the video. */
static SpStatus file_name(const SpJob *job, const char *asked, const char *suffix,
                          char out[SP_PATH_CAPACITY])
{
    int begin, end, length;
    own_name(job->video, &begin, &end);
    const bool folder = asked && *asked && asked[strlen(asked) - 1] == '/';
    if (asked && !folder)
        length = snprintf(out, SP_PATH_CAPACITY, "%s", asked);
    else
        length = snprintf(out, SP_PATH_CAPACITY, "%s%.*s%s", folder ? asked : "",
                          folder ? end - begin : end, job->video + (folder ? begin : 0), suffix);
    if (length < 0 || length >= SP_PATH_CAPACITY)
        return sp_error(SP_USAGE, "the result's name is longer than %d characters",
                        SP_PATH_CAPACITY);
    return sp_ok();
}

SpStatus sp_job_output_name(const SpJob *job, char out[SP_PATH_CAPACITY])
{
    return file_name(job, job->output, ".npz", out);
}

static SpStatus name_output(SpRun *run)
{
    const SpJob *job = run->job;
    SP_TRY(sp_job_output_name(job, run->output));
    if (strcmp(run->output, job->video) == 0)
        return sp_error(SP_USAGE, "%.400s: the result would replace the video; name it with -o",
                        run->output);
    if (job->report && strcmp(run->output, run->report_name) == 0)
        return sp_error(SP_USAGE, "%.400s: --report would replace the result; name another file",
                        run->output);
    if (job->no_clobber && access(run->output, F_OK) == 0)
        return sp_error(SP_OUTPUT, "%.400s exists; --no-clobber keeps it", run->output);
    return sp_ok();
}

/* Fails before any work when the result could not be written anyway. */
static SpStatus try_output(const char *path, const char *flag)
{
    SpAtomicFile file;
    SP_TRY(sp_atomic_open_for(path, flag, &file));
    sp_atomic_abandon(&file);
    return sp_ok();
}

const char *sp_run_tracker_model(const SpJob *job)
{
    return job->mode == SP_TRACKER_ONLINE ? "online" : "offline";
}

static SpStatus open_front(SpRun *run)
{
    if (!run->with_front)
        return sp_ok();
    SP_TRY(sp_weights_locate(run->job->weights, "front", &run->front_place));
    return sp_models_acquire(run->models, SP_STAGE_FRONT, "front", &run->front_place);
}

static SpStatus open_tracker(SpRun *run)
{
    const SpJob *job = run->job;
    const char *name = sp_run_tracker_model(job);
    if (!run->with_tracker)
        return sp_ok();
    SP_TRY(sp_weights_locate(job->weights, name, &run->tracker_place));
    SP_TRY(sp_models_acquire(run->models, SP_STAGE_TRACKER, name, &run->tracker_place));
    run->support = job->vo_points < 0
                       ? sp_tracker_support(run->models->model[SP_STAGE_TRACKER].tracker)
                       : job->vo_points;
    return sp_ok();
}

static void tell_weights(const SpRun *run)
{
    const SpLocated *const places[] = {&run->front_place, &run->tracker_place};
    const bool with[] = {run->with_front, run->with_tracker};
    bool embedded = false;
    for (int i = 0; i < 2; i++)
        embedded = embedded || (with[i] && places[i]->embedded);
    if (embedded)
        sp_console_note(run->console,
                        "using the built-in lite weights; get the published ones with "
                        "make -f weights.mk front %s",
                        sp_run_tracker_model(run->job));
    for (int i = 0; i < 2; i++)
        if (with[i] && !places[i]->embedded)
            sp_console_detail(run->console, "weights: %s (%s)", places[i]->folder,
                              places[i]->where);
}

/* Pixels across the working frames and a patch: what the front was made for. Where the user's
 * geometry takes its place: what the front would be that belongs to the tracker's weights. */
static SpStatus working_size(SpRun *run)
{
    const bool belongs = run->with_tracker && run->tracker_place.embedded;
    run->width = PUBLISHED_WIDTH;
    run->patch = PUBLISHED_PATCH;
    if (!run->with_front && !belongs)
        return sp_ok();
    if (!run->with_front)
        SP_TRY(sp_models_acquire(run->models, SP_STAGE_FRONT, "front", &run->tracker_place));
    const SpFront *front = run->models->model[SP_STAGE_FRONT].front;
    run->width = sp_front_width(front);
    run->patch = sp_front_patch(front);
    if (!run->with_front)
        sp_models_discard(run->models, SP_STAGE_FRONT);
    return sp_ok();
}

static SpStatus open_models(SpRun *run)
{
    SpDevice *device;
    const SpJob *job = run->job;
    run->with_front = !job->geometry && job->stop_after != SP_STOP_SAM;
    run->with_tracker = job->stop_after == SP_STOP_NEVER;
    SP_TRY(sp_models_device(run->models, &device));
    SP_TRY(open_front(run));
    SP_TRY(open_tracker(run));
    SP_TRY(working_size(run));
    tell_weights(run);
    return sp_ok();
}

static SpStatus read_clip(SpRun *run)
{
    const SpJob *job = run->job;
    SpClipSettings settings = {.size = run->width,
                               .patch = run->patch,
                               .reader = {job->start, job->stride, job->max_frames},
                               .portrait = job->portrait,
                               .max_short_side = job->max_input_side,
                               .keep_original = run->prompts.objects > 0,
                               .original_frame = job->prompt_frame};
    if (job->stop_after == SP_STOP_SAM)
        settings.reader.max_frames = job->prompt_frame + 1;
    sp_console_begin(run->console, "frames", 0);
    const SpStatus status =
        sp_clip_read(job->video, &settings, &run->console->progress, &run->clip);
    sp_run_add_stage(run, "frames", sp_console_end(run->console));
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
static SpStatus find_mask(SpRun *run)
{
    const SpJob *job = run->job;
    SpStageReport *stage = &run->report.stages[run->report.stage_count];
    if (job->mask)
        return sp_mask_read(job->mask, &run->clip.plan, &run->mask);
    if (run->prompts.objects == 0)
        return sp_ok();
    SP_TRY(sp_segmentation_run(job, &run->prompts, &run->clip, run->models, run->console,
                               &run->mask, stage));
    run->report.stage_count++;
    sp_clip_free_original(&run->clip);
    return job->mask_out ? sp_mask_write(job->mask_out, &run->clip.plan, run->mask,
                                         run->prompts.objects, &run->mask_file)
                         : sp_ok();
}

static SpStatus grid_queries(SpRun *run)
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

static SpStatus make_queries(SpRun *run)
{
    const SpJob *job = run->job;
    if (!run->with_tracker)
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

/* The front's cameras relative to the first one, as --stop-after front gives them. */
static void to_first_camera(SpRun *run)
{
    float to_first[16];
    sp_pose_invert(run->geometry.c2w, to_first);
    for (int64_t t = 0; t < run->clip.frames; t++)
        sp_pose_multiply(to_first, run->geometry.c2w + 16 * t, run->geometry.c2w + 16 * t);
}

static SpStatus name_version(SpRun *run)
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

static SpResult result_of(const SpRun *run)
{
    const SpGeometry *given = &run->geometry;
    const SpTrackerOutput *found = &run->found;
    const bool tracked = run->with_tracker;
    return (SpResult){.clip = &run->clip,
                      .depth = tracked ? found->depth : given->depth,
                      .confidence = tracked ? found->valid : given->confidence,
                      .c2w = tracked ? found->c2w : given->c2w,
                      .intrinsics = tracked ? found->intrinsics : given->intrinsics,
                      .tracks = run->queries,
                      .queries = run->query,
                      .track = found->tracks,
                      .points = found->camera_points,
                      .visibility = found->visibility,
                      .confs = found->confidence,
                      .dynamic = found->dynamic,
                      .object = run->prompts.named ? run->object : NULL,
                      .objects = run->prompts.objects,
                      .object_names = run->prompts.name[0],
                      .object_name_size = sizeof run->prompts.name[0],
                      .version = run->version};
}

static SpStatus write_result(SpRun *run)
{
    SpAtomicFile *file = &run->result_file;
    SP_TRY(name_version(run));
    if (!run->with_tracker)
        to_first_camera(run);
    const SpResult result = result_of(run);
    SP_TRY(sp_atomic_open(run->output, file));
    sp_console_begin(run->console, "result", 0);
    SpStatus status = is_csv(run->output) ? sp_result_write_csv(file, &result)
                                          : sp_result_write_npz(file, &result, run->job->max_side,
                                                                !run->job->no_compress);
    if (status.code == SP_OK)
        status = sp_atomic_settle(file);
    sp_run_add_stage(run, "result", sp_console_end(run->console));
    return status;
}

static SpStatus write_overlay(SpRun *run)
{
    const SpResult result = result_of(run);
    double seconds;
    const SpStatus status =
        sp_job_overlay_write(run->job, &result, run->console, &run->overlay_file, &seconds);
    sp_run_add_stage(run, "overlay", seconds);
    return status;
}

static SpStatus write_report(SpRun *run, double seconds)
{
    SpReport *report = &run->report;
    const SpLocated *place = run->with_front ? &run->front_place : &run->tracker_place;
    report->program_version = SP_VERSION;
    report->settings_json = run->job->settings;
    report->input = run->job->video;
    report->input_width = run->clip.plan.input_width;
    report->input_height = run->clip.plan.input_height;
    report->used_frames = run->clip.frames;
    report->left_out_frames = run->clip.left_out;
    report->rate = run->clip.rate;
    report->weights = place->embedded ? "built in" : *place->folder ? place->folder : NULL;
    report->seconds = seconds;
    report->peak_rss_bytes = sp_memory_peak();
    report->event_count = run->models->events;
    report->events = run->models->event;
    report->library_count = sp_libraries(report->libraries, SP_REPORT_LIBRARIES);
    SP_TRY(sp_atomic_open_for(run->report_name, "--report", &run->report_file));
    SP_TRY(sp_report_write(&run->report_file, report));
    return sp_atomic_settle(&run->report_file);
}

static SpStatus commit(SpRun *run)
{
    SP_TRY(sp_atomic_commit(&run->result_file));
    SP_TRY(sp_atomic_commit(&run->mask_file));
    SP_TRY(sp_atomic_commit(&run->overlay_file));
    return sp_atomic_commit(&run->report_file);
}

/* What can fail before any work. */
static SpStatus begin(SpRun *run)
{
    const SpJob *job = run->job;
    SP_TRY(sp_prompts_parse(&job->points, &job->boxes, &run->prompts));
    if (job->report)
        SP_TRY(file_name(job, job->report, ".json", run->report_name));
    if (job->stop_after != SP_STOP_SAM && !job->plan) {
        SP_TRY(name_output(run));
        SP_TRY(try_output(run->output, "-o"));
    }
    if (job->report && !job->plan)
        SP_TRY(try_output(run->report_name, "--report"));
    if (job->mask_out && !job->plan)
        SP_TRY(try_output(job->mask_out, "--mask-out"));
    if (job->overlay && !job->plan)
        SP_TRY(sp_job_overlay_begin(job, run->output));
    return run->prompts.objects ? sp_segmentation_check_weights(job) : sp_ok();
}

/* --plan: of a mask that is not known yet, as if it held every point of the grid. */
static SpStatus tell_plan(SpRun *run)
{
    const SpJob *job = run->job;
    const int64_t side = job->grid ? job->grid : GRID_WITH_MASK;
    SpFootprint sam;
    const char *name;
    if (run->prompts.objects == 0) {
        SP_TRY(find_mask(run));
        SP_TRY(make_queries(run));
        return sp_run_print_plan(run, run->queries, NULL, NULL);
    }
    SP_TRY(sp_segmentation_plan(job, &run->prompts, &run->clip, run->models, &sam, &name));
    return sp_run_print_plan(run, run->with_tracker ? side * side : 0, &sam, name);
}

/* Everything is planned before the first network runs; with prompts the tracker for one point, and
 * again once SAM has found how many there are. */
static SpStatus compute(SpRun *run)
{
    if (run->prompts.objects)
        SP_TRY(sp_run_plan(run, run->with_tracker));
    SP_TRY(find_mask(run));
    if (run->job->stop_after == SP_STOP_SAM)
        return sp_ok();
    SP_TRY(make_queries(run));
    SP_TRY(sp_run_plan(run, run->queries));
    SP_TRY(sp_run_stages(run));
    SP_TRY(write_result(run));
    return run->job->overlay ? write_overlay(run) : sp_ok();
}

static void tell_end(const SpRun *run, double seconds)
{
    const int64_t objects = run->prompts.objects;
    if (run->job->stop_after == SP_STOP_SAM)
        sp_console_note(run->console, "%s: %lld object%s, %.1f s", run->job->mask_out,
                        (long long)objects, objects == 1 ? "" : "s", seconds);
    else
        sp_console_note(run->console, "%s: %lld frames, %lld tracks, %.1f s", run->output,
                        (long long)run->clip.frames, (long long)run->queries, seconds);
}

static SpStatus run_all(SpRun *run)
{
    const double began = sp_clock();
    SP_TRY(begin(run));
    SP_TRY(open_models(run));
    run->report.device = run->models->device->name;
    run->report.isa = sp_devices_isa(run->models->device);
    run->report.threads = sp_devices_threads(run->models->device);
    SP_TRY(read_clip(run));
    if (run->job->plan)
        return tell_plan(run);
    SP_TRY(compute(run));
    sp_models_end_video(run->models);
    if (run->job->report)
        SP_TRY(write_report(run, sp_clock() - began));
    SP_TRY(commit(run));
    tell_end(run, sp_clock() - began);
    return sp_ok();
}

SpStatus sp_job_run(const SpJob *job, SpModels *models, SpConsole *console)
{
    SpRun run = {.job = job, .models = models, .console = console};
    models->events = 0;
    const SpStatus status = run_all(&run);
    run_free(&run);
    return status;
}
