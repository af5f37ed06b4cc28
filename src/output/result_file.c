#include "output/result_file_internal.h"

#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/memory.h"
#include "base/minmax.h"
#include "geometry/camera.h"

enum { MOST_FRAMES = 1000000, MOST_SIDE = 1 << 20 };
static const double DEFAULT_RATE = 30; /* as of images */
static const double SAME_SHAPE = 0.05; /* share by which two aspect ratios may differ */

SpStatus sp_result_file_bad_array(const SpResultFile *file, SpArrayId id, const char *what)
{
    return sp_error(SP_INPUT, "%.300s: array %s %s", file->arrays.path, file->arrays.array[id].name,
                    what);
}

/* What the arrays that are there give. */
static SpStatus find_parts(SpResultFile *file)
{
    const SpResultArrays *arrays = &file->arrays;
    for (SpArrayId id = 0; id < SP_ARRAYS; id++)
        if (sp_result_file_has(file, id) && arrays->array[id].count == 0)
            return sp_result_file_bad_array(file, id, "is empty");
    if (arrays->frames < 0)
        return sp_error(SP_INPUT,
                        "%.300s is no result: it has no coords, extrinsics, depths or video",
                        arrays->path);
    if (arrays->frames > MOST_FRAMES)
        return sp_error(SP_INPUT, "%.300s has more than %d frames", arrays->path, MOST_FRAMES);
    if (arrays->height > MOST_SIDE || arrays->width > MOST_SIDE)
        return sp_error(SP_INPUT, "%.300s has maps of more than %d pixels a side", arrays->path,
                        MOST_SIDE);
    if (sp_result_file_has(file, SP_ARRAY_COORDS))
        file->has |= SP_PART_TRACKS;
    if (sp_result_file_has(file, SP_ARRAY_EXTRINSICS) &&
        (sp_result_file_has(file, SP_ARRAY_INTRINSICS) ||
         sp_result_file_has(file, SP_ARRAY_INTRINSICS_INPUT)))
        file->has |= SP_PART_CAMERAS;
    if ((file->has & SP_PART_TRACKS) &&
        (sp_result_file_has(file, SP_ARRAY_TRACKS2D) || (file->has & SP_PART_CAMERAS)))
        file->has |= SP_PART_PIXELS;
    if (sp_result_file_has(file, SP_ARRAY_DEPTHS))
        file->has |= SP_PART_DEPTH;
    if (sp_result_file_has(file, SP_ARRAY_VIDEO))
        file->has |= SP_PART_FRAMES;
    return sp_ok();
}

/* The names of what is not there, for who writes it again. */
static void list_absent(SpResultFile *file)
{
    static const char *const others[] = {"object_names", "saved_size"};
    const size_t size = sizeof file->absent;
    for (SpArrayId id = 0; id < SP_ARRAYS; id++)
        if (!sp_result_file_has(file, id)) {
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
    if (!sp_result_file_has(file, id))
        return sp_ok();
    SP_TRY(sp_result_arrays_read_f64(&file->arrays, id, value));
    for (int64_t i = 0; i < file->arrays.array[id].count; i++) {
        if (!(value[i] >= 0) || isinf(value[i]) || (id != SP_ARRAY_RATE && value[i] <= 0))
            return sp_result_file_bad_array(file, id, "holds a value that is not above 0");
        out[i] = value[i];
    }
    return sp_ok();
}

static SpStatus read_index(SpResultFile *file, double *work)
{
    SpClip *clip = &file->clip;
    for (int64_t t = 0; t < clip->frames; t++)
        clip->index[t] = t;
    if (!sp_result_file_has(file, SP_ARRAY_FRAME_INDEX))
        return sp_ok();
    SP_TRY(sp_result_arrays_read_f64(&file->arrays, SP_ARRAY_FRAME_INDEX, work));
    for (int64_t t = 0; t < clip->frames; t++) {
        if (!(work[t] >= 0 && work[t] < 0x1p53) || (t && !(work[t] > work[t - 1])))
            return sp_result_file_bad_array(file, SP_ARRAY_FRAME_INDEX, "does not grow from 0");
        clip->index[t] = (int64_t)work[t];
    }
    return sp_ok();
}

/* Times, numbers of the frames and their rate. */
static SpStatus read_times(SpResultFile *file)
{
    SpClip *clip = &file->clip;
    clip->frames = file->arrays.frames;
    clip->ended = true;
    clip->timestamps = calloc((size_t)clip->frames, sizeof *clip->timestamps);
    clip->index = calloc((size_t)clip->frames, sizeof *clip->index);
    if (!clip->timestamps || !clip->index)
        return sp_no_memory(file->arrays.path);
    SP_TRY(read_positive(file, SP_ARRAY_RATE, &clip->rate));
    SP_TRY(read_index(file, clip->timestamps));
    clip->timeless = !sp_result_file_has(file, SP_ARRAY_TIMESTAMPS);
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
            return sp_result_file_bad_array(file, SP_ARRAY_TIMESTAMPS, "does not grow");
    return sp_ok();
}

/* Its settings are printed as JSON. */
static SpStatus read_version(SpResultFile *file)
{
    static const char beginning[] = "{\"program\":\"";
    int64_t count;
    size_t stride;
    bool begins;
    SP_TRY(sp_npz_text_begins(file->arrays.npz, "version", beginning, &begins));
    if (!begins)
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
            return sp_result_file_bad_array(file, id,
                                            "holds a matrix that is not fx s cx, 0 fy cy, 0 0 1");
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
            return sp_result_file_bad_array(
                file, SP_ARRAY_EXTRINSICS,
                "holds a matrix that is not a rotation and a translation (w2c)");
        sp_pose_invert(w2c, c2w);
    }
    return sp_ok();
}

SpStatus sp_result_file_value(SpResultFile *file, SpArrayId id)
{
    return sp_result_file_has(file, id) && !file->value[id]
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
        SP_TRY(sp_result_file_value(file, ids[i]));
    file->cameras = calloc(frames * (16 + 16 + 9 + 9), sizeof *file->cameras);
    if (!file->cameras)
        return sp_no_memory(file->arrays.path);
    float *w2c = file->cameras, *c2w = w2c + 16 * frames;
    if (sp_result_file_has(file, SP_ARRAY_EXTRINSICS)) {
        SP_TRY(read_poses(file, w2c, c2w));
        r->w2c = w2c;
        r->c2w = c2w;
    }
    for (int i = 1; i < 3; i++)
        if (sp_result_file_has(file, ids[i]))
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
    const bool told = k && in && sp_result_file_has(file, SP_ARRAY_SIZE);
    const double rows = told ? (double)input_height * (double)k[4] / (double)in[4] : whole;
    plan->resized_height = sp_max((int64_t)fmin(rint(rows), MOST_SIDE), h);
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
        return sp_result_file_bad_array(file, SP_ARRAY_SIZE, "is too large");
    if (size[0] < 1 || size[1] < 1)
        return sp_result_file_bad_array(file, SP_ARRAY_SIZE, "is less than a pixel");
    make_plan(file, (int64_t)size[1], (int64_t)size[0]);
    set_intrinsics(file);
    return sp_ok();
}

/* Those that the front took at once, where both of their arrays are there. */
static SpStatus read_chunks(SpResultFile *file)
{
    const int64_t count = file->arrays.chunks;
    if (!sp_result_file_has(file, SP_ARRAY_CHUNKS) ||
        !sp_result_file_has(file, SP_ARRAY_CHUNKS_SIMILARITY))
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
            status =
                sp_result_file_bad_array(file, SP_ARRAY_CHUNKS, "names a frame that is not there");
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
    if (sp_result_file_has(file, SP_ARRAY_SIZE) &&
        (video->height != before.input_height || video->width != before.input_width))
        return sp_error(SP_INPUT, "%.300s is of a video of %lldx%lld, not %lldx%lld",
                        file->arrays.path, (long long)before.input_width,
                        (long long)before.input_height, (long long)video->width,
                        (long long)video->height);
    if (!sp_result_file_has(file, SP_ARRAY_SIZE)) {
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
    for (int64_t t = 0; t < clip->frames && !sp_result_file_has(file, SP_ARRAY_FRAME_INDEX); t++)
        clip->index[t] = t * stride;
    if (clip->timeless && !sp_result_file_has(file, SP_ARRAY_RATE) && video->rate > 0) {
        clip->rate = video->rate / (double)stride;
        for (int64_t t = 0; t < clip->frames; t++)
            clip->timestamps[t] = (double)t / clip->rate;
    }
    return sp_ok();
}
