/* tracks.npz: every array of the result (src/output/README.md). */
#include <math.h>
#include <stdlib.h>

#include "base/minmax.h"
#include "geometry/camera.h"
#include "media/resample.h"
#include "output/formats.h"
#include "output/npz.h"

/* What --omit can name: all but `version`, by which a result is recognised. */
static const char can_be_omitted[] =
    "coords,tracks2d,visibs,confs,sigma,dynamic,queries,object,object_names,extrinsics,intrinsics,"
    "intrinsics_input,size,saved_size,scale,rate,chunks,chunks_similarity,depths,confs_depth,video,"
    "frame_index,timestamps";

/* An archive being written, and memory for the arrays that are made for it. */
typedef struct Writing {
    SpNpzWriter *npz;
    const SpResult *result;
    int64_t h, w; /* the saved size */
    float *work;  /* [T, max(3 N, 16)] or [3, h, w], whichever is more */
    double rate;  /* used frames a second, 0 unknown */
    char omit[2 * sizeof can_be_omitted];
} Writing;

SpStatus sp_result_check_omit(const char *names)
{
    char name[32];
    for (const char *at = names, *comma; at; at = comma ? comma + 1 : NULL) {
        comma = strchr(at, ',');
        snprintf(name, sizeof name, "%.*s", (int)strcspn(at, ","), at);
        if (!sp_npz_names_hold(can_be_omitted, name))
            return sp_error(SP_USAGE, "--omit takes arrays of the result (%s), not \"%s\"",
                            can_be_omitted, name);
    }
    return sp_ok();
}

static bool is_left_out(const Writing *w, const char *name)
{
    return sp_npz_names_hold(w->omit, name);
}

static float as_it_is(float value)
{
    return value;
}

static float clamped(float value)
{
    return fminf(fmaxf(value, 0), 1);
}

/* Planes of each frame reduced to the saved size, each value as `saved` says. */
static SpStatus write_maps(const Writing *w, const char *name, const float *maps, int64_t planes,
                           float (*saved)(float value))
{
    const SpFramePlan *plan = &w->result->clip->plan;
    const int64_t frames = w->result->clip->frames, count = planes * w->h * w->w;
    const int64_t dims[] = {frames, planes, w->h, w->w}, flat[] = {frames, w->h, w->w};
    if (is_left_out(w, name))
        return sp_ok();
    SP_TRY(sp_npz_begin(w->npz, name, SP_F32, planes > 1 ? 4 : 3, planes > 1 ? dims : flat));
    for (int64_t t = 0; t < frames; t++) {
        SP_TRY(sp_resample_antialias(maps + t * planes * plan->height * plan->width, planes,
                                     plan->height, plan->width, w->work, w->h, w->w));
        for (int64_t i = 0; i < count; i++)
            w->work[i] = saved(w->work[i]);
        SP_TRY(sp_npz_write(w->npz, w->work, (size_t)count * sizeof *w->work));
    }
    return sp_ok();
}

static SpStatus write_cameras(const Writing *w)
{
    const SpResult *r = w->result;
    const int64_t frames = r->clip->frames;
    const float sx = (float)w->w / (float)r->clip->plan.width;
    const float sy = (float)w->h / (float)r->clip->plan.height;
    for (int64_t t = 0; r->c2w && t < frames; t++)
        sp_result_w2c(r, t, w->work + 16 * t);
    SP_TRY(sp_npz_array(w->npz, "extrinsics", SP_F32, 3, (const int64_t[]){frames, 4, 4}, w->work));
    if (!r->intrinsics)
        return sp_ok();
    sp_intrinsics_scale(r->intrinsics, frames, (double)sx, (double)sy, w->work);
    SP_TRY(sp_npz_array(w->npz, "intrinsics", SP_F32, 3, (const int64_t[]){frames, 3, 3}, w->work));
    sp_result_input_intrinsics(r, w->work);
    return sp_npz_array(w->npz, "intrinsics_input", SP_F32, 3, (const int64_t[]){frames, 3, 3},
                        w->work);
}

/* What pixels and lengths are counted in. */
static SpStatus write_units(const Writing *w)
{
    const SpFramePlan *plan = &w->result->clip->plan;
    const int64_t two = 2, size[] = {plan->input_width, plan->input_height}, saved[] = {w->w, w->h};
    SP_TRY(sp_npz_array(w->npz, "size", SP_I64, 1, &two, size));
    SP_TRY(sp_npz_array(w->npz, "saved_size", SP_I64, 1, &two, saved));
    SP_TRY(sp_npz_array(w->npz, "scale", SP_F64, 0, NULL, &w->result->scale));
    return sp_npz_array(w->npz, "rate", SP_F64, 0, NULL, &w->rate);
}

/* What the front took at once: where each chunk begins, and how it lies in the world. */
static SpStatus write_chunks(const Writing *w)
{
    const SpResult *r = w->result;
    const int64_t shape[] = {r->chunks, 4, 4};
    SP_TRY(sp_npz_begin(w->npz, "chunks", SP_I64, 1, &r->chunks));
    for (int64_t i = 0; i < r->chunks; i++)
        SP_TRY(sp_npz_write(w->npz, &r->chunk[i].first, sizeof r->chunk[i].first));
    SP_TRY(sp_npz_begin(w->npz, "chunks_similarity", SP_F64, 3, shape));
    for (int64_t i = 0; i < r->chunks; i++)
        SP_TRY(sp_npz_write(w->npz, r->chunk[i].similarity, sizeof r->chunk[i].similarity));
    return sp_ok();
}

/* The objects that tracks lie on. */
static SpStatus write_objects(const Writing *w)
{
    const SpResult *r = w->result;
    SP_TRY(sp_npz_begin(w->npz, "object", SP_I64, 1, &r->tracks));
    for (int64_t n = 0; n < r->tracks; n++) {
        const int64_t index = r->object[n] - 1;
        SP_TRY(sp_npz_write(w->npz, &index, sizeof index));
    }
    return sp_npz_texts(w->npz, "object_names", r->objects, r->object_names, r->object_name_size);
}

static SpStatus write_tracks(const Writing *w)
{
    const SpResult *r = w->result;
    const int64_t frames = r->clip->frames, n = r->tracks;
    const int64_t values[] = {frames, n, 1}, points[] = {frames, n, 3}, pixels[] = {frames, n, 2};
    sp_result_coords(r, w->work);
    SP_TRY(sp_npz_array(w->npz, "coords", SP_F32, 3, points, w->work));
    SP_TRY(sp_npz_array(w->npz, "visibs", SP_F32, 3, values, r->visibility));
    SP_TRY(sp_npz_array(w->npz, "confs", SP_F32, 3, values, r->confs));
    sp_result_tracks2d(r, w->work);
    SP_TRY(sp_npz_array(w->npz, "tracks2d", SP_F32, 3, pixels, w->work));
    SP_TRY(sp_npz_array(w->npz, "queries", SP_F32, 2, (const int64_t[]){n, 3}, r->queries));
    SP_TRY(sp_npz_array(w->npz, "dynamic", SP_F32, 1, &n, r->dynamic));
    if (r->sigma)
        SP_TRY(sp_npz_array(w->npz, "sigma", SP_F32, 2, pixels, r->sigma));
    return r->object ? write_objects(w) : sp_ok();
}

static SpStatus write_arrays(const Writing *w)
{
    const SpResult *r = w->result;
    const SpClip *clip = r->clip;
    if (r->tracks)
        SP_TRY(write_tracks(w));
    SP_TRY(write_cameras(w));
    SP_TRY(write_maps(w, "depths", r->depth, 1, as_it_is));
    SP_TRY(write_maps(w, "confs_depth", r->confidence, 1, clamped));
    SP_TRY(write_maps(w, "video", clip->video, 3, sp_result_shade));
    SP_TRY(sp_npz_array(w->npz, "frame_index", SP_I64, 1, &clip->frames, clip->index));
    SP_TRY(sp_npz_array(w->npz, "timestamps", SP_F64, 1, &clip->frames, clip->timestamps));
    SP_TRY(write_units(w));
    if (r->chunks)
        SP_TRY(write_chunks(w));
    SP_TRY(sp_npz_text(w->npz, "version", r->version));
    return sp_npz_finish(w->npz);
}

static SpStatus write_npz(const SpAtomicFile *file, const SpOutput *output)
{
    const SpResult *r = output->result;
    Writing w = {.result = r, .rate = r->clip->rate / (double)output->reader.stride};
    snprintf(w.omit, sizeof w.omit, "%s,%s", output->omit ? output->omit : "",
             r->absent ? r->absent : "");
    sp_saved_size(r->clip->plan.height, r->clip->plan.width, output->max_side, &w.h, &w.w);
    const int64_t rows = r->clip->frames * sp_max(3 * r->tracks, 16);
    w.work = malloc((size_t)sp_max(rows, 3 * w.h * w.w) * sizeof *w.work);
    SpStatus status = w.work ? sp_npz_create(file->stream, file->label, output->compress, &w.npz)
                             : sp_no_memory("the result");
    if (status.code == SP_OK) {
        sp_npz_omit(w.npz, w.omit);
        status = write_arrays(&w);
    }
    sp_npz_discard(w.npz);
    free(w.work);
    return status;
}

/* By the first key of the `version` that src/pipeline/video.c makes. */
static bool is_own(const char *path)
{
    SpNpz *npz;
    const bool own = sp_npz_open(path, &npz).code == SP_OK &&
                     sp_npz_text_begins(npz, "version", "{\"program\":\"spatrack ");
    sp_npz_close(npz);
    return own;
}

const SpFormat sp_format_npz = {.product = SP_PRODUCT_RESULT,
                                .ending = ".npz",
                                .what = "arrays for numpy",
                                .optional = SP_PART_ALL,
                                .write = write_npz,
                                .is_own = is_own};
