#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/minmax.h"
#include "geometry/camera.h"
#include "output/result_file_internal.h"

enum { MOST_OBJECTS = 254, MOST_ASPECT = 1 << 15 };

/* What sp_result_file_read makes: tracks2d, twice, track, points, visibility, confidence, dynamic
 * and, twice, queries. */
static size_t derived_floats(const SpResultFile *file)
{
    const size_t n = (size_t)file->result.tracks;
    return n * ((size_t)file->clip.frames * (2 + 2 + 3 + 3 + 1 + 1) + 1 + 3 + 3);
}

size_t sp_result_file_bytes(const SpResultFile *file, unsigned parts)
{
    size_t floats = derived_floats(file);
    for (SpArrayId id = 0; id < SP_ARRAYS; id++) {
        const bool depth = id == SP_ARRAY_DEPTHS || id == SP_ARRAY_CONFS_DEPTH;
        const unsigned part = depth                  ? SP_PART_DEPTH
                              : id == SP_ARRAY_VIDEO ? SP_PART_FRAMES
                                                     : SP_PART_ALL;
        if (parts & part)
            floats += (size_t)file->arrays.array[id].count;
    }
    if ((parts & file->has & SP_PART_DEPTH) && !sp_result_file_has(file, SP_ARRAY_CONFS_DEPTH))
        floats += (size_t)file->arrays.array[SP_ARRAY_DEPTHS].count;
    return floats * sizeof(float);
}

/* Fills [count] of what a file does not say. */
static const float *fill(float *out, int64_t count, float value)
{
    for (int64_t i = 0; i < count; i++)
        out[i] = value;
    return out;
}

/* Where the points are in the input: as the file says, or by the cameras. */
static void make_tracks2d(const SpResultFile *file, float *out)
{
    const SpResult *r = &file->result;
    const float *given = file->value[SP_ARRAY_TRACKS2D];
    for (int64_t i = 0; i < file->clip.frames * r->tracks; i++, out += 2) {
        out[0] = out[1] = NAN;
        if (given) {
            out[0] = (float)(file->sx * (double)given[2 * i]);
            out[1] = (float)(file->sy * (double)given[2 * i + 1]);
        } else if (file->has & SP_PART_CAMERAS) {
            const float *k = r->intrinsics + 9 * (i / r->tracks);
            float p[3];
            sp_pose_apply(r->w2c + 16 * (i / r->tracks), r->coords + 3 * i, p);
            if (p[2] > 0)
                sp_point_to_input(&file->clip.plan, (k[0] * p[0] + k[1] * p[1]) / p[2] + k[2],
                                  k[4] * p[1] / p[2] + k[5], out, out + 1);
        }
    }
}

/* Without queries a track starts in the first frame, where it is then. */
static SpStatus make_queries(const SpResultFile *file, float *out)
{
    const SpResult *r = &file->result;
    const float *given = file->value[SP_ARRAY_QUERIES];
    for (int64_t n = 0; n < r->tracks; n++) {
        float *query = out + 3 * n;
        query[0] = given ? given[3 * n] : 0;
        if (!(query[0] >= 0 && query[0] < (float)file->clip.frames) || rintf(query[0]) != query[0])
            return sp_result_file_bad_array(file, SP_ARRAY_QUERIES,
                                            "starts a track at no frame of the result");
        for (int i = 0; i < 2; i++)
            query[1 + i] = given ? given[3 * n + 1 + i] : r->tracks2d[2 * n + i];
    }
    return sp_ok();
}

/* Which object tracks lie on, where they have names. */
static SpStatus read_objects(SpResultFile *file)
{
    SpResult *r = &file->result;
    const float *object = file->value[SP_ARRAY_OBJECT];
    if (!object || !sp_npz_has(file->arrays.npz, "object_names"))
        return sp_ok();
    SP_TRY(sp_npz_read_texts(file->arrays.npz, "object_names", &r->objects, &r->object_name_size,
                             &file->object_names));
    file->object = malloc((size_t)r->tracks);
    if (!file->object)
        return sp_no_memory(file->arrays.path);
    for (int64_t n = 0; n < r->tracks; n++) {
        if (!(object[n] >= 0 && object[n] < (float)sp_min(r->objects, MOST_OBJECTS)))
            return sp_result_file_bad_array(file, SP_ARRAY_OBJECT, "holds a number without a name");
        file->object[n] = (uint8_t)(1 + (int)object[n]);
    }
    r->object = file->object;
    r->object_names = file->object_names;
    return sp_ok();
}

static SpStatus read_tracks(SpResultFile *file)
{
    SpResult *r = &file->result;
    const int64_t n = r->tracks, pairs = file->clip.frames * n;
    for (SpArrayId id = SP_ARRAY_COORDS; id <= SP_ARRAY_OBJECT; id++)
        SP_TRY(sp_result_file_value(file, id));
    file->derived = malloc(derived_floats(file) * sizeof *file->derived);
    if (!file->derived)
        return sp_no_memory(file->arrays.path);
    float *tracks2d = file->derived + 2 * pairs + 3 * n; /* behind those of `own` */
    float *track = tracks2d + 2 * pairs, *points = track + 3 * pairs;
    float *visible = points + 3 * pairs, *confs = visible + pairs, *dynamic = confs + pairs;
    float *queries = dynamic + n;
    r->coords = file->value[SP_ARRAY_COORDS];
    r->sigma = file->value[SP_ARRAY_SIGMA];
    r->visibility = file->value[SP_ARRAY_VISIBS];
    r->confs = file->value[SP_ARRAY_CONFS];
    r->dynamic = file->value[SP_ARRAY_DYNAMIC];
    r->visibility = r->visibility ? r->visibility : fill(visible, pairs, 1);
    r->confs = r->confs ? r->confs : fill(confs, pairs, 1);
    r->dynamic = r->dynamic ? r->dynamic : fill(dynamic, n, 0);
    make_tracks2d(file, tracks2d);
    r->tracks2d = tracks2d;
    sp_result_place(r, points, track);
    r->points = points;
    r->track = track;
    SP_TRY(make_queries(file, queries));
    r->queries = queries;
    return read_objects(file);
}

/* Depth that is no number is none; without confidence every depth is trusted. */
static SpStatus read_depth(SpResultFile *file)
{
    const int64_t count = file->arrays.array[SP_ARRAY_DEPTHS].count;
    SP_TRY(sp_result_file_value(file, SP_ARRAY_DEPTHS));
    SP_TRY(sp_result_file_value(file, SP_ARRAY_CONFS_DEPTH));
    file->result.confidence = file->value[SP_ARRAY_CONFS_DEPTH];
    if (!(file->has & SP_PART_DEPTH))
        return sp_ok();
    float *depth = file->value[SP_ARRAY_DEPTHS], *confidence = file->value[SP_ARRAY_CONFS_DEPTH];
    const bool given = confidence;
    if (!given) {
        confidence = malloc((size_t)count * sizeof *confidence);
        if (!confidence)
            return sp_no_memory(file->arrays.path);
        file->value[SP_ARRAY_CONFS_DEPTH] = confidence;
    }
    for (int64_t i = 0; i < count; i++) {
        depth[i] = isfinite(depth[i]) ? depth[i] : 0;
        if (!given)
            confidence[i] = depth[i] > 0 ? 1 : 0;
    }
    file->result.depth = depth;
    file->result.confidence = confidence;
    return sp_ok();
}

/* T, h, w, 3 as T, 3, h, w. */
static SpStatus put_channels_first(const SpResultFile *file, float *video)
{
    const int64_t area = file->arrays.height * file->arrays.width;
    float *frame = malloc((size_t)(3 * area) * sizeof *frame);
    if (!frame)
        return sp_no_memory(file->arrays.path);
    for (int64_t t = 0; t < file->clip.frames; t++, video += 3 * area) {
        memcpy(frame, video, (size_t)(3 * area) * sizeof *frame);
        for (int64_t i = 0; i < 3 * area; i++)
            video[i % 3 * area + i / 3] = frame[i];
    }
    free(frame);
    return sp_ok();
}

/* Bytes, and floats that reach beyond 2, are 0..255; others 0..1. */
static SpStatus read_frames(SpResultFile *file)
{
    const SpResultArray *array = &file->arrays.array[SP_ARRAY_VIDEO];
    SP_TRY(sp_result_file_value(file, SP_ARRAY_VIDEO));
    float *video = file->value[SP_ARRAY_VIDEO], most = 0;
    if (file->arrays.channels_last)
        SP_TRY(put_channels_first(file, video));
    for (int64_t i = 0; i < array->count; i++)
        most = fmaxf(most, video[i]);
    if (array->type == 'b' || (array->type == 'f' && !(most > 2)))
        for (int64_t i = 0; i < array->count; i++)
            video[i] = sp_result_unshade(video[i]);
    file->clip.video = video;
    file->value[SP_ARRAY_VIDEO] = NULL; /* the clip's now */
    return sp_ok();
}

/* The shape of the saved frames' pixels, when the input's are square. */
static SpPixelAspect pixel_of(const SpFramePlan *plan)
{
    int64_t wide = plan->input_width * plan->resized_height;
    int64_t high = plan->input_height * plan->resized_width, a = wide, b = high;
    while (b) {
        const int64_t rest = a % b;
        a = b;
        b = rest;
    }
    wide /= a;
    high /= a;
    while (sp_max(wide, high) > MOST_ASPECT) {
        wide = sp_max(wide / 2, 1);
        high = sp_max(high / 2, 1);
    }
    return (SpPixelAspect){(int)wide, (int)high};
}

/* What a format draws on the saved frames sees. */
static void make_own(SpResultFile *file, float *tracks2d, float *queries)
{
    const SpResult *r = &file->result;
    const SpFramePlan *plan = &file->clip.plan;
    const int64_t h = plan->height, w = plan->width;
    file->own_clip = file->clip;
    file->own_clip.pixel = pixel_of(plan);
    file->own_clip.plan = (SpFramePlan){h, w, h, w, h, w, 0, h, w};
    file->own = *r;
    file->own.clip = &file->own_clip;
    file->own.input_intrinsics = r->intrinsics;
    if (!r->tracks || !queries)
        return;
    for (int64_t i = 0; i < file->clip.frames * r->tracks; i++)
        memcpy(tracks2d + 2 * i, r->track + 3 * i, 2 * sizeof *tracks2d);
    for (int64_t n = 0; n < r->tracks; n++) {
        float *query = queries + 3 * n;
        query[0] = r->queries[3 * n];
        sp_point_to_working(plan, r->queries[3 * n + 1], r->queries[3 * n + 2], query + 1,
                            query + 2);
    }
    file->own.tracks2d = tracks2d;
    file->own.queries = queries;
}

SpStatus sp_result_file_read(SpResultFile *file, unsigned parts)
{
    const size_t bytes = sp_result_file_bytes(file, parts), free_bytes = sp_memory_available();
    if (bytes > free_bytes)
        return sp_error(SP_MEMORY, "%.300s needs %.1f MB of memory, %.1f MB are available",
                        file->arrays.path, (double)bytes / 0x1p20, (double)free_bytes / 0x1p20);
    if (file->has & SP_PART_TRACKS)
        SP_TRY(read_tracks(file));
    if (parts & SP_PART_DEPTH)
        SP_TRY(read_depth(file));
    if (parts & file->has & SP_PART_FRAMES)
        SP_TRY(read_frames(file));
    float *pixels = file->derived;
    make_own(file, pixels, pixels ? pixels + 2 * file->clip.frames * file->result.tracks : NULL);
    return sp_ok();
}
