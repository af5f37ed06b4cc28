/* tracks.npz: every array of the result (src/output/README.md). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

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

/* The arrays that have a row a frame. */
typedef enum Rows {
    COORDS,
    VISIBS,
    CONFS,
    TRACKS2D,
    SIGMA,
    EXTRINSICS,
    INTRINSICS,
    INTRINSICS_INPUT,
    DEPTHS,
    CONFS_DEPTH,
    VIDEO,
    ROWS
} Rows;

/* An archive being written. */
typedef struct Writing {
    SpNpzWriter *npz;
    SpNpzGrowing *growing[ROWS]; /* where frames come one by one */
    SpResult result;             /* whole, or without what has frames */
    int64_t frames;              /* T */
    int64_t h, w;                /* the saved size */
    float *work;                 /* [max(3 N, 16, 3 h w)] a row */
    int64_t room;                /* tracks that it has memory for */
    double rate;                 /* used frames a second, 0 unknown */
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

static float as_it_is(float value)
{
    return value;
}

static float clamped(float value)
{
    return fminf(fmaxf(value, 0), 1);
}

/* Planes reduced to the saved size, each value as `saved` says. */
static SpStatus reduce(const Writing *w, const float *maps, int64_t planes,
                       float (*saved)(float value), float *out)
{
    const SpFramePlan *plan = &w->result.clip->plan;
    SP_TRY(sp_resample_antialias(maps, planes, plan->height, plan->width, out, w->h, w->w));
    for (int64_t i = 0; i < planes * w->h * w->w; i++)
        out[i] = saved(out[i]);
    return sp_ok();
}

static SpStatus coords_row(const Writing *w, const SpResult *frame, float *out)
{
    (void)w;
    sp_result_coords(frame, out);
    return sp_ok();
}

static SpStatus tracks2d_row(const Writing *w, const SpResult *frame, float *out)
{
    (void)w;
    sp_result_tracks2d(frame, out);
    return sp_ok();
}

static SpStatus visibs_row(const Writing *w, const SpResult *frame, float *out)
{
    memcpy(out, frame->visibility, (size_t)w->result.tracks * sizeof *out);
    return sp_ok();
}

static SpStatus confs_row(const Writing *w, const SpResult *frame, float *out)
{
    memcpy(out, frame->confs, (size_t)w->result.tracks * sizeof *out);
    return sp_ok();
}

static SpStatus sigma_row(const Writing *w, const SpResult *frame, float *out)
{
    memcpy(out, frame->sigma, (size_t)w->result.tracks * sizeof *out);
    return sp_ok();
}

static SpStatus extrinsics_row(const Writing *w, const SpResult *frame, float *out)
{
    (void)w;
    if (frame->c2w)
        sp_result_w2c(frame, 0, out);
    return sp_ok();
}

static SpStatus intrinsics_row(const Writing *w, const SpResult *frame, float *out)
{
    const SpFramePlan *plan = &frame->clip->plan;
    const float sx = (float)w->w / (float)plan->width, sy = (float)w->h / (float)plan->height;
    sp_intrinsics_scale(frame->intrinsics, 1, (double)sx, (double)sy, out);
    return sp_ok();
}

static SpStatus input_intrinsics_row(const Writing *w, const SpResult *frame, float *out)
{
    (void)w;
    sp_result_input_intrinsics(frame, out);
    return sp_ok();
}

static SpStatus depths_row(const Writing *w, const SpResult *frame, float *out)
{
    return reduce(w, frame->depth, 1, as_it_is, out);
}

static SpStatus confs_depth_row(const Writing *w, const SpResult *frame, float *out)
{
    return reduce(w, frame->confidence, 1, clamped, out);
}

static SpStatus video_row(const Writing *w, const SpResult *frame, float *out)
{
    return reduce(w, frame->clip->video, 3, sp_result_shade, out);
}

/* The extents of a row are written where they do not depend on the run: POINTS stands for N, HEIGHT
 * and WIDTH for those of the saved maps. */
enum { POINTS = -1, HEIGHT = -2, WIDTH = -3 };

static const struct {
    const char *name;
    int rank; /* of a row */
    int64_t extent[3];
    SpStatus (*row)(const Writing *w, const SpResult *frame, float *out);
} rows[ROWS] = {[COORDS] = {"coords", 2, {POINTS, 3}, coords_row},
                [VISIBS] = {"visibs", 2, {POINTS, 1}, visibs_row},
                [CONFS] = {"confs", 2, {POINTS, 1}, confs_row},
                [TRACKS2D] = {"tracks2d", 2, {POINTS, 2}, tracks2d_row},
                [SIGMA] = {"sigma", 1, {POINTS}, sigma_row},
                [EXTRINSICS] = {"extrinsics", 2, {4, 4}, extrinsics_row},
                [INTRINSICS] = {"intrinsics", 2, {3, 3}, intrinsics_row},
                [INTRINSICS_INPUT] = {"intrinsics_input", 2, {3, 3}, input_intrinsics_row},
                [DEPTHS] = {"depths", 2, {HEIGHT, WIDTH}, depths_row},
                [CONFS_DEPTH] = {"confs_depth", 2, {HEIGHT, WIDTH}, confs_depth_row},
                [VIDEO] = {"video", 3, {3, HEIGHT, WIDTH}, video_row}};

/* Whether the result has that array at all. */
static bool is_there(const Writing *w, Rows which)
{
    const SpResult *r = &w->result;
    if (sp_npz_names_hold(w->omit, rows[which].name))
        return false;
    if (which == SIGMA)
        return r->sigma;
    if (which == INTRINSICS || which == INTRINSICS_INPUT)
        return r->intrinsics;
    return which > SIGMA || r->tracks > 0;
}

/* The array's extents, [1 + rank], and the bytes of a row. */
static size_t extents_of(const Writing *w, Rows which, int64_t dims[4])
{
    size_t bytes = sizeof(float);
    dims[0] = w->frames;
    for (int i = 0; i < rows[which].rank; i++) {
        const int64_t extent = rows[which].extent[i];
        dims[1 + i] = extent == POINTS   ? w->result.tracks
                      : extent == HEIGHT ? w->h
                      : extent == WIDTH  ? w->w
                                         : extent;
        bytes *= (size_t)dims[1 + i];
    }
    return bytes;
}

static SpStatus begin_rows(const Writing *w, Rows which)
{
    int64_t dims[4];
    extents_of(w, which, dims);
    return sp_npz_begin(w->npz, rows[which].name, SP_F32, 1 + rows[which].rank, dims);
}

static SpStatus write_row(const Writing *w, Rows which, const SpResult *frame)
{
    int64_t dims[4];
    SP_TRY(rows[which].row(w, frame, w->work));
    return sp_npz_write(w->npz, w->work, extents_of(w, which, dims));
}

/* The array takes its place in the archive: all its frames, or what has grown of it. */
static SpStatus write_rows(const Writing *w, Rows which)
{
    if (w->growing[which])
        return sp_npz_growing_add(w->npz, w->growing[which]);
    if (!is_there(w, which))
        return sp_ok();
    SP_TRY(begin_rows(w, which));
    for (int64_t t = 0; t < w->frames; t++) {
        SpResultFrame frame;
        sp_result_frame(&w->result, t, &frame);
        SP_TRY(write_row(w, which, &frame.result));
    }
    return sp_ok();
}

/* What pixels and lengths are counted in. */
static SpStatus write_units(const Writing *w)
{
    const SpFramePlan *plan = &w->result.clip->plan;
    const int64_t two = 2, size[] = {plan->input_width, plan->input_height}, saved[] = {w->w, w->h};
    SP_TRY(sp_npz_array(w->npz, "size", SP_I64, 1, &two, size));
    SP_TRY(sp_npz_array(w->npz, "saved_size", SP_I64, 1, &two, saved));
    SP_TRY(sp_npz_array(w->npz, "scale", SP_F64, 0, NULL, &w->result.scale));
    return sp_npz_array(w->npz, "rate", SP_F64, 0, NULL, &w->rate);
}

/* What the front took at once: where each chunk begins, and how it lies in the world. */
static SpStatus write_chunks(const Writing *w)
{
    const SpResult *r = &w->result;
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
    const SpResult *r = &w->result;
    SP_TRY(sp_npz_begin(w->npz, "object", SP_I64, 1, &r->tracks));
    for (int64_t n = 0; n < r->tracks; n++) {
        const int64_t index = r->object[n] - 1;
        SP_TRY(sp_npz_write(w->npz, &index, sizeof index));
    }
    return sp_npz_texts(w->npz, "object_names", r->objects, r->object_names, r->object_name_size);
}

static SpStatus write_tracks(const Writing *w)
{
    const SpResult *r = &w->result;
    const int64_t n = r->tracks;
    for (Rows which = COORDS; which <= TRACKS2D; which++)
        SP_TRY(write_rows(w, which));
    SP_TRY(sp_npz_array(w->npz, "queries", SP_F32, 2, (const int64_t[]){n, 3}, r->queries));
    SP_TRY(sp_npz_array(w->npz, "dynamic", SP_F32, 1, &n, r->dynamic));
    SP_TRY(write_rows(w, SIGMA));
    return r->object ? write_objects(w) : sp_ok();
}

/* All but the pictures. */
static SpStatus write_rest(const Writing *w)
{
    const SpResult *r = &w->result;
    const SpClip *clip = r->clip;
    if (r->tracks)
        SP_TRY(write_tracks(w));
    for (Rows which = EXTRINSICS; which < VIDEO; which++)
        SP_TRY(write_rows(w, which));
    SP_TRY(sp_npz_array(w->npz, "frame_index", SP_I64, 1, &w->frames, clip->index));
    SP_TRY(sp_npz_array(w->npz, "timestamps", SP_F64, 1, &w->frames, clip->timestamps));
    SP_TRY(write_units(w));
    if (r->chunks)
        SP_TRY(write_chunks(w));
    SP_TRY(sp_npz_text(w->npz, "version", r->version));
    return sp_npz_finish(w->npz);
}

static SpStatus write_arrays(const Writing *w)
{
    SP_TRY(write_rows(w, VIDEO));
    return write_rest(w);
}

/* For rows of so many tracks. */
static SpStatus make_room(Writing *w, int64_t tracks)
{
    const int64_t floats = sp_max(sp_max(3 * tracks, 16), 3 * w->h * w->w);
    float *work = realloc(w->work, (size_t)floats * sizeof *work);
    if (!work)
        return sp_no_memory("the result");
    w->work = work;
    w->room = tracks;
    return sp_ok();
}

static SpStatus open_archive(const SpAtomicFile *file, const SpOutput *output, Writing *w)
{
    const SpResult *r = output->result;
    *w = (Writing){.result = *r,
                   .frames = r->clip->frames,
                   .rate = r->clip->rate / (double)output->reader.stride};
    snprintf(w->omit, sizeof w->omit, "%s,%s", output->omit ? output->omit : "",
             r->absent ? r->absent : "");
    sp_saved_size(r->clip->plan.height, r->clip->plan.width, output->max_side, &w->h, &w->w);
    SP_TRY(make_room(w, r->tracks));
    SP_TRY(sp_npz_create(file->stream, file->label, output->compress, &w->npz));
    sp_npz_omit(w->npz, w->omit);
    return sp_ok();
}

static void close_archive(Writing *w)
{
    for (Rows which = 0; which < ROWS; which++)
        sp_npz_growing_discard(w->growing[which]);
    sp_npz_discard(w->npz);
    free(w->work);
}

static SpStatus write_npz(const SpAtomicFile *file, const SpOutput *output)
{
    Writing w;
    SpStatus status = open_archive(file, output, &w);
    if (status.code == SP_OK)
        status = write_arrays(&w);
    close_archive(&w);
    return status;
}

static SpStatus begin_frames(const SpAtomicFile *file, const SpOutput *output, void **stream)
{
    Writing *w = malloc(sizeof *w);
    if (!w)
        return sp_no_memory("the result");
    *stream = w;
    SP_TRY(open_archive(file, output, w));
    for (Rows which = 0; which < ROWS; which++) {
        int64_t dims[4];
        extents_of(w, which, dims);
        if (is_there(w, which))
            SP_TRY(sp_npz_grow(w->npz, file->temporary, rows[which].name, SP_F32,
                               1 + rows[which].rank, dims, &w->growing[which]));
        if (output->grows && rows[which].extent[0] == POINTS)
            sp_npz_growing_widens(w->growing[which], which == SIGMA ? NAN : 0);
    }
    return sp_ok();
}

static SpStatus add_frame(void *stream, int64_t t, const SpResult *frame, uint8_t *rgb)
{
    Writing *w = stream;
    (void)t, (void)rgb;
    if (frame->tracks > w->room)
        SP_TRY(make_room(w, frame->tracks));
    w->result.tracks = frame->tracks;
    for (Rows which = 0; which < ROWS; which++) {
        int64_t dims[4];
        if (!w->growing[which])
            continue;
        SP_TRY(rows[which].row(w, frame, w->work));
        SP_TRY(sp_npz_growing_write(w->growing[which], w->work, extents_of(w, which, dims)));
    }
    return sp_ok();
}

static SpStatus end_frames(void *stream, const SpResult *whole)
{
    Writing *w = stream;
    w->result = *whole;
    w->frames = whole->clip->frames;
    return write_arrays(w);
}

static SpStatus begin_pictures(const SpAtomicFile *file, const SpOutput *output, void **stream)
{
    Writing *w = malloc(sizeof *w);
    if (!w)
        return sp_no_memory("the result");
    *stream = w;
    SP_TRY(open_archive(file, output, w));
    return is_there(w, VIDEO) ? begin_rows(w, VIDEO) : sp_ok();
}

static SpStatus add_picture(void *stream, int64_t t, const SpResult *frame, uint8_t *rgb)
{
    const Writing *w = stream;
    (void)t, (void)rgb;
    return is_there(w, VIDEO) ? write_row(w, VIDEO, frame) : sp_ok();
}

static SpStatus end_pictures(void *stream, const SpResult *whole)
{
    Writing *w = stream;
    w->result = *whole;
    return write_rest(w);
}

static void discard_frames(void *stream)
{
    close_archive(stream);
    free(stream);
}

static const SpFrameFormat frame_by_frame = {begin_frames, add_frame, end_frames, discard_frames};
static const SpFrameFormat pictures_first = {begin_pictures, add_picture, end_pictures,
                                             discard_frames};

/* By the first key of the `version` that src/pipeline/video.c makes. */
static bool is_own(const char *path)
{
    SpNpz *npz;
    bool own = false;
    if (sp_npz_open(path, &npz).code != SP_OK ||
        sp_npz_text_begins(npz, "version", "{\"program\":\"spatrack ", &own).code != SP_OK)
        own = false;
    sp_npz_close(npz);
    return own;
}

const SpFormat sp_format_npz = {.product = SP_PRODUCT_RESULT,
                                .ending = ".npz",
                                .what = "arrays for numpy",
                                .optional = SP_PART_ALL,
                                .write = write_npz,
                                .frames = &frame_by_frame,
                                .pictures = &pictures_first,
                                .is_own = is_own};
