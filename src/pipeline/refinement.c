#include "pipeline/refinement.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "media/reread.h"
#include "refine/refine.h"

SpStatus sp_refinement_prepare(SpRun *run)
{
    const SpJob *job = run->job;
    run->refines = run->has[SP_STAGE_TRACKER] &&
                   (job->refine == SP_REFINE_ON ||
                    (job->refine == SP_REFINE_AUTO && run->place[SP_STAGE_TRACKER].embedded));
    if (!run->refines)
        return sp_ok();
    if (job->refine == SP_REFINE_ON || sp_reread_is_free(job->video))
        return job->plan ? sp_ok() : sp_reread_check(job->video, "refine");
    run->refines = false;
    sp_console_note(run->console,
                    "a pipe can be read only once, so tracks are not refined (--refine on keeps a "
                    "copy of standard input)");
    return sp_ok();
}

size_t sp_refinement_bytes(const SpRun *run, int64_t frames, int64_t queries)
{
    const SpFramePlan *plan = &run->clip.plan;
    const size_t tracks = (size_t)(frames * queries) * 3 * sizeof(float); /* positions, sigma */
    const int64_t height = plan->input_height, width = plan->input_width;
    return run->refines ? tracks + sp_reread_bytes(height, width) +
                              sp_refiner_bytes(queries, height, width, run->report.threads)
                        : 0;
}

SpStatus sp_refinement_seconds(const SpRun *run, int64_t queries, double *seconds)
{
    const SpFramePlan *plan = &run->clip.plan;
    SpRefinerPace pace;
    SP_TRY(sp_refiner_measure(run->models->device->threads, &pace));
    *seconds = (double)run->clip.frames *
               (pace.point * (double)queries +
                pace.pixel * (double)plan->input_height * (double)plan->input_width);
    return sp_ok();
}

static bool has_queries(void *self, int64_t t)
{
    return sp_refiner_has_queries(self, t);
}

static SpStatus cut(void *self, int64_t t, uint8_t *rgb)
{
    sp_refiner_cut(self, t, rgb);
    return sp_ok();
}

static SpStatus refine(void *self, int64_t t, uint8_t *rgb)
{
    sp_refiner_frame(self, t, rgb);
    return sp_ok();
}

/* Both readings of the frames: the first as far as there are queries. */
static SpStatus read_frames(SpRun *run, SpRefiner *refiner)
{
    SpReread reread = {.video = run->job->video,
                       .settings = sp_job_reader(run->job),
                       .clip = &run->clip,
                       .frames = sp_refiner_cut_frames(refiner),
                       .wants = has_queries,
                       .each = cut,
                       .self = refiner};
    if (reread.frames > 0)
        SP_TRY(sp_reread(&reread));
    reread.frames = run->clip.frames;
    reread.wants = NULL;
    reread.each = refine;
    reread.progress = &run->console->progress;
    return sp_reread(&reread);
}

/* Whether the tracker has point i of [T, N] at all: not in the frames before its window. */
static bool is_there(const SpRun *run, int64_t i)
{
    return run->tracks.camera_points[3 * i + 2] > 0;
}

/* Positions in pixels of the video; NaN where there are none. */
static void to_video(const SpRun *run, float *xy)
{
    for (int64_t i = 0; i < run->clip.frames * run->queries.count; i++)
        if (is_there(run, i))
            sp_point_to_input(&run->clip.plan, run->tracks.tracks[3 * i],
                              run->tracks.tracks[3 * i + 1], xy + 2 * i, xy + 2 * i + 1);
        else
            xy[2 * i] = xy[2 * i + 1] = NAN;
}

/* And back; points are lifted at the depth they have: X = z K^-1 (x, y, 1). */
static void from_video(const SpRun *run, const float *xy)
{
    for (int64_t i = 0; i < run->clip.frames * run->queries.count; i++) {
        const float *k = run->tracks.intrinsics + 9 * (i / run->queries.count);
        float *track = run->tracks.tracks + 3 * i, *point = run->tracks.camera_points + 3 * i;
        if (!is_there(run, i))
            continue;
        sp_point_to_working(&run->clip.plan, xy[2 * i], xy[2 * i + 1], track, track + 1);
        point[1] = (track[1] - k[5]) / k[4] * point[2];
        point[0] = ((track[0] - k[2]) * point[2] - k[1] * point[1]) / k[0];
    }
}

SpStatus sp_refinement_run(SpRun *run)
{
    const SpFramePlan *plan = &run->clip.plan;
    const int64_t frames = run->clip.frames, count = run->queries.count;
    float *xy = malloc((size_t)(2 * frames * count) * sizeof *xy);
    const SpRefineTracks tracks = {.frames = frames,
                                   .tracks = count,
                                   .height = plan->input_height,
                                   .width = plan->input_width,
                                   .queries = run->queries.query,
                                   .xy = xy,
                                   .visibility = run->tracks.visibility,
                                   .confidence = run->tracks.confidence,
                                   .sigma = run->sigma,
                                   .threads = run->report.threads}; /* the device may be closed */
    SpRefiner *refiner = NULL;
    if (!xy)
        return sp_no_memory("the refinement");
    to_video(run, xy);
    SpStatus status = sp_refiner_open(&tracks, &refiner);
    if (status.code == SP_OK)
        status = read_frames(run, refiner);
    if (status.code == SP_OK)
        from_video(run, xy);
    sp_refiner_close(refiner);
    free(xy);
    return status;
}
