#include "output/result_file.h"

#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/memory.h"
#include "base/minmax.h"
#include "geometry/camera.h"

enum { MOST_FRAMES = 1000000, MOST_SIDE = 1 << 20, MOST_OBJECTS = 254, MOST_ASPECT = 1 << 15 };
static const double DEFAULT_RATE = 30; /* as of images */
static const double SAME_SHAPE = 0.05; /* share by which two aspect ratios may differ */

static bool have(const SpResultFile *file, SpArrayId id)
{
    return sp_result_arrays_have(&file->arrays, id);
}

static SpStatus bad_array(const SpResultFile *file, SpArrayId id, const char *what)
{
    return sp_error(SP_INPUT, "%.300s: array %s %s", file->arrays.path, file->arrays.array[id].name,
                    what);
}

/* What the arrays that are there give. */
static SpStatus find_parts(SpResultFile *file)
{
    const SpResultArrays *arrays = &file->arrays;
    for (SpArrayId id = 0; id < SP_ARRAYS; id++)
        if (have(file, id) && arrays->array[id].count == 0)
            return bad_array(file, id, "is empty");
    if (arrays->frames < 0)
        return sp_error(SP_INPUT,
                        "%.300s is no result: it has no coords, extrinsics, depths or video",
                        arrays->path);
    if (arrays->frames > MOST_FRAMES)
        return sp_error(SP_INPUT, "%.300s has more than %d frames", arrays->path, MOST_FRAMES);
    if (have(file, SP_ARRAY_COORDS))
        file->has |= SP_PART_TRACKS;
    if (have(file, SP_ARRAY_EXTRINSICS) &&
        (have(file, SP_ARRAY_INTRINSICS) || have(file, SP_ARRAY_INTRINSICS_INPUT)))
        file->has |= SP_PART_CAMERAS;
    if ((file->has & SP_PART_TRACKS) &&
        (have(file, SP_ARRAY_TRACKS2D) || (file->has & SP_PART_CAMERAS)))
        file->has |= SP_PART_PIXELS;
    if (have(file, SP_ARRAY_DEPTHS))
        file->has |= SP_PART_DEPTH;
    if (have(file, SP_ARRAY_VIDEO))
        file->has |= SP_PART_FRAMES;
    return sp_ok();
}

/* The names of what is not there, for who writes it again. */
static void list_absent(SpResultFile *file)
{
    static const char *const others[] = {"object_names", "saved_size"};
    const size_t size = sizeof file->absent;
    for (SpArrayId id = 0; id < SP_ARRAYS; id++)
        if (!have(file, id)) {
            const size_t used = strlen(file->absent);
            snprintf(file->absent + used, size - used, "%s,", sp_result_array_name(id));
        }
    for (int i = 0; i < 2; i++)
        if (!sp_npz_has(file->arrays.npz, others[i])) {
            const size_t used = strlen(file->absent);
            snprintf(file->absent + used, size - used, "%s,", others[i]);
        }
    file->result.absent = file->absent;
}

/* A scalar or a pair that is above 0; *out stays where there is none. */
static SpStatus read_positive(SpResultFile *file, SpArrayId id, double *out)
{
    double value[2] = {0};
    if (!have(file, id))
        return sp_ok();
    SP_TRY(sp_result_arrays_read_f64(&file->arrays, id, value));
    for (int64_t i = 0; i < file->arrays.array[id].count; i++) {
        if (!(value[i] >= 0) || isinf(value[i]) || (id != SP_ARRAY_RATE && value[i] <= 0))
            return bad_array(file, id, "holds a value that is not above 0");
        out[i] = value[i];
    }
    return sp_ok();
}

static SpStatus read_index(SpResultFile *file, double *work)
{
    SpClip *clip = &file->clip;
    for (int64_t t = 0; t < clip->frames; t++)
        clip->index[t] = t;
    if (!have(file, SP_ARRAY_FRAME_INDEX))
        return sp_ok();
    SP_TRY(sp_result_arrays_read_f64(&file->arrays, SP_ARRAY_FRAME_INDEX, work));
    for (int64_t t = 0; t < clip->frames; t++) {
        if (!(work[t] >= 0 && work[t] < 0x1p53) || (t && !(work[t] > work[t - 1])))
            return bad_array(file, SP_ARRAY_FRAME_INDEX, "does not grow from 0");
        clip->index[t] = (int64_t)work[t];
    }
    return sp_ok();
}

/* Times, numbers of the frames and their rate. */
static SpStatus read_times(SpResultFile *file)
{
    SpClip *clip = &file->clip;
    clip->frames = file->arrays.frames;
    clip->timestamps = calloc((size_t)clip->frames, sizeof *clip->timestamps);
    clip->index = calloc((size_t)clip->frames, sizeof *clip->index);
    if (!clip->timestamps || !clip->index)
        return sp_no_memory(file->arrays.path);
    SP_TRY(read_positive(file, SP_ARRAY_RATE, &clip->rate));
    SP_TRY(read_index(file, clip->timestamps));
    clip->timeless = !have(file, SP_ARRAY_TIMESTAMPS);
    if (clip->timeless) {
        clip->rate = clip->rate > 0 ? clip->rate : DEFAULT_RATE;
        for (int64_t t = 0; t < clip->frames; t++)
            clip->timestamps[t] = (double)t / clip->rate;
        return sp_ok();
    }
    SP_TRY(sp_result_arrays_read_f64(&file->arrays, SP_ARRAY_TIMESTAMPS, clip->timestamps));
    for (int64_t t = 0; t < clip->frames; t++)
        if (!isfinite(clip->timestamps[t]) ||
            (t && !(clip->timestamps[t] > clip->timestamps[t - 1])))
            return bad_array(file, SP_ARRAY_TIMESTAMPS, "does not grow");
    return sp_ok();
}

/* Its settings are printed as JSON. */
static SpStatus read_version(SpResultFile *file)
{
    static const char beginning[] = "{\"program\":\"";
    int64_t count;
    size_t stride;
    if (!sp_npz_text_begins(file->arrays.npz, "version", beginning))
        return sp_ok();
    SP_TRY(sp_npz_read_texts(file->arrays.npz, "version", &count, &stride, &file->version));
    cJSON *json = cJSON_ParseWithOpts(file->version, NULL, true);
    if (json)
        file->result.version = file->version;
    cJSON_Delete(json);
    return sp_ok();
}

static SpStatus check_intrinsics(const SpResultFile *file, SpArrayId id, const float *k)
{
    for (int64_t t = 0; t < file->clip.frames; t++, k += 9) {
        bool fine = k[0] > 0 && k[4] > 0 && fabsf(k[3]) < 1e-6f && fabsf(k[6]) < 1e-6f &&
                    fabsf(k[7]) < 1e-6f && fabsf(k[8] - 1) < 1e-6f;
        for (int i = 0; i < 9; i++)
            fine = fine && isfinite(k[i]);
        if (!fine)
            return bad_array(file, id, "holds a matrix that is not fx s cx, 0 fy cy, 0 0 1");
    }
    return sp_ok();
}

/* w2c [4, 4] of each frame from one of 3 or 4 rows, and its inverse. */
static SpStatus read_poses(SpResultFile *file, float *w2c, float *c2w)
{
    const int64_t rows = file->arrays.array[SP_ARRAY_EXTRINSICS].dim[1];
    const float *from = file->value[SP_ARRAY_EXTRINSICS];
    for (int64_t t = 0; t < file->clip.frames; t++, w2c += 16, c2w += 16) {
        w2c[15] = 1;
        memcpy(w2c, from + 4 * rows * t, (size_t)(4 * rows) * sizeof *w2c);
        if (!sp_pose_is_rigid(w2c))
            return bad_array(file, SP_ARRAY_EXTRINSICS,
                             "holds a matrix that is not a rotation and a translation (w2c)");
        sp_pose_invert(w2c, c2w);
    }
    return sp_ok();
}

static SpStatus read_value(SpResultFile *file, SpArrayId id)
{
    return have(file, id) && !file->value[id]
               ? sp_result_arrays_read(&file->arrays, id, &file->value[id])
               : sp_ok();
}

static SpStatus read_cameras(SpResultFile *file)
{
    SpResult *r = &file->result;
    const size_t frames = (size_t)file->clip.frames;
    static const SpArrayId ids[] = {SP_ARRAY_EXTRINSICS, SP_ARRAY_INTRINSICS,
                                    SP_ARRAY_INTRINSICS_INPUT};
    for (int i = 0; i < 3; i++)
        SP_TRY(read_value(file, ids[i]));
    file->cameras = calloc(frames * (16 + 16 + 9 + 9), sizeof *file->cameras);
    if (!file->cameras)
        return sp_no_memory(file->arrays.path);
    float *w2c = file->cameras, *c2w = w2c + 16 * frames;
    if (have(file, SP_ARRAY_EXTRINSICS)) {
        SP_TRY(read_poses(file, w2c, c2w));
        r->w2c = w2c;
        r->c2w = c2w;
    }
    for (int i = 1; i < 3; i++)
        if (have(file, ids[i]))
            SP_TRY(check_intrinsics(file, ids[i], file->value[ids[i]]));
    return sp_ok();
}

/* Width and height of the input, as far as they are known without `size`: by both intrinsics, those
 * of the saved maps, or else twice the principal point. */
static void guess_input(const SpResultFile *file, double size[2])
{
    const SpResultArrays *arrays = &file->arrays;
    const float *in = file->value[SP_ARRAY_INTRINSICS_INPUT];
    const float *k = file->value[SP_ARRAY_INTRINSICS];
    const double maps[] = {(double)arrays->width, (double)arrays->height};
    for (int i = 0; i < 2; i++) {
        const int focal = 4 * i, middle = 2 + 3 * i;
        const float *any = in ? in : k;
        size[i] = arrays->width <= 0 ? (any ? rint(2 * (double)any[middle]) : 1)
                  : in && k          ? rint(maps[i] * (double)in[focal] / (double)k[focal])
                                     : maps[i];
        size[i] = fmin(fmax(size[i], 1), MOST_SIDE);
    }
}

/* How the saved frames lie in those of the input: they are all of it, or, when they are square,
 * rows at its top and bottom may be cut off, as many as the intrinsics or else the shape tell. */
static void make_plan(SpResultFile *file, int64_t input_height, int64_t input_width)
{
    const SpResultArrays *arrays = &file->arrays;
    SpFramePlan *plan = &file->clip.plan;
    const bool maps = arrays->width > 0;
    const int64_t h = maps ? arrays->height : input_height, w = maps ? arrays->width : input_width;
    const float *k = file->value[SP_ARRAY_INTRINSICS];
    const float *in = file->value[SP_ARRAY_INTRINSICS_INPUT];
    const double whole = (double)input_height * (double)w / (double)input_width;
    *plan = (SpFramePlan){.input_height = input_height,
                          .input_width = input_width,
                          .reduced_height = input_height,
                          .reduced_width = input_width,
                          .resized_height = h,
                          .resized_width = w,
                          .height = h,
                          .width = w};
    if (h != w || !(whole > (double)h * (1 + SAME_SHAPE)))
        return;
    plan->resized_height = (int64_t)rint(whole);
    if (k && in && have(file, SP_ARRAY_SIZE))
        plan->resized_height =
            sp_max((int64_t)rint((double)input_height * (double)k[4] / (double)in[4]), h);
    plan->first_row = (plan->resized_height - h) / 2;
}

/* The matrices of the frames and of the input, where one of them is not there by the other. */
static void set_intrinsics(SpResultFile *file)
{
    const SpFramePlan *plan = &file->clip.plan;
    const size_t frames = (size_t)file->clip.frames;
    float *own = file->cameras + 32 * frames, *input = own + 9 * frames;
    const float *k = file->value[SP_ARRAY_INTRINSICS];
    const float *in = file->value[SP_ARRAY_INTRINSICS_INPUT];
    if (in)
        sp_intrinsics_scale(in, (int64_t)frames, file->sx, file->sy, input);
    if (!k && in) {
        sp_intrinsics_scale(input, (int64_t)frames,
                            (double)plan->resized_width / (double)plan->input_width,
                            (double)plan->resized_height / (double)plan->input_height, own);
        for (size_t t = 0; t < frames; t++)
            own[9 * t + 5] -= (float)plan->first_row;
    }
    file->result.intrinsics = k ? k : in ? own : NULL;
    file->result.input_intrinsics = in ? input : NULL;
}

static SpStatus set_size(SpResultFile *file)
{
    double size[2];
    guess_input(file, size);
    SP_TRY(read_positive(file, SP_ARRAY_SIZE, size));
    if (size[0] > MOST_SIDE || size[1] > MOST_SIDE)
        return bad_array(file, SP_ARRAY_SIZE, "is too large");
    make_plan(file, (int64_t)size[1], (int64_t)size[0]);
    set_intrinsics(file);
    return sp_ok();
}

/* Those that the front took at once, where both of their arrays are there. */
static SpStatus read_chunks(SpResultFile *file)
{
    const int64_t count = file->arrays.chunks;
    if (!have(file, SP_ARRAY_CHUNKS) || !have(file, SP_ARRAY_CHUNKS_SIMILARITY))
        return sp_ok();
    double *value = calloc((size_t)count * 17, sizeof *value), *first = value + 16 * count;
    file->chunk = calloc((size_t)count, sizeof *file->chunk);
    SpStatus status = value && file->chunk ? sp_ok() : sp_no_memory(file->arrays.path);
    if (status.code == SP_OK)
        status = sp_result_arrays_read_f64(&file->arrays, SP_ARRAY_CHUNKS_SIMILARITY, value);
    if (status.code == SP_OK)
        status = sp_result_arrays_read_f64(&file->arrays, SP_ARRAY_CHUNKS, first);
    for (int64_t i = 0; i < count && status.code == SP_OK; i++) {
        if (!(first[i] >= 0 && first[i] < (double)file->clip.frames))
            status = bad_array(file, SP_ARRAY_CHUNKS, "names a frame that is not there");
        else
            file->chunk[i].first = (int64_t)first[i];
        memcpy(file->chunk[i].similarity, value + 16 * i, sizeof file->chunk[i].similarity);
    }
    file->result.chunks = count;
    file->result.chunk = file->chunk;
    free(value);
    return status;
}

SpStatus sp_result_file_open(const char *path, SpResultFile *file)
{
    *file = (SpResultFile){.sx = 1, .sy = 1};
    file->result = (SpResult){.clip = &file->clip, .scale = 1};
    file->clip.result = path;
    SP_TRY(sp_result_arrays_open(path, SP_ALL_ARRAYS, &file->arrays));
    SP_TRY(find_parts(file));
    list_absent(file);
    SP_TRY(read_times(file));
    SP_TRY(read_positive(file, SP_ARRAY_SCALE, &file->result.scale));
    SP_TRY(read_version(file));
    SP_TRY(read_chunks(file));
    SP_TRY(read_cameras(file));
    SP_TRY(set_size(file));
    file->result.tracks = file->has & SP_PART_TRACKS ? file->arrays.tracks : 0;
    return sp_ok();
}

void sp_result_file_close(SpResultFile *file)
{
    for (int i = 0; i < SP_ARRAYS; i++)
        free(file->value[i]);
    sp_clip_free(&file->clip);
    free(file->cameras);
    free(file->derived);
    free(file->object);
    free(file->chunk);
    free(file->version);
    free(file->object_names);
    sp_result_arrays_close(&file->arrays);
    *file = (SpResultFile){0};
}

SpStatus sp_result_file_set_video(SpResultFile *file, const SpVideoInfo *video, int64_t stride)
{
    SpClip *clip = &file->clip;
    const SpFramePlan before = clip->plan;
    if (have(file, SP_ARRAY_SIZE) &&
        (video->height != before.input_height || video->width != before.input_width))
        return sp_error(SP_INPUT, "%.300s is of a video of %lldx%lld, not %lldx%lld",
                        file->arrays.path, (long long)before.input_width,
                        (long long)before.input_height, (long long)video->width,
                        (long long)video->height);
    if (!have(file, SP_ARRAY_SIZE)) {
        make_plan(file, video->height, video->width);
        const double whole = (double)video->height * (double)clip->plan.resized_width /
                             (double)video->width / (double)clip->plan.resized_height;
        if (fabs(whole - 1) > SAME_SHAPE)
            return sp_error(SP_INPUT,
                            "%.300s has frames of %lldx%lld, which a video of %lldx%lld "
                            "does not give",
                            file->arrays.path, (long long)before.width, (long long)before.height,
                            (long long)video->width, (long long)video->height);
        file->sx = (double)video->width / (double)before.input_width;
        file->sy = (double)video->height / (double)before.input_height;
        set_intrinsics(file);
    }
    clip->pixel = video->pixel;
    for (int64_t t = 0; t < clip->frames && !have(file, SP_ARRAY_FRAME_INDEX); t++)
        clip->index[t] = t * stride;
    if (clip->timeless && !have(file, SP_ARRAY_RATE) && video->rate > 0) {
        clip->rate = video->rate / (double)stride;
        for (int64_t t = 0; t < clip->frames; t++)
            clip->timestamps[t] = (double)t / clip->rate;
    }
    return sp_ok();
}

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
    if ((parts & file->has & SP_PART_DEPTH) && !have(file, SP_ARRAY_CONFS_DEPTH))
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
            return bad_array(file, SP_ARRAY_QUERIES, "starts a track at no frame of the result");
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
            return bad_array(file, SP_ARRAY_OBJECT, "holds a number without a name");
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
        SP_TRY(read_value(file, id));
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
    SP_TRY(read_value(file, SP_ARRAY_DEPTHS));
    SP_TRY(read_value(file, SP_ARRAY_CONFS_DEPTH));
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
    SP_TRY(read_value(file, SP_ARRAY_VIDEO));
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
    if (!r->tracks)
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
