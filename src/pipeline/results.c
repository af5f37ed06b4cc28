#include "pipeline/results.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "geometry/camera.h"
#include "pipeline/from_result.h"

SpResult sp_run_result(const SpRun *run)
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

SpOutput sp_run_output(const SpRun *run, const SpResult *result)
{
    const SpJob *job = run->job;
    return (SpOutput){.result = result,
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
}

bool sp_run_has_still_cameras(const SpRun *run)
{
    return run->place[SP_STAGE_FRONT].embedded &&
           (!run->has[SP_STAGE_TRACKER] || run->job->fixed_camera);
}

void sp_run_settle_chunks(SpRun *run)
{
    for (int64_t i = 0; i < 3 * run->chunks; i++)
        run->chunk[i / 3].similarity[4 * (i % 3) + 3] *= run->scale;
}

void sp_run_settle_pictures(const SpFramePlan *plan, int64_t frames, const float *from, float *to)
{
    for (int64_t i = 0; i < 3 * frames * plan->height * plan->width; i++)
        to[i] = sp_result_unshade(sp_result_shade(from[i]));
}

void sp_run_settle(SpRun *run)
{
    const bool tracked = run->has[SP_STAGE_TRACKER];
    float *c2w = tracked ? run->tracks.c2w : run->geometry.c2w;
    for (int64_t t = 0; t < run->clip.frames; t++) {
        sp_pose_invert(c2w + 16 * t, run->w2c + 16 * t);
        sp_pose_invert(run->w2c + 16 * t, c2w + 16 * t);
    }
    sp_run_settle_chunks(run);
    sp_run_settle_pictures(&run->clip.plan, run->clip.frames, run->clip.video, run->clip.video);
    if (!tracked)
        return;
    SpResult result = sp_run_result(run);
    result.coords = result.tracks2d = NULL;
    sp_result_coords(&result, run->coords);
    sp_result_tracks2d(&result, run->tracks2d);
    result = sp_run_result(run);
    sp_result_place(&result, run->tracks.camera_points, run->tracks.tracks);
}

SpStatus sp_run_version(SpRun *run)
{
    static const char form[] =
        "{\"program\":\"spatrack %s\",\"format\":%d,%s%s%s%s\"settings\":%s}";
    const char *settings = run->job->settings;
    const char *cameras = sp_run_has_still_cameras(run)
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
