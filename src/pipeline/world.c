#include "pipeline/world.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "geometry/camera.h"

void sp_world_fix_intrinsics(const SpRun *run, float *intrinsics)
{
    const SpJob *job = run->job;
    const SpFramePlan *plan = &run->clip.plan;
    const double width = (double)plan->input_width;
    const double sx = (double)plan->resized_width / width;
    const double sy = (double)plan->resized_height / (double)plan->input_height;
    const double f = job->focal > 0 ? job->focal : width / 2 / tan(job->fov / 360 * M_PI);
    const float k[9] = {[0] = (float)(f * sx),
                        [2] = (float)plan->width / 2,
                        [4] = (float)(f * sy),
                        [5] = (float)plan->height / 2,
                        [8] = 1};
    for (int64_t t = 0; (job->fov > 0 || job->focal > 0) && t < run->clip.frames; t++)
        memcpy(intrinsics + 9 * t, k, sizeof k);
}

static int ascending(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Of the first frame's depths above 0; 0: there are none. */
static SpStatus median_depth(const SpRun *run, double *median)
{
    const int64_t area = run->clip.plan.height * run->clip.plan.width;
    float *depth = malloc((size_t)area * sizeof *depth);
    int64_t count = 0;
    if (!depth)
        return sp_no_memory("the median depth");
    for (int64_t i = 0; i < area; i++)
        if (run->geometry.depth[i] > 0)
            depth[count++] = run->geometry.depth[i];
    qsort(depth, (size_t)count, sizeof *depth, ascending);
    *median = count ? ((double)depth[(count - 1) / 2] + (double)depth[count / 2]) / 2 : 0;
    free(depth);
    return sp_ok();
}

static void scale_each(float *at, int64_t count, int64_t step, double factor)
{
    for (int64_t i = 0; i < count; i++)
        at[i * step] = (float)((double)at[i * step] * factor);
}

static void scale_translations(float *c2w, int64_t frames, double factor)
{
    for (int64_t row = 0; row < 3; row++)
        scale_each(c2w + 4 * row + 3, frames, 16, factor);
}

void sp_world_scale_geometry(const SpRun *run, double factor)
{
    const int64_t t = run->clip.frames;
    if (factor == 1)
        return;
    scale_each(run->geometry.depth, t * run->clip.plan.height * run->clip.plan.width, 1, factor);
    scale_translations(run->geometry.c2w, t, factor);
}

void sp_world_scale(const SpRun *run, double factor)
{
    const int64_t t = run->clip.frames, n = run->queries.count;
    sp_world_scale_geometry(run, factor);
    if (factor == 1 || !run->has[SP_STAGE_TRACKER])
        return;
    scale_translations(run->tracks.c2w, t, factor);
    scale_each(run->tracks.camera_points, 3 * t * n, 1, factor);
    scale_each(run->tracks.tracks + 2, t * n, 3, factor);
}

SpStatus sp_world_choose_unit(const SpRun *run, double *unit)
{
    static const double min = 0.01, max = 200; /* to which the tracker clamps depths of queries */
    double median;
    SP_TRY(median_depth(run, &median));
    *unit = median > 0 && (median < min || median > max) ? ldexp(1, -ilogb(median)) : 1;
    return sp_ok();
}

SpStatus sp_world_choose_scale(SpRun *run)
{
    const SpJob *job = run->job;
    double median;
    run->scale = job->scale_by > 0 ? job->scale_by : 1;
    if (!(job->scale_to > 0))
        return sp_ok();
    SP_TRY(median_depth(run, &median));
    if (!(median > 0))
        return sp_error(SP_INPUT, "--scale-to: the first frame has no depth");
    run->scale = job->scale_to / median;
    return sp_ok();
}

void sp_world_move(const SpRun *run, const float to[16])
{
    for (int64_t t = 0; t < run->clip.frames; t++)
        sp_pose_multiply(to, run->geometry.c2w + 16 * t, run->geometry.c2w + 16 * t);
}
