#include "tracker/window.h"

#include <string.h>

#include "base/nearest.h"
#include "geometry/camera.h"
#include "nn/stream.h"
#include "tracker/tokens.h"
#include "tracker/track_features.h"
#include "tracker/window_dump.h"

/* A frame of the clip by nearest to model size, [h, w, 3]; column: the clip's for each of the
 * model's. The published code brings the video to -1..1 only after its features are taken
 * (TrackRefiner.py), so the encoder sees 0..255. */
static void model_image(const SpTracker *t, const SpTrackerInput *in, int64_t frame,
                        const int32_t *column, float *image)
{
    const int64_t area = in->height * in->width;
    const float *video = in->video + frame * 3 * area;
    for (int64_t y = 0; y < t->model_height; y++) {
        const int64_t row = sp_nearest_index(y, in->height, t->model_height) * in->width;
        const float *red = video + row, *green = red + area, *blue = green + area;
        for (int64_t x = 0; x < t->model_width; x++, image += 3) {
            image[0] = red[column[x]];
            image[1] = green[column[x]];
            image[2] = blue[column[x]];
        }
    }
}

/* The camera-space point at model pixel (y, x), by nearest that of a working pixel. */
static void map_point(const SpTracker *t, const SpWindow *w, int64_t frame, int64_t y, int64_t x,
                      float out[3])
{
    const int64_t i = sp_nearest_index(y, w->height, t->model_height);
    const int64_t j = sp_nearest_index(x, w->width, t->model_width);
    sp_unproject(w->intrinsics + 9 * frame, (float)j, (float)i,
                 w->depth[(frame * w->height + i) * w->width + j], out);
}

static float clamped(float x, float min, float max)
{
    return x < min ? min : x > max ? max : x;
}

/* Depth, validity and camera-space points [N, 3] at the queries; of continued ones the depth is
 * overlap_z. */
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
        w->query_valid[n] = w->valid[at];
        w->query_z[n] = clamped(w->depth[at], 0.01f, 200);
        if (n < w->continued)
            w->query_z[n] = points[3 * n + 2] = overlap_z[n];
    }
}

/* min and max lie three standard deviations from the mean. One point, or points in a plane across
 * an axis, have no spread to divide by: there one unit stands in. */
static void init_normalisation(SpWindow *w, const float *points)
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
        w->min[i] = mean - half;
        w->max[i] = mean + half;
    }
}

/* Points of frame f to the levels, of which each has every other point of the finer one. host: [h,
 * w, 3] work of level 0's size. */
static void upload_points(const SpTracker *t, SpNn *nn, const SpWindow *w, int64_t f, float *host)
{
    for (int l = 0; l < SP_CORRELATION_LEVELS && sp_nn_live(nn); l++) {
        const SpCorrelationLevel *level = &w->cache.level[l];
        const int64_t count = level->h * level->w, finer = l ? w->cache.level[l - 1].w : 0;
        for (int64_t i = 0; i < count; i++) {
            const int64_t y = i / level->w, x = i % level->w;
            float point[3];
            if (l == 0) {
                map_point(t, w, f, y * t->stride, x * t->stride, point);
                sp_normalise(w, point, host + 3 * i);
            } else {
                memmove(host + 3 * i, host + 3 * (2 * y * finer + 2 * x), sizeof point);
            }
        }
        sp_nn_copy(nn, SP_UPLOAD, level->points, host, 3 * count);
    }
}

/* Fills the cache, and samples the patches around the queries, each in the frame of its own. */
static void fill_cache(const SpTracker *t, SpNn *nn, const SpTrackerInput *in,
                       const SpWindowCarry *carry, SpWindow *w, SpPatches *patches)
{
    const int64_t pixels = 3 * t->model_height * t->model_width;
    const int64_t known = carry->tracks ? t->overlap : 0; /* frames of the window before */
    SpCorrelationLevel *finest = &w->cache.level[0];
    SP_NN_SCOPE(nn);
    float *image = sp_nn_host_floats(nn, pixels);
    int32_t *column = sp_nn_alloc_host(nn, (size_t)t->model_width * sizeof *column);
    float *points = sp_nn_host_floats(nn, finest->h * finest->w * 3);
    float *uploaded = sp_nn_alloc(nn, pixels);
    for (int64_t x = 0; x < t->model_width && sp_nn_live(nn); x++)
        column[x] = (int32_t)sp_nearest_index(x, in->width, t->model_width);
    sp_feature_cache_write(nn, &w->cache);
    SpStream weights = sp_stream_load(nn, t->encoder_group, 1);
    /* Every frame needs the same memory: a dry run looks at one. */
    const int64_t frames = sp_nn_loop_begin(nn, w->frames);
    for (int64_t f = 0; f < frames; f++) {
        sp_feature_cache_frame(&w->cache, f);
        if (f < known) {
            sp_feature_cache_restore(nn, &w->cache, f, carry->features);
        } else {
            if (sp_nn_live(nn))
                model_image(t, in, sp_window_frame(w, in, f), column, image);
            sp_nn_copy(nn, SP_UPLOAD, uploaded, image, pixels);
            sp_encoder_run(&t->encoder, nn, uploaded, t->model_height, t->model_width,
                           finest->features);
        }
        upload_points(t, nn, w, f, points);
        sp_feature_cache_store(nn, &w->cache, f);
        sp_dump_features(nn, w);
        sp_patches_sample(t, nn, w, f, patches);
        sp_progress(nn->progress, (double)(f + 1), (double)w->frames);
    }
    sp_nn_loop_end(nn, w->frames);
    sp_stream_end(nn, &weights);
}

/* The first state: continued tracks stand where the window before left them, and beyond the overlap
 * where its last frame did; new ones at their query, whose camera-space points are `points`. */
static void init_state(const SpTracker *t, const SpWindowCarry *carry, const float *points,
                       SpWindow *w)
{
    const int64_t pairs = w->frames * w->tracks;
    for (int64_t i = 0; i < pairs; i++) {
        const int64_t f = i / w->tracks, n = i % w->tracks;
        const int64_t at = 3 * (sp_min(f, t->overlap - 1) * carry->users + n);
        const bool continued = n < w->continued;
        float *xyz = w->coords + 3 * i;
        if (continued) {
            xyz[0] = carry->track[at] * (float)t->model_width / (float)w->width;
            xyz[1] = carry->track[at + 1] * (float)t->model_height / (float)w->height;
            xyz[2] = carry->track[at + 2];
        } else {
            memcpy(xyz, w->query + 3 * n + 1, 2 * sizeof *xyz);
            xyz[2] = w->query_z[n];
        }
        sp_normalise(w, continued ? carry->point + at : points + 3 * n, w->normalised + 3 * i);
        if (f == 0) {
            w->query_xyz[4 * n] = w->query[3 * n];
            memcpy(w->query_xyz + 4 * n + 1, xyz, 3 * sizeof *xyz);
        }
        xyz[0] /= (float)t->stride;
        xyz[1] /= (float)t->stride;
    }
    memset(w->vis, 0, (size_t)pairs * sizeof *w->vis);
    memset(w->conf, 0, (size_t)pairs * sizeof *w->conf);
    memset(w->dyn, 0, (size_t)pairs * sizeof *w->dyn);
    memset(w->weight, 0, (size_t)pairs * sizeof *w->weight);
}

static void upload_time(const SpTracker *t, SpNn *nn, const SpWindow *w)
{
    SP_NN_SCOPE(nn);
    float *time = sp_nn_host_floats(nn, w->frames * t->token_width);
    if (sp_nn_live(nn))
        sp_time_embedding(t->time_length, t->token_width, w->frames, time);
    sp_nn_copy(nn, SP_UPLOAD, w->time, time, w->frames * t->token_width);
}

void sp_window_init(const SpTracker *t, SpNn *nn, const SpTrackerInput *in,
                    const SpWindowCarry *carry, const float *overlap_z, SpWindow *w)
{
    SP_NN_SCOPE(nn);
    float *points = sp_nn_host_floats(nn, 3 * w->tracks);
    if (sp_nn_live(nn)) {
        look_up_queries(t, overlap_z, w, points);
        init_normalisation(w, points);
        init_state(t, carry, points, w);
    }
    sp_dump_init(nn, w);
    upload_time(t, nn, w);
    SpPatches patches = sp_patches_alloc(t, nn, w, carry);
    fill_cache(t, nn, in, carry, w, &patches);
    sp_window_templates(t, nn, w, carry, &patches);
}
