#include "pipeline/arrays.h"

#include <stdlib.h>
#include <string.h>

enum { ARRAYS = 14 };

/* An array of the run, and its floats a frame. */
typedef struct Array {
    float **at;
    int64_t row;
} Array;

static int list(SpRun *run, int64_t queries, Array array[ARRAYS])
{
    const int64_t area = run->clip.plan.height * run->clip.plan.width, n = queries;
    SpGeometry *geometry = &run->geometry;
    SpTrackerOutput *tracks = &run->tracks;
    const Array all[ARRAYS] = {{&geometry->depth, area},
                               {&geometry->confidence, area},
                               {&geometry->intrinsics, 9},
                               {&geometry->c2w, 16},
                               {&run->w2c, 16},
                               {&tracks->intrinsics, 9},
                               {&tracks->c2w, 16},
                               {&tracks->tracks, 3 * n},
                               {&tracks->camera_points, 3 * n},
                               {&tracks->visibility, n},
                               {&tracks->confidence, n},
                               {&run->coords, 3 * n},
                               {&run->tracks2d, 2 * n},
                               {&run->sigma, n}};
    memcpy(array, all, sizeof all);
    return !run->has[SP_STAGE_TRACKER] ? 5 : run->refines ? ARRAYS : ARRAYS - 1;
}

/* The tracker's maps take the place of the front's: see SpTrackerOutput. */
static void share_maps(SpRun *run)
{
    run->tracks.depth = run->geometry.depth;
    run->tracks.valid = run->geometry.confidence;
}

size_t sp_arrays_bytes(const SpRun *run, int64_t frames, int64_t queries)
{
    SpRun any = *run;
    Array array[ARRAYS];
    const int count = list(&any, queries, array);
    int64_t floats = run->has[SP_STAGE_TRACKER] ? queries : 0; /* `dynamic` */
    for (int i = 0; i < count; i++)
        floats += frames * array[i].row;
    return (size_t)floats * sizeof(float);
}

SpStatus sp_arrays_alloc(SpRun *run, int64_t frames)
{
    Array array[ARRAYS];
    const int count = list(run, run->queries.count, array);
    float *at = malloc(sp_arrays_bytes(run, frames, run->queries.count));
    if (!at)
        return sp_no_memory("depth and tracks; use fewer frames with --max-frames");
    run->memory = at;
    for (int i = 0; i < count; at += frames * array[i++].row)
        *array[i].at = at;
    if (run->has[SP_STAGE_TRACKER])
        run->tracks.dynamic = at;
    share_maps(run);
    run->first = 0;
    run->room = frames;
    return sp_ok();
}

SpStatus sp_arrays_widen(SpRun *run, int64_t before)
{
    Array old[ARRAYS], wide[ARRAYS];
    SpRun was = *run, *now = run;
    const int count = list(&was, before, old);
    SP_TRY(sp_arrays_alloc(now, was.room));
    list(now, now->queries.count, wide);
    for (int i = 0; i < count; i++)
        for (int64_t t = 0; t < was.room; t++) {
            float *row = *wide[i].at + t * wide[i].row;
            memset(row, 0, (size_t)wide[i].row * sizeof *row);
            memcpy(row, *old[i].at + t * old[i].row, (size_t)old[i].row * sizeof *row);
        }
    memset(now->tracks.dynamic, 0, (size_t)now->queries.count * sizeof(float));
    now->first = was.first;
    free(was.memory);
    return sp_ok();
}

void sp_arrays_drop(SpRun *run, int64_t first, int64_t end)
{
    Array array[ARRAYS];
    const int count = list(run, run->queries.count, array);
    const int64_t gone = first - run->first;
    for (int i = 0; i < count && gone > 0; i++)
        memmove(*array[i].at, *array[i].at + gone * array[i].row,
                (size_t)((end - first) * array[i].row) * sizeof(float));
    run->first = first;
}

void sp_arrays_part(const SpRun *run, int64_t first, int64_t count, SpRun *part)
{
    const SpFramePlan *plan = &run->clip.plan;
    Array array[ARRAYS];
    *part = *run;
    const int arrays = list(part, run->queries.count, array);
    for (int i = 0; i < arrays; i++)
        *array[i].at += (first - run->first) * array[i].row;
    share_maps(part);
    part->first = first;
    part->chunks = 0;
    part->length = part->clip.frames = count;
    part->clip.first = 0;
    part->clip.video += (first - run->clip.first) * 3 * plan->height * plan->width;
    part->clip.timestamps += first;
    part->clip.index += first;
}
