#include "pipeline/refinement.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "media/reread.h"

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
    const size_t tracks = (size_t)(frames * queries) * 2 * sizeof(float); /* positions */
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
    *seconds =
        (double)run->length * (pace.point * (double)queries +
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

static SpRefineTracks tracks_of(const SpRun *run, float *xy)
{
    return (SpRefineTracks){.frames = run->clip.frames,
                            .tracks = run->queries.count,
                            .height = run->clip.plan.input_height,
                            .width = run->clip.plan.input_width,
                            .queries = run->queries.query,
                            .xy = xy,
                            .visibility = run->tracks.visibility,
                            .confidence = run->tracks.confidence,
                            .sigma = run->sigma,
                            .threads = run->report.threads, /* the device may be closed */
                            .first = run->first};
}

SpStatus sp_refinement_open(SpRun *run)
{
    const SpRefineTracks tracks = tracks_of(run, NULL);
    return run->refines ? sp_refiner_open(&tracks, &run->refiner) : sp_ok();
}

SpStatus sp_refinement_grow(SpRun *run)
{
    const SpRefineTracks tracks = tracks_of(run, NULL);
    return sp_refiner_grow(run->refiner, &tracks);
}

void sp_refinement_see(void *self, int64_t t, const uint8_t *rgb)
{
    const SpRun *run = self;
    if (run->refiner && sp_refiner_has_queries(run->refiner, t))
        sp_refiner_cut(run->refiner, t, rgb);
}

/* Reads the frames as far as there are queries. */
static SpStatus cut_patches(SpRun *run)
{
    const SpReread reread = {.video = run->job->video,
                             .settings = sp_job_reader(run->job),
                             .clip = &run->clip,
                             .frames = sp_refiner_cut_frames(run->refiner),
                             .wants = has_queries,
                             .each = cut,
                             .self = run->refiner};
    return reread.frames > 0 ? sp_reread(&reread) : sp_ok();
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

void sp_refinement_frame(SpRun *part, int64_t t, const uint8_t *rgb, float *xy)
{
    const SpRefineTracks tracks = tracks_of(part, xy);
    to_video(part, xy);
    sp_refiner_set_tracks(part->refiner, &tracks);
    sp_refiner_frame(part->refiner, t, rgb);
    from_video(part, xy);
}

static SpStatus refine_all(SpRun *run, float *xy)
{
    const SpRefineTracks tracks = tracks_of(run, xy);
    const SpReread reread = {.video = run->job->video,
                             .settings = sp_job_reader(run->job),
                             .clip = &run->clip,
                             .frames = run->clip.frames,
                             .each = refine,
                             .self = run->refiner,
                             .progress = &run->console->progress};
    to_video(run, xy);
    sp_refiner_set_tracks(run->refiner, &tracks);
    SP_TRY(sp_reread(&reread));
    from_video(run, xy);
    return sp_ok();
}

SpStatus sp_refinement_run(SpRun *run)
{
    SP_TRY(cut_patches(run));
    float *xy = malloc((size_t)(2 * run->clip.frames * run->queries.count) * sizeof *xy);
    const SpStatus status = xy ? refine_all(run, xy) : sp_no_memory("the refinement");
    free(xy);
    sp_refiner_close(run->refiner);
    run->refiner = NULL;
    return status;
}
