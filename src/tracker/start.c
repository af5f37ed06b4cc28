/* A window's set-up: features, pyramids, what the queries see, the first state (section 4). */
#include <math.h>
#include <string.h>

#include "base/nearest.h"
#include "geometry/camera.h"
#include "nn/stream.h"
#include "tracker/internal.h"

void sp_window_take(const SpTracker *t, SpNn *nn, SpWindow *w)
{
    const int64_t frames = w->frames, n = w->tracks, pairs = frames * n;
    const int64_t area = frames * w->height * w->width, patch = t->side * t->side;
    w->depth = sp_nn_host(nn, (size_t)area * sizeof(float));
    w->valid = sp_nn_host(nn, (size_t)area);
    float **const host[] = {&w->k_model, &w->k,     &w->c2w,  &w->c2w_start, &w->query, &w->z,
                            &w->unc,     &w->start, &w->xyz,  &w->normal,    &w->track, &w->point,
                            &w->rough,   &w->vis,   &w->conf, &w->dyn,       &w->weight};
    const int64_t size[] = {9 * frames, 9 * frames, 16 * frames, 16 * frames, 3 * n,     n,
                            n,          4 * n,      3 * pairs,   3 * pairs,   3 * pairs, 3 * pairs,
                            3 * pairs,  pairs,      pairs,       pairs,       pairs};
    for (size_t i = 0; i < sizeof host / sizeof *host; i++)
        *host[i] = sp_nn_host(nn, (size_t)size[i] * sizeof(float));
    w->replaced = sp_nn_host(nn, (size_t)pairs);
    w->maps.frames = frames;
    w->maps.tracks = n;
    w->maps.pair_frame = sp_nn_floats(nn, pairs);
    w->maps.time = sp_nn_floats(nn, frames * t->token);
    for (int l = 0; l < SP_TRACK_LEVELS; l++) {
        SpTrackLevel *level = &w->maps.level[l];
        level->h = t->model_height / t->stride >> l;
        level->w = t->model_width / t->stride >> l;
        level->features = sp_nn_floats(nn, frames * level->h * level->w * t->channels);
        level->points = sp_nn_floats(nn, frames * level->h * level->w * 3);
        level->templates = sp_nn_floats(nn, n * patch * t->channels);
        level->template_points = sp_nn_floats(nn, n * patch * 3);
        level->query = sp_nn_floats(nn, n * t->neighbours * t->channels);
        level->query_projected = sp_nn_floats(nn, n * t->neighbours * t->channels);
    }
}

/* A frame of the clip by nearest to model size, [h, w, 3]. The published code brings the video to
 * -1..1 only after its features are taken (TrackRefiner.py), so the encoder sees 0..255. */
static void model_image(const SpTracker *t, const SpTrackerInput *in, int64_t frame, float *image)
{
    const int64_t area = in->height * in->width;
    const float *video = in->video + frame * 3 * area;
    for (int64_t y = 0; y < t->model_height; y++) {
        const int64_t row = sp_nearest_index(y, in->height, t->model_height) * in->width;
        for (int64_t x = 0; x < t->model_width; x++, image += 3) {
            const int64_t at = row + sp_nearest_index(x, in->width, t->model_width);
            for (int c = 0; c < 3; c++)
                image[c] = video[c * area + at];
        }
    }
}

static void features(const SpTracker *t, SpNn *nn, const SpTrackerInput *in, int64_t first,
                     const SpCarried *carried, SpWindow *w)
{
    SpTrackLevel *level = w->maps.level;
    const int64_t map = level->h * level->w * t->channels;
    const int64_t pixels = 3 * t->model_height * t->model_width;
    const int64_t known = carried->tracks ? t->overlap : 0;
    const SpNnMark mark = sp_nn_mark(nn);
    float *image = sp_nn_host(nn, (size_t)pixels * sizeof *image);
    float *uploaded = sp_nn_floats(nn, pixels);
    if (known)
        sp_nn_copy(nn, SP_ON_DEVICE, level->features, carried->features, known * map);
    SpStream weights = sp_stream_hold(nn, t->encoder_segment, 1);
    /* Every frame needs the same memory: a dry run looks at one. */
    const int64_t count = sp_nn_repeat(nn, w->frames - known);
    for (int64_t f = known; f < known + count; f++) {
        if (sp_nn_live(nn))
            model_image(t, in, sp_window_frame(in, first, f), image);
        sp_nn_copy(nn, SP_UPLOAD, uploaded, image, pixels);
        sp_encoder_run(t, nn, uploaded, t->model_height, t->model_width,
                       nn->dry ? NULL : level->features + f * map);
        sp_progress(nn->progress, (double)(f + 1), (double)w->frames);
    }
    sp_nn_repeated(nn, w->frames - known);
    sp_stream_end(nn, &weights);
    for (int l = 1; l < SP_TRACK_LEVELS; l++)
        sp_nn_run(nn, halve,
                  &(SpHalve){level[l - 1].features, w->frames, level[l - 1].h, level[l - 1].w,
                             t->channels, level[l].features});
    sp_nn_release(nn, mark);
}

/* The point of the model-size map at pixel (y, x), which is a working pixel. */
static void map_point(const SpTracker *t, const SpWindow *w, int64_t frame, int64_t y, int64_t x,
                      float out[3])
{
    const int64_t i = sp_nearest_index(y, w->height, t->model_height);
    const int64_t j = sp_nearest_index(x, w->width, t->model_width);
    sp_unproject(w->k + 9 * frame, (float)j, (float)i,
                 w->depth[(frame * w->height + i) * w->width + j], out);
}

static float clamped(float x, float least, float most)
{
    return x < least ? least : x > most ? most : x;
}

/* Depth, validity and point X [N, 3] at the queries; the depth of continued ones is given. */
static void look_up_queries(const SpTracker *t, const float *overlap_z, SpWindow *w, float *points)
{
    for (int64_t n = 0; n < w->tracks; n++) {
        const float *query = w->query + 3 * n;
        const int64_t frame = (int64_t)query[0];
        const int64_t x = sp_nearest_border(query[1], t->model_width);
        const int64_t y = sp_nearest_border(query[2], t->model_height);
        const int64_t i = sp_nearest_index(y, w->height, t->model_height);
        const int64_t j = sp_nearest_index(x, w->width, t->model_width);
        const int64_t at = (frame * w->height + i) * w->width + j;
        map_point(t, w, frame, y, x, points + 3 * n);
        w->unc[n] = w->valid[at];
        w->z[n] = clamped(w->depth[at], 0.01f, 200);
        if (n < w->continued)
            w->z[n] = points[3 * n + 2] = overlap_z[n];
    }
}

/* lo, hi of three standard deviations. One point, or points in a plane across an axis, have no
 * spread to divide by: there one unit stands in. */
static void normalisation(SpWindow *w, const float *points)
{
    const double n = (double)w->tracks;
    for (int i = 0; i < 3; i++) {
        double mean = 0, squares = 0;
        for (int64_t k = 0; k < w->tracks; k++)
            mean += (double)points[3 * k + i] / n;
        for (int64_t k = 0; k < w->tracks; k++)
            squares += ((double)points[3 * k + i] - mean) * ((double)points[3 * k + i] - mean);
        const double std = n > 1 ? sqrt(squares / (n - 1)) : 0;
        const double half = std > 1e-6 ? 3 * std : 1;
        w->lo[i] = mean - half;
        w->hi[i] = mean + half;
    }
}

static void point_maps(const SpTracker *t, SpNn *nn, SpWindow *w)
{
    const SpNnMark mark = sp_nn_mark(nn);
    const int64_t most = w->maps.level[0].h * w->maps.level[0].w * 3;
    float *host = sp_nn_host(nn, (size_t)most * sizeof *host);
    for (int l = 0; l < SP_TRACK_LEVELS && sp_nn_live(nn); l++) {
        SpTrackLevel *level = &w->maps.level[l];
        const int64_t step = t->stride << l;
        for (int64_t f = 0; f < w->frames; f++) {
            for (int64_t i = 0; i < level->h * level->w; i++) {
                float point[3];
                map_point(t, w, f, i / level->w * step, i % level->w * step, point);
                sp_normalise(w, point, host + 3 * i);
            }
            const int64_t count = level->h * level->w * 3;
            sp_nn_copy(nn, SP_UPLOAD, level->points + f * count, host, count);
        }
    }
    sp_nn_release(nn, mark);
}

/* Patches around the queries of new tracks, and those of continued ones as they were. */
static void templates(const SpTracker *t, SpNn *nn, const SpCarried *carried, SpWindow *w)
{
    const int64_t patch = t->side * t->side, c = t->channels, old = w->continued;
    const int64_t fresh = w->tracks - old;
    const SpNnMark mark = sp_nn_mark(nn);
    float *at = sp_nn_host(nn, (size_t)(3 * fresh) * sizeof *at);
    float *points = sp_nn_host(nn, (size_t)(carried->users * patch * 3) * sizeof *points);
    float *xy = sp_nn_floats(nn, 2 * fresh), *frame = sp_nn_floats(nn, fresh);
    for (int l = 0; l < SP_TRACK_LEVELS; l++) {
        SpTrackLevel *level = &w->maps.level[l];
        for (int64_t n = 0; n < fresh && sp_nn_live(nn); n++) {
            const float *query = w->query + 3 * (old + n);
            at[2 * n] = query[1] / (float)(t->stride << l);
            at[2 * n + 1] = query[2] / (float)(t->stride << l);
            at[2 * fresh + n] = query[0];
        }
        sp_nn_copy(nn, SP_UPLOAD, xy, at, 2 * fresh);
        sp_nn_copy(nn, SP_UPLOAD, frame, nn->dry ? NULL : at + 2 * fresh, fresh);
        SpSamplePatches samples = {.map = level->features,
                                   .frames = w->frames,
                                   .h = level->h,
                                   .w = level->w,
                                   .c = c,
                                   .xy = xy,
                                   .frame = frame,
                                   .pairs = fresh,
                                   .side = t->side,
                                   .out = level->templates + old * patch * c,
                                   .ldy = c};
        sp_nn_run(nn, sample_patches, &samples);
        samples.map = level->points;
        samples.c = samples.ldy = 3;
        samples.out = level->template_points + old * patch * 3;
        sp_nn_run(nn, sample_patches, &samples);
        if (old) {
            sp_nn_copy(nn, SP_ON_DEVICE, level->templates, carried->templates[l], old * patch * c);
            for (int64_t i = 0; i < old * patch && sp_nn_live(nn); i++)
                sp_normalise(w, carried->template_points[l] + 3 * i, points + 3 * i);
            sp_nn_copy(nn, SP_UPLOAD, level->template_points, points, old * patch * 3);
        }
        sp_level_query(t, nn, level, w->tracks);
    }
    sp_nn_release(nn, mark);
}

/* Q of section 4 for pair (f, n): x, y in model pixels and z; and the camera-space point. */
static void first_position(const SpTracker *t, const SpCarried *carried, const SpWindow *w,
                           const float *points, int64_t f, int64_t n, float xyz[3], float normal[3])
{
    if (n >= w->continued) {
        memcpy(xyz, w->query + 3 * n + 1, 2 * sizeof *xyz);
        xyz[2] = w->z[n];
        sp_normalise(w, points + 3 * n, normal);
        return;
    }
    const int64_t at = (f < t->overlap ? f : t->overlap - 1) * carried->users + n;
    xyz[0] = carried->track[3 * at] * (float)t->model_width / (float)w->width;
    xyz[1] = carried->track[3 * at + 1] * (float)t->model_height / (float)w->height;
    xyz[2] = carried->track[3 * at + 2];
    sp_normalise(w, carried->point + 3 * at, normal);
}

static void first_state(const SpTracker *t, const SpCarried *carried, const float *points,
                        SpWindow *w)
{
    const int64_t pairs = w->frames * w->tracks;
    for (int64_t i = 0; i < pairs; i++) {
        const int64_t f = i / w->tracks, n = i % w->tracks;
        float *xyz = w->xyz + 3 * i;
        first_position(t, carried, w, points, f, n, xyz, w->normal + 3 * i);
        if (f == 0) {
            w->start[4 * n] = w->query[3 * n];
            memcpy(w->start + 4 * n + 1, xyz, 3 * sizeof *xyz);
        }
        xyz[0] /= (float)t->stride;
        xyz[1] /= (float)t->stride;
    }
    float *const logits[] = {w->vis, w->conf, w->dyn, w->weight};
    for (int i = 0; i < 4; i++)
        memset(logits[i], 0, (size_t)pairs * sizeof **logits);
}

static void frame_tables(const SpTracker *t, SpNn *nn, SpWindow *w)
{
    const int64_t pairs = w->frames * w->tracks;
    const SpNnMark mark = sp_nn_mark(nn);
    float *frame = sp_nn_host(nn, (size_t)pairs * sizeof *frame);
    float *time = sp_nn_host(nn, (size_t)(w->frames * t->token) * sizeof *time);
    if (sp_nn_live(nn)) {
        for (int64_t i = 0; i < pairs; i++)
            frame[i] = (float)(i % w->frames);
        sp_time_embedding(t->time_length, t->token, w->frames, time);
    }
    sp_nn_copy(nn, SP_UPLOAD, w->maps.pair_frame, frame, pairs);
    sp_nn_copy(nn, SP_UPLOAD, w->maps.time, time, w->frames * t->token);
    sp_nn_release(nn, mark);
}

void sp_window_start(const SpTracker *t, SpNn *nn, const SpTrackerInput *in, int64_t first,
                     const SpCarried *carried, const float *overlap_z, SpWindow *w)
{
    const SpNnMark mark = sp_nn_mark(nn);
    float *points = sp_nn_host(nn, (size_t)(3 * w->tracks) * sizeof *points);
    w->maps.tracks = w->tracks;
    if (sp_nn_live(nn)) {
        look_up_queries(t, overlap_z, w, points);
        normalisation(w, points);
        first_state(t, carried, points, w);
    }
    frame_tables(t, nn, w);
    features(t, nn, in, first, carried, w);
    point_maps(t, nn, w);
    templates(t, nn, carried, w);
    sp_nn_release(nn, mark);
}

/* Rows `from` .. users of a [.., 3] array of the device, denormalised, to the host. */
static void keep_points(const SpTracker *t, SpNn *nn, const SpWindow *w, int l, int64_t from,
                        SpCarried *carried)
{
    const int64_t patch = t->side * t->side, count = (w->users - from) * patch;
    float *kept = carried->template_points[l] + from * patch * 3;
    sp_nn_copy(nn, SP_DOWNLOAD, kept, w->maps.level[l].template_points + from * patch * 3,
               3 * count);
    for (int64_t i = 0; i < 3 * count && sp_nn_live(nn); i++)
        kept[i] = sp_denormalise(w, (double)kept[i], (int)(i % 3));
}

void sp_carried_take(const SpTracker *t, SpNn *nn, int64_t users, SpCarried *c)
{
    const int64_t patch = t->side * t->side;
    const int64_t map = t->model_height / t->stride * (t->model_width / t->stride) * t->channels;
    *c = (SpCarried){.users = users};
    c->features = sp_nn_floats(nn, t->overlap * map);
    c->track = sp_nn_host(nn, (size_t)(3 * t->overlap * users) * sizeof(float));
    c->point = sp_nn_host(nn, (size_t)(3 * t->overlap * users) * sizeof(float));
    for (int l = 0; l < SP_TRACK_LEVELS; l++) {
        c->templates[l] = sp_nn_floats(nn, users * patch * t->channels);
        c->template_points[l] = sp_nn_host(nn, (size_t)(3 * users * patch) * sizeof(float));
    }
}

void sp_window_carry(const SpTracker *t, SpNn *nn, const SpWindow *w, SpCarried *carried)
{
    const int64_t patch = t->side * t->side * t->channels, known = w->continued;
    const SpTrackLevel *level = w->maps.level;
    const int64_t map = level->h * level->w * t->channels, last = w->frames - t->overlap;
    if (!sp_nn_live(nn))
        return;
    sp_nn_copy(nn, SP_ON_DEVICE, carried->features, level->features + last * map, t->overlap * map);
    for (int l = 0; l < SP_TRACK_LEVELS; l++) {
        sp_nn_copy(nn, SP_ON_DEVICE, carried->templates[l] + known * patch,
                   level[l].templates + known * patch, (w->users - known) * patch);
        keep_points(t, nn, w, l, known, carried);
    }
    for (int64_t f = 0; f < t->overlap; f++) {
        const int64_t from = (last + f) * w->tracks * 3, to = f * carried->users * 3;
        memcpy(carried->track + to, w->track + from, (size_t)(3 * w->users) * sizeof(float));
        memcpy(carried->point + to, w->point + from, (size_t)(3 * w->users) * sizeof(float));
    }
    carried->tracks = w->users;
}
